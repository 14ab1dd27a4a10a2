"""What a branch gives: its feature maps and the vector pooled from them."""

from typing import NamedTuple

import torch
from torch import nn


class BranchOutput(NamedTuple):
    """Of one branch, for N windows."""

    maps: torch.Tensor
    """(N, channels, height, time) before pooling; the time branch's height is 1."""
    vector: torch.Tensor
    """(N, features)."""


def mean_and_maximum(maps: torch.Tensor) -> torch.Tensor:
    """Return (N, 2 * channels): each channel's mean, then each channel's maximum, of maps (N, channels, h, w)."""
    return torch.cat((maps.mean(dim=(2, 3)), maps.amax(dim=(2, 3))), dim=1)


class Pool(nn.Module):
    """Mean and maximum of each channel, normed so that neither branch enters a fusion louder than the other."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.features = 2 * channels
        self.norm = nn.BatchNorm1d(self.features)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Return features (N, 2 * channels) of maps (N, channels, height, width)."""
        features: torch.Tensor = self.norm(mean_and_maximum(maps))
        return features
