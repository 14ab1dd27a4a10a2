"""The time of day beside a clock that nobody sets: steps are noticed, slewing is not."""

import pytest

from ecg_edge.runtime.wall_clock import STEP_S, WallClock


class Clocks:
    """Both clocks of a machine."""

    def __init__(self) -> None:
        self.monotonic, self.wall = 100.0, 1_700_000_000.0
        self.pause = 0.0  # between two readings, on a machine that is busy

    def pass_by(self, seconds: float, rate: float = 1.0) -> None:
        self.monotonic += seconds
        self.wall += seconds * rate

    def read_monotonic(self) -> float:
        self.pass_by(self.pause)
        return self.monotonic

    def make(self) -> WallClock:
        return WallClock(self.read_monotonic, lambda: self.wall)


def test_a_moment_s_time_of_day() -> None:
    clocks = Clocks()
    wall = clocks.make()
    assert wall.at(100.0) == "2023-11-14T22:13:20.000+00:00"
    assert wall.at(98.5) == "2023-11-14T22:13:18.500+00:00"


@pytest.mark.parametrize("step", [3600.0, -7200.0, 0.3, -0.3])
def test_a_step_is_told_once_and_followed(step: float) -> None:
    clocks = Clocks()
    wall = clocks.make()
    clocks.pass_by(10)
    assert wall.look() == 0.0
    clocks.wall += step
    assert wall.look() == pytest.approx(step)
    assert wall.look() == 0.0
    before = clocks.make().at(clocks.monotonic)
    assert wall.at(clocks.monotonic) == before


def test_slewing_is_no_step() -> None:
    """chrony slews by 83,333 ppm at most: an hour's correction in pieces is never a step."""
    clocks = Clocks()
    wall = clocks.make()
    for _ in range(1000):
        clocks.pass_by(1.0, 1 + 0.0833)
        assert wall.look() == 0.0
    assert wall.at(clocks.monotonic)[:19] == "2023-11-14T22:31:23"


def test_a_busy_machine_is_no_step() -> None:
    clocks = Clocks()
    wall = clocks.make()
    clocks.pause = 4 * STEP_S  # the thread stands still between reading one clock and the other
    assert wall.look() == 0.0


def test_this_machine_s_clocks() -> None:
    wall = WallClock()
    assert wall.look() == 0.0
