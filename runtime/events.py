"""What the monitor says: four kinds of event, one JSON object a line.

The engine makes events from the signal alone; whoever holds the clock adds to them, with `stamp`, the sequence
number, the time of day and the latency. A field that does not apply is absent from the line, never null.
`docs/events.md` describes every field.

Each field's annotation carries its rule (`Number`, `Text`, ...). The constructors, `to_json` and `validate` all
follow that one rule, so that what can be built can be written, and what was written passes the check.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, replace
from typing import Annotated, Any, ClassVar, TypeVar, get_type_hints

from .account import ACCOUNT_KEYS
from .event_rules import Count, Flag, LeadNames, Number, Rule, Table, Text, WallTime

NOTICE = "Research software, not a medical device: not for diagnosis, treatment or patient monitoring."
"""Stands in every summary; whoever shows alerts to people shows it too."""

EVENT_FIELDS_OF_MACHINE = ("wall_time", "latency_ms", "misses", "sinks", "clock", "modes", "stages_ms")
"""Fields that differ between runs over the same samples, because they depend on the clock or on the machine."""

ALERT_PHASES = ("new", "update", "end")
ALERT_KINDS = ("model", "rule")
ALERT_PRIORITIES = ("high", "medium", "low")
END_REASONS = ("below", "suppressed", "unknown", "acknowledged", "stream_end")
TECHNICAL_CODES = (
    "lead_off",
    "flat_line",
    "poor_signal",
    "mains_hum",
    "motion",
    "short_signal",
    "signal_lost",
    "link_lost",
    "link_restored",
    "link_errors",
    "gap",
    "overload",
    "degraded",
    "over_budget",
    "saturation",
    "model_fault",
    "record_failed",
    "sink_failed",
    "clock_step",
    "clock_drift",
    "silenced",
)
TECHNICAL_PHASES = ("new", "end", "once")


Seconds = Number(decimals=3)
Milliseconds = Number(decimals=3)
Fraction = Number(decimals=4, high=1.0)


@dataclass(frozen=True, kw_only=True)
class _Event:
    """What every event has. Constructors raise ValueError with the path of the field that is wrong."""

    type: ClassVar[str]

    seq: Annotated[int | None, Count()] = None
    """Place in the output, from 0, without holes; absent until stamped."""
    time: Annotated[float, Seconds]
    """Stream time in seconds: of the last sample that the event rests on."""
    wall_time: Annotated[str | None, WallTime()] = None
    """Time of day, ISO 8601; live only. When the signal at `time` was sampled, by the device's clock mapped to this
    machine's; of what is not about the signal (link, sinks, clocks, the summary), when it was told."""

    def __post_init__(self) -> None:
        for name, (rule, optional) in _RULES[self.type].items():
            value = getattr(self, name)
            if value is not None or not optional:
                object.__setattr__(self, name, rule.clean(value, f"{self.type}.{name}"))


@dataclass(frozen=True, kw_only=True)
class Alert(_Event):
    """A finding that is announced, goes on, or ends. Events of one episode share its `id`."""

    type: ClassVar[str] = "alert"

    id: Annotated[str, Text()]
    """Name of the episode: label, hyphen, running number of the label's episodes from 1."""
    phase: Annotated[str, Text(choices=ALERT_PHASES)]
    """`new`, then any number of `update`, then `end`."""
    kind: Annotated[str, Text(choices=ALERT_KINDS)]
    """Who found it: the `model`, or a rhythm `rule`."""
    code: Annotated[str | None, Text(pattern="[0-9]+")] = None
    """SNOMED CT code, where one exists."""
    label: Annotated[str, Text()]
    """Abbreviation of the class."""
    priority: Annotated[str, Text(choices=ALERT_PRIORITIES)]
    """Priority after the policy."""
    probability: Annotated[float | None, Fraction] = None
    """Smoothed probability that the decision rests on, the last known one at an `end`; absent for rules."""
    onset: Annotated[float, Seconds]
    """Stream time in seconds of the first window that spoke for the episode."""
    leads: Annotated[tuple[str, ...], LeadNames()]
    """Leads that the decision rests on."""
    quality: Annotated[float, Fraction]
    """Signal quality of the last usable window, 0 (unusable) to 1 (clean)."""
    latched: Annotated[bool | None, Flag()] = None
    """True while the finding is gone, or no longer known, but the alert is held until somebody acknowledges it."""
    acknowledged: Annotated[bool | None, Flag()] = None
    """True from when somebody acknowledged or silenced the alert."""
    reason: Annotated[str | None, Text(choices=END_REASONS)] = None
    """Why the episode ended; at `end`, and only there."""
    latency_ms: Annotated[float | None, Milliseconds] = None
    """Emission minus arrival of the last sample of the window, in milliseconds."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.reason is not None) != (self.phase == "end"):
            raise ValueError(f"alert.reason: {self.reason!r} at phase {self.phase}; an end, and only it, has one")
        if self.kind == "model" and self.probability is None:
            raise ValueError("alert.probability: missing in an alert of the model")
        if self.onset > self.time:
            raise ValueError(f"alert.onset: {self.onset} is after alert.time {self.time}")


@dataclass(frozen=True, kw_only=True)
class Technical(_Event):
    """Something about the signal, the link or this machine; never about the patient."""

    type: ClassVar[str] = "technical"

    code: Annotated[str, Text(choices=TECHNICAL_CODES)]
    """What happened."""
    phase: Annotated[str, Text(choices=TECHNICAL_PHASES)]
    """`new` and `end` around a state that lasts, `once` for what has no length."""
    message: Annotated[str, Text()]
    """One sentence for people."""
    leads: Annotated[tuple[str, ...] | None, LeadNames()] = None
    """Leads concerned; absent where it concerns none in particular."""
    counts: Annotated[Mapping[str, int] | None, Table(Count())] = None
    """Figures that go with it (`samples`, `windows`, ...); absent where there are none."""


@dataclass(frozen=True, kw_only=True)
class Status(_Event):
    """A sign of life at regular intervals."""

    type: ClassVar[str] = "status"

    heart_rate: Annotated[float | None, Number(decimals=1)] = None
    """Beats per minute; absent while no rate is known."""
    quality: Annotated[float, Fraction]
    """Signal quality of the last window, 0 (unusable) to 1 (clean)."""
    leads: Annotated[tuple[str, ...], LeadNames()]
    """Leads that are usable now."""
    probabilities: Annotated[Mapping[str, float] | None, Table(Fraction)] = None
    """Probability of every class in the last window, by label, not smoothed; only when asked for."""


@dataclass(frozen=True, kw_only=True)
class Summary(_Event):
    """The last line of a run."""

    type: ClassVar[str] = "summary"

    signal_s: Annotated[float, Seconds]
    """Seconds of signal received."""
    windows: Annotated[Mapping[str, int], Table(Count(), keys=("analyzed", "skipped", "unusable"))]
    """Windows that the model saw, that were given up since the machine was too slow, and that quality turned away."""
    alerts: Annotated[Mapping[str, int], Table(Count())]
    """Episodes announced, by label."""
    losses: Annotated[Mapping[str, int], Table(Count())]
    """Every counter of something lost, zeros included."""
    leads: Annotated[tuple[str, ...], LeadNames()]
    """Leads that the decisions rest on."""
    bundle: Annotated[str | None, Text()] = None
    """Name of the model bundle; absent where none ran."""
    bundle_sha256: Annotated[str | None, Text(pattern="[0-9a-f]{64}")] = None
    """Hash of the bundle."""
    latency_ms: Annotated[Mapping[str, float] | None, Table(Milliseconds, keys=("p50", "p95", "p99", "max"))] = None
    """Latency per window in milliseconds; absent where none was measured."""
    budget_ms: Annotated[float | None, Milliseconds] = None
    """Latency budget that the windows were held against."""
    misses: Annotated[int | None, Count()] = None
    """Windows that took longer than the budget."""
    modes: Annotated[Mapping[str, int] | None, Table(Count())] = None
    """Windows that went by in each mode of doing less; live only."""
    stages_ms: Annotated[
        Mapping[str, Mapping[str, float]] | None, Table(Table(Milliseconds, keys=("p50", "p95", "p99", "max")))
    ] = None
    """What each stage took of a window's time in milliseconds; live only."""
    sinks: Annotated[Mapping[str, Mapping[str, int]] | None, Table(Table(Count(), keys=ACCOUNT_KEYS))] = None
    """What became of the lines before this one, by sink; absent where no sink keeps account."""
    clock: Annotated[
        Mapping[str, float] | None, Table(Number(1, low=-math.inf), keys=("drift_ppm", "uncertainty_ppm"))
    ] = None
    """How much faster than this machine's clock the device's goes; live only, absent while it is not known."""
    notice: Annotated[str, Text()] = NOTICE
    """What this software is not."""


Event = Alert | Technical | Status | Summary

EVENT_TYPES: dict[str, type[Event]] = {cls.type: cls for cls in (Alert, Technical, Status, Summary)}
"""The class of each `type`."""

_E = TypeVar("_E", bound="Alert | Technical | Status | Summary")


def _rules_of(cls: type[Event]) -> dict[str, tuple[Rule, bool]]:
    hints = get_type_hints(cls, include_extras=True)
    return {f.name: (hints[f.name].__metadata__[0], f.default is None) for f in fields(cls)}


_RULES = {name: _rules_of(cls) for name, cls in EVENT_TYPES.items()}
"""By type: the rule of each field, in the order of the line, and whether the field may be absent."""


def stamp(event: _E, *, seq: int, wall_time: str | None = None, latency_ms: float | None = None) -> _E:
    """Return `event` with what only the caller's clock knows.

    seq: place in the output; wall_time: ISO 8601 with offset, live only; latency_ms: goes into alerts and is
    ignored for other events, so that one call serves all that a window gave. Raises ValueError.
    """
    known: dict[str, Any] = {"seq": seq, "wall_time": wall_time}
    if isinstance(event, Alert):
        known["latency_ms"] = latency_ms
    return replace(event, **known)


def to_dict(event: Event) -> dict[str, Any]:
    """Return `event` as JSON types, rounded, `type` first and the fields in declared order, absent ones left out."""
    data: dict[str, Any] = {"type": event.type}
    for name, (rule, _) in _RULES[event.type].items():
        value = getattr(event, name)
        if value is not None:
            data[name] = rule.written(value)
    return data


def to_json(event: Event) -> str:
    """Return `event` as one line of ASCII JSON without its newline: same event, same line."""
    return json.dumps(to_dict(event), allow_nan=False)


def validate(data: Mapping[str, Any]) -> None:
    """Raise ValueError with the path of the first wrong field (`alert.leads[2]`) unless `data` is a valid event.

    data: a line of output after `json.loads`. Unknown fields are wrong, and so is a null.
    """
    if not isinstance(data, Mapping):
        raise ValueError(f"event: {data!r} is not an object")
    kind = data.get("type")
    cls = EVENT_TYPES.get(kind) if isinstance(kind, str) else None
    if cls is None:
        raise ValueError(f"event.type: {kind!r} is none of {', '.join(EVENT_TYPES)}")
    rules = _RULES[cls.type]
    for name in data:
        if name != "type" and name not in rules:
            raise ValueError(f"{kind}.{name}: unknown field")
        if data[name] is None:
            raise ValueError(f"{kind}.{name}: null; a field that does not apply is absent")
    required = {f.name for f in fields(cls) if f.default is MISSING} | {"seq"} | ({"notice"} & set(rules))
    for name in rules:
        if name in required and name not in data:
            raise ValueError(f"{kind}.{name}: missing")
    cls(**{name: value for name, value in data.items() if name != "type"})
