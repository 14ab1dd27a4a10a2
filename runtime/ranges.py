"""Values that a setting may have."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Range:
    """Values that a setting may have: from low to high."""

    low: float
    high: float
