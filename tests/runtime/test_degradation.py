"""Modes of doing less: sequences of latencies and the modes that they lead to, worked by hand. The budget is 100 ms."""

import pytest

from ecg_edge.runtime.degradation import FULL, LONG_HOP, LONGER_HOP, MODES, RULES_ONLY, Degradation, Mode

GOOD, BAD = 100.0, 100.1  # at the budget is within it


def told(machine: Degradation, *latencies: float) -> list[tuple[int, str]]:
    """Return (which window, the mode's name) of each change."""
    return [(n, machine.mode.name) for n, ms in enumerate(latencies, 1) if machine.window(ms)]


def in_mode(mode: Mode, rules: bool = True) -> Degradation:
    """Return a machine that has gone down to `mode`, and has judged nothing in it."""
    machine = Degradation(100.0, rules)
    while machine.mode is not mode:
        machine.window(BAD)
    return machine


def test_five_of_ten_over_the_budget_are_too_many() -> None:
    assert told(Degradation(100.0, True), *[BAD] * 4) == []
    assert told(Degradation(100.0, True), *[BAD] * 5) == [(5, "long_hop")]
    every_other = [GOOD, BAD] * 5
    assert told(Degradation(100.0, True), *every_other) == [(10, "long_hop")]
    spread = [BAD] * 4 + [GOOD] * 6  # the first of them has left the ten when the next one comes
    assert told(Degradation(100.0, True), *spread * 20) == []


@pytest.mark.parametrize("ms", [BAD, 1e4, 1e9])
def test_one_hiccup_however_long_changes_nothing(ms: float) -> None:
    assert told(Degradation(100.0, True), *[GOOD] * 20, ms, *[GOOD] * 40) == []


def test_it_goes_down_one_step_at_a_time_and_stays_at_the_last() -> None:
    machine = Degradation(100.0, True)
    assert told(machine, *[BAD] * 100) == [(5, "long_hop"), (10, "longer_hop"), (15, "rules_only")]
    assert machine.mode is RULES_ONLY


def test_without_rules_the_model_is_never_given_up() -> None:
    assert told(Degradation(100.0, False), *[BAD] * 100) == [(5, "long_hop"), (10, "longer_hop")]


def test_it_comes_back_a_step_at_a_time_after_windows_within_the_budget() -> None:
    """Two probes 30 s apart; then 30 windows in a row each time."""
    machine = in_mode(RULES_ONLY)
    assert told(machine, *[GOOD] * 100) == [(2, "longer_hop"), (32, "long_hop"), (62, "full")]


@pytest.mark.parametrize("mode", [LONG_HOP, LONGER_HOP])
def test_what_is_bearable_is_no_reason_to_try_more(mode: Mode) -> None:
    """One late window in 30 is far from too many for going down, and too many for going up."""
    machine = in_mode(mode)
    assert told(machine, *[*[GOOD] * 29, BAD] * 5) == []
    assert told(machine, *[GOOD] * 30) == [(30, MODES[MODES.index(mode) - 1].name)]


def test_a_step_up_that_does_not_last_doubles_the_patience() -> None:
    machine = in_mode(LONG_HOP)
    for patience in (1, 2, 4, 8, 16, 16, 16):
        assert told(machine, *[GOOD] * 30 * patience) == [(30 * patience, "full")]
        assert told(machine, *[BAD] * 5) == [(5, "long_hop")]


def test_in_rules_only_the_probes_double() -> None:
    machine = in_mode(RULES_ONLY)
    for patience in (1, 2, 4):
        assert told(machine, *[GOOD] * 2 * patience) == [(2 * patience, "longer_hop")]
        assert told(machine, *[BAD] * 5) == [(5, "rules_only")]


def test_a_step_up_that_has_lasted_is_forgotten() -> None:
    machine = in_mode(LONG_HOP)
    assert told(machine, *[GOOD] * 30, *[BAD] * 5) == [(30, "full"), (35, "long_hop")]
    assert told(machine, *[GOOD] * 60) == [(60, "full")], "patience 2"
    assert told(machine, *[GOOD] * 60, *[BAD] * 5) == [(65, "long_hop")], "60 windows: it has lasted"
    assert told(machine, *[GOOD] * 30) == [(30, "full")], "patience 1 again"


def test_patience_is_for_the_step_that_failed_and_not_for_the_way_home() -> None:
    machine = in_mode(RULES_ONLY)
    assert told(machine, *[GOOD] * 2, *[BAD] * 5) == [(2, "longer_hop"), (7, "rules_only")]
    # 4 probes; then 60 windows, as patient as before, which is how long the step takes to have lasted; then 30.
    assert told(machine, *[GOOD] * 200) == [(4, "longer_hop"), (34 + 30, "long_hop"), (94, "full")]


def test_given_up_counts_as_over_the_budget() -> None:
    machine = Degradation(100.0, True)
    assert [machine.given_up() for _ in range(4)] == [False] * 4
    assert machine.window(BAD)
    assert machine.mode is LONG_HOP
    machine = in_mode(LONG_HOP)
    told(machine, *[GOOD] * 29)
    machine.given_up()
    assert told(machine, *[GOOD] * 30) == [(30, "full")], "it breaks the row"


def test_a_backlog_is_one_step_until_the_new_mode_has_judged_a_window() -> None:
    machine = Degradation(100.0, True)
    assert sum(machine.given_up() for _ in range(100)) == 1
    assert machine.mode is LONG_HOP
    assert told(machine, GOOD) == []
    assert sum(machine.given_up() for _ in range(100)) == 1
    assert machine.mode is LONGER_HOP


def test_modes_do_less_and_less() -> None:
    assert [m.stride for m in MODES] == sorted({m.stride for m in MODES})
    assert MODES[0] is FULL
    assert FULL.stride == 1
