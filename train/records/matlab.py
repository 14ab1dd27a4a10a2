"""One matrix out of a struct in a MATLAB 5 file, and nothing else of that format.

A file is 128 bytes of header, then elements of a type, a size and that many bytes; a variable is an element of
sub-elements: flags, dimensions, name, contents. Source: The MathWorks, MAT-File Format, "Level 5". SciPy's reader is
the oracle of the tests and not used here, since a damaged file can end its process (version 1.17: a segmentation
fault at flipped bytes in the tags), which no program can catch.
"""

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ecg_edge.firmware_bridge.errors import EcgEdgeError

SIZE_LIMIT = 2**26  # bytes, packed and unpacked; the longest recording of CPSC 2018, 144 s in doubles, takes 7 MB

_HEADER_BYTES = 128
_MATRIX, _COMPRESSED = 14, 15
_STRUCT_CLASS = 2
_COMPLEX_FLAG = 0x0800
_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_NUMERIC_CLASSES = range(6, 16)  # double, single, and the integers


class MatlabFileError(EcgEdgeError):
    """A file without the matrix that was asked for."""


def read_matrix(path: Path, variable: str, field: str) -> npt.NDArray[np.float64]:
    """Return the real matrix `variable.field` of the file at `path`, float64 (rows, columns).

    Raises MatlabFileError, and nothing else, whatever the file holds.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(SIZE_LIMIT + 1)
        if len(data) > SIZE_LIMIT:
            raise ValueError(f"more than {SIZE_LIMIT >> 20} MB")
        return _Reader(data).matrix(variable, field)
    except OSError as error:
        raise MatlabFileError(f"cannot read {path}: {error.strerror or error}") from None
    except (ValueError, struct.error, zlib.error) as error:
        raise MatlabFileError(f"{path} holds no matrix {variable}.{field} ({error}): fetch it again") from None


class _Reader:
    """The elements of one file; everything raises ValueError, struct.error or zlib.error at damage."""

    def __init__(self, data: bytes) -> None:
        orders = {b"IM": "<", b"MI": ">"}
        if data[126:128] not in orders:
            raise ValueError("not a MATLAB 5 file")
        self._order = orders[data[126:128]]
        self._data = memoryview(data)[_HEADER_BYTES:]

    def matrix(self, variable: str, field: str) -> npt.NDArray[np.float64]:
        for kind, body in self._elements(self._data):
            if kind == _COMPRESSED:
                unpacked = zlib.decompressobj().decompress(body, SIZE_LIMIT)
                kind, body = next(self._elements(memoryview(unpacked)), (0, body))
            if kind == _MATRIX:
                flags, _, name, rest = self._variable(body)
                if name == variable and flags & 0xFF == _STRUCT_CLASS:
                    return self._numbers(self._field(rest, field))
        raise ValueError("no such variable")

    def _elements(self, data: memoryview) -> Iterator[tuple[int, memoryview]]:
        at = 0
        while at < len(data):
            kind, size = struct.unpack_from(self._order + "II", data, at)
            begin, end = at + 8, at + 8 + size
            at = end + (-size % 8 if kind != _COMPRESSED else 0)
            if kind >> 16:  # a small element: size, type and up to four bytes in eight
                kind, size, begin, at = kind & 0xFFFF, kind >> 16, begin - 4, begin
                end = begin + size
                if size > 4:
                    raise ValueError("a small element of more than four bytes")
            if end > len(data):
                raise ValueError("it is cut short")
            yield kind, data[begin:end]

    def _variable(self, body: memoryview) -> tuple[int, list[int], str, Iterator[tuple[int, memoryview]]]:
        """Return flags, dimensions, name, and the elements that follow."""
        elements = self._elements(body)
        head = [part for _, (_, part) in zip(range(3), elements, strict=False)]
        if len(head) < 3 or len(head[0]) != 8 or len(head[1]) % 4:
            raise ValueError("a variable without flags, dimensions and name")
        (flags,) = struct.unpack_from(self._order + "I", head[0])
        dimensions = list(struct.unpack(f"{self._order}{len(head[1]) // 4}i", head[1]))
        return flags, dimensions, bytes(head[2]).decode("latin-1"), elements

    def _field(self, elements: Iterator[tuple[int, memoryview]], field: str) -> memoryview:
        """Return the matrix in `field` of a struct's first element."""
        parts = [part for _, (_, part) in zip(range(2), elements, strict=False)]
        if len(parts) < 2 or len(parts[0]) != 4:
            raise ValueError("a struct without fields")
        (width,) = struct.unpack(self._order + "i", parts[0])
        if width < 1:
            raise ValueError("a struct without fields")
        names = [bytes(parts[1][k : k + width]).partition(b"\0")[0] for k in range(0, len(parts[1]), width)]
        for name, (kind, body) in zip(names, elements, strict=False):
            if name == field.encode() and kind == _MATRIX:
                return body
        raise ValueError("no such field")

    def _numbers(self, body: memoryview) -> npt.NDArray[np.float64]:
        flags, dimensions, _, elements = self._variable(body)
        kind, part = next(elements, (0, body))
        if flags & 0xFF not in _NUMERIC_CLASSES or flags & _COMPLEX_FLAG or kind not in _NUMBERS:
            raise ValueError("not real numbers")
        values = np.frombuffer(part, self._order + _NUMBERS[kind])  # ValueError for a part of a number
        rows, columns = dimensions  # ValueError for other than two
        if min(rows, columns) < 0:
            raise ValueError("negative dimensions")
        return values.reshape((rows, columns), order="F").astype(np.float64)
