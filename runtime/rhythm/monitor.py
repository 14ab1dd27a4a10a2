"""The rhythm rules at work: blocks of signal in, alerts out.

    block --> filters --> voting --> beats --> shapes --> rate --\\
                     \\-> fibrillation ------------------------> rules --> alert machine --> alerts

A function of its blocks: no clock, thread or I/O. The alert machine is the model's own, so that latching, chains and
refractory times mean the same for both.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import numpy as np
import numpy.typing as npt

from ecg_edge.firmware_bridge.leads import LEADS, MEASURED_LEADS

from .. import native
from ..alerts import AlertMachine
from ..events import Alert
from ..filters import BLOCK
from ..policy import Policy
from .beats import Beat, BeatDetector
from .fibrillation import LOOK_SAMPLES, Fibrillation
from .filters import GROUP, HALF, Filters, FloatArray
from .rate import Rate
from .readable import Readable
from .rolling import Rolling
from .rules import RULES, Seen, findings, nothing_stands_out
from .ventricular import Shapes
from .voting import Voting

PREFERENCE = ("II", "V2", "V5", "I", "V1", "V3", "V4", "V6")  # measured leads, those with tall QRS complexes first
LIMB_LEADS = LEADS[:6]
HISTORY = 400  # samples of `wave` kept: a beat found by searching back is at most that old at 40 a minute
RELEARN_SECONDS = 20.0  # without a beat, after which whatever stands out is learned as one: electrodes may have moved
AFTERMATH_SAMPLES = 2000  # 20 s after fibrillation, in which slow waves must not hide an asystole by passing for beats
LEARN_SECONDS = 5.0  # in which a heart shows beats enough to learn one from; otherwise another try
RATE_HZ = 100  # model rate
CALM_MARGIN_S = 0.5  # a peak that is judged only at the end of the refractory time, and a beat taken back
CALM_ABOVE, CALM_BELOW = 1.2, 0.85  # of the limits of bradycardia and tachycardia: further than a few beats can take it


class RhythmMonitor:
    """Watches the rhythm of one stream."""

    def __init__(self, present: npt.NDArray[np.bool_], lead_in: int, first_group: int, policy: Policy) -> None:
        """Prepare.

        present: leads (12,) that the source has or that follow from what it has; the measured ones among them are
        watched, and limb leads that follow from no others. lead_in: samples by which the first block starts before the
        stream.
        first_group: blocks before the first group of GROUP blocks.
        """
        there = [lead for lead, is_there in zip(LEADS, present.tolist(), strict=True) if is_there]
        self._leads = [lead for lead in PREFERENCE if lead in there]
        if not set(LIMB_LEADS).issubset(there):  # then none of the limb leads follows from others
            self._leads += [lead for lead in LIMB_LEADS if lead in there and lead not in PREFERENCE]
        assert set(PREFERENCE) == set(MEASURED_LEADS)
        self._columns = [LEADS.index(lead) for lead in self._leads]
        self._settings = policy.rules
        n = len(self._leads)
        self._filters = Filters(self._columns)
        self._readable = Readable(self._columns)
        self._wave = Rolling(n, HISTORY + GROUP * BLOCK)
        self._voting, self._detector = _voting_and_detector(n)
        self._shapes = Shapes()
        self._fibrillation = Fibrillation(self._settings.fibrillation_s)
        self._rate = Rate()
        ends = round(self._settings.end_s * RATE_HZ / BLOCK)
        at_once = replace(policy, smoothing_s=0.0, hysteresis=0.0, confirm_windows=1, confirm_of=1, end_windows=ends)
        self._machine = AlertMachine(RULES, at_once, kind="rule")

        self._lead_in, self._first_group = lead_in, first_group
        self._end = 0  # samples so far
        self._names: dict[tuple[bool, ...], tuple[str, ...]] = {}
        self._watched_since = 0.0
        self._blind = False
        self._fibrillated = -AFTERMATH_SAMPLES  # sample of the last look that scored as fibrillation
        self._beating = False  # whether a beat has ever been seen
        self._asystole = False
        self._calm = False  # whether nothing was found in the last block
        self._calm_until = 0  # sample up to which nothing can be found if no beat comes, nor a look shows fibrillation
        self._quiet_from = 0.0
        self.calm = False
        """Whether the blocks up to the end of a group may come at once, see `_is_calm`."""
        self.beats: list[tuple[float, bool]] = []
        """Beats that the last block made known: (seconds of signal, whether ventricular)."""
        self.withdrawn: list[tuple[float, bool]] = []
        """Beats told earlier that the last block showed to be none."""

    @property
    def active(self) -> tuple[str, ...]:
        """Labels announced whose finding holds."""
        return self._machine.present

    @property
    def announced(self) -> dict[str, int]:
        """Episodes announced so far, by label."""
        return self._machine.announced

    @property
    def heart_rate(self) -> float | None:
        """Beats per minute, 0 in asystole; None while it is not known."""
        if self._blind or self._fibrillation.seen:
            return None
        return 0.0 if self._asystole else self._rate.bpm(self._time(self._detector.searched))

    def beats_are_regular(self) -> bool:
        """Return whether the last beats are known to be regular, but for ectopic ones."""
        irregularity = self._rate.irregularity()
        return irregularity is not None and irregularity < self._settings.regular_below

    def _is_calm(self) -> bool:
        """Return whether the rest of a group may wait for its end: nothing can become an alert in it, whatever it is.

        Nothing has been found, no look has shown fibrillation, no beat in a row is ventricular, and every rate and the
        time since the last beat are far from their limits. (Five beats of a tachycardia within three blocks could be
        told three blocks late: they would be faster than 300 a minute.)
        """
        settings, rate = self._settings, self._rate
        if not self._calm or not self._machine.idle or self._blind or not self._readable.well or rate.last is None:
            return False
        if self._fibrillation.suspected or rate.ventricular_run() or self._detector.learning:
            return False
        waited = self._time(self._detector.searched) - rate.last
        latest, fast = rate.over(2), rate.over(settings.tachy_beats)
        return (
            waited + (GROUP - 1) * BLOCK / RATE_HZ < settings.pause_s - CALM_MARGIN_S
            and latest is not None
            and latest[0] > CALM_ABOVE * settings.brady_bpm
            and fast is not None
            and fast[0] < CALM_BELOW * settings.tachy_bpm
        )

    def acknowledge(self, label: str) -> list[Alert]:
        """Release the latch of `label`, see AlertMachine."""
        return self._machine.acknowledge(label)

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels that the rules can find."""
        return self._machine.labels

    def silence(self, label: str | None = None) -> list[Alert]:
        """Silence all open alerts, or that of `label`, see AlertMachine."""
        return self._machine.silence(label)

    def finish(self, time: float) -> list[Alert]:
        """End all open episodes at the end of the stream."""
        return self._machine.finish(time)

    def push(self, blocks: FloatArray, invalid: npt.NDArray[np.bool_], times: Sequence[float]) -> list[Alert]:
        """Take one or more blocks of one group and return what they change.

        blocks: (n * BLOCK, 12) in 1/16 microvolt; invalid: the same shape, True where the electrode was off or the
        sample missing; times: stream time of each block's end, which alerts carry. However the blocks of a group are
        cut into calls, the result is the same.
        """
        self.beats, self.withdrawn = [], []
        n = len(times)
        clean = b"\x01" not in invalid.tobytes()  # the quickest way to ask
        if n > 1 and not (clean and self.calm):
            alerts = []
            beats, withdrawn = self.beats, self.withdrawn
            for k, time in enumerate(times):
                part = slice(k * BLOCK, (k + 1) * BLOCK)
                alerts += self.push(blocks[part], invalid[part], [time])
                beats = [b for b in beats if b not in self.withdrawn] + self.beats
                withdrawn = withdrawn + self.withdrawn
            self.beats, self.withdrawn = beats, withdrawn
            return alerts
        squares = self._filters.push(blocks, self._wave.extend(len(blocks)))
        readable = self._readable
        if not (clean and readable.well):
            readable.push(self._filters, invalid)
        if not readable.any:
            self._end += BLOCK
            self._detector.skip(BLOCK)
            self._voting.skip(BLOCK)
            self._go_blind()
            self.calm = False
            return self._machine.step(times[0], None, (), 0.0)
        if self._blind:
            self._blind = False
            self._watched_since = self._time(self._end + BLOCK)
        self._voting.push(squares)
        alerts = []
        detector, voting = self._detector, self._voting
        joined = 0
        for k, time in enumerate(times):
            self._end += BLOCK
            if k == joined:
                alike, together = voting.join(k, readable.watched, not detector.level and detector.settled)
                detector.take(together)
                joined += alike
            alerts += self._judge(time, (n - 1 - k) * BLOCK)
        if readable.well and (self._end // BLOCK - self._first_group) % GROUP == 0:
            readable.look(self._filters)
        self.calm = self._is_calm()
        return alerts

    def _judge(self, time: float, later: int) -> list[Alert]:
        """Return what a block changes; later: samples behind it that have been filtered already."""
        detector, readable, fibrillation = self._detector, self._readable, self._fibrillation
        end = self._end
        unlearned = not detector.level
        beats = detector.walk(BLOCK, end - self._fibrillated > AFTERMATH_SAMPLES)
        if beats:
            self._take_beats(beats, self._voting.voices, later)
            self._calm_until = 0
        if unlearned and detector.level:  # beats before this were learned from and not told
            self._watched_since = self._time(end)
        if end % LOOK_SAMPLES == 0:
            fibrillation.look(self._wave, later, readable.watched)
            if fibrillation.seen:
                self._fibrillated = end
                self._calm_until = 0
        if readable.all_flat and not (self._settings.flat_line_is_asystole and self._rate.last is not None):
            self._watched_since = self._time(end)
        if detector.searched < self._calm_until and self._machine.idle:
            return []
        return self._decide(time)

    def _decide(self, time: float) -> list[Alert]:
        """Return what is found now and changes something."""
        last = self._rate.last
        if last is not None and not self._fibrillation.present:
            quiet = self._time(self._detector.searched) - max(last, self._watched_since)
            if self._machine.idle and nothing_stands_out(quiet, self._rate, self._settings):
                self._calm, self._asystole = True, False
                self._calm_until = self._until_something_can_be_found()
                return []
        found = findings(self._seen(), self._rate, self._settings)
        self._calm = not found
        self._asystole = "Asystole" in found
        self._calm_until = 0 if found else self._until_something_can_be_found()
        self._relearn()
        if not found and self._machine.idle:
            return []
        probabilities = np.array([float(rule.abbreviation in found) for rule in RULES])
        onsets = {label: max(0.0, onset - self._time(self._end + HALF) + time) for label, onset in found.items()}
        leads, quality = self._named(self._readable.watched), self._readable.quality
        return self._machine.step(time, probabilities, leads, quality, onsets=onsets)

    def _until_something_can_be_found(self) -> int:
        """Return the sample of the shortest pause, which comes before all else where no beat does; 0 for not known.

        Nor is there a reason to learn anew before it, since the longest pause is shorter than RELEARN_SECONDS.
        """
        last = self._rate.last
        if last is None or self._fibrillation.suspected:
            return 0
        pause = max(last, self._watched_since) + self._settings.pause_s
        return int(pause * RATE_HZ) + HALF + self._lead_in

    def _named(self, mask: tuple[bool, ...]) -> tuple[str, ...]:
        if mask not in self._names:
            named = {lead for lead, there in zip(self._leads, mask, strict=True) if there}
            self._names[mask] = tuple(lead for lead in LEADS if lead in named)
        return self._names[mask]

    def _time(self, sample: int) -> float:
        """Return the time in seconds since the stream began of what the filters give as `sample`."""
        return (sample - HALF - self._lead_in) / RATE_HZ

    def _go_blind(self) -> None:
        """Forget what a break in the signal makes doubtful."""
        if not self._blind:
            self._blind = True
            self._asystole = False
            self._detector.forget()
            self._rate.forget()
            self._fibrillation.forget()

    def _take_beats(self, beats: Sequence[Beat], voices: tuple[bool, ...], later: int) -> None:
        for beat in beats:
            time = self._time(beat.sample)
            if not beat.height:
                wrong = self._rate.take_back(time)
                self.withdrawn += [b for b in wrong if b not in self.beats]
                self.beats = [b for b in self.beats if b not in wrong]
                continue
            age = self._end - beat.sample
            ventricular = self._shapes.ventricular(beat, self._wave.last(HISTORY, later), age, voices)
            self._rate.beat(time, ventricular)
            self._voting.beat(age, later, voices)
            self.beats.append((time, ventricular))
            self._beating = True

    def _seen(self) -> Seen:
        detector = self._detector
        return Seen(
            time=self._time(detector.searched),
            watched_since=self._watched_since,
            learned=self._beating,
            noise=detector.noise / detector.level if detector.level else 0.0,
            fibrillated=self._time(self._fibrillated),
            fibrillating=self._fibrillation.seen,
            fibrillation=self._fibrillation.present,
        )

    def _relearn(self) -> None:
        """Start to learn anew when no beat has been seen for long."""
        last = self._rate.last
        since = max(self._quiet_from, self._watched_since, self._watched_since if last is None else last)
        now = self._time(self._end)
        if now - since > (LEARN_SECONDS if last is None else RELEARN_SECONDS):
            self._quiet_from = now
            self._detector.relearn()
            self._voting.relearn()


def _voting_and_detector(leads: int) -> tuple[Voting, BeatDetector]:
    """Return what joins the leads and what finds beats in that: compiled where it can be, both or none."""
    if native.kernels is None:
        return Voting(leads), BeatDetector()
    compiled = native.kernels.Voting(leads), native.kernels.BeatDetector(Beat)
    return cast(tuple[Voting, BeatDetector], compiled)
