"""Episodes and durations of a rhythm, as EC57 style evaluations count them.

An annotated episode is found when anything announced overlaps it; what was announced is right when it overlaps an
annotated episode. Durations are compared second by second: what share of the annotated time was announced
(sensitivity), and what share of the announced time was annotated (positive predictivity). WFDB's `epicmp` counts so.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Interval = tuple[float, float]

RHYTHMS = {"ventricular": ("VF", "VT"), "asystole": ("Asystole",), "atrial": ("AF", "AFL")}
"""Rhythms compared, and the labels that count as one: they are named differently more often than treated so."""


def compare(truth: Iterable[Interval], told: Iterable[Interval]) -> dict[str, float]:
    """Return counts and seconds of annotated and announced intervals (start, end), and of what they share."""
    a, b = union(truth), union(told)
    shared = sum(max(0.0, min(p[1], q[1]) - max(p[0], q[0])) for p in a for q in b)
    return {
        "episodes": len(a),
        "found": sum(any(_overlap(p, q) for q in b) for p in a),
        "told": len(b),
        "right": sum(any(_overlap(p, q) for q in a) for p in b),
        "seconds": sum(end - start for start, end in a),
        "told_seconds": sum(end - start for start, end in b),
        "shared_seconds": shared,
    }


def pooled(rows: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    """Return the sums over records, and their shares in percent where there is something to share."""
    total: dict[str, Any] = {key: round(sum(row[key] for row in rows), 2) for key in rows[0]}
    for name, part, whole in (
        ("episode_sensitivity", "found", "episodes"),
        ("episode_predictivity", "right", "told"),
        ("duration_sensitivity", "shared_seconds", "seconds"),
        ("duration_predictivity", "shared_seconds", "told_seconds"),
    ):
        if total[whole]:
            total[name] = round(100 * total[part] / total[whole], 2)
    return total


def union(intervals: Iterable[Interval]) -> list[Interval]:
    """Return the intervals in order, those that touch as one."""
    merged: list[Interval] = []
    for start, end in sorted(intervals):
        if merged and start <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((start, end))
    return merged


def _overlap(p: Interval, q: Interval) -> bool:
    return p[0] <= q[1] and q[0] <= p[1]
