"""The network as TFLite gets it: the same function in operators that 8-bit kernels run well, channels last.

What changes against `FusionNet`, none of it in what is computed:

- the compand and the scaling of the spectrogram are not in the graph: its inputs are already on 8-bit scales (see
  `runtime.backends.tflite_inputs`), the division by STEPS_PER_UNIT is folded into the first convolution;
- every batch norm is folded into the linear operator before or after it;
- mean and maximum stay apart, each with its own scale: concatenated they would share the maximum's, a fifth of whose
  steps the means use. A linear layer on their concatenation is the sum of two;
- the temporal attention of `csca` (convolution, then bilinear resize) is linear and along one axis, hence one small
  matrix for the means and one for the maxima;
- x + x * c * p is x * (1 + c * p), one large product instead of two and a sum;
- the small linear layers of the attention, which are 8-bit too, are convolutions of one point: LiteRT's reference
  kernel rounds a fully connected layer's sums once and TensorFlow Lite Micro's twice, where both round a
  convolution's twice. With that the two give the same logits to the bit.
"""

from collections import OrderedDict

import torch
from torch import nn

from ecg_edge.firmware_bridge.errors import EcgEdgeError
from ecg_edge.train.networks.concat import Concat
from ecg_edge.train.networks.csca import CrossAttention, Csca
from ecg_edge.train.networks.gate import Gate
from ecg_edge.train.networks.model import FusionNet
from ecg_edge.train.networks.spectrogram_branch import STEPS_PER_UNIT, SpectrogramBranch
from ecg_edge.train.networks.time_branch import TimeBranch

from .onnx import fold_batch_norm

Pooled = tuple[torch.Tensor, torch.Tensor]
"""Mean and maximum of each channel, each (N, channels)."""


def pooled(maps: torch.Tensor) -> Pooled:
    """Return mean and maximum over height and width of maps (N, h, w, channels)."""
    # The maximum as pooling, which is 8-bit everywhere, where a reduction to the maximum is not; of maps in one
    # column, since the converter transposes the maps for it otherwise.
    column = maps.reshape(maps.shape[0], -1, 1, maps.shape[3]).permute(0, 3, 1, 2)
    return maps.mean(dim=(1, 2)), nn.functional.max_pool2d(column, (column.shape[2], 1)).flatten(1)


class Pointwise(nn.Module):
    """A linear layer as a convolution of one point."""

    def __init__(self, linear: nn.Linear) -> None:
        """Take the weights of `linear`."""
        super().__init__()
        self.conv = nn.Conv2d(linear.in_features, linear.out_features, 1, bias=linear.bias is not None)
        self.conv.weight.data = linear.weight.detach()[:, :, None, None].clone()
        if self.conv.bias is not None:
            self.conv.bias.data = linear.bias.detach().clone()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (N, outputs) of (N, inputs)."""
        answer: torch.Tensor = self.conv(x[:, :, None, None]).flatten(1)
        return answer


class LinearOfPooled(nn.Module):
    """A linear layer on normed means and maxima of some maps, as a sum of one layer on each."""

    def __init__(self, linear: nn.Linear, norms: list[nn.BatchNorm1d], pointwise: bool = False) -> None:
        """linear: on the concatenation of what each of `norms` gives (Pool's order: means, then maxima).

        pointwise: be made of Pointwise layers.
        """
        super().__init__()
        gain = torch.cat([_gain(norm) for norm in norms])
        shift = torch.cat([_shift(norm) for norm in norms])
        weight, bias = linear.weight * gain, linear.weight @ shift
        if linear.bias is not None:
            bias = bias + linear.bias
        widths = [norm.num_features // 2 for norm in norms for _ in range(2)]
        layers = [_linear(part, None) for part in weight.split(widths, dim=1)]
        layers[0] = _linear(weight[:, : widths[0]], bias)
        self.parts = nn.ModuleList(map(Pointwise, layers) if pointwise else layers)

    def forward(self, *vectors: torch.Tensor) -> torch.Tensor:
        """Return (N, outputs) of means and maxima, in the order of the norms."""
        total: torch.Tensor = self.parts[0](vectors[0])
        for part, vector in zip(list(self.parts)[1:], vectors[1:], strict=True):
            total = total + part(vector)
        return total


class GatedHead(nn.Module):
    """`Gate` and the head after it: g_1 head(h_t) + g_2 head(h_s) + bias."""

    def __init__(self, gate: Gate, head: nn.Linear, norms: list[nn.BatchNorm1d]) -> None:
        """norms: of the time and the spectrogram branch's vector."""
        super().__init__()
        self.gate = LinearOfPooled(gate.linear, norms)
        of_time, of_spectrogram = head.weight.split([norm.num_features for norm in norms], dim=1)
        self.of_time = LinearOfPooled(_linear(of_time, None), norms[:1])
        self.of_spectrogram = LinearOfPooled(_linear(of_spectrogram, None), norms[1:])
        self.bias = nn.Parameter(head.bias.detach())

    def forward(self, *vectors: torch.Tensor) -> torch.Tensor:
        """Return logits (N, classes) of the means and maxima of both branches."""
        g = torch.softmax(self.gate(*vectors), dim=1)
        return g[:, :1] * self.of_time(*vectors[:2]) + g[:, 1:] * self.of_spectrogram(*vectors[2:]) + self.bias


class Attention(nn.Module):
    """`CrossAttention` from maps of one fixed size to maps of another."""

    def __init__(self, source: CrossAttention, norm: nn.BatchNorm1d, other_length: int, length: int) -> None:
        """norm: that of the other branch's vector; lengths in time of the other's maps and of those to re-weigh."""
        super().__init__()
        first, self.relu, second = source.channel
        assert isinstance(first, nn.Linear)
        assert isinstance(second, nn.Linear)
        self.first, self.second = LinearOfPooled(first, [norm], pointwise=True), Pointwise(second)
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
        self.of_means, self.of_maxima = Pointwise(_linear(means, rest[0])), Pointwise(_linear(maxima, None))

    def forward(self, maps: torch.Tensor, other_maps: torch.Tensor, other: Pooled) -> torch.Tensor:
        """Return re-weighted maps (N, h, length, channels)."""
        channel = torch.sigmoid(self.second(self.relu(self.first(*other))))[:, None, None]
        means, maxima = other_maps.mean(dim=(1, 3)), other_maps
        height, channels = other_maps.shape[1], other_maps.shape[3]
        if height > 1:
            maxima = nn.functional.max_pool2d(maxima.permute(0, 3, 1, 2), (height, 1)).permute(0, 2, 3, 1)
        # Over channels as well: they become the width of an image of one channel, a step of time its height.
        maxima = nn.functional.max_pool2d(maxima, (1, channels)).flatten(1)
        when = torch.sigmoid(self.of_means(means) + self.of_maxima(maxima))[:, None, :, None]
        return maps * (1 + channel * when)


class TfliteForm(nn.Module):
    """A trained edge network for conversion: channels last, batch 1, fixed sizes."""

    def __init__(self, network: FusionNet, leads: int, window: int, bins: int, frames: int) -> None:
        """Take a copy of the weights of `network`; raises EcgEdgeError for another backbone than the edge one."""
        super().__init__()
        if network.settings.backbone != "edge":
            raise EcgEdgeError(
                f"the {network.settings.backbone} backbone does not run on devices: export one with the edge backbone"
            )
        folded = fold_batch_norm(network)
        time, spectrogram = folded.time, folded.spectrogram
        assert isinstance(time, TimeBranch | None)
        assert isinstance(spectrogram, SpectrogramBranch | None)
        if spectrogram is not None:
            assert isinstance(spectrogram.stem, nn.Conv2d)
            spectrogram.stem.weight.data /= STEPS_PER_UNIT  # a power of two: no weight is rounded
        self.time, self.spectrogram = _trunk(time), _trunk(spectrogram)
        fusion, head = folded.fusion, folded.head
        assert isinstance(head, nn.Linear)
        self.to_time: Attention | None = None
        self.to_spectrogram: Attention | None = None
        own = [branch.pool for branch in (time, spectrogram) if branch is not None]
        if isinstance(fusion, Csca):
            assert time is not None
            assert spectrogram is not None
            with torch.no_grad():
                t = time.maps(torch.zeros(1, leads, 1, window)).shape[3]
                s = spectrogram.maps(torch.zeros(1, leads, bins, frames)).shape[3]
            self.to_time = Attention(fusion.time, spectrogram.pool.norm, s, t)
            self.to_spectrogram = Attention(fusion.spectrogram, time.pool.norm, t, s)
            own = [fusion.time_pool, fusion.spectrogram_pool]
        else:
            assert isinstance(fusion, Gate | Concat | None)
        norms = [pool.norm for pool in own]
        self.head = GatedHead(fusion, head, norms) if isinstance(fusion, Gate) else LinearOfPooled(head, norms)
        # litert-torch 0.10 knows a constant by its address. Of one that is not contiguous it takes a copy, frees that
        # and meets the address again, so that the next of the same shape would get this one's values.
        for parameter in self.parameters():
            parameter.data = parameter.data.contiguous()

    def forward(self, signal: torch.Tensor, spectrogram: torch.Tensor) -> torch.Tensor:
        """Return logits (1, classes).

        signal: float (1, 1, window, leads), companded, in (-1, 1); spectrogram: float (1, bins, frames, leads),
        the integers 0 to 255 of the log power.
        """
        maps, pools = [], []
        for branch, x in ((self.time, signal), (self.spectrogram, spectrogram)):
            if branch is not None:
                maps.append(branch(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1))
                pools.append(pooled(maps[-1]))
        if self.to_time is not None and self.to_spectrogram is not None:
            t, s = maps
            pools = [pooled(self.to_time(t, s, pools[1])), pooled(self.to_spectrogram(s, t, pools[0]))]
        logits: torch.Tensor = self.head(*(vector for pair in pools for vector in pair))
        return logits


def _trunk(branch: TimeBranch | SpectrogramBranch | None) -> nn.Module | None:
    if branch is None:
        return None
    return nn.Sequential(OrderedDict(stem=branch.stem, relu=branch.relu, blocks=branch.blocks))


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
