"""Holds the answers of one machine against those of another."""

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Compared:
    """One model on two machines."""

    model: str
    """Bundle and backend."""
    skipped: str | None = None
    """Why neither machine could run it, where that is so."""
    records: int = 0
    windows: int = 0
    largest: float = 0.0
    """Largest difference of a logit."""
    events: int = 0
    differences: tuple[str, ...] = ()
    """What is not the same, a line each."""


def compare(model: str, here: dict[str, Any], there: dict[str, Any]) -> Compared:
    """Compare what answers.py says of a model on two machines.

    The same are to be: whether `bundle verify` passes (it must), the labels and the number of windows of every record,
    and every event of the replay to the last digit, but for probabilities. Logits may differ by as much as the bundle's
    self-test tolerates, and probabilities by a quarter of that, the sigmoid's greatest slope.
    """
    if "error" in here and "error" in there:
        return Compared(model, skipped=here["error"])
    for machine, answer in (("here", here), ("there", there)):
        if "error" in answer:
            return Compared(model, differences=(f"does not run {machine}: {answer['error']}",))
    found = [
        f"bundle verify failed {machine}: {answer['reason']}"
        for machine, answer in (("here", here), ("there", there))
        if not answer["verified"]
    ]
    largest = 0.0
    for record, mine in here["records"].items():
        other = there["records"][record]
        if mine["labels"] != other["labels"]:
            found.append(f"{record}: {_labels(mine)} here, {_labels(other)} there")
        if len(mine["logits"]) != len(other["logits"]) or mine["windows"] != other["windows"]:
            found.append(f"{record}: {mine['windows']} windows here, {other['windows']} there")
            continue
        far = float(np.abs(np.array(mine["logits"]) - np.array(other["logits"])).max(initial=0.0))
        if not far <= here["tolerance"]:  # so said, a NaN is not within it
            found.append(f"{record}: logits differ by {far:.2g}, where {here['tolerance']:.2g} is tolerated")
        largest = max(largest, far)
    if len(here["events"]) != len(there["events"]):
        found.append(f"replay: {len(here['events'])} events here, {len(there['events'])} there")
    for mine, other in zip(here["events"], there["events"], strict=False):
        keys = [k for k in {**mine, **other} if not _alike(k, mine.get(k), other.get(k), here["tolerance"] / 4)]
        if keys:
            what = "; ".join(f"{k} {mine.get(k)} here, {other.get(k)} there" for k in keys)
            found.append(f"replay, event {mine.get('seq')} ({mine.get('type')}): {what}")
            break  # those after it follow from it
    windows = sum(answer["windows"] for answer in here["records"].values())
    return Compared(model, None, len(here["records"]), windows, largest, len(here["events"]), tuple(found))


def _alike(key: str, mine: Any, other: Any, tolerance: float) -> bool:
    """Return whether two values of an event's field are the same, or close where they are probabilities."""
    if key == "probabilities" and isinstance(mine, dict) and isinstance(other, dict):
        return mine.keys() == other.keys() and all(abs(mine[k] - other[k]) <= tolerance for k in mine)
    if key == "probability" and isinstance(mine, float) and isinstance(other, float):
        return abs(mine - other) <= tolerance
    return bool(mine == other)


def _labels(answer: dict[str, Any]) -> str:
    return ", ".join(answer["labels"]) or "no label"
