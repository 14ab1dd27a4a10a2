"""Gate fusion of two feature vectors (Phan et al. 2022, arXiv 2210.06297)."""

import torch
from torch import nn

from .output import BranchOutput


class Gate(nn.Module):
    """Weighs the branches of each record against each other: g = softmax(W [h_t; h_s] + b) in R^2."""

    def __init__(self, time_features: int, spectrogram_features: int) -> None:
        super().__init__()
        self.features = time_features + spectrogram_features
        self.linear = nn.Linear(self.features, 2)

    def weights(self, time: torch.Tensor, spectrogram: torch.Tensor) -> torch.Tensor:
        """Return g (N, 2), the weights of the time and the spectrogram vector; each row sums to one."""
        return torch.softmax(self.linear(torch.cat((time, spectrogram), dim=1)), dim=1)

    def attention(self, time: BranchOutput, spectrogram: BranchOutput) -> tuple[torch.Tensor, ...]:
        """Return g as the one thing that this fusion attends by."""
        return (self.weights(time.vector, spectrogram.vector),)

    def forward(self, time: BranchOutput, spectrogram: BranchOutput) -> torch.Tensor:
        """Return h = [g_1 h_t; g_2 h_s] (N, time_features + spectrogram_features)."""
        g = self.weights(time.vector, spectrogram.vector)
        return torch.cat((g[:, :1] * time.vector, g[:, 1:] * spectrogram.vector), dim=1)
