"""The bundles inside the package: intact, small, and of use on the first day."""

import json
from pathlib import Path
from typing import Any

import pytest

from ecg_edge.runtime import bundle as bundles
from ecg_edge.runtime.bundle import load, shipped
from ecg_edge.runtime.contract import Contract


@pytest.mark.parametrize("name", shipped())
def test_bundle_passes_its_self_test_here(cli: Any, name: str) -> None:
    done = cli("bundle", "verify", name)
    assert (done.status, done.err) == (0, "")
    assert "passed" in done.out


@pytest.mark.parametrize("name", shipped())
def test_bundle_is_small_and_says_where_it_comes_from(name: str) -> None:
    found = load(name)
    assert sum(path.stat().st_size for path in found.folder.iterdir()) < 1_000_000
    manifest = found.manifest
    assert manifest.contract == Contract()
    assert {"MODEL_CARD.md", *manifest.models.values()} == set(manifest.files)
    assert "CC BY 4.0" in manifest.licence
    assert all("fold 9" in metric.split for metric in manifest.metrics), "nothing was measured on what was trained on"
    told = manifest.provenance
    assert 9 not in told["settings"]["train_folds"]
    assert told["like"]["name"] == name, "what chose is named, since no validation fold was left"
    assert {"onnx", "tflite"} == set(manifest.models)
    assert max(manifest.files[file].bytes for file in manifest.models.values()) <= 400_000
    assert told["gate"]["disagreement"] <= told["gate"]["limits"]["disagreement"]


def test_the_first_command_of_the_readme_shows_alerts(cli: Any, lines_of: Any) -> None:
    lines = lines_of(cli("replay", "demo", "--json").out)
    alerts = {line["label"]: line for line in lines if line["type"] == "alert" and line["phase"] == "new"}
    # The demo fibrillates from 25 to 61 s and goes fast at 103 s; a window takes 10 s to fill with either.
    assert 25 < alerts["AF"]["onset"] < 45
    assert alerts["STach"]["onset"] > 103
    assert lines[-1]["type"] == "summary"
    assert lines[-1]["bundle_sha256"] == load("arrhythmia").sha256


def test_records_of_the_fold_that_reports_are_named(cli: Any, data_dir: Path) -> None:
    """Decisions on two plain records of fold 9, so that a broken front end or bundle cannot pass unseen."""
    folder = data_dir / "ptbxl" / "records100" / "00000"
    done = cli("predict", "--json", folder / "00010_lr", folder / "00152_lr")
    normal, fibrillating = (json.loads(line) for line in done.out.splitlines())
    assert "NSR" in normal["labels"]
    assert "AF" in fibrillating["labels"]


def test_shipped_names_what_is_there() -> None:
    assert "arrhythmia" in shipped()
    assert bundles.find("arrhythmia") == bundles.SHIPPED / "arrhythmia"
