"""Standardisation by the training set's mean and standard deviation of each lead, as Phan et al. 2022 do it."""

import numpy.typing as npt
import torch
from torch import nn

from ecg_edge.firmware_bridge.errors import EcgEdgeError


class Standardize(nn.Module):
    """(x - mean) / std, lead by lead; the identity until they are set. Both are kept with the weights."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, leads: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(leads, 1, 1))
        self.register_buffer("std", torch.ones(leads, 1, 1))

    def set(self, mean: npt.ArrayLike, std: npt.ArrayLike) -> None:
        """Take mean and std (leads,), in units of the input; raises EcgEdgeError for a std that is not above 0."""
        means, stds = (torch.as_tensor(v, dtype=torch.float32).reshape(self.mean.shape) for v in (mean, std))
        if not bool((stds > 0).all()):
            raise EcgEdgeError("a lead's standard deviation is not above 0: leave out the records without that lead")
        self.mean.copy_(means)
        self.std.copy_(stds)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return float32 of x's shape, (N, leads, height, width)."""
        return (x.float() - self.mean) / self.std
