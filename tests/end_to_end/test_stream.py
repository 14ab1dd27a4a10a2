"""`ecg-edge stream`: live monitoring of simulated devices, good and bad, over ptys, sockets and standard input."""

import json
import os
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ecg_edge.firmware_bridge.boards.voice import NativeVoice
from ecg_edge.firmware_bridge.device import SimulatedDevice
from ecg_edge.firmware_bridge.device_model import DeviceModel
from ecg_edge.firmware_bridge.faults import Faults
from ecg_edge.firmware_bridge.packetize import packetize
from ecg_edge.firmware_bridge.protocol import Hello, Samples, State, Status, encode_packet
from ecg_edge.firmware_bridge.recording import Recording
from ecg_edge.runtime.sources import device as device_source
from ecg_edge.runtime.sources.records import read_recording

FASTEST = 10.0  # times true time: a machine busy with other things does not lag by the second at which windows are shed


@pytest.fixture(scope="module")
def recording(record: Path) -> Recording:
    return read_recording(record)


@pytest.fixture
def streamed(cli: Any, bundle: Path, lines_of: Any) -> Callable[..., list[dict[str, Any]]]:
    """Return a function that monitors a device to its end and returns the events."""

    def stream(url: str | Path, *more: str, stdin: bytes = b"") -> list[dict[str, Any]]:
        done = cli("stream", "--device", url, "--json", "--bundle", bundle, *more, stdin=stdin)
        assert (done.status, done.err) == (0, "")
        found: list[dict[str, Any]] = lines_of(done.out)
        return found

    return stream


def technical(lines: list[dict[str, Any]], *codes: str) -> list[tuple[str, str]]:
    told = [(line["code"], line["phase"]) for line in lines if line["type"] == "technical"]
    return [one for one in told if one[0] in codes]


def kept_frames(lines: list[dict[str, Any]], rate: int) -> int:
    """Return how many frames of the device the engine took in."""
    return round(lines[-1]["signal_s"] * rate) - int(lines[-1]["losses"]["gap_frames"])


# The same events as from the file --------------------------------------------------------------------------------


def test_a_served_record_gives_the_events_of_its_file(
    process: Any, cli: Any, bundle: Path, record: Path, lines_of: Any, of_signal: Any, tmp_path: Path
) -> None:
    link = tmp_path / "board"
    server = process("replay", record, "--as-device", "--speed", FASTEST, "--link", link)
    assert server.stdout.readline().strip() == str(link)
    expected = of_signal(lines_of(cli("replay", record, "--json", "--probabilities", "--bundle", bundle).out))
    for _attempt in range(3):  # a machine that stands still for a second sheds windows, by design
        child = process("stream", "--device", link, "--json", "--probabilities", "--bundle", bundle)
        out, err = child.communicate(timeout=120)
        assert (child.returncode, err) == (0, "")
        lines = lines_of(out)
        if not lines[-1]["windows"]["skipped"]:
            break
    assert of_signal(lines) == expected
    assert any(line["type"] == "alert" for line in lines), "or it shows nothing"
    assert all("wall_time" in line for line in lines)
    link_losses = {k: v for k, v in lines[-1]["losses"].items() if k.startswith(("link_", "frames_"))}
    assert len(link_losses) > 10
    assert set(link_losses.values()) == {0}
    server.send_signal(signal.SIGTERM)
    assert server.wait(60) == 0
    assert not link.is_symlink(), "the link goes with the device"


def test_simulated_device_of_a_record_of_three_seconds(streamed: Any, short_record: Path) -> None:
    lines = streamed(f"sim:{short_record}", "--leads", "I,II")
    assert technical(lines, "short_signal") == [("short_signal", "once")]
    assert lines[-1]["signal_s"] == 3.0
    assert not [line for line in lines if line["type"] == "alert"]


def test_text_for_people(cli: Any, bundle: Path, recording: Recording) -> None:
    with SimulatedDevice(recording, speed=None) as board:
        done = cli("stream", "--device", board.path, "--bundle", bundle)
    assert (done.status, done.err) == (0, "")
    assert "30.0 s of signal" in done.out
    assert "latency in ms: p50" in done.out
    assert "lost or damaged: invalid_samples 1000\n" in done.out, "V2 is off for 4 s; the link lost nothing"


# Ways in ---------------------------------------------------------------------------------------------------------


@contextmanager
def served(*conversations: Callable[[socket.socket], None]) -> Iterator[str]:
    """Serve one TCP connection after the other and yield the address; a connection closes with its conversation."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(60)

        def serve() -> None:
            for talk in conversations:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.settimeout(60)
                    talk(connection)
                    connection.settimeout(60)
                    with suppress(OSError):
                        connection.shutdown(socket.SHUT_WR)
                        while connection.recv(4096):  # closed with commands unread, it would take back what it sent
                            pass

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"socket://127.0.0.1:{server.getsockname()[1]}"
        thread.join(60)


def test_socket_that_only_sends(streamed: Any, recording: Recording) -> None:
    with served(lambda s: s.sendall(b"".join(packetize(recording)))) as url:
        lines = streamed(url)
    assert lines[-1]["signal_s"] == 30.0
    assert technical(lines, "link_lost", "gap") == []


def test_socket_that_breaks_and_comes_back(streamed: Any, recording: Recording) -> None:
    whole = b"".join(packetize(recording))

    def half(connection: socket.socket) -> None:
        connection.sendall(whole[: len(whole) // 2])

    with served(half, lambda s: s.sendall(whole)) as url:
        lines = streamed(url)
    assert technical(lines, "link_lost", "link_restored") == [("link_lost", "new"), ("link_restored", "once")]
    assert lines[-1]["signal_s"] > 44.5, "half of it, all of it, and the pause between them"
    assert lines[-1]["losses"]["frames_restarts"] == 1


def test_standard_input(streamed: Any, recording: Recording) -> None:
    lines = streamed("-", stdin=b"".join(packetize(recording)))
    assert lines[-1]["signal_s"] == 30.0
    # A capture that was cut ends with what is there.
    lines = streamed("-", stdin=b"".join(packetize(recording))[:100_000])
    assert 10 < lines[-1]["signal_s"] < 30


def test_frames_before_the_hello(streamed: Any, recording: Recording) -> None:
    hello, *rest = packetize(recording)
    lines = streamed("-", stdin=b"".join([*rest[:50], hello, *rest[50:]]))
    losses = lines[-1]["losses"]
    assert losses["frames_before_hello"] > 400
    assert kept_frames(lines, recording.rate) + losses["frames_before_hello"] == len(recording.counts)


def test_channels_without_names(cli: Any, streamed: Any, bundle: Path) -> None:
    counts = np.zeros((50, 2), np.int32)
    packets = [encode_packet(Hello(125, 1_000_000, (None, None), "nameless"), 0, 0)]
    packets += [encode_packet(Samples(50 * k, counts, 0), 1 + k, 400_000 * k) for k in range(30)]
    data = b"".join([*packets, encode_packet(Status(State.ENDED), 31, 12_000_000)])
    done = cli("stream", "--device", "-", "--json", "--bundle", bundle, stdin=data)
    assert (done.status, done.out) == (1, "")
    assert "--leads" in done.err
    assert len(done.err.splitlines()) == 1
    lines = streamed("-", "--leads", "I,II", stdin=data)
    assert lines[-1]["signal_s"] == 12.0
    done = cli("stream", "--device", "-", "--json", "--leads", "I,II,V1", "--bundle", bundle, stdin=data)
    assert (done.status, done.out) == (1, "")
    assert "names 3 channels where there are 2" in done.err


def test_as_many_seconds_as_asked(streamed: Any, recording: Recording) -> None:
    with SimulatedDevice(recording, speed=FASTEST) as board:
        lines = streamed(board.path, "--seconds", "12")
    assert 12.0 <= lines[-1]["signal_s"] < 20


# Bad links -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", ["drop=0.02", "duplicate=0.05", "flip=0.02", "reorder=0.02"])
def test_what_a_bad_cable_costs_is_counted(streamed: Any, recording: Recording, spec: str) -> None:
    with SimulatedDevice(recording, speed=None, faults=Faults.parse(f"{spec},seed=5")) as board:
        lines = streamed(board.path)
        done = board.fault_counts
    losses = lines[-1]["losses"]
    # Every frame that was sent was used or is counted as lost.
    assert kept_frames(lines, recording.rate) + losses["frames_lost"] == len(recording.counts)
    assert losses["gap_frames"] == losses["frames_lost"]
    told = [line["counts"]["frames"] for line in lines if line.get("code") == "gap"]
    assert sum(told) == losses["gap_frames"]
    bad = losses["link_bad_cobs"] + losses["link_bad_header"] + losses["link_bad_crc"]
    if spec.startswith("drop"):
        assert losses["link_missing"] == done.dropped > 5
        assert bad == 0
    elif spec.startswith("flip"):
        assert losses["link_missing"] == done.flipped > 5
        assert bad >= done.flipped, "a flip can make one packet into two bad pieces"
    elif spec.startswith("duplicate"):
        assert losses["link_duplicates"] == done.duplicated > 5
        assert told == []
    else:
        assert losses["link_late"] == done.reordered > 5
        assert losses["link_missing"] == 0, "late is not missing"
        assert losses["frames_stale"] == losses["frames_lost"] > 0


@pytest.mark.parametrize("at", [0, 6])
def test_stall_is_silence_and_no_loss(
    streamed: Any, cli: Any, bundle: Path, record: Path, recording: Recording, lines_of: Any, of_signal: Any, at: int
) -> None:
    expected = of_signal(lines_of(cli("replay", record, "--json", "--bundle", bundle).out))
    # Above the three seconds after which silence is told, and the one second after which START could be repeated.
    with SimulatedDevice(recording, speed=10.0, faults=Faults.parse(f"stall=36@{at}")) as board:
        lines = streamed(board.path)
    assert technical(lines, "link_lost", "link_restored") == [("link_lost", "new"), ("link_restored", "once")]
    assert technical(lines, "gap") == []
    assert lines[-1]["signal_s"] == 30.0
    assert lines[-1]["losses"]["frames_restarts"] == 0
    alerts = [{k: v for k, v in line.items() if k != "seq"} for line in of_signal(lines) if line["type"] == "alert"]
    if not lines[-1]["windows"]["skipped"]:
        assert alerts == [{k: v for k, v in e.items() if k != "seq"} for e in expected if e["type"] == "alert"]


def test_board_unplugged_and_plugged_in_again(streamed: Any, recording: Recording, tmp_path: Path) -> None:
    link = tmp_path / "board"
    first = SimulatedDevice(recording, speed=FASTEST, link=link)
    others: list[SimulatedDevice] = []

    def replug() -> None:
        deadline = time.monotonic() + 60
        while first.fault_counts.packets < 300 and time.monotonic() < deadline:
            time.sleep(0.01)
        first.close()
        time.sleep(1.0)
        others.append(SimulatedDevice(recording, speed=FASTEST, link=link))

    hands = threading.Thread(target=replug)
    hands.start()
    try:
        lines = streamed(link)
    finally:
        hands.join()
        for board in (first, *others):
            board.close()
    told = technical(lines, "link_lost", "link_restored", "gap")
    assert told == [("link_lost", "new"), ("link_restored", "once"), ("gap", "once")]
    assert lines[-1]["losses"]["frames_restarts"] == 1
    # The time away went on, as the host's clock knows it, and the second run is whole.
    assert lines[-1]["losses"]["gap_frames"] > 0.5 * recording.rate
    assert lines[-1]["signal_s"] > 31


def test_board_that_resets_behind_its_bridge(streamed: Any, recording: Recording) -> None:
    def reset_halfway(connection: socket.socket) -> None:
        model = DeviceModel(recording, 10, None, Faults(), NativeVoice())
        model.connect(time.monotonic())
        sent, resets = 0, 0
        connection.settimeout(0.005)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                heard = connection.recv(4096)
                if not heard:
                    return
                connection.sendall(model.receive(heard, time.monotonic()))
            except TimeoutError:
                pass
            while piece := model.send(time.monotonic()):
                connection.sendall(piece)
                sent += len(piece)
                if sent > 100_000 and not resets:
                    resets += 1
                    model = DeviceModel(recording, 10, None, Faults(), NativeVoice())
                    model.connect(time.monotonic())
            if resets and model.state is State.ENDED:
                return

    with served(reset_halfway) as url:
        lines = streamed(url)
    assert lines[-1]["signal_s"] > 40
    assert lines[-1]["losses"]["frames_restarts"] == 1


@pytest.mark.parametrize("what", ["nothing", "random bytes"])
def test_no_device_at_the_other_end(cli: Any, bundle: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    monkeypatch.setattr(device_source, "ANSWER_S", 1.0)  # instead of 8: the message is what matters
    master, slave = os.openpty()
    closing = threading.Event()

    def babble() -> None:
        rng = np.random.default_rng(1)
        while not closing.wait(0.01):
            while select.select([master], [], [], 0)[0]:
                os.read(master, 4096)
            if what == "random bytes":
                os.write(master, rng.bytes(100))

    thread = threading.Thread(target=babble, daemon=True)
    thread.start()
    begun = time.monotonic()
    done = cli("stream", "--device", os.ttyname(slave), "--bundle", bundle)
    assert time.monotonic() - begun < 60
    closing.set()
    thread.join(60)
    os.close(slave)
    os.close(master)
    assert (done.status, done.out) == (1, "")
    assert "no HELLO packet" in done.err
    assert "--baud" in done.err
    assert len(done.err.splitlines()) == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_with_a_summary(
    process: Any, bundle: Path, recording: Recording, lines_of: Any, number: signal.Signals
) -> None:
    with SimulatedDevice(recording, speed=FASTEST) as board:
        child = process("stream", "--device", board.path, "--json", "--probabilities", "--bundle", bundle)
        first = child.stdout.readline()
        child.send_signal(number)
        out, err = child.stdout.read(), child.stderr.read()  # communicate() would miss what readline() has read ahead
        child.wait(60)
    assert (child.returncode, err) == (0, "")
    lines = lines_of(first + out)
    assert 10 <= lines[-1]["signal_s"] <= 30
    assert json.loads(first)["seq"] == 0
