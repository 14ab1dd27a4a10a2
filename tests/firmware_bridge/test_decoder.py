"""Bytes to packets to frames: any input, any cut, any damage; the counters add up."""

from dataclasses import asdict
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecg_edge.firmware_bridge.continuity import FrameCounters, Frames, FrameTracker
from ecg_edge.firmware_bridge.decoder import REORDER_WINDOW, LinkCounters, PacketDecoder
from ecg_edge.firmware_bridge.faults import flip_bit
from ecg_edge.firmware_bridge.framing import cobs_decode, cobs_encode
from ecg_edge.firmware_bridge.protocol import (
    MAX_PACKET,
    Hello,
    Packet,
    Samples,
    SetRate,
    Start,
    State,
    Status,
    encode_packet,
    seal,
)

RATE, CHANNELS, FRAMES = 500, 2, 5
HELLO = Hello(RATE, 1000, ("I", "II"))


def samples(number: int, first: int = 0) -> Packet:
    """Packet `number` of a run whose first frame has index `first`; each count tells its frame and channel."""
    start = number * FRAMES
    frames = np.arange(start, start + FRAMES, dtype=np.int32)[:, None] * 10 + np.arange(CHANNELS, dtype=np.int32)
    message = Samples(start + first & 0xFFFFFFFF, frames, number % 4)
    return Packet(number & 0xFFFF, start * 1_000_000 // RATE, message)


def encode(packet: Packet) -> bytes:
    return encode_packet(packet.message, packet.sequence, packet.time_us)


def feed_all(data: bytes) -> tuple[list[Packet], LinkCounters]:
    decoder = PacketDecoder()
    return decoder.feed(data), decoder.counters


STREAM = [encode(samples(k)) for k in range(20)]
PIECES = st.one_of(
    st.sampled_from(STREAM),
    st.binary(max_size=40),
    st.sampled_from([b"\0", b"\0\0", b"\x01" * (MAX_PACKET + 5), b"\xff" * MAX_PACKET]),
    st.binary(max_size=30).map(lambda content: seal(content)),
    st.binary(max_size=30).map(lambda body: cobs_encode(body) + b"\0"),
)


# Bytes to packets ----------------------------------------------------------------------------------------------


@given(st.lists(st.binary(max_size=200), max_size=5))
def test_no_bytes_raise(chunks: list[bytes]) -> None:
    decoder = PacketDecoder()
    for chunk in chunks:
        decoder.feed(chunk)
    assert decoder.counters.bytes == sum(map(len, chunks))


@given(st.lists(PIECES, max_size=12), st.lists(st.integers(0, 6000), max_size=12))
def test_packets_and_counters_do_not_depend_on_the_cut(pieces: list[bytes], cuts: list[int]) -> None:
    data = b"".join(pieces)
    packets, counters = feed_all(data)
    decoder, cut_packets = PacketDecoder(), []
    bounds = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    for start, stop in pairwise(bounds):
        cut_packets += decoder.feed(data[start:stop])
    assert cut_packets == packets
    assert decoder.counters == counters


@given(st.lists(PIECES, max_size=12))
def test_every_piece_between_zeros_is_a_packet_or_counted(pieces: list[bytes]) -> None:
    data = b"".join(pieces) + b"\0"
    _, counters = feed_all(data)
    bad = counters.bad_cobs + counters.bad_header + counters.bad_crc + counters.bad_payload
    bad += counters.other_version + counters.other_type + counters.overlong + counters.duplicates
    assert counters.packets + bad == sum(bool(piece) for piece in data.split(b"\0"))


def test_byte_by_byte() -> None:
    decoder, packets = PacketDecoder(), []
    for byte in b"".join(STREAM):
        packets += decoder.feed(bytes([byte]))
    assert packets == [samples(k) for k in range(20)]
    assert decoder.counters == LinkCounters(bytes=sum(map(len, STREAM)), packets=20)


@settings(derandomize=True)  # one garbled packet in 65536 has a right checksum; these examples are none
@given(st.integers(1, 18), st.binary(min_size=1, max_size=12), st.data())
def test_a_garbled_packet_loses_only_itself(number: int, garbage: bytes, data: st.DataObject) -> None:
    good = STREAM[number]
    at = data.draw(st.integers(0, len(good) - 2))
    bad = (good[:at] + garbage + good[at + len(garbage) :])[:-1] + b"\0"
    packets, counters = feed_all(b"".join([*STREAM[:number], bad, *STREAM[number + 1 :]]))
    expected = [samples(k) for k in range(20) if k != number or bad == good]
    assert packets == expected
    assert (counters.missing, counters.gaps) == ((0, 0) if bad == good else (1, 1))


def test_any_single_flipped_bit_is_found() -> None:
    for bit in range(8 * (len(STREAM[3]) - 1)):
        packets, counters = feed_all(STREAM[2] + flip_bit(STREAM[3], bit) + STREAM[4])
        assert packets == [samples(2), samples(4)]
        assert counters.bad_cobs + counters.bad_crc + counters.bad_header >= 1
        assert counters.missing == 1


def test_joining_midway_costs_one_piece() -> None:
    packets, counters = feed_all(b"".join(STREAM)[17:])
    assert packets == [samples(k) for k in range(1, 20)]
    assert (counters.bad_cobs + counters.bad_crc, counters.missing) == (1, 0)


@pytest.mark.parametrize("extra", [1, 2, 5000, 100_000])
def test_an_overlong_run_is_counted_once_and_not_kept(extra: int) -> None:
    decoder = PacketDecoder()
    for _ in range(MAX_PACKET + extra):
        decoder.feed(b"\x01")
        assert len(decoder._partial) <= MAX_PACKET
    assert decoder.feed(b"\0" + STREAM[0]) == [samples(0)]
    assert decoder.counters.overlong == 1


# Sequence numbers ----------------------------------------------------------------------------------------------


@given(st.integers(0, 65535), st.integers(1, 150))
def test_the_sequence_wraps_without_a_gap(start: int, length: int) -> None:
    stream = b"".join(encode_packet(Start(), start + k & 0xFFFF, k * 1000) for k in range(length))
    packets, counters = feed_all(stream)
    assert len(packets) == length
    assert counters == LinkCounters(bytes=len(stream), packets=length)


@given(st.integers(0, 65535), st.lists(st.tuples(st.booleans(), st.integers(0, 3)), min_size=1, max_size=150))
def test_drops_and_duplicates_are_counted_exactly(start: int, fates: list[tuple[bool, int]]) -> None:
    """fates: of each packet, whether it is lost, and if not, how many times more it comes."""
    fates = [(False, 0), *fates, (False, 0)]  # what is lost before the first or after the last cannot be known
    stream = b""
    for k, (lost, more) in enumerate(fates):
        stream += b"" if lost else encode_packet(Start(), start + k & 0xFFFF, k * 1000) * (1 + more)
    packets, counters = feed_all(stream)
    assert counters.missing == sum(lost for lost, _ in fates)
    assert counters.duplicates == sum(more for lost, more in fates if not lost)
    assert len(packets) + counters.missing == len(fates)
    assert (counters.late, counters.restarts) == (0, 0)


@given(st.integers(0, 65535), st.integers(1, REORDER_WINDOW - 1), st.integers(3, 80))
def test_a_late_packet_is_handed_out_and_no_longer_missing(start: int, delay: int, at: int) -> None:
    order = list(range(200))
    order.insert(at + delay, order.pop(at))
    stream = b"".join(encode_packet(Start(), start + k & 0xFFFF, k * 1000) for k in order)
    packets, counters = feed_all(stream)
    assert [packet.time_us // 1000 for packet in packets] == order
    assert (counters.late, counters.missing, counters.gaps, counters.restarts) == (1, 0, 1, 0)


@pytest.mark.parametrize("last", [10, 5000, 40_000, 65_535])
def test_a_restarted_device_is_not_a_gap(last: int) -> None:
    stream = b"".join(encode_packet(Status(State.STREAMING), last - k, 10**9 - k) for k in (3, 2, 1, 0))
    stream += b"".join(encode_packet(Status(State.IDLE), k, k * 1000) for k in range(6))
    packets, counters = feed_all(stream)
    assert len(packets) == 10
    assert counters.missing == 0
    assert counters.duplicates == 0
    assert counters.restarts == (last != 65_535)  # there, 0 is what comes next anyway


def test_counters_go_on_over_a_new_link() -> None:
    first = PacketDecoder()
    first.feed(STREAM[0] + STREAM[1])
    second = PacketDecoder(first.counters)
    second.feed(STREAM[7])
    assert (first.counters.packets, first.counters.missing) == (3, 0)


def test_a_device_takes_a_command_twice() -> None:
    decoder, start = PacketDecoder(keep_duplicates=True), encode_packet(Start(), 0, 0)
    assert len(decoder.feed(start + start)) == 2
    assert (decoder.counters.packets, decoder.counters.duplicates) == (2, 1)


def test_packets_of_unknown_types_keep_their_place_in_the_sequence_and_malformed_ones_do_not() -> None:
    unknown = seal(bytes.fromhex("01 7E 0001 0000000000000000"))
    malformed = seal(bytes.fromhex("01 11 0002 0000000000000000 FF"))
    packets, counters = feed_all(STREAM[0] + unknown + malformed + encode(samples(3)))
    assert packets == [samples(0), samples(3)]
    assert (counters.other_type, counters.bad_payload, counters.missing) == (1, 1, 1)


def test_the_one_flip_that_passes_the_crc_is_caught_by_the_length() -> None:
    """A CRC that ends in 00 ends COBS with a block 01; when that turns to 00, a valid CRC is left behind."""
    found = 0
    for k in range(2000):
        packet = encode_packet(SetRate(k), 2, k)
        if cobs_decode(packet[:-1])[-1] == 0:
            packets, counters = feed_all(encode_packet(Start(), 1, 0) + packet[:-2] + b"\0\0" + STREAM[3])
            assert len(packets) == 2
            assert (counters.bad_payload, counters.missing) == (1, 1)
            found += 1
    assert found > 0


# Packets to frames ---------------------------------------------------------------------------------------------


def track(packets: list[Packet]) -> tuple[list[Frames], FrameCounters]:
    tracker = FrameTracker()
    frames = [tracker.push(packet) for packet in [Packet(0, 0, HELLO), *packets]]
    return [f for f in frames if f is not None], tracker.counters


def run(first: int, count: int, clock_us: int = 0) -> list[Packet]:
    packets = [samples(k, first) for k in range(count)]
    return [Packet(p.sequence, clock_us + p.time_us, p.message) for p in packets]


@given(st.integers(0, 2**32 - 1), st.integers(1, 60))
def test_the_frame_index_wraps_without_a_gap(first: int, count: int) -> None:
    frames, counters = track(run(first, count))
    joined = np.concatenate([f.samples for f in frames])
    assert joined[:, 0].tolist() == [k * 10 for k in range(count * FRAMES)]
    assert counters == FrameCounters(frames=count * FRAMES)
    assert [f.restarted for f in frames] == [True] + [False] * (count - 1)


@given(
    st.integers(0, 2**32 - 1),
    st.lists(st.tuples(st.booleans(), st.integers(0, 2), st.booleans()), min_size=1, max_size=90),
)
def test_frames_add_up(first: int, fates: list[tuple[bool, int, bool]]) -> None:
    """fates: of each packet, whether it is lost, how often it comes again, and whether it trades places."""
    fates = [(False, 0, False), *fates, (False, 0, False)]
    order = list(range(len(fates)))
    for k in range(1, len(order) - 2):
        if fates[k][2]:
            order[k], order[k + 1] = order[k + 1], order[k]
    arriving = [k for k in order if not fates[k][0] for _ in range(1 + fates[k][1])]
    frames, counters = track([samples(k, first) for k in arriving])
    numbers = [int(row[0]) // 10 for f in frames for row in f.samples]
    assert numbers == sorted(set(numbers))
    assert counters.frames == len(numbers)
    assert counters.frames + counters.stale == len(arriving) * FRAMES
    assert counters.frames + counters.lost == len(fates) * FRAMES
    expected = 0
    for f in frames:  # missing_before is the true gap, and time and mask are those of the frames
        assert int(f.samples[0, 0]) // 10 - expected == f.missing_before
        assert f.time_us == int(f.samples[0, 0]) // 10 * 1_000_000 // RATE
        assert f.off.tolist() == [bool(int(f.samples[0, 0]) // 10 // FRAMES % 4 >> c & 1) for c in range(CHANNELS)]
        expected = int(f.samples[-1, 0]) // 10 + 1
    assert counters.restarts == 0


def test_frames_that_overlap_are_handed_out_once() -> None:
    overlap = Packet(1, 6000, Samples(3, np.arange(8, dtype=np.int32).reshape(4, 2)))
    frames, counters = track([samples(0), overlap])
    assert frames[1].samples.tolist() == [[4, 5], [6, 7]]
    assert frames[1].time_us == 10_000
    assert counters == FrameCounters(frames=7, stale=2)


@pytest.mark.parametrize("missing_seconds", [1, 3600, 86_400])
def test_a_long_gap_is_measured_despite_a_drifting_clock(missing_seconds: int) -> None:
    later = samples(1 + missing_seconds * RATE // FRAMES)
    drifted = Packet(9, round(later.time_us * 1.01), later.message)
    frames, counters = track([samples(0), drifted])
    assert frames[1].missing_before == counters.lost == missing_seconds * RATE
    assert not frames[1].restarted


@pytest.mark.parametrize(
    ("again", "why"),
    [
        (run(0, 1, 10_500_000), "STOP and START: the index is 0 again, later"),
        (run(0, 1, 2_000_000), "a device that rebooted, on a new clock"),
        (run(77, 1, 2_000_000), "the same, with its first packets lost"),
        ([Packet(0, 0, HELLO), *run(0, 1, 10_000_000)], "frame 0 after a HELLO, or else it would be late"),
        ([Packet(0, 0, Hello(250, 1000, ("I", "II"))), *run(20, 1, 10_040_000)], "another rate"),
    ],
)
def test_a_new_run_is_no_gap_and_loses_nothing(again: list[Packet], why: str) -> None:
    frames, counters = track([*run(0, 4, 10_000_000), *again])
    assert frames[-1].restarted, why
    assert frames[-1].missing_before == 0
    assert counters == FrameCounters(frames=5 * FRAMES, restarts=1)


def test_a_new_run_long_after_the_start() -> None:
    packets = [samples(k) for k in range(0, 20_000, 100)]
    frames, counters = track([*packets, samples(0)])
    assert frames[-1].restarted
    assert counters.restarts == 1
    assert counters.stale == 0


def test_a_hello_during_a_run_changes_nothing() -> None:
    packets = [p for k in range(6) for p in (samples(k), Packet(0, 0, HELLO))]
    frames, counters = track(packets)
    assert counters == FrameCounters(frames=6 * FRAMES)
    assert len(frames) == 6


def test_frames_without_a_format_are_counted_and_dropped() -> None:
    tracker = FrameTracker()
    assert tracker.push(samples(0)) is None
    tracker.push(Packet(1, 0, Hello(RATE, 1000, ("I",))))
    assert tracker.push(samples(1)) is None
    assert asdict(tracker.counters) == asdict(FrameCounters(before_hello=FRAMES, mismatched=FRAMES))
