"""Lead quality: each fault is seen, nothing else is, and one bad second does not cost a window."""

from collections.abc import Callable

import numpy as np
import pytest

from ecg_edge.firmware_bridge.heart import Episode, simulate
from ecg_edge.firmware_bridge.leads import LEADS, MEASURED_LEADS
from ecg_edge.runtime.conditioning import condition
from ecg_edge.runtime.contract import Contract
from ecg_edge.runtime.quality import LeadStates, Quality

CONTRACT = Contract()
HOP = CONTRACT.hop
ALL = np.ones(12, dtype=bool)
VALID = np.zeros((12, HOP), dtype=bool)
V2 = LEADS.index("V2")


@pytest.fixture(scope="module")
def ecg() -> np.ndarray:
    """Twenty seconds of a simulated heart, conditioned: int16 (20, 12, 100)."""
    recording = simulate([Episode("sinus rhythm", 20)], rate=250, leads=MEASURED_LEADS, seed=3).recording
    signal = condition(recording, CONTRACT).signal.T
    return np.ascontiguousarray(signal.reshape(12, 20, HOP).swapaxes(0, 1))


def with_lead(hop: np.ndarray, lead: np.ndarray | int) -> np.ndarray:
    changed = hop.copy()
    changed[V2] = lead
    return changed


def names(mask: np.ndarray) -> list[str]:
    return [lead for lead, there in zip(LEADS, mask, strict=True) if there]


def only(states: LeadStates, code: str) -> list[str]:
    """Return the leads in state `code`, and assert that no lead is in another."""
    for other in {"off", "flat", "saturated", "noisy"} - {code}:
        assert not getattr(states, other).any(), other
    assert np.array_equal(states.bad, getattr(states, code))
    return names(getattr(states, code))


def test_heart_is_good_on_all_leads(ecg: np.ndarray) -> None:
    quality = Quality(CONTRACT, ALL)
    for hop in ecg:
        assert not quality.push(hop, VALID).bad.any()
    assert quality.usable.all()
    assert quality.score == 1.0


def muscle(size: float) -> np.ndarray:
    return np.random.default_rng(0).normal(0, size, HOP).astype(np.int16)


@pytest.mark.parametrize(
    ("code", "lead"),
    [
        ("flat", 0),
        ("flat", -200),
        ("flat", np.arange(HOP) % 10),  # 9 microvolts from peak to peak
        ("saturated", np.where(np.arange(HOP) == 50, 32767, 0)),
        ("saturated", np.where(np.arange(HOP) == 50, -32767, 0)),
        ("saturated", np.full(HOP, 32767) - np.arange(HOP)),
        ("saturated", np.where(np.arange(HOP) % 2, 32767, -32767)),  # rough, too, but that says less
        ("noisy", muscle(300)),
        ("noisy", np.where(np.arange(HOP) % 2, 50, -50)),
    ],
)
def test_fault_of_one_lead_is_seen_on_it_alone(ecg: np.ndarray, code: str, lead: np.ndarray | int) -> None:
    quality = Quality(CONTRACT, ALL)
    quality.push(ecg[0], VALID)
    assert only(quality.push(with_lead(ecg[1], lead), VALID), code) == ["V2"]
    assert not quality.push(ecg[2], VALID).bad.any() or code != "flat"


@pytest.mark.parametrize(
    "lead",
    [
        np.arange(HOP) % 11,  # 10 microvolts: amplifier noise
        np.where(np.arange(HOP) == 50, 32766, 0),
        muscle(5),
        np.rint(1000 * np.sin(2 * np.pi * 5 * np.arange(HOP) / HOP)),  # ventricular flutter is smooth
        np.where(np.abs(np.arange(HOP) % 33 - 16) < 4, 900, 0),  # square complexes at 180 a minute
    ],
)
def test_what_could_be_a_heart_is_no_fault(ecg: np.ndarray, lead: np.ndarray) -> None:
    assert not Quality(CONTRACT, ALL).push(with_lead(ecg[0], lead), VALID).bad.any()


@pytest.mark.parametrize(("missing", "expected"), [(10, []), (11, ["V2"]), (100, ["V2"])])
def test_electrode_off_for_more_than_a_tenth_of_a_hop(ecg: np.ndarray, missing: int, expected: list[str]) -> None:
    invalid = VALID.copy()
    invalid[V2, :missing] = True
    states = Quality(CONTRACT, ALL).push(ecg[0], invalid)
    assert only(states, "off") == expected


def test_off_says_it_all(ecg: np.ndarray) -> None:
    """The held value of a lead that is off is neither called flat nor noisy as well."""
    invalid = VALID.copy()
    invalid[V2] = True
    assert only(Quality(CONTRACT, ALL).push(with_lead(ecg[0], 0), invalid), "off") == ["V2"]


def test_step_between_two_hops_is_seen_across_the_border(ecg: np.ndarray) -> None:
    """Roughness does not stop at a hop's border: the first samples are compared with the last of the hop before."""
    zigzag = np.where(np.arange(2 * HOP) % 2, 50, -50)
    quality = Quality(CONTRACT, ALL)
    quality.push(with_lead(ecg[0], zigzag[:HOP]), VALID)
    steady = np.where(np.arange(HOP) < HOP // 2 - 1, zigzag[HOP:], 50)  # 49 differences within, 51 with those across
    assert names(quality.push(with_lead(ecg[1], steady), VALID).noisy) == ["V2"]
    assert not Quality(CONTRACT, ALL).push(with_lead(ecg[1], steady), VALID).noisy[V2]


def test_leads_that_are_not_there_are_neither_bad_nor_usable(ecg: np.ndarray) -> None:
    present = np.zeros(12, dtype=bool)
    present[LEADS.index("II")] = True
    alone = np.zeros_like(ecg)
    alone[:, 1] = ecg[:, 1]
    quality = Quality(CONTRACT, present)
    for hop in alone:
        assert not quality.push(hop, VALID).bad.any()
    assert names(quality.usable) == ["II"]
    assert quality.score == 1.0


@pytest.mark.parametrize("fault", [lambda hop: with_lead(hop, 0), lambda hop: with_lead(hop, muscle(400))])
def test_window_survives_two_bad_seconds_of_ten(ecg: np.ndarray, fault: Callable[[np.ndarray], np.ndarray]) -> None:
    quality = Quality(CONTRACT, ALL)
    for hop in ecg[:10]:
        quality.push(hop, VALID)
    for bad in (1, 2, 3):
        quality.push(fault(ecg[10]), VALID)
        assert names(quality.usable) == [lead for lead in LEADS if bad <= 2 or lead != "V2"]
        assert quality.score == pytest.approx(1 - bad / 120)
    for later in range(8):  # the bad ones leave the window, from 7 hops on
        quality.push(ecg[later], VALID)
        assert quality.usable[V2] == (later >= 7)
    for later in range(8, 10):
        quality.push(ecg[later], VALID)
    assert quality.score == 1.0


def test_nothing_usable_scores_zero() -> None:
    quality = Quality(CONTRACT, ALL)
    assert quality.score == 0.0
    for _ in range(10):
        quality.push(np.zeros((12, HOP), np.int16), VALID)
    assert not quality.usable.any()
    assert quality.score == 0.0


def test_source_without_leads_scores_zero(ecg: np.ndarray) -> None:
    quality = Quality(CONTRACT, ~ALL)
    quality.push(ecg[0], VALID)
    assert not quality.usable.any()
    assert quality.score == 0.0
