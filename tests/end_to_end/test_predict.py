"""`ecg-edge predict`: whole records, one after the other."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from ecg_edge.firmware_bridge.leads import LEADS

KEYS = ["record", "probabilities", "labels", "quality", "leads", "windows", "technical"]


def objects(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_one_object_a_record(cli: Any, bundle: Path, record: Path) -> None:
    done = cli("predict", record, "demo", "--json", "--bundle", bundle)
    assert (done.status, done.err) == (0, "")
    first, second = objects(done.out)
    assert (first["record"], second["record"]) == (str(record), "demo")
    for one in (first, second):
        assert list(one) == KEYS
        assert list(one["probabilities"]) == ["AF", "NSR", "PVC"]
        assert all(isinstance(p, float) and 0 <= p <= 1 for p in one["probabilities"].values())
        assert set(one["labels"]) == {label for label, p in one["probabilities"].items() if p > 0.5}
        assert 0 < one["quality"] <= 1
        assert one["leads"] == list(LEADS)
    assert (first["windows"], second["windows"]) == (21, 111)
    assert first["technical"] == [
        "V2: electrode off, at the limit of the converter, or samples missing",
        *first["technical"][1:],
    ]


def test_text_for_people(cli: Any, bundle: Path, record: Path) -> None:
    done = cli("predict", record, "--bundle", bundle)
    (line,) = done.out.splitlines()
    assert line.startswith(f"{record}  quality ")
    assert "AF* " in line, "what is above its threshold is marked"


def test_leads_are_those_named(cli: Any, bundle: Path, record: Path) -> None:
    (one,) = objects(cli("predict", record, "--json", "--leads", "I,II", "--bundle", bundle).out)
    assert one["leads"] == ["I", "II", "III", "aVR", "aVL", "aVF"]


def test_challenge_files(cli: Any, bundle: Path, record: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out" / "deeper"
    done = cli("predict", record, "demo", "--json", "--challenge-output", folder, "--bundle", bundle)
    assert done.status == 0
    assert sorted(p.name for p in folder.iterdir()) == ["demo.csv", f"{record.name}.csv"]
    for one, name in zip(objects(done.out), (record.name, "demo"), strict=True):
        head, *rows = (folder / f"{name}.csv").read_text().splitlines()
        codes, labels, scores = csv.reader(rows)
        assert head == f"#{name}"
        # PVC stands for a second code, which has a column with the same values.
        assert codes == ["164889003", "426783006", "427172004", "17338001"]
        assert labels == [str(int(label in one["labels"])) for label in ("AF", "NSR", "PVC", "PVC")]
        assert [round(float(s), 4) for s in scores[:3]] == pytest.approx(list(one["probabilities"].values()), abs=1e-4)
        assert scores[3] == scores[2]


def test_records_of_the_same_name_do_not_overwrite_each_other(
    cli: Any, bundle: Path, record: Path, tmp_path: Path
) -> None:
    for suffix in (".hea", ".dat"):
        shutil.copy(record.with_suffix(suffix), tmp_path)
    twin = tmp_path / record.name
    done = cli("predict", record, twin, "--json", "--challenge-output", tmp_path / "out", "--bundle", bundle)
    assert done.status == 1
    assert [one["record"] for one in objects(done.out)] == [str(record)]
    assert f"{twin}: another record called half_minute has been written" in done.err


@pytest.mark.parametrize("where", ["file", "standard input"])
def test_list_of_records(cli: Any, bundle: Path, record: Path, tmp_path: Path, where: str) -> None:
    text = f"\n{record}\n  demo  \n\n"
    path = tmp_path / "list.txt"
    path.write_text(text)
    source, stdin = (path, "") if where == "file" else ("-", text)
    done = cli("predict", "--list", source, "--json", "--bundle", bundle, stdin=stdin)
    assert done.status == 0
    assert [one["record"] for one in objects(done.out)] == [str(record), "demo"]


def test_good_records_are_done_whatever_the_others_are(
    cli: Any, bundle: Path, record: Path, short_record: Path, tmp_path: Path
) -> None:
    damaged = tmp_path / "damaged"
    damaged.with_suffix(".hea").write_bytes(b"\x00\xff not a header")
    out = tmp_path / "out"
    records = [tmp_path / "missing", record, damaged, short_record, "demo"]
    done = cli("predict", *records, "--json", "--challenge-output", out, "--bundle", bundle)
    assert done.status == 1
    answers = {one["record"]: one for one in objects(done.out)}
    assert set(answers) == {str(record), str(short_record), "demo"}
    assert answers[str(short_record)]["probabilities"] is None, "too short: unknown is not normal"
    assert answers[str(short_record)]["labels"] == []
    assert sorted(p.name for p in out.iterdir()) == ["demo.csv", f"{record.name}.csv"]
    lines = done.err.splitlines()
    assert len(lines) == 4
    assert all(line.startswith("ecg-edge: ") for line in lines)
    for name, line in zip(("missing", "damaged", "three_seconds"), lines, strict=False):
        assert name in line
    assert lines[3] == "ecg-edge: 3 of 5 records without a diagnosis"


def test_real_records(cli: Any, bundle: Path, data_dir: Path) -> None:
    records = sorted((data_dir / "ptbxl/records500/00000").glob("*_hr.hea"))[:3]
    if not records:
        pytest.skip("no PTB-XL at 500 Hz")
    done = cli("predict", *(p.with_suffix("") for p in records), "--json", "--bundle", bundle)
    assert (done.status, done.err) == (0, "")
    assert all(one["windows"] == 1 and one["probabilities"] for one in objects(done.out))
