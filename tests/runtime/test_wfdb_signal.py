"""Storage formats against wfdb's reader, bit for bit."""

from pathlib import Path
from types import ModuleType

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecg_edge.firmware_bridge.errors import EcgEdgeError
from ecg_edge.runtime.sources.wfdb_signal import (
    FORMATS,
    WRITTEN_FORMATS,
    SignalFileError,
    decode,
    encode,
    frames_in,
    read_frames,
)

# What wfdb writes; the others are laid out by hand below and read by wfdb.
WFDB_WRITES = (16, 24, 32, 80, 212)


def samples_of(number: int, shape: tuple[int, int]) -> npt.NDArray[np.int64]:
    kind = FORMATS[number]
    samples = np.random.default_rng(number).integers(kind.missing, kind.largest + 1, shape)
    samples.flat[:4] = kind.missing, kind.largest, -1, 0
    return samples


def lay_out(samples: npt.NDArray[np.int64], number: int) -> bytes:
    return {61: samples.astype(">i2"), 160: (samples + 2**15).astype("<u2")}[number].tobytes()


def write(wfdb: ModuleType, folder: Path, samples: npt.NDArray[np.int64], number: int, offset: int) -> Path:
    channels = samples.shape[1]
    names = [f"c{i}" for i in range(channels)]
    first = number if number in WFDB_WRITES else 16
    data = samples if number in WFDB_WRITES else samples // 2**16
    wfdb.wrsamp(
        "r", 250, ["mV"] * channels, names, d_signal=data, fmt=[str(first)] * channels, write_dir=str(folder),
        adc_gain=[200.0] * channels, baseline=[0] * channels,
    )  # fmt: skip
    header, signal = folder / "r.hea", folder / "r.dat"
    if number not in WFDB_WRITES:
        signal.write_bytes(lay_out(samples, number))
    signal.write_bytes(bytes(range(offset)) + signal.read_bytes())
    header.write_text(header.read_text().replace(f"r.dat {first} ", f"r.dat {number}+{offset} "))
    return signal


@pytest.mark.parametrize("number", FORMATS)
@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("offset", [0, 24])
def test_every_range_of_every_format_as_wfdb_reads_it(
    wfdb: ModuleType, tmp_path: Path, number: int, channels: int, offset: int
) -> None:
    file = write(wfdb, tmp_path, samples_of(number, (7, channels)), number, offset)
    assert frames_in(file, number, channels, offset) == 7
    for start in range(7):
        for stop in range(start + 1, 8):
            ours = read_frames(file, number, channels, offset, start, stop)
            theirs = wfdb.rdrecord(str(tmp_path / "r"), start, stop, physical=False).d_signal
            assert ours.dtype == np.int32
            np.testing.assert_array_equal(ours, theirs)


def test_format_212_by_hand() -> None:
    """signal(5): low byte, then high nibbles of second and first sample, then low byte of the second."""
    assert decode(bytes([0x34, 0xF2, 0x80]), 212, 2).tolist() == [0x234, -128]
    assert decode(bytes([0x00, 0x08]), 212, 1).tolist() == [-2048]


@given(
    st.sampled_from(WRITTEN_FORMATS).flatmap(
        lambda n: st.tuples(st.just(n), st.lists(st.integers(FORMATS[n].missing, FORMATS[n].largest)))
    )
)
def test_decode_inverts_encode(case: tuple[int, list[int]]) -> None:
    number, samples = case
    data = encode(np.array(samples, np.int32), number)
    assert len(data) == FORMATS[number].bytes_of(len(samples))
    assert decode(data, number, len(samples)).tolist() == samples


@given(st.binary(max_size=60), st.integers(-1, 600), st.integers(0, 40))
def test_any_bytes_decode_or_are_refused(data: bytes, number: int, samples: int) -> None:
    try:
        decoded = decode(data, number, samples)
    except EcgEdgeError:
        return
    kind = FORMATS[number]
    assert decoded.shape == (samples,)
    assert not samples or kind.missing <= decoded.min() <= decoded.max() <= kind.largest


@given(st.sampled_from(sorted(FORMATS)), st.integers(0, 1000))
def test_sizes_agree(number: int, samples: int) -> None:
    kind = FORMATS[number]
    size = kind.bytes_of(samples)
    assert kind.samples_in(size) == samples
    assert kind.samples_in(size - 1) == max(samples - 1, 0)


def test_what_does_not_fit_or_is_not_written_is_refused() -> None:
    with pytest.raises(SignalFileError, match="do not fit format 16; write format 24"):
        encode(np.array([0, 40_000]), 16)
    with pytest.raises(SignalFileError, match="format 212 is not written"):
        encode(np.array([0]), 212)
    with pytest.raises(SignalFileError, match="in format 8, this reader knows 16, 24"):
        decode(b"", 8, 0)


def test_missing_and_short_files(tmp_path: Path) -> None:
    with pytest.raises(SignalFileError, match="is missing"):
        frames_in(tmp_path / "none.dat", 16, 1)
    with pytest.raises(SignalFileError, match="cannot read"):
        frames_in(tmp_path / ("x" * 400), 16, 1)
    file = tmp_path / "r.dat"
    file.write_bytes(bytes(9))
    assert frames_in(file, 16, 2) == 2
    assert frames_in(file, 16, 2, byte_offset=99) == 0
    with pytest.raises(SignalFileError, match="ends before frame 3"):
        read_frames(file, 16, 2, 0, 0, 3)
    with pytest.raises(SignalFileError, match="cannot read"):
        read_frames(file, 16, 2, 2**70, 0, 1)
