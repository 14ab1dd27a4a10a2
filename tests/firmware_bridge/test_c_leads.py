"""The C lead derivation against the host's: the same half counts from any set of channels."""

import struct
from collections.abc import Callable
from itertools import combinations

import numpy as np

from ecg_edge.firmware_bridge.leads import LEADS, MEASURED_LEADS, derivation, derive

Run = Callable[[bytes], tuple[bytes, bytes]]
WORDS = 2 + 12 + 16


def ask(run: Run, cases: list[tuple[list[int], np.ndarray]]) -> np.ndarray:
    data = b"".join(
        struct.pack("B", len(codes)) + bytes(codes) + counts.astype("<i4").tobytes() for codes, counts in cases
    )
    return np.frombuffer(run(data)[0], "<i4").reshape(len(cases), WORDS)


def test_every_set_of_limb_leads_in_any_order(c_anywhere: Callable[..., Run]) -> None:
    rng = np.random.default_rng(0)
    sets = [list(s) for n in range(1, 7) for s in combinations(LEADS[:6], n)]
    sets += [[*MEASURED_LEADS], [*LEADS], ["V1"], ["V3", "II", "I"], [*LEADS[::-1]]]
    sets = [[str(lead) for lead in rng.permutation(s)] for s in sets for _ in range(20)]
    cases = [([LEADS.index(lead) for lead in s], rng.integers(-(2**23), 2**23, len(s))) for s in sets]
    cases += [(codes, np.full(len(codes), value)) for codes, _ in cases for value in (-(2**23), 2**23 - 1)]
    for (codes, counts), found in zip(cases, ask(c_anywhere("leads"), cases), strict=True):
        names = [LEADS[code] for code in codes]
        half, present = derive(counts[np.newaxis].astype(np.int32), names)
        assert found[0] == 1
        assert [bool(found[1] >> k & 1) for k in range(12)] == present.tolist()
        assert found[2:14].tolist() == half[0].tolist()
        touches = derivation(names) != 0
        for channel in range(len(codes)):
            assert [bool(found[14 + channel] >> k & 1) for k in range(12)] == touches[:, channel].tolist()


def test_channels_that_name_no_lead_are_left_out(c_program: Callable[..., Run]) -> None:
    (found,) = ask(c_program("leads"), [([255, 1, 12], np.array([5, 6, 7]))])
    assert found[:2].tolist() == [1, 0b10]
    assert found[2:14].tolist() == [0, 12, *[0] * 10]


def test_doubled_missing_and_too_many_leads_are_refused(c_program: Callable[..., Run]) -> None:
    cases = [([1, 0, 1], np.zeros(3)), ([], np.zeros(0)), ([255] * 17, np.zeros(17))]
    assert not ask(c_program("leads"), cases)[:, 0].any()
