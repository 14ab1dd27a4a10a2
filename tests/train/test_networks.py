"""The two-branch network: shapes, the batch of one, missing leads, the gate."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from ecg_edge.runtime.contract import Contract  # noqa: E402
from ecg_edge.train.networks.gate import Gate  # noqa: E402
from ecg_edge.train.networks.model import FusionNet  # noqa: E402
from ecg_edge.train.networks.time_branch import compand  # noqa: E402
from ecg_edge.train.settings import read_settings  # noqa: E402

CONTRACT = Contract()
CLASSES = 24


@pytest.fixture(scope="module")
def network() -> FusionNet:
    torch.manual_seed(0)
    net = FusionNet(read_settings("edge").network, len(CONTRACT.leads), CLASSES)
    net.train()
    with torch.no_grad():
        for _ in range(3):  # batch-norm statistics of something like the inputs
            net(*windows(8))
    return net.eval()


def windows(n: int) -> tuple[torch.Tensor, torch.Tensor]:
    signal = torch.randint(-800, 800, (n, 12, 1, CONTRACT.window), dtype=torch.int16)
    shape = (n, 12, CONTRACT.stft_bins, CONTRACT.frames)
    return signal, torch.randint(0, 200, shape, dtype=torch.int16).to(torch.uint8)


def test_one_logit_a_class(network: FusionNet) -> None:
    logits = network(*windows(3))
    assert logits.shape == (3, CLASSES)
    assert logits.dtype == torch.float32


def test_batch_of_one_equals_the_same_window_in_a_batch(network: FusionNet) -> None:
    signal, spectrogram = windows(5)
    together = network(signal, spectrogram)
    for k in range(5):
        alone = network(signal[k : k + 1], spectrogram[k : k + 1])
        torch.testing.assert_close(alone[0], together[k], rtol=1e-4, atol=1e-4)


def test_size_is_that_of_an_edge_model(network: FusionNet) -> None:
    assert 200_000 <= network.parameters_count() <= 350_000


def test_companding_keeps_small_waves_apart_and_large_ones_bounded() -> None:
    microvolts = torch.tensor([-32767, -500, 0, 10, 100, 1000, 32767], dtype=torch.int16)
    expected = [x / 1000 / (1 + abs(x) / 1000) for x in microvolts.tolist()]
    got = compand(microvolts)
    torch.testing.assert_close(got, torch.tensor(expected))
    assert got.abs().max() < 1
    step = 2 / 255  # eight bits over the whole range
    assert (got[4] - got[2]) / step > 10, "a P wave of 100 microvolts spans more than ten steps"


def test_every_lead_of_both_inputs_matters(network: FusionNet) -> None:
    signal, spectrogram = windows(1)
    whole = network(signal, spectrogram)
    for lead in range(12):
        for inputs in ((signal.clone(), spectrogram), (signal, spectrogram.clone())):
            for x in inputs:
                if x is not signal and x is not spectrogram:
                    x[:, lead] = 0
            assert not torch.equal(network(*inputs), whole)


def test_gate_weights_sum_to_one_and_weigh_the_branches() -> None:
    torch.manual_seed(1)
    gate = Gate(6, 4)
    time, spectrogram = torch.randn(5, 6), torch.randn(5, 4)
    weights = gate.weights(time, spectrogram)
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(5))
    assert (weights > 0).all()
    fused = gate(time, spectrogram)
    by_hand = np.concatenate(
        (weights[:, :1].detach().numpy() * time.numpy(), weights[:, 1:].detach().numpy() * spectrogram.numpy()), axis=1
    )
    np.testing.assert_allclose(fused.detach().numpy(), by_hand, rtol=1e-6)


def test_gate_learns_from_both_branches(network: FusionNet) -> None:
    fresh = FusionNet(network.settings, 12, CLASSES)
    fresh(*windows(4)).square().sum().backward()
    unmoved = [name for name, p in fresh.named_parameters() if p.grad is None or not p.grad.any()]
    assert unmoved == []


def test_preset_is_beside_the_package() -> None:
    from ecg_edge.train.settings import PRESETS

    assert (Path(PRESETS) / "edge.toml").is_file()
