"""The alert state machine: sequences worked by hand, and what must hold for any sequence."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ecg_edge.runtime.alerts import AlertMachine
from ecg_edge.runtime.classes import ClassInfo
from ecg_edge.runtime.events import stamp, to_dict, to_json, validate
from ecg_edge.runtime.policy import LabelPolicy, Policy, load_policy

LEADS = ("I", "II")

PLAIN = replace(
    load_policy(),
    threshold_floor=0.0,
    smoothing_s=0.0,
    hysteresis=0.2,
    confirm_windows=2,
    confirm_of=3,
    end_windows=2,
    unknown_after_s=5.0,
    refractory_s=0.0,
    timeout_s=0.0,
    update_interval_s=0.0,
    labels={
        "AF": LabelPolicy("medium"),
        "PAC": LabelPolicy("low"),
        "NSR": LabelPolicy("none"),
        "VF": LabelPolicy("high", latch=True),
    },
    chains={},
)
"""Without smoothing and waiting, so that a sequence can be followed by eye: in above 0.5, out below 0.4."""


def classes(*labels: str, threshold: float = 0.5) -> list[ClassInfo]:
    return [ClassInfo("164889003" if label == "AF" else "", label, label, threshold) for label in labels]


def play(machine: AlertMachine, *rows: "tuple[float, ...] | float | None", start: int = 1) -> list[str]:
    """Feed one window a second; return `TIME PHASE ID [REASON]` of every event."""
    out = []
    for k, row in enumerate(rows):
        p = None if row is None else np.atleast_1d(np.array(row, dtype=np.float64))
        out += brief(machine.step(float(start + k), p, LEADS, 1.0))
    return out


def brief(events) -> list[str]:
    return [" ".join(filter(None, (f"{e.time:g}", e.phase, e.id, e.reason))) for e in events]


def machine(policy: Policy = PLAIN, *labels: str) -> AlertMachine:
    return AlertMachine(classes(*(labels or ("AF",))), policy)


# --- worked by hand ------------------------------------------------------------------------------------------


def test_k_of_n_announces_and_m_below_ends():
    #            t = 1    2    3    4     5    6     7    8    9
    events = play(machine(), 0.6, 0.1, 0.6, 0.45, 0.3, 0.45, 0.3, 0.3, 0.6)
    assert events == ["3 new AF-1", "8 end AF-1 below"], "0.45 lies within the hysteresis and restarts the count"


def test_the_drawing_in_the_documentation():
    m = machine(replace(PLAIN, refractory_s=6.0))
    rows = 0.1, 0.6, 0.6, 0.6, 0.45, 0.1, 0.1, 0.1, 0.45, 0.6, 0.6, 0.6, 0.6
    assert play(m, *rows) == ["3 new AF-1", "7 end AF-1 below", "13 new AF-2"]


def test_two_votes_too_far_apart_do_not_confirm():
    assert play(machine(), 0.6, 0.1, 0.1, 0.6, 0.1, 0.1, 0.6) == []


def test_onset_is_the_first_voting_window_of_the_confirming_run():
    m = machine(replace(PLAIN, confirm_windows=3, confirm_of=4))
    assert play(m, 0.6, 0.1, 0.1, 0.6, 0.1, 0.6) == []
    (event,) = m.step(7.0, np.array([0.6]), LEADS, 0.75)
    assert event.onset == 4.0
    assert to_dict(event) == {
        "type": "alert",
        "time": 7.0,
        "id": "AF-1",
        "phase": "new",
        "kind": "model",
        "code": "164889003",
        "label": "AF",
        "priority": "medium",
        "probability": 0.6,
        "onset": 4.0,
        "leads": ["I", "II"],
        "quality": 0.75,
    }


def test_onset_is_not_simply_the_oldest_window_counted():
    m = machine(replace(PLAIN, confirm_of=4))
    play(m, 0.1, 0.1, 0.6)
    (event,) = m.step(4.0, np.array([0.6]), LEADS, 1.0)
    assert event.onset == 3.0


def test_a_probability_at_the_threshold_is_not_above_it_and_one_at_the_exit_not_below():
    assert play(machine(), 0.5, 0.5, 0.5) == []
    m = machine(replace(PLAIN, hysteresis=0.5))
    assert play(m, 0.6, 0.6, 0.25, 0.25, 0.25) == ["2 new AF-1"]


def test_votes_of_an_ended_episode_do_not_start_the_next():
    m = machine(replace(PLAIN, confirm_of=6, end_windows=1))
    assert play(m, 0.6, 0.6, 0.1, 0.6, 0.1) == ["2 new AF-1", "3 end AF-1 below"]


def test_smoothing_is_the_exponential_average_of_probabilities():
    m = machine(replace(PLAIN, smoothing_s=2.0, confirm_windows=1, confirm_of=1))
    a = 1 - math.exp(-0.5)
    assert play(m, 0.0, 0.6, 0.6) == [], "0.6 (1 - e^-1) = 0.379"
    (event,) = m.step(4.0, np.array([0.8]), LEADS, 1.0)
    by_hand = (1 - a) * 0.6 * (1 - math.exp(-1)) + a * 0.8  # 0.545
    assert event.probability == pytest.approx(by_hand, abs=1e-12)


def test_smoothing_weighs_a_window_after_a_gap_by_the_time_that_passed():
    m = machine(replace(PLAIN, smoothing_s=2.0, confirm_windows=1, confirm_of=1))
    m.step(1.0, np.array([0.0]), LEADS, 1.0)
    m.step(2.0, None, LEADS, 0.0)
    m.skip(1)
    (event,) = m.step(4.0, np.array([0.8]), LEADS, 1.0)
    assert event.probability == pytest.approx(0.8 * (1 - math.exp(-1.5)), abs=1e-12)


def test_refractory_time_delays_the_next_announcement():
    m = machine(replace(PLAIN, refractory_s=4.0))
    #                   new       end                 4 + 4
    assert play(m, 0.6, 0.6, 0.1, 0.1, 0.6, 0.6, 0.6, 0.6, 0.6) == ["2 new AF-1", "4 end AF-1 below", "8 new AF-2"]


def test_what_has_waited_is_announced_only_while_it_is_still_there():
    m = machine(replace(PLAIN, refractory_s=4.0, confirm_of=4))
    assert play(m, 0.6, 0.6, 0.1, 0.1, 0.1, 0.6, 0.6, 0.45, 0.1)[2:] == []
    assert play(m, 0.6, start=10) == ["10 new AF-2"]


def test_high_priority_never_waits():
    m = machine(replace(PLAIN, refractory_s=60.0, labels={"VF": LabelPolicy("high")}), "VF")
    assert play(m, 0.6, 0.6, 0.1, 0.1, 0.6, 0.6) == ["2 new VF-1", "4 end VF-1 below", "6 new VF-2"]


def test_updates_come_at_their_interval():
    m = machine(replace(PLAIN, update_interval_s=3.0))
    assert play(m, *[0.6] * 9) == ["2 new AF-1", "5 update AF-1", "8 update AF-1"]


def test_unusable_windows_hold_the_state():
    #                       votes hold      new               below holds     end
    assert play(machine(), 0.6, None, None, 0.6, None, 0.1, None, None, 0.1) == ["4 new AF-1", "9 end AF-1 below"]


def test_an_alert_ends_as_unknown_when_nothing_was_usable_for_too_long():
    m = machine()
    assert play(m, 0.6, 0.6, *[None] * 5) == ["2 new AF-1"]
    assert play(m, None, None, start=8) == ["8 end AF-1 unknown"]
    assert play(m, 0.6, 0.6, start=10) == ["11 new AF-2"]


def test_unknown_starts_no_refractory_time():
    m = machine(replace(PLAIN, refractory_s=60.0))
    assert play(m, 0.6, 0.6, *[None] * 6, 0.6, 0.6) == ["2 new AF-1", "8 end AF-1 unknown", "10 new AF-2"]


def test_a_gap_in_time_counts_as_unknown_too():
    m = machine()
    play(m, 0.6, 0.6)
    m.skip(5)
    assert brief(m.step(8.0, np.array([0.6]), LEADS, 1.0)) == ["8 end AF-1 unknown"]
    assert brief(m.step(9.0, np.array([0.6]), LEADS, 1.0)) == ["9 new AF-2"]
    assert (m.analyzed, m.unusable, m.skipped) == (4, 0, 5)


def test_skipped_windows_end_what_is_unknown_for_too_long():
    m = machine()
    play(m, 0.6, 0.6)
    assert m.skip(1, 7.0) == []
    assert brief(m.skip(1, 8.0)) == ["8 end AF-1 unknown"]
    assert m.skip(1, 9.0) == [], "once"
    assert m.skipped == 3


def test_a_gap_of_just_the_time_that_is_allowed_holds():
    m = machine()
    play(m, 0.6, 0.6)
    assert m.step(7.0, np.array([0.6]), LEADS, 1.0) == []
    assert m.active == ("AF",)


def test_the_average_starts_anew_after_unknown():
    m = machine(replace(PLAIN, smoothing_s=60.0, confirm_windows=1, confirm_of=1))
    assert play(m, 0.9, *[None] * 6) == ["1 new AF-1", "7 end AF-1 unknown"]
    (event,) = m.step(8.0, np.array([0.6]), LEADS, 1.0)
    assert event.probability == 0.6


def test_votes_of_too_long_ago_are_dropped():
    assert play(machine(), 0.6, *[None] * 6, 0.6) == []


def test_a_suppressor_ends_and_holds_off_what_it_suppresses():
    m = machine(replace(PLAIN, chains={"AF": ("PAC",)}), "PAC", "AF")
    events = play(m, (0.6, 0.1), (0.6, 0.6), (0.6, 0.6), (0.6, 0.6), (0.6, 0.1), (0.6, 0.1))
    assert events == ["2 new PAC-1", "3 end PAC-1 suppressed", "3 new AF-1", "6 end AF-1 below", "6 new PAC-2"]


def test_a_suppressor_confirmed_in_the_same_window_comes_first():
    m = machine(replace(PLAIN, chains={"AF": ("PAC",)}), "PAC", "AF")
    assert play(m, (0.6, 0.6), (0.6, 0.6)) == ["2 new AF-1"]


def test_a_suppressor_in_its_refractory_time_still_suppresses():
    m = machine(replace(PLAIN, chains={"AF": ("PAC",)}, refractory_s=60.0), "PAC", "AF")
    play(m, (0.1, 0.6), (0.1, 0.6), (0.1, 0.1), (0.1, 0.1))
    assert play(m, (0.6, 0.6), (0.6, 0.6), (0.6, 0.6), start=5) == []


def test_chains_are_transitive():
    m = machine(replace(PLAIN, chains={"VF": ("AF",), "AF": ("PAC",)}), "PAC", "VF")
    assert play(m, (0.6, 0.6), (0.6, 0.6), (0.6, 0.6)) == ["2 new VF-1"]


def test_a_silent_label_neither_alerts_nor_suppresses():
    m = machine(replace(PLAIN, chains={"NSR": ("AF",)}), "NSR", "AF")
    assert play(m, (0.9, 0.6), (0.9, 0.6)) == ["2 new AF-1"]
    off = replace(PLAIN, labels={"AF": LabelPolicy("medium", enabled=False)})
    assert play(machine(off), 0.9, 0.9, 0.9) == []


def test_alerts_of_other_detectors_suppress():
    m = machine(replace(PLAIN, chains={"VF": ("AF",)}))
    p = np.array([0.6])
    for t in (1.0, 2.0, 3.0):
        assert m.step(t, p, LEADS, 1.0, {"VF"}) == []
    assert brief(m.step(4.0, p, LEADS, 1.0)) == ["4 new AF-1"]
    assert brief(m.step(5.0, p, LEADS, 1.0, {"VF"})) == ["5 end AF-1 suppressed"]


def test_regular_beats_speak_against_a_label_that_has_to_be_irregular():
    m = machine(replace(PLAIN, labels={"AF": LabelPolicy("medium", irregular=True)}), "AF", "PAC")
    asked = []

    def step(t: float, *p: float, regular: bool) -> list[str]:
        return brief(m.step(t, np.array(p), LEADS, 1.0, beats_are_regular=lambda: bool(asked.append(t)) or regular))

    assert step(1.0, 0.1, 0.9, regular=True) == []
    assert asked == [], "only where the label is likely or announced"
    assert [step(t, 0.6, 0.9, regular=True) for t in (2.0, 3.0, 4.0)] == [["2 new PAC-1"], [], []]
    assert [step(t, 0.6, 0.9, regular=False) for t in (5.0, 6.0)] == [[], ["6 new AF-1"]]
    assert [step(t, 0.9, 0.9, regular=True) for t in (7.0, 8.0)] == [[], ["8 end AF-1 below"]]
    assert asked == [2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]


def test_nothing_is_denied_where_nobody_knows_of_beats():
    m = machine(replace(PLAIN, labels={"AF": LabelPolicy("medium", irregular=True)}))
    assert play(m, 0.6, 0.6) == ["2 new AF-1"]


def test_a_threshold_of_the_policy_replaces_the_calibrated_one():
    m = machine(replace(PLAIN, labels={"AF": LabelPolicy("medium", threshold=0.3)}))
    assert play(m, 0.4, 0.4, 0.25, 0.25, 0.2, 0.2) == ["2 new AF-1", "6 end AF-1 below"]


def test_an_alert_is_more_likely_than_not_where_the_policy_asks_for_it():
    floored = replace(PLAIN, threshold_floor=0.6)
    assert play(machine(floored), 0.55, 0.55, 0.55) == []
    assert play(machine(floored), 0.65, 0.65) == ["2 new AF-1"]
    own = replace(floored, labels={"AF": LabelPolicy("medium", threshold=0.3)})
    assert play(machine(own), 0.4, 0.4) == ["2 new AF-1"]


def test_a_latched_alert_waits_for_its_acknowledgment():
    m = machine(PLAIN, "VF")
    assert play(m, 0.6, 0.6, 0.1, 0.1, 0.1) == ["2 new VF-1", "4 update VF-1"]
    assert m.active == ("VF",)
    (end,) = m.acknowledge("VF")
    assert brief([end]) == ["5 end VF-1 acknowledged"]
    assert end.latched is None
    assert m.acknowledge("VF") == []
    assert m.active == ()


def test_a_latched_alert_says_whether_its_finding_is_there():
    m = machine(PLAIN, "VF")
    play(m, 0.6, 0.6, 0.1)
    (gone,) = m.step(4.0, np.array([0.1]), LEADS, 1.0)
    (back,) = m.step(5.0, np.array([0.6]), LEADS, 1.0)
    assert (gone.latched, back.latched) == (True, None)
    assert m.acknowledge("VF") == [], "the finding persists"
    assert play(m, 0.1, 0.1, start=6) == ["7 end VF-1 below"]


def test_a_latched_alert_is_held_when_nothing_is_known_and_stays_so_until_something_is():
    m = machine(PLAIN, "VF")
    assert play(m, 0.6, 0.6, *[None] * 7, 0.1, 0.1) == ["2 new VF-1", "8 update VF-1"]
    assert play(m, 0.6, start=12) == ["12 update VF-1"]


def test_a_latched_alert_is_not_suppressed_away():
    policy = replace(PLAIN, labels={"VF": LabelPolicy("high", latch=True), "AS": LabelPolicy("high")})
    m = machine(replace(policy, chains={"AS": ("VF",)}), "VF", "AS")
    assert play(m, (0.6, 0.1), (0.6, 0.6), (0.6, 0.6)) == ["2 new VF-1", "3 new AS-1"]


def test_finish_ends_everything():
    m = machine(PLAIN, "AF", "VF")
    play(m, (0.6, 0.6), (0.6, 0.6))
    assert brief(m.finish(2.5)) == ["2.5 end AF-1 stream_end", "2.5 end VF-1 stream_end"]
    assert m.finish(2.5) == []
    assert m.announced == {"AF": 1, "VF": 1}
    assert play(m, (0.6, 0.1), start=3) == [], "votes from before do not count"


def test_ends_come_before_new_alerts_and_updates_last():
    m = machine(replace(PLAIN, update_interval_s=2.0), "AF", "PAC", "LBBB")
    rows = (0.6, 0.6, 0.1), (0.6, 0.6, 0.1), (0.6, 0.1, 0.6), (0.6, 0.1, 0.6)
    assert play(m, *rows)[2:] == ["4 end PAC-1 below", "4 new LBBB-1", "4 update AF-1"]


@pytest.mark.parametrize("p", [[0.1, math.nan], [0.1, 1.1], [-0.1, 0.1], [0.1], [[0.1, 0.2]], 0.1])
def test_anything_but_probabilities_is_refused(p):
    with pytest.raises(ValueError, match="expected 2 probabilities"):
        machine(PLAIN, "AF", "PAC").step(1.0, np.array(p), LEADS, 1.0)


def test_time_must_advance():
    m = machine()
    m.step(2.0, None, LEADS, 0.0)
    with pytest.raises(ValueError, match=r"window at 2\.0 s"):
        m.step(2.0, np.array([0.1]), LEADS, 1.0)
    with pytest.raises(ValueError, match=r"ends at 1\.5 s"):
        m.finish(1.5)


def test_a_label_comes_once():
    with pytest.raises(ValueError, match="comes twice"):
        machine(PLAIN, "AF", "AF")


@pytest.mark.parametrize("bad", [{"threshold": 0.0}, {"threshold": math.nan}, {"threshold": 1.1}, {"abbreviation": ""}])
def test_a_class_has_a_name_and_a_possible_threshold(bad):
    with pytest.raises(ValueError, match=r"threshold|abbreviation"):
        ClassInfo(**({"code": "1", "abbreviation": "AF", "name": "AF", "threshold": 0.5} | bad))


# --- for any sequence ----------------------------------------------------------------------------------------

LABELS = ("AF", "PAC", "SVT", "VF")
CHAINS = {"VF": ("AF",), "AF": ("PAC", "SVT")}
PRIORITIES = {"AF": "medium", "PAC": "low", "SVT": "low", "VF": "high"}

policies = st.builds(
    lambda k, extra, latch, **rest: replace(
        PLAIN,
        confirm_windows=k,
        confirm_of=k + extra,
        chains=CHAINS,
        labels={n: LabelPolicy(p, latch=latch and p == "high") for n, p in PRIORITIES.items()},
        **rest,
    ),
    k=st.integers(1, 3),
    extra=st.integers(0, 3),
    latch=st.booleans(),
    smoothing_s=st.sampled_from([0.0, 0.02, 0.5, 2.0]),
    hysteresis=st.sampled_from([0.0, 0.2, 0.9]),
    end_windows=st.integers(1, 3),
    unknown_after_s=st.sampled_from([5.0, 6.5]),
    refractory_s=st.sampled_from([0.0, 2.0, 10.0]),
    update_interval_s=st.sampled_from([0.0, 1.0, 3.0]),
)
# Mostly clear values, so that episodes come and go; some of any kind.
probability = st.one_of(st.sampled_from([0.0, 0.3, 0.45, 0.5, 0.9, 1.0]), st.floats(0, 1))
usable = st.tuples(*[probability] * len(LABELS))
windows = st.lists(
    st.tuples(st.sampled_from([1.0, 1.0, 1.0, 1.0, 2.0, 8.0]), st.one_of(usable, usable, usable, st.none())),
    max_size=60,
)


def run(policy: Policy, sequence) -> list[tuple[float, "tuple[float, ...] | None", list]]:
    """Return (time, probabilities, events) of every window, and of the end."""
    m = AlertMachine(classes(*LABELS), policy)
    time, out = 0.0, []
    for gap, row in sequence:
        time += gap
        out.append((time, row, m.step(time, None if row is None else np.array(row), LEADS, 1.0)))
    out.append((time, None, m.finish(time)))
    assert m.active == ()
    return out


@settings(max_examples=150, deadline=None)
@given(policies, windows)
@example(
    replace(
        PLAIN,
        confirm_windows=1,
        confirm_of=1,
        end_windows=1,
        chains=CHAINS,
        labels={n: LabelPolicy(p, latch=p == "high") for n, p in PRIORITIES.items()},
        unknown_after_s=6.5,
    ),
    [(1.0, (0.0, 0.0, 0.0, 0.9)), (1.0, (0.0, 1.0, 0.0, 0.0))],
)
def test_episodes_open_once_and_close_and_suppression_holds(policy, sequence):
    active: dict[str, str] = {}
    held: set[str] = set()  # their finding is gone, so it suppresses nothing
    count = dict.fromkeys(LABELS, 0)
    last_end = dict.fromkeys(LABELS, -math.inf)
    for time, row, events in run(policy, sequence):
        # A window's updates come after its new alerts: one whose finding went in this very window no longer suppresses.
        held |= {event.label for event in events if event.latched}
        for event in events:
            assert event.time == time
            validate(to_dict(stamp(event, seq=0)))
            if event.phase == "new":
                assert row is not None, "an unusable window starts nothing"
                assert event.label not in active
                count[event.label] += 1
                assert event.id == f"{event.label}-{count[event.label]}"
                assert not policy.suppressors(event.label) & (set(active) - held)
                assert event.probability > 0.5
                if event.priority != "high":
                    assert time >= last_end[event.label] + policy.refractory_s
                active[event.label] = event.id
            else:
                assert active[event.label] == event.id
            held = held | {event.label} if event.latched else held - {event.label}
            if event.phase == "end":
                del active[event.label]
                if event.reason != "unknown":
                    last_end[event.label] = time
                assert (event.reason != "below") or row is not None
        # What was announced in this window is not suppressed by anything announced in it either.
        new = {e.label for e in events if e.phase == "new"}
        assert not any(policy.suppressors(label) & (set(active) - held) for label in new)
    assert not active


@settings(max_examples=100, deadline=None)
@given(policies, windows)
def test_without_a_probability_above_its_threshold_nothing_is_announced(policy, sequence):
    quiet = [(gap, row and tuple(min(p, 0.5) for p in row)) for gap, row in sequence]
    assert not any(events for _, _, events in run(policy, quiet))


@settings(max_examples=100, deadline=None)
@given(policies, windows)
def test_the_same_windows_give_the_same_lines(policy, sequence):
    one, two = run(policy, sequence), run(policy, sequence)
    assert [to_json(e) for _, _, es in one for e in es] == [to_json(e) for _, _, es in two for e in es]


@settings(max_examples=400, deadline=None)
@given(policies, st.lists(st.one_of(probability, st.none()), max_size=60))
def test_one_label_follows_its_definition_exactly(policy, sequence):
    """Against the definition written out plainly for one label: whole lists instead of a running state."""
    policy = replace(policy, update_interval_s=0.0)
    m = AlertMachine(classes("AF"), policy)
    got, want = [], []
    seen: list[tuple[float, float]] = []  # (time, smoothed) since the evidence was last dropped
    votes_from = -math.inf  # windows up to here voted for the episode before
    since, quiet_until = None, -math.inf
    for time, p in enumerate(sequence, start=1):
        got += brief(m.step(float(time), None if p is None else np.array([p]), LEADS, 1.0))
        if seen and time - seen[-1][0] > policy.unknown_after_s:
            seen = []
            if since is not None:
                want.append("end unknown")
                since = None
        if p is None:
            continue
        tau, smoothed = policy.smoothing_s, p
        if seen and tau:
            kept = math.exp(-(time - seen[-1][0]) / tau)
            smoothed = seen[-1][1] + (1 - kept) * (p - seen[-1][1]) if kept > 1e-15 else p
        seen.append((time, smoothed))
        if since is not None:
            below = [s < 0.5 * (1 - policy.hysteresis) for t, s in seen if t > since]
            if len(below) >= policy.end_windows and all(below[-policy.end_windows :]):
                want.append("end below")
                since, votes_from, quiet_until = None, time, time + policy.refractory_s
        votes = [s > 0.5 and t > votes_from for t, s in seen[-policy.confirm_of :]]
        if since is None and sum(votes) >= policy.confirm_windows and votes[-1] and time >= quiet_until:
            want.append("new")
            since = time
    assert [" ".join([w for k, w in enumerate(line.split()) if k in (1, 3)]) for line in got] == want


# --- silence and time-outs -------------------------------------------------------------------------------------


def test_a_silenced_alert_is_quiet_for_its_time_and_then_speaks_again():
    m = machine(replace(PLAIN, update_interval_s=2.0, silence_s=10.0), "VF")
    assert play(m, 0.9, 0.9, 0.9, 0.9) == ["2 new VF-1", "4 update VF-1"]
    (event,) = m.silence()
    assert (event.phase, event.acknowledged, event.latched) == ("update", True, None)
    rows = [0.9] * 12
    assert play(m, *rows, start=5) == ["14 update VF-1", "16 update VF-1"]
    assert play(m, 0.1, 0.1, start=17) == ["18 end VF-1 below"], "it was acknowledged: it does not wait again"


def test_silence_ends_what_is_merely_held_and_does_not_silence_what_comes_later():
    m = machine(PLAIN, "VF", "AF")
    play(m, (0.9, 0.1), (0.9, 0.1), (0.1, 0.1), (0.1, 0.1))
    assert brief(m.silence()) == ["4 end VF-1 acknowledged"]
    assert m.silence() == []
    assert play(m, (0.9, 0.9), (0.9, 0.9), start=5) == ["6 new VF-2", "6 new AF-1"]


def test_one_label_is_silenced_and_the_other_not():
    m = machine(replace(PLAIN, update_interval_s=1.0), "VF", "AF")
    play(m, (0.9, 0.9), (0.9, 0.9))
    assert brief(m.silence("AF")) == ["2 update AF-1"]
    assert play(m, (0.9, 0.9), start=3) == ["3 update VF-1"]
    assert m.silence("PAC") == []


def test_a_low_alert_is_not_announced_again_within_its_time_out():
    policy = replace(PLAIN, timeout_s=10.0)
    rows = [0.9, 0.9, 0.1, 0.1] * 5
    assert play(machine(policy, "PAC"), *rows) == [
        *("2 new PAC-1", "4 end PAC-1 below", "14 new PAC-2", "16 end PAC-2 below"),
    ], "it counts from the announcement: confirmed at 6 and 10 s, they wait"
    assert [line for line in play(machine(policy, "AF"), *rows) if "new" in line][:2] == ["2 new AF-1", "6 new AF-2"]
    assert [line for line in play(machine(policy, "VF"), *rows) if "new" in line] == ["2 new VF-1"], "latched"
    own = replace(policy, labels={**PLAIN.labels, "AF": LabelPolicy("medium", timeout_s=10.0)})
    assert [line for line in play(machine(own, "AF"), *rows) if "new" in line][:2] == ["2 new AF-1", "14 new AF-2"]
