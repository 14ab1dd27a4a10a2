"""The alert policy: how sure, how long and how important a finding must be before it is announced.

`policy.toml` beside this file holds every default with its reason; a user's file overlays it. What a file says
is checked whole before a monitor starts: an unknown key is an error, not a setting silently left at its default.
"""

import difflib
import math
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, get_type_hints

from ecg_edge.firmware_bridge.errors import EcgEdgeError

from .ranges import Range
from .rhythm.settings import RuleSettings

PRIORITIES = ("none", "low", "medium", "high")
"""In rising order; `none` is reported in status and predict, and never announced."""

DAY_S = 86400

DEFAULT_POLICY = Path(__file__).with_name("policy.toml")


class PolicyError(EcgEdgeError):
    """An alert policy that cannot be followed."""


@dataclass(frozen=True)
class LabelPolicy:
    """What holds for one label."""

    priority: str
    """One of PRIORITIES."""
    latch: bool = False
    """Held until acknowledged, even when the finding is gone; high priority only."""
    enabled: bool = True
    """False switches the label's alerts off and keeps its priority."""
    threshold: float | None = None
    """Probability in (0, 1] to use instead of the bundle's calibrated threshold."""
    irregular: bool = False
    """Not believed while the rhythm rules see regular beats."""
    timeout_s: float | None = None
    """Seconds to use instead of the policy's `timeout_s`; also of medium priority, never of high."""

    def __post_init__(self) -> None:
        if self.priority not in PRIORITIES:
            raise PolicyError(_unknown("priority", "priority", self.priority, PRIORITIES))
        if self.latch and self.priority != "high":
            raise PolicyError(
                f"latch: only an alert of high priority latches, this one is {self.priority}; "
                'set priority = "high" too, or take latch out'
            )
        if self.threshold is not None and not 0 < self.threshold <= 1:
            raise PolicyError(f"threshold: {self.threshold} is impossible; give a probability above 0 and up to 1")
        if self.timeout_s is not None and not 0 <= self.timeout_s <= DAY_S:
            raise PolicyError(f"timeout_s: {self.timeout_s} is impossible; give seconds from 0 to {DAY_S}")
        if self.timeout_s and self.priority == "high":
            raise PolicyError("timeout_s: an alert of high priority is announced whenever it comes; take timeout_s out")

    @property
    def announced(self) -> bool:
        """Whether the label can become an alert."""
        return self.enabled and self.priority != "none"


@dataclass(frozen=True, kw_only=True)
class Policy:
    """The settings of the alert decision; constructing an impossible one raises PolicyError naming the key."""

    threshold_floor: Annotated[float, Range(0, 1)]
    """Least probability that announces an alert, where the bundle's threshold of a label is lower."""
    smoothing_s: Annotated[float, Range(0, 60)]
    """Time constant in seconds of the moving average over the probabilities of windows; 0 = none."""
    hysteresis: Annotated[float, Range(0, 0.95)]
    """Fraction of the threshold by which the probability must fall before an episode can end."""
    confirm_windows: Annotated[int, Range(1, 60)]
    """Usable windows above the threshold, among the last `confirm_of`, that announce an alert."""
    confirm_of: Annotated[int, Range(1, 60)]
    """Usable windows among which `confirm_windows` are counted."""
    end_windows: Annotated[int, Range(1, 600)]
    """Successive usable windows below the hysteresis that end an episode."""
    unknown_after_s: Annotated[float, Range(5, 3600)]
    """Seconds without a usable window after which nothing is known; more than the hop of the windows."""
    refractory_s: Annotated[float, Range(0, 86400)]
    """Seconds from the end of an episode in which its label is not announced again; high priority never waits."""
    timeout_s: Annotated[float, Range(0, 86400)]
    """Seconds from an announcement of low priority in which its label is not announced again."""
    silence_s: Annotated[float, Range(10, 600)]
    """Seconds for which a silenced alert sends no updates."""
    update_interval_s: Annotated[float, Range(0, 86400)]
    """Seconds between the updates of an episode that goes on; 0 = no updates."""
    default_priority: str
    """Priority of a label that `labels` does not name."""
    labels: Mapping[str, LabelPolicy]
    """What holds for each label, by abbreviation."""
    chains: Mapping[str, tuple[str, ...]]
    """Labels that a label suppresses while it is announced; transitive."""
    rules: RuleSettings
    """When the rhythm rules speak."""

    def __post_init__(self) -> None:
        _check_ranges(self, "")
        _check_ranges(self.rules, "rules.")
        if self.rules.pause_s > self.rules.asystole_s:
            raise PolicyError(
                f"rules.pause_s: {self.rules.pause_s:g} is longer than asystole_s ({self.rules.asystole_s:g}); "
                "give a shorter pause"
            )
        if self.confirm_windows > self.confirm_of:
            raise PolicyError(
                f"confirm_windows: {self.confirm_windows} of {self.confirm_of} windows is impossible; "
                f"raise confirm_of to {self.confirm_windows} or more"
            )
        if self.default_priority not in PRIORITIES:
            raise PolicyError(_unknown("default_priority", "priority", self.default_priority, PRIORITIES))
        self._check_chains()

    def _check_chains(self) -> None:
        for label, below in self._below.items():
            if label in below:
                raise PolicyError(
                    f"chains.{label}: {label} ends up suppressing itself; take one of its chain's links out"
                )
        for label, below in self._below.items():
            mine = self.of(label)
            for other in sorted(below):
                theirs = self.of(other)
                if (
                    mine.announced
                    and theirs.announced
                    and PRIORITIES.index(mine.priority) < PRIORITIES.index(theirs.priority)
                ):
                    raise PolicyError(
                        f"chains.{label}: {label} ({mine.priority}) must not suppress {other} ({theirs.priority}); "
                        f"raise the priority of {label}, or take {other} out of the chain"
                    )

    @cached_property
    def _below(self) -> dict[str, frozenset[str]]:
        """Every label with all that it suppresses, however many links away."""
        closed: dict[str, frozenset[str]] = {}
        for label in self.chains:
            found: set[str] = set()
            to_do = list(self.chains[label])
            while to_do:
                one = to_do.pop()
                if one not in found:
                    found.add(one)
                    to_do.extend(self.chains.get(one, ()))
            closed[label] = frozenset(found)
        return closed

    def of(self, label: str) -> LabelPolicy:
        """Return what holds for `label`: its own entry, or one with the default priority."""
        return self.labels.get(label) or LabelPolicy(self.default_priority)

    def timeout(self, label: str) -> float:
        """Return the seconds from an announcement of `label` in which it is not announced again."""
        mine = self.of(label)
        if mine.timeout_s is not None:
            return mine.timeout_s
        return self.timeout_s if mine.priority == "low" else 0.0

    def suppressors(self, label: str) -> frozenset[str]:
        """Return the labels whose alerts keep `label` from being announced."""
        return frozenset(above for above, below in self._below.items() if label in below)


_HINTS = get_type_hints(Policy, include_extras=True)
_RULE_HINTS = get_type_hints(RuleSettings, include_extras=True)


def _check_ranges(settings: Policy | RuleSettings, path: str) -> None:
    """Raise PolicyError where a setting is outside the range in its annotation."""
    for name, hint in get_type_hints(type(settings), include_extras=True).items():
        if not hasattr(hint, "__metadata__"):
            continue
        allowed: Range = hint.__metadata__[0]
        value = getattr(settings, name)
        if not allowed.low <= value <= allowed.high:  # NaN fails here too
            raise PolicyError(
                f"{path}{name}: {value} is impossible; give a value from {allowed.low:g} to {allowed.high:g}"
            )


_LABEL_TYPES: dict[str, type] = {
    "priority": str,
    "latch": bool,
    "enabled": bool,
    "threshold": float,
    "irregular": bool,
    "timeout_s": float,
}
_TYPE_NAMES = {str: "text in quotes", bool: "true or false", int: "a whole number", float: "a number", dict: "a table"}


def load_policy(path: str | Path | None = None, labels: Iterable[str] = ()) -> Policy:
    """Return the policy in the TOML file `path` over the built-in one, or the built-in one for None.

    labels: abbreviations of the bundle's classes; a file may name these besides those of the built-in policy.
    In `[labels]` each key of each label overlays; in `[chains]` each label's list replaces the built-in list.
    Raises PolicyError with the file, the key and the mend.
    """
    built_in = _parse(DEFAULT_POLICY)
    known = sorted({*built_in["labels"], *labels})
    source, own = (DEFAULT_POLICY, built_in) if path is None else (Path(path), _parse(Path(path)))
    try:
        _check_table(own, known)
        return _policy(built_in if path is None else _overlay(built_in, own))
    except PolicyError as error:
        raise PolicyError(f"{source}: {error}") from None


def _parse(path: Path) -> dict[str, Any]:
    """Return the TOML in `path`; raises PolicyError."""
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise PolicyError(
            f"{path}: cannot be read ({error.strerror}); name an existing file, or none for the built-in policy"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PolicyError(f"{path}: is not TOML ({error}); mend it there") from None


def _check_table(table: dict[str, Any], known: list[str]) -> None:
    """Raise PolicyError where a key, a type or a label in `table` is wrong; values are Policy's own to check."""
    keys = [f.name for f in fields(Policy)]
    for key, value in table.items():
        if key not in keys:
            raise PolicyError(_unknown(key, "key", key, keys))
        if key not in ("labels", "chains", "rules"):
            _check_type(key, value, _HINTS[key])
    _check_type("rules", table.get("rules", {}), dict)
    for key, value in table.get("rules", {}).items():
        if key not in _RULE_HINTS:
            raise PolicyError(_unknown(f"rules.{key}", "key", key, _RULE_HINTS))
        _check_type(f"rules.{key}", value, _RULE_HINTS[key])
    for section in ("labels", "chains"):
        _check_type(section, table.get(section, {}), dict)
        for label in table.get(section, {}):
            if label not in known:
                raise PolicyError(_unknown(f"{section}.{label}", "label", label, known))
    for label, entry in table.get("labels", {}).items():
        _check_type(f"labels.{label}", entry, dict)
        for key, value in entry.items():
            if key not in _LABEL_TYPES:
                raise PolicyError(_unknown(f"labels.{label}.{key}", "key", key, _LABEL_TYPES))
            _check_type(f"labels.{label}.{key}", value, _LABEL_TYPES[key])
    for label, below in table.get("chains", {}).items():
        if not isinstance(below, list) or not all(isinstance(one, str) for one in below):
            raise PolicyError(f'chains.{label}: {below!r} is not a list of labels; write ["PAC", "SA"], or []')
        for one in below:
            if one not in known:
                raise PolicyError(_unknown(f"chains.{label}", "label", one, known))


def _check_type(path: str, value: Any, kind: Any) -> None:
    """Raise PolicyError unless `value` is of `kind`; a whole number is also a number, a truth value is none."""
    kind = getattr(kind, "__origin__", kind)
    right = type(value) in (int, float) and math.isfinite(value) if kind is float else type(value) is kind
    if not right:
        raise PolicyError(f"{path}: {value!r} has the wrong type; give {_TYPE_NAMES[kind]}")


def _overlay(built_in: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """Return the built-in table with the values of `own` over it."""
    labels = dict(built_in["labels"])
    for label, entry in own.get("labels", {}).items():
        labels[label] = labels.get(label, {}) | entry
    chains = built_in["chains"] | own.get("chains", {})
    return built_in | own | {"labels": labels, "chains": chains, "rules": built_in["rules"] | own.get("rules", {})}


def _policy(table: dict[str, Any]) -> Policy:
    """Return the policy that a complete, well-typed table describes; raises PolicyError."""
    labels = {}
    for label, entry in table["labels"].items():
        try:
            labels[label] = LabelPolicy(**({"priority": table["default_priority"]} | entry))
        except PolicyError as error:
            raise PolicyError(f"labels.{label}.{error}") from None
    chains = {label: tuple(below) for label, below in table["chains"].items()}
    return Policy(**(table | {"labels": labels, "chains": chains, "rules": RuleSettings(**table["rules"])}))


def _unknown(path: str, what: str, name: str, known: Iterable[str]) -> str:
    """Return the message for a name that does not exist, with the nearest one that does."""
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    mend = f"did you mean {near[0]}?" if near else f"use one of {', '.join(known)}"
    return f"{path}: unknown {what} {name!r}; {mend}"
