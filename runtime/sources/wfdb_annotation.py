"""WFDB annotation files in the MIT format (`.atr` and its kin): the bytes into dataclasses, and back.

A file is 16-bit words, low byte first: 6 bits of code, 10 bits of value. A code below 50 is an annotation and its
value the samples since the one before. Codes above belong to the annotation that they follow, except SKIP:

    59 SKIP  a 32-bit interval in the next two words (high word first) comes before the next annotation
    60 NUM   its `num`, which holds for those that follow        61 SUB  its `subtype`
    62 CHN   its `chan`, which holds for those that follow       63 AUX  value bytes of text, padded to whole words
    a word of zero ends the file

Source: annot(5) of the WFDB Applications Guide; symbols and codes from its ecgcodes.h. Notes at sample 0 that start
with `##` describe the file: the time resolution, and codes with a meaning of their own.
"""

import re
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ecg_edge.firmware_bridge.errors import EcgEdgeError

from .wfdb_header import reason, record_path, short, with_suffix

# ecgcodes.h; a blank is a code without a standard meaning, which is shown as [code].
_SYMBOLS = ' NLRaVFJASEj/Q~ | sT*D"=pB^t+u?![]en@xf()r'
_SYMBOL_OF = {code: symbol for code, symbol in enumerate(_SYMBOLS) if symbol != " "}
_CODE_OF = {symbol: code for code, symbol in _SYMBOL_OF.items()}
_ACMAX = 49  # greatest code of an annotation, ecgcodes.h
_NOTE = 22
_SKIP, _NUM, _SUB, _CHN, _AUX = 59, 60, 61, 62, 63
_WORD_LIMIT = 1023  # samples that fit the 10 bits of an annotation's own word
_SAMPLE_LIMIT = 2**40  # 34 years at 1 kHz; keeps the number of SKIP words in bounds
_AUX_LIMIT = 255  # bytes: the length is one byte
_RESOLUTION = re.compile(r"## time resolution: (\d+\.?\d*)", re.ASCII)
_DEFINITION = re.compile(r"(\d{1,2}) (\S+) (.+)", re.ASCII)
_DEFINITIONS, _END_OF_DEFINITIONS = "## annotation type definitions", "## end of definitions"


class AnnotationError(EcgEdgeError):
    """An annotation file that is missing or damaged, or an annotation that the format cannot hold."""


@dataclass(frozen=True)
class Annotation:
    """One annotation."""

    sample: int
    """Sample from the start of the record, at the annotations' own rate where the file gives one."""
    symbol: str
    """Symbol: `N`, `V`, `+`, ...; `[code]` for a code without one."""
    subtype: int = 0
    """Subtype, -128 to 127."""
    chan: int = 0
    """Signal that it was made on, 0 to 255."""
    num: int = 0
    """Number with the meaning that the annotator gives it, -128 to 127."""
    aux: str = ""
    """Text, such as the rhythm `(AFIB`; zero bytes at its end are left out."""


@dataclass(frozen=True)
class Annotations:
    """What an annotation file holds."""

    entries: tuple[Annotation, ...] = ()
    """Annotations in file order, which is time order in every file that follows the format."""
    rate: float | None = None
    """Samples per second in which `entries` count, None where the file says nothing: the record's rate then."""
    descriptions: dict[str, str] = field(default_factory=dict)
    """Meaning of the symbols that the file itself defines."""


def read_annotations(path: str | Path, extension: str = "atr") -> Annotations:
    """Return the annotations of the record at `path` (with or without suffix); raises AnnotationError."""
    file = with_suffix(record_path(path), extension)
    try:
        data = file.read_bytes()
    except FileNotFoundError:
        raise AnnotationError(f"no annotations at {file}; check the record's path and the extension") from None
    except (OSError, ValueError) as error:
        raise AnnotationError(f"cannot read {file}: {reason(error)}; check the path and its permissions") from None
    return decode(data, source=str(file))


def write_annotations(
    path: str | Path, annotations: Iterable[Annotation], extension: str = "atr", rate: float | None = None
) -> Path:
    """Write `annotations` for the record at `path` and return the file; raises AnnotationError.

    rate: samples per second in which they count, for a file whose record has another one.
    """
    file = with_suffix(record_path(path), extension)
    data = encode(annotations, rate)
    try:
        file.write_bytes(data)
    except (OSError, ValueError) as error:
        raise AnnotationError(f"cannot write {file}: {reason(error)}; choose another folder or free space") from None
    return file


def decode(data: bytes, source: str = "annotation file") -> Annotations:
    """Return what the bytes of an annotation file say; raises AnnotationError naming `source` for damaged ones."""
    words = struct.unpack(f"<{len(data) // 2}H", data[: len(data) // 2 * 2])
    raw: list[tuple[int, int, int, int, int, str]] = []  # sample, code, subtype, chan, num, aux
    sample = chan = num = 0
    at = 0

    def need(count: int) -> None:
        if at + count > len(words):
            raise AnnotationError(f"{source}: ends after {len(raw)} annotations without an end mark; fetch it again")

    while True:
        need(1)
        code, value = words[at] >> 10, words[at] & 0x3FF
        if words[at] == 0:
            break
        at += 1
        if code == _SKIP:
            need(2)
            interval = words[at] << 16 | words[at + 1]
            sample += interval - (1 << 32) * (interval >> 31)
            at += 2
            continue
        if code > _ACMAX:
            raise AnnotationError(
                f"{source}: code {code} at byte {2 * at - 2} where an annotation should start; "
                "check that it is an annotation file, or fetch it again"
            )
        sample += value
        subtype, aux = 0, ""
        while at < len(words) and words[at] >> 10 > _SKIP:
            extra, value = words[at] >> 10, words[at] & 0xFF
            at += 1
            if extra == _SUB:
                subtype = _signed(value)
            elif extra == _CHN:
                chan = value
            elif extra == _NUM:
                num = _signed(value)
            else:
                need((value + 1) // 2)
                aux = data[2 * at : 2 * at + value].rstrip(b"\0").decode("latin-1")
                at += (value + 1) // 2
        raw.append((sample, code, subtype, chan, num, aux))
    return _interpret(raw)


def _interpret(raw: Sequence[tuple[int, int, int, int, int, str]]) -> Annotations:
    rate: float | None = None
    symbols = dict(_SYMBOL_OF)
    descriptions: dict[str, str] = {}
    defining = False
    entries: list[Annotation] = []
    for sample, code, subtype, chan, num, aux in raw:
        if sample == 0 and code == _NOTE and (defining or aux.startswith("## ")):
            if match := _RESOLUTION.match(aux):
                rate = float(match[1]) or None
            elif defining and (match := _DEFINITION.fullmatch(aux)):
                symbols[int(match[1])] = match[2]
                descriptions[match[2]] = match[3]
            defining = aux != _END_OF_DEFINITIONS and (defining or aux == _DEFINITIONS)
        elif code:  # code 0 only moves the time
            entries.append(Annotation(sample, symbols.get(code, f"[{code}]"), subtype, chan, num, aux))
    return Annotations(tuple(entries), rate, descriptions)


def encode(annotations: Iterable[Annotation], rate: float | None = None) -> bytes:
    """Return the bytes of an annotation file; raises AnnotationError for what the format cannot hold.

    rate: samples per second in which the annotations count, written as a note at the start; None leaves it out.
    """
    out = bytearray()
    if rate is not None:
        text = str(int(rate)) if float(rate).is_integer() else repr(float(rate))
        out += _word(_NOTE, 0) + _text(f"## time resolution: {text}")
        out += _skip(-1) + _word(0, 1)  # ends the notes that describe the file, annot(5)
    before = chan = num = 0
    for a in annotations:
        code = _code(a)
        for what, value, low in (("subtype", a.subtype, -128), ("num", a.num, -128), ("chan", a.chan, 0)):
            if not low <= value <= low + 255:
                raise AnnotationError(
                    f"{what} {value} at sample {a.sample} does not fit its byte; use {low} to {low + 255}"
                )
        if abs(a.sample) > _SAMPLE_LIMIT:
            raise AnnotationError(f"sample {a.sample:.3g} lies beyond any recording; use sample numbers of the record")
        interval = a.sample - before
        while not 0 <= interval <= _WORD_LIMIT:
            step = max(-(2**31), min(interval, 2**31 - 1))
            out += _skip(step)
            interval -= step
        out += _word(code, interval)
        if a.num != num:
            out += _word(_NUM, a.num & 0xFF)
        if a.subtype:
            out += _word(_SUB, a.subtype & 0xFF)
        if a.chan != chan:
            out += _word(_CHN, a.chan)
        if a.aux:
            out += _text(a.aux)
        before, chan, num = a.sample, a.chan, a.num
    return bytes(out + _word(0, 0))


def _code(annotation: Annotation) -> int:
    symbol = annotation.symbol
    if match := re.fullmatch(r"\[(\d{1,2})\]", symbol, re.ASCII):
        code = int(match[1])
        if 1 <= code <= _ACMAX:
            return code
    elif symbol in _CODE_OF:
        return _CODE_OF[symbol]
    raise AnnotationError(
        f"no annotation code for symbol {short(symbol)}; use one of {' '.join(_CODE_OF)} or [1] to [{_ACMAX}]"
    )


def _word(code: int, value: int) -> bytes:
    return struct.pack("<H", code << 10 | value)


def _skip(interval: int) -> bytes:
    interval &= 0xFFFFFFFF
    return _word(_SKIP, 0) + struct.pack("<HH", interval >> 16, interval & 0xFFFF)


def _text(text: str) -> bytes:
    try:
        data = text.encode("latin-1")
    except UnicodeEncodeError:
        raise AnnotationError(f"text {short(text)} has characters beyond Latin-1; write them in ASCII") from None
    if len(data) > _AUX_LIMIT:
        raise AnnotationError(f"text of {len(data)} bytes, {short(text)}; shorten it to {_AUX_LIMIT}")
    return _word(_AUX, len(data)) + data + b"\0" * (len(data) % 2)


def _signed(byte: int) -> int:
    return byte - 256 * (byte >> 7)
