"""Framing and integrity of the serial link: COBS byte stuffing and CRC-16/CCITT-FALSE.

COBS (Cheshire and Baker, IEEE/ACM Transactions on Networking 7(2), 1999) rewrites any bytes without the value
zero at a cost of one byte in 254, so that a zero byte can only be the end of a packet: whatever is lost or
garbled, the next zero is a place to start again. Both directions are pure functions of bytes.
"""

from binascii import crc_hqx

_BLOCK = 254  # data bytes that the longest block, code 0xFF, carries


class FramingError(ValueError):
    """Bytes that no COBS encoder writes."""


def cobs_encode(data: bytes) -> bytes:
    """Return `data` in COBS, without the zero that ends a packet; never holds a zero byte.

    Its length is at most `cobs_bound(len(data))`. Data that ends with a full block of 254 gets no empty block
    after it, as in the common implementations.
    """
    pieces: list[bytes] = []
    runs = data.split(b"\0")
    for run in runs:
        while len(run) >= _BLOCK:
            pieces += b"\xff", run[:_BLOCK]
            run = run[_BLOCK:]
        pieces += (len(run) + 1).to_bytes(1, "big"), run
    if not runs[-1] or len(runs[-1]) % _BLOCK:
        return b"".join(pieces)
    return b"".join(pieces[:-2])


def cobs_decode(encoded: bytes) -> bytes:
    """Return the data in `encoded`, a packet without its final zero.

    Raises FramingError when it is empty, holds a zero byte or ends inside a block.
    """
    end = len(encoded)
    if not end:
        raise FramingError("empty packet")
    if 0 in encoded:
        raise FramingError("a zero byte inside the packet")
    data = bytearray(encoded)
    joints = []  # where one block follows a full one: a code byte that stands for no zero
    at = 0
    while at < end:
        code = data[at]
        data[at] = 0
        at += code
        if code == _BLOCK + 1:
            joints.append(at)
    if at != end:
        raise FramingError("the packet ends inside a block")
    for joint in reversed(joints):
        del data[joint : joint + 1]
    return bytes(data[1:])


def cobs_bound(length: int) -> int:
    """Return the most bytes that COBS makes of `length` bytes, the final zero not counted."""
    return length + max(1, -(-length // _BLOCK))


def crc16(data: bytes) -> int:
    """Return CRC-16/CCITT-FALSE of `data`: polynomial 0x1021, start 0xFFFF, nothing reflected or inverted.

    Its check value, the CRC of b"123456789", is 0x29B1.
    """
    return crc_hqx(data, 0xFFFF)
