"""Cross-attention against its equations in NumPy."""

import numpy as np
import numpy.typing as npt
import pytest

torch = pytest.importorskip("torch")

from ecg_edge.train.networks.csca import CrossAttention, Csca  # noqa: E402
from ecg_edge.train.networks.output import BranchOutput  # noqa: E402


def sigmoid(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return 1 / (1 + np.exp(-x))


def by_hand(attention: CrossAttention, maps: npt.NDArray[np.float64], other: BranchOutput) -> npt.NDArray[np.float64]:
    """Return what the module's docstring says of one window's maps."""
    weights = {name: value.double().numpy() for name, value in attention.state_dict().items()}
    hidden = np.maximum(weights["channel.0.weight"] @ other.vector[0].numpy() + weights["channel.0.bias"], 0)
    channel = sigmoid(weights["channel.2.weight"] @ hidden + weights["channel.2.bias"])
    seen = other.maps[0].double().numpy()
    planes = np.pad(np.stack([seen.mean(axis=(0, 1)), seen.max(axis=(0, 1))]), ((0, 0), (1, 1)))
    steps, to = seen.shape[2], maps.shape[2]
    kernel = weights["when.weight"][0, :, 0]
    line = np.array([(planes[:, k : k + 3] * kernel).sum() for k in range(steps)]) + weights["when.bias"]
    when = sigmoid(np.interp((np.arange(to) + 0.5) * steps / to - 0.5, np.arange(steps), line))
    return maps * (1 + channel[:, np.newaxis, np.newaxis] * when)


@pytest.mark.parametrize(("height", "steps", "other_steps"), [(1, 16, 7), (3, 7, 16), (1, 5, 5), (2, 8, 1)])
def test_maps_are_weighed_as_written(height: int, steps: int, other_steps: int) -> None:
    torch.manual_seed(0)
    attention = CrossAttention(24, 10)
    maps = torch.randn(3, 24, height, steps)
    other = BranchOutput(torch.randn(3, 6, 4, other_steps), torch.randn(3, 10))
    with torch.no_grad():
        got = attention(maps, other)
    for k in range(3):
        one = BranchOutput(other.maps[k : k + 1], other.vector[k : k + 1])
        np.testing.assert_allclose(
            got[k].numpy(), by_hand(attention, maps[k].double().numpy(), one), rtol=1e-4, atol=1e-6
        )


def test_both_directions_are_pooled_and_joined() -> None:
    torch.manual_seed(1)
    fusion = Csca(8, 16, 16, 32).eval()
    time = BranchOutput(torch.randn(2, 8, 1, 16), torch.randn(2, 16))
    spectrogram = BranchOutput(torch.randn(2, 16, 3, 7), torch.randn(2, 32))
    t, s = fusion.time(time.maps, spectrogram), fusion.spectrogram(spectrogram.maps, time)
    parts = (t.mean(dim=(2, 3)), t.amax(dim=(2, 3)), s.mean(dim=(2, 3)), s.amax(dim=(2, 3)))
    expected = torch.cat(parts, dim=1) / (1 + 1e-5) ** 0.5  # a fresh batch norm
    assert fusion.features == expected.shape[1] == 48
    torch.testing.assert_close(fusion(time, spectrogram), expected)


def test_attention_is_when_the_forward_pass_listens() -> None:
    torch.manual_seed(2)
    fusion = Csca(8, 16, 16, 32).eval()
    time = BranchOutput(torch.randn(2, 8, 1, 16), torch.randn(2, 16))
    spectrogram = BranchOutput(torch.randn(2, 16, 3, 7), torch.randn(2, 32))
    p_t, p_s = fusion.attention(time, spectrogram)
    assert (p_t.shape, p_s.shape) == ((2, 16), (2, 7))
    for module, branch, other, when in (
        (fusion.time, time, spectrogram, p_t),
        (fusion.spectrogram, spectrogram, time, p_s),
    ):
        channel = torch.sigmoid(module.channel(other.vector))[:, :, None, None]
        told = branch.maps * (1 + channel * when[:, None, None])
        torch.testing.assert_close(told, module(branch.maps, other))
