"""The C codec against the host's: the same bytes for any message, the same packets and counters for any bytes."""

import json
import random
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ecg_edge.firmware_bridge.decoder import PacketDecoder
from ecg_edge.firmware_bridge.framing import FramingError, cobs_decode, cobs_encode, crc16
from ecg_edge.firmware_bridge.leads import LEADS, UNKNOWN_LEAD
from ecg_edge.firmware_bridge.protocol import (
    MAX_PACKET,
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
    max_frames,
    seal,
)

VECTORS = json.loads(
    (Path(__file__).resolve().parents[2] / "firmware_bridge" / "vectors" / "protocol_v1.json").read_text()
)
MESSAGES = 3_000
STREAMS = 20_000
CHUNK = 2_000  # streams a program takes at once

Run = Callable[[bytes], tuple[bytes, bytes]]


def hexadecimal(data: bytes) -> str:
    return data.hex() or "-"


def line(packet: Packet) -> str:
    """A packet as the C programs print and read it."""
    m, words = packet.message, [packet.message.TYPE, packet.sequence, packet.time_us]
    if isinstance(m, Hello):
        codes = bytes(UNKNOWN_LEAD if lead is None else LEADS.index(lead) for lead in m.leads)
        return " ".join(map(str, [*words, m.rate, m.pv_per_lsb, codes.hex(), hexadecimal(m.firmware.encode())]))
    if isinstance(m, Samples):
        words += [m.index, *m.counts.shape, m.lead_off]
        return " ".join(map(str, words)) + " " + m.to_payload()[8:].hex()
    return " ".join(map(str, [*words, *(int(v) for v in vars(m).values())]))


def normalized(c_line: str) -> str:
    """A line of the C decoder, with what the host does to a HELLO: other codes unnamed, text made valid UTF-8."""
    if not c_line.startswith(f"{Hello.TYPE} "):
        return c_line
    *words, codes, text = c_line.split(" ")
    known = bytes(code if code < len(LEADS) else UNKNOWN_LEAD for code in bytes.fromhex(codes))
    valid = b"" if text == "-" else bytes.fromhex(text).decode(errors="replace").encode()
    return " ".join([*words, known.hex(), hexadecimal(valid)])


def decoded(run: Run, streams: list[bytes], size: int = MAX_PACKET) -> list[list[str]]:
    """The C decoder's lines of each stream, the last being its counters."""
    data = b"".join(struct.pack("<II", len(s), size) + s for s in streams)
    found: list[list[str]] = [[]]
    for text in run(data)[0].decode().splitlines():
        found[-1].append(normalized(text))
        if text.startswith("counters"):
            found.append([])
    return found[:-1]


def reference(stream: bytes) -> list[str]:
    decoder = PacketDecoder()
    lines = [line(packet) for packet in decoder.feed(stream)]
    return [*lines, " ".join(["counters", *map(str, vars(decoder.counters).values())])]


def random_message(rng: random.Random) -> Message:
    def edge(bits: int) -> int:
        return rng.choice((0, 1, 255, 256, (1 << bits) - 1, rng.getrandbits(bits))) & (1 << bits) - 1

    kind = rng.randrange(10)
    if kind == 0:
        leads = tuple(rng.choice((*LEADS, None)) for _ in range(rng.randint(1, 16)))
        text = "".join(rng.choice("ab µ心\0") for _ in range(rng.randint(0, 10)))
        return Hello(max(edge(16), 1), max(edge(32), 1), leads, text)
    if kind < 5:
        channels = rng.randint(1, 16)
        frames = rng.choice((1, 2, 10, rng.randint(1, min(40, max_frames(channels)))))
        bits = rng.randint(1, 24)
        values = [rng.getrandbits(bits) - (1 << bits - 1) for _ in range(frames * channels)]
        return Samples(edge(32), np.array(values, np.int32).reshape(frames, channels), edge(channels))
    if kind == 5:
        return Status(State(rng.randrange(3)), edge(32), edge(16))
    if kind == 6:
        return Ack(edge(8), edge(16), Result(rng.randrange(3)))
    return rng.choice((Identify(), Start(), Stop(), SetRate(edge(16))))


def random_pool(rng: random.Random) -> list[tuple[int, bytes]]:
    """Types and payloads of messages, now and then with one of the largest packets."""
    messages = [random_message(rng) for _ in range(200)]
    if rng.random() < 0.2:
        channels = rng.choice((1, 16))
        messages.append(Samples(5, np.full((max_frames(channels), channels), rng.getrandbits(20), np.int32)))
    return [(m.TYPE, m.to_payload()) for m in messages]


def damaged(rng: random.Random, packet: bytes) -> bytes:
    """A packet with bits, bytes or its end changed."""
    data = bytearray(packet)
    at = rng.randrange(len(data))
    match rng.randrange(6):
        case 0:
            data[at] ^= 1 << rng.randrange(8)
        case 1:
            del data[at : at + rng.randint(1, 4)]
        case 2:
            data[at:at] = rng.randbytes(rng.randint(1, 4))
        case 3:
            data[at] = 0
        case 4:
            del data[at:]
        case 5:
            data[at : at + 3] = rng.randbytes(3)
    return bytes(data)


def random_stream(rng: random.Random, pool: list[tuple[int, bytes]]) -> bytes:
    """Packets in and out of order, doubled, late, damaged, malformed, and bytes that are none."""
    pieces: list[bytes] = []
    sequence, time_us = rng.choice((0, 65530, rng.getrandbits(16))), rng.choice((0, 10**7, 2**64 - 10**7))
    kept: list[bytes] = []
    for _ in range(rng.choice((1, 3, 6, 6, 6, 12, 90) if rng.random() < 0.1 else (1, 3, 6))):
        fate = rng.random()
        if fate < 0.08:
            sequence += rng.choice((1, 2, 63, 64, 65, 66, 1000, 32766, 32767, 32768, 40000, 65472))
        elif fate < 0.11:
            time_us = rng.choice((0, time_us - 999_999, time_us - 1_000_001, time_us + 10**9))
        time_us = max(0, min(time_us + rng.randrange(40_000), 2**64 - 1))
        kind, payload = rng.choice(pool)
        packet = seal(struct.pack(">BBHQ", 1, kind, sequence & 0xFFFF, time_us) + payload)
        sequence += 1
        fate = rng.random()
        if fate < 0.1:
            packet = damaged(rng, packet)
        elif fate < 0.14:
            kept.append(packet)
            continue
        elif fate < 0.18 and kept:
            packet += kept.pop(rng.randrange(len(kept)))
        elif fate < 0.22 and pieces:
            packet += rng.choice(pieces[-70:])
        elif fate < 0.30:
            kind = rng.choice((0, 1, 2, 3, 0x10, 0x11, 0x13, 0x1F, 0x7F))
            head = struct.pack(">BBHQ", rng.choice((1, 1, 1, 2)), kind, sequence & 0xFFFF, time_us)
            packet = seal((head + rng.randbytes(rng.choice((0, 1, 2, 4, 7, 8, 9, 11, 20))))[: rng.randint(8, 40)])
        elif fate < 0.33:
            packet = seal(
                struct.pack(">BBHQIBBH", 1, 2, sequence & 0xFFFF, time_us, 1, 1, 1, rng.getrandbits(16)) + b"abc"
            )
        elif fate < 0.35:
            packet = rng.randbytes(rng.randint(0, 40))
        elif fate < 0.352:
            packet = b"\x01" * rng.choice((MAX_PACKET - 1, MAX_PACKET, MAX_PACKET + 1, 9000)) + b"\0"
        pieces.append(packet)
    return b"".join(pieces)


def assert_streams(run: Run, streams: list[bytes]) -> None:
    for stream, found in zip(streams, decoded(run, streams), strict=True):
        assert found == reference(stream), stream.hex()


# The shared vectors -------------------------------------------------------------------------------------------


def test_framing_vectors(c_anywhere: Callable[..., Run]) -> None:
    datas = [bytes.fromhex(v["data"]) for v in VECTORS["crc16"] + VECTORS["cobs"]]
    output = c_anywhere("framing")(b"".join(struct.pack("<I", len(d)) + d for d in datas))[0].decode().splitlines()
    for vector, text in zip(VECTORS["crc16"], output, strict=False):
        assert int(text.split()[0], 16) == vector["crc"]
    for vector, text in zip(VECTORS["cobs"], output[len(VECTORS["crc16"]) :], strict=True):
        assert text.split(" ")[1:3] == [vector["encoded"]] * 2
    encoded = [bytes.fromhex(v["encoded"]) for v in VECTORS["cobs"] + VECTORS["cobs_invalid"]]
    output = c_anywhere("framing")(b"".join(struct.pack("<I", len(d)) + d for d in encoded))[0].decode().splitlines()
    expected = [v["data"] for v in VECTORS["cobs"]] + ["error"] * len(VECTORS["cobs_invalid"])
    assert [text.split(" ")[3] for text in output] == expected


def test_packet_vectors(c_anywhere: Callable[..., Run]) -> None:
    packets = [bytes.fromhex(v["packet"]) for v in VECTORS["packets"]]
    lines = [found[0] for found in decoded(c_anywhere("decode"), packets)]
    assert lines == [reference(packet)[0] for packet in packets]
    for text, vector in zip(lines, VECTORS["packets"], strict=True):
        assert text.split(" ")[1:3] == [str(vector["sequence"]), str(vector["time_us"])]
    written = c_anywhere("encode")("\n".join(lines).encode() + b"\n")[0].decode().split()
    assert written == [v["packet"] for v in VECTORS["packets"]]


def test_another_polynomial_of_the_crc_is_noticed(c_anywhere: Callable[..., Run], c_with_change: Callable) -> None:
    run = c_anywhere("decode", c_with_change("ecg_crc.c", "(x << 12)", "(x << 11)"))
    packet = VECTORS["packets"][0]["packet"]
    with pytest.raises(AssertionError, match=packet):
        assert_streams(run, [bytes.fromhex(packet)])


def test_invalid_packet_vectors(c_anywhere: Callable[..., Run]) -> None:
    packets = [bytes.fromhex(v["packet"]) for v in VECTORS["packets_invalid"]]
    assert_streams(c_anywhere("decode"), packets)
    for found in decoded(c_anywhere("decode"), packets):
        assert len(found) == 1


# Anything -----------------------------------------------------------------------------------------------------


def test_cobs_and_crc_of_random_bytes(c_program: Callable[..., Run]) -> None:
    rng = random.Random(1)
    lengths = [*range(6), 253, 254, 255, 507, 508, 509, 4095] * 20 + [rng.randint(0, 600) for _ in range(800)]
    datas = [
        bytes(rng.choice((0, 1, 7, 255)) if rng.random() < d else 9 for _ in range(n))
        for n in lengths
        for d in (0, 0.02, 1)
    ]
    output = c_program("framing")(b"".join(struct.pack("<I", len(d)) + d for d in datas))[0].decode().splitlines()
    for data, text in zip(datas, output, strict=True):
        try:
            back = cobs_decode(data).hex()
        except FramingError:
            back = "error"
        assert text.split(" ") == [f"{crc16(data):04x}", *[cobs_encode(data).hex()] * 2, back]


def test_random_messages_both_ways(c_program: Callable[..., Run], c_scale: int) -> None:
    rng = random.Random(2)
    for _ in range(c_scale):
        packets = [Packet(rng.getrandbits(16), rng.getrandbits(64), random_message(rng)) for _ in range(MESSAGES)]
        wire = [encode_packet(p.message, p.sequence, p.time_us) for p in packets]
        lines = [line(p) for p in packets]
        assert [found[0] for found in decoded(c_program("decode"), wire)] == lines
        assert c_program("encode")("\n".join(lines).encode() + b"\n")[0].decode().split() == [w.hex() for w in wire]


def test_random_streams_give_the_same_packets_and_counters(c_program: Callable[..., Run], c_scale: int) -> None:
    for seed in range(c_scale * STREAMS // CHUNK):
        rng = random.Random(seed)
        pool = random_pool(rng)
        assert_streams(c_program("decode"), [random_stream(rng, pool) for _ in range(CHUNK)])


def test_some_random_streams(c_anywhere: Callable[..., Run]) -> None:
    rng = random.Random(4)
    pool = random_pool(rng)
    assert_streams(c_anywhere("decode"), [random_stream(rng, pool) for _ in range(200)])


def test_a_long_stream_of_late_doubled_and_missing_packets(c_program: Callable[..., Run]) -> None:
    rng = random.Random(3)
    order = sorted(range(70_000), key=lambda k: k + rng.choice((0, 0, 0, 0, rng.randint(0, 90))))
    packets = [encode_packet(Start(), k & 0xFFFF, k * 1000) for k in order if rng.random() < 0.95]
    packets = [p * rng.choice((1, 1, 1, 2)) for p in packets]
    assert_streams(c_program("decode"), [b"".join(packets)])


@pytest.mark.parametrize("wanted", [Start(), SetRate(500), Samples(7, np.array([[1, 2]], np.int32))])
def test_a_crc_that_ends_in_zero_cannot_be_cut_off(c_program: Callable[..., Run], wanted: Message) -> None:
    """Such a packet passes the CRC without its last byte too; only the exact length tells."""
    times = [t for t in range(3000) if cobs_decode(encode_packet(wanted, 1, t)[:-1]).endswith(b"\0")][:5]
    assert times
    streams = [cobs_encode(cobs_decode(encode_packet(wanted, 1, t)[:-1])[:-1]) + b"\0" for t in times]
    for found in decoded(c_program("decode"), streams):
        assert len(found) == 1
    assert_streams(c_program("decode"), streams)


def test_a_small_buffer_drops_what_does_not_fit_and_nothing_else(c_program: Callable[..., Run]) -> None:
    long = encode_packet(Samples(0, np.full((10, 8), 1, np.int32)), 1, 0)
    start, rate = encode_packet(Start(), 0, 0), encode_packet(SetRate(500), 2, 0)
    size = max(len(start), len(rate)) - 1
    (found,) = decoded(c_program("decode"), [start + long + rate], size)
    assert found[:-1] == [*reference(start)[:-1], *reference(rate)[:-1]]
    assert found[-1].split()[2:9] == ["2", "0", "0", "0", "0", "1", "0"]


@pytest.mark.parametrize(
    "text",
    [
        "1 0 0 0 1 00 -",  # HELLO at 0 Hz
        "1 0 0 500 0 00 -",  # without a gain
        "1 0 0 500 1 - -",  # without channels
        f"1 0 0 500 1 {'00' * 17} -",
        "1 0 0 500 1 0c -",  # a lead code that does not exist
        f"1 0 0 500 1 00 {'61' * 33}",
        "2 0 0 0 0 1 0 -",  # SAMPLES of no frame
        "2 0 0 0 1 0 0 -",
        "2 0 0 0 1 17 0 -",
        "2 0 0 0 1 1 2 010101",  # a mask bit beyond the channels
        f"2 0 0 0 {max_frames(16) + 1} 16 0 -",
        "3 0 0 3 0 0",
        "31 0 0 17 1 3",
        "126 0 0",
    ],
)
def test_what_does_not_fit_is_refused(c_program: Callable[..., Run], text: str) -> None:
    assert c_program("encode")(text.encode() + b"\n")[0].split() == [b"refused"]
