"""The paper's spectrogram branch: ResNet34 with squeeze-and-excitation, on magnitudes of 13 bins and 21 frames.

ResNet34 of He et al. 2016 (arXiv 1512.03385), with the blocks of Hu et al. 2018 (arXiv 1709.01507): each channel of
a block's residual is weighed by what all channels hold on average. Nearly all of the paper's 22.9 million parameters
are here.
"""

import numpy.typing as npt
import torch
from torch import nn

from .output import BranchOutput
from .spectrogram_branch import norm_conv
from .standardize import Standardize

STEM = 64  # channels of the 7 x 7 convolution
STAGES = ((3, 64), (4, 128), (6, 256), (3, 512))  # blocks and channels: what makes it a 34
REDUCTION = 16  # of the channels in the hidden layer of squeeze-and-excitation, as published


class SeBlock(nn.Module):
    """Two 3 x 3 convolutions, squeeze-and-excitation, and a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = norm_conv(inputs, outputs, 3, stride)
        self.second = norm_conv(outputs, outputs, 3)
        self.excite = nn.Sequential(
            nn.Linear(outputs, outputs // REDUCTION), nn.ReLU(), nn.Linear(outputs // REDUCTION, outputs), nn.Sigmoid()
        )
        plain = inputs == outputs and stride == 1
        self.shortcut = nn.Identity() if plain else norm_conv(inputs, outputs, 1, stride)
        self.relu = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return features (N, outputs, ceil(h / stride), ceil(w / stride)) of x (N, inputs, h, w)."""
        y = self.second(self.relu(self.first(x)))
        y = y * self.excite(y.mean(dim=(2, 3)))[:, :, None, None]
        return self.relu(y + self.shortcut(x))


class SeResNet34(nn.Module):
    """Magnitudes, standardised, to feature maps and a vector of 512."""

    def __init__(self, leads: int) -> None:
        super().__init__()
        self.standardization = Standardize(leads)
        self.stem = nn.Sequential(norm_conv(leads, STEM, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1))
        blocks: list[SeBlock] = []
        inputs = STEM
        for count, outputs in STAGES:
            for block in range(count):
                blocks.append(SeBlock(inputs, outputs, 2 if block == 0 and outputs != STEM else 1))
                inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        self.channels = self.features = inputs
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def standardize(self, mean: npt.ArrayLike, std: npt.ArrayLike) -> None:
        """Set mean and standard deviation (leads,) of the training set's magnitudes."""
        self.standardization.set(mean, std)

    def maps(self, spectrogram: torch.Tensor) -> torch.Tensor:
        """Return feature maps (N, 512, h, w), 1 x 1 of 13 x 21, of spectrogram float32 (N, leads, bins, frames)."""
        maps: torch.Tensor = self.blocks(self.stem(self.standardization(spectrogram)))
        return maps

    def pool(self, maps: torch.Tensor) -> torch.Tensor:
        """Return each channel's mean (N, 512)."""
        return maps.mean(dim=(2, 3))

    def forward(self, spectrogram: torch.Tensor) -> BranchOutput:
        """Return the maps of spectrogram float32 (N, leads, bins, frames), and their mean."""
        maps = self.maps(spectrogram)
        return BranchOutput(maps, self.pool(maps))
