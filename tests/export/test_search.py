"""The search through neural-compressor: finds the block that INT8 ruins, and only that one."""

import copy
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")
pytest.importorskip("onnxscript")

from ecg_edge.export import quantize as quantize_module  # noqa: E402
from ecg_edge.export.onnx import export_float  # noqa: E402
from ecg_edge.export.quantize import graph_logits, groups, quantize, quantize_selectively  # noqa: E402
from ecg_edge.export.search import NotInstalledError, search_blocks  # noqa: E402
from ecg_edge.firmware_bridge.errors import EcgEdgeError  # noqa: E402
from ecg_edge.runtime.contract import Contract  # noqa: E402
from ecg_edge.runtime.stft import Stft  # noqa: E402
from ecg_edge.train.networks.model import FusionNet, NetworkSettings  # noqa: E402
from ecg_edge.train.windows import Windows  # noqa: E402

CONTRACT = Contract()
SMALL = NetworkSettings(
    time_stem=8,
    time_stride=4,
    time_widths=(8,),
    time_kernel=5,
    spectrogram_stem=8,
    spectrogram_widths=(8,),
    dropout=0.0,
)
BLOCKS = ("time.stem", "time.blocks.0", "spectrogram.stem", "spectrogram.blocks.0")
RUINED = "time.blocks.0"
GAIN = 3e4  # of one channel: 8 bits of a range set by it leave the other channels one step

needs_the_package = pytest.mark.skipif(
    not (find_spec("neural_compressor") and find_spec("torchao")),
    reason="neural-compressor is not installed: pip install ecg-edge[search]",
)


@pytest.fixture(scope="module")
def windows() -> Windows:
    rng = np.random.default_rng(0)
    signal = (rng.standard_normal((17, 12, CONTRACT.window)) * rng.uniform(20, 900, (17, 12, 1))).astype(np.int16)
    return Windows(signal, Stft(CONTRACT).frames(signal))


@pytest.fixture(scope="module")
def network(windows: Windows) -> FusionNet:
    torch.manual_seed(0)
    net = FusionNet(SMALL, 12, 4).train()
    with torch.no_grad():
        for _ in range(5):
            net(torch.from_numpy(windows.signal[:, :, np.newaxis]), torch.from_numpy(windows.spectrogram))
    return net.eval()


@pytest.fixture(scope="module")
def ruined(network: FusionNet) -> FusionNet:
    """The same function, since ReLU(g x) = g ReLU(x), with one channel of one block on a far larger scale."""
    net = copy.deepcopy(network)
    block = net.get_submodule(RUINED)
    norm = block.get_submodule("first.1")
    with torch.no_grad():
        norm.weight[3] *= GAIN
        norm.bias[3] *= GAIN
        block.get_submodule("second.0").weight[:, 3] /= GAIN
    return net


def rms(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.sqrt(np.mean((a - b) ** 2)))


@pytest.fixture(scope="module")
def limit(network: FusionNet, windows: Windows, tmp_path_factory: pytest.TempPathFactory) -> float:
    """Twice the error of the network's logits with everything in INT8."""
    folder = tmp_path_factory.mktemp("sound")
    export_float(network, CONTRACT, folder / "float.onnx")
    assert tuple(groups(folder / "float.onnx")) == BLOCKS
    quantize(folder / "float.onnx", folder / "int8.onnx", windows)
    return 2 * rms(graph_logits(folder / "int8.onnx", windows), graph_logits(folder / "float.onnx", windows))


@needs_the_package
def test_all_is_int8_where_that_costs_little(network: FusionNet, windows: Windows, limit: float) -> None:
    costs: list[float] = []

    def cost(logits: np.ndarray) -> float:
        costs.append(rms(logits, exact) / limit)
        return costs[-1]

    with torch.no_grad():
        exact = network(torch.from_numpy(windows.signal[:, :, np.newaxis]), torch.from_numpy(windows.spectrogram))
    exact = exact.numpy()
    assert search_blocks(network, BLOCKS, windows, windows, cost) == ()
    assert costs[0] == pytest.approx(0, abs=1e-3), "the float network"
    assert 0.1 < costs[1] <= 1
    assert len(costs) == 2


@needs_the_package
def test_the_block_that_int8_ruins_is_found(
    ruined: FusionNet, windows: Windows, limit: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantize_module, "LARGEST_ERROR", limit)
    graph, out = tmp_path / "float.onnx", tmp_path / "int8.onnx"
    export_float(ruined, CONTRACT, graph)
    made = quantize_selectively(
        graph, out, windows, windows, lambda logits: 1.0, search="neural-compressor", network=ruined
    )
    assert made.float_groups == (RUINED,)
    assert made.search == "neural-compressor"
    assert made.error <= limit < made.sensitivity[RUINED]
    assert rms(graph_logits(out, windows), graph_logits(graph, windows)) == pytest.approx(made.error)


def test_what_the_graph_itself_needs_goes_back_to_float_as_well(
    ruined: FusionNet, windows: Windows, limit: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantize_module, "LARGEST_ERROR", limit)
    monkeypatch.setattr(quantize_module, "search_blocks", lambda *_: ("spectrogram.stem",))
    graph = tmp_path / "float.onnx"
    export_float(ruined, CONTRACT, graph)
    made = quantize_selectively(
        graph, tmp_path / "int8.onnx", windows, windows, lambda logits: 1.0, "neural-compressor", ruined
    )
    assert made.float_groups == ("spectrogram.stem", RUINED)


def test_without_the_package_the_other_search_takes_over_and_says_so(
    network: FusionNet,
    windows: Windows,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, "neural_compressor.torch", None)
    with pytest.raises(NotInstalledError, match=r"pip install ecg-edge\[search\]"):
        search_blocks(network, BLOCKS, windows, windows, lambda logits: 0.0)
    graph = tmp_path / "float.onnx"
    export_float(network, CONTRACT, graph)
    made = quantize_selectively(
        graph, tmp_path / "int8.onnx", windows, windows, lambda logits: 1.0, "neural-compressor", network
    )
    assert made.search == "onnxruntime"
    assert "ecg-edge[search]" in capsys.readouterr().err


def test_a_search_that_cannot_be_is_refused(windows: Windows, tmp_path: Path) -> None:
    graph = tmp_path / "float.onnx"
    with pytest.raises(EcgEdgeError, match="onnxruntime, neural-compressor"):
        quantize_selectively(graph, graph, windows, windows, lambda logits: 1.0, "random")
    with pytest.raises(EcgEdgeError, match="needs the network"):
        quantize_selectively(graph, graph, windows, windows, lambda logits: 1.0, "neural-compressor")
