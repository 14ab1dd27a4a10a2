"""Parts of the measured records, and fewer leads, for which a card tells figures of their own."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from ecg_edge.firmware_bridge.leads import LEADS
from ecg_edge.train.records.entry import RecordEntry
from ecg_edge.train.windows import Windows

AGES = (0.0, 40.0, 65.0, 200.0)  # years: young adults, middle age, old age

LIMB = LEADS[:6]
LEAD_SETS: dict[str, tuple[str, ...]] = {
    "12 leads": LEADS,
    "6: the limb leads, which follow from I and II": LIMB,
    "3: I, II, V2, and the limb leads that follow": (*LIMB, "V2"),
    "2: II and V1, without the rest": ("II", "V1"),
    "1: II": ("II",),
    "1: I": ("I",),
}
"""What a board may measure, and the leads that the front end then has."""


def groups(entries: Sequence[RecordEntry]) -> Iterator[tuple[str, npt.NDArray[np.bool_]]]:
    """Yield each group's name and which entries are in it: all, by source, by sex, by age."""
    yield "all", np.ones(len(entries), dtype=np.bool_)
    sources = sorted({entry.source for entry in entries})
    for source in sources:
        yield f"source {source}", np.array([entry.source == source for entry in entries])
    for sex in ("female", "male"):
        yield sex, np.array([entry.sex == sex for entry in entries])
    for low, high in pairwise(AGES):
        name = f"{low:g} years and older" if high == AGES[-1] else f"{low:g} to {high - 1:g} years"
        yield name, np.array([entry.age is not None and low <= entry.age < high for entry in entries])
    unknown = np.array([entry.sex is None or entry.age is None for entry in entries])
    if unknown.any():
        yield "sex or age not known", unknown


def with_leads(windows: Windows, leads: Sequence[str]) -> Windows:
    """Return windows as the engine gives them where only `leads` are there: zero in the others."""
    kept = np.array([lead in leads for lead in LEADS])
    signal = np.where(kept[:, None], windows.signal, 0).astype(np.int16)
    spectrogram = np.where(kept[:, None, None], windows.spectrogram, 0).astype(windows.spectrogram.dtype)
    return Windows(signal, spectrogram)
