"""Modes of doing less: sequences of latencies and the modes they lead to, worked by hand. Budget 100 ms, hop 1 s."""

import pytest

from ecg_edge.runtime.degradation import FULL, LONG_HOP, LONGER_HOP, MODES, ONE_BRANCH, RULES_ONLY, Degradation, Mode

Window = tuple[float, float]  # latency, and the part of it that was waiting
GOOD = (100.0, 0.0)  # at the budget is within it
SLOW = (150.0, 0.0)  # over the budget, by its own work; the machine keeps up
BEHIND = (150.0, 100.1)  # it had to wait


def machine(rules: bool = True, light: bool = True) -> Degradation:
    return Degradation(100.0, 1000.0, rules=rules, light=light)


def told(machine: Degradation, *windows: Window) -> list[tuple[int, str]]:
    """Return (which window, the mode's name) of each change."""
    return [(n, machine.mode.name) for n, window in enumerate(windows, 1) if machine.window(*window)]


def in_mode(mode: Mode, rules: bool = True, light: bool = True) -> Degradation:
    """Return a machine that has gone down to `mode`, and has judged nothing in it."""
    down = machine(rules, light)
    while down.mode is not mode:
        down.window(*BEHIND)
    return down


@pytest.mark.parametrize("bad", [SLOW, BEHIND])
def test_five_of_ten_late_windows_are_too_many(bad: Window) -> None:
    assert told(machine(), *[bad] * 4) == []
    assert told(machine(), *[bad] * 5) == [(5, "one_branch")]
    assert told(machine(), *[GOOD, bad] * 5) == [(10, "one_branch")]
    spread = [bad] * 4 + [GOOD] * 6  # the first of them has left the ten when the next one comes
    assert told(machine(), *spread * 20) == []


@pytest.mark.parametrize("ms", [100.1, 1e4, 1e9])
@pytest.mark.parametrize("share", [0.0, 1.0])
def test_one_hiccup_however_long_changes_nothing(ms: float, share: float) -> None:
    assert told(machine(), *[GOOD] * 20, (ms, share * ms), *[GOOD] * 40) == []


def test_a_machine_that_falls_behind_goes_down_one_step_at_a_time_and_stays_at_the_last() -> None:
    down = machine()
    steps = [(5, "one_branch"), (10, "long_hop"), (15, "longer_hop"), (20, "rules_only")]
    assert told(down, *[BEHIND] * 100) == steps
    assert down.mode is RULES_ONLY
    assert told(machine(light=False), *[BEHIND] * 100) == [(5, "long_hop"), (10, "longer_hop"), (15, "rules_only")]
    assert told(machine(rules=False), *[BEHIND] * 100) == steps[:3], "without rules the model is never given up"


def test_a_machine_that_is_slow_and_keeps_up_goes_no_further_than_helps() -> None:
    assert told(machine(light=False), *[SLOW] * 1000) == []
    assert told(machine(), *[SLOW] * 1000) == [(5, "one_branch")], "late there too: looking less often would not help"
    assert told(machine(), *[(999.0, 0.0)] * 1000) == [(5, "one_branch")]


def test_rules_that_would_wait_for_longer_than_a_second_come_before_the_model() -> None:
    work = (1000.1, 0.0)
    assert told(machine(light=False), *[work] * 15) == [(5, "long_hop"), (10, "longer_hop"), (15, "rules_only")]
    assert told(machine(rules=False, light=False), *[work] * 100) == []


def test_it_comes_back_a_step_at_a_time_after_windows_that_fit() -> None:
    """Two probes 30 s apart; then 30 windows in a row each time."""
    up = in_mode(RULES_ONLY)
    steps = [(2, "longer_hop"), (32, "long_hop"), (62, "one_branch"), (92, "full")]
    assert told(up, *[GOOD] * 200) == steps
    assert told(in_mode(RULES_ONLY, light=False), *[GOOD] * 200) == [*steps[:2], (62, "full")]


@pytest.mark.parametrize(
    ("mode", "light", "fits", "too_much"),
    [
        (ONE_BRANCH, True, 100.0, 100.1),  # the budget
        (LONG_HOP, True, 800.0, 800.1),  # of a second
        (LONG_HOP, False, 800.0, 800.1),
        (LONGER_HOP, True, 1000.0, 1000.1),  # not 1.6 of two seconds: the rules wait
    ],
)
def test_more_is_tried_only_where_it_would_fit(mode: Mode, light: bool, fits: float, too_much: float) -> None:
    assert told(in_mode(mode, light=light), *[(fits, 0.0)] * 29) == []
    assert len(told(in_mode(mode, light=light), *[(fits, 0.0)] * 30)) == 1
    work = [(too_much, 0.0)] * 4 + [(fits, 0.0)] * 6
    assert told(in_mode(mode, light=light), *work * 50) == []


@pytest.mark.parametrize("mode", [ONE_BRANCH, LONG_HOP, LONGER_HOP])
def test_what_is_bearable_is_no_reason_to_try_more(mode: Mode) -> None:
    """One late window in 30 is far from too many for going down, and too many for going up."""
    bearing = in_mode(mode)
    assert told(bearing, *[*[GOOD] * 29, BEHIND] * 5) == []
    assert told(bearing, *[GOOD] * 30) == [(30, MODES[MODES.index(mode) - 1].name)]


def test_a_step_up_that_does_not_last_doubles_the_patience() -> None:
    swinging = in_mode(ONE_BRANCH)
    for patience in (1, 2, 4, 8, 16, 16, 16):
        assert told(swinging, *[GOOD] * 30 * patience) == [(30 * patience, "full")]
        assert told(swinging, *[SLOW] * 5) == [(5, "one_branch")]


def test_in_rules_only_the_probes_double() -> None:
    probing = in_mode(RULES_ONLY)
    for patience in (1, 2, 4):
        assert told(probing, *[GOOD] * 2 * patience) == [(2 * patience, "longer_hop")]
        assert told(probing, *[BEHIND] * 5) == [(5, "rules_only")]


def test_a_step_up_that_has_lasted_is_forgotten() -> None:
    up = in_mode(ONE_BRANCH)
    assert told(up, *[GOOD] * 30, *[SLOW] * 5) == [(30, "full"), (35, "one_branch")]
    assert told(up, *[GOOD] * 60) == [(60, "full")], "patience 2"
    assert told(up, *[GOOD] * 60, *[SLOW] * 5) == [(65, "one_branch")], "60 windows: it has lasted"
    assert told(up, *[GOOD] * 30) == [(30, "full")], "patience 1 again"


def test_patience_is_for_the_step_that_failed_and_not_for_the_way_home() -> None:
    up = in_mode(RULES_ONLY)
    assert told(up, *[GOOD] * 2, *[BEHIND] * 5) == [(2, "longer_hop"), (7, "rules_only")]
    # 4 probes; then 60 windows, as patient as before, which is how long the step takes to have lasted; then 30 each.
    assert told(up, *[GOOD] * 200) == [(4, "longer_hop"), (64, "long_hop"), (94, "one_branch"), (124, "full")]


def test_given_up_counts_as_behind() -> None:
    down = machine(light=False)
    assert [down.given_up() for _ in range(4)] == [False] * 4
    assert down.window(*BEHIND)
    assert down.mode is LONG_HOP
    up = in_mode(LONG_HOP)
    told(up, *[GOOD] * 29)
    up.given_up()
    assert told(up, *[GOOD] * 30) == [(30, "one_branch")], "it breaks the row"


def test_a_backlog_is_one_step_until_the_new_mode_has_judged_a_window() -> None:
    late = machine()
    assert sum(late.given_up() for _ in range(100)) == 1
    assert late.mode is ONE_BRANCH
    assert told(late, GOOD) == []
    assert sum(late.given_up() for _ in range(100)) == 1
    assert late.mode is LONG_HOP


def test_lateness_is_known_whatever_the_mode() -> None:
    late = machine(light=False)
    told(late, *[SLOW] * 4)
    assert not late.late
    told(late, SLOW)
    assert late.late
    told(late, *[GOOD] * 29)
    assert late.late, "29 in a row are not yet calm"
    told(late, GOOD)
    assert not late.late
    assert [late.given_up() for _ in range(4)] == [False] * 4
    assert not late.late
    late.given_up()
    assert late.late


def test_modes_do_less_and_less() -> None:
    assert [m.stride for m in MODES] == sorted(m.stride for m in MODES)
    assert [m.one_branch for m in MODES] == [False, True, True, True, True]
    assert MODES[0] is FULL
    assert FULL.stride == 1
