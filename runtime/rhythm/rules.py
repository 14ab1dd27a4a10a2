"""What the beats and the fibrillation score add up to: which findings hold now, and since when.

| label | holds when |
| --- | --- |
| Asystole | no QRS complex for `asystole_s`, no fibrillation, and no noise that could hide one |
| VF | fibrillation or flutter for `fibrillation_s` |
| VT | `ventricular_beats` ventricular beats in a row at more than `ventricular_bpm` |
| ExtremeBrady | the last `brady_beats` beats at less than `brady_bpm`, by mean and median interval |
| ExtremeTachy | the last `tachy_beats` beats at more than `tachy_bpm` |
| Pause | no QRS complex for `pause_s` |

The definitions are those of the PhysioNet/CinC Challenge 2015 (Clifford et al. 2015, Computing in Cardiology 42:273):
asystole 4 s, bradycardia below 40 for 5 beats, tachycardia above 140 for 17 beats, ventricular tachycardia of 5 beats
above 100, flutter or fibrillation for 4 s. All of them are about what was seen: time without a usable lead is no time
without beats, and every count starts anew after it.
"""

from collections.abc import Mapping
from typing import NamedTuple

from ..classes import ClassInfo
from .rate import Rate
from .settings import RuleSettings

RULES = (
    ClassInfo("397829000", "Asystole", "asystole", 0.5),
    ClassInfo("164896001", "VF", "ventricular fibrillation or flutter", 0.5),
    ClassInfo("164895002", "VT", "ventricular tachycardia", 0.5),
    ClassInfo("", "ExtremeBrady", "extreme bradycardia", 0.5),
    ClassInfo("", "ExtremeTachy", "extreme tachycardia", 0.5),
    ClassInfo("", "Pause", "pause", 0.5),
)
"""What the rules can find, in order of urgency; a finding is there or not, so half way is the threshold."""

HIDDEN = 0.5  # noise against beats from which a beat may be there and not be seen: then nothing is said of its absence
UNLEARNED = 6.0  # more seconds without a beat where none has been seen yet: learning takes 2.6 s, or twice that
STALE = 2.0  # seconds after the last beat for which a count of beats still tells of now; 30 a minute


class Seen(NamedTuple):
    """What a block shows; times in seconds of stream time."""

    time: float
    """End of what has been judged for beats."""
    watched_since: float
    """Since when a lead has been usable without a break."""
    learned: bool
    """Whether a beat has ever been seen."""
    noise: float
    """Height of the noise peaks against the beats, 0 while nothing is known of them."""
    fibrillated: float
    """When a window last scored as fibrillation."""
    fibrillating: bool
    """Whether the last window scored as fibrillation."""
    fibrillation: bool
    """Whether that has lasted long enough."""


def nothing_stands_out(quiet: float, rate: Rate, settings: RuleSettings) -> bool:
    """Return whether `findings` would find nothing, by what tells it of nearly every beat; False where that is open.

    quiet: seconds since a beat or since a lead has been usable, as judged; there has been a beat, and no fibrillation.
    """
    slow, fast = rate.over(settings.brady_beats), rate.over(settings.tachy_beats)
    return (
        quiet < settings.pause_s
        and slow is not None
        and slow[0] >= settings.brady_bpm
        and fast is not None
        and fast[0] <= settings.tachy_bpm
        and rate.ventricular_run() < settings.ventricular_beats
    )


def findings(seen: Seen, rate: Rate, settings: RuleSettings) -> Mapping[str, float]:
    """Return each label that holds now with its onset in seconds of stream time."""
    found: dict[str, float] = {}
    if seen.fibrillation:
        return {"VF": max(0.0, seen.time - settings.fibrillation_s)}  # beats counted in fibrillation are none
    last = rate.last
    quiet_since = seen.watched_since if last is None else max(last, seen.watched_since)
    quiet = seen.time - quiet_since
    if not seen.fibrillating and seen.noise < HIDDEN:
        if quiet >= settings.asystole_s + (0 if seen.learned else UNLEARNED):
            return {"Asystole": quiet_since}
        if quiet >= settings.pause_s and last is not None:
            found["Pause"] = quiet_since
    if last is None or quiet > STALE:
        return found
    n = settings.ventricular_beats
    if rate.ventricular_run() >= n and (run := rate.over(n)) and run[0] > settings.ventricular_bpm:
        found["VT"] = run[1]
    slow = rate.over(settings.brady_beats)
    # The median too: one pause is no bradycardia. Nor are the beats around a fibrillation.
    if (
        slow
        and slow[0] < settings.brady_bpm
        and slow[1] > seen.fibrillated
        and rate.median_over(settings.brady_beats) < settings.brady_bpm
    ):
        found["ExtremeBrady"] = slow[1]
    fast = rate.over(settings.tachy_beats)
    if fast and fast[0] > settings.tachy_bpm:
        found["ExtremeTachy"] = fast[1]
    return found
