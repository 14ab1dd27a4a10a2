"""The alarm score of the PhysioNet/CinC Challenge 2015, for records in its format.

Each record ends at, or soon after, an alarm of a bedside monitor at 5:00, which experts called true or false. Its
header says so in two comments: `#Ventricular_Tachycardia` and `#True alarm`. A detector confirms an alarm or suppresses
it, from what it has heard until 5:00 (the event in real time); suppressing a true one costs five times as much as any
other error:

    score = 100 (TP + TN) / (TP + TN + FP + 5 FN)

The condition has to begin within 10 s before the alarm (Clifford et al. 2015, Computing in Cardiology 42:273). Here, an
alarm is confirmed when a rule's alert that fits it was on in those 10 s.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ecg_edge.firmware_bridge.errors import EcgEdgeError

ALARM_S = 300.0
WITHIN_S = 10.0
MISSED_WEIGHT = 5
CONFIRMED_BY = {  # alarm of the Challenge -> labels of the rules that confirm it
    "Asystole": {"Asystole"},
    "Bradycardia": {"ExtremeBrady", "Asystole"},
    "Tachycardia": {"ExtremeTachy", "VT", "VF"},
    "Ventricular_Flutter_Fib": {"VF"},
    "Ventricular_Tachycardia": {"VT", "VF"},
}
_TRUTH = {"true alarm": True, "false alarm": False}


@dataclass(frozen=True)
class Verdict:
    """What became of one alarm."""

    record: str
    """Name of its record."""
    alarm: str
    """Its type."""
    true: bool
    """What experts called it."""
    confirmed: bool
    """What the rules make of it."""

    @property
    def outcome(self) -> str:
        """`tp`, `fp`, `tn` or `fn`; positive is a confirmed alarm."""
        return ("t" if self.true == self.confirmed else "f") + ("p" if self.confirmed else "n")


def annotated_alarm(record: str, comments: Iterable[str]) -> tuple[str, bool]:
    """Return type and truth of the alarm in a header's comments; raises EcgEdgeError where they name none."""
    lines = [line.strip() for line in comments]
    types = [line for line in lines if line in CONFIRMED_BY]
    truths = [_TRUTH[line.lower()] for line in lines if line.lower() in _TRUTH]
    if len(types) != 1 or len(truths) != 1:
        raise EcgEdgeError(
            f"the header of {record} names no alarm of the Challenge 2015 (as #Asystole and #True alarm): "
            "leave out --alarms for records with beat or rhythm annotations"
        )
    return types[0], truths[0]


def judge(record: str, alarm: str, true: bool, alerts: Iterable[tuple[str, float, float]]) -> Verdict:
    """Return the verdict on an alarm at ALARM_S; alerts: (label, announced, over) in seconds, until then."""
    fitting = CONFIRMED_BY[alarm]
    confirmed = any(
        label in fitting and announced <= ALARM_S and over >= ALARM_S - WITHIN_S for label, announced, over in alerts
    )
    return Verdict(record, alarm, true, confirmed)


def score(verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """Return counts, rates in percent and the score over all alarms, and the same by type."""
    kinds = sorted({v.alarm for v in verdicts})
    by_alarm = {kind: _figures([v for v in verdicts if v.alarm == kind]) for kind in kinds}
    return {**_figures(verdicts), "by_alarm": by_alarm}


def _figures(verdicts: Sequence[Verdict]) -> dict[str, Any]:
    outcomes = [v.outcome for v in verdicts]
    tp, tn, fp, fn = (outcomes.count(kind) for kind in ("tp", "tn", "fp", "fn"))
    figures: dict[str, Any] = {"tp": tp, "tn": tn, "fp": fp, "fn": fn}
    if tp + fn:
        figures["true_positive_rate"] = round(100 * tp / (tp + fn), 2)
    if tn + fp:
        figures["true_negative_rate"] = round(100 * tn / (tn + fp), 2)
    if verdicts:
        figures["score"] = round(100 * (tp + tn) / (tp + tn + fp + MISSED_WEIGHT * fn), 2)
    return figures
