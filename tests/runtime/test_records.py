"""Records into recordings and back, against wfdb, on synthetic and on real files, whole and damaged."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ecg_edge.firmware_bridge.errors import EcgEdgeError
from ecg_edge.firmware_bridge.leads import LEADS, UnknownLeadError
from ecg_edge.firmware_bridge.recording import COUNT_LIMIT, Recording
from ecg_edge.runtime.sources.records import NOTE, RecordError, read_recording, write_recording
from ecg_edge.runtime.sources.wfdb_header import HeaderError, read_header
from ecg_edge.runtime.sources.wfdb_scale import COMMON_PV_PER_LSB, ScaleError, held, rescaled
from ecg_edge.runtime.sources.wfdb_signal import FORMATS, SignalFileError, encode, read_frames

RNG = np.random.default_rng(20)
SAMPLES = RNG.integers(-3000, 3000, (1000, 2))


def record(
    folder: Path,
    lines: list[str],
    samples: npt.NDArray[np.integer] = SAMPLES,
    first: str = "r 2 250 1000",
    prologue: bytes = b"",
) -> Path:
    """Write a format 16 record with the header `first` and `lines`, and return its path."""
    (folder / "r.hea").write_text("\n".join([first, *lines]) + "\n", encoding="utf-8")
    (folder / "r.dat").write_bytes(prologue + encode(samples, 16))
    return folder / "r"


def two(gain: str = "1000/mV", names: tuple[str, str] = ("I", "II")) -> list[str]:
    return [f"r.dat 16 {gain} 16 0 0 {int(SAMPLES[:, i].sum()) % 65536} 0 {name}" for i, name in enumerate(names)]


def test_counts_are_the_integers_less_the_baseline(tmp_path: Path) -> None:
    read = read_recording(record(tmp_path, two("200(1024)/mV", ("MLII", "v1"))))
    assert (read.name, read.rate, read.leads, read.pv_per_lsb) == ("r", 250, ("II", "V1"), 5_000_000)
    assert read.counts.dtype == np.int32
    np.testing.assert_array_equal(read.counts, SAMPLES - 1024)
    assert (read.invalid, read.comments) == (None, ())


@pytest.mark.parametrize("suffix", ["", ".hea", ".dat", ".mat"])
def test_a_suffix_may_be_given(tmp_path: Path, suffix: str) -> None:
    path = record(tmp_path, two())
    assert read_recording(f"{path}{suffix}").name == "r"


@pytest.mark.parametrize(
    ("gain", "pv"),
    [
        ("1000", 10**6),
        ("1/uV", 10**6),
        ("1/µV", 10**6),
        ("1/μV", 10**6),
        ("1e6/V", 10**6),
        ("200/MV", 5_000_000),
        ("1e3/nV", 1),
    ],
)
def test_units(tmp_path: Path, gain: str, pv: int) -> None:
    assert read_recording(record(tmp_path, two(gain))).pv_per_lsb == pv


@pytest.mark.parametrize("gain", ["0", "0(0)/mV"])
def test_uncalibrated_signals_take_wfdbs_gain_and_say_so(tmp_path: Path, gain: str) -> None:
    read = read_recording(record(tmp_path, two(gain)))
    assert read.pv_per_lsb == 5_000_000
    assert read.comments == (NOTE + "lead I, II uncalibrated: 200 ADC units per mV assumed",)
    lone = read_recording(record(tmp_path, ["r.dat 16", "r.dat 16"]), leads=["-", "V6"])
    assert lone.comments == (NOTE + "lead V6 uncalibrated: 200 ADC units per mV assumed",)


def test_an_inverted_signal_is_turned(tmp_path: Path) -> None:
    read = read_recording(record(tmp_path, [two("1000")[0], two("-1000")[1]]))
    np.testing.assert_array_equal(read.counts, SAMPLES * [1, -1])


@pytest.mark.parametrize("gains", [("1000", "200"), ("30061.276794035417(-161790)", "1000"), ("-3.5", "977(5)")])
def test_differing_gains_meet_at_a_sixteenth_of_a_microvolt(tmp_path: Path, gains: tuple[str, str]) -> None:
    path = record(tmp_path, [two(gains[0])[0], two(gains[1])[1]])
    read = read_recording(path)
    assert read.pv_per_lsb == COMMON_PV_PER_LSB
    for column, signal in enumerate(read_header(path).signals):
        factor = Fraction(10**9, COMMON_PV_PER_LSB) / Fraction(signal.gain)
        exact = [((int(d) - signal.baseline) * factor + Fraction(1, 2)).__floor__() for d in SAMPLES[:, column]]
        np.testing.assert_array_equal(read.counts[:, column], np.clip(exact, -COUNT_LIMIT, COUNT_LIMIT))


def test_a_shared_gain_that_picovolts_cannot_state_is_rescaled(tmp_path: Path) -> None:
    """24,795.239 units per mV are 40,330.3 pV: at the largest count the 0.3 pV would add up to 3 counts."""
    path = record(tmp_path, two("24795.2393140517(-129642)/mV"))
    read = read_recording(path)
    assert read.pv_per_lsb == COMMON_PV_PER_LSB
    physical = (SAMPLES + 129642) / 24795.2393140517
    assert np.abs(read.counts * (COMMON_PV_PER_LSB / 1e9) - physical).max() <= COMMON_PV_PER_LSB / 2e9


@given(
    st.lists(st.integers(-(2**32), 2**32), min_size=1, max_size=20),
    st.fractions(Fraction(1, 10**9), Fraction(2**17)),
    st.sampled_from([1, -1]),
)
def test_rescaling_is_exact_to_its_stated_bound(values: list[int], factor: Fraction, sign: int) -> None:
    got = rescaled(np.array(values, np.int64), factor * sign).tolist()
    for value, count in zip(values, got, strict=True):
        exact = value * factor * sign
        if abs(exact) > COUNT_LIMIT + 1:
            assert abs(count) >= COUNT_LIMIT
            assert (count > 0) == (exact > 0)
        else:
            assert abs(count - exact) <= Fraction(1, 2) + abs(value) * Fraction(1, 2**39)


def test_counts_beyond_24_bits_are_limited_and_counted(tmp_path: Path) -> None:
    samples = np.array([[0, 0], [1, 2], [-5, 3]])
    read = read_recording(record(tmp_path, ["r.dat 16 1000(-8388607) 16 0 0 0 0 I", "r.dat 16 1000(0) 16 0 0 0 0 II"],
                                 samples, "r 2 250 3"))  # fmt: skip
    assert read.counts.tolist() == [[COUNT_LIMIT, 0], [COUNT_LIMIT, 2], [COUNT_LIMIT - 5, 3]]
    assert NOTE + "1 samples beyond 24 bits were limited" in read.comments


def test_missing_samples_are_invalid_and_hold_the_last(tmp_path: Path) -> None:
    gone = FORMATS[16].missing
    samples = np.array([[gone, 5], [7, gone], [gone, gone], [gone, 9]])
    read = read_recording(record(tmp_path, two("1000(2)"), samples, "r 2 250 4"))
    assert read.invalid is not None
    assert read.invalid.tolist() == (samples == gone).tolist()
    assert read.counts.tolist() == [[0, 3], [5, 3], [5, 3], [5, 7]]


@given(st.lists(st.tuples(st.integers(-9, 9), st.booleans()), min_size=1, max_size=30))
def test_holding_by_a_plain_loop(column: list[tuple[int, bool]]) -> None:
    expected, last = [], 0
    for value, bad in column:
        last = last if bad else value
        expected.append(last)
    values, bad_ones = (np.array(part)[:, None] for part in zip(*column, strict=True))
    assert held(values.astype(np.int64), bad_ones)[:, 0].tolist() == expected


def test_names_can_be_given_and_channels_left_out(tmp_path: Path) -> None:
    path = record(tmp_path, two("1000", ("ECG", "ECG")))
    assert read_recording(path, ["II", "V1"]).leads == ("II", "V1")
    np.testing.assert_array_equal(read_recording(path, ["II"]).counts, SAMPLES[:, :1])
    np.testing.assert_array_equal(read_recording(path, ["-", "AVF"]).counts, SAMPLES[:, 1:])
    with pytest.raises(UnknownLeadError, match=r"record .*r: unknown lead name 'ECG': name the channels with --leads"):
        read_recording(path)
    with pytest.raises(UnknownLeadError, match="lead II is named twice"):
        read_recording(path, ["II", "MLII"])
    with pytest.raises(RecordError, match="has 2 channels, 3 lead names"):
        read_recording(path, ["I", "II", "III"])
    for none in ([], ["-"], ["-", "-"]):
        with pytest.raises(RecordError, match="every channel is left out"):
            read_recording(path, none)


def test_a_channel_that_is_left_out_may_have_any_unit_or_file(tmp_path: Path) -> None:
    path = record(tmp_path, [two()[0], "other.dat 8 1/mmHg 8 0 0 0 0 ABP"], SAMPLES[:, :1])
    np.testing.assert_array_equal(read_recording(path, ["I"]).counts, SAMPLES[:, :1])


@pytest.mark.parametrize(
    ("start", "stop", "first", "last"),
    [(0, None, 0, 1000), (1, 2, 250, 500), (0.0059, 0.0061, 1, 2), (3.999, 99, 1000, 1000), (3.99, 99, 998, 1000)],
)
def test_ranges(tmp_path: Path, start: float, stop: float | None, first: int, last: int) -> None:
    path = record(tmp_path, two())
    if first == last:
        with pytest.raises(RecordError, match=r"no samples from 3\.999 to 99 s; choose a range within its 4 s"):
            read_recording(path, start_seconds=start, stop_seconds=stop)
        return
    read = read_recording(path, start_seconds=start, stop_seconds=stop)
    np.testing.assert_array_equal(read.counts, SAMPLES[first:last])


@pytest.mark.parametrize(
    ("start", "stop"),
    [
        (-1, 2),
        (4, None),
        (2, 1),
        (1, 1),
        (float("nan"), 2),
        (0, float("nan")),
        (float("inf"), None),
        (0, -float("inf")),
    ],
)
def test_ranges_that_are_none(tmp_path: Path, start: float, stop: float | None) -> None:
    with pytest.raises(RecordError, match="no samples from"):
        read_recording(record(tmp_path, two()), start_seconds=start, stop_seconds=stop)


def test_samples_may_be_counted_from_the_file(tmp_path: Path) -> None:
    for first in ("r 2 250", "r 2 250 0"):
        assert len(read_recording(record(tmp_path, two(), first=first)).counts) == 1000
    assert read_recording(record(tmp_path, two(), first="r.dat 2")).rate == 250


def test_signals_in_several_files(tmp_path: Path, wfdb: ModuleType) -> None:
    wide = RNG.integers(-2000, 2000, (99, 4))
    for name, fmt, part in (("a", "16", slice(0, 2)), ("b", "212", slice(2, 4))):
        wfdb.wrsamp(
            name, 250, ["mV"] * 2, ["I", "II", "V1", "V2"][part], d_signal=wide[:, part], fmt=[fmt] * 2,
            adc_gain=[200.0] * 2, baseline=[0] * 2, write_dir=str(tmp_path),
        )  # fmt: skip
    lines = [line for name in "ab" for line in (tmp_path / f"{name}.hea").read_text().splitlines()[1:]]
    (tmp_path / "r.hea").write_text("\n".join(["r 4 250 99", *lines]))
    np.testing.assert_array_equal(wfdb.rdrecord(str(tmp_path / "r"), physical=False).d_signal, wide)
    read = read_recording(tmp_path / "r")
    np.testing.assert_array_equal(read.counts, wide)
    assert read.comments == ()
    (tmp_path / "b.dat").unlink()
    np.testing.assert_array_equal(read_recording(tmp_path / "r", ["-", "II"]).counts, wide[:, 1:2])
    with pytest.raises(SignalFileError, match=r"b\.dat is missing"):
        read_recording(tmp_path / "r")


def test_a_truncated_file_is_refused_or_kept(tmp_path: Path) -> None:
    path = record(tmp_path, two(), SAMPLES[:900])
    with pytest.raises(RecordError, match=r"truncated, 900 of 1000 samples are there; fetch it again"):
        read_recording(path)
    read = read_recording(path, truncated="keep")
    np.testing.assert_array_equal(read.counts, SAMPLES[:900])
    assert read.comments == (NOTE + "signal file truncated, 900 of 1000 samples are there",)
    with pytest.raises(RecordError, match="holds no samples"):
        read_recording(record(tmp_path, two(), SAMPLES[:0]), truncated="keep")


def test_a_wrong_checksum_is_noted_or_refused(tmp_path: Path) -> None:
    other = SAMPLES.copy()
    other[5, 1] += 1
    path = record(tmp_path, two(), other)
    assert read_recording(path).comments == (NOTE + "checksum of lead II does not match: the signal may be damaged",)
    assert read_recording(path, stop_seconds=1).comments == ()
    assert read_recording(path, ["I"], strict=True).comments == ()
    with pytest.raises(RecordError, match="checksum of lead II does not match; fetch the record again"):
        read_recording(path, strict=True)


@pytest.mark.parametrize(
    ("line", "error", "says"),
    [
        ("r.dat 16 1000/z 16 0 0 0 0 V1", ScaleError, "lead V1 is in 'z', which has no physical scale"),
        ("r.dat 16 0.1/mV 16 0 0 0 0 V1", ScaleError, "0.1 ADC units per mV for lead V1 is too coarse"),
        ("r.dat 16 1e-320/V 16 0 0 0 0 V1", ScaleError, "too coarse"),
        ("r.dat 8 200 8 0 0 0 0 V1", SignalFileError, "r.dat is in format 8, this reader knows 16"),
        ("../r.dat 16 200 16 0 0 0 0 V1", RecordError, "'../r.dat' is not beside the header"),
        ("/etc/passwd 16 200 16 0 0 0 0 V1", RecordError, "is not beside the header"),
        ("a\\r.dat 16 200 16 0 0 0 0 V1", RecordError, "is not beside the header"),
        ("- 16 200 16 0 0 0 0 V1", RecordError, "is not beside the header"),
        (".. 16 200 16 0 0 0 0 V1", RecordError, "is not beside the header"),
        ("none.dat 16 200 16 0 0 0 0 V1", SignalFileError, "none.dat is missing; put it beside the header"),
        ("r.dat 16x2 200 16 0 0 0 0 V1", RecordError, "several samples per frame are not supported; bring"),
        ("r.dat 16:3 200 16 0 0 0 0 V1", RecordError, "skewed signals are not supported; convert"),
        ("r.dat 24 200 16 0 0 0 0 V1", RecordError, "r.dat has two formats"),
    ],
)
def test_what_cannot_be_read_is_refused(tmp_path: Path, line: str, error: type[EcgEdgeError], says: str) -> None:
    with pytest.raises(error) as caught:
        read_recording(record(tmp_path, [two()[0], line]))
    assert says in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_records_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(HeaderError, match="no record at"):
        read_recording(tmp_path / "none")
    with pytest.raises(RecordError, match="has no signals"):
        read_recording(record(tmp_path, [], first="r 0"))
    with pytest.raises(RecordError, match=r"128\.5 Hz is no whole number"):
        read_recording(record(tmp_path, two(), first="r 2 128.5 1000"))


def segmented(folder: Path, second: str = "r 2 250 400") -> Path:
    """Write record `s` of the two segments `a` and `b`, cut from SAMPLES at 600."""
    for name, first, part in (("a", "r 2 250 600", SAMPLES[:600]), ("b", second, SAMPLES[600:])):
        lines = [
            f"{name}.dat 16 1000 16 0 0 {int(part[:, i].sum()) % 65536} 0 {lead}" for i, lead in enumerate(("I", "II"))
        ]
        (folder / f"{name}.hea").write_text("\n".join([first, *lines]))
        (folder / f"{name}.dat").write_bytes(encode(part, 16))
    (folder / "s.hea").write_text("s/2 2 250 1000\na 600\nb 400\n# long\n")
    return folder / "s"


def test_segments_of_a_fixed_layout_are_joined(tmp_path: Path, wfdb: ModuleType) -> None:
    path = segmented(tmp_path)
    read = read_recording(path, strict=True)
    np.testing.assert_array_equal(read.counts, SAMPLES)
    np.testing.assert_array_equal(read.counts, wfdb.rdrecord(str(path), physical=False).d_signal)
    assert (read.name, read.comments) == ("s", ("long",))
    across = read_recording(path, start_seconds=2.3, stop_seconds=2.5)
    np.testing.assert_array_equal(across.counts, SAMPLES[575:625])
    late = read_recording(path, start_seconds=3)
    np.testing.assert_array_equal(late.counts, SAMPLES[750:])

    (tmp_path / "a.dat").write_bytes(encode(SAMPLES[:500], 16))
    with pytest.raises(RecordError, match="500 of 600 samples of segment a are there"):
        read_recording(path)
    np.testing.assert_array_equal(read_recording(path, truncated="keep").counts, SAMPLES[:500])


@pytest.mark.parametrize(
    ("head", "says"),
    [
        ("s/2 2 250 1000\na 0\nb 400", "segments of a variable layout are not supported"),
        ("s/2 2 250 1000\na 600\n~ 400", "segments of a variable layout are not supported"),
        ("s/2 2 250 1000\na 600\n../b 400", "'../b' is not beside the header"),
        ("s/2 2 500 1000\na 600\nb 400", "segment a has other channels, gains or rate"),
        ("s/1 2 250 1000\ns 1000", "segment s has other channels"),
        ("s/2 2 250 1000\na 500\nb 400", "segment a has 600 samples by its own header, 500 by the record's"),
        ("s/2 2 250 999\na 600\nb 400", "its segments have 1000 samples, its header promises 999"),
        ("s/1 2 250 1000\nc 1000", "no record at"),
    ],
)
def test_other_segments_are_refused(tmp_path: Path, head: str, says: str) -> None:
    path = segmented(tmp_path)
    path.with_suffix(".hea").write_text(head)
    with pytest.raises(EcgEdgeError) as caught:
        read_recording(path)
    assert says in str(caught.value)


RECORDING = Recording(
    name="made-1_x",
    rate=500,
    leads=LEADS,
    counts=RNG.integers(-30_000, 30_000, (700, 12), dtype=np.int32),
    pv_per_lsb=1_000_000,
    comments=("Dx: 426783006", "Age: 50"),
)


def assert_equal(read: Recording, written: Recording) -> None:
    for name in ("name", "rate", "leads", "pv_per_lsb", "comments"):
        assert getattr(read, name) == getattr(written, name)
    if written.invalid is None:
        assert read.invalid is None
        np.testing.assert_array_equal(read.counts, written.counts)
    else:
        np.testing.assert_array_equal(read.invalid, written.invalid)
        np.testing.assert_array_equal(read.counts[~written.invalid], written.counts[~written.invalid])


@pytest.mark.parametrize("peak", [32_767, 32_768, COUNT_LIMIT])
@pytest.mark.parametrize("pv", [1_000_000, 62_500, 47_684, 1])
@pytest.mark.parametrize("gaps", [False, True])
def test_what_is_written_reads_the_same_here_and_in_wfdb(
    tmp_path: Path, wfdb: ModuleType, peak: int, pv: int, gaps: bool
) -> None:
    counts = RECORDING.counts.copy()
    counts[3, 2], counts[4, 2] = peak, -peak
    invalid = RNG.random(counts.shape) < 0.1 if gaps else None
    if invalid is not None:
        invalid[3:5, 2] = False
    written = replace(RECORDING, counts=counts, pv_per_lsb=pv, invalid=invalid)
    path = write_recording(written, tmp_path / "new" / "folder")
    assert path == tmp_path / "new" / "folder" / "made-1_x"
    assert_equal(read_recording(path, strict=True), written)

    theirs = wfdb.rdrecord(str(path), physical=False)
    number = 16 if peak <= 32_767 else 24
    digital = counts if invalid is None else np.where(invalid, FORMATS[number].missing, counts)
    np.testing.assert_array_equal(theirs.d_signal, digital)
    assert (theirs.fs, theirs.sig_len, theirs.units, theirs.sig_name) == (500, 700, ["mV"] * 12, list(LEADS))
    assert theirs.adc_gain == [1e9 / pv] * 12
    assert theirs.baseline == [0] * 12
    assert theirs.init_value == digital[0].tolist()
    assert theirs.checksum == theirs.calc_checksum()
    assert theirs.comments == list(RECORDING.comments)
    physical = theirs.dac()
    np.testing.assert_array_equal(np.isnan(physical), np.zeros_like(physical, bool) if invalid is None else invalid)
    np.testing.assert_allclose(physical[3:5, 2], np.array([peak, -peak]) * pv / 1e9, rtol=1e-12)


@given(
    counts=st.lists(st.tuples(*[st.integers(-COUNT_LIMIT, COUNT_LIMIT)] * 2), min_size=1, max_size=9),
    pv=st.integers(1, 10**9),
    rate=st.integers(1, 10**5),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_recording_survives(tmp_path: Path, counts: list[Any], pv: int, rate: int) -> None:
    written = Recording("r", rate, ("V3", "aVL"), np.array(counts, np.int32), pv)
    assert_equal(read_recording(write_recording(written, tmp_path), strict=True), written)


def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"record name '\.\./x' is not one that WFDB readers take"):
        write_recording(replace(RECORDING, name="../x"), tmp_path)
    with pytest.raises(RecordError, match="holds no samples"):
        write_recording(replace(RECORDING, counts=RECORDING.counts[:0]), tmp_path)
    with pytest.raises(RecordError, match="has counts of 8388608; limit them"):
        write_recording(replace(RECORDING, counts=np.full((2, 12), 2**23, np.int32)), tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(RecordError, match="cannot write record"):
        write_recording(RECORDING, tmp_path / "file")


@given(header=st.binary(max_size=200), signal=st.binary(max_size=200))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_read_or_refused(tmp_path: Path, header: bytes, signal: bytes) -> None:
    (tmp_path / "r.hea").write_bytes(header)
    (tmp_path / "r.dat").write_bytes(signal)
    try:
        read_recording(tmp_path / "r")
    except EcgEdgeError as error:
        lines = str(error).splitlines()
        assert len(lines) == 1


@given(st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
def test_mutated_records_are_read_or_refused(tmp_path: Path, data: st.DataObject) -> None:
    path = record(tmp_path, two("1000(0)/mV"))
    text = path.with_suffix(".hea").read_bytes()
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(text)))
        piece = data.draw(
            st.binary(max_size=3) | st.sampled_from([b"9" * 30, b"-", b"/", b"1e300", b"x2", b"+", b"212"])
        )
        text = text[:at] + piece + text[at + data.draw(st.integers(0, 3)) :]
    path.with_suffix(".hea").write_bytes(text)
    try:
        read = read_recording(path, data.draw(st.sampled_from([None, ["I", "II"], ["-", "V1"]])), truncated="keep")
    except EcgEdgeError as error:
        lines = str(error).splitlines()
        assert len(lines) == 1
        return
    assert np.abs(read.counts).max() <= COUNT_LIMIT
    assert read.counts.shape[1] == len(read.leads)


def compare_with_wfdb(wfdb: ModuleType, path: Path, leads: list[str] | None = None) -> Recording:
    """Hold a real record against wfdb: digital bit for bit, physical within half a count."""
    path = path.with_suffix("")
    theirs = wfdb.rdrecord(str(path), physical=False)
    raw = read_frames(
        path.parent / theirs.file_name[0],
        int(theirs.fmt[0]),
        theirs.n_sig,
        theirs.byte_offset[0] or 0,
        0,
        theirs.sig_len,
    )
    np.testing.assert_array_equal(raw, theirs.d_signal)

    read = read_recording(path, leads, strict=True)
    assert (read.rate, len(read.counts)) == (theirs.fs, theirs.sig_len)
    assert read.comments[: len(theirs.comments)] == tuple(theirs.comments)
    valid = theirs.d_signal != np.array([FORMATS[int(fmt)].missing for fmt in theirs.fmt])
    if valid.all():
        assert read.invalid is None
    else:
        assert read.invalid is not None
        np.testing.assert_array_equal(~read.invalid, valid)
    if len(set(theirs.adc_gain)) == 1:
        np.testing.assert_array_equal(read.counts[valid], (theirs.d_signal - theirs.baseline)[valid])
    millivolts = read.counts * (read.pv_per_lsb / 1e9)
    assert np.nanmax(np.abs(millivolts - theirs.dac())) <= read.pv_per_lsb / 2e9 * (1 + 1e-5)
    return read


@pytest.mark.parametrize(
    ("pattern", "step"),
    [
        ("ptbxl/records100/*/*.hea", 60),
        ("ptbxl/records500/*/*.hea", 9),
        ("cinc2020/cpsc_2018/*.hea", 12),
        ("cinc2020/cpsc_2018_extra/*.hea", 5),
        ("cinc2020/chapman_shaoxing/*.hea", 9),
        ("cinc2020/ptb-xl/*.hea", 5),
        ("cinc2020/ptb/*.hea", 1),
        ("mitdb/*.hea", 3),
        ("cpsc2021/*.hea", 1),
    ],
)
def test_real_records_as_wfdb_reads_them(data_dir: Path, wfdb: ModuleType, pattern: str, step: int) -> None:
    paths = sorted(data_dir.glob(pattern))
    assert paths, f"nothing like {pattern} in the folder of real recordings"
    for path in paths[::step]:
        read = compare_with_wfdb(wfdb, path)
        assert not any(comment.startswith(NOTE) for comment in read.comments)


def test_challenge_records_without_mat_files(data_dir: Path) -> None:
    path = next((data_dir / "cinc2020" / "chapman_shaoxing").glob("*.dat"))
    read = read_recording(path)
    assert read.leads == LEADS
    assert any(comment.startswith("Dx: ") for comment in read.comments)


@pytest.mark.parametrize(("folder", "leads", "step"), [("vfdb", ["II", "V1"], 4), ("nstdb", ["I", "II"], 1)])
def test_real_records_without_lead_names(
    data_dir: Path, wfdb: ModuleType, folder: str, leads: list[str], step: int
) -> None:
    for path in sorted((data_dir / folder).glob("*.hea"))[::step]:
        with pytest.raises(UnknownLeadError, match="--leads"):
            read_recording(path)
        read = compare_with_wfdb(wfdb, path, leads)
        assert any("uncalibrated" in comment for comment in read.comments) == (folder == "nstdb")


def test_real_record_in_parts_is_the_whole(data_dir: Path) -> None:
    path = next((data_dir / "mitdb").glob("*.hea"))
    whole = read_recording(path, stop_seconds=30)
    parts = [read_recording(path, start_seconds=s, stop_seconds=s + 7.5) for s in (0, 7.5, 15, 22.5)]
    np.testing.assert_array_equal(np.concatenate([part.counts for part in parts]), whole.counts)


def test_standardized_records_have_no_physical_scale(data_dir: Path) -> None:
    paths = sorted((data_dir / "ptbxl_z").glob("records100/*/*.hea"))
    if not paths:
        pytest.skip("no standardized records in this folder of real recordings")
    with pytest.raises(ScaleError, match="lead I is in 'z', which has no physical scale"):
        read_recording(paths[0])
