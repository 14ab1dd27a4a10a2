"""Captures: what is written is read back, with its times or without."""

import threading
from pathlib import Path

import pytest

from ecg_edge.firmware_bridge.capture import Arrival, listen, read_capture, times_path, write_capture
from ecg_edge.firmware_bridge.errors import EcgEdgeError
from ecg_edge.firmware_bridge.transport import LinkClosed, LoopTransport

CAME = [Arrival(b"abc", 100.0), Arrival(b"", 100.1), Arrival(b"\0" * 5000, 100.25), Arrival(b"d", 103.000001)]


def test_a_capture_comes_back_as_it_came(tmp_path: Path) -> None:
    path = tmp_path / "cable.raw"
    assert write_capture(path, iter(CAME)) == 5004
    assert path.read_bytes() == b"".join(c.data for c in CAME), "nothing but what the cable carried"
    back = list(read_capture(path))
    assert [b.data for b in back] == [c.data for c in CAME if c.data]
    assert [b.at for b in back] == [0.0, pytest.approx(0.25), pytest.approx(3.000001)]


def test_bytes_without_times(tmp_path: Path) -> None:
    path = tmp_path / "cable.raw"
    path.write_bytes(bytes(10_000))
    back = list(read_capture(path))
    assert b"".join(b.data for b in back) == bytes(10_000)
    assert {b.at for b in back} == {None}


@pytest.mark.parametrize(
    ("times", "says"),
    [("3 0.0\nabc\n", "line 2 is no time"), ("3 0.0\n99999 1.0\n", "does not fit"), ("5 0.0\n3 1.0\n", "does not fit")],
)
def test_times_of_another_capture(tmp_path: Path, times: str, says: str) -> None:
    path = tmp_path / "cable.raw"
    write_capture(path, iter(CAME))
    times_path(path).write_text(times)
    with pytest.raises(EcgEdgeError, match=says):
        list(read_capture(path))


def test_places_that_cannot_be_read_or_written(tmp_path: Path) -> None:
    with pytest.raises(EcgEdgeError, match="cannot read"):
        list(read_capture(tmp_path / "nowhere"))
    with pytest.raises(EcgEdgeError, match="cannot write"):
        write_capture(tmp_path / "nowhere" / "x", iter(CAME))


def test_listening_ends_by_time_by_stop_and_by_the_other_side() -> None:
    link, stop = LoopTransport(), threading.Event()
    link.write(b"hello")
    got = list(listen(link, stop, seconds=0.05))
    assert b"".join(g.data for g in got) == b"hello"
    assert all(g.at is not None for g in got)
    stop.set()
    assert list(listen(link, stop)) == []

    class Closing(LoopTransport):
        def read(self, max_bytes: int, timeout_s: float) -> bytes:
            raise LinkClosed("closed")

    assert list(listen(Closing(), threading.Event())) == []
