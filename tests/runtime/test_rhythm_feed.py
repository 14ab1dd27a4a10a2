"""Beats on their way from the rules to whoever wants them: taken back while they can be, and no trouble later."""

import numpy as np
import pytest

from ecg_edge.runtime.rhythm.feed import Feed


class Scripted:
    """Stands in for a RhythmMonitor: tells the beats of each block in turn, and those that it takes back."""

    calm = False

    def __init__(self, *told: tuple[list[float], list[float]]) -> None:
        self.told = iter(told)

    def push(self, *_block: object) -> list:
        beats, withdrawn = next(self.told)
        self.beats = [(time, False) for time in beats]
        self.withdrawn = [(time, False) for time in withdrawn]
        return []


@pytest.mark.parametrize(("taken_between", "expected"), [(False, [[], [2.0]]), (True, [[1.5], [2.0]])])
def test_a_beat_that_was_none_is_taken_back_unless_it_has_been_taken(
    taken_between: bool, expected: list[list[float]]
) -> None:
    feed = Feed(Scripted(([1.5], []), ([2.0], [1.5])), keep_beats=True)
    block = np.zeros((25, 12)), np.zeros((25, 12), bool), [0.25], 0.0, False
    feed.push(*block)
    first = feed.take_beats() if taken_between else []
    feed.push(*block)
    assert [[time for time, _ in beats] for beats in (first, feed.take_beats())] == expected
