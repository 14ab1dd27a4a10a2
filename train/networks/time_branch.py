"""The time branch: a residual network over the twelve conditioned leads.

One-dimensional convolutions are written as two-dimensional ones of height 1, which inference back ends run faster
and can lay out channel-last without transposes. Only convolutions, batch norm (folded at export) and ReLU: each
fuses into one INT8 kernel.
"""

from collections.abc import Sequence

import torch
from torch import nn

from .output import BranchOutput, Pool

MILLIVOLT = 1e-3  # of the signal's LSB, one microvolt


def compand(signal: torch.Tensor) -> torch.Tensor:
    """Return x / (1 + |x|) of a signal in microvolts, x being in millivolts: within (-1, 1), slope 1 at zero.

    Eight bits over that range resolve 8 µV near zero, where P waves are, and 30 µV on the flank of a QRS complex;
    a linear scale that does not clip a large QRS complex would have 30 µV everywhere.
    """
    x = signal.float() * MILLIVOLT
    return x / (1 + x.abs())


def norm_conv(inputs: int, outputs: int, width: int, stride: int = 1) -> nn.Sequential:
    """Return a (1, width) convolution without bias and its batch norm; 'same' padding at stride 1."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, (1, width), (1, stride), (0, width // 2), bias=False),
        nn.BatchNorm2d(outputs),
    )


class Block(nn.Module):
    """Two convolutions and a shortcut (He et al. 2016, the post-activation form: it folds)."""

    def __init__(self, inputs: int, outputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.first = norm_conv(inputs, outputs, width, stride)
        self.second = norm_conv(outputs, outputs, width)
        plain = inputs == outputs and stride == 1
        self.shortcut = nn.Identity() if plain else norm_conv(inputs, outputs, 1, stride)
        self.relu = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return features (N, outputs, 1, ceil(n / stride)) of x (N, inputs, 1, n)."""
        y = self.second(self.relu(self.first(x)))
        return self.relu(y + self.shortcut(x))


class TimeBranch(nn.Module):
    """Signal in microvolts to feature maps and one feature vector."""

    def __init__(self, leads: int, stem: int, stride: int, widths: Sequence[int], kernel: int) -> None:
        """Build a stem that divides the length by `stride` and `len(widths)` blocks, each halving it."""
        super().__init__()
        self.stem = norm_conv(leads, stem, 2 * kernel + 1, stride)
        self.relu = nn.ReLU()
        inputs = (stem, *widths[:-1])
        self.blocks = nn.Sequential(
            *(Block(a, b, kernel, 2) for a, b in zip(inputs, widths, strict=True)),
        )
        self.channels = widths[-1]
        self.pool = Pool(self.channels)
        self.features = self.pool.features

    def maps(self, signal: torch.Tensor) -> torch.Tensor:
        """Return feature maps (N, channels, 1, n) of signal int16 (N, leads, 1, samples) in microvolts."""
        maps: torch.Tensor = self.blocks(self.relu(self.stem(compand(signal))))
        return maps

    def forward(self, signal: torch.Tensor) -> BranchOutput:
        """Return the maps of signal int16 (N, leads, 1, samples) and their mean and maximum over time."""
        maps = self.maps(signal)
        return BranchOutput(maps, self.pool(maps))
