"""How irregular the beats are, but for what ectopic beats make of them.

In atrial fibrillation every interval differs from the one before, by a tenth and more of the median interval; in sinus
rhythm half of the intervals hardly do, however many ectopic beats stand among them. So the median of the differences
tells the two apart, where their mean would not.
"""

from collections.abc import Iterable
from itertools import pairwise

from .beats import median

LOOK_BACK_S = 30.0  # of beats: three windows of the model, some 35 beats
FEWEST = 8  # differences below which nothing is said


def irregularity(beats: Iterable[tuple[float, bool]]) -> float | None:
    """Return the median difference of successive intervals over the median interval, None for too few beats.

    beats: (time in seconds, whether ventricular), newest first, of an unbroken stretch; those more than LOOK_BACK_S
    before the newest do not count. Intervals that begin or end with a ventricular beat are in no difference.
    """
    intervals = []
    newest = None
    for (later, wide), (earlier, wide_too) in pairwise(beats):
        newest = later if newest is None else newest
        if earlier < newest - LOOK_BACK_S:
            break
        intervals.append((later - earlier, wide or wide_too))
    differences = [abs(a - b) for (a, ectopic), (b, ectopic_too) in pairwise(intervals) if not (ectopic or ectopic_too)]
    if len(differences) < FEWEST:
        return None
    return median(differences) / median([interval for interval, _ in intervals])
