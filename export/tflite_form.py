"""The network as TFLite gets it: the same function in operators that 8-bit kernels run well, channels last.

What changes against `FusionNet`, none of it in what is computed:

- the compand and the scaling of the spectrogram are not in the graph: its inputs are already on 8-bit scales (see
  `runtime.backends.tflite_inputs`), the division by STEPS_PER_UNIT is folded into the first convolution;
- every batch norm is folded into the linear operator before or after it;
- mean and maximum stay apart, each with its own scale: concatenated they would share the maximum's, a fifth of whose
  steps the means use. A linear layer on their concatenation is the sum of two;
- the temporal attention of `csca` (convolution, then bilinear resize) is linear and along one axis, hence one small
  matrix for the means and one for the maxima;
- x + x * c * p is x * (1 + c * p), one large product instead of two and a sum.
"""

import torch
from torch import nn

from ecg_edge.firmware_bridge.errors import EcgEdgeError
from ecg_edge.train.networks.concat import Concat
from ecg_edge.train.networks.csca import CrossAttention, Csca
from ecg_edge.train.networks.gate import Gate
from ecg_edge.train.networks.model import FusionNet
from ecg_edge.train.networks.output import Pool
from ecg_edge.train.networks.spectrogram_branch import STEPS_PER_UNIT, SpectrogramBranch
from ecg_edge.train.networks.time_branch import TimeBranch

from .onnx import fold_batch_norm

Pooled = tuple[torch.Tensor, torch.Tensor]
"""Mean and maximum of each channel, each (N, channels)."""


def pooled(maps: torch.Tensor) -> Pooled:
    """Return mean and maximum over height and width of maps (N, h, w, channels)."""
    return maps.mean(dim=(1, 2)), maps.amax(dim=(1, 2))


class LinearOfPooled(nn.Module):
    """A linear layer on normed means and maxima of some maps, as a sum of one layer on each."""

    def __init__(self, linear: nn.Linear, norms: list[nn.BatchNorm1d]) -> None:
        """linear: on the concatenation of what each of `norms` gives (Pool's order: means, then maxima)."""
        super().__init__()
        gain = torch.cat([_gain(norm) for norm in norms])
        shift = torch.cat([_shift(norm) for norm in norms])
        weight, bias = linear.weight * gain, linear.weight @ shift
        if linear.bias is not None:
            bias = bias + linear.bias
        widths = [norm.num_features // 2 for norm in norms for _ in range(2)]
        self.parts = nn.ModuleList(_linear(part, None) for part in weight.split(widths, dim=1))
        self.parts[0] = _linear(weight[:, : widths[0]], bias)

    def forward(self, *vectors: torch.Tensor) -> torch.Tensor:
        """Return (N, outputs) of means and maxima, in the order of the norms."""
        total: torch.Tensor = self.parts[0](vectors[0])
        for part, vector in zip(list(self.parts)[1:], vectors[1:], strict=True):
            total = total + part(vector)
        return total


class Attention(nn.Module):
    """`CrossAttention` from maps of one fixed size to maps of another."""

    def __init__(self, source: CrossAttention, norm: nn.BatchNorm1d, other_length: int, length: int) -> None:
        """norm: that of the other branch's vector; lengths in time of the other's maps and of those to re-weigh."""
        super().__init__()
        first, self.relu, self.second = source.channel
        self.first = LinearOfPooled(first, [norm])
        with torch.no_grad():
            # The rows of the matrices are the answers to unit vectors, less the answer to zero.
            def answer(seen: torch.Tensor) -> torch.Tensor:
                answered = nn.functional.interpolate(
                    source.when(seen), (1, length), mode="bilinear", align_corners=False
                )
                return answered.reshape(len(seen), length)

            unit, zero = torch.eye(other_length)[:, None, None], torch.zeros(other_length, 1, 1, other_length)
            rest = answer(torch.cat((zero, zero), dim=1))[:1]
            means = (answer(torch.cat((unit, zero), dim=1)) - rest).T
            maxima = (answer(torch.cat((zero, unit), dim=1)) - rest).T
        self.of_means, self.of_maxima = _linear(means, rest[0]), _linear(maxima, None)

    def forward(self, maps: torch.Tensor, other_maps: torch.Tensor, other: Pooled) -> torch.Tensor:
        """Return re-weighted maps (N, h, length, channels)."""
        channel = torch.sigmoid(self.second(self.relu(self.first(*other))))[:, None, None]
        means, maxima = other_maps.mean(dim=(1, 3)), other_maps.amax(dim=(1, 3))
        when = torch.sigmoid(self.of_means(means) + self.of_maxima(maxima))[:, None, :, None]
        return maps * (1 + channel * when)


class TfliteForm(nn.Module):
    """A trained edge network for conversion: channels last, batch 1, fixed sizes."""

    def __init__(self, network: FusionNet, window: int, bins: int, frames: int) -> None:
        """Take a copy of the weights of `network`; raises EcgEdgeError for another backbone than the edge one."""
        super().__init__()
        if network.settings.backbone != "edge":
            raise EcgEdgeError(
                f"the {network.settings.backbone} backbone does not run on devices: export one with the edge backbone"
            )
        folded = fold_batch_norm(network)
        self.time, self.spectrogram = folded.time, folded.spectrogram
        assert isinstance(self.time, TimeBranch | None)
        assert isinstance(self.spectrogram, SpectrogramBranch | None)
        if self.spectrogram is not None:
            stem = self.spectrogram.stem
            assert isinstance(stem, nn.Conv2d)
            stem.weight.data /= STEPS_PER_UNIT  # a power of two: no weight is rounded
        fusion, head = folded.fusion, folded.head
        assert isinstance(head, nn.Linear)
        self.to_time: Attention | None = None
        self.to_spectrogram: Attention | None = None
        self.gate: LinearOfPooled | None = None
        own = [branch.pool for branch in (self.time, self.spectrogram) if branch is not None]
        if isinstance(fusion, Csca):
            assert self.time is not None
            assert self.spectrogram is not None
            with torch.no_grad():
                leads = self.time.stem.in_channels  # type: ignore[union-attr]
                t = self.time.maps(torch.zeros(1, leads, 1, window)).shape[3]
                s = self.spectrogram.maps(torch.zeros(1, leads, bins, frames)).shape[3]
            self.to_time = Attention(fusion.time, self.spectrogram.pool.norm, s, t)
            self.to_spectrogram = Attention(fusion.spectrogram, self.time.pool.norm, t, s)
            own = [fusion.time_pool, fusion.spectrogram_pool]
        elif isinstance(fusion, Gate):
            self.gate = LinearOfPooled(fusion.linear, [pool.norm for pool in own])
        else:
            assert isinstance(fusion, Concat | None)
        if self.gate is None:
            self.head: nn.Module = LinearOfPooled(head, [pool.norm for pool in own])
        else:
            # g h: the weight of a branch multiplies what the head makes of its vector.
            split = head.weight.split([pool.features for pool in own], dim=1)
            self.head = nn.ModuleList(
                LinearOfPooled(_linear(part, None), [pool.norm]) for part, pool in zip(split, own, strict=True)
            )
            self.bias = nn.Parameter(head.bias.detach())

    def forward(self, signal: torch.Tensor, spectrogram: torch.Tensor) -> torch.Tensor:
        """Return logits (1, classes).

        signal: float (1, 1, window, leads), companded, in (-1, 1); spectrogram: float (1, bins, frames, leads),
        the integers 0 to 255 of the log power.
        """
        maps, pools = [], []
        for branch, x in ((self.time, signal), (self.spectrogram, spectrogram)):
            if branch is not None:
                x = branch.blocks(branch.relu(branch.stem(x.permute(0, 3, 1, 2))))
                maps.append(x.permute(0, 2, 3, 1))  # back again, so that the converter needs no transposes
                pools.append(pooled(maps[-1]))
        if self.to_time is not None and self.to_spectrogram is not None:
            t, s = maps
            pools = [pooled(self.to_time(t, s, pools[1])), pooled(self.to_spectrogram(s, t, pools[0]))]
        vectors = [vector for pair in pools for vector in pair]
        if self.gate is None:
            logits: torch.Tensor = self.head(*vectors)
            return logits
        g = torch.softmax(self.gate(*vectors), dim=1)
        of_time, of_spectrogram = (part(*pair) for part, pair in zip(self.head, pools, strict=True))
        return g[:, :1] * of_time + g[:, 1:] * of_spectrogram + self.bias


def _gain(norm: nn.BatchNorm1d) -> torch.Tensor:
    assert norm.running_var is not None
    return (norm.weight / torch.sqrt(norm.running_var + norm.eps)).detach()


def _shift(norm: nn.BatchNorm1d) -> torch.Tensor:
    assert norm.running_mean is not None
    return (norm.bias - norm.running_mean * _gain(norm)).detach()


def _linear(weight: torch.Tensor, bias: torch.Tensor | None) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    layer.weight.data = weight.detach().clone()
    if bias is not None:
        layer.bias.data = bias.detach().clone()
    return layer
