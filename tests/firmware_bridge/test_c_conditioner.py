"""The C conditioner against the host's: the same signal, marks and counters from any recording."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ecg_edge.firmware_bridge.heart import Episode, simulate
from ecg_edge.firmware_bridge.leads import LEADS, MEASURED_LEADS
from ecg_edge.firmware_bridge.recording import Recording
from ecg_edge.runtime.c_tables import BUILT_IN_RATES, resampler
from ecg_edge.runtime.conditioning import Conditioned, Conditioner
from ecg_edge.runtime.contract import Contract
from ecg_edge.runtime.sources.records import read_recording

LIBRARY = Path(__file__).resolve().parents[2] / "firmware_bridge" / "c"
SAMPLE = np.dtype([("signal", "<i2", 12), ("invalid", "<u2")])
RECORDS = (  # with one of every built-in rate; the Holter's leads are named by hand
    ("ptbxl/records500/00000/00011_hr", None, 500),
    ("mitdb/207", None, 360),
    ("vfdb/418", ("II", "V1"), 250),
    ("cinc2020/ptb/S0001", None, 1000),
)

Run = Callable[[bytes], tuple[bytes, bytes]]


def in_c(run: Run, recording: Recording) -> tuple[np.ndarray, int, int]:
    """Output samples, saturated values and invalid samples of the C conditioner."""
    n, channels = recording.counts.shape
    codes = [LEADS.index(lead) for lead in recording.leads]
    mask = np.zeros(n, np.int64)
    if recording.invalid is not None:
        mask = recording.invalid @ (1 << np.arange(channels))
    frames = np.column_stack((recording.counts, mask)).astype("<i4")
    head = np.array([recording.rate, recording.pv_per_lsb, channels, *codes], "<i4")
    output = run(head.tobytes() + frames.tobytes())[0]
    saturated, invalid = np.frombuffer(output[-8:], "<u4")
    return np.frombuffer(output[:-8], SAMPLE), int(saturated), int(invalid)


def on_the_host(recording: Recording, mains: int | None) -> tuple[list[Conditioned], Conditioner]:
    conditioner = Conditioner(Contract(), recording.rate, recording.pv_per_lsb, recording.leads, mains)
    return [conditioner.push(recording.counts, recording.invalid), conditioner.flush()], conditioner


def assert_same(
    run: Run, recording: Recording, *, exact_saturation: bool = True, mains: int | None = None
) -> Conditioner:
    found, saturated, invalid = in_c(run, recording)
    parts, host = on_the_host(recording, mains)
    np.testing.assert_array_equal(found["signal"], np.concatenate([p.signal for p in parts]), "signal")
    marks = np.concatenate([p.invalid for p in parts])
    np.testing.assert_array_equal(found["invalid"][:, np.newaxis] >> np.arange(12) & 1, marks, "invalid")
    assert invalid == host.invalid_samples
    # Before the high-pass the host counts in whole blocks, so at the end up to a block more of the held last sample.
    assert saturated == host.saturated or (not exact_saturation and 0 < saturated <= host.saturated)
    return host


def random_recording(rate: int, seconds: float, seed: int, leads: tuple[str, ...] = MEASURED_LEADS) -> Recording:
    """Noise, steps, rails and holes of every length, as no patient gives them."""
    rng = np.random.default_rng(seed)
    n, channels = int(seconds * rate), len(leads)
    counts = rng.normal(0, 2.0 ** rng.uniform(5, 19, channels), (n, channels))
    counts += np.repeat(rng.normal(0, 2.0**21, (1 + n // 97, channels)), 97, axis=0)[:n]
    invalid = np.repeat(rng.random((1 + n // 31, channels)) < 0.1, 31, axis=0)[:n] | (rng.random((n, channels)) < 0.002)
    counts = np.where(rng.random((n, channels)) < 0.001, 2**23 - 1, counts)
    counts = np.where(rng.random((n, channels)) < 0.001, -(2**23), counts)
    counts = np.clip(np.rint(counts), -(2**23), 2**23 - 1).astype(np.int32)
    return Recording("random", rate, leads, counts, int(10 ** rng.uniform(0, 8)), invalid)


@pytest.mark.parametrize("rate", BUILT_IN_RATES)
def test_simulated_recordings(c_anywhere: Callable[..., Run], rate: int) -> None:
    off = [("II", 3.0, 4.5), ("V3", 0.0, 1.0), ("V5", 6.0, 8.32)]
    ecg = simulate([Episode("sinus rhythm", 8.33)], rate, seed=rate, lead_off=off, pv_per_lsb=47_684)
    assert assert_same(c_anywhere("condition"), ecg.recording).invalid_samples > 0


@pytest.mark.parametrize(("record", "leads", "rate"), RECORDS)
def test_real_recordings(
    c_program: Callable[..., Run], data_dir: Path, record: str, leads: tuple[str, ...] | None, rate: int
) -> None:
    recording = read_recording(data_dir / record, leads, stop_seconds=60.0)
    assert recording.rate == rate
    assert_same(c_program("condition"), recording)


@pytest.mark.parametrize("rate", BUILT_IN_RATES)
def test_random_recordings(c_program: Callable[..., Run], c_scale: int, rate: int) -> None:
    sets = [MEASURED_LEADS, ("II",), ("III", "V6", "I"), LEADS, ("aVF", "II", "V2"), ("V1", "III", "II")]
    for trial in range(len(sets) * c_scale):
        recording = random_recording(rate, 4 + trial % 3 / 7, trial, sets[trial % len(sets)])
        assert_same(c_program("condition"), recording, exact_saturation=False)


@pytest.mark.parametrize("rate", BUILT_IN_RATES)
def test_saturation(c_anywhere: Callable[..., Run], rate: int) -> None:
    """A square wave at the converter's limits in a gain that clips at 32.767 mV, and one that clips at 8.4 V."""
    n = 6 * rate
    wave = np.where(np.arange(n) // (rate // 3) % 2, 2**23 - 2, 2 - 2**23)
    wave[2 * rate :] = 0  # so that what the host sees beyond the end is not saturated
    counts = np.repeat(wave[:, np.newaxis], 8, axis=1).astype(np.int32)
    counts[:, 0] *= -1
    for pv in (47_684, 100_000_000):
        host = assert_same(c_anywhere("condition"), Recording("square", rate, MEASURED_LEADS, counts, pv))
        assert host.saturated > 100


@pytest.mark.parametrize("rate", BUILT_IN_RATES)
@pytest.mark.parametrize("samples", [0, 1, 2, 5, 9, 11])
def test_short_recordings(c_program: Callable[..., Run], rate: int, samples: int) -> None:
    whole = random_recording(rate, 1, samples)
    part = replace(whole, counts=whole.counts[:samples], invalid=whole.invalid[:samples])
    if samples == 0:
        assert len(in_c(c_program("condition"), part)[0]) == 0
    else:
        assert_same(c_program("condition"), part, exact_saturation=False)


@pytest.mark.parametrize(("rate", "mains"), [(100, None), (333, None), (400, 60), (2000, 50)])
def test_tables_of_other_rates(c_program: Callable[..., Run], tmp_path: Path, rate: int, mains: int | None) -> None:
    folder = tmp_path / "other"
    shutil.copytree(LIBRARY, folder)
    text = resampler(Contract(), rate, mains)
    name = text[text.index("extern const ecg_resampler_t ") :].split()[3].rstrip(";")
    (folder / "ecg_resampler_250.c").write_text(text.replace(name, "ecg_resampler_250"))
    ecg = simulate([Episode("sinus rhythm", 5)], max(rate, 125), pv_per_lsb=47_684)
    assert_same(c_program("condition", folder), replace(ecg.recording, rate=rate), mains=mains)


def test_a_wrong_table_entry_is_noticed(c_anywhere: Callable[..., Run], c_with_change: Callable) -> None:
    text = next(p for p in _kernel_lines("ecg_resampler_500.c") if p)
    run = c_anywhere("condition", c_with_change("ecg_resampler_500.c", text, text.replace(" 0,", " 1,", 1)))
    recording = simulate([Episode("sinus rhythm", 4)], 500).recording
    with pytest.raises(AssertionError, match="Arrays are not equal\nsignal\n"):
        assert_same(run, recording)


def _kernel_lines(name: str) -> list[str]:
    lines = (LIBRARY / name).read_text().splitlines()
    return [text for text in lines if text.startswith("    ") and " 0," in text]
