"""Events: what can be built can be written, what is written is valid, and anything else is refused by its path."""

import json
import math
import re
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecg_edge.firmware_bridge.leads import LEADS
from ecg_edge.runtime import events
from ecg_edge.runtime.events import (
    EVENT_FIELDS_OF_MACHINE,
    EVENT_TYPES,
    NOTICE,
    Alert,
    Status,
    Summary,
    Technical,
    stamp,
    to_json,
    validate,
)

DOCS = Path(__file__).parents[2] / "docs" / "events.md"
SHA = "0123456789abcdef" * 4

ALERT = Alert(
    time=42.0,
    id="AF-1",
    phase="new",
    kind="model",
    code="164889003",
    label="AF",
    priority="medium",
    probability=0.87654321,
    onset=39.0,
    leads=("I", "II"),
    quality=1.0,
)
TECHNICAL = Technical(time=3.0, code="lead_off", phase="new", message="Lead V3 is off.", leads=("V3",))
STATUS = Status(time=10.0, quality=0.5, leads=("II",), probabilities={"NSR": 0.9, "AF": 0.01})
SUMMARY = Summary(
    time=60.0,
    signal_s=60.0,
    windows={"unusable": 1, "skipped": 0, "analyzed": 50},
    alerts={"AF": 1},
    losses={"gap_samples": 0, "bad_crc": 2},
    leads=LEADS,
    bundle="arrhythmia",
    bundle_sha256=SHA,
    latency_ms={"p50": 1.0, "p95": 2.0, "p99": 3.0, "max": 4.5},
    budget_ms=100.0,
    misses=0,
    modes={"full": 41, "long_hop": 10},
    stages_ms={"inference": {"p50": 0.5, "p95": 1.0, "p99": 1.5, "max": 2.0}},
)
ALL = (ALERT, TECHNICAL, STATUS, SUMMARY)


def line(event: events.Event) -> dict:
    return json.loads(to_json(stamp(event, seq=0)))


def test_alert_line_is_exactly_this():
    stamped = stamp(ALERT, seq=7, wall_time="2026-03-01T08:15:42.104+00:00", latency_ms=12.34567)
    assert to_json(stamped) == (
        '{"type": "alert", "seq": 7, "time": 42.0, "wall_time": "2026-03-01T08:15:42.104+00:00", "id": "AF-1", '
        '"phase": "new", "kind": "model", "code": "164889003", "label": "AF", "priority": "medium", '
        '"probability": 0.8765, "onset": 39.0, "leads": ["I", "II"], "quality": 1.0, "latency_ms": 12.346}'
    )


@pytest.mark.parametrize("event", ALL, ids=lambda e: e.type)
def test_written_events_are_valid_lines(event):
    text = to_json(stamp(event, seq=3, wall_time="2026-03-01T08:15:42Z", latency_ms=1.0))
    assert "\n" not in text
    assert text.isascii()
    assert "null" not in text
    validate(json.loads(text))


def test_what_the_engine_makes_has_nothing_of_the_clock():
    for event in (ALERT, TECHNICAL, STATUS):
        assert not {"seq", *EVENT_FIELDS_OF_MACHINE} & set(events.to_dict(event))


def test_fields_of_machine_are_fields():
    names = {f.name for cls in EVENT_TYPES.values() for f in fields(cls)}
    assert set(EVENT_FIELDS_OF_MACHINE) <= names


def test_latency_goes_into_alerts_only():
    assert stamp(ALERT, seq=0, latency_ms=5.0).latency_ms == 5.0
    assert "latency_ms" not in line(stamp(STATUS, seq=0, latency_ms=5.0))
    assert stamp(SUMMARY, seq=0, latency_ms=5.0).latency_ms == SUMMARY.latency_ms


def test_equal_events_are_equal_lines_whatever_the_order_of_their_tables():
    one = Status(time=1.0, quality=1.0, leads=("I",), probabilities={"a": 0.1, "b": 0.2})
    two = Status(time=1.0, quality=1.0, leads=("I",), probabilities={"b": 0.2, "a": 0.1})
    assert to_json(one) == to_json(two)
    assert list(line(SUMMARY)["windows"]) == ["analyzed", "skipped", "unusable"]


def test_numpy_values_are_plain_in_json():
    event = Status(time=np.float64(1.5), quality=np.float32(0.1), leads=["I"], probabilities={"AF": np.float32(0.2)})
    assert to_json(event) == (
        '{"type": "status", "time": 1.5, "quality": 0.1, "leads": ["I"], "probabilities": {"AF": 0.2}}'
    )


def test_no_negative_zero():
    rule = events.Number(decimals=3, low=-1.0)
    assert math.copysign(1, rule.written(-0.0001)) == 1


def test_summary_says_what_it_is_not():
    assert line(SUMMARY)["notice"] == NOTICE
    assert "not a medical device" in NOTICE


@given(st.floats(0, 1e6), st.floats(0, 1), st.floats(0, 1), st.sets(st.sampled_from(LEADS)))
def test_any_alert_that_can_be_built_is_a_valid_line(time, probability, quality, leads):
    alert = Alert(
        time=time,
        id="AF-1",
        phase="end",
        kind="model",
        label="AF",
        priority="low",
        probability=probability,
        onset=time / 3,
        leads=tuple(leads),
        quality=quality,
        reason="unknown",
    )
    validate(line(alert))


WRONG = [
    (ALERT, {"time": math.nan}, "alert.time"),
    (ALERT, {"time": -1.0}, "alert.time"),
    (ALERT, {"time": True}, "alert.time"),
    (ALERT, {"time": "42"}, "alert.time"),
    (ALERT, {"probability": math.inf}, "alert.probability"),
    (ALERT, {"probability": 1.01}, "alert.probability"),
    (ALERT, {"onset": 43.0}, "alert.onset"),
    (ALERT, {"phase": "begin"}, "alert.phase"),
    (ALERT, {"phase": "end"}, "alert.reason"),
    (ALERT, {"reason": "below"}, "alert.reason"),
    (ALERT, {"phase": "end", "reason": "boredom"}, "alert.reason"),
    (ALERT, {"kind": "guess"}, "alert.kind"),
    (ALERT, {"code": "AF"}, "alert.code"),
    (ALERT, {"label": ""}, "alert.label"),
    (ALERT, {"priority": "none"}, "alert.priority"),
    (ALERT, {"leads": ["I", "V7"]}, "alert.leads[1]"),
    (ALERT, {"leads": ["I", "I"]}, "alert.leads"),
    (ALERT, {"leads": "I"}, "alert.leads"),
    (ALERT, {"latched": False}, "alert.latched"),
    (ALERT, {"seq": -1}, "alert.seq"),
    (ALERT, {"seq": 1.0}, "alert.seq"),
    (ALERT, {"wall_time": "2026-03-01T08:15:42"}, "alert.wall_time"),
    (ALERT, {"wall_time": 12}, "alert.wall_time"),
    (TECHNICAL, {"code": "AF"}, "technical.code"),
    (TECHNICAL, {"phase": "update"}, "technical.phase"),
    (TECHNICAL, {"message": 3}, "technical.message"),
    (TECHNICAL, {"counts": {"samples": -1}}, "technical.counts.samples"),
    (TECHNICAL, {"counts": {"samples": True}}, "technical.counts.samples"),
    (TECHNICAL, {"counts": [1]}, "technical.counts"),
    (STATUS, {"heart_rate": math.nan}, "status.heart_rate"),
    (STATUS, {"quality": 2}, "status.quality"),
    (STATUS, {"probabilities": {"AF": math.nan}}, "status.probabilities.AF"),
    (SUMMARY, {"windows": {"analyzed": 1, "skipped": 0}}, "summary.windows.unusable"),
    (SUMMARY, {"windows": {"analyzed": 1, "skipped": 0, "unusable": 0, "odd": 1}}, "summary.windows"),
    (SUMMARY, {"latency_ms": {"p50": 1, "p95": 1, "p99": 1, "max": math.nan}}, "summary.latency_ms.max"),
    (SUMMARY, {"bundle_sha256": "12"}, "summary.bundle_sha256"),
    (SUMMARY, {"misses": 0.5}, "summary.misses"),
    (SUMMARY, {"modes": {"full": -1}}, "summary.modes.full"),
    (SUMMARY, {"stages_ms": {"rules": {"p50": 1, "p95": 1, "p99": 1}}}, "summary.stages_ms.rules.max"),
    (SUMMARY, {"notice": ""}, "summary.notice"),
]


@pytest.mark.parametrize(("event", "change", "path"), WRONG, ids=lambda v: v if isinstance(v, str) else "")
def test_a_wrong_value_is_named_by_its_path(event, change, path):
    data = line(event) | change
    with pytest.raises(ValueError, match=rf"^{re.escape(path)}\b|^{re.escape(path)}:"):
        validate(data)
    with pytest.raises(ValueError, match=f"^{re.escape(path)}"):
        type(event)(**{name: value for name, value in data.items() if name != "type"})


REQUIRED = {
    "alert": "seq time id phase kind label priority onset leads quality",
    "technical": "seq time code phase message",
    "status": "seq time quality leads",
    "summary": "seq time signal_s windows alerts losses leads notice",
}


@pytest.mark.parametrize("event", ALL, ids=lambda e: e.type)
def test_validate_names_missing_unknown_and_null_fields(event):
    good = line(event)
    for name in REQUIRED[event.type].split():
        with pytest.raises(ValueError, match=rf"^{event.type}\.{name}: missing"):
            validate({k: v for k, v in good.items() if k != name})
    with pytest.raises(ValueError, match=rf"^{event.type}\.sped: unknown field"):
        validate(good | {"sped": 1})
    with pytest.raises(ValueError, match=rf"^{event.type}\.time: null"):
        validate(good | {"time": None})


@pytest.mark.parametrize("data", [{}, {"type": "alarm"}, {"type": ["alert"]}, {"type": None}])
def test_validate_wants_a_known_type(data):
    with pytest.raises(ValueError, match=r"^event\.type"):
        validate(data)


def test_validate_wants_an_object():
    with pytest.raises(ValueError, match=r"^event: \[\]"):
        validate([])


def test_an_alert_of_the_model_has_a_probability_and_one_of_a_rule_need_not():
    rule = {k: v for k, v in line(ALERT).items() if k != "probability"} | {"kind": "rule"}
    validate(rule)
    with pytest.raises(ValueError, match=r"^alert\.probability"):
        validate(rule | {"kind": "model"})


def test_the_examples_of_the_documentation_are_valid_and_show_every_type():
    examples = [json.loads(text) for text in re.findall(r"^\{.*\}$", DOCS.read_text(), flags=re.M)]
    for example in examples:
        validate(example)
    assert {example["type"] for example in examples} == set(EVENT_TYPES)


@pytest.mark.parametrize("cls", EVENT_TYPES.values(), ids=lambda c: c.type)
def test_the_documentation_has_a_row_for_every_field(cls):
    text = DOCS.read_text()
    common = text.split("### Every event")[1].split("\n### ")[0]
    own = text.split(f"### `{cls.type}`")[1].split("\n### ")[0].split("\n## ")[0]
    for field in fields(cls):
        assert f"| `{field.name}` |" in common + own, field.name


def test_the_documentation_names_every_code_and_reason():
    text = DOCS.read_text()
    for word in (*events.TECHNICAL_CODES, *events.END_REASONS):
        assert f"`{word}`" in text, word
