"""Challenge records in every layout and with every trap that their headers are known for, through to the store."""

import os
import shutil
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tqdm")

from ecg_edge.firmware_bridge.leads import LEADS
from ecg_edge.runtime.contract import Contract
from ecg_edge.train.records.entry import Broken, by_reason
from ecg_edge.train.records.index import build_index
from ecg_edge.train.store import open_store

CONTRACT = Contract()
DX = "#Age: 61\n#Sex: Female\n#Dx: 426783006\n"


def wave(samples: int, rate: int, seed: int = 0) -> np.ndarray:
    """Twelve leads in ADC units of a microvolt, 150 of them in standard deviation."""
    rng = np.random.default_rng(seed)
    time = np.arange(samples)[:, np.newaxis] / rate
    return np.rint(212 * np.sin(2 * np.pi * (4 * time + rng.random(12)))).astype("<i2")


def write(
    root: Path,
    name: str,
    rate: int = 500,
    seconds: float = 10,
    gain: str = "1000/mV",
    record_line: str = "",
    comments: str = DX,
    names: tuple[str, ...] = LEADS,
    seed: int = 0,
) -> Path:
    """Write a record as the Challenges have them: `.mat` of 24 bytes and then samples."""
    record = root / name
    record.parent.mkdir(parents=True, exist_ok=True)
    signal = wave(round(rate * seconds), rate, seed)
    total = signal.sum(axis=0, dtype=np.int64) % 2**16
    lines = [record_line or f"{record.name} 12 {rate} {len(signal)}"]
    lines += [f"{record.name}.mat 16+24 {gain} 16 0 {signal[0, k]} {total[k]} 0 {lead}" for k, lead in enumerate(names)]
    record.with_suffix(".hea").write_text("\n".join(lines) + "\n" + comments)
    record.with_suffix(".mat").write_bytes(b"\0" * 24 + signal.tobytes())
    return record


def test_layouts_and_headers_of_both_years(tmp_path: Path) -> None:
    write(tmp_path, "cinc2020/cpsc_2018/A0001", comments="#Dx: AF\n")
    write(tmp_path, "cinc2020/ptb/S0001", rate=1000, seconds=12)
    write(tmp_path, "cinc2021/training/ningbo/g2/JS20001", names=tuple(n.upper() for n in LEADS))
    write(tmp_path, "cinc2021/training/chapman_shaoxing/g1/JS00001", comments="# Age: 5\n# Dx: 426177001, 164934002\n")
    write(
        tmp_path,
        "cinc2021/georgia/g1/E00001",
        record_line="E00001.mat 12 500 5000 05-May-2020 14:50:55",
        gain="1000.0(0)/mV",
    )
    index = build_index(tmp_path)
    assert index.broken == ()
    assert list(index.by_source()) == ["chapman_shaoxing", "cpsc_2018", "georgia", "ningbo", "ptb"]
    assert index.entries[0].codes == {"426177001", "164934002"}
    for name in ("cinc2020", "cinc2021"):
        assert build_index(tmp_path, [name]).entries == index.entries
    store = open_store(index.entries, CONTRACT, tmp_path / "cache")
    assert [store.samples(k) for k in range(5)] == [1000, 1000, 1000, 1000, 1200]
    for k in range(5):
        np.testing.assert_allclose(store.signal(k).std(axis=1), 150, rtol=0.05)


def test_one_record_below_both_years_or_twice_in_one_is_one(tmp_path: Path) -> None:
    write(tmp_path, "cinc2020/georgia/E00001", gain="4880/mV")
    write(tmp_path, "cinc2021/training/georgia/g1/E00001")
    write(tmp_path, "cinc2021/training/georgia/E00001")
    index = build_index(tmp_path)
    assert len(index.duplicates) == 2
    assert [("cinc2021" in e.path.parts, e.gain_error) for e in index.entries] == [(True, 1.0)]  # the later headers


def test_the_known_wrong_gain_is_put_right_and_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from ecg_edge.runtime.cli.main import main

    write(tmp_path, "cinc2020/georgia/E00001", gain="4880/mV")
    write(tmp_path, "cinc2020/georgia/E00002", gain="1000/mV")
    index = build_index(tmp_path)
    assert index.mended() == {"georgia": 1}
    store = open_store(index.entries, CONTRACT, tmp_path / "cache")
    np.testing.assert_array_equal(store.signal(0), store.signal(1))
    assert main(["records", str(tmp_path)]) == 0
    assert "georgia: 1 headers state the wrong gain 4880/mV, taken as 1000/mV" in capsys.readouterr().err


def test_other_wrong_gains_are_refused_or_told_of(tmp_path: Path) -> None:
    write(tmp_path, "cinc2020/ptb/S1", gain="30000/mV")
    write(tmp_path, "cinc2020/ptb/S2", gain="20/mV")
    for k in range(10):
        write(tmp_path, f"cinc2020/odd/X{k}", gain="5000/mV", seed=k)
    store = open_store(build_index(tmp_path).entries, CONTRACT, tmp_path / "cache")
    assert store.broken_by_reason() == {
        "amplitude of ... microvolts is not an ECG's: correct the gain in its header": 2
    }
    assert len(store.entries) == 10
    (doubt,) = store.doubts
    assert "the 10 records of odd have a median amplitude of 30 microvolts where 150 are usual" in doubt
    assert open_store(build_index(tmp_path).entries, CONTRACT, tmp_path / "cache").doubts == store.doubts


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def zeros(path: Path) -> None:
    path.write_bytes(b"\0" * path.stat().st_size)


def garble(path: Path) -> None:
    path.write_bytes(np.random.default_rng(0).integers(0, 256, path.stat().st_size, np.uint8).tobytes())


@pytest.mark.parametrize(
    ("suffix", "damage", "reason"),
    [
        (".mat", truncate, "signal file truncated, 2499 of 5000"),
        (".mat", lambda p: p.write_bytes(b""), "signal file truncated, 0 of 5000"),
        (".mat", lambda p: p.unlink(), "is missing"),
        (".mat", zeros, "no lead with a signal"),
        (".mat", garble, "not an ECG's"),
        (".hea", truncate, "12 signals"),
        (".hea", lambda p: p.write_bytes(b""), "no record line"),
        (".hea", garble, ""),
        (".hea", lambda p: p.write_text(p.read_text().replace("1000/mV", "wrong")), "gain 'wrong'"),
        (".hea", lambda p: p.write_text(p.read_text().replace("16+24", "311+24")), "format 311"),
        (".hea", lambda p: p.write_text(p.read_text().replace(" 500 ", " 0 ")), "sampling rate"),
        (".hea", lambda p: p.write_text(p.read_text().replace(" V6", " V5")), "named twice"),
        (".hea", lambda p: p.write_text(p.read_text().replace("426783006", "sinus")), "'sinus'"),
    ],
)
def test_damaged_records_are_listed_and_the_others_stay(
    tmp_path: Path, suffix: str, damage: Callable[[Path], object], reason: str
) -> None:
    write(tmp_path, "cinc2020/cpsc_2018/A0001")
    damage(write(tmp_path, "cinc2020/cpsc_2018/A0002").with_suffix(suffix))
    index = build_index(tmp_path)
    store = open_store(index.entries, CONTRACT, tmp_path / "cache")
    (item,) = (*index.broken, *store.broken)
    assert item.path.name == "A0002"
    assert reason in item.reason
    assert "\n" not in item.reason
    assert [entry.path.name for entry in store.entries] == ["A0001"]


def test_half_an_hour_of_257_hz_stays_in_bounds(tmp_path: Path) -> None:
    for k in range(2):
        write(tmp_path, f"cinc2020/st_petersburg_incart/I000{k}", rate=257, seconds=1800, seed=k)
    entries = build_index(tmp_path).entries
    tracemalloc.start()
    store = open_store(entries, CONTRACT, tmp_path / "cache")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [store.samples(k) for k in range(2)] == [180_000] * 2
    assert store.last_window(1, CONTRACT.window).any(axis=1).all()
    assert peak < 200e6


def test_reasons_are_grouped(tmp_path: Path) -> None:
    broken = [Broken(tmp_path / n, f"record {tmp_path / n}: {k} of 5000 there") for k, n in enumerate(("a7", "b8"))]
    broken.append(Broken(tmp_path / "c", "shorter than 5 s"))
    assert by_reason(broken) == {"record ...: ... of ... there": 2, "shorter than 5 s": 1}


def test_a_damaged_copy_of_a_real_record(data_dir: Path, tmp_path: Path) -> None:
    source = data_dir / "cinc2020" / "cpsc_2018"
    folder = tmp_path / "cinc2020" / "cpsc_2018"
    folder.mkdir(parents=True)
    names = sorted(path.stem for path in source.glob("*.hea"))[:3]
    for name in names:
        for suffix in (".hea", ".mat"):
            shutil.copyfile(source / f"{name}{suffix}", folder / f"{name}{suffix}")
    truncate(folder / f"{names[0]}.mat")
    truncate(folder / f"{names[1]}.hea")
    index = build_index(tmp_path)
    assert [item.path.name for item in index.broken] == names[:2]
    assert [entry.path.name for entry in index.entries] == names[2:]
