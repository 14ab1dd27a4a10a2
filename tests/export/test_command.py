"""From records to bundles of two tasks through the commands, in seconds."""

import shlex
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")

from ecg_edge.export.quantize import graph_logits  # noqa: E402
from ecg_edge.runtime import bundle, selftest  # noqa: E402
from ecg_edge.runtime.backends import open_backend, probabilities  # noqa: E402
from ecg_edge.runtime.cli.main import main  # noqa: E402
from ecg_edge.runtime.stft import spectrogram  # noqa: E402
from ecg_edge.train import checkpoint  # noqa: E402
from ecg_edge.train.finetune_settings import FinetuneSettings  # noqa: E402
from ecg_edge.train.settings import override, read_preset, to_table  # noqa: E402
from ecg_edge.train.tasks import task  # noqa: E402
from ecg_edge.train.trained import read_trained  # noqa: E402
from ecg_edge.train.windows import Windows, predict_logits  # noqa: E402

TASKS = ("arrhythmia", "superclass")
KNOWN = {"arrhythmia": 12, "superclass": 11}
"""Labelled records of each fold of the made database."""


@pytest.mark.parametrize("name", TASKS)
def test_the_bundle_is_whole_and_passes_its_self_test(made: Any, name: str, capsys: Any) -> None:
    folder = made.bundle(name)
    assert {path.name for path in folder.iterdir()} == {"bundle.json", "model.onnx", "MODEL_CARD.md"}
    loaded = bundle.load(folder)
    assert loaded.manifest.name == name
    assert selftest.run(loaded, open_backend(loaded)).passed
    assert [(c.code, c.abbreviation, c.name) for c in loaded.manifest.classes] == [
        (c.code, c.abbreviation, c.name) for c in task(name).classes
    ]
    assert main(["bundle", "verify", str(folder)]) == 0
    assert "passed" in capsys.readouterr().out


@pytest.mark.parametrize(("name", "classes"), [("arrhythmia", ("AF", "NSR")), ("superclass", ("MI", "NORM"))])
def test_it_finds_what_it_was_trained_to_find(made: Any, name: str, classes: tuple[str, str]) -> None:
    loaded = bundle.load(made.bundle(name))
    fast, slow = (task(name).abbreviations.index(abbreviation) for abbreviation in classes)
    time = np.arange(1000) / 100
    answers = []
    for hz in (1.5, 6.5):
        signal = np.tile(300 * np.sin(2 * np.pi * hz * time), (12, 1)).astype(np.int16)
        logits = open_backend(loaded).logits(signal, spectrogram(signal, loaded.manifest.contract))
        answers.append(probabilities(logits))
    assert answers[1][fast] > answers[0][fast] + 0.1
    assert answers[0][slow] > answers[1][slow] + 0.1


def test_a_task_s_outputs_are_its_part_of_the_network_s(made: Any) -> None:
    """The float graph of the task exported last, against the whole network's logits in torch."""
    trained = read_trained(made.root / "run" / "best.pt")
    contract = trained.contract
    rng = np.random.default_rng(0)
    signal = (300 * rng.standard_normal((3, 12, contract.window))).astype(np.int16)
    windows = Windows(signal, spectrogram(signal, contract))
    assert made.export("--thresholds", "f1", "--task", "superclass") == 0
    both = predict_logits(trained.network, windows)
    assert both.shape == (3, 24 + 5)
    np.testing.assert_allclose(graph_logits(made.root / "run" / "float.onnx", windows), both[:, 24:], 1e-3, 1e-4)


@pytest.mark.parametrize("name", TASKS)
def test_figures_count_the_records_that_are_labelled(made: Any, name: str) -> None:
    manifest = bundle.load(made.bundle(name)).manifest
    n = KNOWN[name]
    assert {metric.split for metric in manifest.metrics} == {
        f"fold 8, thresholds fitted here, {n} records",
        f"fold 9, patients apart, {n} records",
    }
    assert {metric.metric.split(" ")[0] for metric in manifest.metrics} == {"macro_auroc"}
    assert {metric.data for metric in manifest.metrics} == {"ptbxl"}
    assert manifest.provenance["training_records"] == {"ptbxl": 7 * KNOWN["arrhythmia"]}, "each teaches one task"


@pytest.mark.parametrize("name", TASKS)
def test_manifest_says_how_it_was_made(made: Any, name: str) -> None:
    told = bundle.load(made.bundle(name)).manifest.provenance
    assert told["settings"] == to_table(made.settings)
    assert (told["task"], told["init"]) == (name, None)
    finetune, export = map(shlex.split, told["commands"])
    assert finetune[:2] == ["ecg-edge", "finetune"]
    assignments = [b for a, b in pairwise(finetune) if a == "--set"]
    preset = read_preset(FinetuneSettings, "finetune", finetune[finetune.index("--preset") + 1])
    assert override(preset, assignments) == made.settings
    assert export[export.index("--task") + 1] == name
    assert export[export.index("--report-fold") + 1] == "9"
    assert set(told["quantization"]) == {"float_groups", "float_nodes", "sensitivity", "error", "drop", "search"}
    assert str(made.root) not in (made.bundle(name) / "bundle.json").read_text(), "no path of this machine"


@pytest.mark.parametrize("name", TASKS)
def test_card_has_a_row_for_each_class(made: Any, name: str) -> None:
    card = (made.bundle(name) / "MODEL_CARD.md").read_text()
    assert "not a medical device" in card
    for info in task(name).classes:
        assert f"| {info.name} ({info.abbreviation}) | {info.code or '-'} |" in card
    assert "fitted for the F1" in card
    assert "Challenges' data" not in card, "nothing of it was trained on"
    assert "fewer leads" not in card, "this run dropped none"
    assert str(made.root) not in card


def test_the_same_checkpoint_gives_the_same_bundle(made: Any) -> None:
    before = bundle.load(made.bundle("superclass")).manifest
    assert made.export("--task", "superclass", "--report-fold", 9, out="again") == 0
    assert bundle.load(made.bundle("again")).manifest == before


def test_thresholds_are_for_the_challenge_where_its_matrix_is(made: Any, data_dir: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "ptbxl").symlink_to(made.root / "data" / "ptbxl")
    (data / "scoring").symlink_to(data_dir / "scoring")
    for name in TASKS:
        assert made.export("--data", data, "--task", name, out=f"scored-{name}") == 0
    scored = bundle.load(made.bundle("scored-arrhythmia")).manifest
    assert {metric.metric.split(" ")[0] for metric in scored.metrics} == {"macro_auroc", "challenge_metric"}
    assert "--thresholds challenge" in scored.provenance["commands"][-1]
    superclass = bundle.load(made.bundle("scored-superclass")).manifest
    assert "--thresholds f1" in superclass.provenance["commands"][-1]
    assert superclass.classes == bundle.load(made.bundle("superclass")).manifest.classes


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--report-fold", 8), "on two sides"),
        (("--report-fold", 10), "no record of fold 10, patients apart is labelled"),
        (("--thresholds", "challenge"), "--thresholds f1"),
        (("--thresholds", "challenge", "--task", "superclass"), "not defined for superclass"),
        (("--task", "subclass"), "trained for arrhythmia, superclass"),
    ],
)
def test_what_cannot_be_exported_is_said_and_nothing_written(
    made: Any, options: tuple[object, ...], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert made.export(*options, out="none") == 1
    assert complaint in capsys.readouterr().err
    assert not made.bundle("none").exists()


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"settings": {"window_seconds": 5.0}}, "--set window_seconds=10"),
        ({"init": {"file": "pretrained.pt", "sha256": "0", "epochs": 1, "settings": None}}, "fold 9 was pretrained on"),
    ],
)
def test_a_checkpoint_that_would_lead_astray_is_refused(
    made: Any, change: dict[str, Any], complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from ecg_edge.train.selfdistill.settings import PretrainSettings

    state = checkpoint.load(made.root / "run" / "best.pt")
    state["settings"] |= change.get("settings", {})
    if "init" in change:
        edge = read_preset(PretrainSettings, "pretrain", "edge")
        state["init"] = change["init"] | {"settings": to_table(replace(edge, folds=(8, 9)))}
    checkpoint.save(tmp_path / "best.pt", state)
    assert made.export("--checkpoint", tmp_path / "best.pt", "--report-fold", 9, out="none") == 1
    assert complaint in capsys.readouterr().err
    assert not made.bundle("none").exists()


def test_a_pretrained_network_says_so(made: Any, tmp_path: Path) -> None:
    from ecg_edge.train.selfdistill.settings import PretrainSettings

    settings = to_table(read_preset(PretrainSettings, "pretrain", "edge"))
    init = {"file": "pretrained.pt", "sha256": "5" * 64, "epochs": 60, "settings": settings}
    checkpoint.save(tmp_path / "best.pt", checkpoint.load(made.root / "run" / "best.pt") | {"init": init})
    assert made.export("--checkpoint", tmp_path / "best.pt", "--report-fold", 9, out="pretrained") == 0
    told = bundle.load(made.bundle("pretrained")).manifest.provenance
    assert told["init"] == init
    assert [line.split()[1] for line in told["commands"]] == ["pretrain", "finetune", "export"]
    assert "--init PRETRAINED/pretrained.pt" in told["commands"][1]
    assert "self-distillation" in (made.bundle("pretrained") / "MODEL_CARD.md").read_text()


def test_what_is_wrong_with_the_data_is_told(made: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """A record cut short is left out of a fresh store, and of the figures."""
    damaged = next((made.root / "data").rglob(f"{8 * 12:05d}_lr.dat"))
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:100])
    try:
        assert made.export("--cache", made.root / "fresh", "--report-fold", 9, out="damaged") == 0
    finally:
        damaged.write_bytes(whole)
    assert "left out 1 broken records" in capsys.readouterr().err
    splits = {metric.split for metric in bundle.load(made.bundle("damaged")).manifest.metrics}
    assert "fold 9, patients apart, 11 records" in splits


def test_the_papers_network_is_refused(made: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from ecg_edge.train.networks.model import FusionNet, NetworkSettings

    network = NetworkSettings(dropout=0.0, backbone="paper", fusion="time")
    settings = replace(made.settings, network=network, window_seconds=2.5, stride_seconds=1.25)
    state = checkpoint.load(made.root / "run" / "best.pt")
    state |= {"settings": to_table(settings), "network": FusionNet(network, 12, 24 + 5).state_dict()}
    checkpoint.save(tmp_path / "best.pt", state)
    assert made.export("--checkpoint", tmp_path / "best.pt", out="none") == 1
    assert "paper backbone does not run on devices" in capsys.readouterr().err
