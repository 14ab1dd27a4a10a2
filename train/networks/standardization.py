"""What the paper's branches standardise their inputs by: the training set's figures of each lead."""

import numpy as np
import numpy.typing as npt

from ..store import RecordStore
from .front import front_of
from .model import FusionNet


def standardize(network: FusionNet, train: RecordStore, samples: int) -> None:
    """Let the paper's branches standardise each lead by the training set's mean and standard deviation.

    Over the last `samples` of every training record that has the lead; of signals and of magnitudes apart.
    """
    signal = np.stack([train.last_window(k, samples) for k in range(len(train.entries))])
    images = front_of("paper")(signal, np.zeros(0, dtype=np.uint8))
    there: npt.NDArray[np.bool_] = np.any(signal, axis=2)
    for branch, inputs in ((network.time, signal), (network.spectrogram, images)):
        rows = [np.asarray(inputs[there[:, lead], lead], dtype=np.float64) for lead in range(inputs.shape[1])]
        if branch is not None:
            branch.standardize([r.mean() for r in rows], [r.std() for r in rows])
