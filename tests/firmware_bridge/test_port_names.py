"""Ports that are renumbered: the board is found again, and another one that has taken its name is left alone."""

import os
import pty
import tty
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from serial.tools import list_ports

from ecg_edge.firmware_bridge.errors import EcgEdgeError
from ecg_edge.firmware_bridge.port_names import PortName
from ecg_edge.firmware_bridge.transport import open_transport


@dataclass
class Port:
    """What pyserial's comports() tells of a port."""

    device: str
    vid: int | None = 0x0403
    pid: int | None = 0x6001
    serial_number: str | None = "A1"
    location: str | None = "1-1"


@pytest.fixture
def plugged(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that says which ports there are now."""

    def put(*ports: Port) -> None:
        monkeypatch.setattr(list_ports, "comports", lambda: list(ports))

    put()
    return put


OWN = Port("/dev/ttyS0", None, None, None, None)  # a computer's own port
KNOWN = "/dev/ttyUSB0"


def opened(name: str) -> PortName:
    port = PortName(name)
    port.opened(port.current())
    return port


def test_a_renumbered_board_is_found_by_its_serial_number(plugged: Callable[..., None]) -> None:
    plugged(OWN, Port(KNOWN), Port("/dev/ttyUSB1", serial_number="B2", location="1-2"))
    name = opened(KNOWN)
    plugged(OWN, Port(KNOWN, serial_number="B2", location="1-2"), Port("/dev/ttyUSB1"))
    assert name.current() == "/dev/ttyUSB1"
    plugged(OWN, Port(KNOWN, serial_number="B2", location="1-2"), Port("/dev/ttyUSB7", location="2-4"))
    assert name.current() == "/dev/ttyUSB7", "in another socket"


def test_another_board_under_its_name_is_left_alone(plugged: Callable[..., None]) -> None:
    plugged(Port(KNOWN))
    name = opened(KNOWN)
    plugged(Port(KNOWN, serial_number="B2"))
    with pytest.raises(EcgEdgeError, match=r"no serial port with USB id 0403:6001, serial number A1: plug in"):
        name.current()


def test_a_board_without_a_number_moves_alone_or_not_at_all(plugged: Callable[..., None]) -> None:
    nameless = dict.fromkeys(["serial_number"])
    plugged(Port(KNOWN, **nameless))
    name = opened(KNOWN)
    plugged(Port("/dev/ttyUSB1", location="2-2", **nameless))
    assert name.current() == "/dev/ttyUSB1", "nothing else looks like it, then and now"
    plugged(Port(KNOWN, location="1-1", **nameless), Port("/dev/ttyUSB1", location="1-2", **nameless))
    assert name.current() == KNOWN, "two look like it: the one in its socket"
    name = opened(KNOWN)
    plugged(Port("/dev/ttyUSB3", location="1-2", **nameless))
    with pytest.raises(EcgEdgeError, match="into the socket where it was"):
        name.current()


def test_a_link_is_followed_wherever_it_leads(plugged: Callable[..., None], tmp_path: Path) -> None:
    link = tmp_path / "usb-FTDI_A1-if00-port0"
    link.symlink_to(KNOWN)
    plugged(Port(KNOWN))
    name = opened(str(link))
    plugged()
    assert name.current() == str(link)


def test_what_is_not_on_usb_keeps_its_name(plugged: Callable[..., None]) -> None:
    plugged(OWN)
    for url in ("/dev/ttyS0", "/dev/pts/3", "socket://host:4000", "loop://", "-"):
        assert opened(url).current() == url


@pytest.mark.parametrize("name", ["serial:0403:6001", "serial:403:6001:A1", "serial:0403:6001:A1"])
def test_a_name_by_what_it_is(plugged: Callable[..., None], name: str) -> None:
    plugged(OWN, Port("/dev/ttyUSB4"), Port("/dev/ttyACM0", vid=0x2341))
    port = opened(name)
    assert port.current() == "/dev/ttyUSB4"
    plugged(OWN, Port("/dev/ttyUSB5"), Port("/dev/ttyUSB6", serial_number="B2"))
    assert port.current() == "/dev/ttyUSB5", "the one that was opened, even where the name would take either"


def test_names_that_name_none_or_several(plugged: Callable[..., None]) -> None:
    plugged(Port("/dev/ttyUSB0"), Port("/dev/ttyUSB1", serial_number="B2"))
    with pytest.raises(EcgEdgeError, match=r"2 ports have USB id 0403:6001: /dev/ttyUSB0 \(A1\), /dev/ttyUSB1 \(B2\)"):
        open_transport("serial:0403:6001")
    with pytest.raises(EcgEdgeError, match="no serial port with USB id 0403:6001, serial number C3: plug in"):
        open_transport("serial:0403:6001:C3")
    for wrong in ("serial:", "serial:0403", "serial:xyz:6001", "serial:04033:6001"):
        with pytest.raises(EcgEdgeError, match="names no port: write serial:VID:PID"):
            open_transport(wrong)


@pytest.fixture
def board() -> Iterator[tuple[int, str]]:
    master, slave = pty.openpty()
    tty.setraw(slave)
    yield master, os.ttyname(slave)
    os.close(slave)
    os.close(master)


def test_a_port_is_opened_by_what_it_is(plugged: Callable[..., None], board: tuple[int, str]) -> None:
    master, path = board
    plugged(Port(path))
    link = open_transport("serial:0403:6001")
    assert link.name == path
    os.write(master, b"abc")
    assert link.read(10, 10.0)
    link.close()
