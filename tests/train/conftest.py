"""Fixtures of the training side."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from ecg_edge.firmware_bridge.leads import LEADS
from ecg_edge.runtime.classes import ClassInfo
from ecg_edge.train.predictions import Predictions


@pytest.fixture(scope="session")
def made_up() -> Callable[..., Predictions]:
    """See `_made_up`."""
    return _made_up


def _made_up(
    records: int = 120, classes: int | tuple[ClassInfo, ...] = 3, seed: int = 0, first: int = 0, **more: Any
) -> Predictions:
    """Return predictions of records `r<first>` on, two of each patient, that separate every class by two deviations."""
    rng = np.random.default_rng(seed)
    if isinstance(classes, int):
        classes = tuple(ClassInfo(f"{k}", f"C{k}", f"class {k}", 0.3 + 0.05 * k) for k in range(classes))
    truth = rng.random((records, len(classes))) < 0.3
    logits = (rng.normal(size=truth.shape) + 2 * truth - 1.5).astype(np.float32)
    return Predictions(
        records=tuple(f"r{first + k}" for k in range(records)),
        patients=tuple(f"p{(first + k) // 2}" for k in range(records)),
        sources=("made up",) * records,
        folds=(None, *(9,) * (records - 1)),
        classes=classes,
        truth=truth,
        logits=logits,
        facts={"task": "made up", "model": "dice", "seed": seed, "split": "none", **more},
    )


@pytest.fixture(scope="session")
def made_store() -> Callable[..., Any]:
    """See `_made_store`."""
    pytest.importorskip("torch")
    return _made_store


@pytest.fixture(scope="session")
def made_waves() -> Callable[..., Any]:
    """See `_made_waves`."""
    return _made_waves


@pytest.fixture(scope="session")
def tiny() -> Callable[..., Any]:
    """See `_tiny`."""
    pytest.importorskip("torch")
    return _tiny


@pytest.fixture(scope="session")
def tiny_pretraining() -> Callable[..., Any]:
    """See `_tiny_pretraining`."""
    pytest.importorskip("torch")
    return _tiny_pretraining


@pytest.fixture(scope="session")
def made_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a data folder with PTB-XL's layout: 48 made records in folds 1 to 4, every second one with AF."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "ptbxl" / "records100").mkdir(parents=True)
    rows = ["ecg_id,patient_id,strat_fold,scp_codes,filename_lr"]
    for k, wave in enumerate(_made_waves(48, 0)):
        name = f"records100/{k + 1:05d}_lr"
        _write(folder / "ptbxl" / name, wave)
        codes = "{'AFIB': 100.0, 'IMI': 50.0}" if k % 2 else "{'NORM': 100.0, 'SR': 0.0}"
        rows.append(f'{k + 1},{k + 1},{k // 2 % 4 + 1},"{codes}",{name}')
    (folder / "ptbxl" / "ptbxl_database.csv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.fixture(scope="session")
def toml() -> Callable[[dict[str, Any]], str]:
    """See `_toml`."""
    return _toml


@pytest.fixture(scope="session")
def command_line(made_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., list[str]]:
    """Return a function that gives the words of a training command over `made_data`: command, settings, folder."""
    cache = tmp_path_factory.mktemp("cache")

    def words(command: str, settings: Any, out: Path, *more: str) -> list[str]:
        from ecg_edge.train.settings import to_table

        path = out.with_name(f"{out.name}.toml")
        path.write_text(_toml(to_table(settings)))
        where = ["--data", str(made_data), "--cache", str(cache), "--out", str(out), "--device", "cpu"]
        return [command, "--preset", str(path), *where, *more]

    return words


def _made_waves(count: int, seed: int, seconds: float = 10.0, rate: int = 100) -> list[npt.NDArray[np.int16]]:
    """Return signals (12, samples) in microvolts: waves of 1 to 2 Hz with noise, in every second one of 5 to 8 Hz."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    waves = []
    for k in range(count):
        hz = rng.uniform(5, 8) if k % 2 else rng.uniform(1, 2)
        wave = 300 * np.sin(2 * np.pi * (hz * time + rng.random((12, 1)))) + rng.normal(0, 30, (12, len(time)))
        waves.append(wave.astype(np.int16))
    return waves


def _made_store(
    signals: Sequence[npt.NDArray[np.int16]], fold: int | None = 1, name: str = "r", code: str = "164889003"
) -> Any:
    """Return a store of signals (12, samples), taken as conditioned; every second record has the diagnosis `code`."""
    from ecg_edge.runtime.contract import Contract
    from ecg_edge.runtime.stft import Stft
    from ecg_edge.train.records.entry import RecordEntry
    from ecg_edge.train.store import RecordStore

    contract = Contract()
    stft = Stft(contract)
    entries = tuple(
        RecordEntry(Path(f"{name}{k}"), "ptbxl", f"{name}{k}", None, fold, frozenset({code} if k % 2 else ()))
        for k in range(len(signals))
    )
    flat = np.concatenate([np.asarray(s, dtype=np.int16).ravel() for s in signals])
    flat.setflags(write=False)
    spectra = np.concatenate([np.ascontiguousarray(stft.frames(np.asarray(s))).ravel() for s in signals])
    offsets = np.cumsum([0, *(s.size for s in signals)])
    return RecordStore(entries, (), Path(), flat, offsets, contract, spectra)


def _tiny(**more: Any) -> Any:
    """Return settings of a supervised run on `made_data` that takes seconds; `more` replaces fields."""
    from ecg_edge.train.augment.settings import AugmentSettings
    from ecg_edge.train.finetune_settings import FinetuneSettings

    fields: dict[str, Any] = {
        "seed": 0,
        "tasks": ("arrhythmia",),
        "epochs": 2,
        "batch_size": 8,
        "learning_rate": 0.01,
        "average_decay": 0.8,
        "train_folds": (1, 2, 3),
        "valid_folds": (4,),
        "sources": ("ptbxl",),
        "network": _tiny_network(),
        "augment": AugmentSettings(crop_probability=0.3, mixup_probability=0.3, gain_sigma=0.1, white_probability=0.5),
        "precision": "float32",
        "threads": 1,
    }
    return FinetuneSettings(**fields | more)


def _tiny_pretraining(**more: Any) -> Any:
    """Return settings of a self-distillation run on `made_data` that takes seconds; `more` replaces fields."""
    from ecg_edge.train.augment.settings import AugmentSettings
    from ecg_edge.train.networks.projector import ProjectorSettings
    from ecg_edge.train.selfdistill.settings import PretrainSettings, ViewSettings

    augment = AugmentSettings(gain_sigma=0.1, time_mask_probability=0.3, frequency_mask_probability=0.3)
    fields: dict[str, Any] = {
        "seed": 0,
        "epochs": 2,
        "batch_size": 12,
        "accumulate": 1,
        "modalities": ("time", "spectrogram"),
        "cross_weight": 0.5,
        "window_seconds": 5.0,
        "global_views": ViewSettings(2, (0.6, 1.0), augment),
        "local_views": ViewSettings(2, (0.3, 0.5), augment),
        "projector": ProjectorSettings(32, 16, 64),
        "student_temperature": 0.1,
        "teacher_temperature": (0.04, 0.06),
        "temperature_epochs": 1,
        "centre_momentum": 0.9,
        "teacher_momentum": (0.9, 1.0),
        "learning_rate": 0.05,
        "final_rate": 1e-6,
        "warmup_epochs": 1,
        "weight_decay": (0.04, 0.4),
        "gradient_norm": 3.0,
        "frozen_prototype_epochs": 1,
        "precision": "float32",
        "threads": 1,
        "folds": (1, 2, 3),
        "sources": ("ptbxl",),
        "network": _tiny_network(),
    }
    return PretrainSettings(**fields | more)


def _tiny_network() -> Any:
    from ecg_edge.train.networks.model import NetworkSettings

    return NetworkSettings(
        dropout=0.2,
        time_stem=8,
        time_stride=4,
        time_widths=(8, 16),
        time_kernel=5,
        spectrogram_stem=8,
        spectrogram_widths=(16,),
    )


def _write(path: Path, wave: npt.NDArray[np.int16]) -> None:
    """Write a record of 12 leads at 100 Hz as PTB-XL has them, format 16, 1000 units a millivolt."""
    samples = np.ascontiguousarray(wave.T, dtype="<i2")
    lines = [f"{path.name} 12 100 {len(samples)}"]
    sums = samples.sum(axis=0, dtype=np.int64) % 2**16
    lines += [f"{path.name}.dat 16 1000(0)/mV 16 0 {samples[0, k]} {sums[k]} 0 {lead}" for k, lead in enumerate(LEADS)]
    path.with_name(f"{path.name}.hea").write_text("\n".join(lines) + "\n")
    path.with_name(f"{path.name}.dat").write_bytes(samples.tobytes())


def _toml(table: dict[str, Any], prefix: str = "") -> str:
    """Return a table of numbers, words, lists and tables as TOML; JSON's words for these are TOML's too."""
    plain = [f"{key} = {json.dumps(value)}" for key, value in table.items() if not isinstance(value, dict)]
    parts = ["\n".join(plain)]
    for key, value in table.items():
        if isinstance(value, dict):
            parts.append(f"\n[{prefix}{key}]\n{_toml(value, f'{prefix}{key}.')}")
    return "\n".join(parts)
