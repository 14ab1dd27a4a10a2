"""Lead names, their order, and the four limb leads that follow from two measured ones.

With the electrodes RA, LA and LL, lead I = LA - RA and II = LL - RA. The others are linear in them
(Einthoven 1913, Goldberger 1942):

    III = II - I      aVR = -(I + II) / 2      aVL = I - II / 2      aVF = II - I / 2

The halves make three of them half-integers, so everything here is in *half LSB*: exact integers, halved once,
later, by whoever scales to microvolts.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from .errors import EcgEdgeError

LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
"""Standard order of the twelve leads; every 12-row array of the project has its rows in this order."""

MEASURED_LEADS = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")
"""The eight channels that a 12-lead front end such as the ADS1298 digitises."""

UNKNOWN_LEAD = 255
"""Lead code on the wire for a channel that the device does not name."""

_ALIASES = {"MLI": "I", "MLII": "II", "MLIII": "III", "MV1": "V1", "MV2": "V2", "MV5": "V5"}  # Holter names
_BY_FOLDED_NAME = {name.upper(): name for name in LEADS} | _ALIASES


class UnknownLeadError(EcgEdgeError):
    """A channel name is none of the twelve leads."""


def canonical(name: str) -> str:
    """Return the standard name of a lead (`AVR` -> `aVR`, `MLII` -> `II`, `lead v1` -> `V1`).

    Raises UnknownLeadError naming the leads that exist.
    """
    folded = name.strip().upper().removeprefix("LEAD").strip(" _-")
    try:
        return _BY_FOLDED_NAME[folded]
    except KeyError:
        raise UnknownLeadError(
            f"unknown lead name {name!r}: name the channels with --leads, in order, from {', '.join(LEADS)}"
        ) from None


def canonical_all(names: Sequence[str]) -> tuple[str, ...]:
    """Return the standard names of `names`; raises UnknownLeadError, also when one lead comes twice."""
    leads = tuple(canonical(name) for name in names)
    doubled = sorted({lead for lead in leads if leads.count(lead) > 1})
    if doubled:
        raise UnknownLeadError(f"lead {', '.join(doubled)} is named twice in {', '.join(names)}; use --leads")
    return leads


# Each limb lead in half LSB as (coefficient of I, coefficient of II).
_FROM_I_II = {"I": (2, 0), "II": (0, 2), "III": (-2, 2), "aVR": (-1, -1), "aVL": (2, -1), "aVF": (-1, 2)}
# I and II from the pairs of bipolar leads that determine them: II = I + III.
_SOLVE = {
    ("I", "II"): {"I": (1, 0), "II": (0, 1)},
    ("I", "III"): {"I": (1, 0), "II": (1, 1)},
    ("II", "III"): {"I": (1, -1), "II": (1, 0)},
}


def derivation(leads: Sequence[str]) -> npt.NDArray[np.int32]:
    """Return the matrix D, int32 (12, m), with which `channels @ D.T` is the twelve leads in half LSB.

    `leads` are the m canonical names of the channels. A measured lead is passed through (times two); a limb lead
    that is not measured is derived when two of I, II, III are; a lead that cannot be had is a row of zeros.
    """
    matrix = np.zeros((len(LEADS), len(leads)), dtype=np.int32)
    for pair, solution in _SOLVE.items():
        if all(lead in leads for lead in pair):
            for row, lead in enumerate(LEADS[:6]):
                a, b = _FROM_I_II[lead]
                for k, source in enumerate(pair):
                    matrix[row, leads.index(source)] = a * solution["I"][k] + b * solution["II"][k]
            break
    for column, lead in enumerate(leads):
        row = LEADS.index(lead)
        matrix[row] = 0
        matrix[row, column] = 2
    return matrix


def derive(
    counts: npt.NDArray[np.integer], leads: Sequence[str]
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.bool_]]:
    """Return the twelve leads of `counts`, exact.

    counts: integers (n, m) within 24 bits, one column a channel; leads: the m canonical names.
    Returns (half_lsb int32 (n, 12), present bool (12,)): 24-bit input gives at most 27 bits.
    """
    matrix = derivation(leads)
    half_lsb: npt.NDArray[np.int32] = np.asarray(counts, dtype=np.int32) @ matrix.T
    return half_lsb, present(matrix)


def present(matrix: npt.NDArray[np.int32]) -> npt.NDArray[np.bool_]:
    """Return which leads (12,) a derivation matrix (12, m) gives."""
    given: npt.NDArray[np.bool_] = np.abs(matrix).sum(axis=1) > 0
    return given
