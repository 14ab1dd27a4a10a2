"""How far a figure would move with other patients: percentile bootstrap (Efron 1979)."""

from collections.abc import Hashable, Sequence

import numpy as np
import numpy.typing as npt

RESAMPLES = 1000  # the ends of a 95 % interval then rest on 25 resamples each
LEVEL = 0.95

Floats = npt.NDArray[np.float64]


def resample(groups: Sequence[Hashable], resamples: int = RESAMPLES, seed: int = 0) -> Floats:
    """Return how often each record is drawn in each resample, float64 (resamples, records).

    groups: the patient of each record. Patients are drawn with replacement, all their records with them, so that
    records of one patient do not pass for independent. The same seed gives the same draws. Raises ValueError
    without records.
    """
    if not groups:
        raise ValueError("no records to resample")
    number = {key: k for k, key in enumerate(dict.fromkeys(groups))}
    drawn = np.random.default_rng(seed).multinomial(len(number), np.full(len(number), 1 / len(number)), resamples)
    return drawn[:, [number[key] for key in groups]].astype(np.float64)


def interval(values: Floats, level: float = LEVEL) -> tuple[Floats, Floats]:
    """Return the low and the high end of the percentile interval over the first axis of `values`.

    Resamples in which the figure is not defined (NaN) are left out; NaN where it never is.
    """
    tail = (1 - level) / 2
    defined = ~np.isnan(values).all(axis=0)
    ends = np.full((2, *values.shape[1:]), np.nan)
    ends[:, defined] = np.nanquantile(values[:, defined], [tail, 1 - tail], axis=0)
    return ends[0], ends[1]
