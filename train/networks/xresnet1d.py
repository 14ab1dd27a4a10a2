"""The paper's time branch: a one-dimensional xresnet50 whose four stages all have 64 channels (Phan et al. 2022).

xresnet is the residual network with the three changes of He et al. 2019 (arXiv 1812.01187): a stem of three small
convolutions, a bottleneck that strides in its middle convolution, and a shortcut that averages before it projects.
Convolutions span 5 samples, as in the ECG networks of Strodthoff et al. 2021 (arXiv 2004.13701), from which the
paper has it; with 12 leads it then has 886,400 parameters, the 0.886 million that the paper's network has. Height 1,
as in the edge branch.
"""

import numpy.typing as npt
import torch
from torch import nn

from .output import BranchOutput, mean_and_maximum
from .standardize import Standardize
from .time_branch import norm_conv

STEM = (32, 32, 64)  # channels of its three convolutions, the first of which strides
STAGES = (3, 4, 6, 3)  # bottlenecks of each stage: what makes it a 50
WIDTH, EXPANSION = 64, 4  # channels within a bottleneck, and times as many between them
KERNEL = 5


class Bottleneck(nn.Module):
    """1 - 5 - 1 convolutions and a shortcut."""

    def __init__(self, inputs: int, stride: int) -> None:
        super().__init__()
        outputs = WIDTH * EXPANSION
        self.first = norm_conv(inputs, WIDTH, 1)
        self.second = norm_conv(WIDTH, WIDTH, KERNEL, stride)
        self.third = norm_conv(WIDTH, outputs, 1)
        for module in self.third.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.zeros_(module.weight)  # each block begins as its shortcut (He et al. 2019)
        average = nn.Identity() if stride == 1 else nn.AvgPool2d((1, stride), ceil_mode=True)
        self.shortcut = nn.Sequential(average, nn.Identity() if inputs == outputs else norm_conv(inputs, outputs, 1))
        self.relu = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return features (N, 256, 1, ceil(n / stride)) of x (N, inputs, 1, n)."""
        y = self.third(self.relu(self.second(self.relu(self.first(x)))))
        return self.relu(y + self.shortcut(x))


class XResNet1d50(nn.Module):
    """Signal in microvolts, standardised, to feature maps and a vector of 512."""

    def __init__(self, leads: int) -> None:
        super().__init__()
        self.standardization = Standardize(leads)
        stem: list[nn.Module] = []
        for k, (inputs, outputs) in enumerate(zip((leads, *STEM), STEM, strict=False)):
            stem += [norm_conv(inputs, outputs, KERNEL, 2 if k == 0 else 1), nn.ReLU()]
        self.stem = nn.Sequential(*stem, nn.MaxPool2d((1, 3), (1, 2), (0, 1)))
        self.channels = WIDTH * EXPANSION
        blocks = [
            Bottleneck(STEM[-1] if stage == block == 0 else self.channels, 2 if stage > 0 and block == 0 else 1)
            for stage, count in enumerate(STAGES)
            for block in range(count)
        ]
        self.blocks = nn.Sequential(*blocks)
        self.features = 2 * self.channels
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)

    def standardize(self, mean: npt.ArrayLike, std: npt.ArrayLike) -> None:
        """Set mean and standard deviation (leads,) of the training set's signal, in microvolts."""
        self.standardization.set(mean, std)

    def maps(self, signal: torch.Tensor) -> torch.Tensor:
        """Return feature maps (N, 256, 1, n) of signal int16 (N, leads, 1, samples) in microvolts."""
        maps: torch.Tensor = self.blocks(self.stem(self.standardization(signal)))
        return maps

    def pool(self, maps: torch.Tensor) -> torch.Tensor:
        """Return each channel's mean and maximum (N, 512)."""
        return mean_and_maximum(maps)

    def forward(self, signal: torch.Tensor) -> BranchOutput:
        """Return the maps of signal int16 (N, leads, 1, samples) in microvolts, and their mean and maximum."""
        maps = self.maps(signal)
        return BranchOutput(maps, self.pool(maps))
