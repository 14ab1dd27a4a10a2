"""The fixed-point transform: bit for bit what plain integers give, and close to float64 on real recordings."""

import hashlib
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import scipy.signal
from hypothesis import given, settings
from hypothesis import strategies as st

from ecg_edge.runtime.conditioning import condition
from ecg_edge.runtime.contract import Contract
from ecg_edge.runtime.selftest import front_end_inputs
from ecg_edge.runtime.sources.records import read_recording
from ecg_edge.runtime.stft import STRETCH, Stft, spectrogram, twiddle_tables, window_table

CONTRACT = Contract()
N = CONTRACT.stft_length
ALL_BINS = N // 2 + 1
ONE = 2**20
"""What the tables hold for 1.0."""

# The tables and the front end's answer to the built-in signal are part of the contract: where one of these fails,
# either the change was a mistake, or the front end has a new version and every bundle must be trained again.
WINDOW_SHA256 = "c73f52f085a0714fae5bfd99307e374754370105a9cb1fb90c0c27fd8ba5909a"
TWIDDLES_SHA256 = "f1c20e25ac1785e1000d395552ea9eeaeb61890ef4f4609402226fe450034da2"
FRONT_END_SHA256 = "7a8fc4ad4d11852e1897262735998480aa9631ff7411a7127fadb7eab9d00eae"


def sha256(*tables: np.ndarray) -> str:
    return hashlib.sha256(b"".join(np.ascontiguousarray(t).astype("<i4").tobytes() for t in tables)).hexdigest()


# The reference: Python integers alone, from the description of the transform.

WINDOW = [int(w) for w in window_table(N)]
TWIDDLES = {
    length: [[[int(v) for v in column] for column in table.T] for table in twiddle_tables(length, length // 2 + 1)]
    for length in (32, N, 128)
}


def reference_spectrum(frame: list[int], length: int = N) -> tuple[list[int], list[int], int]:
    """Return (re, im, left shift): integers of at most 27 bits and how far the frame was shifted up."""
    window = [int(w) for w in window_table(length)] if length != N else WINDOW
    cosines, sines = TWIDDLES[length]
    up = 24 - max(abs(v) for v in frame).bit_length() if any(frame) else 0
    normalized = []
    for sample, weight in zip(frame, window, strict=True):
        product, shift = sample * weight, 20 - up
        normalized.append((product + (1 << shift >> 1)) >> shift if shift > 0 else product << -shift)
    last = 17 + length.bit_length() - 1
    sums = ([sum(x * t for x, t in zip(normalized, row, strict=True)) for row in table] for table in (cosines, sines))
    re, im = ([(total + (1 << last >> 1)) >> last for total in half] for half in sums)
    return re, im, up


def reference_log(power: int, up: int, contract: Contract) -> int:
    """Return the 8-bit log of `power` times 2**(2 exponent), decided by comparing whole numbers."""
    if not power:
        return 0
    octave = power.bit_length() - 1
    leading = power << 8 >> octave  # the leading bit and the eight after it: 256..511
    steps = contract.log_steps_per_octave
    fraction = max(j for j in range(steps) if leading**steps >= 2**j * 256**steps)
    exponent = 17 + contract.stft_length.bit_length() - 1 - 20 - up
    scaled = steps * (octave + 2 * exponent - contract.log_floor_octave) + fraction
    return min(max(scaled, 0), 255)


def special_frames() -> np.ndarray:
    """Return int16 frames in which an implementation could go wrong."""
    ramp = np.arange(N)
    frames = [np.zeros(N, int), np.full(N, 1), np.full(N, -1), np.full(N, 32767), np.full(N, -32768)]
    frames += [np.where(ramp % 2, 32767, -32768), np.where(ramp % 4 < 2, 32767, -32768), ramp * 1040 - 32768]
    for place in (0, 1, 2, 31, 32, 33, 62, 63):
        for value in (1, -1, 2, 255, 16384, 32767, -32768):
            impulse = np.zeros(N, int)
            impulse[place] = value
            frames.append(impulse)
    for bit in range(15):
        frames += [np.full(N, 1 << bit), np.where(ramp % 2, 1 << bit, -(1 << bit)), np.full(N, (1 << bit) - 1)]
    frames += [np.rint(32767 * np.cos(2 * np.pi * k * ramp / N)).astype(int) for k in (1, 2, 7.5, 16, 31)]
    return np.array(frames)


def random_frames(count: int, seed: int) -> np.ndarray:
    """Return int16 frames of every amplitude, from one LSB to full scale."""
    rng = np.random.default_rng(seed)
    top = 2.0 ** rng.uniform(0, 15, (count, 1))
    return np.clip(np.rint(rng.uniform(-1, 1, (count, N)) * top), -32768, 32767).astype(int)


def test_tables_are_the_contract_s() -> None:
    assert sha256(window_table(64)) == WINDOW_SHA256
    assert sha256(*twiddle_tables(64, 24)) == TWIDDLES_SHA256


def test_front_end_s_integers_have_not_changed() -> None:
    assert front_end_inputs(CONTRACT).sha256 == FRONT_END_SHA256


@pytest.mark.parametrize("length", [32, 64, 128])
def test_tables_are_rounded_to_nearest(length: int) -> None:
    hann = scipy.signal.get_window("hann", length, fftbins=True)
    assert np.abs(window_table(length) - ONE * hann).max() <= 0.5 + 1e-9
    basis = np.exp(-2j * np.pi * np.outer(np.arange(length), np.arange(length // 2 + 1)) / length)
    cosine, minus_sine = twiddle_tables(length, length // 2 + 1)
    assert np.abs(cosine - ONE * basis.real).max() <= 0.5 + 1e-9
    assert np.abs(minus_sine - ONE * basis.imag).max() <= 0.5 + 1e-9


@pytest.mark.parametrize("frames", [special_frames(), random_frames(250, 1)], ids=["special", "random"])
def test_spectrum_is_that_of_plain_integers(frames: np.ndarray) -> None:
    found = Stft(CONTRACT, bins=ALL_BINS).transform(frames)
    for row, frame in enumerate(frames.tolist()):
        re, im, up = reference_spectrum(frame)
        assert found.re[row].tolist() == re
        assert found.im[row].tolist() == im
        assert found.exponent[row] == 17 + 6 - 20 - up
        assert max(map(abs, re + im)) <= 2**26


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-(2**31), 2**31 - 1), min_size=N, max_size=N), st.integers(0, 31))
def test_spectrum_of_32_bit_data_is_that_of_plain_integers(values: list[int], fewer_bits: int) -> None:
    frame = [v >> fewer_bits for v in values]
    found = Stft(CONTRACT, bins=ALL_BINS).transform(np.array([frame]))
    re, im, up = reference_spectrum(frame)
    assert (found.re[0].tolist(), found.im[0].tolist()) == (re, im)
    assert found.exponent[0] == 17 + 6 - 20 - up


@pytest.mark.parametrize(
    "contract",
    [
        CONTRACT,
        Contract(stft_length=32, stft_bins=17, stft_hop=10),
        Contract(stft_length=128, stft_bins=65, stft_hop=50, log_floor_octave=-8),
    ],
    ids=["default", "short", "long"],
)
def test_log_power_is_that_of_plain_integers(contract: Contract) -> None:
    rng = np.random.default_rng(2)
    loudness = np.exp2(np.repeat(rng.uniform(0, 15, 12), contract.stft_length))
    signal = np.clip(rng.normal(0, loudness / 3), -32768, 32767).astype(np.int16)
    signal[300 : 300 + 2 * contract.stft_length] = 0
    found = spectrogram(signal, contract)
    starts = range(0, len(signal) - contract.stft_length + 1, contract.stft_hop)
    assert found.shape == (contract.stft_bins, len(starts))
    for column, start in enumerate(starts):
        re, im, up = reference_spectrum(signal[start : start + contract.stft_length].tolist(), contract.stft_length)
        powers = [a * a + b * b for a, b in zip(re, im, strict=True)][: contract.stft_bins]
        assert found[:, column].tolist() == [reference_log(p, up, contract) for p in powers]


def test_log_steps_are_the_floor_of_the_logarithm_to_eight_bits_of_mantissa() -> None:
    rng = np.random.default_rng(3)
    edges = [2**k + d for k in range(2, 53) for d in (-1, 0, 1)]
    powers = [1, 2, 3, *edges, *np.exp2(rng.uniform(4, 52.9, 4000)).astype(int).tolist(), 2**53 - 1]
    up = [p.bit_length() // 2 - 5 for p in powers]  # as if the frame had been lifted by so much: mid-range steps
    power = np.array(powers, dtype=np.float64)[:, np.newaxis]
    found = Stft(CONTRACT)._log_steps(power, power.view(np.int64), 24 - np.array(up))[:, 0]
    assert 0 < found.min() < found.max() < 255
    for power, lifted, step in zip(powers, up, found.tolist(), strict=True):
        octave = power.bit_length() - 1
        mantissa = (power << 8 >> octave) / 256
        # Only a whole power of two lies on a step, so float64 decides every other case.
        expected = 8 * octave + (math.floor(8 * math.log2(mantissa)) if mantissa > 1 else 0)
        exponent = (12 + 6) - 15 - lifted
        assert step == expected + 8 * (2 * exponent - CONTRACT.log_floor_octave)
        # Nine bits, 256 to 511, are less than 1/256 short of the power: 0.045 of a step.
        assert 0 <= 8 * math.log2(power) - expected < 1 + 8 * math.log2(1 + 1 / 256)


def test_the_smallest_and_the_largest_powers_are_found_in_the_table() -> None:
    bits = np.array([0, 1, 1, 1, 32, 32])  # of the peak: a frame of zeros, of ones, of 32-bit extremes
    power = np.array([[0.0], [0.0], [1.0], [2.0**53 - 1], [1.0], [2.0**53 - 1]])
    found = Stft(Contract(log_floor_octave=-8))._log_steps(power, power.view(np.int64), bits)
    # 2**53 less one, of a frame lifted by 23 bits: octave 52 - 2 * 23 + 2 * 3, 20 above the floor, and seven eighths.
    assert found[:, 0].tolist() == [0, 0, 0, 8 * 20 + 7, 8 * (16 + 6 + 8), 255]


def test_spectrogram_against_scipy() -> None:
    signal = front_end_inputs(CONTRACT).signal
    found = spectrogram(signal, CONTRACT).astype(float)
    hann = scipy.signal.get_window("hann", N, fftbins=True)
    _, _, spectra = scipy.signal.stft(
        signal, window=hann, nperseg=N, noverlap=N - CONTRACT.stft_hop, boundary=None, padded=False, scaling="spectrum"
    )
    power = np.abs(spectra * hann.sum())[:, : CONTRACT.stft_bins] ** 2
    exact = 8 * (np.log2(np.maximum(power, 2.0**-20)) - CONTRACT.log_floor_octave)
    heard = (exact > 0) & (exact < 255)
    assert heard.mean() > 0.9
    # One step of quantization, the truncated mantissa, and the noise of the transform.
    difference = exact[heard] - found[heard]
    assert difference.min() > -0.1
    assert difference.max() < 1.2


def test_any_memory_layout_gives_the_same_frames() -> None:
    signal = front_end_inputs(CONTRACT).signal
    assert np.array_equal(spectrogram(np.asfortranarray(signal), CONTRACT), spectrogram(signal, CONTRACT))
    assert np.array_equal(spectrogram(signal[:, ::-1], CONTRACT), spectrogram(signal[:, ::-1].copy(), CONTRACT))


def test_a_transform_gives_the_same_frames_whatever_it_was_given_before() -> None:
    signal = front_end_inputs(CONTRACT).signal
    stft, other = Stft(CONTRACT), (signal[:, ::-1] // 2).astype(np.int32)
    before = [stft.frames(s) for s in (signal, signal[:, :144], other, signal[0], signal)]
    for found, s in zip(before, (signal, signal[:, :144], other, signal[0], signal), strict=True):
        np.testing.assert_array_equal(found, spectrogram(s, CONTRACT))


def test_a_long_signal_is_transformed_in_stretches() -> None:
    contract = Contract()
    whole, hop, length = Stft(contract), contract.stft_hop, contract.stft_length
    longest = (STRETCH - 1) * hop + length
    signal = np.random.default_rng(3).integers(-32768, 32768, (2, 2 * longest + 2 * hop + 7)).astype(np.int16)
    for samples in (longest, longest + 1, longest + hop, 2 * longest - length + hop, signal.shape[1]):
        part = signal[:, :samples]
        starts = range(0, samples - length + 1, hop)
        frames = [whole.frames(part[:, start : start + length]) for start in starts]
        np.testing.assert_array_equal(whole.frames(part), np.concatenate(frames, axis=-1))


def test_samples_of_more_than_32_bits_are_refused() -> None:
    spectrogram(np.full(N, -(2**32 - 1)), CONTRACT)
    with pytest.raises(IndexError):
        spectrogram(np.full(N, 2**32), CONTRACT)


@pytest.mark.parametrize("samples", [0, 1, 63])
def test_signal_shorter_than_a_frame_has_none(samples: int) -> None:
    assert spectrogram(np.zeros((12, samples), np.int16), CONTRACT).shape == (12, CONTRACT.stft_bins, 0)


# Signal to quantization noise, against float64.


def sqnr_db(exact: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Return 10 log10 of signal power over error power of each row (frames, bins)."""
    signal = (np.abs(exact) ** 2).sum(axis=-1)
    noise = (np.abs(exact - found) ** 2).sum(axis=-1)
    return 10 * np.log10(signal / noise)


def test_the_meter_reads_a_case_worked_by_hand() -> None:
    # Signal 3^2 + 4^2 = 25; error |0.3 - 0.4j|^2 = 0.25; 25 / 0.25 = 100, which is 20 dB.
    assert sqnr_db(np.array([[3.0, 4.0j]]), np.array([[2.7, 4.4j]]))[0] == pytest.approx(20.0)
    # An error as large as the signal: 0 dB. Scaling both changes nothing.
    assert sqnr_db(np.array([[1e6, 0.0]]), np.array([[0.0, 0.0]]))[0] == pytest.approx(0.0)
    assert sqnr_db(np.array([[300.0, 400.0j]]), np.array([[270.0, 440.0j]]))[0] == pytest.approx(20.0)


def recordings(data_dir: Path) -> Iterator[np.ndarray]:
    """Yield the conditioned leads (leads, samples) of real recordings: 12 leads of 10 s, and 2 leads of 60 s."""
    twelve = sorted((data_dir / "ptbxl").glob("records500/*/*_hr.hea"))[:40]
    twelve += sorted((data_dir / "ptbxl").glob("records100/*/*_lr.hea"))[: max(0, 40 - len(twelve))]
    holter = sorted((data_dir / "mitdb").glob("*.hea"))
    assert len(twelve) + len(holter) >= 40
    for path in [*twelve, *holter]:
        signal = condition(read_recording(path.with_suffix(""), stop_seconds=60), CONTRACT).signal.T
        yield signal[signal.any(axis=1)].astype(np.float64)


@pytest.fixture(scope="module")
def real_frames(data_dir: Path) -> np.ndarray:
    """Frames (n, 64) of real recordings as the spectrogram cuts them, each lead scaled to a peak of 1."""
    cut = []
    for signal in recordings(data_dir):
        unit = signal / np.abs(signal).max(axis=1, keepdims=True)
        windows = np.lib.stride_tricks.sliding_window_view(unit, N, axis=-1)[:, :: CONTRACT.stft_hop]
        cut.append(windows.reshape(-1, N))
    return np.concatenate(cut)


@pytest.mark.parametrize("amplitude", [0.9, 0.1, 0.01])
@pytest.mark.parametrize("full_scale_bits", [15, 31])
def test_sqnr_on_real_recordings(real_frames: np.ndarray, amplitude: float, full_scale_bits: int) -> None:
    integers = np.rint(real_frames * (amplitude * 2.0**full_scale_bits)).astype(np.int64)
    integers = integers[integers[:, 1:].any(axis=1)]  # a frame of zeros (under the window) has no signal to lose
    assert len(integers) > 20_000
    found = Stft(CONTRACT, bins=ALL_BINS).transform(integers)
    spectra = np.ldexp(found.re, found.exponent[:, np.newaxis]) + 1j * np.ldexp(found.im, found.exponent[:, np.newaxis])

    hann = scipy.signal.get_window("hann", N, fftbins=True)
    exact = np.fft.rfft(integers * hann)
    ideal = sqnr_db(exact, spectra)
    basis = (twiddle_tables(N, ALL_BINS)[0] + 1j * twiddle_tables(N, ALL_BINS)[1]) / ONE
    same_tables = sqnr_db((integers * (window_table(N) / ONE)) @ basis, spectra)
    print(
        f"full scale 2**{full_scale_bits}, amplitude {amplitude}, {len(integers)} frames: "
        f"against float64 mean {ideal.mean():.2f} min {ideal.min():.2f} dB; "
        f"against exact sums of the tables mean {same_tables.mean():.2f} min {same_tables.min():.2f} dB"
    )
    # What is asked for is 90 and 77 dB, at any amplitude.
    assert ideal.mean() > 115
    assert ideal.min() > 90
    assert same_tables.mean() > 128
    assert same_tables.min() > 95
