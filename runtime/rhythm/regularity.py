"""How irregular the beats are, but for what ectopic beats make of them.

In atrial fibrillation every interval differs from the one before, by a tenth and more of the median interval; in sinus
rhythm half of the intervals hardly do, however many ectopic beats stand among them. So the median of the differences
tells the two apart, where their mean would not.
"""

from bisect import bisect_right
from collections.abc import Collection, Iterable
from itertools import compress
from operator import neg, sub

from .beats import median

LOOK_BACK_S = 30.0  # of beats: three windows of the model, some 35 beats
FEWEST = 8  # differences below which nothing is said


def irregularity(beats: Collection[tuple[float, bool]]) -> float | None:
    """Return the median difference of successive intervals over the median interval, None for too few beats.

    beats: (time in seconds, whether ventricular), newest first, of an unbroken stretch; those more than LOOK_BACK_S
    before the newest do not count. Intervals that begin or end with a ventricular beat are in no difference.
    """
    times, wide = zip(*beats, strict=True) if beats else ((), ())
    count = bisect_right(times, LOOK_BACK_S - times[0], key=neg) if times else 0
    times, wide = times[:count], wide[:count]
    # By functions of the interpreter's own: in atrial fibrillation the model's alerts ask every second.
    intervals = list(map(sub, times, times[1:]))
    differences: Iterable[float] = map(abs, map(sub, intervals, intervals[1:]))
    if any(wide):
        conducted = [not any(three) for three in zip(wide, wide[1:], wide[2:], strict=False)]
        differences = compress(differences, conducted)
    counted = list(differences)
    return median(counted) / median(intervals) if len(counted) >= FEWEST else None
