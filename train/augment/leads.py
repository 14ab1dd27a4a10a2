"""Which leads a training window has."""

import numpy as np
import numpy.typing as npt

from ecg_edge.firmware_bridge.leads import LEADS

from .settings import AugmentSettings

LEAD_SETS: tuple[tuple[str, ...], ...] = (
    LEADS[:6],  # limb electrodes alone
    (*LEADS[:6], "V2"),  # the Challenge 2021's three-lead set, as the other limb leads follow from two
    (*LEADS[:6], "V5"),
    ("II", "V1"),  # two-channel Holter
    ("II", "V5"),
    ("II",),
    ("I",),
)
"""What boards with few electrodes leave: the leads that are there, derived ones included."""

_ROWS = np.array([[lead in leads for lead in LEADS] for leads in LEAD_SETS])


def draw_leads(settings: AugmentSettings, n: int, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    """Return which leads each of `n` windows keeps, (n, 12)."""
    kept = np.ones((n, len(LEADS)), dtype=np.bool_)
    draw = rng.random(n)
    reduced = draw < settings.lead_set_probability
    kept[reduced] = _ROWS[rng.integers(0, len(LEAD_SETS), int(reduced.sum()))]
    thinned = ~reduced & (draw < settings.lead_set_probability + settings.lead_drop_probability)
    kept[thinned] = rng.random((int(thinned.sum()), len(LEADS))) >= settings.lead_drop_rate
    return kept
