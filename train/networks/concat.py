"""Fusion of two feature vectors by concatenation: what a learned fusion has to beat."""

import torch
from torch import nn

from .output import BranchOutput


class Concat(nn.Module):
    """Both vectors, one after the other; nothing learned."""

    def __init__(self, time_features: int, spectrogram_features: int) -> None:
        super().__init__()
        self.features = time_features + spectrogram_features

    def attention(self, time: BranchOutput, spectrogram: BranchOutput) -> tuple[torch.Tensor, ...]:
        """Return nothing: it attends to all alike."""
        return ()

    def forward(self, time: BranchOutput, spectrogram: BranchOutput) -> torch.Tensor:
        """Return h = [h_t; h_s] (N, time_features + spectrogram_features)."""
        return torch.cat((time.vector, spectrogram.vector), dim=1)
