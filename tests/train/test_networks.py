"""The network, of each fusion and backbone: shapes, the batch of one, missing leads, the gate, dropout, settings."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from ecg_edge.runtime.contract import Contract  # noqa: E402
from ecg_edge.train.finetune_settings import FinetuneSettings  # noqa: E402
from ecg_edge.train.networks.gate import Gate  # noqa: E402
from ecg_edge.train.networks.model import (  # noqa: E402
    BACKBONES,
    FUSIONS,
    BranchHeads,
    FusionNet,
    NetworkSettings,
    SettingsError,
)
from ecg_edge.train.networks.output import BranchOutput  # noqa: E402
from ecg_edge.train.networks.spectrogram_branch import norm_conv  # noqa: E402
from ecg_edge.train.networks.time_branch import compand  # noqa: E402
from ecg_edge.train.settings import read_preset  # noqa: E402

CONTRACT = Contract()
CLASSES = 24
EDGE = read_preset(FinetuneSettings, "finetune", "edge").network
PAPER = NetworkSettings(dropout=0.4, backbone="paper")


@pytest.fixture(scope="module")
def network() -> FusionNet:
    torch.manual_seed(0)
    net = FusionNet(EDGE, len(CONTRACT.leads), CLASSES)
    net.train()
    with torch.no_grad():
        for _ in range(3):  # batch-norm statistics of something like the inputs
            net(*windows(8))
    return net.eval()


def windows(n: int) -> tuple[torch.Tensor, torch.Tensor]:
    signal = torch.randint(-800, 800, (n, 12, 1, CONTRACT.window), dtype=torch.int16)
    shape = (n, 12, CONTRACT.stft_bins, CONTRACT.frames)
    return signal, torch.randint(0, 200, shape, dtype=torch.int16).to(torch.uint8)


def made(backbone: str, fusion: str) -> FusionNet:
    """Return a network of that kind that has seen a few batches, in evaluation mode."""
    torch.manual_seed(0)
    net = FusionNet(replace(EDGE if backbone == "edge" else PAPER, fusion=fusion), len(CONTRACT.leads), CLASSES).train()
    with torch.no_grad():
        for _ in range(2):
            net(*inputs(backbone, 8))
    return net.eval()


def inputs(backbone: str, n: int) -> tuple[torch.Tensor, torch.Tensor]:
    if backbone == "edge":
        return windows(n)
    return torch.randint(-800, 800, (n, 12, 1, 250), dtype=torch.int16), 100 * torch.rand(n, 12, 13, 21)


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("fusion", FUSIONS)
def test_batch_of_one_equals_the_same_window_in_a_batch(backbone: str, fusion: str) -> None:
    net = made(backbone, fusion)
    signal, spectrogram = inputs(backbone, 3)
    with torch.no_grad():
        together = net(signal, spectrogram)
        assert together.shape == (3, CLASSES)
        assert together.dtype == torch.float32
        assert not torch.allclose(together[0], together[1], rtol=1e-2)
        for k in range(3):
            alone = net(signal[k : k + 1], spectrogram[k : k + 1])
            assert alone.shape == (1, CLASSES)
            torch.testing.assert_close(alone[0], together[k], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_logits_are_those_of_the_parts(fusion: str) -> None:
    net = made("edge", fusion)
    signal, spectrogram = windows(2)
    time, image = net.branch_features(signal, spectrogram)
    assert (time is None) == (net.time is None) == (fusion == "spectrogram")
    assert (image is None) == (net.spectrogram is None) == (fusion == "time")
    features = net.fuse_features(time, image)
    assert features.shape == (2, net.features)
    torch.testing.assert_close(net.head(features), net(signal, spectrogram))
    for output, branch in ((time, net.time), (image, net.spectrogram)):
        if output is not None and branch is not None:
            torch.testing.assert_close(branch.pool(output.maps), output.vector)
            assert (output.maps.shape[1], output.vector.shape[1]) == (branch.channels, branch.features)


@pytest.mark.parametrize("fusion", ["time", "spectrogram"])
def test_one_modality_does_not_hear_the_other(fusion: str) -> None:
    net = made("edge", fusion)
    signal, spectrogram = windows(2)
    other = (signal, 255 - spectrogram) if fusion == "time" else (-signal, spectrogram)
    assert torch.equal(net(signal, spectrogram), net(*other))
    kept = {name.split(".")[0] for name in net.state_dict()}
    assert kept == {fusion, "head"}
    assert BranchHeads(net, CLASSES)(*net.branch_features(signal, spectrogram)) == ()


@pytest.mark.parametrize("fusion", ["gate", "concat", "csca"])
def test_branch_heads_answer_for_each_branch(fusion: str) -> None:
    net = made("edge", fusion)
    outputs = net.branch_features(*windows(2))
    heads = BranchHeads(net, CLASSES)
    assert [logits.shape for logits in heads(*outputs)] == [(2, CLASSES)] * 2


def test_dropout_can_be_given_from_outside(network: FusionNet) -> None:
    features = torch.randn(6, network.features)
    keep = (torch.rand(6, network.features) < 0.6) / 0.6
    whole = network.classify(features, keep)
    torch.testing.assert_close(whole, network.head(features * keep))
    halves = torch.cat((network.classify(features[:2], keep[:2]), network.classify(features[2:], keep[2:])))
    torch.testing.assert_close(halves, whole)
    assert torch.equal(network.classify(features), network.head(features)), "none in evaluation mode"
    network.train()
    torch.manual_seed(5)
    drawn = network.classify(features)
    torch.manual_seed(5)
    expected = torch.nn.functional.dropout(features, network.settings.dropout)
    network.eval()
    torch.testing.assert_close(drawn, network.head(expected))


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        (replace(EDGE, fusion="sum"), "fusion = 'sum'.*gate, concat, csca"),
        (replace(EDGE, backbone="large"), "backbone = 'large'.*edge, paper"),
        (replace(EDGE, dropout=1.0), "dropout = 1.0"),
        (replace(EDGE, time_stem=12), "12 channels.*multiples of 8"),
        (replace(EDGE, spectrogram_widths=(32, -8)), "-8 channels"),
        (replace(EDGE, time_kernel=4), "time_kernel = 4.*odd"),
        (replace(EDGE, time_stride=-1), "time_stride = -1"),
        (replace(EDGE, time_widths=()), "time_widths is missing"),
        (replace(PAPER, time_stem=48), "time_stem: .*leave this one out"),
    ],
)
def test_settings_that_no_network_can_have(settings: NetworkSettings, complaint: str) -> None:
    with pytest.raises(SettingsError, match=complaint):
        settings.check()


def test_settings_that_networks_have() -> None:
    for fusion in FUSIONS:
        replace(EDGE, fusion=fusion).check()
        replace(PAPER, fusion=fusion).check()


def test_size_is_that_of_the_network_to_distil_from(network: FusionNet) -> None:
    assert 800_000 <= network.parameters_count() <= 1_200_000


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
    maps = torch.zeros(5, 1, 1, 1)
    fused = gate(BranchOutput(maps, time), BranchOutput(maps, spectrogram))
    by_hand = np.concatenate(
        (weights[:, :1].detach().numpy() * time.numpy(), weights[:, 1:].detach().numpy() * spectrogram.numpy()), axis=1
    )
    np.testing.assert_allclose(fused.detach().numpy(), by_hand, rtol=1e-6)
    (told,) = gate.attention(BranchOutput(maps, time), BranchOutput(maps, spectrogram))
    assert torch.equal(told, weights)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_everything_learns(fusion: str) -> None:
    torch.manual_seed(2)
    fresh = FusionNet(replace(EDGE, fusion=fusion), 12, CLASSES)
    fresh(*windows(8)).square().sum().backward()
    unmoved = [name for name, p in fresh.named_parameters() if p.grad is None or not p.grad.any()]
    assert unmoved == []


@pytest.mark.skipif(not torch.cpu._is_avx512_bf16_supported(), reason="the processor has no bfloat16")
@pytest.mark.parametrize("frames", [1, 2, 3, 4])
def test_bfloat16_convolutions_are_right_on_images_of_a_few_frames(frames: int) -> None:
    generator = torch.Generator().manual_seed(0)
    for size, stride in ((3, 1), (3, 2), (5, 2), (1, 2)):
        convolution = norm_conv(64, 96, size, stride)[0].to(memory_format=torch.channels_last)
        x = torch.randn(96, 64, 3, frames, generator=generator).to(memory_format=torch.channels_last)
        freed = [torch.full((1 << 20,), 1e30, dtype=torch.bfloat16) for _ in range(4)]
        del freed  # whoever reads what nothing has written reads this
        with torch.autocast("cpu", dtype=torch.bfloat16):
            y = convolution(x)
        torch.testing.assert_close(y.float(), convolution(x), rtol=0.03, atol=0.05)
