"""The simulated heart against what defines each rhythm, and against what a 12-lead recording must obey."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecg_edge.firmware_bridge.errors import EcgEdgeError
from ecg_edge.firmware_bridge.heart import RHYTHMS, Episode, Noise, SimulatedEcg, demo, described, simulate
from ecg_edge.firmware_bridge.leads import LEADS, MEASURED_LEADS
from ecg_edge.firmware_bridge.recording import COUNT_LIMIT

SILENT = Noise(wander=0, contact=0, broadband=0, muscle=0, mains=0)
BEATING = [name for name, rhythm in RHYTHMS.items() if rhythm.bpm]


def sinus(seconds: float = 10, **options: float) -> list[Episode]:
    return [Episode("sinus rhythm", seconds, **options)]


def beat(ecg: SimulatedEcg, symbol: str, before: float = 0.25, after: float = 0.5) -> np.ndarray:
    """Return the mean beat of `symbol` in mV, (samples, leads), about its R peak, less its first sample."""
    signal = ecg.recording.counts / (1e9 / ecg.recording.pv_per_lsb)
    rate, n = ecg.recording.rate, len(signal)
    starts = [round((b.time - before) * rate) for b in ecg.beats if b.symbol == symbol]
    length = round((before + after) * rate)
    cut = np.mean([signal[s : s + length] for s in starts if s >= 0 and s + length <= n], axis=0)
    return cut - cut[0]


def rr(ecg: SimulatedEcg) -> np.ndarray:
    return np.diff([b.time for b in ecg.beats])


def test_same_seed_same_recording_other_seed_other_recording() -> None:
    episodes = [Episode("sinus rhythm", 5, premature_ventricular=20), Episode("atrial fibrillation", 5)]
    first, again, other = (simulate(episodes, seed=seed) for seed in (7, 7, 8))
    assert first.beats == again.beats
    np.testing.assert_array_equal(first.recording.counts, again.recording.counts)
    assert first.beats != other.beats


def test_beats_do_not_depend_on_rate_or_noise() -> None:
    episodes = sinus(20, premature_atrial=10, premature_ventricular=10)
    assert simulate(episodes, 125).beats == simulate(episodes, 2000, noise=SILENT).beats


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32), rhythm=st.sampled_from(list(RHYTHMS)), rate=st.integers(125, 2000))
def test_limb_leads_obey_einthoven_and_counts_fit_24_bits(seed: int, rhythm: str, rate: int) -> None:
    counts = simulate([Episode(rhythm, 2)], rate, LEADS, seed=seed).recording.counts
    one, two, three, avr, avl, avf = counts.T[:6]
    np.testing.assert_array_equal(three, two - one)
    for augmented, doubled in ((avr, -one - two), (avl, 2 * one - two), (avf, 2 * two - one)):
        assert set(np.unique(doubled - 2 * augmented)) <= {0, 1}  # half a count, rounded down
    assert counts.dtype == np.int32
    assert np.abs(counts).max() < 10_000  # 10 mV at the default microvolt a count: far within 24 bits


def test_columns_are_the_leads_asked_for() -> None:
    every = simulate(sinus(3), leads=LEADS).recording
    some = simulate(sinus(3), leads=("v2", "III", "aVR")).recording
    assert some.leads == ("V2", "III", "aVR")
    np.testing.assert_array_equal(some.counts, every.counts[:, [LEADS.index(lead) for lead in some.leads]])


@pytest.mark.parametrize("rhythm", BEATING)
def test_heart_rate_is_the_one_asked_for(rhythm: str) -> None:
    low, high = RHYTHMS[rhythm].bpm_range
    for bpm in (low, (low + high) / 2, high):
        found = simulate([Episode(rhythm, 120, bpm=bpm)], 125)
        assert 60 / rr(found).mean() == pytest.approx(bpm, rel=0.06 if RHYTHMS[rhythm].irregularity else 0.02)
        assert {b.symbol for b in found.beats} == {RHYTHMS[rhythm].symbol}


def test_rhythms_without_beats_have_none() -> None:
    found = simulate([Episode("sinus rhythm", 5), Episode("asystole", 8), Episode("ventricular fibrillation", 8)])
    assert found.episodes[1:] == ((5, 13, "asystole"), (13, 21, "ventricular fibrillation"))
    assert max(b.time for b in found.beats) < 5
    signal = found.recording.counts[:, MEASURED_LEADS.index("II")]
    high_passed = signal - np.convolve(signal, np.ones(500) / 500, "same")  # less the baseline's wander
    still, chaos = (high_passed[s * 500 : (s + 5) * 500].std() for s in (7, 15))
    assert still < 40 < 150 < chaos  # microvolts


def test_ventricular_fibrillation_lies_between_3_and_7_hz() -> None:
    signal = simulate([Episode("ventricular fibrillation", 20)], noise=SILENT).recording.counts[:, 1]
    power = np.abs(np.fft.rfft(signal)) ** 2
    hz = np.fft.rfftfreq(len(signal), 1 / 500)
    assert power[(hz >= 3) & (hz <= 7)].sum() > 0.8 * power.sum()
    assert power.max() < 0.3 * power.sum()  # irregular: no single line


def test_atrial_fibrillation_is_irregular_and_sinus_rhythm_is_not() -> None:
    calm, wild = (rr(simulate([Episode(r, 120)], 125)) for r in ("sinus rhythm", "atrial fibrillation"))
    assert 0.01 < calm.std() / calm.mean() < 0.05
    assert 0.15 < wild.std() / wild.mean() < 0.25
    assert abs(np.corrcoef(wild[1:], wild[:-1])[0, 1]) < 0.2  # one interval tells nothing of the next


def test_atrial_fibrillation_has_f_waves_in_place_of_p_waves() -> None:
    episodes = [Episode("sinus rhythm", 60), Episode("atrial fibrillation", 60, bpm=70)]
    with_p, without = (simulate([e], noise=SILENT, seed=3) for e in episodes)
    window = slice(round(0.03 * 500), round(0.17 * 500))  # 220 to 80 ms before R; two is lead II
    two = MEASURED_LEADS.index("II")
    assert beat(with_p, "N")[window, two].max() > 0.08
    assert np.abs(beat(without, "N")[window, two]).max() < 0.03
    v1 = without.recording.counts[:, MEASURED_LEADS.index("V1")] / 1000
    # Late diastole, where nothing but f waves is: 50 to 100 microvolts is the amplitude of a fibrillatory wave.
    diastole = [v1[round((b.time - 0.2) * 500) : round((b.time - 0.06) * 500)] for b in without.beats[1:]]
    assert 0.03 < np.median([np.ptp(cut) for cut in diastole if len(cut)]) < 0.2
    assert not any(b.p_wave for b in without.beats)


def width(ecg: SimulatedEcg, symbol: str) -> float:
    """Return the seconds for which the QRS complex of `symbol` stays above a fifth of its peak."""
    size = np.linalg.norm(beat(ecg, symbol, before=0.08, after=0.14), axis=1)
    return float(np.ptp(np.flatnonzero(size > 0.2 * size.max())) / ecg.recording.rate)


def test_premature_ventricular_beats_are_early_wide_opposed_and_followed_by_a_pause() -> None:
    found = simulate(sinus(120, premature_ventricular=12), seed=5, noise=SILENT)
    assert width(found, "V") > 1.5 * width(found, "N")
    assert 0.10 < width(found, "V") < 0.17
    mean = beat(found, "V")[:, MEASURED_LEADS.index("II")]
    qrs, t = mean[50:200], mean[225:325]
    assert np.sign(qrs[np.abs(qrs).argmax()]) == -np.sign(t[np.abs(t).argmax()])

    symbols, gaps = [b.symbol for b in found.beats], rr(found)
    at = [k for k, s in enumerate(symbols[:-1]) if s == "V"]
    normal = np.median(gaps)
    assert 12 <= len(at) <= 36  # 24 expected
    for k in at:
        assert symbols[k - 1] == symbols[k + 1] == "N"
        assert gaps[k - 1] < 0.75 * normal < 1.2 * normal < gaps[k]
        assert gaps[k - 1] + gaps[k] == pytest.approx(2 * normal, rel=0.12)  # fully compensatory


def test_premature_atrial_beats_are_early_narrow_and_reset_the_node() -> None:
    found = simulate(sinus(120, premature_atrial=12), seed=5, noise=SILENT)
    assert width(found, "A") == pytest.approx(width(found, "N"), abs=0.01)
    gaps, normal = rr(found), np.median(rr(found))
    at = [k for k, b in enumerate(found.beats[:-1]) if b.symbol == "A"]
    assert 12 <= len(at) <= 36
    for k in at:
        assert found.beats[k].p_wave == "ectopic"
        assert gaps[k - 1] < 0.8 * normal
        assert gaps[k - 1] + gaps[k] < 1.9 * normal


def test_left_bundle_branch_block_is_wide_and_points_away_from_v1() -> None:
    found = simulate([Episode("left bundle branch block", 30)], noise=SILENT)
    assert width(found, "L") >= 0.12
    mean = beat(found, "L")
    v1, v6 = mean[:, MEASURED_LEADS.index("V1")], mean[:, MEASURED_LEADS.index("V6")]
    assert v1[60:200].min() < -0.5
    assert v6[60:200].max() > 0.4
    assert v6[225:300].min() < -0.1  # discordant T


@pytest.mark.parametrize("seed", range(12))
def test_normal_beat_looks_like_one(seed: int) -> None:
    """Signs and sizes of a normal adult's waves (mV), for whichever person the seed draws."""
    mean = beat(simulate(sinus(20), leads=LEADS, seed=seed, noise=SILENT), "N").T
    mean = mean - mean[:, [round((0.25 - 0.055) * 500)]]  # the PR segment is the baseline
    lead = dict(zip(LEADS, mean, strict=True))
    qrs, t, p = slice(95, 165), slice(200, 320), slice(15, 90)
    r = {name: x[qrs].max() for name, x in lead.items()}
    s = {name: -x[qrs].min() for name, x in lead.items()}
    assert r["V1"] < r["V2"] < r["V3"] < r["V5"]
    assert s["V6"] < s["V5"] < s["V3"] < s["V2"]
    assert r["V1"] < 0.4 * s["V1"]
    assert 0.7 < r["V5"] < 1.8
    assert 0.4 < r["II"] < 1.4
    assert all(0.05 < lead[name][t].max() < 0.9 for name in ("I", "II", "V2", "V3", "V4", "V5", "V6"))
    assert lead["aVR"][t].min() < -0.1
    assert s["aVR"] > 0.4 > 4 * r["aVR"]
    assert 0.06 < lead["II"][p].max() < 0.2
    assert lead["aVR"][p].min() < -0.03


def test_qt_shortens_with_the_rate() -> None:
    def t_peak(rhythm: str) -> float:
        mean = beat(simulate([Episode(rhythm, 60)], noise=SILENT), "N", after=0.36)
        return float(mean[200:, MEASURED_LEADS.index("V3")].argmax() / 500 + 0.15)

    slow, normal, fast = (t_peak(f"sinus {name}") for name in ("bradycardia", "rhythm", "tachycardia"))
    assert normal == pytest.approx(0.26, abs=0.03)
    # Fridericia: T's time after R goes with the cube root of RR.
    assert slow / fast == pytest.approx((118 / 48) ** (1 / 3), rel=0.05)


def test_lead_off_is_flagged_and_railed_exactly_over_its_interval() -> None:
    off = simulate(sinus(), leads=LEADS, lead_off=[("V2", 3, 5.5), ("ii", 8.001, 10)], seed=2).recording
    on = simulate(sinus(), leads=LEADS, seed=2).recording
    expected = np.zeros((5000, 12), dtype=bool)
    expected[1500:2750, LEADS.index("V2")] = True
    expected[4000:, [LEADS.index(lead) for lead in ("II", "III", "aVR", "aVL", "aVF")]] = True
    assert on.invalid is None
    assert off.invalid is not None
    np.testing.assert_array_equal(off.invalid, expected)
    np.testing.assert_array_equal(off.counts[~expected], on.counts[~expected])
    assert (off.counts[expected] == COUNT_LIMIT).all()
    assert any("lead V2 off" in line for line in off.comments)


def test_mains_hum_has_the_amplitude_and_frequency_asked_for() -> None:
    def line(hz: float) -> float:
        spectrum = np.fft.rfft(recording.counts, axis=0)[round(hz * 10)] / len(recording.counts)
        return float(np.sqrt(np.mean(np.abs(2 * spectrum / 1000) ** 2)))  # mV, rms over the leads

    recording = simulate(sinus(), noise=replace(SILENT, mains=0.1, mains_hz=60)).recording
    # 0.14 mV of amplitude at each electrode; what is common to all of them cancels in a lead.
    assert 0.03 < line(60) < 0.3
    assert line(50) < 0.005


@pytest.mark.parametrize("rhythm", RHYTHMS)
@pytest.mark.parametrize("rate", [125, 257, 360, 500, 1000, 2000])
def test_every_rhythm_runs_at_every_rate(rhythm: str, rate: int) -> None:
    found = simulate([Episode(rhythm, 2.5)], rate)
    assert found.recording.counts.shape == (round(2.5 * rate), 8)
    assert found.recording.rate == rate
    assert found.recording.counts.any(axis=0).all()


def test_scale_of_counts_changes_counts_and_not_millivolts() -> None:
    fine, coarse = (simulate(sinus(3), pv_per_lsb=pv).recording for pv in (47_684, 5_000_000))
    difference = fine.counts * 47_684e-9 - coarse.counts * 5_000_000e-9
    assert np.abs(difference).max() <= 0.0025 + 1e-4  # half a coarse count, in mV


def test_episodes_follow_one_another_and_own_their_beats() -> None:
    names = list(RHYTHMS)
    found = simulate([Episode(name, 6) for name in names], 125)
    assert [rhythm for _, _, rhythm in found.episodes] == names
    spans = {rhythm: (onset, end) for onset, end, rhythm in found.episodes}
    for b in found.beats:
        onset, end = spans[b.rhythm]
        assert onset <= b.time < end
    assert (rr(found) > 0.2).all()


def test_demo_is_always_the_same_and_has_what_it_promises() -> None:
    recording = demo()
    np.testing.assert_array_equal(recording.counts, demo().counts)
    assert (recording.name, recording.rate, recording.leads) == ("demo", 500, MEASURED_LEADS)
    assert recording.seconds == 120
    assert recording.invalid is not None
    rows, columns = np.nonzero(recording.invalid)
    assert set(columns) == {MEASURED_LEADS.index("V2")}
    assert (rows[0], rows[-1], len(rows)) == (45_000, 48_999, 4_000)
    text = "\n".join(recording.comments)
    assert all(name in text for name in ("no patient", "atrial fibrillation", "sinus tachycardia", "V2 off"))


@pytest.mark.parametrize(
    ("episodes", "options", "word"),
    [
        ([], {}, "episode"),
        ([Episode("nodal", 5)], {}, "atrial fibrillation"),
        ([Episode("sinus rhythm", 0)], {}, "more than 0"),
        ([Episode("sinus rhythm", float("nan"))], {}, "more than 0"),
        ([Episode("sinus rhythm", 1e9)], {}, "at most"),
        ([Episode("sinus rhythm", 1e-6)], {}, "no sample"),
        (sinus(bpm=150), {}, "60 to 100"),
        (sinus(bpm=float("nan")), {}, "60 to 100"),
        ([Episode("asystole", 5, bpm=40)], {}, "no beats"),
        (sinus(premature_ventricular=40), {}, "at most 34"),
        (sinus(premature_atrial=-1), {}, "premature"),
        (sinus(premature_atrial=float("nan")), {}, "premature"),
        ([Episode("atrial fibrillation", 5, premature_ventricular=5)], {}, "sinus"),
        (sinus(), {"rate": 100}, "125"),
        (sinus(), {"rate": 2001}, "2000"),
        (sinus(), {"rate": 250.5}, "whole"),
        (sinus(), {"leads": ()}, "lead"),
        (sinus(), {"leads": ("V7",)}, "V7"),
        (sinus(), {"leads": ("I", "I")}, "twice"),
        (sinus(), {"seed": -1}, "seed"),
        (sinus(), {"pv_per_lsb": 0}, "above 0"),
        (sinus(), {"pv_per_lsb": 1}, "overflows"),
        (sinus(), {"noise": Noise(mains=-1)}, "mains"),
        (sinus(), {"noise": Noise(wander=float("inf"))}, "wander"),
        (sinus(), {"lead_off": [("aVF", 1, 2)]}, "aVF"),
        (sinus(), {"lead_off": [("V1", 5, 4)]}, "stretch"),
        (sinus(), {"lead_off": [("V1", 9, 11)]}, "stretch"),
        (sinus(), {"lead_off": [("V1", 1, 2)], "leads": ("I", "II")}, "only I, II"),
    ],
)
def test_bad_arguments_are_refused_with_the_mend(episodes: list, options: dict, word: str) -> None:
    with pytest.raises(EcgEdgeError, match=word):
        simulate(episodes, **options)


# By name ----------------------------------------------------------------------------------------------------------


def test_a_name_describes_a_recording() -> None:
    found = described("heart@250: sinus rhythm/3/80 ,asystole/2")
    assert found is not None
    expected = simulate((Episode("sinus rhythm", 3, 80), Episode("asystole", 2)), 250, name="heart").recording
    assert np.array_equal(found.counts, expected.counts)
    assert (found.rate, found.seconds, found.name) == (250, 5.0, "heart")
    minute = described("heart:sinus rhythm")
    assert minute is not None
    assert (minute.rate, minute.seconds) == (500, 60.0)
    assert described("path/to/heart") is None
    assert described("demo") is None


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("heart:", "unknown rhythm ''"),
        ("heart:samba/3", "unknown rhythm 'samba': choose from sinus rhythm"),
        ("heart:asystole/long", "write heart:RHYTHM/SECONDS"),
        ("heart:sinus rhythm/3/80/1", "write heart:RHYTHM/SECONDS"),
        ("heart@fast:asystole/3", "write heart:RHYTHM/SECONDS"),
        ("heart:asystole/nan", "give more than 0"),
        ("heart@5:asystole/3", "sampling rate 5"),
    ],
)
def test_a_name_that_cannot_be_simulated(name: str, says: str) -> None:
    with pytest.raises(EcgEdgeError, match=says):
        described(name)


def test_the_document_names_the_rhythms() -> None:
    document = (Path(__file__).resolve().parents[2] / "docs" / "simulator.md").read_text()
    text = " ".join(document.split())
    assert f"Its rhythms: {', '.join(RHYTHMS)}." in text
