"""How irregular the beats are, but for what ectopic beats make of them.

In atrial fibrillation every interval differs from the one before, by a tenth and more of the median interval; in sinus
rhythm half of the intervals hardly do, however many ectopic beats stand among them. So the median of the differences
tells the two apart, where their mean would not.
"""

from collections.abc import Iterable
from itertools import compress
from operator import sub

from .beats import median

LOOK_BACK_S = 30.0  # of beats: three windows of the model, some 35 beats
FEWEST = 8  # differences below which nothing is said


def irregularity(beats: Iterable[tuple[float, bool]]) -> float | None:
    """Return the median difference of successive intervals over the median interval, None for too few beats.

    beats: (time in seconds, whether ventricular), newest first, of an unbroken stretch; those more than LOOK_BACK_S
    before the newest do not count. Intervals that begin or end with a ventricular beat are in no difference.
    """
    beats = list(beats)
    first = beats[0][0] - LOOK_BACK_S if beats else 0.0
    times = [time for time, _ in beats if time >= first]
    # By functions of the interpreter's own: in atrial fibrillation the model's alerts ask every second.
    intervals = list(map(sub, times, times[1:]))
    differences = map(abs, map(sub, intervals, intervals[1:]))
    wide = [ventricular for _, ventricular in beats[: len(times)]]
    if any(wide):
        conducted = [not any(three) for three in zip(wide, wide[1:], wide[2:], strict=False)]
        differences = compress(differences, conducted)
    counted = list(differences)
    return median(counted) / median(intervals) if len(counted) >= FEWEST else None
