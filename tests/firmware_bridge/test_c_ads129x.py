"""ADS129x frames by the datasheet's layout, and the example firmware: its bytes decode to the frames it was given."""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ecg_edge.firmware_bridge.continuity import Frames, FrameTracker
from ecg_edge.firmware_bridge.decoder import PacketDecoder
from ecg_edge.firmware_bridge.heart import demo
from ecg_edge.firmware_bridge.leads import MEASURED_LEADS
from ecg_edge.firmware_bridge.protocol import (
    Ack,
    Hello,
    Identify,
    Message,
    Packet,
    Result,
    SetRate,
    Start,
    State,
    Status,
    Stop,
    encode_packet,
)

LIBRARY = Path(__file__).resolve().parents[2] / "firmware_bridge" / "c"
# Worked by hand from the datasheet (SBAS459): 1100, LOFF_STATP[7:0], LOFF_STATN[7:0], GPIO[7:4], then its table of
# ideal codes: full scale 7FFFFF, one count 000001, zero, minus one count FFFFFF, minus full scale 800000.
STATUS = "C8 14 2A"  # 1100 1000 0001 0100 0010 1010: P 1000 0001, N 0100 0010, GPIO 1010
CODES = "7FFFFF 000001 000000 FFFFFF 800000 123456 EDCBAA 00FF00"
COUNTS = [8388607, 1, 0, -1, -8388608, 1193046, -1193046, 65280]

Run = Callable[[bytes], tuple[bytes, bytes]]


def parse(run: Run, channels: int, data: bytes, sens_p: int = 0xFF, sens_n: int = 0xFF) -> list[int]:
    output = run(struct.pack("4B", channels, len(data), sens_p, sens_n) + data)[0]
    return np.frombuffer(output[24:], "<i4").tolist()


def test_frame_of_eight_channels(c_program: Callable[..., Run]) -> None:
    run = c_program("ads129x")
    found = parse(run, 8, bytes.fromhex(STATUS + CODES))
    assert found == [1, 0b10000001, 0b01000010, 0b1010, 0b11000011, *COUNTS]
    assert parse(run, 8, bytes.fromhex(STATUS + CODES), 0x0F, 0xF0)[4] == 0b01000001  # sensing off: no lead-off


@pytest.mark.parametrize("channels", [4, 6])  # ADS1294, ADS1296
def test_frame_of_fewer_channels(c_program: Callable[..., Run], channels: int) -> None:
    data = bytes.fromhex(STATUS + CODES)[: 3 + 3 * channels]
    found = parse(c_program("ads129x"), channels, data)
    assert found[5 : 5 + channels] == COUNTS[:channels]
    assert found[4] == 0b11000011 & (1 << channels) - 1


def test_slipped_and_cut_frames_are_refused(c_program: Callable[..., Run]) -> None:
    good = bytes.fromhex(STATUS + CODES)
    for bad in (good[1:] + b"\0", good[:-1], good + b"\0", bytes(27), b"\xff" * 27, b""):
        assert parse(c_program("ads129x"), 8, bad) == [0] * 13
    assert parse(c_program("ads129x"), 0, b"\xc0\0\0") == [0] * 13
    assert parse(c_program("ads129x"), 9, b"\xc0" + bytes(29)) == [0] * 13


def test_picovolts_per_count(c_program: Callable[..., Run]) -> None:
    found = np.frombuffer(c_program("ads129x")(b"")[0], "<u4").reshape(3, 2)
    expected = [[round(vref * 1e6 / gain / (2**23 - 1)) for vref in (2_400_000, 4_000_000)] for gain in (1, 6, 12)]
    assert found.tolist() == expected
    assert found[1, 0] == 47_684


# The example firmware -----------------------------------------------------------------------------------------


def drdy(counts: np.ndarray, off_p: int = 0, passed_us: int = 2000) -> bytes:
    """The event of one frame (8,) becoming ready."""
    bits = 0b1100 << 20 | off_p << 12
    data = bits.to_bytes(3, "big") + b"".join(int(c).to_bytes(3, "big", signed=True) for c in counts)
    return b"D" + struct.pack("<IB", passed_us, len(data)) + data


def says(message: Message, sequence: int = 0) -> bytes:
    """The event of the host's command arriving."""
    data = encode_packet(message, sequence, 0)
    return b"R" + struct.pack("<IB", 0, len(data)) + data


def wait(seconds: float) -> bytes:
    return (b"W" + struct.pack("<IB", 10_000, 0)) * round(seconds * 100)


@pytest.fixture
def board(c_program: Callable[..., Run]) -> Callable[[bytes], tuple[list[Packet], str]]:
    """The example on a fake board: events -> packets it sent, what it told the converter."""
    run = c_program("fake_hal", LIBRARY, LIBRARY / "examples" / "ads1298_main.c")

    def play(events: bytes) -> tuple[list[Packet], str]:
        sent, converter = run(events)
        decoder = PacketDecoder()
        packets = decoder.feed(sent)
        counters = decoder.counters
        assert counters.packets == len(packets) == sum(bool(piece) for piece in sent.split(b"\0"))
        assert (counters.missing, counters.restarts) == (0, 0)
        return packets, converter.decode()

    return play


def tracked(packets: list[Packet]) -> tuple[list[Frames], FrameTracker]:
    tracker = FrameTracker()
    return [f for f in map(tracker.push, packets) if f is not None], tracker


def test_the_example_sends_the_frames_of_a_recording(board: Callable) -> None:
    counts = demo().counts[:2505]
    packets, _ = board(says(Start(), 9) + b"".join(drdy(frame) for frame in counts) + says(Stop(), 10))
    frames, tracker = tracked(packets)
    np.testing.assert_array_equal(np.concatenate([f.samples for f in frames]), counts)
    assert (tracker.counters.lost, tracker.counters.restarts, tracker.counters.stale) == (0, 0, 0)
    assert tracker.hello == Hello(500, 47_684, MEASURED_LEADS, "ads1298 example 1.0")
    assert [type(p.message) for p in packets[:2]] == [Ack, Hello]
    assert packets[0].message == Ack(Start.TYPE, 9, Result.OK)
    assert packets[-1].message == Ack(Stop.TYPE, 10, Result.OK)
    assert [p.message for p in packets if isinstance(p.message, Status)] == [Status(State.STREAMING, 0, 3700)] * 5


def test_the_example_cuts_packets_where_an_electrode_comes_off(board: Callable) -> None:
    counts = np.arange(8 * 35).reshape(35, 8) - 100
    packets, _ = board(says(Start()) + b"".join(drdy(f, 0x44 if 13 <= k < 17 else 0) for k, f in enumerate(counts)))
    frames, _ = tracked(packets)
    off = np.concatenate([np.repeat(f.off[np.newaxis], len(f.samples), axis=0) for f in frames])
    assert [len(f.samples) for f in frames] == [10, 3, 4, 10]
    assert off.sum() == 8
    assert off[13:17, [2, 6]].all()


SLIPPED = b"D" + struct.pack("<IB", 2000, 27) + bytes(27)
MISSED = b"M" + struct.pack("<IB", 2000, 0)


@pytest.mark.parametrize("lost", [[SLIPPED], [MISSED], [MISSED] * 4, [MISSED, SLIPPED]])
def test_the_example_tells_of_lost_frames(board: Callable, lost: list[bytes]) -> None:
    counts = np.arange(8 * 30).reshape(30, 8)
    events = [drdy(f) for f in counts]
    events[15 : 15 + len(lost)] = lost
    packets, _ = board(says(Start()) + b"".join(events) + wait(1.1))
    frames, tracker = tracked(packets)
    assert [(f.missing_before, len(f.samples)) for f in frames] == [(0, 10), (0, 5), (len(lost), 10)]
    np.testing.assert_array_equal(frames[2].samples, counts[15 + len(lost) : 25 + len(lost)])
    assert tracker.counters.lost == len(lost)
    assert next(p.message for p in packets if isinstance(p.message, Status)).overruns == len(lost)


def test_the_example_answers_commands(board: Callable) -> None:
    counts = np.zeros((10, 8), int)
    events = wait(1.05) + says(Identify()) + says(SetRate(1000), 1) + says(SetRate(300), 2) + says(SetRate(0), 6)
    events += says(Start(), 3) + b"".join(drdy(f, passed_us=1000) for f in counts) + says(Start(), 3)
    events += b"".join(drdy(f, passed_us=1000) for f in counts) + says(Stop(), 4) + drdy(counts[0]) + wait(2.1)
    packets, converter = board(events)
    answers = [p.message for p in packets if isinstance(p.message, Ack)]
    refused = [(2, Result.UNSUPPORTED), (6, Result.BAD_ARGUMENT)]
    done = [(n, Result.OK) for n in (1, 3, 3, 4)]  # a command may come twice
    assert [(a.command_sequence, a.result) for a in answers] == [done[0], *refused, *done[1:]]
    assert [p.message.rate for p in packets if isinstance(p.message, Hello)] == [*[500] * 3, *[1000] * 4]
    _, tracker = tracked(packets)
    assert (tracker.counters.frames, tracker.counters.restarts) == (20, 1)
    words = converter.split()
    assert words.count("410085") == 2  # CONFIG1 at 1000 Hz ...
    assert all(word != "10" for word in words[: words.index("410085")])  # ... and not while data streams
