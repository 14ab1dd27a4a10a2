"""INT8 graphs: close to float, in the form that back ends run fast, safe from saturation, choosing what stays float."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")

from ecg_edge.export import quantize as module  # noqa: E402
from ecg_edge.export.onnx import export_float  # noqa: E402
from ecg_edge.export.quantize import (  # noqa: E402
    choose_calibration,
    graph_logits,
    groups,
    quantize,
    quantize_selectively,
)
from ecg_edge.runtime.contract import Contract  # noqa: E402
from ecg_edge.runtime.stft import Stft  # noqa: E402
from ecg_edge.train.networks.model import FusionNet, NetworkSettings  # noqa: E402
from ecg_edge.train.windows import Windows  # noqa: E402

CONTRACT = Contract()
CLASSES = 4
SMALL = NetworkSettings(
    time_stem=8,
    time_stride=4,
    time_widths=(16,),
    time_kernel=5,
    spectrogram_stem=8,
    spectrogram_widths=(16,),
    dropout=0.0,
)


@pytest.fixture(scope="module")
def windows() -> Windows:
    rng = np.random.default_rng(0)
    signal = (rng.standard_normal((24, 12, CONTRACT.window)) * rng.uniform(20, 900, (24, 12, 1))).astype(np.int16)
    return Windows(signal, Stft(CONTRACT).frames(signal))


@pytest.fixture(scope="module")
def float_graph(windows: Windows, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    net = FusionNet(SMALL, 12, CLASSES).train()
    with torch.no_grad():
        for _ in range(5):
            net(torch.from_numpy(windows.signal[:, :, np.newaxis]), torch.from_numpy(windows.spectrogram))
    path = tmp_path_factory.mktemp("graphs") / "float.onnx"
    export_float(net.eval(), CONTRACT, path)
    return path


def relative_error(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.sqrt(np.mean((a - b) ** 2)) / np.std(b))


def test_int8_logits_are_near_the_float_ones(float_graph: Path, windows: Windows, tmp_path: Path) -> None:
    quantize(float_graph, tmp_path / "int8.onnx", windows)
    int8, exact = graph_logits(tmp_path / "int8.onnx", windows), graph_logits(float_graph, windows)
    assert 0 < relative_error(int8, exact) < 0.1


def test_weights_are_per_channel_and_cannot_saturate(float_graph: Path, windows: Windows, tmp_path: Path) -> None:
    quantize(float_graph, tmp_path / "int8.onnx", windows)
    model = onnx.load(str(tmp_path / "int8.onnx"))
    values = {w.name: onnx.numpy_helper.to_array(w) for w in model.graph.initializer}
    scales = {
        n.input[0]: values[n.input[1]]
        for n in model.graph.node
        if n.op_type == "DequantizeLinear" and n.input[0] in values
    }
    weights = {name: v for name, v in values.items() if v.dtype == np.int8 and v.ndim == 4}
    assert len(weights) == 8
    for name, value in weights.items():
        assert np.abs(value.astype(int)).max() * 255 * 2 < 2**15
        assert scales[name].shape == (value.shape[0],)
    zeros = [n.input[2] for n in model.graph.node if n.op_type == "QuantizeLinear"]
    assert {values[name].dtype for name in zeros} == {np.dtype(np.uint8)}


def test_scaling_gate_and_last_layer_stay_in_float(float_graph: Path, windows: Windows, tmp_path: Path) -> None:
    quantize(float_graph, tmp_path / "int8.onnx", windows)
    model = onnx.load(str(tmp_path / "int8.onnx"))
    floats = {w.name for w in model.graph.initializer if w.data_type == onnx.TensorProto.FLOAT}
    by_name = {node.name: node for node in model.graph.node}
    assert all(by_name[name].input[1] in floats for name in ("fusion.linear/Gemm", "head/Gemm"))
    quantized = {name for node in model.graph.node if node.op_type == "QuantizeLinear" for name in node.input}
    companding = ("time/Mul", "time/Abs", "time/Add")
    assert not {out for name in companding for out in by_name[name].output} & quantized
    assert b".py" not in (tmp_path / "int8.onnx").read_bytes()


def test_blocks_hold_every_convolution(float_graph: Path) -> None:
    found = groups(float_graph)
    assert list(found) == ["time.stem", "time.blocks.0", "spectrogram.stem", "spectrogram.blocks.0"]
    convolutions = {n.name for n in onnx.load(str(float_graph)).graph.node if n.op_type == "Conv"}
    assert convolutions <= {name for names in found.values() for name in names}
    assert found["time.stem"] == ["time.stem/Conv", "time.relu/Relu"]


def test_everything_is_int8_where_it_costs_little(float_graph: Path, windows: Windows, tmp_path: Path) -> None:
    made = quantize_selectively(float_graph, tmp_path / "int8.onnx", windows, windows, lambda logits: 1.0)
    assert made.float_groups == made.float_nodes == ()
    assert set(made.sensitivity) == set(groups(float_graph))
    assert 0 < max(made.sensitivity.values()) <= 2 * made.error


def test_the_worst_blocks_go_back_to_float(
    float_graph: Path, windows: Windows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = quantize_selectively(float_graph, tmp_path / "int8.onnx", windows, windows, lambda logits: 1.0)
    monkeypatch.setattr(module, "LARGEST_ERROR", 0.6 * whole.error)
    made = quantize_selectively(float_graph, tmp_path / "int8.onnx", windows, windows, lambda logits: 1.0)
    worst_first = sorted(made.sensitivity, key=lambda block: -made.sensitivity[block])
    assert 0 < len(made.float_groups) < len(worst_first)
    assert list(made.float_groups) == worst_first[: len(made.float_groups)]
    assert made.error <= 0.6 * whole.error
    model = onnx.load(str(tmp_path / "int8.onnx"))
    kept = {n.name: n for n in model.graph.node if n.name in made.float_nodes and n.op_type == "Conv"}
    floats = {w.name for w in model.graph.initializer if w.data_type == onnx.TensorProto.FLOAT}
    assert all(node.input[1] in floats for node in kept.values())


def test_calibration_has_every_source_and_rare_class() -> None:
    rng = np.random.default_rng(0)
    labels = rng.random((2000, 5)) < np.array([0.5, 0.3, 0.1, 0.0, 0.0])
    labels[[7, 1234], 3] = True
    sources = ["large"] * 1990 + ["small"] * 10
    chosen = choose_calibration(labels, sources, 64)
    assert len(set(chosen.tolist())) == 64
    assert {7, 1234} <= set(chosen.tolist())
    assert (chosen >= 1990).sum() >= 6
    assert labels[chosen].sum(axis=0)[:3].min() >= 6
    np.testing.assert_array_equal(chosen, choose_calibration(labels, sources, 64))
