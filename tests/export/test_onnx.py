"""The float graph answers as torch does, and holds nothing that does not belong into a bundle."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")

from ecg_edge.export.onnx import export_float, fold_batch_norm, multiply_accumulates  # noqa: E402
from ecg_edge.export.quantize import graph_logits, quantize  # noqa: E402
from ecg_edge.firmware_bridge.errors import EcgEdgeError  # noqa: E402
from ecg_edge.runtime.contract import Contract  # noqa: E402
from ecg_edge.runtime.stft import Stft  # noqa: E402
from ecg_edge.train.networks import size  # noqa: E402
from ecg_edge.train.networks.model import FUSIONS, FusionNet, NetworkSettings  # noqa: E402
from ecg_edge.train.windows import Windows, predict_logits  # noqa: E402

CONTRACT = Contract()
CLASSES = 5
SMALL = NetworkSettings(
    time_stem=8,
    time_stride=4,
    time_widths=(8, 16),
    time_kernel=5,
    spectrogram_stem=8,
    spectrogram_widths=(16,),
    dropout=0.1,
)


@pytest.fixture(scope="module")
def windows() -> Windows:
    rng = np.random.default_rng(0)
    signal = (rng.standard_normal((6, 12, CONTRACT.window)) * rng.uniform(20, 900, (6, 12, 1))).astype(np.int16)
    signal[1, 2:] = 0  # two leads
    signal[2, :, :400] = 0  # six seconds
    signal[3] = 0
    return Windows(signal, Stft(CONTRACT).frames(signal))


def one(windows: Windows) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the network's inputs for the first window."""
    return torch.from_numpy(windows.signal[:1, :, np.newaxis]), torch.from_numpy(windows.spectrogram[:1])


@pytest.fixture(scope="module")
def network(windows: Windows) -> FusionNet:
    """A small network whose batch norms and biases are not at their first values."""
    torch.manual_seed(0)
    net = FusionNet(SMALL, 12, CLASSES)
    with torch.no_grad():
        for p in net.parameters():
            p.add_(0.1 * torch.randn_like(p))
        net.train()
        for _ in range(5):
            net(torch.from_numpy(windows.signal[:, :, np.newaxis]), torch.from_numpy(windows.spectrogram))
    return net.eval()


@pytest.fixture(scope="module")
def graph(network: FusionNet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("graph") / "float.onnx"
    export_float(network, CONTRACT, path)
    return path


def test_logits_are_torchs(network: FusionNet, graph: Path, windows: Windows) -> None:
    np.testing.assert_allclose(graph_logits(graph, windows), predict_logits(network, windows), rtol=1e-3, atol=1e-4)


def test_inputs_and_output_are_the_engines(graph: Path) -> None:
    model = onnx.load(str(graph))

    def described(value: object) -> tuple[str, int, list[int]]:
        tensor = value.type.tensor_type  # type: ignore[attr-defined]
        return value.name, tensor.elem_type, [d.dim_value for d in tensor.shape.dim]  # type: ignore[attr-defined]

    kinds = onnx.TensorProto
    assert [described(v) for v in model.graph.input] == [
        ("signal", kinds.INT16, [1, 12, 1, CONTRACT.window]),
        ("spectrogram", kinds.UINT8, [1, 12, CONTRACT.stft_bins, CONTRACT.frames]),
    ]
    assert [described(v) for v in model.graph.output] == [("logits", kinds.FLOAT, [1, CLASSES])]


def test_batch_norm_after_convolutions_is_folded(network: FusionNet, graph: Path, windows: Windows) -> None:
    folded = fold_batch_norm(network)
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in folded.modules())
    assert any(isinstance(m, torch.nn.BatchNorm2d) for m in network.modules()), "the network itself is untouched"
    np.testing.assert_allclose(predict_logits(folded, windows), predict_logits(network, windows), rtol=1e-3, atol=1e-4)
    convolutions = [n for n in onnx.load(str(graph)).graph.node if n.op_type == "Conv"]
    assert all(len(n.input) == 3 for n in convolutions), "each has the bias of its batch norm"


def test_nodes_are_named_after_their_modules_and_no_path_is_left(graph: Path) -> None:
    names = [node.name for node in onnx.load(str(graph)).graph.node]
    assert len(set(names)) == len(names)
    assert {
        "time.stem/Conv",
        "time.blocks.1.second/Conv",
        "spectrogram.stem/Conv",
        "fusion/Softmax",
        "head/Gemm",
    } <= set(names)
    content = graph.read_bytes()
    assert str(Path.home()).encode() not in content
    assert b".py" not in content


@pytest.mark.parametrize("fusion", [f for f in FUSIONS if f != SMALL.fusion])
def test_every_fusion_is_exported_with_both_inputs(fusion: str, windows: Windows, tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = FusionNet(replace(SMALL, fusion=fusion), 12, CLASSES).train()
    with torch.no_grad():
        for _ in range(3):
            net(torch.from_numpy(windows.signal[:, :, np.newaxis]), torch.from_numpy(windows.spectrogram))
    path = tmp_path / "float.onnx"
    export_float(net, CONTRACT, path)
    np.testing.assert_allclose(graph_logits(path, windows), predict_logits(net, windows), rtol=1e-3, atol=1e-4)
    assert multiply_accumulates(path) == size.multiply_accumulates(net, *one(windows))
    quantize(path, tmp_path / "int8.onnx", windows)
    assert np.abs(graph_logits(tmp_path / "int8.onnx", windows) - graph_logits(path, windows)).max() < 0.2


def test_the_papers_network_is_not_exported(tmp_path: Path) -> None:
    paper = FusionNet(NetworkSettings(dropout=0.0, backbone="paper", fusion="time"), 12, CLASSES)
    with pytest.raises(EcgEdgeError, match="edge backbone"):
        export_float(paper, CONTRACT, tmp_path / "float.onnx")


def test_multiply_accumulates_are_counted(network: FusionNet, graph: Path, windows: Windows) -> None:
    time = 250 * 8 * 12 * 11 + 125 * 8 * 8 * (5 + 5 + 1) + 63 * 16 * (8 * 5 + 16 * 5 + 8)
    spectrogram = 12 * 24 * 8 * 12 * 25 + 6 * 12 * 16 * (8 * 9 + 16 * 9 + 8)
    features = 2 * 16 + 2 * 16
    assert multiply_accumulates(graph) == time + spectrogram + 2 * features + features * CLASSES
    assert multiply_accumulates(graph) == size.multiply_accumulates(network, *one(windows))
