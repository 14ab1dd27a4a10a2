"""The loss of multi-label training: binary cross entropy over what is known of each record, task by task."""

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


class TaskLoss(nn.Module):
    """The mean over tasks of each task's mean binary cross entropy over the entries that count."""

    def __init__(self, sizes: tuple[int, ...], positive_weights: npt.NDArray[np.float32]) -> None:
        """Take the number of classes of each task, and the weight of a positive of each class of all."""
        super().__init__()
        self.sizes = sizes
        self.positive_weights: torch.Tensor
        self.register_buffer("positive_weights", torch.from_numpy(positive_weights))

    def totals(self, counted: torch.Tensor) -> torch.Tensor:
        """Return how much of each task counts in a whole batch, (tasks,), at least 1; counted: (N, classes)."""
        return torch.stack([part.sum() for part in counted.split(self.sizes, dim=1)]).clamp(min=1.0)

    def forward(
        self, logits: torch.Tensor, targets: torch.Tensor, counted: torch.Tensor, totals: torch.Tensor
    ) -> torch.Tensor:
        """Return the loss of some rows of a batch, whose sum over all rows is the batch's loss.

        logits, targets, counted: (n, classes); totals: of the whole batch.
        """
        each = nn.functional.binary_cross_entropy_with_logits(
            logits, targets, weight=counted, pos_weight=self.positive_weights, reduction="none"
        )
        sums = torch.stack([part.sum() for part in each.split(self.sizes, dim=1)])
        return (sums / totals).mean()
