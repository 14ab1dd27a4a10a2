"""Beats and measurements of made ECGs whose values are known, and of signals without a heart."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

pytest.importorskip("torch")

from ecg_edge.firmware_bridge.leads import LEADS
from ecg_edge.train.measurements.beats import BEFORE_S, find_beats, typical_beat
from ecg_edge.train.measurements.values import NAMES, measure

RATE = 100
AT = {name: k for k, name in enumerate(NAMES)}


def ecg(
    beats: list[float],
    r: float = 1000.0,
    p_before_s: float = 0.16,
    t: float = 200.0,
    width_s: float = 0.02,
    noise: float = 0.0,
) -> npt.NDArray[np.int16]:
    """Return ten seconds (12, 1000) in microvolts with P, QRS and T waves around the seconds of `beats`.

    All leads are lead II's, scaled; aVR is upside down.
    """
    time = np.arange(1000) / RATE
    wave = np.zeros(1000)
    for beat in beats:
        wave += r * np.exp(-(((time - beat) / width_s) ** 2) / 2)
        wave += 100 * np.exp(-(((time - beat + p_before_s) / 0.03) ** 2) / 2)
        wave += t * np.exp(-(((time - beat - 0.3) / 0.05) ** 2) / 2)
    scale = np.linspace(0.5, 1.5, 12)
    scale[LEADS.index("aVR")] = -1
    signal = scale[:, np.newaxis] * wave + noise * np.random.default_rng(0).standard_normal((12, 1000))
    return np.rint(signal).astype(np.int16)


REGULAR = [0.5 + 0.8 * k for k in range(12)]


@pytest.mark.parametrize("noise", [0.0, 30.0])
def test_beats_are_found_where_they_are(noise: float) -> None:
    found = find_beats(ecg(REGULAR, noise=noise), RATE) / RATE
    assert len(found) == len(REGULAR)
    np.testing.assert_allclose(found, REGULAR, atol=0.05)


def test_the_typical_beat_is_the_median_and_tells_which_beats_are_others() -> None:
    signal = ecg(REGULAR, noise=40.0)
    odd = slice(420, 500)
    signal[:, odd] = -signal[:, odd]  # one beat upside down
    typical = typical_beat(signal, find_beats(signal, RATE), RATE)
    clean = ecg([5.0])[:, 500 - round(BEFORE_S * RATE) : 565]
    shift = int(typical.wave[1].argmax() - clean[1].argmax())
    assert abs(shift) <= 4
    np.testing.assert_allclose(np.roll(typical.wave, -shift, axis=1)[:, 5:-5], clean[:, 5:-5], atol=80)
    assert (typical.likeness < 0.5).sum() == 1
    assert typical.spread.shape == typical.wave.shape


def test_rhythm_is_read_in_seconds() -> None:
    values = measure(ecg(REGULAR), RATE)
    assert values[AT["beats"]] == 12
    assert values[AT["rr_mean"]] == pytest.approx(0.8, abs=0.01)
    assert values[AT["rr_deviation"]] < 0.02
    early = [*REGULAR[:6], REGULAR[6] - 0.3, *REGULAR[7:]]
    values = measure(ecg(early), RATE)
    assert values[AT["rr_least"]] == pytest.approx(0.5, abs=0.03)
    assert values[AT["rr_most"]] == pytest.approx(1.1, abs=0.03)


def test_amplitudes_are_microvolts_and_leads_are_told_apart() -> None:
    values = measure(ecg(REGULAR), RATE)
    scale = np.linspace(0.5, 1.5, 12)
    for lead in ("I", "II", "V1", "V6"):
        k = LEADS.index(lead)
        assert values[AT[f"r_{lead}"]] == pytest.approx(1000 * scale[k], rel=0.1)
        assert values[AT[f"t_most_{lead}"]] == pytest.approx(200 * scale[k], rel=0.15)
        assert values[AT[f"p_most_{lead}"]] == pytest.approx(100 * scale[k], rel=0.3)
    assert values[AT["s_aVR"]] == pytest.approx(-1000, rel=0.1)
    assert values[AT["sokolow_lyon"]] == pytest.approx(values[AT["r_V6"]] - values[AT["s_V1"]])


def test_what_changes_moves_its_measurement() -> None:
    plain = measure(ecg(REGULAR), RATE)
    wide = measure(ecg(REGULAR, width_s=0.04), RATE)
    assert wide[AT["qrs_duration"]] > plain[AT["qrs_duration"]] + 3
    inverted = measure(ecg(REGULAR, t=-200.0), RATE)
    assert inverted[AT["t_least_V5"]] < -150
    assert plain[AT["t_least_V5"]] > -50


@pytest.mark.parametrize(
    "make",
    [
        lambda: np.zeros((12, 1000), dtype=np.int16),
        lambda: np.full((12, 1000), 500, dtype=np.int16),
        lambda: np.random.default_rng(0).integers(-32767, 32767, (12, 1000)).astype(np.int16),
        lambda: ecg([5.0]),
        lambda: ecg([0.02, 9.98]),
        lambda: np.where(np.arange(12)[:, np.newaxis] < 6, ecg(REGULAR), 0).astype(np.int16),
    ],
    ids=["nothing", "a level", "noise", "one beat", "beats at the ends", "limb leads alone"],
)
def test_any_signal_has_finite_measurements(make: Callable[[], npt.NDArray[np.int16]]) -> None:
    values = measure(make(), RATE)
    assert values.shape == (len(NAMES),)
    assert values.dtype == np.float64
    assert np.isfinite(values).all()


def test_names_are_told_apart() -> None:
    assert len(set(NAMES)) == len(NAMES)
