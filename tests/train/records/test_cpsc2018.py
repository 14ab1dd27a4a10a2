"""CPSC 2018's own files, made of the Challenge's copy of real ones: the two have to agree."""

import contextlib
import zlib
from pathlib import Path

import numpy as np
import pytest

scipy_io = pytest.importorskip("scipy.io")

from ecg_edge.firmware_bridge.leads import LEADS  # noqa: E402
from ecg_edge.runtime.contract import Contract  # noqa: E402
from ecg_edge.runtime.sources.records import read_recording  # noqa: E402
from ecg_edge.train import labels  # noqa: E402
from ecg_edge.train.records import cpsc2018  # noqa: E402
from ecg_edge.train.records.index import build_index  # noqa: E402
from ecg_edge.train.records.matlab import MatlabFileError, read_matrix  # noqa: E402
from ecg_edge.train.records.tables import TableError  # noqa: E402
from ecg_edge.train.tasks import task  # noqa: E402

COLUMNS = "Recording,First_label,Second_label,Third_label"


def write_mat(folder: Path, name: str, millivolts: np.ndarray, compressed: bool = True, variable: str = "ECG") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    content = {variable: {"sex": "Female", "age": np.array([[61]], dtype=np.uint8), "data": millivolts}}
    scipy_io.savemat(folder / f"{name}.mat", content, do_compression=compressed)
    return folder / name


def write_table(folder: Path, *rows: str, name: str = "REFERENCE.csv", columns: str = COLUMNS) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("\r\n".join([columns, *rows]) + "\r\n", encoding="utf-8-sig")


def wave(samples: int = 5000) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 0.2, (12, samples)).round(4)


@pytest.mark.parametrize("compressed", [True, False])
def test_signal_in_microvolts(tmp_path: Path, compressed: bool) -> None:
    millivolts = wave()
    millivolts[3, 7], millivolts[4, 8] = np.nan, np.inf
    recording = cpsc2018.read(write_mat(tmp_path, "A0001", millivolts, compressed))
    assert (recording.rate, recording.leads, recording.pv_per_lsb) == (500, LEADS, 1_000_000)
    assert recording.invalid is not None
    assert np.argwhere(recording.invalid).tolist() == [[7, 3], [8, 4]]
    finite = np.where(np.isfinite(millivolts), millivolts, 0)
    assert np.abs(recording.counts - finite.T * 1000).max() <= 0.5


@pytest.mark.parametrize("dtype", ["f8", "f4", "i2", "u1", "i8"])
def test_matrices_are_those_of_scipys_reader(tmp_path: Path, dtype: str) -> None:
    path = write_mat(tmp_path, "m", (wave(37) * 100).astype(dtype)).with_suffix(".mat")
    np.testing.assert_array_equal(read_matrix(path, "ECG", "data"), scipy_io.loadmat(path)["ECG"]["data"][0, 0])
    assert read_matrix(path, "ECG", "age").tolist() == [[61.0]]
    with pytest.raises(MatlabFileError, match="no such field"):
        read_matrix(path, "ECG", "rate")


def test_labels_and_what_is_missing(tmp_path: Path) -> None:
    folder = tmp_path / "cpsc2018"
    for name in ("A0001", "A0002", "A0004", "A0005"):
        write_mat(folder / "TrainingSet1", name, wave())
    write_table(folder, "A0001,5,,", "A0002,1,,", "A0003,2,,", "A0005,NaN,,")
    write_table(folder, "A0002,7,8.0,NaN", name="REFERENCE-v3.csv")
    index = build_index(tmp_path, ["cpsc2018"])
    asked = task("cpsc2018")
    names = [{n for n, has in zip(asked.abbreviations, row, strict=True) if has} for row in asked.labels(index.entries)]
    assert [e.path.name for e in index.entries] == ["A0001", "A0002"]
    assert names == [{"RBBB"}, {"PVC", "STD"}]
    assert [e.codes for e in index.entries] == [{"713427006"}, frozenset()]
    assert {item.path.name: item.reason for item in index.broken} == {
        "A0003": "signal file missing",
        "A0004": "no label in the reference table",
        "A0005": "no label in the reference table",
    }


@pytest.mark.parametrize(
    ("rows", "columns", "complaint"),
    [
        (["A0001,10,,"], COLUMNS, "labels of A0001 are 10"),
        (["A0001,AF,,"], COLUMNS, "labels of A0001 are AF"),
        (["A0001,inf,,"], COLUMNS, "labels of A0001 are inf"),
        (["A0001,1"], "Recording,Label", "no column First_label"),
    ],
)
def test_a_wrong_table_is_an_error(tmp_path: Path, rows: list[str], columns: str, complaint: str) -> None:
    write_table(tmp_path / "cpsc2018", *rows, columns=columns)
    with pytest.raises(TableError, match=complaint):
        build_index(tmp_path)


def bomb() -> bytes:
    """A MATLAB 5 header and 200 MB of zeros that take 200 kB."""
    packed = zlib.compress(b"\0" * 200_000_000, 9)
    return (
        b"MATLAB 5.0 MAT-file".ljust(124)
        + b"\x00\x01IM"
        + (15).to_bytes(4, "little")
        + len(packed).to_bytes(4, "little")
        + packed
    )


def test_damaged_files_give_one_clear_error(tmp_path: Path) -> None:
    good = write_mat(tmp_path, "good", wave(), compressed=False).with_suffix(".mat").read_bytes()
    packed = write_mat(tmp_path, "packed", wave()).with_suffix(".mat").read_bytes()
    contents = {
        "empty": b"",
        "header": good[:128],
        "cut": good[:-1000],
        "packed_cut": packed[: len(packed) // 2],
        "text": b"not a file of numbers\n" * 100,
        "bomb": bomb(),
        "garbled": good[:128] + bytes(b ^ 0x5A for b in good[128:400]) + good[400:],
    }
    for name, content in contents.items():
        (tmp_path / f"{name}.mat").write_bytes(content)
        with pytest.raises(MatlabFileError, match=rf"{name}\.mat") as caught:
            cpsc2018.read(tmp_path / name)
        assert "\n" not in str(caught.value)
    for name, millivolts, complaint in (
        ("leads", wave()[:3], "no 12 leads but"),
        ("none", wave(0), "no 12 leads but"),
        ("words", np.full((12, 5), "a"), "not real numbers"),
        ("complex", wave() * 1j, "not real numbers"),
    ):
        with pytest.raises(MatlabFileError, match=complaint):
            cpsc2018.read(write_mat(tmp_path, name, millivolts))
    with pytest.raises(MatlabFileError, match="no such variable"):
        cpsc2018.read(write_mat(tmp_path, "other", wave(), variable="val"))
    with pytest.raises(MatlabFileError, match="cannot read"):
        cpsc2018.read(tmp_path / "gone")


def test_any_flipped_bytes_raise_nothing_else(tmp_path: Path) -> None:
    good = write_mat(tmp_path, "good", wave(20), compressed=False).with_suffix(".mat").read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(1000):
        damaged = np.frombuffer(good, np.uint8).copy()
        at = rng.integers(128, 600, 2)
        damaged[at] = rng.integers(0, 256, 2)
        (tmp_path / "damaged.mat").write_bytes(damaged.tobytes())
        with contextlib.suppress(MatlabFileError):
            assert cpsc2018.read(tmp_path / "damaged").leads == LEADS


def test_original_agrees_with_the_challenges_copy(data_dir: Path, tmp_path: Path) -> None:
    pytest.importorskip("tqdm")
    from ecg_edge.train.store import open_store

    copies = {e.path.name: e for e in build_index(data_dir, ["cpsc_2018"]).entries}
    chosen = sorted(copies)[::12]
    words = {code: digit for digit, code in enumerate(labels.CPSC2018_CODES.values(), start=1)}
    equal = {"713427006": "59118001"}
    rows = []
    folder = tmp_path / "cpsc2018"
    for name in chosen:
        recording = read_recording(copies[name].path)
        millivolts = recording.counts * (recording.pv_per_lsb / 1e9)
        if recording.invalid is not None:
            millivolts[recording.invalid] = np.nan
        write_mat(folder / "TrainingSet2", name, millivolts.T)
        codes = copies[name].codes | copies[name].unscored
        digits = sorted(words[equal.get(code, code)] for code in codes)
        rows.append(",".join([name, *map(str, digits), *[""] * (3 - len(digits))]))
    write_table(folder, *rows)
    originals = build_index(tmp_path).entries
    assert [e.path.name for e in originals] == chosen
    pair = [*originals, *(copies[name] for name in chosen)]
    store = open_store(pair, Contract(), tmp_path / "cache")
    assert store.broken == ()
    for k in range(len(chosen)):
        np.testing.assert_array_equal(store.signal(k), store.signal(len(chosen) + k))
    for name in ("cpsc2018", "arrhythmia"):
        rows_of = task(name).labels(pair)
        np.testing.assert_array_equal(rows_of[: len(chosen)], rows_of[len(chosen) :])
    assert [e.ecg for e in originals] == [copies[name].ecg for name in chosen]

    # One ECG once, the Challenge's copy kept: the same data folder with both.
    (tmp_path / "cinc2020").symlink_to(data_dir / "cinc2020")
    both = build_index(tmp_path, ["cpsc_2018", "cpsc2018"])
    assert both.by_source() == {"cpsc_2018": len(copies)}
    assert {e.source for e in both.duplicates} == {"cpsc2018"}
    assert len(both.duplicates) == len(chosen)
