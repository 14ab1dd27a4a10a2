"""Episodes and durations against figures worked by hand."""

import pytest

from ecg_edge.runtime.evidence_rhythm import compare, pooled, union


def test_worked_by_hand():
    #  truth   0======10        20====30    40==42
    #  told        5=======15          28======41       50==60
    got = compare([(0, 10), (20, 30), (40, 42)], [(5, 15), (28, 41), (50, 60)])
    assert got == {
        "episodes": 3,
        "found": 3,
        "told": 3,
        "right": 2,
        "seconds": 22,
        "told_seconds": 33,
        "shared_seconds": 5 + 2 + 1,
    }
    total = pooled([got, compare([(0, 2)], []), compare([], [(0, 3)])])
    assert total["episode_sensitivity"] == 75.0
    assert total["episode_predictivity"] == 50.0
    assert total["duration_sensitivity"] == pytest.approx(100 * 8 / 24, abs=0.01)
    assert total["duration_predictivity"] == pytest.approx(100 * 8 / 36, abs=0.01)


def test_what_there_is_none_of_has_no_share():
    assert "episode_sensitivity" not in pooled([compare([], [])])


def test_intervals_that_touch_are_one():
    assert union([(3, 4), (0, 2), (1, 3), (6, 7)]) == [(0, 4), (6, 7)]
