"""The integers that a TFLite graph takes: against the formula in float64, element by element."""

import numpy as np

from ecg_edge.runtime.backends.tflite_inputs import SIGNAL_STEPS, compand, float_inputs, quantize_inputs

EVERY = np.arange(-(2**15), 2**15).astype(np.int16)


def test_every_microvolt_is_rounded_to_the_nearest_step() -> None:
    x = EVERY.astype(np.float64)
    exact = SIGNAL_STEPS * x / (1000 + np.abs(x))
    steps = compand(EVERY)
    assert np.abs(steps - exact).max() <= 0.5
    np.testing.assert_array_equal(steps[1:], -steps[:0:-1])  # -32768 has no opposite
    assert (np.diff(steps.astype(int)) >= 0).all()
    assert (steps.min(), steps.max()) == (-124, 124)


def test_worked_by_hand() -> None:
    # 128 * 100 / 1100 = 11.6, 128 * 1000 / 2000 = 64, 128 * 4 / 1004 = 0.51, 128 * 3 / 1003 = 0.38.
    np.testing.assert_array_equal(compand(np.array([100, -1000, 4, 3, 0], np.int16)), [12, -64, 1, 0, 0])


def test_a_p_wave_survives_eight_bits() -> None:
    """100 µV are 12 steps where the high-pass puts a P wave, near zero, and still 5 on 500 µV of something else."""
    wave = 100 * np.exp(-(((np.arange(21) - 10) / 3.5) ** 2))  # some 80 ms wide at half its height
    steps = compand(np.round(wave).astype(np.int16))
    assert steps.max() == 12
    back = 1000.0 * steps / (SIGNAL_STEPS - np.abs(steps.astype(float)))
    error = np.sqrt(np.mean((back - wave) ** 2))
    assert 20 * np.log10(np.sqrt(np.mean(wave**2)) / error) > 20
    raised = compand(np.round(500 + wave).astype(np.int16)).astype(int)
    assert raised.max() - raised.min() >= 5


def test_layout_is_channels_last_and_values_are_those_of_the_formula() -> None:
    rng = np.random.default_rng(0)
    signal = rng.integers(-(2**15), 2**15, (12, 1000)).astype(np.int16)
    power = rng.integers(0, 256, (12, 24, 47)).astype(np.uint8)
    steps, levels = quantize_inputs(signal, power)
    assert steps.shape == (1, 1, 1000, 12)
    assert levels.shape == (1, 24, 47, 12)
    np.testing.assert_array_equal(steps[0, 0].T, compand(signal))
    np.testing.assert_array_equal(levels[0].transpose(2, 0, 1), power.astype(int) - 128)
    exact, raw = float_inputs(signal, power)
    assert exact.dtype == raw.dtype == np.float32
    np.testing.assert_allclose(exact[0, 0].T, signal / (1000 + np.abs(signal.astype(float))), rtol=1e-6)
    np.testing.assert_array_equal(raw[0].transpose(2, 0, 1), power)


def test_inputs_that_are_views_give_the_same() -> None:
    signal = np.arange(24000, dtype=np.int16).reshape(24, 1000)[::2]
    power = np.zeros((24, 47, 12), np.uint8).transpose(2, 0, 1)
    copied = quantize_inputs(signal.copy(), power.copy())
    for a, b in zip(quantize_inputs(signal, power), copied, strict=True):
        np.testing.assert_array_equal(a, b)
