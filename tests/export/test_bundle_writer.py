"""From records to a bundle through the two commands, in seconds; and what the writer refuses."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("onnxscript")

from ecg_edge.export import bundle_writer
from ecg_edge.export.bundle_writer import BundleParts, BundleWriteError, write_bundle
from ecg_edge.firmware_bridge.leads import LEADS
from ecg_edge.firmware_bridge.recording import Recording
from ecg_edge.runtime import bundle, selftest
from ecg_edge.runtime.backends import open_backend, probabilities
from ecg_edge.runtime.bundle import Metric
from ecg_edge.runtime.cli.main import main
from ecg_edge.runtime.contract import Contract
from ecg_edge.runtime.sources.records import write_recording
from ecg_edge.runtime.stft import spectrogram
from ecg_edge.train.labels import ABBREVIATIONS, CLASSES
from ecg_edge.train.settings import FinetuneSettings, read_settings

PER_FOLD = 12  # half of them positive: enough for a class to be averaged
EDGE = read_settings("edge")
TINY = replace(
    EDGE,
    epochs=4,
    batch_size=16,
    learning_rate=0.01,
    average_decay=0.8,
    sources=("ptbxl",),
    network=replace(EDGE.network, time_stem=8, time_widths=(8, 8), spectrogram_stem=8, spectrogram_widths=(8,)),
)


def write_database(root: Path) -> None:
    """Write a PTB-XL of made-up records: every second one has fast waves and the statement AFIB."""
    rng = np.random.default_rng(0)
    folder = root / "ptbxl"
    rows = ["ecg_id,patient_id,age,sex,scp_codes,strat_fold,filename_lr,filename_hr"]
    time = np.arange(1000) / 100
    for number in range(9 * PER_FOLD):
        fold, fast = number // PER_FOLD + 1, number % 2
        hz = rng.uniform(5, 8) if fast else rng.uniform(1, 2)
        wave = 300 * np.sin(2 * np.pi * (hz * time[:, np.newaxis] + rng.random(12))) + rng.normal(0, 30, (1000, 12))
        name = f"{number:05d}_lr"
        recording = Recording(name, 100, LEADS, wave.astype(np.int32), 1_000_000)
        write_recording(recording, folder / "records100")
        codes = "{'AFIB': 0.0}" if fast else "{'SR': 0.0}"
        rows.append(f'{number},{number},60,1,"{codes}",{fold},records100/{name},records500/{name}')
    (folder / "ptbxl_database.csv").write_text("\n".join(rows) + "\n")
    (folder / "scp_statements.csv").write_text(",diagnostic,form,rhythm,diagnostic_class\nAFIB,,,1.0,\nSR,,,1.0,\n")


def as_toml(settings: FinetuneSettings) -> str:
    """Return the settings as a file; numbers and lists of numbers and words look the same in JSON."""
    data = settings.to_dict()
    tables = {key: value for key, value in data.items() if isinstance(value, dict)}
    lines = [f"{key} = {json.dumps(value)}" for key, value in data.items() if key not in tables]
    for name, table in tables.items():
        lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in table.items())]
    return "\n".join(lines)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data, a run and the bundle exported from it."""
    root = tmp_path_factory.mktemp("made")
    write_database(root / "data")
    (root / "tiny.toml").write_text(as_toml(TINY))
    common = ["--data", str(root / "data"), "--cache", str(root / "cache")]
    trained = main(["finetune", "--debug", *common, "--preset", str(root / "tiny.toml"), "--out", str(root / "run")])
    assert trained == 0
    exported = ["export", "--debug", *common, "--checkpoint", str(root / "run" / "best.pt"), "--name", "tiny"]
    exported += ["--thresholds", "f1"]
    assert main([*exported, "--report-fold", "9", "--out", str(root / "bundle")]) == 0
    return root


def test_the_bundle_loads_and_passes_its_self_test(made: Path) -> None:
    loaded = bundle.load(made / "bundle")
    assert loaded.manifest.name == "tiny"
    assert selftest.run(loaded, open_backend(loaded)).passed
    assert [c.code for c in loaded.manifest.classes] == [c.code for c in CLASSES]
    assert {p.name for p in (made / "bundle").iterdir()} == {"bundle.json", "model.onnx", "MODEL_CARD.md"}


def test_it_finds_what_it_was_trained_to_find(made: Path) -> None:
    loaded = bundle.load(made / "bundle")
    time = np.arange(1000) / 100
    answers = []
    for hz in (1.5, 6.5):
        signal = np.tile(300 * np.sin(2 * np.pi * hz * time), (12, 1)).astype(np.int16)
        logits = open_backend(loaded).logits(signal, spectrogram(signal, loaded.manifest.contract))
        answers.append(probabilities(logits)[ABBREVIATIONS.index("AF")])
    assert answers[1] > answers[0] + 0.1


def test_manifest_says_how_it_was_made_and_measured(made: Path) -> None:
    manifest = bundle.load(made / "bundle").manifest
    splits = {metric.split for metric in manifest.metrics}
    assert splits == {
        f"fold 8, thresholds fitted here, {PER_FOLD} records",
        f"fold 9, patients apart, {PER_FOLD} records",
    }
    assert {m.metric.split(" ")[0] for m in manifest.metrics} == {"macro_auroc"}
    made_from = manifest.provenance
    assert made_from["settings"] == TINY.to_dict()
    assert made_from["training_records"] == {"ptbxl": 7 * PER_FOLD}
    assert set(made_from["quantization"]) == {"float_groups", "float_nodes", "sensitivity", "error", "drop"}
    text = (made / "bundle" / "bundle.json").read_text()
    assert str(made) not in text, "no path of the machine it was made on"


def test_card_has_a_row_for_each_class(made: Path) -> None:
    card = (made / "bundle" / "MODEL_CARD.md").read_text()
    assert "not a medical device" in card
    for info in CLASSES:
        assert f"| {info.name} ({info.abbreviation}) | {info.code} |" in card
    assert str(made) not in card


def test_the_same_checkpoint_gives_the_same_model(made: Path) -> None:
    before = bundle.load(made / "bundle").manifest
    again = ["export", "--debug", "--data", str(made / "data"), "--cache", str(made / "cache"), "--name", "tiny"]
    again += [
        "--thresholds",
        "f1",
        "--checkpoint",
        str(made / "run" / "best.pt"),
        "--report-fold",
        "9",
        "--out",
        str(made / "bundle"),
    ]
    assert main(again) == 0
    assert bundle.load(made / "bundle").manifest == before


def test_what_cannot_be_exported_is_said_and_nothing_written(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    again = ["export", "--data", str(made / "data"), "--cache", str(made / "cache"), "--out", str(made / "other")]
    again += ["--checkpoint", str(made / "run" / "best.pt")]
    assert main([*again, "--thresholds", "f1", "--report-fold", "8"]) == 1
    assert "on two sides" in capsys.readouterr().err
    assert main(again) == 1
    assert "--thresholds f1" in capsys.readouterr().err, "there is no reward matrix among the made-up data"
    assert not (made / "other").exists()


def parts(made: Path, **changes: object) -> BundleParts:
    there = bundle.load(made / "bundle")
    m = there.manifest
    made_parts = BundleParts(m.name, "1", m.classes, Contract(), there.model("onnx"), "# card\n", (), {})
    return replace(made_parts, **changes)  # type: ignore[arg-type]


def test_a_folder_that_is_no_bundle_is_left_alone(made: Path, tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(BundleWriteError, match="no bundle"):
        write_bundle(parts(made), tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["precious.txt"]


def test_a_bundle_beyond_the_limit_is_not_written(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle_writer, "LARGEST_BUNDLE", 1000)
    with pytest.raises(BundleWriteError, match="bytes"):
        write_bundle(parts(made), tmp_path / "bundle")
    assert list(tmp_path.iterdir()) == []


def test_metrics_are_kept_as_given(made: Path, tmp_path: Path) -> None:
    figure = Metric("made", "none", "macro_auroc", 0.75, 0.5, 0.9)
    written = write_bundle(parts(made, metrics=(figure,)), tmp_path / "bundle")
    assert written.manifest.metrics == (figure,)
