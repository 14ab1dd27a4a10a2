"""Timing calls in turns, so that what disturbs the machine meets all of them and cancels in their ratios."""

import time
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

WARM_UP = 50  # calls of each that are not counted: allocations, caches, branch predictors, the clock going up
FOUR_DIGITS = 4  # decimals of milliseconds: a tenth of a microsecond, below what one can tell apart

Milliseconds = npt.NDArray[np.float64]


def in_turns(calls: Sequence[Callable[[], object]], rounds: int) -> list[Milliseconds]:
    """Return the milliseconds (rounds,) that each call took, one of each after the other on this thread."""
    taken = np.zeros((len(calls), rounds), dtype=np.int64)
    for number in range(-WARM_UP, rounds):
        for which, call in enumerate(calls):
            begin = time.perf_counter_ns()
            call()
            ns = time.perf_counter_ns() - begin
            if number >= 0:
                taken[which, number] = ns
    return list(taken / 1e6)


def percentiles(values: Milliseconds) -> dict[str, float]:
    """Return p50, p95, p99 and max, rounded."""
    found = [*np.percentile(values, (50, 95, 99)), np.max(values)]
    return {name: round(float(v), FOUR_DIGITS) for name, v in zip(("p50", "p95", "p99", "max"), found, strict=True)}
