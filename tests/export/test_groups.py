"""Parts of the records, and windows with fewer leads."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from ecg_edge.export.groups import LEAD_SETS, groups, with_leads
from ecg_edge.firmware_bridge.leads import LEADS
from ecg_edge.runtime.contract import Contract
from ecg_edge.runtime.stft import spectrogram
from ecg_edge.train.records.entry import HIDDEN_AGE, RecordEntry
from ecg_edge.train.windows import Windows


def entry(source: str, age: float | None, sex: str | None) -> RecordEntry:
    return RecordEntry(Path("r"), source, "p", None, None, frozenset(), age=age, sex=sex)


def test_groups_are_sources_sexes_and_ages() -> None:
    entries = [
        entry("ptbxl", 0, "male"),
        entry("ptbxl", 39.9, "female"),
        entry("ptbxl", 40, "male"),
        entry("ningbo", 64.5, None),
        entry("ningbo", 65, "female"),
        entry("ningbo", HIDDEN_AGE, "male"),
        entry("ningbo", None, "male"),
    ]
    assert {name: np.flatnonzero(rows).tolist() for name, rows in groups(entries)} == {
        "all": [0, 1, 2, 3, 4, 5, 6],
        "source ningbo": [3, 4, 5, 6],
        "source ptbxl": [0, 1, 2],
        "female": [1, 4],
        "male": [0, 2, 5, 6],
        "0 to 39 years": [0, 1],
        "40 to 64 years": [2, 3],
        "65 years and older": [4, 5],
        "sex or age not known": [3, 6],
    }
    assert "sex or age not known" not in dict(groups(entries[:3]))


@pytest.mark.parametrize(("name", "leads"), LEAD_SETS.items())
def test_leads_that_are_not_there_are_zero_as_the_front_end_has_them(name: str, leads: tuple[str, ...]) -> None:
    contract = Contract()
    rng = np.random.default_rng(0)
    signal = (300 * rng.standard_normal((2, 12, contract.window))).astype(np.int16)
    fewer = with_leads(Windows(signal, spectrogram(signal, contract)), leads)
    assert (fewer.signal.dtype, fewer.spectrogram.dtype) == (np.int16, np.uint8)
    kept = [LEADS.index(lead) for lead in leads]
    np.testing.assert_array_equal(fewer.signal[:, kept], signal[:, kept])
    assert not np.delete(fewer.signal, kept, axis=1).any()
    np.testing.assert_array_equal(fewer.spectrogram, spectrogram(fewer.signal, contract))
    assert len(leads) == int(name.split()[0].rstrip(":")) or set(leads[:6]) == set(LEADS[:6]), "limb leads follow"
