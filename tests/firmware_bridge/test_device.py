"""The simulated device: its packets against the recording, its behavior with a clock of its own, and over a pty."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecg_edge.firmware_bridge.boards.voice import NativeVoice
from ecg_edge.firmware_bridge.continuity import FrameTracker
from ecg_edge.firmware_bridge.decoder import PacketDecoder
from ecg_edge.firmware_bridge.device import SimulatedDevice
from ecg_edge.firmware_bridge.device_model import DeviceModel
from ecg_edge.firmware_bridge.errors import EcgEdgeError
from ecg_edge.firmware_bridge.faults import Faults
from ecg_edge.firmware_bridge.packetize import packetize, schedule
from ecg_edge.firmware_bridge.protocol import (
    Ack,
    Hello,
    Identify,
    Message,
    Packet,
    Result,
    Samples,
    SetRate,
    Start,
    State,
    Status,
    Stop,
    encode_packet,
)
from ecg_edge.firmware_bridge.recording import Recording
from ecg_edge.firmware_bridge.transport import LinkLost, Transport, open_transport


def make(frames: int, leads: tuple[str, ...] = ("I", "II", "V1"), rate: int = 500, invalid: bool = False) -> Recording:
    rng = np.random.default_rng(frames)
    counts = rng.integers(-(2**23) + 1, 2**23, (frames, len(leads)), dtype=np.int32)
    mask = np.repeat(rng.random((frames // 7 + 1, len(leads))) < 0.3, 7, axis=0)[:frames] if invalid else None
    return Recording("test", rate, leads, counts, 47_684, mask)


class Host:
    """What a host makes of a stream, kept for looking at."""

    def __init__(self) -> None:
        self.decoder, self.tracker = PacketDecoder(), FrameTracker()
        self.messages: list[Message] = []
        self.samples: list[np.ndarray] = []
        self.off: list[np.ndarray] = []

    def take(self, data: bytes) -> list[Packet]:
        packets = self.decoder.feed(data)
        for packet in packets:
            self.messages.append(packet.message)
            frames = self.tracker.push(packet)
            if frames is not None:
                self.samples.append(frames.samples)
                self.off.append(np.repeat(frames.off[None], len(frames.samples), axis=0))
        return packets

    def until(self, link: Transport, wanted: Callable[[Message], bool]) -> None:
        """Read until a wanted message comes; silence for ten seconds fails."""
        while True:
            data = link.read(65536, 10.0)
            assert data, f"silence after {self.messages[-3:]}"
            if any(wanted(packet.message) for packet in self.take(data)):
                return


def ended(message: Message) -> bool:
    return isinstance(message, Status) and message.state is State.ENDED


# Packets of a recording ----------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.integers(0, 300), st.integers(1, 40), st.booleans(), st.sampled_from([125, 257, 500]))
def test_packets_give_the_recording_back(frames: int, per_packet: int, invalid: bool, rate: int) -> None:
    recording = make(frames, rate=rate, invalid=invalid)
    host = Host()
    host.take(b"".join(packetize(recording, per_packet)))
    assert np.array_equal(np.concatenate([np.empty((0, 3)), *host.samples]), recording.counts)
    if recording.invalid is not None and frames:
        assert np.array_equal(np.concatenate(host.off), recording.invalid)
    assert host.messages[0] == Hello(rate, 47_684, ("I", "II", "V1"), "ecg-edge simulated")
    assert host.messages[-1] == Status(State.ENDED)
    assert sum(isinstance(message, Status) for message in host.messages) == frames // rate + 1
    assert all(len(m.counts) <= per_packet for m in host.messages if isinstance(m, Samples))
    assert (host.decoder.counters.missing, host.tracker.counters.lost, host.tracker.counters.restarts) == (0, 0, 0)


def test_a_packet_is_due_when_its_last_frame_is_there_and_states_when_its_first_was() -> None:
    items = [item for item in schedule(make(23, rate=250), 10) if isinstance(item.message, Samples)]
    assert [item.due_us for item in items] == [40_000, 80_000, 92_000]
    assert [item.time_us for item in items] == [0, 40_000, 80_000]


@pytest.mark.parametrize(
    ("recording", "per_packet", "message"),
    [
        (make(5), 0, "0 frames of 3 channels do not fit a packet: use 1 to 255"),
        (make(5), 256, "256 frames of 3 channels"),
        (make(5, rate=70_000), 10, "cannot play test as a device: rate 70000 Hz"),
        (Recording("big", 500, ("I",), np.full((1, 1), 2**23, np.int32), 1), 10, "do not fit 24 bits"),
    ],
)
def test_what_does_not_fit_the_wire(recording: Recording, per_packet: int, message: str) -> None:
    with pytest.raises(EcgEdgeError, match=message):
        list(packetize(recording, per_packet))
    with pytest.raises(EcgEdgeError, match=message):
        SimulatedDevice(recording, per_packet)


# The device without a clock ------------------------------------------------------------------------------------


class Bench:
    """A DeviceModel, a host and a clock that a test moves."""

    def __init__(self, recording: Recording, speed: float | None = 1.0, faults: Faults | None = None) -> None:
        self.device = DeviceModel(recording, 10, speed, faults or Faults(), NativeVoice())
        self.host, self.now = Host(), 100.0
        self.device.connect(self.now)

    def command(self, message: Message, sequence: int = 0) -> list[Message]:
        data = self.device.receive(encode_packet(message, sequence, 0), self.now)
        return [packet.message for packet in self.host.take(data)]

    def run(self, seconds: float) -> list[tuple[float, Packet]]:
        """Let time pass; return what the device sends and when."""
        end, sent = self.now + seconds, []
        while self.device.due() <= end:
            self.now = max(self.now, self.device.due())
            sent += [(self.now, packet) for packet in self.host.take(self.device.send(self.now))]
        self.now = end
        return sent


def test_an_idle_device_says_hello_every_second() -> None:
    bench = Bench(make(10))
    sent = bench.run(5.5)
    assert [at for at, _ in sent] == [100, 101, 102, 103, 104, 105]
    assert all(isinstance(packet.message, Hello) for _, packet in sent)
    assert [packet.time_us for _, packet in sent] == [k * 1_000_000 for k in range(6)]


def test_commands_are_answered() -> None:
    bench = Bench(make(10))
    assert isinstance(bench.command(Identify())[0], Hello)
    assert bench.command(SetRate(500), 7) == [Ack(SetRate.TYPE, 7, Result.OK)]
    assert bench.command(SetRate(250), 8) == [Ack(SetRate.TYPE, 8, Result.UNSUPPORTED)]
    assert bench.command(SetRate(0), 9) == [Ack(SetRate.TYPE, 9, Result.BAD_ARGUMENT)]
    assert bench.command(Start(), 10) == [Ack(Start.TYPE, 10, Result.OK)]
    assert bench.command(Stop(), 11) == [Ack(Stop.TYPE, 11, Result.OK)]
    assert bench.command(Status(State.IDLE)) == []
    assert bench.device.receive(b"garbage\0\xff\0", bench.now) == b""


@pytest.mark.parametrize("speed", [1.0, 4.0])
def test_samples_are_sent_when_they_would_have_been_sampled(speed: float) -> None:
    bench = Bench(make(1000), speed)
    bench.command(Start())
    sent = [(at, p) for at, p in bench.run(2 / speed) if isinstance(p.message, Samples)]
    assert [at for at, _ in sent] == pytest.approx([100 + k * 0.02 / speed for k in range(1, 101)])
    assert [p.time_us for _, p in sent] == [k * 20_000 for k in range(100)]


def test_a_device_that_is_called_late_catches_up_and_stays_on_time() -> None:
    bench = Bench(make(1000))
    bench.command(Start())
    bench.now += 0.5
    late = bench.run(0.0)
    assert sum(isinstance(packet.message, Samples) for _, packet in late) == 25
    assert bench.device.due() == pytest.approx(100.52)


def test_a_run_ends_and_can_be_repeated() -> None:
    bench = Bench(make(100))
    bench.command(Start())
    bench.run(3.5)
    assert sum(map(ended, bench.host.messages)) == 4
    bench.command(Stop())
    assert isinstance(bench.run(1.0)[0][1].message, Hello)
    bench.command(Start())
    bench.run(0.05)
    bench.command(Start())  # also in the middle of a run
    bench.run(1.0)
    counts = bench.device._recording.counts
    assert np.array_equal(np.concatenate(bench.host.samples), np.concatenate([counts, counts[:20], counts]))
    assert bench.host.tracker.counters.restarts == 2
    assert bench.host.tracker.counters.lost == 0
    assert bench.host.decoder.counters.missing == 0


def test_a_stalled_link_delivers_late_and_loses_nothing() -> None:
    bench = Bench(make(1000), faults=Faults.parse("stall=0.5@1"))
    bench.command(Start())
    times = [at - 100 for at, packet in bench.run(3.0) if isinstance(packet.message, Samples)]
    assert not any(0.999 < at < 1.5 for at in times)
    assert bench.host.tracker.counters.frames == 1000


@pytest.mark.parametrize("seed", range(5))
def test_with_faults_frames_sent_are_received_or_counted(seed: int) -> None:
    faults = Faults(drop=0.05, duplicate=0.05, reorder=0.05, flip=0.05, seed=seed)
    bench = Bench(make(4000, invalid=True), None, faults)
    bench.run(0.0)  # the idle HELLO, which faults spare
    bench.command(Start())
    bench.run(0.0)
    done, link, frames = bench.device.fault_counts, bench.host.decoder.counters, bench.host.tracker.counters
    counts = bench.device._recording.counts
    arrived = [message for message in bench.host.messages if isinstance(message, Samples)]
    first = min(message.index for message in arrived)
    last = max(message.index + len(message.counts) for message in arrived)
    assert frames.frames + frames.lost == last - arrived[0].index
    assert 0 <= first <= arrived[0].index < 200
    assert 3800 < last <= 4000
    assert link.packets == done.packets - done.dropped - done.flipped + 2  # HELLO before and ACK
    assert link.missing <= done.dropped + done.flipped <= link.missing + 5  # at the end nothing tells of them
    delivered = np.concatenate(bench.host.samples)
    at = [k for m in sorted(arrived, key=lambda m: m.index) for k in range(m.index, m.index + len(m.counts))]
    assert set(map(bytes, delivered)) <= set(map(bytes, counts[at]))
    assert done.dropped > 0
    assert done.flipped > 0
    assert link.duplicates > 0
    assert link.late > 0


# Over a pty ----------------------------------------------------------------------------------------------------


def play(path: str) -> Host:
    """Start the device as a host does, read to the end of the recording, close."""
    host, link = Host(), open_transport(path)
    link.write(encode_packet(Start(), 0, 0))
    host.until(link, ended)
    link.close()
    return host


def test_a_recording_over_a_pty_arrives_whole_also_for_a_second_host() -> None:
    recording = make(20_000, ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6"), invalid=True)
    with SimulatedDevice(recording, speed=None) as device:
        for _ in range(2):
            host = play(device.path)
            assert np.array_equal(np.concatenate(host.samples), recording.counts)
            assert np.array_equal(np.concatenate(host.off), recording.invalid)
            assert host.tracker.counters.lost == 0


def test_a_host_that_leaves_midway_finds_an_idle_device_again() -> None:
    with SimulatedDevice(make(100_000), speed=None) as device:
        link, host = open_transport(device.path), Host()
        link.write(encode_packet(Start(), 0, 0))
        host.until(link, lambda message: isinstance(message, Samples))
        link.close()
        host = play(device.path)
        assert host.tracker.counters.frames >= 100_000


def test_an_idle_device_presents_itself_over_a_pty() -> None:
    with SimulatedDevice(make(10)) as device:
        link, host = open_transport(device.path), Host()
        host.until(link, lambda message: isinstance(message, Hello))
        link.write(encode_packet(Identify(), 1, 0))
        host.until(link, lambda message: isinstance(message, Hello))
        link.close()


def test_faults_over_a_pty_are_counted() -> None:
    with SimulatedDevice(make(5000), speed=None, faults=Faults(drop=0.1, seed=1)) as device:
        host = play_until_quiet(device.path)
        dropped = device.fault_counts.dropped
    assert dropped > 10
    assert host.decoder.counters.missing == dropped


def play_until_quiet(path: str) -> Host:
    """As `play`, but read on to the STATUS that faults spare, so that all gaps have shown."""
    host, link = Host(), open_transport(path)
    host.until(link, lambda message: isinstance(message, Hello))
    link.write(encode_packet(Start(), 0, 0))
    host.until(link, ended)
    host.until(link, ended)
    link.close()
    return host


def test_closing_the_device_loses_the_link_and_takes_the_symlink_away(tmp_path: Path) -> None:
    path = tmp_path / "ecg"
    path.symlink_to("/nowhere")  # left behind by one that was killed
    device = SimulatedDevice(make(10), link=path)
    assert os.readlink(path) == device.path
    link = open_transport(str(path))
    device.close()
    device.close()
    assert not path.is_symlink()
    with pytest.raises(LinkLost):
        Host().until(link, ended)


def test_a_file_in_the_place_of_the_symlink_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "ecg"
    path.write_text("mine")
    with pytest.raises(EcgEdgeError, match="cannot make the link"):
        SimulatedDevice(make(10), link=path)
    assert path.read_text() == "mine"


@pytest.mark.parametrize("speed", [0.0, -1.0, float("nan"), float("inf")])
def test_an_impossible_speed_is_refused(speed: float) -> None:
    with pytest.raises(EcgEdgeError, match="use a number above 0, or max"):
        SimulatedDevice(make(10), speed=speed)


# Faults of link and clock, and TCP --------------------------------------------------------------------------------


def test_a_fast_clock_samples_sooner_and_says_nothing_of_it() -> None:
    bench = Bench(make(1000), faults=Faults(drift=100_000))
    bench.command(Start())
    sent = [(at, p) for at, p in bench.run(2.0) if isinstance(p.message, Samples)]
    assert len(sent) == 100
    assert sent[-1][0] == pytest.approx(100 + 2 / 1.1)
    assert sent[-1][1].time_us - sent[0][1].time_us == 99 * 20_000


def test_unplug_is_due_once_in_a_device_s_life() -> None:
    bench = Bench(make(1000), speed=2.0, faults=Faults.parse("unplug=3@1"))
    bench.command(Start())
    bench.run(0.48)
    assert bench.device.unplug() == 0
    bench.run(0.03)
    assert bench.device.unplug() == 1.5, "3 s of signal at twice true time"
    assert bench.device.unplug() == 0
    bench.command(Start())
    bench.run(1.0)
    assert bench.device.unplug() == 0
    assert bench.device.fault_counts.unplugged == 1


def test_frames_sent_are_counted_with_those_that_are_dropped() -> None:
    bench = Bench(make(1000), faults=Faults(drop=0.5))
    bench.command(Start())
    bench.run(3.0)
    assert bench.device.fault_counts.frames == 1000


def test_tcp_serves_one_host_after_the_other() -> None:
    with SimulatedDevice(make(500), speed=None, tcp=("127.0.0.1", 0)) as device:
        assert device.path.startswith("socket://127.0.0.1:")
        for _ in range(2):
            host = play(device.path)
            assert sum(map(len, host.samples)) == 500
    with pytest.raises(EcgEdgeError, match="refused"):
        open_transport(device.path)


def test_tcp_is_gone_while_unplugged_and_comes_back() -> None:
    with SimulatedDevice(make(1000), speed=2.0, tcp=("127.0.0.1", 0), faults=Faults.parse("unplug=2@0.5")) as device:
        link, host = open_transport(device.path), Host()
        link.write(encode_packet(Start(), 0, 0))
        with pytest.raises(LinkLost):
            host.until(link, lambda _: False)
        link.close()
        with pytest.raises(EcgEdgeError, match="refused"):
            open_transport(device.path)
        deadline = time.monotonic() + 30
        while True:
            try:
                link = open_transport(device.path)
                break
            except EcgEdgeError:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        link.close()
        assert sum(map(len, play(device.path).samples)) == 1000


def test_a_pty_that_is_unplugged_needs_a_link() -> None:
    with pytest.raises(EcgEdgeError, match="give it a --link, or use --tcp"):
        SimulatedDevice(make(10), faults=Faults.parse("unplug=1@1"))
