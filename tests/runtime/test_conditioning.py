"""The front end's filters: bit for bit what plain integers give, the same for any chunking, and what they promise."""

from collections.abc import Sequence
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecg_edge.firmware_bridge.errors import EcgEdgeError
from ecg_edge.firmware_bridge.leads import LEADS, MEASURED_LEADS
from ecg_edge.firmware_bridge.recording import Recording
from ecg_edge.runtime.conditioning import Conditioned, Conditioner, condition
from ecg_edge.runtime.contract import Contract
from ecg_edge.runtime.filters import KERNEL_SECONDS, resampling_kernel

CONTRACT = Contract()
RATES = (100, 125, 250, 257, 360, 500, 1000, 2000)
MICROVOLT = 1_000_000  # picovolts
ONE_LEAD = LEADS.index("II")


def record(
    counts: np.ndarray,
    rate: int,
    leads: Sequence[str] = ("II",),
    pv_per_lsb: int = MICROVOLT,
    invalid: np.ndarray | None = None,
) -> Recording:
    return Recording("test", rate, tuple(leads), np.asarray(counts, dtype=np.int32), pv_per_lsb, invalid)


def column(values: Sequence[float] | np.ndarray) -> np.ndarray:
    return np.rint(np.asarray(values)).astype(np.int32)[:, np.newaxis]


def noise(n: int, channels: int, seed: int = 0, top: int = 3000) -> np.ndarray:
    """Return a random walk with jumps: energy at all frequencies, and an offset."""
    rng = np.random.default_rng(seed)
    walk = np.cumsum(rng.integers(-60, 61, (n, channels)), axis=0) + rng.integers(-top, top, (n, channels))
    return (walk + 40_000 * rng.standard_normal(channels)).astype(np.int32)


# The reference: one output at a time, in integers, from the description of the filters.

DERIVED = {  # in half LSB, from I and II (Einthoven, Goldberger)
    "I": (2, 0), "II": (0, 2), "III": (-2, 2), "aVR": (-1, -1), "aVL": (2, -1), "aVF": (-1, 2),
}  # fmt: skip


@cache
def kernel(phase: int, rate: int, mains: int | None) -> np.ndarray:
    half = int(KERNEL_SECONDS * rate) + 1
    return resampling_kernel(phase, rate, 100, half, mains).astype(np.int64)


def half_lsb(counts: np.ndarray, leads: Sequence[str]) -> dict[str, np.ndarray]:
    """Return each lead that there is or that follows from I and II."""
    wide = counts.astype(np.int64)
    known = {lead: 2 * wide[:, k] for k, lead in enumerate(leads)}
    if "I" in leads and "II" in leads:
        one, two = wide[:, leads.index("I")], wide[:, leads.index("II")]
        known = {lead: a * one + b * two for lead, (a, b) in DERIVED.items()} | known
    return known


def reference(recording: Recording, mains: int | None = None) -> np.ndarray:
    """Return the conditioned signal (samples, 12) of a recording without invalid samples."""
    n, rate = len(recording.counts), recording.rate
    total = -(-n * 100 // rate)
    result = np.zeros((total, 12), dtype=np.int64)
    half = int(KERNEL_SECONDS * rate) + 1
    for lead, signal in half_lsb(recording.counts, recording.leads).items():
        sixteenths = []
        for m in range(-127, total + 127):
            first, phase = divmod(m * rate, 100)
            places = np.arange(first - half + 1, first + half + 1).clip(0, n - 1)
            accumulated = int(np.dot(signal[places], kernel(phase, rate, mains)))
            fine = (accumulated + 2**15) >> 16  # 1/32 LSB
            volts = (fine * recording.pv_per_lsb + 10**6) // (2 * 10**6)  # 1/16 microvolt
            sixteenths.append(min(max(volts, -(2**27) + 1), 2**27 - 1))
        padded = np.array(sixteenths)
        weights = 128 - np.abs(np.arange(-127, 128))
        for m in range(total):
            near = padded[m : m + 255]
            rest = 128 * 128 * int(near[127]) - int(np.dot(weights, near))
            rounded = (rest + 2**17) >> 18
            result[m, LEADS.index(lead)] = min(max(rounded, -32767), 32767)
    return result


@pytest.mark.parametrize("rate", RATES)
def test_output_is_that_of_plain_integers(rate: int) -> None:
    recording = record(noise(int(2.13 * rate), 3, seed=rate), rate, ("I", "II", "V3"), pv_per_lsb=715_256)
    assert np.array_equal(condition(recording, CONTRACT).signal, reference(recording))


@pytest.mark.parametrize(("rate", "mains"), [(125, 50), (250, 60), (257, 50), (500, 50), (1000, 60)])
def test_output_with_a_notch_is_that_of_plain_integers(rate: int, mains: int) -> None:
    recording = record(noise(int(1.7 * rate), 1, seed=mains), rate)
    assert np.array_equal(condition(recording, CONTRACT, mains).signal, reference(recording, mains))


@pytest.mark.parametrize("pv_per_lsb", [1, 333, 47_684, 4_000_000, 4_194_305, 100_000_000])
@pytest.mark.parametrize("samples", [1, 2, 7, 60])
def test_extreme_gains_and_short_signals_are_those_of_plain_integers(pv_per_lsb: int, samples: int) -> None:
    counts = np.random.default_rng(samples).integers(-(2**23) + 1, 2**23, (samples, 2))
    recording = record(counts, 250, ("I", "II"), pv_per_lsb)
    assert np.array_equal(condition(recording, CONTRACT).signal, reference(recording))


def scipy_taps(phase: int, rate: int) -> np.ndarray:
    scipy_special = pytest.importorskip("scipy.special")
    half = int(KERNEL_SECONDS * rate) + 1
    seconds = (np.arange(-half + 1, half + 1) - phase / 100) / rate
    bell = np.sqrt(np.clip(1 - (seconds / KERNEL_SECONDS) ** 2, 0, None))
    shape = np.where(np.abs(seconds) < KERNEL_SECONDS, scipy_special.i0(6.0 * bell), 0)
    taps = np.sinc(90 * seconds) * shape
    return taps / taps.sum()


@pytest.mark.parametrize("rate", RATES)
def test_kernel_is_the_windowed_sinc_to_a_unit_and_passes_a_constant_exactly(rate: int) -> None:
    for phase in {m * rate % 100 for m in range(100)}:
        taps = kernel(phase, rate, None)
        assert taps.sum() == 2**20
        off = np.sort(np.abs(taps - scipy_taps(phase, rate) * 2**20))
        assert off[-2] <= 0.5 + 1e-6
        assert off[-1] <= 20  # the largest tap takes what rounding all the others has left: 0.002 % of the sum
    for mains in (50, 60) if rate >= 125 else ():
        assert all(kernel(m * rate % 100, rate, mains).sum() == 2**20 for m in range(100))


# Chunks and masks.


def test_no_signal_gives_none() -> None:
    conditioner = Conditioner(CONTRACT, 250, MICROVOLT, ("II",))
    assert len(conditioner.push(np.zeros((0, 1), np.int32)).signal) == 0
    assert conditioner.flush().signal.shape == (0, 12)


def joined(parts: Sequence[Conditioned]) -> tuple[np.ndarray, np.ndarray]:
    return np.concatenate([p.signal for p in parts]), np.concatenate([p.invalid for p in parts])


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_output_does_not_depend_on_the_chunks(data: st.DataObject) -> None:
    rate = data.draw(st.sampled_from((100, 125, 257, 360, 500)))
    n = data.draw(st.integers(1, 4 * rate))
    counts = noise(n, 3, seed=n)
    invalid = np.zeros((n, 3), dtype=bool)
    spans = data.draw(st.lists(st.tuples(st.integers(0, n), st.integers(1, rate), st.integers(0, 2)), max_size=4))
    for start, length, channel in spans:
        invalid[start : start + length, channel] = True
    cuts = sorted(data.draw(st.lists(st.integers(0, n), max_size=12)))
    if data.draw(st.booleans()):
        begin = data.draw(st.integers(0, n))
        cuts = sorted(cuts + list(range(begin, min(n, begin + 40))))  # single samples
    leads = ("I", "II", "V5")

    whole = condition(record(counts, rate, leads, invalid=invalid), CONTRACT)
    conditioner = Conditioner(CONTRACT, rate, MICROVOLT, leads)
    parts = []
    for start, stop in zip([0, *cuts], [*cuts, n], strict=True):
        mask = invalid[start:stop]
        # A chunk without an invalid sample may come without a mask.
        parts.append(conditioner.push(counts[start:stop], mask if mask.any() or start % 2 else None))
    assert all(len(p.signal) % 25 == 0 for p in parts)
    parts.append(conditioner.flush())
    signal, mask = joined(parts)
    assert np.array_equal(signal, whole.signal)
    assert np.array_equal(mask, whole.invalid)
    assert len(signal) == -(-n * 100 // rate)
    assert conditioner.samples_in == n
    assert conditioner.samples_out == len(signal)


@pytest.mark.parametrize("length", [1, 25, 50, 125, 250, 500])
@pytest.mark.parametrize(("start", "stop"), [(500, 750), (0, 250), (250, 1250), (740, 750), (1000, 1500)])
def test_lead_comes_off_and_returns_at_the_border_of_a_chunk(length: int, start: int, stop: int) -> None:
    counts = noise(1500, 2, seed=6)
    counts[stop:, 0] += 40_000
    invalid = np.zeros(counts.shape, dtype=bool)
    invalid[start:stop, 0] = True
    whole = condition(record(counts, 250, ("V1", "V2"), invalid=invalid), CONTRACT)
    conditioner = Conditioner(CONTRACT, 250, MICROVOLT, ("V1", "V2"))
    parts = []
    for begin in range(0, 1500, length):
        mask = invalid[begin : begin + length]
        parts.append(conditioner.push(counts[begin : begin + length], mask if mask.any() else None))
    signal, mask = joined([*parts, conditioner.flush()])
    assert np.array_equal(signal, whole.signal)
    assert np.array_equal(mask, whole.invalid)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from((100, 125, 257, 360, 1000)), st.data())
def test_invalid_samples_are_marked_where_they_are(rate: int, data: st.DataObject) -> None:
    n = 3 * rate
    invalid = np.zeros((n, 3), dtype=bool)
    for channel in range(3):
        for place in data.draw(st.lists(st.integers(0, n - 1), max_size=3)):
            invalid[place : place + data.draw(st.sampled_from((1, 2, 30, 200))), channel] = True
    found = condition(record(noise(n, 3), rate, ("I", "II", "V5"), invalid=invalid), CONTRACT).invalid
    # Model sample m stands for the device's samples from m * rate / 100 up to the next one's.
    edges = [m * rate // 100 for m in range(301)]
    marked = np.array([invalid[a:b].any(axis=0) for a, b in pairwise(edges)])
    assert np.array_equal(found[:, LEADS.index("I")], marked[:, 0])
    assert np.array_equal(found[:, LEADS.index("II")], marked[:, 1])
    assert np.array_equal(found[:, LEADS.index("V5")], marked[:, 2])
    for lead in ("III", "aVR", "aVL", "aVF"):
        assert np.array_equal(found[:, LEADS.index(lead)], marked[:, 0] | marked[:, 1])
    assert not found[:, LEADS.index("V1")].any()


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_invalid_stretch_is_bridged_as_if_the_signal_had_held_its_value(data: st.DataObject) -> None:
    n = 750
    counts = noise(n, 1, seed=9)
    invalid = np.zeros((n, 1), dtype=bool)
    for start in data.draw(st.lists(st.integers(0, n - 1), min_size=1, max_size=4)):
        invalid[start : start + data.draw(st.integers(1, 300))] = True
    held, offset, bridged = 0, 0, []
    for k in range(n):
        if not invalid[k, 0]:
            if k and invalid[k - 1, 0]:
                offset = held - int(counts[k, 0])
            held = int(counts[k, 0]) + offset
        bridged.append(held)
    dirty = counts.copy()
    dirty[invalid] = data.draw(st.sampled_from((0, 2**23 - 1, -(2**23))))  # what stands there means nothing
    found = condition(record(dirty, 250, invalid=invalid), CONTRACT)
    assert np.array_equal(found.signal, condition(record(column(bridged), 250), CONTRACT).signal)


def test_lead_that_returns_with_another_offset_makes_no_step() -> None:
    rate, n = 250, 2500
    invalid = np.zeros((n, 1), dtype=bool)
    invalid[1000:1250] = True
    counts = np.full((n, 1), 1000)
    counts[1250:] = 151_000  # 150 mV of another half-cell voltage
    conditioned = condition(record(counts, rate, invalid=invalid), CONTRACT)
    assert not conditioned.signal.any()
    assert np.flatnonzero(conditioned.invalid[:, ONE_LEAD]).tolist() == list(range(400, 500))


def test_stream_that_starts_with_the_electrode_off_makes_no_step_either() -> None:
    invalid = np.zeros((1000, 1), dtype=bool)
    invalid[:300] = True
    assert not condition(record(np.full((1000, 1), 80_000), 250, invalid=invalid), CONTRACT).signal.any()


# What the filters do to a signal.


def response_db(frequencies: np.ndarray, rate: int, mains: int | None = None) -> np.ndarray:
    """Return the gain in dB (phases, frequencies) of the resampling filter, for up to 25 of the phases that occur."""
    half = int(KERNEL_SECONDS * rate) + 1
    rows = []
    phases = sorted({m * rate % 100 for m in range(100)})
    for phase in phases[:: -(-len(phases) // 25)]:
        seconds = (np.arange(-half + 1, half + 1) - phase / 100) / rate
        gain = np.exp(-2j * np.pi * np.outer(frequencies, seconds)) @ kernel(phase, rate, mains) / 2**20
        rows.append(20 * np.log10(np.maximum(np.abs(gain), 1e-12)))
    return np.array(rows)


def highpass_db(frequencies: np.ndarray) -> np.ndarray:
    """Return the gain in dB of one minus two cascaded moving averages of 128 samples at 100 Hz."""
    weights = (128 - np.abs(np.arange(-127, 128))) / 128**2
    average = np.cos(2 * np.pi * np.outer(frequencies, np.arange(-127, 128)) / 100) @ weights
    return 20 * np.log10(np.abs(1 - average))


@pytest.mark.parametrize("rate", RATES)
def test_resampling_passes_40_hz_and_stops_from_50(rate: int) -> None:
    passed = response_db(np.linspace(0, 40, 81), rate)
    assert np.abs(passed).max() < 0.015
    if rate > 100:  # at 100 Hz there is nothing beyond 50 Hz to stop
        frequencies = np.arange(50, rate / 2 + 0.01, 0.2 if rate < 1000 else 0.7)
        stopped = response_db(frequencies, rate)
        print(f"{rate} Hz: pass band {passed.min():.4f} to {passed.max():.4f} dB, stop band {stopped.max():.2f} dB")
        assert stopped.max() < -60


def test_highpass_is_3_db_down_at_0_45_hz_and_flat_from_2_hz() -> None:
    fine = np.linspace(0.1, 1.0, 9001)
    half_power = fine[np.argmin(np.abs(highpass_db(fine) + 10 * np.log10(2)))]
    print(f"-3 dB at {half_power:.4f} Hz")
    assert half_power == pytest.approx(0.45, abs=0.005)
    ripple = highpass_db(np.linspace(2, 40, 3801))
    above = highpass_db(np.linspace(2.3, 40, 3771))
    print(f"from 2 Hz {ripple.min():.4f} to {ripple.max():.4f} dB, from 2.3 Hz {above.min():.4f} dB")
    assert np.abs(ripple).max() < 0.15  # the side lobe of the moving averages at 2 Hz; the next is half as high
    assert np.abs(above).max() < 0.1


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("hertz", [0.45, 2.34, 10.0, 25.0, 40.0])
def test_sine_comes_out_with_the_filters_gain_and_in_phase(rate: int, hertz: float) -> None:
    amplitude = 20_000
    t = np.arange(12 * rate) / rate
    out = condition(record(column(amplitude * np.sin(2 * np.pi * hertz * t)), rate), CONTRACT).signal[:, ONE_LEAD]
    expected = 10 ** ((highpass_db(np.array([hertz]))[0] + response_db(np.array([hertz]), rate).mean()) / 20)
    model = np.sin(2 * np.pi * hertz * np.arange(1200) / 100)
    # Away from the ends, where the constant continuation shows. 0.01 % of ripple between phases, and rounding.
    assert np.abs(out - expected * amplitude * model)[300:900].max() < 0.0002 * amplitude + 1.5


@pytest.mark.parametrize("rate", [125, 250, 257, 500, 1000])
@pytest.mark.parametrize(("mains", "beside"), [(50, -60), (60, -80)])
def test_notch_nulls_the_grid_and_costs_nothing_elsewhere(mains: int, beside: float, rate: int) -> None:
    """50 Hz lies at the edge of the stop band, so a grid that is 0.2 Hz low is attenuated by 61 dB, not by 100."""
    line = response_db(np.array([mains]), rate, mains).max()
    near = response_db(np.linspace(mains - 0.2, mains + 0.2, 9), rate, mains).max()
    passed = response_db(np.linspace(0, 40, 81), rate, mains)
    stopped = response_db(np.arange(50, rate / 2 + 0.01, 0.2 if rate < 1000 else 0.7), rate, mains).max()
    print(
        f"{rate} Hz, {mains} Hz notch: {line:.1f} dB, within 0.2 Hz {near:.1f} dB, "
        f"pass band {passed.min():.4f} to {passed.max():.4f} dB, stop band {stopped:.1f} dB"
    )
    assert line < -90
    assert near < beside
    assert np.abs(passed).max() < 0.015
    assert stopped < -60


@pytest.mark.parametrize(("rate", "mains"), [(250, 50), (500, 60)])
def test_strong_hum_is_gone(rate: int, mains: int) -> None:
    t = np.arange(8 * rate) / rate
    hum = record(column(100_000 * np.sin(2 * np.pi * mains * t + 1)), rate)
    plain = condition(hum, CONTRACT).signal[250:-250, ONE_LEAD]
    quiet = condition(hum, CONTRACT, mains).signal[250:-250, ONE_LEAD]
    assert np.abs(quiet).max() <= 2 < np.abs(plain).max()


@pytest.mark.parametrize("mains", [None, 50])
@pytest.mark.parametrize("rate", RATES)
def test_symmetric_pulse_stays_symmetric_and_in_its_place(rate: int, mains: int | None) -> None:
    if mains and rate < 125:
        pytest.skip("no notch at this rate")
    middle = 4 * rate  # model sample 400
    away = np.abs(np.arange(8 * rate + 1) - middle) / rate
    pulse = 3000 * np.exp(-0.5 * (away / 0.02) ** 2) + 800 * np.exp(-0.5 * ((away - 0.3) / 0.06) ** 2)
    out = condition(record(column(pulse), rate), CONTRACT, mains).signal[:801, ONE_LEAD].astype(int)
    assert np.argmax(out) == 400
    assert np.abs(out[:400] - out[:400:-1]).max() <= 1  # rounding takes halves up on either side


@pytest.mark.parametrize("rate", RATES)
def test_constant_is_removed_exactly(rate: int) -> None:
    for millivolts in (300, -300):
        assert not condition(record(np.full((3 * rate, 1), 1000 * millivolts), rate), CONTRACT).signal.any()
    signal = noise(3 * rate, 1, seed=rate)
    plain = condition(record(signal, rate), CONTRACT).signal
    assert np.array_equal(condition(record(signal + 300_000, rate), CONTRACT).signal, plain)
    assert np.array_equal(condition(record(signal - 300_000, rate), CONTRACT).signal, plain)


def test_the_device_s_rate_hardly_shows() -> None:
    """The same analog signal, sampled at each rate, gives the same model samples to a few microvolts.

    A QRS-like pulse of 1.5 mV with nothing above 50 Hz, at a place that is a sample of no rate. Per sample the input
    is rounded by half a microvolt, which the kernel turns into 0.3 at most; the output by another half; and the
    kernels of two rates differ by their stop band's alias, 60 dB below what little the pulse has from 50 Hz on, and
    by their ripple of 0.02 dB, which is 3.5 microvolts at the peak.
    """
    outputs = []
    for rate in (250, 360, 500, 1000):
        t = np.arange(8 * rate) / rate - 4.00123
        pulse = 1500 * np.exp(-0.5 * (t / 0.012) ** 2) - 300 * np.exp(-0.5 * ((t - 0.25) / 0.05) ** 2)
        outputs.append(condition(record(column(pulse), rate), CONTRACT).signal[:, ONE_LEAD].astype(int))
    for other in outputs[1:]:
        assert np.abs(other - outputs[0]).max() <= 4


# Leads.


def test_output_obeys_einthoven_to_a_microvolt() -> None:
    """Each lead is rounded once on its own: three roundings of half a microvolt, and little from the sixteenths."""
    out = condition(record(noise(2000, 8, seed=5), 250, MEASURED_LEADS), CONTRACT).signal.astype(int)
    lead = {name: out[:, k] for k, name in enumerate(LEADS)}
    assert np.abs(lead["III"] - (lead["II"] - lead["I"])).max() <= 1
    assert np.abs(2 * lead["aVR"] + lead["I"] + lead["II"]).max() <= 2
    assert np.abs(2 * lead["aVL"] - (lead["I"] - lead["III"])).max() <= 2
    assert np.abs(2 * lead["aVF"] - (lead["II"] + lead["III"])).max() <= 2
    assert np.abs(lead["aVR"] + lead["aVL"] + lead["aVF"]).max() <= 1


@pytest.mark.parametrize("lead", LEADS)
def test_single_lead_fills_its_own_row_only(lead: str) -> None:
    conditioner = Conditioner(CONTRACT, 125, MICROVOLT, (lead,))
    out = joined([conditioner.push(noise(500, 1)), conditioner.flush()])[0]
    assert [LEADS[k] for k in np.flatnonzero(out.any(axis=0))] == [lead]
    assert [LEADS[k] for k in np.flatnonzero(conditioner.present)] == [lead]


@settings(max_examples=20, deadline=None)
@given(st.permutations(LEADS), st.integers(1, 12))
def test_order_of_the_channels_does_not_matter(order: list[str], count: int) -> None:
    counts = noise(300, 12, seed=7)
    chosen = order[:count]
    found = condition(record(counts[:, [LEADS.index(c) for c in chosen]], 100, chosen), CONTRACT).signal
    straight = [c for c in LEADS if c in chosen]
    again = condition(record(counts[:, [LEADS.index(c) for c in straight]], 100, straight), CONTRACT).signal
    assert np.array_equal(found, again)
    alone = condition(record(counts[:, [LEADS.index(order[0])]], 100, order[:1]), CONTRACT).signal
    assert np.array_equal(found[:, LEADS.index(order[0])], alone[:, LEADS.index(order[0])])


# Limits.


@pytest.mark.parametrize("sign", [1, -1])
def test_what_does_not_fit_is_clipped_and_counted(sign: int) -> None:
    counts = np.zeros((2500, 1))
    counts[1000:1050] = sign * 50_000  # 0.2 s of 50 mV
    conditioner = Conditioner(CONTRACT, 250, MICROVOLT, ("V1",))
    out = joined([conditioner.push(counts.astype(np.int32)), conditioner.flush()])[0]
    clipped = int(np.count_nonzero(np.abs(out.astype(int)) == 32767))
    assert 15 <= clipped <= 25
    assert conditioner.saturated == clipped
    assert np.sign(out[410, LEADS.index("V1")]) == sign
    assert out.min() >= -32767


def test_nothing_is_counted_where_nothing_is_clipped() -> None:
    conditioner = Conditioner(CONTRACT, 250, MICROVOLT, ("V1",))
    conditioner.push(np.full((2500, 1), 2_000_000, np.int32))
    conditioner.flush()
    assert conditioner.saturated == 0


def test_only_samples_of_the_output_are_counted() -> None:
    counts = np.zeros((1010, 1))  # ends within a block
    counts[-3:] = 90_000  # the signal ends on it, and is taken to go on at that height
    conditioner = Conditioner(CONTRACT, 100, MICROVOLT, ("V1",))
    out = joined([conditioner.push(counts.astype(np.int32)), conditioner.flush()])[0]
    assert conditioner.saturated == np.count_nonzero(np.abs(out.astype(int)) == 32767) > 0


@pytest.mark.parametrize("rate", [-250, 0, 1, 99, 2001, 10**6])
def test_rate_out_of_range_is_refused(rate: int) -> None:
    with pytest.raises(EcgEdgeError, match=rf"{rate} Hz is outside 100 to 2000 Hz"):
        Conditioner(CONTRACT, rate, MICROVOLT, ("II",))


@pytest.mark.parametrize("pv_per_lsb", [-1, 0, 10**8 + 1])
def test_gain_out_of_range_is_refused(pv_per_lsb: int) -> None:
    with pytest.raises(EcgEdgeError, match="pV per LSB"):
        Conditioner(CONTRACT, 250, pv_per_lsb, ("II",))


@pytest.mark.parametrize(("rate", "mains"), [(250, 0), (250, 55), (250, -50), (100, 50), (101, 50), (121, 60)])
def test_impossible_notch_is_refused(rate: int, mains: int) -> None:
    with pytest.raises(EcgEdgeError, match="notch"):
        Conditioner(CONTRACT, rate, MICROVOLT, ("II",), mains)


def test_delay_is_stated_and_kept() -> None:
    """The last output of a hop is there once `delay_seconds` have passed since its instant."""
    for rate in (100, 257, 500):
        conditioner = Conditioner(CONTRACT, rate, MICROVOLT, ("II",))
        while not len(conditioner.push(np.zeros((1, 1), np.int32)).signal):
            pass
        # The first hop ends with model sample 99.
        assert conditioner.samples_in / rate == pytest.approx(0.99 + conditioner.delay_seconds, abs=1.01 / rate)


@pytest.mark.parametrize("rate", RATES)
def test_an_eager_conditioner_gives_the_same_signal_and_what_comes_before_the_high_pass(rate: int) -> None:
    counts = noise(4 * rate, 2, seed=rate)
    lazy = Conditioner(CONTRACT, rate, MICROVOLT, ("I", "V3"))
    eager = Conditioner(CONTRACT, rate, MICROVOLT, ("I", "V3"), eager=True)
    one = [lazy.push(counts), lazy.flush()]
    other = [*(eager.push(counts[k : k + 37]) for k in range(0, len(counts), 37)), eager.flush()]
    assert np.array_equal(joined(one)[0], joined(other)[0])
    assert not any(len(part.fast) for part in one)
    fast = np.concatenate([part.fast for part in other])
    assert len(fast) % 25 == 0
    assert len(fast) >= 4 * 100  # the whole signal, behind the lead-in


@pytest.mark.parametrize("rate", [250, 257, 500])
def test_hastening_and_waiting_in_turns_changes_nothing_but_when_blocks_come(rate: int) -> None:
    rng = np.random.default_rng(rate)
    counts = rng.integers(-2000, 2000, (9 * rate + 13, 2)).astype(np.int32)
    invalid = np.zeros(counts.shape, np.bool_)
    invalid[3 * rate : 4 * rate, 1] = True
    eager = Conditioner(CONTRACT, rate, MICROVOLT, ("I", "V3"), eager=True)
    expected = [eager.push(counts, invalid), eager.flush()]
    moody = Conditioner(CONTRACT, rate, MICROVOLT, ("I", "V3"), eager=True)
    got = []
    for k in range(0, len(counts), 31):
        moody.hasten(bool(rng.integers(2)))
        got.append(moody.push(counts[k : k + 31], invalid[k : k + 31]))
    got.append(moody.flush())
    assert max(len(part.fast) for part in got[:-1]) > 25, "a group came at once"
    for field in ("signal", "invalid", "fast", "fast_invalid"):
        one, other = (np.concatenate([getattr(part, field) for part in parts]) for parts in (expected, got))
        np.testing.assert_array_equal(one, other, err_msg=field)
