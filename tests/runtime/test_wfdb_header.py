"""WFDB headers against wfdb's own parser, worked examples, and damage."""

from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ecg_edge.firmware_bridge.errors import EcgEdgeError
from ecg_edge.runtime.sources.wfdb_header import (
    Header,
    HeaderError,
    Segment,
    SignalSpec,
    format_header,
    parse_header,
    read_header,
    record_path,
)

PTBXL = "00001_lr 12 100 1000\n" + "".join(
    f"00001_lr.dat 16 1000.0(0)/mV 16 0 {i - 6} {64000 + i} 0 {name}\n"
    for i, name in enumerate(("I", "II", "III", "AVR", "AVL", "AVF", "V1", "V2", "V3", "V4", "V5", "V6"))
)
CHALLENGE = (
    "A0001.mat 2 500 7500 12-May-2020 12:33:59\n"
    "A0001.mat 16+24 1000/mV 16 0 28 -1716 0 I\n"
    "A0001.mat 16+24 1000/mV 16 0 7 2029 0 II\n"
    "#Age: 74\n#Sex: Male\n# Dx: 59118001,426783006\n"
)
HOLTER = (
    "data_101_6 2 200 22355\n"
    "data_101_6.dat 16 30061.276794035417(-161790)/mV 16 0 -10581 64292 0 I\n"
    "data_101_6.dat 16 27477.561608300908(-138693)/mV 16 0 -1992 36235 0 II\n"
    "# paroxysmal atrial fibrillation\n"
)
REAL = (PTBXL, CHALLENGE, HOLTER)


def only_signal(line: str) -> SignalSpec:
    return parse_header(f"r 1\n{line}\n").signals[0]


def test_challenge_header() -> None:
    header = parse_header(CHALLENGE)
    assert (header.name, header.rate, header.samples) == ("A0001.mat", 500.0, 7500)
    assert header.signals[1] == SignalSpec(
        "A0001.mat", 16, byte_offset=24, gain=1000.0, adc_bits=16, initial=7, checksum=2029, name="II"
    )
    assert header.comments == ("Age: 74", "Sex: Male", "Dx: 59118001,426783006")


def test_fractional_gain_and_large_baseline() -> None:
    signal = parse_header(HOLTER).signals[0]
    assert (signal.gain, signal.baseline, signal.units) == (30061.276794035417, -161790, "mV")


def test_carriage_returns_blanks_and_byte_order_mark_change_nothing(tmp_path: Path) -> None:
    damaged = "\n\n" + CHALLENGE.replace("\n", "  \t\n")
    assert parse_header(damaged) == parse_header(CHALLENGE)
    (tmp_path / "r.hea").write_bytes(b"\xef\xbb\xbf" + CHALLENGE.replace("\n", "\r\n").encode())
    assert read_header(tmp_path / "r") == parse_header(CHALLENGE)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("r.dat 16", SignalSpec("r.dat", 16)),
        ("r.dat 212 200", SignalSpec("r.dat", 212, gain=200.0)),
        ("r.dat 212 200/uV", SignalSpec("r.dat", 212, gain=200.0, units="uV")),
        ("r.dat 212 200 11 1024", SignalSpec("r.dat", 212, gain=200.0, baseline=1024, adc_bits=11, adc_zero=1024)),
        ("r.dat 212 200(5) 11 1024", SignalSpec("r.dat", 212, gain=200.0, baseline=5, adc_bits=11, adc_zero=1024)),
        ("r.dat 16 1e3/mV lead  V1", SignalSpec("r.dat", 16, gain=1000.0, name="lead  V1")),
        ("r.dat 16x4:2+512", SignalSpec("r.dat", 16, 4, 2, 512)),
        ("r.dat 16 0 16 0 1 2 0 V1", SignalSpec("r.dat", 16, adc_bits=16, initial=1, checksum=2, name="V1")),
        (
            "r.dat\t16\t0\t16\t0\t1\t2\t0\t2nd V1",
            SignalSpec("r.dat", 16, adc_bits=16, initial=1, checksum=2, name="2nd V1"),
        ),
    ],
)
def test_fields_that_may_be_absent(line: str, expected: SignalSpec) -> None:
    assert only_signal(line) == expected


def test_record_line_defaults() -> None:
    assert parse_header("r 0") == Header("r", 250.0, None)
    assert parse_header("r 0 360/720(5) 0").samples is None
    assert parse_header("r 0 360.0").rate == 360.0


def test_segments() -> None:
    header = parse_header("s/2 12 500 30\ns1 10\ns2 20\n")
    assert header.segments == (Segment("s1", 10), Segment("s2", 20))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no record line"),
        ("# only a comment", "no record line"),
        ("r", "line 1: gives no number of signals"),
        ("r two", "line 1: number of signals 'two'"),
        ("r -1", "number of signals '-1'"),
        ("r 0 fast", "line 1: sampling rate 'fast'"),
        ("r 0 0", "sampling rate '0'"),
        ("r 0 250 many", "number of samples 'many'"),
        ("r 2\nr.dat 16", "promises 2 signals, 1 signal lines follow"),
        ("r 1\nr.dat 16\nr.dat 16", "promises 1 signals, 2 signal lines follow"),
        ("r 1\n# c\nr.dat", "line 3: a signal line needs"),
        ("r 1\nr.dat x16", "line 2: format 'x16'"),
        ("r 1\nr.dat 16 1000/mV(0)/mV", None),
        ("r 1\nr.dat 16 gain", "line 2: gain 'gain'"),
        ("r 1\nr.dat 16 1e999", "line 2: gain '1e999'"),
        ("r 1\nr.dat 16 200(99999999999)", "baseline 99999999999 is beyond"),
        ("r 1\nr.dat 16 200 " + "9" * 5000, "number '9999"),
        ("r/2 1 250 10\ns1 10\ns2", "line 3: a segment line needs"),
        ("r/x 1 250 10\ns1 10", "number of segments 'x'"),
    ],
)
def test_what_is_wrong_is_named(text: str, says: str | None) -> None:
    if says is None:  # an odd unit is the unit's trouble, not the header's
        assert parse_header(text).signals[0].units == "mV(0)/mV"
        return
    with pytest.raises(HeaderError) as caught:
        parse_header(text, source="r.hea")
    assert says in str(caught.value)
    assert str(caught.value).startswith("r.hea")
    assert "\n" not in str(caught.value)


def test_missing_and_oversized_files(tmp_path: Path) -> None:
    with pytest.raises(HeaderError, match=r"no record at .*nothing: nothing\.hea is not there"):
        read_header(tmp_path / "nothing")
    (tmp_path / "folder.hea").mkdir()
    with pytest.raises(HeaderError, match="cannot read"):
        read_header(tmp_path / "folder")
    with pytest.raises(HeaderError, match="cannot read"):
        read_header("a\0b")
    (tmp_path / "big.hea").write_bytes(b"#" * (2**20 + 1))
    with pytest.raises(HeaderError, match="larger than any header"):
        read_header(tmp_path / "big")


def test_record_path_drops_only_a_suffix(tmp_path: Path) -> None:
    for suffix in ("", ".hea", ".dat", ".mat", ".HEA"):
        assert record_path(tmp_path / f"a.1{suffix}") == tmp_path / "a.1"
    (tmp_path / "b.dat.hea").touch()
    assert record_path(tmp_path / "b.dat") == tmp_path / "b.dat"


NAMES = st.text("abcXYZ019_-", min_size=1, max_size=8)
SIGNALS = st.builds(
    SignalSpec,
    file=NAMES.map(lambda name: f"{name}.dat"),
    format=st.sampled_from([16, 24, 212]),
    samples_per_frame=st.integers(1, 4),
    skew=st.integers(0, 9),
    byte_offset=st.integers(0, 99),
    gain=st.floats(-1e9, 1e9, allow_subnormal=False),
    baseline=st.integers(-(2**31), 2**31),
    units=st.sampled_from(["mV", "uV", "V", "z"]),
    adc_bits=st.integers(0, 32),
    adc_zero=st.integers(-99, 99),
    initial=st.integers(-(2**31), 2**31),
    checksum=st.integers(-(2**15), 2**16),
    block_size=st.integers(0, 9),
    name=st.sampled_from(["", "I", "aVR", "lead V1", "12 lead"]),
)
HEADERS = st.builds(
    Header,
    name=NAMES,
    rate=st.floats(1e-3, 1e6),
    samples=st.none() | st.integers(1, 2**40),
    signals=st.lists(SIGNALS, max_size=4).map(tuple),
    comments=st.lists(st.sampled_from(["", "Dx: 1,2", "a # b"]), max_size=3).map(tuple),
)


@given(HEADERS)
def test_format_and_parse_are_inverse(header: Header) -> None:
    assert parse_header(format_header(header)) == header


@given(st.text(max_size=300))
@example("\x1c 1\n\x85 16")
@example("r 1\n\x0b.dat 16 ٣")
def test_any_text_gives_a_header_or_a_header_error(text: str) -> None:
    try:
        parse_header(text)
    except EcgEdgeError as error:
        lines = str(error).splitlines()
        assert len(lines) == 1


@given(st.sampled_from(REAL), st.data())
def test_mutated_headers_give_a_header_or_a_header_error(text: str, data: st.DataObject) -> None:
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(text)))
        text = text[:at] + data.draw(st.text(max_size=3)) + text[at + data.draw(st.integers(0, 3)) :]
    try:
        parse_header(text)
    except EcgEdgeError as error:
        lines = str(error).splitlines()
        assert len(lines) == 1


def test_real_headers_as_wfdb_reads_them(data_dir: Path, wfdb: ModuleType) -> None:
    folders = ["ptbxl/records500/*", "cinc2020/*", "mitdb", "vfdb", "nstdb", "cpsc2021"]
    paths = [path for folder in folders for path in sorted(data_dir.glob(f"{folder}/*.hea"))]
    assert len(paths) > 100
    for path in paths[::3] + [p for p in paths if p.parent.name in ("nstdb", "cpsc2021")]:
        ours, theirs = read_header(path), wfdb.rdheader(str(path.with_suffix("")))
        assert (ours.rate, ours.samples, list(ours.comments)) == (theirs.fs, theirs.sig_len, theirs.comments)
        signals = ours.signals
        assert [s.file for s in signals] == theirs.file_name
        assert [str(s.format) for s in signals] == theirs.fmt
        assert [s.byte_offset or None for s in signals] == theirs.byte_offset
        assert [s.gain or 200.0 for s in signals] == theirs.adc_gain
        assert [s.baseline for s in signals] == theirs.baseline
        assert [s.units for s in signals] == theirs.units
        assert [s.initial for s in signals] == theirs.init_value
        assert [s.checksum for s in signals] == theirs.checksum
        assert [s.name for s in signals] == theirs.sig_name
