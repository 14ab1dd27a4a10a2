"""From records to bundles of two tasks through the commands, in seconds."""

import re
import shlex
import shutil
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")

from ecg_edge.export.bundle_writer import TOLERANCE  # noqa: E402
from ecg_edge.export.distill.settings import DistillSettings  # noqa: E402
from ecg_edge.export.gate import Limits  # noqa: E402
from ecg_edge.export.quantize import graph_logits  # noqa: E402
from ecg_edge.runtime import bundle, selftest  # noqa: E402
from ecg_edge.runtime.backends import open_backend, probabilities  # noqa: E402
from ecg_edge.runtime.bundle import BundleError  # noqa: E402
from ecg_edge.runtime.cli.main import main  # noqa: E402
from ecg_edge.runtime.stft import spectrogram  # noqa: E402
from ecg_edge.train import checkpoint  # noqa: E402
from ecg_edge.train.finetune_settings import FinetuneSettings  # noqa: E402
from ecg_edge.train.settings import override, read_preset, to_table  # noqa: E402
from ecg_edge.train.tasks import task  # noqa: E402
from ecg_edge.train.trained import read_trained  # noqa: E402
from ecg_edge.train.windows import Windows, predict_logits  # noqa: E402

from .broken import break_onnx, onnx_layers  # noqa: E402

TASKS = ("arrhythmia", "superclass")
KNOWN = {"arrhythmia": 12, "superclass": 11}
"""Labelled records of each fold of the made database."""


@pytest.mark.parametrize("name", TASKS)
def test_the_bundle_is_whole_and_passes_its_self_test(made: Any, name: str, capsys: Any) -> None:
    folder = made.bundle(name)
    assert {path.name for path in folder.iterdir()} == {"bundle.json", "model.onnx", "model.tflite", "MODEL_CARD.md"}
    loaded = bundle.load(folder)
    assert loaded.manifest.name == name
    for backend in ("onnx", "tflite"):
        assert selftest.run(loaded, open_backend(loaded, backend)).passed
    assert [(c.code, c.abbreviation, c.name) for c in loaded.manifest.classes] == [
        (c.code, c.abbreviation, c.name) for c in task(name).classes
    ]
    assert main(["bundle", "verify", str(folder)]) == 0
    assert "passed" in capsys.readouterr().out


@pytest.mark.parametrize("file", ["model.onnx", "model.tflite", "MODEL_CARD.md"])
def test_a_flipped_byte_is_refused(made: Any, file: str, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(made.bundle("superclass"), tmp_path / "flipped"))
    whole = (folder / file).read_bytes()
    for place in (0, len(whole) // 3, len(whole) - 1):
        (folder / file).write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(BundleError, match=file):
            bundle.load(folder)


@pytest.mark.parametrize("backend", ["onnx", "tflite"])
@pytest.mark.parametrize(("name", "classes"), [("arrhythmia", ("AF", "NSR")), ("superclass", ("MI", "NORM"))])
def test_it_finds_what_it_was_trained_to_find(made: Any, backend: str, name: str, classes: tuple[str, str]) -> None:
    loaded = bundle.load(made.bundle(name))
    fast, slow = (task(name).abbreviations.index(abbreviation) for abbreviation in classes)
    time = np.arange(1000) / 100
    answers = []
    for hz in (1.5, 6.5):
        signal = np.tile(300 * np.sin(2 * np.pi * hz * time), (12, 1)).astype(np.int16)
        logits = open_backend(loaded, backend).logits(signal, spectrogram(signal, loaded.manifest.contract))
        answers.append(probabilities(logits))
    assert answers[1][fast] > answers[0][fast] + 0.1
    assert answers[0][slow] > answers[1][slow] + 0.1


def test_a_task_s_outputs_are_its_part_of_the_network_s(made: Any) -> None:
    """The float graph of each task, against the whole network's logits in torch."""
    trained = read_trained(made.root / "run" / "best.pt")
    contract = trained.contract
    rng = np.random.default_rng(0)
    signal = (300 * rng.standard_normal((3, 12, contract.window))).astype(np.int16)
    windows = Windows(signal, spectrogram(signal, contract))
    both = predict_logits(trained.network, windows)
    assert both.shape == (3, 24 + 5)
    for name, columns in (("arrhythmia", slice(24)), ("superclass", slice(24, None))):
        graph = made.root / "run" / f"{name}.float.onnx"
        np.testing.assert_allclose(graph_logits(graph, windows), both[:, columns], 1e-3, 1e-4)


@pytest.mark.parametrize("name", TASKS)
def test_figures_count_the_records_that_are_labelled(made: Any, name: str) -> None:
    manifest = bundle.load(made.bundle(name)).manifest
    n = KNOWN[name]
    assert {metric.split for metric in manifest.metrics} == {
        f"fold 8, thresholds fitted here, {n} records",
        f"fold 9, patients apart, {n} records",
    }
    least = "at least 5 positives: 2 classes"
    kinds = [f"({kind}; {least})" for kind in ("int8 onnx", "int8 tflite", "float")]
    kinds += [f"lost (int8 {kind} against float)" for kind in ("onnx", "tflite")]
    assert {metric.metric for metric in manifest.metrics} == {f"macro_auroc {kind}" for kind in kinds}
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
    assert "--teacher" not in export
    assert told["distill"] is None
    assert told["gate"]["limits"]["macro_drop"] == Limits().macro_drop
    assert 0 <= told["gate"]["disagreement"] <= Limits().disagreement
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
    assert "included windows with fewer leads" not in card, "this run dropped none"
    n = KNOWN[name]
    for row in (f"| all | {n} |", "| source ptbxl |", "| female |", "| 40 to 64 years |", f"| 12 leads | {n} |"):
        assert row in card
    assert "## Latency" not in card, "nobody asked for it"
    assert str(made.root) not in card


def test_the_same_checkpoint_gives_the_same_bundle(made: Any) -> None:
    """But for TFLite, whose converter puts operators in another order from time to time; its answers stay."""
    before = bundle.load(made.bundle("superclass")).manifest
    assert made.export("--task", "superclass", "--report-fold", 9, out="again") == 0
    again = bundle.load(made.bundle("again")).manifest
    assert again.files["model.onnx"] == before.files["model.onnx"]
    assert again.self_test.logits["onnx"] == before.self_test.logits["onnx"]
    np.testing.assert_allclose(again.self_test.logits["tflite"], before.self_test.logits["tflite"], atol=TOLERANCE)
    assert (again.classes, again.name) == (before.classes, before.name)
    assert {**again.provenance, "gate": None} == {**before.provenance, "gate": None}


def test_latency_is_measured_where_it_is_asked_for(quick: Any) -> None:
    assert quick.export("--latency", "--task", "superclass", out="timed") == 0
    card = (quick.bundle("timed") / "MODEL_CARD.md").read_text().split("## Latency")[1]
    found = dict(re.findall(r"(float onnx|int8 onnx|int8 tflite) ([0-9.]+) ms", card))
    assert len(found) == 3
    assert all(0 < float(ms) < 100 for ms in found.values())


def test_a_limit_of_ones_own_is_followed_and_told(quick: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert quick.export("--task", "superclass", "--macro-drop", "-0.001", out="none") == 1
    assert "onnx: macro AUROC 1.0000 against 1.0000 in float, 0.0000 less (at most -0.001)" in capsys.readouterr().err
    assert quick.export("--task", "superclass", "--macro-drop", "0.5", out="lenient") == 0
    assert "--macro-drop 0.5" in bundle.load(quick.bundle("lenient")).manifest.provenance["commands"][-1]


def test_broken_scales_of_one_layer_are_refused_with_a_table(
    quick: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    formats = quick.formats["arrhythmia"]
    model = formats.int8_onnx.read_bytes()
    broken = tmp_path / "int8.onnx"
    broken.write_bytes(break_onnx(model, onnx_layers(model)[0]))
    monkeypatch.setitem(quick.formats, "arrhythmia", replace(formats, int8_onnx=broken))
    assert quick.export(out="broken") == 1
    said = capsys.readouterr().err
    assert "the gate refuses this network" in said
    assert re.search(r"^AF +6 +1\.0000 +[0-9.]+ +1\.0000$", said, re.MULTILINE)
    assert not quick.bundle("broken").exists()


def test_thresholds_are_for_the_challenge_where_its_matrix_is(quick: Any, data_dir: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "ptbxl").symlink_to(quick.root / "data" / "ptbxl")
    (data / "scoring").symlink_to(data_dir / "scoring")
    for name in TASKS:
        assert quick.export("--data", data, "--task", name, out=f"scored-{name}") == 0
    scored = bundle.load(quick.bundle("scored-arrhythmia")).manifest
    assert {metric.metric.split(" ")[0] for metric in scored.metrics} == {"macro_auroc", "challenge_metric"}
    assert "--thresholds challenge" in scored.provenance["commands"][-1]
    superclass = bundle.load(quick.bundle("scored-superclass")).manifest
    assert "--thresholds f1" in superclass.provenance["commands"][-1]
    assert superclass.classes == bundle.load(quick.bundle("superclass")).manifest.classes


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
        (
            {"init": {"file": "pretrained.pt", "sha256": "0", "epochs": 1, "settings": None}},
            "the network has seen fold 9",
        ),
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


def test_a_pretrained_network_says_so(quick: Any, tmp_path: Path) -> None:
    from ecg_edge.train.selfdistill.settings import PretrainSettings

    settings = to_table(read_preset(PretrainSettings, "pretrain", "edge"))
    init = {"file": "pretrained.pt", "sha256": "5" * 64, "epochs": 60, "settings": settings}
    checkpoint.save(tmp_path / "best.pt", checkpoint.load(quick.root / "run" / "best.pt") | {"init": init})
    assert quick.export("--checkpoint", tmp_path / "best.pt", "--report-fold", 9, out="pretrained") == 0
    told = bundle.load(quick.bundle("pretrained")).manifest.provenance
    assert told["init"] == init
    assert [line.split()[1] for line in told["commands"]] == ["pretrain", "finetune", "export"]
    assert "--init PRETRAINED/pretrained.pt" in told["commands"][1]
    assert "self-distillation" in (quick.bundle("pretrained") / "MODEL_CARD.md").read_text()


def test_what_is_wrong_with_the_data_is_told(quick: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """A record cut short is left out of a fresh store, and of the figures."""
    damaged = next((quick.root / "data").rglob(f"{8 * 12:05d}_lr.dat"))
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:100])
    try:
        assert quick.export("--cache", quick.root / "fresh", "--report-fold", 9, out="damaged") == 0
    finally:
        damaged.write_bytes(whole)
    assert "left out 1 broken records" in capsys.readouterr().err
    splits = {metric.split for metric in bundle.load(quick.bundle("damaged")).manifest.metrics}
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


@pytest.fixture(scope="module")
def distilled(made: Any, as_toml: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, DistillSettings]:
    """A bundle that one command made from a teacher, and the settings of its student."""
    student = replace(made.settings, tasks=("superclass",), epochs=4, contrast_weight=0.0, threads=1)
    settings = DistillSettings(student, 1.0, 0.5, 1.0)
    folder = tmp_path_factory.mktemp("distilled")
    (folder / "student.toml").write_text(as_toml(to_table(settings)))
    words = ["export", "--debug", "--teacher", made.root / "run" / "best.pt", "--preset", folder / "student.toml"]
    words += ["--data", made.root / "data", "--cache", made.root / "cache", "--out", folder / "bundle"]
    assert main([*map(str, words), "--report-fold", "9"]) == 0
    return folder / "bundle", settings


def test_one_command_distils_and_exports(distilled: tuple[Path, DistillSettings]) -> None:
    folder, settings = distilled
    assert main(["bundle", "verify", str(folder)]) == 0
    work = folder.with_name("bundle.work")
    assert {path.name for path in work.iterdir()} >= {"best.pt", "superclass.int8.onnx", "superclass.int8.tflite"}
    assert read_trained(work / "best.pt").settings == settings.student
    manifest = bundle.load(folder).manifest
    names = {metric.metric for metric in manifest.metrics}
    assert "macro_auroc (teacher; at least 5 positives: 2 classes)" in names
    assert {f"macro_auroc lost (int8 {kind} against teacher)" for kind in ("onnx", "tflite")} <= names
    assert "distilled from a larger network" in (folder / "MODEL_CARD.md").read_text()


def test_its_manifest_s_commands_make_it_again(made: Any, distilled: tuple[Path, DistillSettings]) -> None:
    folder, settings = distilled
    told = bundle.load(folder).manifest.provenance
    assert told["distill"] == {"logit_weight": 1.0, "feature_weight": 0.5, "gate_weight": 1.0, "teachers": 1}
    finetune, distil, export = map(shlex.split, told["commands"])
    for words, kind, command, expected in (
        (finetune, FinetuneSettings, "finetune", made.settings),
        (distil, DistillSettings, "distill", settings),
    ):
        assert words[:2] == ["ecg-edge", command]
        preset = read_preset(kind, command, words[words.index("--preset") + 1])
        assert override(preset, [b for a, b in pairwise(words) if a == "--set"]) == expected
    teacher = f"{finetune[finetune.index('--out') + 1]}/best.pt"
    assert [b for a, b in pairwise(distil) if a == "--teacher"] == [teacher]
    assert [b for a, b in pairwise(export) if a == "--teacher"] == [teacher]
    assert export[export.index("--checkpoint") + 1] == f"{distil[distil.index('--out') + 1]}/best.pt"


def test_a_teacher_that_has_seen_the_report_is_refused_before_anything_is_trained(
    made: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = checkpoint.load(made.root / "run" / "best.pt")
    state["settings"]["train_folds"] = [*state["settings"]["train_folds"], 9]
    checkpoint.save(tmp_path / "best.pt", state)
    words = ["export", "--teacher", tmp_path / "best.pt", "--data", made.root / "data", "--out", tmp_path / "bundle"]
    assert main([*map(str, words), "--report-fold", "9"]) == 1
    assert "trained on fold 9, which is to measure" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["best.pt"]
    assert made.export("--teacher", tmp_path / "best.pt", "--report-fold", 9, out="none") == 1
    assert "a --teacher has seen fold 9" in capsys.readouterr().err


def test_there_has_to_be_something_to_export(made: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "--data", str(made.root / "data"), "--out", str(tmp_path / "bundle")]) == 1
    assert "--checkpoint, or --teacher" in capsys.readouterr().err
