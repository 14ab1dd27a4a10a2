"""The batches of an epoch, made in a background thread while torch trains."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import numpy.typing as npt

AHEAD = 3  # batches made before they are asked for: evens out the machine's noise, costs some 10 MB

T = TypeVar("T")


class Meter:
    """Counts the seconds of one core that making batches took."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def take(self) -> float:
        """Return the seconds since the last call."""
        seconds, self.seconds = self.seconds, 0.0
        return seconds


def epoch_items(
    make: Callable[[npt.NDArray[np.int64], int], T],
    records: int,
    steps: int,
    batch_size: int,
    seed: int,
    epoch: int,
    first: int = 0,
    meter: Meter | None = None,
) -> Iterator[T]:
    """Yield `make(numbers of records, step)` for the steps of an epoch from `first` on.

    The records come in random order, as often as it takes to fill `steps` batches of at most `batch_size` evenly. What
    comes depends on seed, epoch and step alone: not on threads, and not on what came before, so that a resumed run
    goes on as it would have.
    """
    rng = np.random.default_rng([seed, epoch])
    passes = max(1, -(-steps * min(batch_size, records) // records))
    if steps == -(-records // batch_size):
        passes = 1  # each record once, in batches of nearly equal size
    order = np.concatenate([rng.permutation(records) for _ in range(passes)])
    pieces = np.array_split(order, steps) if passes == 1 else _fixed(order, steps, min(batch_size, records))

    def timed(numbers: npt.NDArray[np.int64], number: int) -> T:
        start = time.thread_time()
        made = make(numbers, number)
        if meter is not None:
            meter.seconds += time.thread_time() - start
        return made

    with ThreadPoolExecutor(1, thread_name_prefix="batches") as pool:
        pending: deque[Future[T]] = deque()
        try:
            for number in range(first, steps):
                pending.append(pool.submit(timed, pieces[number], number))
                if len(pending) > AHEAD:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:  # whoever stops early does not wait for batches that nobody wants
                future.cancel()


def _fixed(order: npt.NDArray[np.int64], steps: int, size: int) -> list[npt.NDArray[np.int64]]:
    return [order[k * size : (k + 1) * size] for k in range(steps)]
