"""Channel-spatial cross-attention between the time and the spectrogram branch.

The idea is that of M2JLNet (Hu, Sun and Qian), of which only the abstract is public; the equations here are our own.
With maps X_t (C_t, 1, T_t) and X_s (C_s, F, T_s), and their pooled vectors h_t and h_s:

    c_t = sigmoid(MLP(h_s))                                    which of its channels the time branch listens to
    p_t = sigmoid(resample(conv([mean; max] over channels and frequency of X_s)))    and when
    X_t' = X_t + c_t * p_t * X_t

and the same the other way round; p_s is the same for all frequencies. Mean and maximum of X_t' and X_s' are fused by
concatenation. Convolutions, linear layers, sigmoids and a bilinear resize: each has an operator in every back end.
"""

import torch
from torch import nn

from .output import BranchOutput, Pool

REDUCTION = 4  # of the channels, in the hidden layer of channel attention: a fifth of one full matrix's weights
SPAN = 3  # map positions that temporal attention sees at once: at the edge branches' 0.6 and 1.4 s each, a few beats


class CrossAttention(nn.Module):
    """Re-weighs one branch's maps by what the other branch has seen."""

    def __init__(self, channels: int, other_features: int) -> None:
        """channels: of the maps to re-weigh; other_features: of the other branch's vector."""
        super().__init__()
        hidden = max(8, channels // REDUCTION)
        self.channel = nn.Sequential(nn.Linear(other_features, hidden), nn.ReLU(), nn.Linear(hidden, channels))
        self.when = nn.Conv2d(2, 1, (1, SPAN), padding=(0, SPAN // 2))

    def times(self, maps: torch.Tensor, other: BranchOutput) -> torch.Tensor:
        """Return p (N, 1, 1, w), from 0 to 1: when to listen to maps (N, channels, h, w)."""
        seen = torch.cat(
            (
                other.maps.mean(dim=(1, 2), keepdim=True),
                other.maps.amax(dim=(1, 2), keepdim=True),
            ),
            dim=1,
        )
        size = (1, maps.shape[3])
        return torch.sigmoid(nn.functional.interpolate(self.when(seen), size, mode="bilinear", align_corners=False))

    def forward(self, maps: torch.Tensor, other: BranchOutput) -> torch.Tensor:
        """Return re-weighted maps (N, channels, h, w); `other` may have another length in time."""
        channel = torch.sigmoid(self.channel(other.vector))[:, :, None, None]
        return maps + maps * channel * self.times(maps, other)


class Csca(nn.Module):
    """Cross-attention in both directions, then mean and maximum of both branches' maps."""

    def __init__(
        self, time_channels: int, time_features: int, spectrogram_channels: int, spectrogram_features: int
    ) -> None:
        super().__init__()
        self.time = CrossAttention(time_channels, spectrogram_features)
        self.spectrogram = CrossAttention(spectrogram_channels, time_features)
        # Of their own: re-weighted maps have other means than those that the branches' own pools norm.
        self.time_pool, self.spectrogram_pool = Pool(time_channels), Pool(spectrogram_channels)
        self.features = self.time_pool.features + self.spectrogram_pool.features

    def attention(self, time: BranchOutput, spectrogram: BranchOutput) -> tuple[torch.Tensor, ...]:
        """Return p_t (N, T_t) and p_s (N, T_s)."""
        p_t, p_s = self.time.times(time.maps, spectrogram), self.spectrogram.times(spectrogram.maps, time)
        return p_t.flatten(1), p_s.flatten(1)

    def forward(self, time: BranchOutput, spectrogram: BranchOutput) -> torch.Tensor:
        """Return h (N, 2 * time_channels + 2 * spectrogram_channels)."""
        t = self.time_pool(self.time(time.maps, spectrogram))
        s = self.spectrogram_pool(self.spectrogram(spectrogram.maps, time))
        return torch.cat((t, s), dim=1)
