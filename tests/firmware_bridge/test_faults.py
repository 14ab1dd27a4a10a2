"""Fault injection: what was done is what is missing at the other end."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecg_edge.firmware_bridge.decoder import PacketDecoder
from ecg_edge.firmware_bridge.faults import FOREVER, Fault, FaultCounts, Faults, Injector, flip_bit
from ecg_edge.firmware_bridge.protocol import SetRate, encode_packet

CHANCE = st.sampled_from([0.0, 0.05, 0.3])
STREAM = [encode_packet(SetRate(k), k, k * 1000) for k in range(300)]


def test_no_faults_change_nothing() -> None:
    counts = FaultCounts()
    assert list(Faults().inject(STREAM, counts)) == STREAM
    assert counts == FaultCounts(packets=300)


@pytest.mark.parametrize(
    ("faults", "expected"),
    [
        (Faults(drop=1), []),
        (Faults(duplicate=1), [b"a\0", b"a\0", b"b\0", b"b\0", b"c\0", b"c\0"]),
        (Faults(reorder=1), [b"b\0", b"a\0", b"c\0"]),
    ],
)
def test_certain_faults(faults: Faults, expected: list[bytes]) -> None:
    assert list(faults.inject([b"a\0", b"b\0", b"c\0"])) == expected


@given(st.binary(min_size=2, max_size=50), st.integers(0, 2**32))
def test_flip_inverts_one_bit_before_the_final_zero(packet: bytes, seed: int) -> None:
    (garbled,) = Faults(flip=1, seed=seed).inject([packet])
    difference = int.from_bytes(packet, "big") ^ int.from_bytes(garbled, "big")
    assert difference.bit_count() == 1
    assert garbled[-1] == packet[-1]


def test_flip_bit_counts_from_the_most_significant_bit() -> None:
    assert flip_bit(b"\0\0", 0) == b"\x80\0"
    assert flip_bit(b"\0\0", 15) == b"\0\x01"


@settings(derandomize=True)  # one garbled packet in 65536 has a right checksum; these examples hold none
@given(st.builds(Faults, CHANCE, CHANCE, CHANCE, CHANCE, seed=st.integers(0, 9)))
def test_sent_is_received_and_counted(faults: Faults) -> None:
    counts, decoder = FaultCounts(), PacketDecoder()
    stream = [STREAM[0], *faults.inject(STREAM[1:-1], counts), STREAM[-1]]
    packets = decoder.feed(b"".join(stream))
    received = decoder.counters
    intact = counts.packets - counts.dropped - counts.flipped + 2
    assert received.packets == len(packets) == intact
    assert received.missing == counts.dropped + counts.flipped
    assert received.restarts == 0
    assert received.duplicates <= counts.duplicated
    if not faults.flip:
        assert received.duplicates == counts.duplicated
        assert received.late == counts.reordered
        assert received.bad_cobs + received.bad_crc + received.bad_header == 0
    assert sorted(packet.time_us for packet in packets) == sorted({packet.time_us for packet in packets})


def test_the_same_seed_gives_the_same_faults_and_another_does_not() -> None:
    faults = Faults(drop=0.2, flip=0.2, seed=3)
    assert list(faults.inject(STREAM)) == list(faults.inject(STREAM))
    assert list(faults.inject(STREAM)) != list(Faults(drop=0.2, flip=0.2, seed=4).inject(STREAM))


def test_one_probability_does_not_disturb_the_other_decisions() -> None:
    without = set(Faults(drop=0.2).inject(STREAM))
    assert set(Faults(drop=0.2, duplicate=0.5, reorder=0.5).inject(STREAM)) == without


def test_a_stall_holds_back_what_is_due_within_it() -> None:
    faults = Faults(timed=(Fault("stall", 11.5, 1), Fault("stall", 10, 2)))
    assert faults.release_us(9_999_999) == 9_999_999
    assert faults.release_us(10_000_000) == 12_500_000  # the second stall begins before the first has ended
    assert faults.release_us(12_499_999) == 12_500_000
    assert faults.release_us(12_500_000) == 12_500_000


def test_a_timed_fault_happens_in_its_time() -> None:
    injector = Injector(Faults(drop=0.0, timed=(Fault("drop", 10, 5), Fault("duplicate", 12, FOREVER))))
    assert injector.push(b"a\0", 9.99) == [b"a\0"]
    assert injector.push(b"a\0", 10.0) == []
    assert injector.push(b"a\0", 14.99) == []
    assert injector.push(b"a\0", 15.0) == [b"a\0", b"a\0"]


def test_the_larger_of_two_probabilities_counts() -> None:
    faults = Faults(drop=0.2, timed=(Fault("drop", 1, 1, 0.1), Fault("drop", 3, 1, 0.7)))
    assert [faults.probability("drop", t) for t in (0, 1, 3, 4)] == [0.2, 0.2, 0.7, 0.2]
