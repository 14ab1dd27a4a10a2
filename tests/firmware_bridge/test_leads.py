"""Lead derivation against Fraction arithmetic on electrode potentials, and lead names."""

from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecg_edge.firmware_bridge.leads import (
    LEADS,
    MEASURED_LEADS,
    UnknownLeadError,
    canonical,
    canonical_all,
    derivation,
    derive,
)
from ecg_edge.firmware_bridge.recording import COUNT_LIMIT

LIMB = LEADS[:6]
SUBSETS = [subset for size in range(13) for subset in combinations(LEADS, size)]
COUNT = st.integers(-COUNT_LIMIT - 1, COUNT_LIMIT)


def limb_leads(ra: int, la: int, ll: int) -> dict[str, Fraction]:
    """The six limb leads by their definition on the potentials of the electrodes (Goldberger's terminals)."""
    a, b, c = Fraction(ra), Fraction(la), Fraction(ll)
    return {
        "I": b - a,
        "II": c - a,
        "III": c - b,
        "aVR": a - (b + c) / 2,
        "aVL": b - (a + c) / 2,
        "aVF": c - (a + b) / 2,
    }


def derivable(leads: tuple[str, ...]) -> set[str]:
    """The leads that can be had: the given ones, and all limb leads when two of I, II, III are given."""
    bipolar = {"I", "II", "III"} & set(leads)
    return set(leads) | (set(LIMB) if len(bipolar) >= 2 else set())


def test_every_subset_of_leads_in_any_order_is_exact() -> None:
    rng = np.random.default_rng(1)
    for subset in SUBSETS:
        leads = tuple(str(lead) for lead in rng.permutation(subset))
        ra, la, ll = (int(v) for v in rng.integers(-(2**21), 2**21, 3))
        truth = limb_leads(ra, la, ll) | {lead: Fraction(int(rng.integers(-(2**22), 2**22))) for lead in LEADS[6:]}
        scale = 2  # so that the augmented leads are whole counts too, as if a device had measured them
        counts = np.array([[int(truth[lead] * scale) for lead in leads]], dtype=np.int32).reshape(1, len(leads))
        half_lsb, present = derive(counts, leads)
        assert {lead for lead, there in zip(LEADS, present, strict=True) if there} == derivable(leads)
        for row, lead in enumerate(LEADS):
            expected = truth[lead] * scale * 2 if present[row] else 0
            assert half_lsb[0, row] == expected, (leads, lead)


@given(COUNT, COUNT)
def test_twelve_leads_from_two_at_the_limits_of_24_bits(one: int, two: int) -> None:
    half_lsb, present = derive(np.array([[one, two]], dtype=np.int32), ("I", "II"))
    i, ii = Fraction(one), Fraction(two)
    expected = [i, ii, ii - i, -(i + ii) / 2, i - ii / 2, ii - i / 2]
    assert half_lsb[0].tolist() == [2 * value for value in expected] + [0] * 6
    assert half_lsb.dtype == np.int32
    assert present.tolist() == [True] * 6 + [False] * 6


@given(st.sampled_from([("I", "II"), ("I", "III"), ("II", "III")]), COUNT, COUNT)
def test_einthoven_and_goldberger_hold_and_27_bits_suffice(pair: tuple[str, str], a: int, b: int) -> None:
    i, ii, iii, avr, avl, avf = derive(np.array([[a, b]], dtype=np.int32), pair)[0][0, :6].tolist()
    assert i + iii == ii
    assert avr + avl + avf == 0
    assert max(map(abs, (i, ii, iii, avr, avl, avf))) <= 2**26


def test_a_measured_lead_is_not_derived() -> None:
    """A device that measures III gives its III, though I and II say otherwise."""
    half_lsb, _ = derive(np.array([[100, 250, 149]], dtype=np.int32), ("I", "II", "III"))
    assert half_lsb[0, LEADS.index("III")] == 2 * 149


def test_eight_channels_give_all_twelve() -> None:
    matrix = derivation(MEASURED_LEADS)
    assert matrix.dtype == np.int32
    assert matrix.shape == (12, 8)
    assert matrix.any(axis=1).all()


def test_one_lead_gives_one() -> None:
    half_lsb, present = derive(np.array([[7], [-8]], dtype=np.int16), ("II",))
    assert present.tolist() == [lead == "II" for lead in LEADS]
    assert half_lsb[:, 1].tolist() == [14, -16]
    assert not half_lsb[:, ~present].any()


@pytest.mark.parametrize(
    ("name", "lead"),
    [
        *[(lead, lead) for lead in LEADS],
        *[(lead.lower(), lead) for lead in LEADS],
        ("AVR", "aVR"),
        (" avf ", "aVF"),
        ("MLII", "II"),
        ("MLIII", "III"),
        ("mv5", "V5"),
        ("lead v1", "V1"),
        ("Lead_II", "II"),
        ("LEAD-III", "III"),
    ],
)
def test_names_and_aliases(name: str, lead: str) -> None:
    assert canonical(name) == lead


@pytest.mark.parametrize("name", ["", "V7", "ECG", "V", "IV", "lead", "aV", "ABP"])
def test_other_names_are_refused_with_the_ones_that_exist(name: str) -> None:
    with pytest.raises(UnknownLeadError, match=r"--leads.*I, II, III, aVR"):
        canonical(name)


def test_names_keep_their_order() -> None:
    assert canonical_all(["v1", "MLII", "avl"]) == ("V1", "II", "aVL")


def test_a_lead_named_twice_is_refused() -> None:
    with pytest.raises(UnknownLeadError, match="lead II is named twice in MLII, V1, ii"):
        canonical_all(["MLII", "V1", "ii"])
