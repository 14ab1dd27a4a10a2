"""Fixtures of the training side."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from ecg_edge.runtime.classes import ClassInfo
from ecg_edge.train.predictions import Predictions


@pytest.fixture(scope="session")
def made_up() -> Callable[..., Predictions]:
    """See `_made_up`."""
    return _made_up


def _made_up(
    records: int = 120, classes: int | tuple[ClassInfo, ...] = 3, seed: int = 0, first: int = 0, **more: Any
) -> Predictions:
    """Return predictions of records `r<first>` on, two of each patient, that separate every class by two deviations."""
    rng = np.random.default_rng(seed)
    if isinstance(classes, int):
        classes = tuple(ClassInfo(f"{k}", f"C{k}", f"class {k}", 0.3 + 0.05 * k) for k in range(classes))
    truth = rng.random((records, len(classes))) < 0.3
    logits = (rng.normal(size=truth.shape) + 2 * truth - 1.5).astype(np.float32)
    return Predictions(
        records=tuple(f"r{first + k}" for k in range(records)),
        patients=tuple(f"p{(first + k) // 2}" for k in range(records)),
        sources=("made up",) * records,
        folds=(None, *(9,) * (records - 1)),
        classes=classes,
        truth=truth,
        logits=logits,
        facts={"task": "made up", "model": "dice", "seed": seed, "split": "none", **more},
    )
