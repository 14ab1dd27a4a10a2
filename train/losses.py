"""The loss of multi-label training: binary cross entropy over what is known of each record."""

import numpy as np
import numpy.typing as npt
import torch
from torch import nn


def rare_weights(labels: npt.NDArray[np.bool_], power: float, limit: float) -> npt.NDArray[np.float32]:
    """Return how many times a positive of each class counts, (classes,): (negatives / positives) ** power.

    labels: (records, classes). From 1 to `limit`; power 0 takes classes as they come, 1 balances them.
    """
    positives = np.maximum(labels.sum(axis=0), 1)
    balance = ((len(labels) - positives) / positives).clip(min=1.0) ** power
    return balance.clip(max=limit).astype(np.float32)


def measurement_loss(told: torch.Tensor, truth: torch.Tensor, windows: int) -> torch.Tensor:
    """Return the loss of measurements told of some windows (n, values), whose sum over a batch of `windows` is its own.

    Squared up to a standard deviation, absolute beyond (Huber 1964), the mean over values; windows whose truth is NaN
    cost nothing.
    """
    known = ~torch.isnan(truth)
    each = nn.functional.smooth_l1_loss(told, torch.where(known, truth, told.detach()), reduction="sum")
    return each / (truth.shape[1] * windows)


class KnownLoss(nn.Module):
    """The mean binary cross entropy over the entries that count, of all tasks together.

    So a task weighs by how many classes it has. The mean of the tasks' means, tried while this took shape, served the
    five superclasses no better and cost the 24 classes clearly.
    """

    def __init__(self, positive_weights: npt.NDArray[np.float32]) -> None:
        """positive_weights: weight of a positive of each class, (classes,)."""
        super().__init__()
        self.positive_weights: torch.Tensor
        self.register_buffer("positive_weights", torch.from_numpy(positive_weights))

    def forward(
        self, logits: torch.Tensor, targets: torch.Tensor, counted: torch.Tensor, total: torch.Tensor
    ) -> torch.Tensor:
        """Return the loss of some rows of a batch, whose sum over all its rows is the batch's loss.

        logits, targets, counted: (n, classes); total: how much counts in the whole batch, at least 1.
        """
        return (
            nn.functional.binary_cross_entropy_with_logits(
                logits, targets, weight=counted, pos_weight=self.positive_weights, reduction="sum"
            )
            / total
        )
