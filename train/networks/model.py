"""The two-branch network: signal and spectrogram of one window in, one logit per class out.

It takes the integers of the device's front end; their scaling to float is part of the network, hence of the
exported graph, so nothing about it can differ between training and the device.
"""

from dataclasses import dataclass

import torch
from torch import nn

from .gate import Gate
from .spectrogram_branch import SpectrogramBranch
from .time_branch import TimeBranch


@dataclass(frozen=True)
class NetworkSettings:
    """Size of the network."""

    time_stem: int
    """Channels after the first convolution of the time branch."""
    time_stride: int
    """Samples between the outputs of that convolution."""
    time_widths: tuple[int, ...]
    """Channels of its residual blocks, each at half the length of the one before."""
    time_kernel: int
    """Samples that a block's convolutions span; odd. The stem spans 2 * time_kernel + 1."""
    spectrogram_stem: int
    """Channels after the first convolution of the spectrogram branch."""
    spectrogram_widths: tuple[int, ...]
    """Channels of its residual blocks, each at half the image's sides of the one before."""
    dropout: float
    """Fraction of the head's inputs dropped while training."""


class FusionNet(nn.Module):
    """Time branch and spectrogram branch, fused by a learned gate."""

    def __init__(self, settings: NetworkSettings, leads: int, classes: int) -> None:
        super().__init__()
        self.settings = settings
        s = settings
        self.time = TimeBranch(leads, s.time_stem, s.time_stride, s.time_widths, s.time_kernel)
        self.spectrogram = SpectrogramBranch(leads, s.spectrogram_stem, s.spectrogram_widths)
        self.gate = Gate(self.time.features, self.spectrogram.features)
        self.head = nn.Sequential(
            nn.Dropout(settings.dropout),
            nn.Linear(self.time.features + self.spectrogram.features, classes),
        )

    def forward(self, signal: torch.Tensor, spectrogram: torch.Tensor) -> torch.Tensor:
        """Return logits float32 (N, classes).

        signal: int16 (N, leads, 1, samples) in microvolts; spectrogram: uint8 (N, leads, bins, frames), the front
        end's log power of that signal. A lead that is missing is zero in both.
        """
        return self.fuse(self.time(signal), self.spectrogram(spectrogram))

    def fuse(self, time: torch.Tensor, spectrogram: torch.Tensor) -> torch.Tensor:
        """Return logits (N, classes) of the branches' features."""
        logits: torch.Tensor = self.head(self.gate(time, spectrogram))
        return logits

    def parameters_count(self) -> int:
        """Return the number of trained parameters."""
        return sum(p.numel() for p in self.parameters())


class BranchHeads(nn.Module):
    """One linear classifier for each branch, for training alone.

    A softmax gate that finds one branch better early on closes on the other, which then gets no gradient to improve
    by. A loss of its own keeps each branch learning, whatever the gate does.
    """

    def __init__(self, network: FusionNet, classes: int) -> None:
        super().__init__()
        self.time = nn.Linear(network.time.features, classes)
        self.spectrogram = nn.Linear(network.spectrogram.features, classes)

    def forward(self, time: torch.Tensor, spectrogram: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the logits (N, classes) of each branch's features."""
        return self.time(time), self.spectrogram(spectrogram)
