"""The paper's network: published sizes, what it does to its inputs, and its spectrogram against scipy's."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
scipy_signal = pytest.importorskip("scipy.signal")

from ecg_edge.firmware_bridge.errors import EcgEdgeError  # noqa: E402
from ecg_edge.train.networks import size  # noqa: E402
from ecg_edge.train.networks.model import FusionNet, NetworkSettings  # noqa: E402
from ecg_edge.train.networks.se_resnet import SeBlock, SeResNet34  # noqa: E402
from ecg_edge.train.networks.xresnet1d import Bottleneck, XResNet1d50  # noqa: E402
from ecg_edge.train.paper_spectrogram import paper_spectrogram  # noqa: E402

SIGNAL = torch.zeros((1, 12, 1, 250), dtype=torch.int16)
SPECTROGRAM = torch.zeros((1, 12, 13, 21))


def test_time_branch_has_the_published_size() -> None:
    branch = XResNet1d50(12)
    assert size.parameters(branch) == 886_400  # published: 0.886 million
    maps, vector = branch.eval()(SIGNAL)
    assert (tuple(maps.shape), tuple(vector.shape)) == ((1, 256, 1, 8), (1, 512))


def test_spectrogram_branch_has_the_published_size() -> None:
    branch = SeResNet34(12)
    # ResNet34 without its classifier has 21,284,672 with three channels in; nine more, and two layers for each block.
    excitation = sum(n * (2 * c * c // 16 + c // 16 + c) for n, c in ((3, 64), (4, 128), (6, 256), (3, 512)))
    assert size.parameters(branch) == 21_284_672 + 9 * 64 * 49 + excitation  # published: 21.5 million
    maps, vector = branch.eval()(SPECTROGRAM)
    assert (tuple(maps.shape), tuple(vector.shape)) == ((1, 512, 1, 1), (1, 512))


def test_whole_network_has_the_published_size() -> None:
    network = FusionNet(NetworkSettings(dropout=0.0, backbone="paper"), 12, 24)
    assert size.parameters(network) / 1e6 == pytest.approx(22.9, abs=0.05)
    assert size.multiply_accumulates(network, SIGNAL, SPECTROGRAM) / 1e6 == pytest.approx(69, abs=0.5)
    assert isinstance(network.head, torch.nn.Sequential)
    assert [tuple(layer.weight.shape) for layer in network.head] == [(512, 1024), (24, 512)]


def test_a_fresh_bottleneck_is_its_shortcut() -> None:
    x = torch.rand(2, 256, 1, 9)
    torch.testing.assert_close(Bottleneck(256, 1).eval()(x), x)
    pairs = torch.stack([x[..., 2 * k : 2 * k + 2].mean(dim=3) for k in range(5)], dim=3)
    torch.testing.assert_close(Bottleneck(256, 2).eval()(x), pairs)


def test_squeeze_and_excitation_weighs_channels() -> None:
    torch.manual_seed(0)
    block = SeBlock(16, 16, 1).eval()
    x = torch.randn(2, 16, 4, 5)
    y = block.second(torch.relu(block.first(x)))
    weights = torch.sigmoid(block.excite[2](torch.relu(block.excite[0](y.mean(dim=(2, 3))))))
    expected = torch.relu(torch.stack([y[:, c] * weights[:, c, None, None] for c in range(16)], dim=1) + x)
    torch.testing.assert_close(block(x), expected)


@pytest.mark.parametrize("kind", [XResNet1d50, SeResNet34])
def test_inputs_are_standardised_lead_by_lead(kind: type[XResNet1d50 | SeResNet34]) -> None:
    torch.manual_seed(0)
    example = SIGNAL if kind is XResNet1d50 else SPECTROGRAM
    x = torch.randint(-300, 300, example.shape)
    mean, std = np.arange(12.0) - 5, np.arange(1.0, 13.0)
    branch = kind(12).eval()
    by_hand = (x - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
    expected = branch(by_hand.float()).vector
    branch.standardize(mean, std)
    torch.testing.assert_close(branch(x.to(example.dtype)).vector, expected)
    again = kind(12).eval()
    again.load_state_dict(branch.state_dict())
    torch.testing.assert_close(again(x.to(example.dtype)).vector, expected)
    with pytest.raises(EcgEdgeError, match="above 0"):
        branch.standardize(mean, mean.clip(min=0))


@pytest.mark.parametrize("samples", [250, 251, 253, 259, 1000])
def test_spectrogram_is_scipys(samples: int) -> None:
    signal = np.random.default_rng(samples).integers(-3000, 3000, (3, 12, samples)).astype(np.int16)
    got = paper_spectrogram(signal)
    _, _, expected = scipy_signal.stft(signal.astype(float), nperseg=25, noverlap=12)
    assert got.dtype == np.float32
    assert got.flags.c_contiguous
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, np.abs(expected), atol=1e-3)
    if samples == 250:
        assert got.shape == (3, 12, 13, 21)


def test_spectrogram_of_a_sine() -> None:
    sine = np.rint(2000 * np.sin(2 * np.pi * 8 * np.arange(250) / 100)).astype(np.int16)  # 8 Hz: bin 2 of 4 Hz each
    magnitudes = paper_spectrogram(sine)[:, 1:-2]  # of the frames that lie within the signal
    np.testing.assert_allclose(magnitudes[2], 1000, rtol=1e-3)
    np.testing.assert_allclose(magnitudes[[1, 3]], 500, rtol=2e-3)
    assert magnitudes[5:].max() < 1
    assert not paper_spectrogram(np.zeros((2, 250), dtype=np.int16)).any()
