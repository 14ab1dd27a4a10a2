"""The packet codec against struct layouts written out, the shared vectors, the document, and random messages."""

import json
import re
import struct
from importlib.resources import files

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ecg_edge.firmware_bridge import protocol_vectors
from ecg_edge.firmware_bridge.bandwidth import USABLE, bits_per_second, check_baud
from ecg_edge.firmware_bridge.decoder import LinkCounters, PacketDecoder
from ecg_edge.firmware_bridge.errors import EcgEdgeError
from ecg_edge.firmware_bridge.framing import FramingError, cobs_decode, cobs_encode, crc16
from ecg_edge.firmware_bridge.leads import LEADS
from ecg_edge.firmware_bridge.protocol import (
    MAX_CONTENT,
    MAX_PACKET,
    Ack,
    Hello,
    Identify,
    Message,
    PacketError,
    Result,
    Samples,
    SetRate,
    Start,
    State,
    Status,
    Stop,
    decode_message,
    encode_packet,
    is_known,
    max_frames,
    open_body,
    packet_bytes,
    seal,
)

U16, U32 = st.integers(0, 2**16 - 1), st.integers(0, 2**32 - 1)
SHAPES = st.integers(1, 16).flatmap(lambda m: st.tuples(st.integers(1, min(40, max_frames(m))), st.just(m)))
COUNTS = SHAPES.flatmap(lambda s: hnp.arrays(np.int32, s, elements=st.integers(-(2**23), 2**23 - 1)))
SAMPLES = st.builds(
    lambda index, counts, mask: Samples(index, counts, mask & (1 << counts.shape[1]) - 1), U32, COUNTS, U16
)
MESSAGES = st.one_of(
    SAMPLES,
    st.builds(
        Hello,
        st.integers(1, 2**16 - 1),
        st.integers(1, 2**32 - 1),
        st.lists(st.sampled_from([*LEADS, None]), min_size=1, max_size=16).map(tuple),
        st.text(st.characters(codec="utf-8"), max_size=8),
    ),
    st.builds(Status, st.sampled_from(State), U32, U16),
    st.builds(Ack, st.integers(0, 255), U16, st.sampled_from(Result)),
    st.builds(SetRate, U16),
    st.sampled_from([Identify(), Start(), Stop()]),
)
VECTORS = json.loads((files("ecg_edge.firmware_bridge") / "vectors/protocol_v1.json").read_text())
DOCUMENT = (files("ecg_edge.firmware_bridge") / "PROTOCOL.md").read_text()


def read(packet: bytes) -> tuple[int, int, Message]:
    header, payload = open_body(cobs_decode(packet[:-1]))
    return header.sequence, header.time_us, decode_message(header.type, payload)


@given(MESSAGES, U16, st.integers(0, 2**64 - 1))
def test_round_trip(message: Message, sequence: int, time_us: int) -> None:
    packet = encode_packet(message, sequence, time_us)
    assert packet.index(0) == len(packet) - 1 <= MAX_PACKET
    assert read(packet) == (sequence, time_us, message)


@given(SAMPLES)
def test_samples_layout_sample_by_sample(message: Samples) -> None:
    n, m = message.counts.shape
    expected = struct.pack(">IBBH", message.index, n, m, message.lead_off)
    for frame in message.counts.tolist():
        for count in frame:
            expected += count.to_bytes(3, "big", signed=True)
    assert message.to_payload() == expected
    decoded = Samples.from_payload(expected)
    assert decoded.counts.dtype == np.int32
    assert decoded.off.tolist() == [bool(message.lead_off >> c & 1) for c in range(m)]


def test_header_layout() -> None:
    body = cobs_decode(encode_packet(SetRate(500), 0x0102, 0x0304050607080910)[:-1])
    content = struct.pack(">BBHQH", 1, 0x13, 0x0102, 0x0304050607080910, 500)
    assert body == content + struct.pack(">H", crc16(content))


@pytest.mark.parametrize("channels", range(1, 17))
def test_the_largest_packet_fits_and_a_larger_one_does_not(channels: int) -> None:
    most = max_frames(channels)
    full = encode_packet(Samples(0, np.full((most, channels), -1, np.int32)), 0, 0)
    assert len(full) <= packet_bytes(most, channels) <= MAX_PACKET + 1
    assert most == 255 or 20 + 3 * channels * (most + 1) > MAX_CONTENT
    with pytest.raises(ValueError, match="do not fit"):
        Samples(0, np.zeros((most + 1, channels), np.int32)).to_payload()


@pytest.mark.parametrize(
    "message",
    [
        Hello(0, 1, ("I",)),
        Hello(65536, 1, ("I",)),
        Hello(500, 0, ("I",)),
        Hello(500, 2**32, ("I",)),
        Hello(500, 1, ()),
        Hello(500, 1, (None,) * 17),
        Hello(500, 1, ("avr",)),
        Hello(500, 1, ("I",), "µ" * 17),
        Samples(0, np.full((1, 1), 2**23, np.int32)),
        Samples(0, np.full((1, 1), -(2**23) - 1, np.int32)),
        Samples(2**32, np.zeros((1, 1), np.int32)),
        Samples(0, np.zeros((1, 1), np.int32), 2),
        Samples(0, np.zeros((0, 1), np.int32)),
        Samples(0, np.zeros((1, 17), np.int32)),
        SetRate(65536),
        Status(State.IDLE, 2**32),
    ],
)
def test_what_does_not_fit_is_refused(message: Message) -> None:
    with pytest.raises(ValueError, match=r".+"):
        encode_packet(message, 0, 0)


@pytest.mark.parametrize(("sequence", "time_us"), [(-1, 0), (65536, 0), (0, -1), (0, 2**64)])
def test_a_header_that_does_not_fit_is_refused(sequence: int, time_us: int) -> None:
    with pytest.raises(ValueError, match="out of range"):
        encode_packet(Stop(), sequence, time_us)


def test_unknown_states_and_results_are_refused() -> None:
    with pytest.raises(ValueError, match="3"):
        Status(3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="9"):
        Ack(0x11, 0, 9)  # type: ignore[arg-type]


def test_a_lead_code_from_the_future_is_an_unnamed_lead() -> None:
    payload = bytearray(Hello(500, 1, ("I", "II")).to_payload())
    payload[8] = 12
    assert Hello.from_payload(bytes(payload)).leads == ("I", None)


@given(st.sampled_from([0, 1, 2, 3, 0x10, 0x11, 0x12, 0x13, 0x1F]), st.binary(max_size=80))
def test_any_payload_is_a_message_or_a_packet_error(kind: int, payload: bytes) -> None:
    reason = "bad_payload" if is_known(kind) else "other_type"
    try:
        message = decode_message(kind, payload)
    except PacketError as error:
        if error.reason != reason:
            raise
    else:
        assert len(message.to_payload()) == len(payload)


# Vectors and document ------------------------------------------------------------------------------------------


def test_the_vectors_are_what_the_codec_gives() -> None:
    stored = (files("ecg_edge.firmware_bridge") / "vectors/protocol_v1.json").read_text()
    assert stored == protocol_vectors.text(), "write it anew with python -m ecg_edge.firmware_bridge.protocol_vectors"


@pytest.mark.parametrize("vector", VECTORS["packets"], ids=lambda v: v["type"])
def test_packet_vectors_decode_to_their_fields(vector: dict) -> None:
    sequence, time_us, message = read(bytes.fromhex(vector["packet"]))
    assert (sequence, time_us, type(message).__name__) == (vector["sequence"], vector["time_us"], vector["type"])
    for name, value in vector["fields"].items():
        field = getattr(message, name)
        assert (list(field) if name == "leads" else np.asarray(field).tolist()) == value


@pytest.mark.parametrize("vector", VECTORS["packets_invalid"], ids=lambda v: v["name"])
def test_invalid_packet_vectors_are_counted_as_they_say(vector: dict) -> None:
    decoder = PacketDecoder()
    packet = bytes.fromhex(vector["packet"])
    assert decoder.feed(packet) == []
    assert decoder.counters == LinkCounters(bytes=len(packet), **{vector["counter"]: 1})


def test_framing_vectors() -> None:
    for vector in VECTORS["cobs"]:
        data, encoded = bytes.fromhex(vector["data"]), bytes.fromhex(vector["encoded"])
        assert cobs_encode(data) == encoded
        assert cobs_decode(encoded) == data
    for vector in VECTORS["cobs_invalid"]:
        with pytest.raises(FramingError):
            cobs_decode(bytes.fromhex(vector["encoded"]))
    for vector in VECTORS["crc16"]:
        assert crc16(bytes.fromhex(vector["data"])) == vector["crc"]


def test_the_documents_examples_are_what_the_codec_gives() -> None:
    examples = DOCUMENT.partition("## Examples")[2].partition("\n## ")[0]
    written = [bytes.fromhex(line) for line in re.findall(r"^    ((?:[0-9a-f]{2} ?)+)$", examples, re.MULTILINE)]
    packets = [
        encode_packet(Start(), 1, 0),
        encode_packet(Ack(Start.TYPE, 1, Result.OK), 7, 1_234_567),
        encode_packet(Hello(500, 47_684, ("I", "II"), "demo"), 0, 0),
        encode_packet(Samples(1000, np.array([[5, -5], [6, -6]], np.int32), 0b10), 258, 2_000_000),
    ]
    assert written == [line for packet in packets for line in (cobs_decode(packet[:-1]), packet)]


def test_the_documents_sizes_and_types_are_the_codecs() -> None:
    assert f"at most {MAX_CONTENT} bytes" in DOCUMENT
    assert f"at most {MAX_PACKET} bytes and its zero" in DOCUMENT
    names = {"SET_RATE": SetRate} | {kind.__name__.upper(): kind for kind in (Hello, Samples, Status, Identify)}
    names |= {kind.__name__.upper(): kind for kind in (Start, Stop, Ack)}
    types = re.findall(r"^\| ([0-9A-F]{2}) \| ([A-Z_]+) \|", DOCUMENT, re.MULTILINE)
    assert {name: int(code, 16) for code, name in types} == {name: kind.TYPE for name, kind in names.items()}


def test_the_documents_bandwidth_table_is_the_codecs() -> None:
    table = DOCUMENT.partition("## Bandwidth")[2].partition("\n## ")[0]
    bauds = [int(baud) for baud in re.findall(r"\d{6,}", table.splitlines()[4])]
    rows = re.findall(r"^\| (\d+) Hz, (\d+) \| ([\d.]+) \|(.*)\|$", table, re.MULTILINE)
    assert len(bauds) == 5
    assert len(rows) == 7
    for rate, channels, kbits, cells in rows:
        needed = bits_per_second(int(rate), int(channels))
        assert float(kbits) == pytest.approx(needed / 1000, abs=0.051)
        shares = [f"{100 * needed / b:.0f} %" if needed <= USABLE * b else "too slow" for b in bauds]
        assert [cell.strip() for cell in cells.split("|")] == shares


# Bandwidth -----------------------------------------------------------------------------------------------------


@given(st.integers(1, 16), st.integers(1, 60))
def test_bandwidth_is_that_of_the_longest_packets(channels: int, frames: int) -> None:
    packet = encode_packet(Samples(0x01010101, np.full((frames, channels), 0x010101, np.int32)), 257, 2**60)
    assert len(packet) <= packet_bytes(frames, channels) == bits_per_second(frames, channels, frames) / 10


def test_115200_baud_is_too_slow_for_8_channels_at_500_hz_and_the_error_says_what_is_not() -> None:
    with pytest.raises(EcgEdgeError, match=r"115200 baud is too slow for 8 channels at 500 Hz.*use 230400 baud"):
        check_baud(115200, 500, 8)
    check_baud(230400, 500, 8)
    assert bits_per_second(500, 8) / 921600 == pytest.approx(0.15, abs=0.01)


def test_where_no_speed_suffices_the_error_says_so() -> None:
    with pytest.raises(EcgEdgeError, match="fewer channels or a lower rate"):
        check_baud(3_000_000, 8000, 16)


def test_sealed_content_opens_again() -> None:
    header, payload = open_body(cobs_decode(seal(bytes.fromhex("01 7E 0005 0000000000000006 AA"))[:-1]))
    assert (header.type, header.sequence, header.time_us, payload) == (0x7E, 5, 6, b"\xaa")


def test_samples_encode_whatever_their_memory_layout() -> None:
    counts = np.asfortranarray(np.arange(-12, 12, dtype=np.int32).reshape(6, 4))
    strided = np.arange(-24, 24, dtype=np.int32).reshape(6, 8)[:, ::2]
    for array in (counts, strided):
        assert Samples(0, array).to_payload() == Samples(0, array.copy(order="C")).to_payload()
