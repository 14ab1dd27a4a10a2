"""Test vectors that the codecs of all languages share; `python -m ecg_edge.firmware_bridge.protocol_vectors`.

It prints what `vectors/protocol_v1.json` holds. A change there that is not an addition is a change of the wire
format, and so wants a new version of it.
"""

import json
from dataclasses import asdict
from typing import Any

import numpy as np

from .framing import cobs_encode, crc16
from .protocol import (
    VERSION,
    Ack,
    Hello,
    Identify,
    Message,
    Result,
    Samples,
    SetRate,
    Start,
    State,
    Status,
    Stop,
    encode_packet,
    seal,
)

_BOARD = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")
_EXTREMES = [[-(2**23), 2**23 - 1], [-1, 0], [1, 256], [0x010203, -0x010203]]
_PACKETS: tuple[tuple[Message, int, int], ...] = (  # message, sequence number, device time
    (Identify(), 0, 0),
    (Start(), 1, 0),
    (Stop(), 0xFFFF, 2**64 - 1),
    (SetRate(500), 2, 1_000_000),
    (Ack(Start.TYPE, 1, Result.OK), 7, 1_234_567),
    (Ack(SetRate.TYPE, 2, Result.UNSUPPORTED), 8, 1_234_568),
    (Status(State.IDLE), 0, 0),
    (Status(State.STREAMING, 3, 3700), 51, 1_000_000),
    (Status(State.ENDED, 2**32 - 1, 65535), 52, 2_000_000),
    (Hello(500, 47_684, _BOARD, "demo 1.0"), 0, 0),
    (Hello(125, 1, (None,)), 0, 0),
    (Hello(65535, 2**32 - 1, (*_BOARD, *[None] * 8), "32 bytes of UTF-8 text; µ has 2"), 9, 10),
    (Samples(0, np.array([[1, -2]], np.int32)), 3, 0),
    (Samples(2**32 - 2, np.array(_EXTREMES, np.int32), 0b10), 4, 20_000),
    (Samples(10, np.arange(-40, 40, dtype=np.int32).reshape(10, 8) * 1001, 0x81), 5, 20_000),
    (Samples(20, np.full((12, 8), 0x111111, np.int32)), 6, 40_000),  # a run of over 254 bytes without a zero
)
_COBS = {
    "empty": b"",
    "one zero": b"\0",
    "two zeros": b"\0\0",
    "Cheshire and Baker 1999, figure 3": bytes.fromhex("4500002C4C79000040064F37"),
    "679 bytes 01 and a zero, as in figure 2": b"\x01" * 679 + b"\0",
    "253 bytes": bytes(range(1, 254)),
    "254 bytes, one full block": bytes(range(1, 255)),
    "255 bytes": bytes(range(1, 256)),
    "a zero, then a full block": bytes(range(255)),
    "a full block, then a zero": bytes(range(1, 255)) + b"\0",
    "508 bytes, two full blocks": b"\xff" * 508,
}
_NO_COBS = {"empty": b"", "zero inside": b"\x03\x11\x00", "ends inside a block": b"\x05\x11\x22"}
_HEADER = bytes.fromhex("01 00 0003 0000000000000004")
_NO_PACKETS = {  # name: packet, counter of LinkCounters
    "wrong checksum": (seal(_HEADER)[:-2] + b"\x01\0", "bad_crc"),
    "shorter than header and checksum": (seal(_HEADER[:11]), "bad_header"),
    "version 2": (seal(b"\2" + _HEADER[1:]), "other_version"),
    "type 7F": (seal(b"\1\x7f" + _HEADER[2:]), "other_type"),
    "START with a payload": (seal(b"\1\x11" + _HEADER[2:] + b"\0"), "bad_payload"),
    "STATUS in state 3": (seal(b"\1\3" + _HEADER[2:] + b"\3" + bytes(6)), "bad_payload"),
    "SAMPLES of no frame": (seal(b"\1\2" + _HEADER[2:] + bytes.fromhex("00000000 00 01 0000")), "bad_payload"),
    "SAMPLES of 17 channels": (seal(b"\1\2" + _HEADER[2:] + b"\0\0\0\0\1\x11\0\0" + bytes(51)), "bad_payload"),
    "SAMPLES cut short": (seal(b"\1\2" + _HEADER[2:] + bytes.fromhex("00000000 01 01 0000 1122")), "bad_payload"),
    "HELLO at 0 Hz": (seal(b"\1\1" + _HEADER[2:] + bytes.fromhex("0000 01 00000001 00 00")), "bad_payload"),
    "HELLO without all lead codes": (seal(b"\1\1" + _HEADER[2:] + b"\0\1\2\0\0\0\1\0"), "bad_payload"),
}
_CRC = (b"", b"\0", b"123456789", bytes(range(256)))


def vectors() -> dict[str, Any]:
    """Return the vectors as JSON types; bytes are hexadecimal, packets end with their zero."""
    return {
        "version": VERSION,
        "crc16": [{"data": data.hex(), "crc": crc16(data)} for data in _CRC],
        "cobs": [{"name": k, "data": d.hex(), "encoded": cobs_encode(d).hex()} for k, d in _COBS.items()],
        "cobs_invalid": [{"name": k, "encoded": d.hex()} for k, d in _NO_COBS.items()],
        "packets": [
            {
                "packet": encode_packet(message, sequence, time_us).hex(),
                "type": type(message).__name__,
                "sequence": sequence,
                "time_us": time_us,
                "fields": _fields(message),
            }
            for message, sequence, time_us in _PACKETS
        ],
        "packets_invalid": [
            {"name": name, "packet": packet.hex(), "counter": counter}
            for name, (packet, counter) in _NO_PACKETS.items()
        ],
    }


def text() -> str:
    """Return the vectors as the file holds them."""
    parts = []
    for key, value in vectors().items():
        lines = [json.dumps(item) for item in value] if isinstance(value, list) else None
        body = "[\n    " + ",\n    ".join(lines) + "\n  ]" if lines is not None else json.dumps(value)
        parts.append(f"  {json.dumps(key)}: {body}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _fields(message: Message) -> dict[str, Any]:
    values = asdict(message)
    if isinstance(message, Samples):
        values["counts"] = message.counts.tolist()
    return values


if __name__ == "__main__":
    print(text(), end="")
