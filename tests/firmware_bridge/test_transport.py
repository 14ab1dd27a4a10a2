"""Transports: bytes through each kind, ends of links, and errors that say what mends them."""

import errno
import os
import pty
import re
import socket
import subprocess
import sys
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest

from ecg_edge.firmware_bridge import transport
from ecg_edge.firmware_bridge.errors import EcgEdgeError
from ecg_edge.firmware_bridge.transport import LinkClosed, LinkLost, Transport, open_transport

LONG_S = 10.0  # longer than any read here takes; nothing waits that long


@pytest.fixture
def board() -> Iterator[tuple[int, str]]:
    """The master side of a pty, standing for a board, and the path that a host opens."""
    master, slave = pty.openpty()
    tty.setraw(slave)
    yield master, os.ttyname(slave)
    os.close(slave)
    os.close(master)


def read_exactly(link: Transport, size: int) -> bytes:
    data = b""
    while len(data) < size:
        data += link.read(size - len(data), LONG_S)
    return data


def test_serial_port_both_ways(board: tuple[int, str]) -> None:
    master, path = board
    link = open_transport(path)
    assert link.name == path
    assert link.read(100, 0.0) == b""
    os.write(master, bytes(range(256)))
    assert read_exactly(link, 256) == bytes(range(256))
    link.write(b"\0\r\n\x03\x11")
    assert os.read(master, 100) == b"\0\r\n\x03\x11"
    link.close()
    link.close()


def test_an_unplugged_board_is_a_lost_link(board: tuple[int, str]) -> None:
    master, slave = pty.openpty()
    link = open_transport(os.ttyname(slave))
    os.close(slave)
    os.close(master)
    with pytest.raises(LinkLost, match="check cable and power") as lost:
        link.read(100, LONG_S)
    assert not isinstance(lost.value, LinkClosed)
    with pytest.raises(LinkLost):
        link.write(b"x")


def test_a_closed_port_is_a_lost_link(board: tuple[int, str]) -> None:
    link = open_transport(board[1])
    link.close()
    with pytest.raises(LinkLost):
        link.read(100, 0.0)
    with pytest.raises(LinkLost):
        link.write(b"x")


def test_a_port_in_use_is_busy(board: tuple[int, str]) -> None:
    link = open_transport(board[1])
    with pytest.raises(EcgEdgeError, match="is busy: close the other program"):
        open_transport(board[1])
    link.close()


def test_a_missing_port(tmp_path: Path) -> None:
    with pytest.raises(EcgEdgeError, match=r"no serial port .*ttyECG: plug in the board"):
        open_transport(str(tmp_path / "ttyECG"))


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_is_no_serial_port(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "record.dat" if kind == "file" else tmp_path
    if kind == "file":
        path.write_bytes(b"x")
    with pytest.raises(EcgEdgeError, match="is no serial port"):
        open_transport(str(path))


@pytest.mark.parametrize(
    ("number", "mend"),
    [
        (errno.EACCES, "add your user to the group dialout"),
        (errno.EBUSY, "close the other program"),
        (errno.EIO, "check cable and power"),
    ],
)
def test_what_the_system_says_becomes_one_line_with_the_mend(
    monkeypatch: pytest.MonkeyPatch, number: int, mend: str
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise transport.serial.SerialException(number, os.strerror(number))

    monkeypatch.setattr(transport.serial, "Serial", refuse)
    with pytest.raises(EcgEdgeError, match=mend) as refused:
        open_transport("/dev/ttyUSB0")
    assert "\n" not in str(refused.value)
    assert "/dev/ttyUSB0" in str(refused.value)


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


def test_socket_both_ways_and_its_end(server: socket.socket) -> None:
    link = open_transport(f"socket://127.0.0.1:{server.getsockname()[1]}")
    peer, _ = server.accept()
    with peer:
        assert link.read(100, 0.0) == b""
        peer.sendall(b"\0abc")
        assert read_exactly(link, 4) == b"\0abc"
        link.write(b"command\0")
        assert peer.recv(100) == b"command\0"
    with pytest.raises(LinkClosed, match="closed the connection"):
        link.read(100, LONG_S)
    link.close()
    with pytest.raises(LinkLost):
        link.read(100, 0.0)


def test_a_refused_connection(server: socket.socket) -> None:
    port = server.getsockname()[1]
    server.close()
    with pytest.raises(EcgEdgeError, match=f"socket://127.0.0.1:{port} refused the connection"):
        open_transport(f"socket://127.0.0.1:{port}")


@pytest.mark.parametrize("url", ["socket://", "socket://host", "socket://host:", "socket://:1", "socket://h:70000"])
def test_a_socket_without_host_or_port(url: str) -> None:
    with pytest.raises(EcgEdgeError, match=re.escape(url) + " names no host and port"):
        open_transport(url)


def test_other_schemes_are_refused_with_the_ones_that_exist() -> None:
    with pytest.raises(EcgEdgeError, match=r"rfc2217://x:1: use the path of a serial port, socket://host:port"):
        open_transport("rfc2217://x:1")


def test_loop_back() -> None:
    link = open_transport("loop://")
    assert link.read(10, 0.0) == b""
    link.write(b"abc")
    assert link.read(2, LONG_S) == b"ab"
    assert link.read(10, LONG_S) == b"c"
    link.close()


def test_standard_input_is_read_to_its_end_and_takes_no_commands() -> None:
    program = """
from ecg_edge.firmware_bridge.transport import LinkClosed, LinkLost, open_transport
link, data = open_transport("-"), b""
try:
    link.write(b"x")
except LinkLost as lost:
    print(lost)
try:
    while True:
        data += link.read(65536, 10.0)
except LinkClosed as closed:
    print(closed, len(data), sum(data))
"""
    sent = bytes(range(256)) * 1000
    done = subprocess.run([sys.executable, "-c", program], input=sent, capture_output=True, check=True)
    lines = done.stdout.decode().splitlines()
    assert lines[0].startswith("standard input takes no commands")
    assert lines[1] == f"standard input has ended {len(sent)} {sum(sent)}"


def test_a_terminal_is_no_stream(monkeypatch: pytest.MonkeyPatch, board: tuple[int, str]) -> None:
    with open(board[1]) as terminal:
        monkeypatch.setattr(sys, "stdin", terminal)
        with pytest.raises(EcgEdgeError, match="is a terminal: pipe"):
            open_transport("-")
