"""The spectrogram branch: a small residual image network over the 8-bit log power of the twelve leads."""

from collections.abc import Sequence

import torch
from torch import nn

from .narrow import NarrowConv2d
from .output import BranchOutput, Pool

STEPS_PER_UNIT = 64  # 8-bit log-power steps (0.376 dB each) per unit of the network's input: 24 dB


def norm_conv(inputs: int, outputs: int, size: int, stride: int = 1) -> nn.Sequential:
    """Return a square convolution without bias and its batch norm; 'same' padding at stride 1."""
    return nn.Sequential(NarrowConv2d(inputs, outputs, size, stride, size // 2, bias=False), nn.BatchNorm2d(outputs))


class Block(nn.Module):
    """Two 3 x 3 convolutions and a shortcut; halves both sides of the image."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = norm_conv(inputs, outputs, 3, 2)
        self.second = norm_conv(outputs, outputs, 3)
        self.shortcut = norm_conv(inputs, outputs, 1, 2)
        self.relu = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return features (N, outputs, ceil(bins / 2), ceil(frames / 2)) of x (N, inputs, bins, frames)."""
        y = self.second(self.relu(self.first(x)))
        return self.relu(y + self.shortcut(x))


class SpectrogramBranch(nn.Module):
    """Log-power spectrogram of the leads to feature maps and one feature vector."""

    def __init__(self, leads: int, stem: int, widths: Sequence[int]) -> None:
        """Build a stem and `len(widths)` blocks, each of which halves both sides of the image."""
        super().__init__()
        self.stem = norm_conv(leads, stem, 5, 2)
        self.relu = nn.ReLU()
        inputs = (stem, *widths[:-1])
        self.blocks = nn.Sequential(*(Block(a, b) for a, b in zip(inputs, widths, strict=True)))
        self.channels = widths[-1]
        self.pool = Pool(self.channels)
        self.features = self.pool.features

    def maps(self, spectrogram: torch.Tensor) -> torch.Tensor:
        """Return feature maps (N, channels, h, w) of spectrogram uint8 (N, leads, bins, frames)."""
        maps: torch.Tensor = self.blocks(self.relu(self.stem(spectrogram.float() * (1 / STEPS_PER_UNIT))))
        return maps

    def forward(self, spectrogram: torch.Tensor) -> BranchOutput:
        """Return the maps of spectrogram uint8 (N, leads, bins, frames) and their mean and maximum."""
        maps = self.maps(spectrogram)
        return BranchOutput(maps, self.pool(maps))
