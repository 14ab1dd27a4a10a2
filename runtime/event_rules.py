"""What the fields of an event may hold: one small rule for each kind of value.

Every rule has two methods: `clean(value, path)` returns the value as the event keeps it, or raises ValueError that
begins with the path (`alert.leads[2]`); `written(value)` returns what goes into JSON, rounded.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from numbers import Integral, Real
from typing import Any

from ecg_edge.firmware_bridge.leads import LEADS


@dataclass(frozen=True)
class Number:
    """A finite number in [low, high], written with `decimals` digits after the point."""

    decimals: int
    low: float = 0.0
    high: float = math.inf

    def clean(self, value: Any, path: str) -> float:
        """Return `value` as a float; raises ValueError, also for NaN and infinity."""
        if isinstance(value, bool) or not isinstance(value, Real):
            raise ValueError(f"{path}: {value!r} is not a number")
        number = float(value)
        if not (math.isfinite(number) and self.low <= number <= self.high):
            raise ValueError(f"{path}: {number} is not a finite number from {self.low:g} to {self.high:g}")
        return number

    def written(self, value: float) -> float:
        """Return the rounded value that goes into JSON."""
        return round(value, self.decimals) + 0.0  # + 0.0: never "-0.0"


@dataclass(frozen=True)
class Count:
    """A whole number, not negative."""

    def clean(self, value: Any, path: str) -> int:
        """Return `value` as an int; raises ValueError."""
        if isinstance(value, bool) or not isinstance(value, Integral) or value < 0:
            raise ValueError(f"{path}: {value!r} is not a whole number from 0 up")
        return int(value)

    def written(self, value: int) -> int:
        """Return the value as it is."""
        return value


@dataclass(frozen=True)
class Flag:
    """True, or the field is absent."""

    def clean(self, value: Any, path: str) -> bool:
        """Return True; raises ValueError for anything else."""
        if value is not True:
            raise ValueError(f"{path}: {value!r} is not true; a flag that is not set is absent")
        return True

    def written(self, value: bool) -> bool:
        """Return the value as it is."""
        return value


@dataclass(frozen=True)
class Text:
    """A non-empty string: one of `choices` where there are any, matching all of `pattern` where there is one."""

    choices: tuple[str, ...] = ()
    pattern: str = ""

    def clean(self, value: Any, path: str) -> str:
        """Return `value`; raises ValueError."""
        if not isinstance(value, str) or not value:
            raise ValueError(f"{path}: {value!r} is not a non-empty string")
        if self.choices and value not in self.choices:
            raise ValueError(f"{path}: {value!r} is none of {', '.join(self.choices)}")
        if self.pattern and not re.fullmatch(self.pattern, value):
            raise ValueError(f"{path}: {value!r} does not match {self.pattern}")
        return value

    def written(self, value: str) -> str:
        """Return the value as it is."""
        return value


@dataclass(frozen=True)
class WallTime:
    """ISO 8601 date and time with its offset from UTC."""

    def clean(self, value: Any, path: str) -> str:
        """Return `value`; raises ValueError."""
        try:
            known = datetime.fromisoformat(value).tzinfo is not None
        except (TypeError, ValueError):
            known = False
        if not known:
            raise ValueError(f"{path}: {value!r} is not an ISO 8601 time with its offset from UTC")
        return str(value)

    def written(self, value: str) -> str:
        """Return the value as it is."""
        return value


@dataclass(frozen=True)
class LeadNames:
    """Canonical names of leads, each at most once."""

    def clean(self, value: Any, path: str) -> tuple[str, ...]:
        """Return `value` as a tuple; raises ValueError."""
        if not isinstance(value, list | tuple):
            raise ValueError(f"{path}: {value!r} is not a list of leads")
        one = Text(choices=LEADS)
        leads = tuple(one.clean(lead, f"{path}[{k}]") for k, lead in enumerate(value))
        if len(set(leads)) < len(leads):
            raise ValueError(f"{path}: a lead comes twice in {', '.join(leads)}")
        return leads

    def written(self, value: tuple[str, ...]) -> list[str]:
        """Return the names as a list."""
        return list(value)


@dataclass(frozen=True)
class Table:
    """Values by name, all after one rule; exactly the names in `keys` where there are any.

    Kept in the order of `keys`, or else sorted by name, so that equal events are equal lines.
    """

    rule: "Number | Count | Table"
    keys: tuple[str, ...] = ()

    def clean(self, value: Any, path: str) -> dict[str, Any]:
        """Return `value` as an ordered dict; raises ValueError."""
        if not isinstance(value, Mapping):
            raise ValueError(f"{path}: {value!r} is not an object")
        for key in value:
            Text(choices=self.keys).clean(key, f"{path} (key)")
        for key in self.keys:
            if key not in value:
                raise ValueError(f"{path}.{key}: missing")
        return {key: self.rule.clean(value[key], f"{path}.{key}") for key in self.keys or sorted(value)}

    def written(self, value: dict[str, Any]) -> dict[str, Any]:
        """Return the table with its values rounded."""
        return {key: self.rule.written(v) for key, v in value.items()}


Rule = Number | Count | Flag | Text | WallTime | LeadNames | Table
