"""COBS and CRC against bitwise and byte-wise references, the published figures, and random data."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecg_edge.firmware_bridge.framing import FramingError, cobs_bound, cobs_decode, cobs_encode, crc16

# Random bytes seldom fill a block of 254: these runs do, or just do not.
RUNS = st.lists(st.tuples(st.sampled_from([0, 1, 2, 253, 254, 255, 508]), st.binary(max_size=3)), max_size=4)
DATA = st.binary(max_size=600) | RUNS.map(lambda runs: b"".join(b"\x55" * n + tail for n, tail in runs))


def reference_encode(data: bytes) -> bytes:
    """COBS a byte at a time, as figure 3 of the paper has it, without an empty block after a final full one."""
    blocks = [bytearray()]
    full = False
    for byte in data:
        full = False
        if byte == 0:
            blocks.append(bytearray())
            continue
        blocks[-1].append(byte)
        if len(blocks[-1]) == 254:
            blocks.append(bytearray())
            full = True
    if full:
        blocks.pop()
    return b"".join(bytes([len(block) + 1]) + block for block in blocks)


def reference_crc(data: bytes) -> int:
    """CRC-16/CCITT-FALSE by its definition, a bit at a time."""
    register = 0xFFFF
    for byte in data:
        register ^= byte << 8
        for _ in range(8):
            register = (register << 1 ^ (0x1021 if register & 0x8000 else 0)) & 0xFFFF
    return register


def test_the_papers_example() -> None:
    packet = bytes.fromhex("45 00 00 2C 4C 79 00 00 40 06 4F 37")
    assert cobs_encode(packet) == bytes.fromhex("02 45 01 04 2C 4C 79 01 05 40 06 4F 37")


def test_the_papers_long_run() -> None:
    ones = b"\x01" * 254
    encoded = b"\xff" + ones + b"\xff" + ones + b"\xac" + b"\x01" * 171 + b"\x01"
    assert cobs_encode(b"\x01" * 679 + b"\0") == encoded


@pytest.mark.parametrize(
    ("data", "encoded"),
    [
        (b"", b"\x01"),
        (b"\0", b"\x01\x01"),
        (b"\0\0", b"\x01\x01\x01"),
        (b"\x11\x22\0\x33", b"\x03\x11\x22\x02\x33"),
        (bytes(range(1, 255)), b"\xff" + bytes(range(1, 255))),
        (bytes(range(1, 256)), b"\xff" + bytes(range(1, 255)) + b"\x02\xff"),
        (bytes(range(255)), b"\x01\xff" + bytes(range(1, 255))),
        (bytes(range(2, 256)) + b"\0", b"\xff" + bytes(range(2, 256)) + b"\x01\x01"),
    ],
)
def test_cobs_by_hand(data: bytes, encoded: bytes) -> None:
    assert cobs_encode(data) == encoded
    assert cobs_decode(encoded) == data


@given(DATA)
def test_cobs_agrees_with_the_reference_and_round_trips(data: bytes) -> None:
    encoded = cobs_encode(data)
    assert encoded == reference_encode(data)
    assert 0 not in encoded
    assert len(encoded) <= cobs_bound(len(data))
    assert cobs_decode(encoded) == data


@pytest.mark.parametrize("length", [0, 1, 253, 254, 255, 508, 509])
def test_cobs_bound_is_reached(length: int) -> None:
    assert len(cobs_encode(b"\x01" * length)) == cobs_bound(length)


def test_an_empty_block_after_a_final_full_one_is_read_too() -> None:
    full = b"\x07" * 254
    assert cobs_decode(b"\xff" + full + b"\x01") == full


@pytest.mark.parametrize("encoded", [b"", b"\0", b"\x03\x11\0", b"\x02\0\x01", b"\x05\x11\x22", b"\xff\x01"])
def test_what_is_no_cobs_is_refused(encoded: bytes) -> None:
    with pytest.raises(FramingError):
        cobs_decode(encoded)


@given(st.binary(max_size=300))
def test_what_decodes_is_what_an_encoder_meant(encoded: bytes) -> None:
    try:
        data = cobs_decode(encoded)
    except FramingError:
        return
    assert cobs_encode(data) in (encoded, encoded[:-1])


def test_crc_check_value() -> None:
    assert crc16(b"123456789") == 0x29B1


@given(st.binary(max_size=300))
def test_crc_agrees_with_the_bitwise_reference(data: bytes) -> None:
    assert crc16(data) == reference_crc(data)
    assert crc16(data + crc16(data).to_bytes(2, "big")) == 0


def test_crc_finds_two_wrong_bits_up_to_32767() -> None:
    """The distance at which two wrong bits cancel is the period of the polynomial; a factor x + 1 finds odd ones."""
    register, period = 1, 0
    while not period or register != 1:
        register = (register << 1 ^ (0x11021 if register & 0x8000 else 0)) & 0xFFFF
        period += 1
    assert period == 32767
    assert (0x11021).bit_count() % 2 == 0
