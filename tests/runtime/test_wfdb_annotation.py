"""Annotation files against wfdb's reader and writer, worked words, and damage."""

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecg_edge.firmware_bridge.errors import EcgEdgeError
from ecg_edge.runtime.sources.wfdb_annotation import (
    Annotation,
    AnnotationError,
    Annotations,
    decode,
    encode,
    read_annotations,
    write_annotations,
)

SYMBOLS = list('NLRaVFJASEj/Q~|sT*D"=pB^t+u?![]en@xf()r')
LISTS = st.lists(
    st.builds(
        Annotation,
        sample=st.integers(1, 10**7),
        symbol=st.sampled_from(SYMBOLS),
        subtype=st.integers(-128, 127),
        chan=st.integers(0, 255),
        num=st.integers(-128, 127),
        aux=st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20),
    ),
    min_size=1,
    max_size=30,
).map(lambda entries: sorted(entries, key=lambda a: a.sample))
MIXED = [
    Annotation(18, "+", aux="(N"),
    Annotation(77, "N", num=3),
    Annotation(77, "V", subtype=-1, chan=1, num=3, aux="(VT"),
    Annotation(1100, "[", chan=1, num=4),
    Annotation(2124, "]"),
    Annotation(5_000_000, "~", subtype=3, chan=255),
]


def assert_same(ours: Annotations, theirs: object) -> None:
    """Compare every field with what wfdb read."""
    t = vars(theirs)
    assert [a.sample for a in ours.entries] == t["sample"].tolist()
    assert [a.symbol for a in ours.entries] == t["symbol"]
    assert [a.subtype for a in ours.entries] == t["subtype"].tolist()
    assert [a.chan for a in ours.entries] == t["chan"].tolist()
    assert [a.num for a in ours.entries] == t["num"].tolist()
    assert [a.aux for a in ours.entries] == [text.rstrip("\0") for text in t["aux_note"]]


def write_with_wfdb(wfdb: ModuleType, folder: Path, entries: list[Annotation], rate: float | None) -> bytes:
    wfdb.wrann(
        "r", "atr", np.array([a.sample for a in entries]), [a.symbol for a in entries], fs=rate, write_dir=str(folder),
        subtype=np.array([a.subtype for a in entries]), chan=np.array([a.chan for a in entries]),
        num=np.array([a.num for a in entries]), aux_note=[a.aux for a in entries],
    )  # fmt: skip
    return (folder / "r.atr").read_bytes()


@pytest.mark.parametrize("rate", [None, 360, 128.5])
def test_bytes_are_those_that_wfdb_writes(wfdb: ModuleType, tmp_path: Path, rate: float | None) -> None:
    theirs = write_with_wfdb(wfdb, tmp_path, MIXED, rate)
    assert encode(MIXED, rate) == theirs
    ours = read_annotations(tmp_path / "r")
    assert ours == Annotations(tuple(MIXED), rate)
    assert_same(ours, wfdb.rdann(str(tmp_path / "r"), "atr"))


def test_every_symbol_and_custom_labels_as_wfdb_writes_them(wfdb: ModuleType, tmp_path: Path) -> None:
    samples = np.arange(1, len(SYMBOLS) + 3) * 700
    symbols = [*SYMBOLS, "U", "N"]
    wfdb.wrann(
        "r", "qrs", samples, symbols, fs=500, write_dir=str(tmp_path),
        custom_labels=[(42, "U", "rising edge"), (43, "d", "falling edge")],
    )  # fmt: skip
    ours = read_annotations(tmp_path / "r.dat", "qrs")
    assert [a.symbol for a in ours.entries] == symbols
    assert [a.sample for a in ours.entries] == samples.tolist()
    assert ours.descriptions == {"U": "rising edge", "d": "falling edge"}
    assert ours.rate == 500


@given(LISTS, st.sampled_from([None, 250.0, 128.5]))
def test_decode_inverts_encode(entries: list[Annotation], rate: float | None) -> None:
    assert decode(encode(entries, rate)) == Annotations(tuple(entries), rate)


def test_unsorted_far_and_unnamed_annotations_survive() -> None:
    entries = (Annotation(5_000_000_000, "N"), Annotation(-7, "V"), Annotation(0, "[15]"), Annotation(0, '"', aux="hi"))
    assert decode(encode(entries)).entries == entries


def test_words_by_hand() -> None:
    """annot(5)'s example words: 18 samples on, code 28 with text; SKIP of 1,000,000; end."""
    words = bytes.fromhex("1270 03fc 28 4e 00 00 00ec 0f00 4042 0504 0000".replace(" ", ""))
    assert decode(words).entries == (Annotation(18, "+", aux="(N"), Annotation(1_000_023, "N"))


def test_what_follows_the_end_mark_is_not_read() -> None:
    assert decode(encode(MIXED) + b"\xff\xff\xff") == Annotations(tuple(MIXED))
    assert decode(b"\0\0").entries == ()


@pytest.mark.parametrize("cut", range(1, 60))
def test_cut_files_are_refused(cut: int) -> None:
    with pytest.raises(AnnotationError, match=r"without an end mark; fetch it again|where an annotation should start"):
        decode(encode(MIXED)[:-cut])


@given(st.binary(max_size=80))
def test_any_bytes_decode_or_are_refused(data: bytes) -> None:
    try:
        annotations = decode(data)
    except EcgEdgeError as error:
        lines = str(error).splitlines()
        assert len(lines) == 1
        return
    if not annotations.descriptions:
        assert decode(encode(annotations.entries)).entries == annotations.entries


@pytest.mark.parametrize(
    ("annotation", "says"),
    [
        (Annotation(1, "nope"), "no annotation code for symbol 'nope'"),
        (Annotation(1, "[50]"), "no annotation code"),
        (Annotation(1, "N", subtype=128), "subtype 128 at sample 1"),
        (Annotation(1, "N", chan=-1), "chan -1"),
        (Annotation(1, "N", num=-129), "num -129"),
        (Annotation(1, "N", aux="x" * 256), "text of 256 bytes"),
        (Annotation(1, "N", aux="α"), "beyond Latin-1"),
        (Annotation(2**41, "N"), "beyond any recording"),
    ],
)
def test_what_the_format_cannot_hold_is_refused(annotation: Annotation, says: str) -> None:
    with pytest.raises(AnnotationError) as caught:
        encode([annotation])
    assert says in str(caught.value)


def test_files(tmp_path: Path) -> None:
    file = write_annotations(tmp_path / "r.hea", MIXED, "qrs")
    assert file == tmp_path / "r.qrs"
    assert read_annotations(tmp_path / "r", "qrs").entries == tuple(MIXED)
    with pytest.raises(AnnotationError, match="no annotations at"):
        read_annotations(tmp_path / "r")
    with pytest.raises(AnnotationError, match="cannot write"):
        write_annotations(tmp_path / "none" / "r", MIXED)
    (tmp_path / "folder.atr").mkdir()
    with pytest.raises(AnnotationError, match="cannot read"):
        read_annotations(tmp_path / "folder")


@pytest.mark.parametrize("folder", ["mitdb", "vfdb", "cpsc2021"])
def test_real_annotations_as_wfdb_reads_them(data_dir: Path, wfdb: ModuleType, folder: str) -> None:
    paths = sorted((data_dir / folder).glob("*.atr"))
    assert paths
    for path in paths:
        record = path.with_suffix("")
        theirs = wfdb.rdann(str(record), "atr")
        ours = read_annotations(record)
        assert ours.entries
        assert_same(ours, theirs)
        assert decode(encode(ours.entries)).entries == ours.entries
