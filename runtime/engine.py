"""The engine: samples in, events out, as a function of the samples alone.

No clock, no thread, no I/O. The same samples give the same events however they were cut into chunks; what depends
on the machine (sequence numbers, time of day, latency) is stamped on by the caller.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ecg_edge.firmware_bridge.errors import EcgEdgeError

from .alerts import AlertMachine
from .backends import Backend
from .bundle import Bundle
from .conditioning import GROUP, NOTHING, Conditioned, Conditioner
from .events import Alert, Event, Status, Summary, Technical
from .filters import BLOCK
from .laps import Laps
from .lead_events import LeadEvents, lead_names
from .models import Models
from .one_branch import OneBranch
from .policy import Policy
from .quality import Quality
from .rhythm.feed import Feed
from .rhythm.monitor import RhythmMonitor
from .window import Hop, Window

STATUS_HOPS = 10  # hops between signs of life, where probabilities are not asked for in every window
SHORTEST_SECONDS = 5.0  # a stream that ends earlier gets no diagnosis; the Challenge's shortest records have 6 s
LONGEST_GAP_SECONDS = 60.0  # gaps are filled with invalid samples up to this; beyond, stream time only jumps
GROUP_SAMPLES = GROUP * BLOCK  # model samples that the conditioner gives at once


@dataclass(frozen=True)
class StreamFormat:
    """What the samples of a stream are."""

    rate: int
    """Frames per second, 100 to 2000."""
    leads: tuple[str, ...]
    """Canonical lead of each column."""
    pv_per_lsb: int
    """Picovolts per count."""
    mains: int | None = None
    """50 or 60 for a notch there, None for none."""


class Engine:
    """Monitors one stream of one format with one model."""

    def __init__(
        self,
        bundle: Bundle,
        backend: Backend,
        policy: Policy,
        stream: StreamFormat,
        every_probability: bool = False,
        rules: bool = False,
        keep_beats: bool = False,
        light: OneBranch | None = None,
    ) -> None:
        """Prepare; raises EcgEdgeError for a format that the front end cannot serve.

        every_probability: emit a status with all probabilities for every window. rules: run the rhythm rules
        beside the model. keep_beats: keep what `take_beats` returns. light: what judges while `one_branch` is set.
        """
        self._bundle = bundle
        self._models = Models(bundle, backend, light)
        self._stream = stream
        self._every_probability = every_probability
        contract = bundle.manifest.contract
        self._contract = contract
        self._classes = bundle.manifest.classes
        self._labels = [c.abbreviation for c in self._classes]
        self._conditioner = Conditioner(contract, stream.rate, stream.pv_per_lsb, stream.leads, stream.mains, rules)
        self._window = Window(contract)
        self._quality = Quality(contract, self._conditioner.present)
        self._alerts = AlertMachine(self._classes, policy)
        self._silence_s = policy.silence_s
        self._rhythm = None
        if rules:
            ahead = (self._conditioner.lead_in + self._conditioner.delay_samples) // BLOCK % GROUP
            self._rhythm = RhythmMonitor(self._conditioner.present, self._conditioner.lead_in, ahead, policy)
            self._feed = Feed(self._rhythm, keep_beats)
        self._fast_end = -self._conditioner.lead_in  # model sample up to which the rules have got the signal
        self._lead_events = LeadEvents()
        self._nothing_usable = False
        self._skip_to = 0  # model sample up to which windows are skipped
        self._skipping = 0  # windows skipped in the run of skips that goes on
        self._jumped = 0.0  # seconds of gaps that were not filled
        self._arrivals: list[float] = []
        self.stride = 1
        """Of so many windows the model judges one; whoever has a clock may change it while the stream goes on."""
        self.laps: Laps | None = None
        """Gets the time of each stage; nothing that the engine gives depends on it."""
        self.analyzed = 0
        """Windows that the model judged."""
        self.skipped = 0
        """Windows that were given up because the machine was too slow."""
        self.unusable = 0
        """Windows without a usable lead, or to which the model gave no finite answer."""
        self.gap_frames = 0
        """Frames lost before they reached the engine, by its caller's word."""
        self._filled_in = 0  # single samples that stood in for lost frames

    @property
    def delay_seconds(self) -> float:
        """Signal time by which the front end lags: a window is complete this long after its last sample."""
        return self._conditioner.delay_seconds

    @property
    def hop_seconds(self) -> float:
        """Signal time from one window to the next."""
        return self._contract.hop / self._contract.rate

    @property
    def rules_delay_seconds(self) -> float:
        """Signal time by which the rhythm rules' input lags; what their own filters and counts take shows in `time`."""
        return self._conditioner.delay_seconds - self._conditioner.delay_samples / self._contract.rate

    @property
    def has_rules(self) -> bool:
        """Whether the rhythm rules run beside the model."""
        return self._rhythm is not None

    @property
    def light_model(self) -> str | None:
        """Name of the bundle that judges while `one_branch` is set."""
        return self._models.light

    @property
    def one_branch(self) -> bool:
        """Whether the model of one branch judges; whoever has a clock may change it while the stream goes on."""
        return self._models.one_branch

    @one_branch.setter
    def one_branch(self, wanted: bool) -> None:
        """Let it judge the next windows, where there is one; its bundle's thresholds hold then."""
        if self._models.light is None or wanted == self._models.one_branch:
            return
        self._models.one_branch = wanted
        self._alerts.judge_by(self._models.classes)
        self._window.transforms = not wanted

    @property
    def present(self) -> tuple[str, ...]:
        """Leads that the stream has or that follow from those."""
        return lead_names(self._conditioner.present)

    def push(
        self, counts: npt.NDArray[np.int32], at: float = 0.0, invalid: npt.NDArray[np.bool_] | None = None
    ) -> list[Event]:
        """Take samples and return the events that they complete.

        counts: int32 (n, channels); at: when the last of them arrived, in seconds of the caller's clock, handed back
        by `take_arrivals` for each window that they completed; invalid: bool (n, channels), True where an electrode
        was off or a sample is missing.
        """
        conditioned = self._conditioner.push(counts, invalid)
        self._lap("front_end")
        if conditioned is NOTHING:
            return []
        return self._take(conditioned, at)

    def gap(self, frames: int, at: float = 0.0) -> list[Event]:
        """Take note that `frames` frames were lost: time goes on, and the windows around them know it."""
        self.gap_frames += frames
        rate = self._stream.rate
        fill = min(frames, int(LONGEST_GAP_SECONDS * rate))
        self._filled_in += fill * len(self._stream.leads)
        seconds = frames / rate
        events: list[Event] = [
            Technical(
                time=self._time(self._conditioner.samples_in / rate),
                code="gap",
                phase="once",
                message=f"{frames} frames ({seconds:.3f} s) of the stream are missing",
                counts={"frames": frames},
            )
        ]
        nothing = np.zeros((rate, len(self._stream.leads)), dtype=np.int32)
        missing = np.ones(nothing.shape, dtype=np.bool_)
        for start in range(0, fill, rate):
            n = min(rate, fill - start)
            events += self._take(self._conditioner.push(nothing[:n], missing[:n]), at)
        self._jumped += (frames - fill) / rate
        return events

    def skip_windows(self, count: int) -> None:
        """Give up the next `count` windows, to catch up: their signal is kept, their inference is not done."""
        self._skip_to = max(self._skip_to, self._window.end) + count * self._contract.hop

    def finish(self, at: float = 0.0) -> list[Event]:
        """End the stream: return the events of what was still on its way, then the ends of open episodes."""
        events = self._take(self._conditioner.flush(), at)
        received = self._conditioner.samples_in / self._stream.rate
        if self._window.end + self._window.pending < self._contract.window:
            events += self._finish_short(received, at)
        events += self._end_skipping()
        if self._rhythm:
            events += self._feed.flush(self._jumped)
        end = self._time(max(received, self._window.end / self._contract.rate, self._fast_end / self._contract.rate))
        return [*events, *(self._rhythm.finish(end) if self._rhythm else ()), *self._alerts.finish(end)]

    def acknowledge(self, label: str) -> list[Event]:
        """Release the latch of `label`: its alert ends now when it is held, otherwise when its finding is gone."""
        return [*(self._rhythm.acknowledge(label) if self._rhythm else ()), *self._alerts.acknowledge(label)]

    def silence(self, labels: Sequence[str] = ()) -> tuple[Technical, list[Alert]]:
        """Silence the open alerts of `labels`, or all of them, for the policy's `silence_s`; see AlertMachine.

        Returns the account of it, and what became of each alert. Raises EcgEdgeError where a label is not known.
        """
        machines = [m for m in (self._rhythm, self._alerts) if m is not None]
        known = {label for machine in machines for label in machine.labels}
        if unknown := [label for label in labels if label not in known]:
            raise EcgEdgeError(f"no alert is called {unknown[0]!r}: use {', '.join(sorted(known))}, or none for all")
        alerts = [a for machine in machines for label in labels or (None,) for a in machine.silence(label)]
        told = ", ".join(dict.fromkeys(a.label for a in alerts)) or "none was open"
        time = max([a.time for a in alerts], default=self._time(self._window.end / self._contract.rate))
        text = f"alerts silenced for {self._silence_s:g} s: {told}"
        return Technical(time=time, code="silenced", phase="once", message=text, counts={"alerts": len(alerts)}), alerts

    def take_beats(self) -> list[tuple[float, bool]]:
        """Return the beats that the rules found since the last call, see Feed; none without `keep_beats`."""
        return self._feed.take_beats() if self._rhythm else []

    def take_arrivals(self) -> list[float]:
        """Return `at` of each window judged since the last call."""
        arrivals, self._arrivals = self._arrivals, []
        return arrivals

    def summary(self) -> Summary:
        """Return the account of the stream so far, but for what the caller knows (link, latency)."""
        seconds = self._conditioner.samples_in / self._stream.rate
        return Summary(
            time=self._time(seconds),
            signal_s=seconds,
            windows={"analyzed": self.analyzed, "skipped": self.skipped, "unusable": self.unusable},
            alerts={**(self._rhythm.announced if self._rhythm else {}), **self._alerts.announced},
            losses={
                "gap_frames": self.gap_frames,
                # What stood in for a gap is lost once, not twice; 0 while the last of it has not been worked on.
                "invalid_samples": max(0, self._conditioner.invalid_samples - self._filled_in),
                "saturated_samples": self._conditioner.saturated,
            },
            leads=lead_names(self._models.rested_on),
            bundle=self._bundle.manifest.name,
            bundle_sha256=self._bundle.sha256,
        )

    def _lap(self, stage: str) -> None:
        if self.laps is not None:
            self.laps.end(stage)

    def _time(self, seconds: float) -> float:
        return seconds + self._jumped

    def _take(self, conditioned: Conditioned, at: float) -> list[Event]:
        """Return the events of a stretch of signal, group by group: the rules' first, then those of a completed hop.

        The rules are ahead of the windows by the delay of the high-pass. Going by groups keeps that distance the same
        however much signal came at once, so that what the rules found suppresses in the same windows.
        """
        rhythm = self._rhythm
        if rhythm is None:
            return self._hops(conditioned, at)
        events: list[Event] = []
        fast, rate, delay = conditioned.fast, self._contract.rate, self._conditioner.delay_samples
        taken, start = 0, 0
        while start < len(fast):
            left = GROUP_SAMPLES - (self._fast_end - delay) % GROUP_SAMPLES
            n = left if rhythm.calm and len(fast) - start >= left else BLOCK
            part = slice(start, start + n)
            first, start, self._fast_end = self._fast_end + BLOCK, start + n, self._fast_end + n
            times = [end / rate + self._jumped for end in range(first, self._fast_end + 1, BLOCK)]
            events += self._feed.push(
                fast[part], conditioned.fast_invalid[part], times, self._jumped, group_ends=n == left
            )
            self._lap("rules")
            if n == left and self._fast_end > delay:
                events += self._window_takes(conditioned, taken, taken + GROUP_SAMPLES, at)
                taken += GROUP_SAMPLES
        self._conditioner.hasten(not rhythm.calm)
        if taken < len(conditioned.signal):  # the end of the stream, within a group
            events += self._feed.flush(self._jumped)
            events += self._window_takes(conditioned, taken, len(conditioned.signal), at)
        return events

    def _window_takes(self, conditioned: Conditioned, start: int, stop: int, at: float) -> list[Event]:
        if start >= len(conditioned.signal):
            return []
        if not start and stop == len(conditioned.signal):
            return self._hops(conditioned, at)
        return self._hops(Conditioned(conditioned.signal[start:stop], conditioned.invalid[start:stop]), at)

    def _hops(self, conditioned: Conditioned, at: float) -> list[Event]:
        events: list[Event] = []
        for hop in self._window.push(conditioned):
            events += self._hop(hop, at)
        self._lap("front_end")
        return events

    def _hop(self, hop: Hop, at: float) -> list[Event]:
        time = self._time(hop.end / self._contract.rate)
        events = self._lead_events.tell(self._quality.push(hop.signal, hop.invalid), time)
        events += self._conditioner.contact.tell(hop.end / self._contract.rate, time)
        if hop.end < self._contract.window:
            return events
        usable = self._quality.usable
        events += self._tell_nothing_usable(not np.count_nonzero(usable), time)
        number = hop.end // self._contract.hop
        if hop.end <= self._skip_to:
            self._skipping += 1
            return events + self._give_up(time, number)
        events += self._end_skipping()
        if number % self.stride:
            return events + self._give_up(time, number)
        signal, spectrogram = self._window.signal, self._window.spectrogram
        events += self._judge(signal, spectrogram, usable, time, number)
        self._arrivals.append(at)
        return events

    def _give_up(self, time: float, number: int) -> list[Event]:
        """Let a window go by without the model: signs of life go on, and what it found ends when it is too long ago."""
        self.skipped += 1
        return [*([self._status(time)] if number % STATUS_HOPS == 0 else []), *self._alerts.skip(1, time)]

    def _status(self, time: float, shown: dict[str, float] | None = None) -> Status:
        rate = self._rhythm.heart_rate if self._rhythm else None
        leads, quality = lead_names(self._quality.usable), self._quality.score
        return Status(time=time, heart_rate=rate, quality=quality, leads=leads, probabilities=shown)

    def _judge(
        self,
        signal: npt.NDArray[np.int16],
        spectrogram: npt.NDArray[np.uint8],
        usable: npt.NDArray[np.bool_],
        time: float,
        number: int,
    ) -> list[Event]:
        """Return the events of one window, the model's answer and its consequences."""
        answer, told = self._models.ask(signal, spectrogram, usable, time, self._lap)
        events: list[Event] = [*told]
        if answer is None:
            self.unusable += 1
        else:
            self.analyzed += 1
        leads = lead_names(usable)
        quality = self._quality.score
        if self._every_probability or number % STATUS_HOPS == 0:
            shown = None
            if self._every_probability and answer is not None:
                shown = dict(zip(self._labels, answer.tolist(), strict=True))
            events.append(self._status(time, shown))
        elsewhere, regular = (self._rhythm.active, self._rhythm.beats_are_regular) if self._rhythm else ((), None)
        events += self._alerts.step(time, answer, leads, quality, elsewhere, beats_are_regular=regular)
        self._lap("decision")
        return events

    def _finish_short(self, received: float, at: float) -> list[Event]:
        """Judge a stream that ended before its first window, unless it is too short for that."""
        time = self._time(received)
        if received < SHORTEST_SECONDS:
            text = f"{received:.1f} s of signal are too short: {SHORTEST_SECONDS:.0f} s are needed, 10 s are better"
            return [Technical(time=time, code="short_signal", phase="once", message=text)]
        text = f"{received:.1f} s of signal instead of {self._contract.window_seconds} s: the rest counted as zero"
        events: list[Event] = [Technical(time=time, code="short_signal", phase="once", message=text)]
        usable = self._quality.usable
        events += self._tell_nothing_usable(not usable.any(), time)
        events += self._judge(*self._window.padded(), usable, time, STATUS_HOPS)
        self._arrivals.append(at)
        return events

    def _tell_nothing_usable(self, nothing: bool, time: float) -> list[Event]:
        if nothing == self._nothing_usable:
            return []
        self._nothing_usable = nothing
        text = "no lead is usable: nothing is analyzed, unknown is not normal" if nothing else "a lead is usable again"
        return [Technical(time=time, code="signal_lost", phase="new" if nothing else "end", message=text)]

    def _end_skipping(self) -> list[Event]:
        if not self._skipping:
            return []
        count, self._skipping = self._skipping, 0
        return [
            Technical(
                time=self._time(self._window.end / self._contract.rate),
                code="overload",
                phase="once",
                message=f"this machine was too slow: {count} windows were not analyzed",
                counts={"windows": count},
            )
        ]
