"""The head of self-distillation: features to likeness with prototypes (Caron et al. 2021, arXiv 2104.14294).

Its sizes in Phan et al. 2022 are 512, 512, 128 and 65,536 prototypes.
"""

from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class ProjectorSettings:
    """Size of the head."""

    hidden: int
    """Outputs of the first and of the second layer."""
    bottleneck: int
    """Length of the vectors that are compared with the prototypes."""
    prototypes: int
    """Outputs: the classes that the network makes up for itself."""


class Projector(nn.Module):
    """Three layers with GELU, then cosines with the prototypes."""

    def __init__(self, features: int, settings: ProjectorSettings) -> None:
        super().__init__()
        s = settings
        self.layers = nn.Sequential(
            nn.Linear(features, s.hidden),
            nn.GELU(),
            nn.Linear(s.hidden, s.hidden),
            nn.GELU(),
            nn.Linear(s.hidden, s.bottleneck),
        )
        for layer in self.layers:
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)  # as Caron et al. 2021 begin
                nn.init.zeros_(layer.bias)
        self.prototypes = nn.Parameter(torch.randn(s.prototypes, s.bottleneck))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return logits (N, prototypes) of features (N, features): cosines, from -1 to 1.

        That is a weight-normed linear layer without bias whose magnitudes are held at 1, after an L2 norm.
        """
        x = nn.functional.normalize(self.layers(features), dim=1)
        return nn.functional.linear(x, nn.functional.normalize(self.prototypes, dim=1))
