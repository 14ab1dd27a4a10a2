"""A made database, a tiny run on it and the bundles exported from that run, for the tests of the commands."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ecg_edge.firmware_bridge.leads import LEADS
from ecg_edge.firmware_bridge.recording import Recording
from ecg_edge.runtime.cli.main import main
from ecg_edge.runtime.sources.records import write_recording

PER_FOLD = 12
BARE = 4  # of each fold, the record with a rhythm statement alone: PTB-XL's superclasses leave it out
FAST, SLOW, RHYTHM_ALONE = "{'AFIB': 0.0, 'IMI': 100.0}", "{'SR': 0.0, 'NORM': 100.0}", "{'SR': 0.0}"


@dataclass(frozen=True)
class Made:
    """What the commands made."""

    root: Path
    """Folder of everything: `data`, `cache`, `run`, and `bundles/TASK`."""
    settings: Any
    """FinetuneSettings of the run."""
    formats: dict[str, Any] = field(default_factory=dict)
    """Formats of each task, as the first export made them in `run`."""

    def export(self, *options: object, out: str = "other") -> int:
        """Run `ecg-edge export` on the run and return its status."""
        paths = ["--data", self.root / "data", "--cache", self.root / "cache", "--out", self.root / "bundles" / out]
        given = [*paths, "--checkpoint", self.root / "run" / "best.pt", *options]
        return main(["export", *map(str, given)])

    def bundle(self, task: str) -> Path:
        """Return the folder of the bundle of a task."""
        return self.root / "bundles" / task


def _write_database(root: Path) -> None:
    """Write a PTB-XL of made-up records: every second one has fast waves, fibrillates and is infarcted."""
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
        codes = FAST if fast else RHYTHM_ALONE if number % PER_FOLD == BARE else SLOW
        rows.append(f'{number},{number},60,1,"{codes}",{fold},records100/{name},records500/{name}')
    (folder / "ptbxl_database.csv").write_text("\n".join(rows) + "\n")
    (folder / "scp_statements.csv").write_text(
        ",diagnostic,form,rhythm,diagnostic_class\nAFIB,,,1.0,\nSR,,,1.0,\nNORM,1.0,,,NORM\nIMI,1.0,,,MI\n"
    )


def _as_toml(table: dict[str, Any], where: str = "") -> str:
    """Return a table as a file; numbers, words, booleans and lists of them look the same in JSON."""
    tables = {key: value for key, value in table.items() if isinstance(value, dict)}
    lines = [f"{key} = {json.dumps(value)}" for key, value in table.items() if key not in tables]
    lines += [f"[{where}{name}]\n{_as_toml(inner, f'{where}{name}.')}" for name, inner in tables.items()]
    return "\n".join(lines)


@pytest.fixture(scope="session")
def as_toml() -> Callable[[dict[str, Any]], str]:
    """See `_as_toml`."""
    return _as_toml


@pytest.fixture(scope="session")
def tiny() -> Any:
    """FinetuneSettings of a run of seconds that learns two tasks from the made database."""
    pytest.importorskip("torch")
    from ecg_edge.train.augment.settings import AugmentSettings
    from ecg_edge.train.finetune_settings import FinetuneSettings
    from ecg_edge.train.settings import read_preset

    edge = read_preset(FinetuneSettings, "finetune", "edge")
    return replace(
        edge,
        tasks=("arrhythmia", "superclass"),
        epochs=4,
        batch_size=16,
        learning_rate=0.01,
        average_decay=0.8,
        sources=("ptbxl",),
        augment=AugmentSettings(),
        network=replace(edge.network, time_stem=8, time_widths=(8, 8), spectrogram_stem=8, spectrogram_widths=(8,)),
    )


@pytest.fixture(scope="session")
def made_run(tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """The database and the run."""
    from ecg_edge.train.settings import to_table

    made = Made(tmp_path_factory.mktemp("made"), tiny)
    _write_database(made.root / "data")
    (made.root / "tiny.toml").write_text(_as_toml(to_table(tiny)))
    options = ["--data", made.root / "data", "--cache", made.root / "cache", "--preset", made.root / "tiny.toml"]
    assert main(["finetune", "--debug", *map(str, options), "--device", "cpu", "--out", str(made.root / "run")]) == 0
    return made


@pytest.fixture(scope="session")
def made(made_run: Made) -> Made:
    """The same with its bundles of both tasks."""
    for package in ("onnxscript", "litert_torch", "ai_edge_quantizer", "ai_edge_litert"):
        pytest.importorskip(package)
    from ecg_edge.export.commands import export

    make = export.make_formats

    def kept(network: Any, contract: Any, folder: Path, stem: str, *rest: Any) -> Any:
        made_run.formats[stem] = make(network, contract, folder, stem, *rest)
        return made_run.formats[stem]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "make_formats", kept)
        for task in ("arrhythmia", "superclass"):
            assert made_run.export("--debug", "--report-fold", 9, "--task", task, out=task) == 0
    return made_run


@pytest.fixture
def quick(made: Made, monkeypatch: pytest.MonkeyPatch) -> Made:
    """The same, and exports of the run take the formats that there are: to make them takes most of an export's time."""
    from ecg_edge.export.commands import export

    monkeypatch.setattr(export, "make_formats", lambda network, contract, folder, stem, *rest: made.formats[stem])
    return made
