"""Fixtures that more than one part's tests use."""

import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, Protocol

import numpy as np
import pytest
from hypothesis import settings

from ecg_edge.runtime.backends import OnnxBackend
from ecg_edge.runtime.bundle import FileInfo, Manifest, Metric, SelfTest
from ecg_edge.runtime.classes import ClassInfo
from ecg_edge.runtime.contract import Contract
from ecg_edge.runtime.selftest import front_end_inputs

# An example that is slow because the machine is busy is not a wrong one.
settings.register_profile("shared machine", deadline=None)
settings.load_profile("shared machine")

DATA_VARIABLE = "ECG_EDGE_DATA"
_BESIDE_THE_REPOSITORY = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder of real recordings in PhysioNet's layout; a test that asks for it is skipped where there is none.

    Under CI a missing folder fails instead: a check that never runs must not look like one that passes.
    """
    folder = Path(os.environ.get(DATA_VARIABLE) or _BESIDE_THE_REPOSITORY)
    if not folder.is_dir():
        reason = f"no real recordings at {folder}; set {DATA_VARIABLE} to the folder that has ptbxl/, mitdb/, ..."
        if os.environ.get("CI", "").lower() in ("", "0", "false", "no"):
            pytest.skip(reason)
        pytest.fail(reason)
    return folder


@pytest.fixture(scope="session")
def wfdb() -> ModuleType:
    """The reference reader, as the oracle."""
    return pytest.importorskip("wfdb")


TINY_CLASSES = (
    ClassInfo("164889003", "AF", "atrial fibrillation", 0.5),
    ClassInfo("426783006", "NSR", "sinus rhythm", 0.5),
    ClassInfo("427172004", "PVC", "premature ventricular contractions", 0.5, ("17338001",)),
)


class TinyBundle(Protocol):
    """See `tiny_bundle`."""

    def __call__(
        self, folder: Path, classes: Sequence[ClassInfo] = ..., logits: Sequence[float] | None = ...
    ) -> Path: ...


@pytest.fixture(scope="session")
def tiny_bundle() -> TinyBundle:
    """Return a function that writes a valid bundle with a model of a few nodes into a folder, and returns the folder.

    classes: those of the bundle; logits: what the model answers to every window (a NaN is answered as one, and
    expected as 0). Without them it reacts to the signal: with A the mean absolute value of lead II in microvolts,
    the logit of class k is (A - 40 (k + 1)) / 10, so that the classes appear one after the other as A grows.
    """
    onnx = pytest.importorskip("onnx")

    def write(folder: Path, classes: Sequence[ClassInfo] = TINY_CLASSES, logits: Sequence[float] | None = None) -> Path:
        reacts = logits is None
        bias = [-4.0 * (k + 1) for k in range(len(classes))] if logits is None else list(logits)
        model = _tiny_model(onnx, 0.1 if reacts else 0.0, bias)
        inputs = front_end_inputs(Contract())
        answer = np.nan_to_num(OnnxBackend(model).logits(inputs.signal, inputs.spectrogram))
        card = b"# tiny\n\nA model of a few nodes, for tests.\n"
        contents = {"model.onnx": model, "MODEL_CARD.md": card}
        manifest = Manifest(
            name="tiny",
            version="1.0.0",
            classes=tuple(classes),
            contract=Contract(),
            files={n: FileInfo(hashlib.sha256(b).hexdigest(), len(b)) for n, b in contents.items()},
            models={"onnx": "model.onnx"},
            self_test=SelfTest(inputs.sha256, {"onnx": tuple(float(v) for v in answer)}, 1e-4),
            licence="Apache-2.0",
            metrics=(Metric("simulated", "none", "macro_auroc", 0.5, 0.4, 0.6),),
            provenance={"made_by": "tests"},
        )
        folder.mkdir(parents=True, exist_ok=True)
        for name, blob in contents.items():
            (folder / name).write_bytes(blob)
        (folder / "bundle.json").write_text(manifest.to_json())
        return folder

    return write


def _tiny_model(onnx: ModuleType, gain: float, bias: Sequence[float]) -> bytes:
    """Return a graph whose logits are `bias` plus `gain` times the mean absolute value of lead II."""
    helper, t = onnx.helper, onnx.TensorProto
    contract = Contract()
    classes = len(bias)
    nodes = [
        helper.make_node("Cast", ["signal"], ["volts"], to=t.FLOAT),
        helper.make_node("Gather", ["volts", "lead_ii"], ["ii"], axis=1),
        helper.make_node("Abs", ["ii"], ["size"]),
        helper.make_node("ReduceMean", ["size"], ["mean"], axes=[2, 3], keepdims=0),
        helper.make_node("Cast", ["spectrogram"], ["power"], to=t.FLOAT),
        helper.make_node("ReduceMean", ["power"], ["level"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Reshape", ["level", "one_by_one"], ["level_column"]),
        helper.make_node("Concat", ["mean", "level_column"], ["features"], axis=1),
        helper.make_node("MatMul", ["features", "weights"], ["weighted"]),
        helper.make_node("Add", ["weighted", "bias"], ["logits"]),
    ]
    constants = [
        helper.make_tensor("lead_ii", t.INT64, [1], [contract.leads.index("II")]),
        helper.make_tensor("one_by_one", t.INT64, [2], [1, 1]),
        # The spectrogram is read, as a real model reads it, and then weighs nothing.
        helper.make_tensor("weights", t.FLOAT, [2, classes], [gain] * classes + [0.0] * classes),
        helper.make_tensor("bias", t.FLOAT, [1, classes], list(bias)),
    ]
    leads = len(contract.leads)
    inputs = [
        helper.make_tensor_value_info("signal", t.INT16, [1, leads, 1, contract.window]),
        helper.make_tensor_value_info("spectrogram", t.UINT8, [1, leads, contract.stft_bins, contract.frames]),
    ]
    outputs = [helper.make_tensor_value_info("logits", t.FLOAT, [1, classes])]
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, constants)
    # The oldest ONNX Runtime that the package allows reads this opset and file version.
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


class SmallNetwork(NamedTuple):
    """See `small_network`."""

    network: Any
    """FusionNet of 4 classes, in evaluation mode."""
    windows: Any
    """Windows: 24 of noise at many levels, which its batch norms have seen."""


@pytest.fixture(scope="session")
def small_network() -> Callable[[str], SmallNetwork]:
    """Return a function that makes an untrained network of one kind of fusion, for exporting."""
    torch = pytest.importorskip("torch", reason="needs the extra train")
    from ecg_edge.runtime.stft import Stft
    from ecg_edge.train.networks.model import FusionNet, NetworkSettings
    from ecg_edge.train.windows import Windows

    def make(fusion: str) -> SmallNetwork:
        rng = np.random.default_rng(0)
        levels = rng.uniform(20, 900, (24, 12, 1))
        signal = (rng.standard_normal((24, 12, Contract().window)) * levels).astype(np.int16)
        windows = Windows(signal, Stft(Contract()).frames(signal))
        torch.manual_seed(0)
        sizes = {"time_stem": 8, "time_stride": 4, "time_widths": (16, 16), "time_kernel": 5}
        settings = NetworkSettings(dropout=0.0, fusion=fusion, spectrogram_stem=8, spectrogram_widths=(16,), **sizes)
        network = FusionNet(settings, 12, 4).train()
        with torch.no_grad():
            for _ in range(5):
                network(torch.from_numpy(signal[:, :, np.newaxis]), torch.from_numpy(windows.spectrogram))
        return SmallNetwork(network.eval(), windows)

    return make


@pytest.fixture(scope="session")
def both_models(
    small_network: Callable[[str], SmallNetwork], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, bytes]:
    """The float ONNX and the INT8 TFLite graph of one small network, by backend."""
    pytest.importorskip("litert_torch", reason="needs the extra export")
    from ecg_edge.export.onnx import export_float
    from ecg_edge.export.tflite import export_tflite

    network, windows = small_network("csca")
    folder = tmp_path_factory.mktemp("models")
    export_float(network, Contract(), folder / "model.onnx")
    export_tflite(network, Contract(), windows, folder / "float.tflite", folder / "model.tflite")
    return {kind: (folder / f"model.{kind}").read_bytes() for kind in ("onnx", "tflite")}


@pytest.fixture
def both_bundle(both_models: dict[str, bytes], tmp_path: Path) -> Path:
    """The folder of a bundle with both of them, which a test may damage."""
    from ecg_edge.export.bundle_writer import BundleParts, write_bundle

    classes = (*TINY_CLASSES, ClassInfo("", "X", 'odd "name" */ \\ ??/', 0.25))
    parts = BundleParts("both", "1", classes, Contract(), both_models, "# both\n", (), {})
    return write_bundle(parts, tmp_path / "both").folder
