"""The batches of an epoch, made in a background thread while torch trains."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from .augment import Augmenter, Batch

AHEAD = 4  # batches made before they are asked for: evens out the machine's noise, costs some 10 MB


def epoch_batches(augmenter: Augmenter, records: int, batch_size: int, seed: int, epoch: int) -> Iterator[Batch]:
    """Yield batches that hold each of `records` once, in random order, of nearly equal size up to `batch_size`.

    What they hold depends on seed and epoch alone: not on threads, and not on the epochs before, so that a resumed
    run goes on as it would have.
    """
    order = np.random.default_rng([seed, epoch]).permutation(records)
    pieces = np.array_split(order, -(-records // batch_size))
    with ThreadPoolExecutor(1, thread_name_prefix="batches") as pool:
        pending: deque[Future[Batch]] = deque()
        for number, piece in enumerate(pieces):
            rng = np.random.default_rng([seed, epoch, number])
            pending.append(pool.submit(augmenter.batch, piece, rng))
            if len(pending) > AHEAD:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
