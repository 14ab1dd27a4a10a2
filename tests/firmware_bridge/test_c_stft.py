"""The C transform against the host's: the same integers on any frame."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ecg_edge.firmware_bridge.heart import demo
from ecg_edge.runtime.conditioning import condition
from ecg_edge.runtime.contract import Contract
from ecg_edge.runtime.sources.records import read_recording
from ecg_edge.runtime.stft import TABLE_BITS, Stft

CONTRACT = Contract()
N, BINS = CONTRACT.stft_length, CONTRACT.stft_bins
RESULT = np.dtype([("re", "<i4", BINS), ("im", "<i4", BINS), ("up", "<i4"), ("log", "u1", BINS)])
RANDOM_FRAMES = 10_000
RECORDS = ("ptbxl/records500/00000/00011_hr", "mitdb/207", "cinc2020/ptb/S0001")

Run = Callable[[bytes], tuple[bytes, bytes]]


def special_frames() -> np.ndarray:
    """Extremes, constants, impulses of every bit at every place, square waves and tones of every bin."""
    ramp = np.arange(N)
    frames = [np.zeros(N), np.full(N, 32767), np.full(N, -32768), ramp * 1040 - 32768]
    frames += [np.where(ramp % (2 * p) < p, 32767, -32768) for p in (1, 2, 4, 8, 16, 32)]
    frames += [np.full(N, sign * (1 << bit) - sign * less) for bit in range(15) for sign in (1, -1) for less in (0, 1)]
    frames += [np.where(ramp == place, value, 0) for place in range(N) for value in (1, -1, 32767, -32768)]
    frames += [np.where(ramp == place, 1 << bit, 0) for place in range(N) for bit in range(1, 15)]
    frames += [
        np.rint(32767 * np.cos(2 * np.pi * k * ramp / N + p)) for k in range(N // 2 + 1) for p in (0, 1, np.pi / 2)
    ]
    return np.array(frames).astype(np.int16)


def random_frames(count: int, seed: int) -> np.ndarray:
    """Frames of every amplitude, half of them white, half with most samples zero."""
    rng = np.random.default_rng(seed)
    frames = rng.uniform(-1, 1, (count, N)) * 2.0 ** rng.uniform(0, 15, (count, 1))
    frames[::2] *= rng.random((len(frames[::2]), N)) < 0.1
    return np.clip(np.rint(frames), -32768, 32767).astype(np.int16)


def frames_of(signal: np.ndarray) -> np.ndarray:
    """All frames of a conditioned signal (samples, leads) at the contract's hop."""
    view = np.lib.stride_tricks.sliding_window_view(signal, N, axis=0)[:: CONTRACT.stft_hop]
    return np.ascontiguousarray(view.reshape(-1, N))


def assert_same(run: Run, frames: np.ndarray) -> None:
    found = np.frombuffer(run(frames.astype("<i2").tobytes())[0], RESULT)
    assert len(found) == len(frames)
    stft = Stft(CONTRACT)
    expected = stft.transform(frames)
    silent = ~frames.any(axis=1)
    np.testing.assert_array_equal(found["re"], expected.re, "re")
    np.testing.assert_array_equal(found["im"], expected.im, "im")
    np.testing.assert_array_equal(stft.shift - TABLE_BITS - found["up"], expected.exponent, "exponent")
    np.testing.assert_array_equal(found["log"], stft.frames(frames)[..., 0], "log power")
    assert not found["log"][silent].any()


def test_special_frames(c_anywhere: Callable[..., Run]) -> None:
    assert_same(c_anywhere("stft"), special_frames())


def test_random_frames(c_program: Callable[..., Run], c_scale: int) -> None:
    run = c_program("stft")
    for part in range(c_scale):
        assert_same(run, random_frames(RANDOM_FRAMES, part))


def test_simulated_recording(c_anywhere: Callable[..., Run]) -> None:
    assert_same(c_anywhere("stft"), frames_of(condition(demo(), CONTRACT).signal[:3000]))


@pytest.mark.parametrize("record", RECORDS)
def test_real_recordings(c_program: Callable[..., Run], data_dir: Path, record: str) -> None:
    recording = read_recording(data_dir / record, stop_seconds=60.0)
    assert_same(c_program("stft"), frames_of(condition(recording, CONTRACT).signal))


@pytest.mark.parametrize(
    ("old", "new", "differs"),
    [
        ("0, 2525, 10074,", "0, 2525, 10075,", "re"),
        ("1048576, 1043527,", "1048576, 1043526,", "re"),
        (" 0, 0, 0,", " 0, 0, 1,", "log power"),
    ],
    ids=["window", "cosine", "log"],
)
def test_a_wrong_table_entry_is_noticed(
    c_anywhere: Callable[..., Run], c_with_change: Callable, old: str, new: str, differs: str
) -> None:
    run = c_anywhere("stft", c_with_change("ecg_tables.c", old, new))
    with pytest.raises(AssertionError, match=f"Arrays are not equal\n{differs}\n"):
        assert_same(run, random_frames(1000, 0))
