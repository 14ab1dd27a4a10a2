"""TFLite graphs: the network's own answers in float, near them in INT8, in the form that interpreters run fast."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("litert_torch", reason="needs the extra export")

from ecg_edge.export.tflite import convert, export_tflite, quantize_tflite, tflite_logits  # noqa: E402
from ecg_edge.export.tflite_file import ALIGNMENT, operators  # noqa: E402
from ecg_edge.export.tflite_form import TfliteForm  # noqa: E402
from ecg_edge.firmware_bridge.errors import EcgEdgeError  # noqa: E402
from ecg_edge.runtime.backends.tflite_inputs import float_inputs  # noqa: E402
from ecg_edge.runtime.contract import Contract  # noqa: E402
from ecg_edge.train.networks.model import FusionNet, NetworkSettings  # noqa: E402
from ecg_edge.train.windows import predict_logits  # noqa: E402

CONTRACT = Contract()
FUSIONS = ("csca", "gate", "concat", "time", "spectrogram")
Small = Callable[[str], Any]


@pytest.fixture(scope="module")
def float_graph(small_network: Small) -> bytes:
    return convert(small_network("csca").network, CONTRACT)


@pytest.fixture(scope="module")
def int8_graph(float_graph: bytes, small_network: Small) -> bytes:
    return quantize_tflite(float_graph, small_network("csca").windows)


def details(graph: bytes) -> tuple[Any, list[Any]]:
    """Return an interpreter and what it knows of each tensor."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    resolver = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(model_content=graph, experimental_op_resolver_type=resolver)
    interpreter.allocate_tensors()
    return interpreter, interpreter.get_tensor_details()


def relative_error(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.sqrt(np.mean((a - b) ** 2)) / np.std(b))


@pytest.mark.parametrize("fusion", FUSIONS)
def test_the_form_computes_what_the_network_computes(small_network: Small, fusion: str) -> None:
    network, windows = small_network(fusion)
    with torch.no_grad():
        for parameter in network.parameters():  # a norm's gain and shift, and biases, that are not 1 and 0
            parameter += 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(parameter.numel()))
    form = TfliteForm(network, 12, CONTRACT.window, CONTRACT.stft_bins, CONTRACT.frames).eval()
    exact = predict_logits(network, windows)
    with torch.no_grad():
        found = [
            form(*map(torch.from_numpy, float_inputs(*one)))[0].numpy()
            for one in zip(windows.signal, windows.spectrogram, strict=True)
        ]
    np.testing.assert_allclose(np.stack(found), exact, atol=2e-5 * np.abs(exact).max())


def test_float_logits_are_the_networks(float_graph: bytes, small_network: Small) -> None:
    network, windows = small_network("csca")
    exact = predict_logits(network, windows)
    np.testing.assert_allclose(tflite_logits(float_graph, windows), exact, atol=1e-4 * np.abs(exact).max())


def test_int8_logits_are_near_the_float_ones(float_graph: bytes, int8_graph: bytes, small_network: Small) -> None:
    windows = small_network("csca").windows
    error = relative_error(tflite_logits(int8_graph, windows), tflite_logits(float_graph, windows))
    assert 0 < error < 0.1


@pytest.mark.parametrize("fusion", ["gate", "time"])
def test_every_kind_of_network_converts(small_network: Small, tmp_path: Path, fusion: str) -> None:
    network, windows = small_network(fusion)
    export_tflite(network, CONTRACT, windows, tmp_path / "float.tflite", tmp_path / "int8.tflite")
    exact = predict_logits(network, windows)
    np.testing.assert_allclose(
        tflite_logits(tmp_path / "float.tflite", windows), exact, atol=1e-4 * np.abs(exact).max()
    )
    assert relative_error(tflite_logits(tmp_path / "int8.tflite", windows), exact) < 0.1
    interpreter, _ = details((tmp_path / "int8.tflite").read_bytes())
    kinds = [one["dtype"] for one in interpreter.get_input_details()]
    assert kinds == [np.int8, np.int8], "whether a branch reads it or not"


def test_all_is_integer_up_to_the_head(int8_graph: bytes) -> None:
    names = operators(int8_graph)
    assert not {"TRANSPOSE", "REDUCE_MAX", "RESIZE_BILINEAR", "QUANTIZE"} & set(names)
    first = names.index("DEQUANTIZE")
    assert set(names[first:]) == {"DEQUANTIZE", "FULLY_CONNECTED", "ADD"}
    assert "FULLY_CONNECTED" not in names[:first], "microcontrollers round an 8-bit one otherwise"
    assert names.count("DEQUANTIZE") == 4  # mean and maximum of two branches
    _, tensors = details(int8_graph)
    floats = {one["name"].split("/")[0] for one in tensors if one["dtype"] == np.float32}
    assert floats <= {"head", "logits", "network"}
    assert all("dequant" in t["name"] for t in tensors if t["dtype"] == np.float32 and t["name"].startswith("network"))


def test_inputs_have_the_scales_that_the_runtime_computes(int8_graph: bytes) -> None:
    interpreter, _ = details(int8_graph)
    signal, spectrogram = interpreter.get_input_details()
    assert (signal["name"], signal["dtype"], signal["quantization"]) == ("signal", np.int8, (1 / 128, 0))
    assert (spectrogram["name"], spectrogram["dtype"], spectrogram["quantization"]) == (
        "spectrogram",
        np.int8,
        (1, -128),
    )
    assert signal["shape"].tolist() == [1, 1, CONTRACT.window, 12]
    assert spectrogram["shape"].tolist() == [1, CONTRACT.stft_bins, CONTRACT.frames, 12]
    (output,) = interpreter.get_output_details()
    assert (output["name"], output["dtype"], output["shape"].tolist()) == ("logits", np.float32, [1, 4])


def test_weights_have_a_scale_per_channel(int8_graph: bytes) -> None:
    _, tensors = details(int8_graph)
    filters = [t for t in tensors if t["dtype"] == np.int8 and len(t["shape"]) == 4 and "constant" in t["name"]]
    assert len(filters) == 11 + 10  # of the branches, and of the two attentions' linear layers
    for one in filters:
        assert len(one["quantization_parameters"]["scales"]) == one["shape"][0]
        assert not one["quantization_parameters"]["zero_points"].any()


def test_ranges_are_the_extremes_of_calibration(float_graph: bytes, small_network: Small) -> None:
    """A moving average would forget the one loud window among the 24."""
    windows = small_network("csca").windows
    loud = type(windows)(windows.signal.copy(), windows.spectrogram)
    loud.signal[3] = np.clip(windows.signal[3].astype(int) * 20, -30000, 30000)
    one = type(windows)(loud.signal[3:4], loud.spectrogram[3:4])

    def top(graph: bytes) -> float:
        (found,) = (t for t in details(graph)[1] if t["name"] == "time/relu/conv_2d")
        scale, zero = found["quantization"]
        return float(scale * (127 - zero))

    assert top(quantize_tflite(float_graph, loud)) >= 0.999 * top(quantize_tflite(float_graph, one))


def test_weights_are_aligned_and_names_are_short(int8_graph: bytes) -> None:
    from ai_edge_litert import schema_py_generated as schema

    model = schema.Model.GetRootAs(int8_graph, 0)
    places = []
    for number in range(model.BuffersLength()):
        buffer = model.Buffers(number)
        if buffer.DataLength():
            places.append(buffer._tab.Vector(buffer._tab.Offset(4)))
    assert len(places) > 30
    assert all(place % ALIGNMENT == 0 for place in places)
    assert max(len(one["name"]) for one in details(int8_graph)[1]) < 50
    assert b".py" not in int8_graph


def test_a_block_can_stay_in_float(float_graph: bytes, int8_graph: bytes, small_network: Small) -> None:
    windows = small_network("csca").windows
    kept = quantize_tflite(float_graph, windows, ("time.stem", "spectrogram.blocks.0"))
    floats = {t["name"] for t in details(kept)[1] if t["dtype"] == np.float32 and len(t["shape"]) == 4}
    for start in ("time/relu/conv_2d", "spectrogram/blocks/0/first", "spectrogram/blocks/0/second"):
        assert any(name.startswith(start) for name in floats)
    assert not any(name.startswith("time/blocks/1/first") for name in floats)
    exact = tflite_logits(float_graph, windows)
    assert relative_error(tflite_logits(kept, windows), exact) < relative_error(
        tflite_logits(int8_graph, windows), exact
    )


def test_the_same_network_gives_the_same_bytes(
    float_graph: bytes, int8_graph: bytes, small_network: Small, capfd: pytest.CaptureFixture[str]
) -> None:
    network, windows = small_network("csca")
    again = convert(network, CONTRACT)
    assert again == float_graph
    assert quantize_tflite(again, windows) == int8_graph
    assert capfd.readouterr() == ("", "")  # of what the tools say, nothing is for the user


def test_paper_backbone_is_refused() -> None:
    network = FusionNet(NetworkSettings(dropout=0.0, backbone="paper"), 12, 4)
    with pytest.raises(EcgEdgeError, match="edge backbone"):
        convert(network, CONTRACT)


def test_without_the_extra_it_is_named(small_network: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "litert_torch", None)
    with pytest.raises(EcgEdgeError, match=r"pip install ecg-edge\[export\]"):
        convert(small_network("csca").network, CONTRACT)
