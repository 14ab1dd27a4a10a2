"""Recording: what was received comes back, whoever is killed and whatever the disk does."""

import errno
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from ecg_edge.firmware_bridge.errors import EcgEdgeError
from ecg_edge.firmware_bridge.recording import COUNT_LIMIT
from ecg_edge.runtime import files
from ecg_edge.runtime.engine import StreamFormat
from ecg_edge.runtime.events import Alert, Event, Status, Technical
from ecg_edge.runtime.recorder import recorder as recorder_module
from ecg_edge.runtime.recorder.folder import RecordFolder
from ecg_edge.runtime.recorder.recorder import Recorder, RecordSettings
from ecg_edge.runtime.sources.records import read_recording
from ecg_edge.runtime.sources.wfdb_annotation import read_annotations
from ecg_edge.runtime.sources.wfdb_header import read_header

RATE = 250
FORMAT = StreamFormat(RATE, ("I", "II", "V1"), 47_684)
PATIENCE_S = 60.0  # a busy machine is slow and not wrong


def signal_of(frames: int, start: int = 0) -> np.ndarray:
    """Return counts that tell their place in the stream."""
    return ((np.arange(start, start + frames)[:, None] * [7, -11, 13]) % 8_000_000 - 4_000_000).astype(np.int32)


def records(folder: Path) -> list[Path]:
    return sorted(path.with_suffix("") for path in folder.glob("*.hea"))


def alert(time: float, phase: str = "new") -> Alert:
    end = {"reason": "below"} if phase == "end" else {}
    return Alert(
        time=time, id="AF-1", phase=phase, kind="model", label="AF", priority="high", probability=0.9, onset=0.0,
        leads=("II",), quality=1.0, seq=1, **end,
    )  # fmt: skip


def until(reached: Callable[[], Any]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Recorder]]:
    begun: list[Recorder] = []

    def begin(*, live: bool = False, **settings: Any) -> Recorder:
        recorder = Recorder(tmp_path / "records", RecordSettings(**settings), live=live)
        recorder.begin(FORMAT)
        begun.append(recorder)
        return recorder

    yield begin
    for recorder in begun:
        recorder.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "records"


def test_what_was_received_comes_back(start: Any, folder: Path, wfdb: ModuleType) -> None:
    """Held against wfdb's own reader: samples, missing ones, scale, checksums, time, annotations."""
    counts = signal_of(5 * RATE)
    counts[3, 0], counts[4, 0], counts[5, 0] = COUNT_LIMIT, -COUNT_LIMIT, -COUNT_LIMIT - 1
    invalid = np.zeros(counts.shape, np.bool_)
    invalid[100:200, 1] = True
    recorder = start()
    recorder.emit(Technical(time=0.0, code="link_restored", phase="once", message="before any signal", seq=0))
    for begin in range(0, len(counts), 50):
        recorder.chunk(counts[begin : begin + 50], invalid[begin : begin + 50])
    recorder.gap(40)
    recorder.chunk(counts[:10], None)
    events: list[Event] = [
        alert(1.0),
        Status(time=2.0, quality=1.0, leads=("II",), seq=2),
        alert(3.5, "end"),
        alert(99),
    ]
    for event in events:
        recorder.emit(event)
    recorder.settle(PATIENCE_S)
    frames = 5 * RATE + 40 + 10
    accounts = recorder.accounts()
    assert (accounts["record_frames"].delivered, accounts["record_events"].delivered) == (frames - 40, 5)
    assert accounts["record_frames"].held == accounts["record_frames"].dropped == 0
    recorder.close()

    (path,) = records(folder)
    expected = np.concatenate([counts, np.zeros((40, 3), np.int32), counts[:10]]).clip(-COUNT_LIMIT)
    missing = np.concatenate([invalid, np.ones((40, 3), np.bool_), np.zeros((10, 3), np.bool_)])
    ours = read_recording(path, strict=True)
    assert (ours.rate, ours.leads, ours.pv_per_lsb) == (RATE, FORMAT.leads, FORMAT.pv_per_lsb)
    assert ours.invalid is not None
    np.testing.assert_array_equal(ours.invalid, missing)
    np.testing.assert_array_equal(ours.counts[~missing], expected[~missing])

    theirs = wfdb.rdrecord(str(path))
    np.testing.assert_array_equal(np.isnan(theirs.p_signal), missing)
    millivolts = expected * (FORMAT.pv_per_lsb / 1e9)
    np.testing.assert_allclose(theirs.p_signal[~missing], millivolts[~missing], rtol=1e-12)
    assert theirs.sig_name == list(FORMAT.leads)
    digital = wfdb.rdrecord(str(path), physical=False)
    assert digital.checksum == digital.calc_checksum()
    assert abs(theirs.base_datetime.timestamp() - time.time()) < 86400

    notes = wfdb.rdann(str(path), "alert")
    assert notes.aux_note == ["link_restored once", "AF new high", "AF end high", "AF new high"]
    assert notes.sample.tolist() == [0, RATE, round(3.5 * RATE), frames - 1]
    lines = [json.loads(line) for line in path.with_suffix(".jsonl").read_text().splitlines()]
    assert [line["type"] for line in lines] == ["technical", "alert", "status", "alert", "alert"]


def test_a_long_gap_begins_a_record(start: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder_module, "FILL_S", 2.0)
    recorder = start()
    recorder.chunk(signal_of(RATE), None)
    recorder.gap(2 * RATE)
    recorder.chunk(signal_of(RATE), None)
    recorder.gap(2 * RATE + 1)
    recorder.chunk(signal_of(RATE), None)
    recorder.close()
    first, second = records(folder)
    assert read_header(first).samples == 4 * RATE
    assert read_header(second).samples == RATE
    assert f", frame {6 * RATE + 1} of its stream" in read_header(second).comments[0]


def test_age_begins_a_record_without_a_hole(start: Any, folder: Path) -> None:
    recorder = start(hours=2 / 3600)
    counts = signal_of(7 * RATE)
    for begin in range(0, len(counts), 25):
        recorder.chunk(counts[begin : begin + 25], None)
    recorder.emit(alert(6.5))
    recorder.close()
    parts = [read_recording(path, strict=True) for path in records(folder)]
    assert [len(part.counts) for part in parts] == [2 * RATE] * 3 + [RATE]
    np.testing.assert_array_equal(np.concatenate([part.counts for part in parts]), counts)
    (note,) = read_annotations(records(folder)[-1], "alert").entries
    assert note.sample == RATE // 2, "counted from the start of its record"


def test_the_cap_removes_the_oldest(start: Any, folder: Path) -> None:
    cap = 400_000
    folder.mkdir()
    mine = folder / "notes.dat"
    mine.write_bytes(b"mine" * 1000)
    recorder = start(total_bytes=cap)
    most = 0
    for n in range(1200):
        recorder.chunk(signal_of(RATE, n * RATE), None)
        if n % 10 == 0:
            recorder.settle(PATIENCE_S)
            most = max(most, sum(f.stat().st_size for f in folder.iterdir() if f != mine))
    recorder.close()
    assert 0.7 * cap < most <= cap
    assert mine.exists(), "what others have put there is let be"
    left = [read_recording(path) for path in records(folder)]
    assert len(left) >= 7
    joined = np.concatenate([part.counts for part in left])
    np.testing.assert_array_equal(joined, signal_of(1200 * RATE)[-len(joined) :], "the newest are left, without a hole")


_CHILD = """
import sys, time
import numpy as np
from pathlib import Path
from ecg_edge.runtime.engine import StreamFormat
from ecg_edge.runtime.events import Status
from ecg_edge.runtime.recorder.recorder import Recorder, RecordSettings
rate, folder, start = 250, Path(sys.argv[1]), int(sys.argv[2])
recorder = Recorder(folder, RecordSettings(hours=3 / 3600), live=True)
recorder.begin(StreamFormat(rate, ("I", "II", "V1"), 47_684))
n, begun = 0, time.monotonic()
while True:
    place = start + n + np.arange(5)
    recorder.chunk(((place[:, None] * [7, -11, 13]) % 8_000_000 - 4_000_000).astype(np.int32), None)
    n += 5
    if n % rate == 0:
        recorder.emit(Status(time=n / rate, quality=1.0, leads=("II",), seq=n))
    print(n, flush=True)
    time.sleep(max(0.0, begun + n / rate - time.monotonic()))
"""


def test_killed_at_any_moment_at_most_a_second_is_missing(folder: Path, wfdb: ModuleType) -> None:
    dice = random.Random(20)
    given: list[int] = []
    for _ in range(6):
        arguments = [sys.executable, "-c", _CHILD, str(folder), str(sum(given))]
        with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout
            enough = dice.uniform(1.2, 5.0) * RATE
            while int(child.stdout.readline()) < enough:
                pass
            os.kill(child.pid, signal.SIGKILL)
            rest = child.stdout.read().split()
        given.append(int(rest[-1]) if rest else round(enough))
        # As the process left it, the latest record has no length, and both readers take what is there.
        latest = records(folder)[-1]
        assert read_header(latest).samples is None
        ours = read_recording(latest)
        np.testing.assert_array_equal(wfdb.rdrecord(str(latest), physical=False).d_signal, ours.counts)
        session = [read_recording(path) for path in records(folder)]
        counts = np.concatenate([part.counts for part in session])
        kept = len(counts) - sum(given[:-1])
        assert given[-1] - RATE <= kept <= given[-1] + 5, f"{given[-1]} handed over, {kept} kept"
        np.testing.assert_array_equal(counts[-kept:], signal_of(kept, sum(given[:-1])))
        given[-1] = kept
    # The next recorder finishes what was left open, but for half a frame and half a line.
    with latest.with_suffix(".dat").open("ab") as file:
        file.write(b"\x01\x02\x03\x04")
    with latest.with_suffix(".jsonl").open("ab") as file:
        file.write(b'{"type": "sta')
    np.testing.assert_array_equal(wfdb.rdrecord(str(latest), physical=False).d_signal, ours.counts)
    Recorder(folder, RecordSettings(), live=False).close()
    assert all(read_header(path).samples for path in records(folder))
    for path in records(folder):
        read_recording(path, strict=True)
        digital = wfdb.rdrecord(str(path), physical=False)
        assert digital.checksum == digital.calc_checksum()
        for line in path.with_suffix(".jsonl").read_text().splitlines():
            json.loads(line)


class Disk:
    """Stands in for os.write: full for as long as `room` is what it is."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.room: int | None = None
        self._write = os.write
        monkeypatch.setattr(files.os, "write", self)

    def __call__(self, fd: int, data: bytes) -> int:
        if self.room is None:
            return self._write(fd, data)
        if not self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        part = data[: self.room]  # as a disk that is nearly full does
        self.room -= len(part)
        return self._write(fd, part)


def test_a_full_disk_costs_what_the_queue_cannot_hold(
    start: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module, "QUEUE_S", 4.0)
    disk = Disk(monkeypatch)
    recorder = start(live=True)
    counts = signal_of(20 * RATE)
    recorder.chunk(counts[: 2 * RATE], None)
    recorder.settle(PATIENCE_S)
    disk.room = 1000  # in the middle of a frame
    for begin in range(2 * RATE, 12 * RATE, RATE // 2):
        recorder.chunk(counts[begin : begin + RATE // 2], None)
    recorder.emit(alert(5.0))
    until(lambda: recorder.trouble)
    assert "No space left" in recorder.trouble
    assert len(read_recording(records(folder)[-1]).counts) == 2 * RATE, "it opens, and ends with a whole frame"
    disk.room = None
    until(lambda: recorder.trouble is None)
    recorder.chunk(counts[12 * RATE : 13 * RATE], None)
    recorder.close()
    account = recorder.accounts()["record_frames"]
    assert account.failures > 0
    assert account.dropped == 6 * RATE
    assert account.delivered == 7 * RATE
    (path,) = records(folder)
    kept = read_recording(path, strict=True)
    lost = np.zeros(13 * RATE, np.bool_)
    lost[2 * RATE : 8 * RATE] = True
    assert kept.invalid is not None
    np.testing.assert_array_equal(kept.invalid, np.repeat(lost[:, None], 3, axis=1))
    np.testing.assert_array_equal(kept.counts[~lost], counts[: 13 * RATE][~lost])
    assert len(path.with_suffix(".jsonl").read_text().splitlines()) == 1


def test_files_that_somebody_removes(start: Any, folder: Path) -> None:
    recorder = start(live=True)
    recorder.chunk(signal_of(RATE), None)
    recorder.settle(PATIENCE_S)
    for path in folder.iterdir():
        path.unlink()
    recorder.chunk(signal_of(RATE, RATE), None)
    until(lambda: recorder.accounts()["record_frames"].delivered == 2 * RATE)
    recorder.close()
    (path,) = records(folder)
    np.testing.assert_array_equal(read_recording(path, strict=True).counts, signal_of(RATE, RATE))


def test_a_record_waits_for_the_disk_and_a_live_stream_does_not(
    start: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Replayed at full speed, more comes than the queue holds."""
    monkeypatch.setattr(recorder_module, "QUEUE_S", 1.0)
    recorder = start(live=False)
    counts = signal_of(100 * RATE)
    for begin in range(0, len(counts), 100):
        recorder.chunk(counts[begin : begin + 100], None)
    recorder.close()
    np.testing.assert_array_equal(read_recording(records(folder)[0], strict=True).counts, counts)


def test_one_writer_a_folder(start: Any, folder: Path) -> None:
    recorder = start()
    with pytest.raises(EcgEdgeError, match="another monitor records in"):
        RecordFolder(folder)
    recorder.close()
    RecordFolder(folder).close()


def test_a_folder_that_cannot_be_had(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EcgEdgeError, match="name another folder"):
        Recorder(tmp_path / "file", RecordSettings(), live=True)
