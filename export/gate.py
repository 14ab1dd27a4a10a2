"""The accuracy gate: whether a quantized network may stand for the one it was made from.

Every format is held against the float network, and the formats against each other, on the same records with the same
thresholds, so the differences are paired: far smaller than either figure's own interval.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ecg_edge.firmware_bridge.errors import EcgEdgeError
from ecg_edge.train.evaluation import Report


class GateError(EcgEdgeError):
    """A quantized network that must not be shipped."""


@dataclass(frozen=True)
class Limits:
    """What quantization may cost."""

    macro_drop: float = 0.003
    """Of the macro AUROC."""
    class_drop: float = 0.02
    """Of the AUROC of any class with enough positives: with five of them in 200 records, one pair of records that
    change places is 0.001."""
    challenge_drop: float = 0.02
    """Of the Challenge metric: a handful of decisions at the threshold in 200 records."""
    disagreement: float = 0.01
    """Part of the decisions (records times classes) in which two formats, or one and the float network, may differ."""
    logit_error: float = 0.025
    """Root of the mean square by which logits may miss the float network's, as a part of their standard deviation: the
    shipped networks' INT8 has 0.010 to 0.019; with four times the scales of any layer that matters, 0.027 and more."""


@dataclass(frozen=True)
class Candidate:
    """One format of the network on the gate's records."""

    report: Report
    """Its figures."""
    decisions: npt.NDArray[np.bool_]
    """(records, classes), at the thresholds that ship."""
    logits: npt.NDArray[np.float32]
    """(records, classes)."""


@dataclass(frozen=True)
class Verdict:
    """What the gate found."""

    faults: tuple[str, ...]
    """What exceeds the limits, in words; none lets the network pass."""
    table: str
    """Figures of every format by class, to look at."""
    disagreement: float
    """Largest part of the decisions in which two formats, or one and the float network, differ."""


def judge(float_network: Candidate, candidates: Mapping[str, Candidate], limits: Limits) -> Verdict:
    """Return the verdict on formats (name to candidate) against the float network on the same records.

    A figure that is not a number in a candidate and one in the float network is a fault. Decisions are compared
    between any two formats and with the float network's: a rank figure as AUROC does not see a shift of all logits.
    Logits are compared with the float network's: a layer of little weight may be broken and few decisions show it.
    """
    reference = float_network.report
    faults: list[str] = []
    enough = reference.positives >= reference.min_positives
    for name, candidate in candidates.items():
        report = candidate.report
        faults += _fault(name, "macro AUROC", reference.macro_auroc.value, report.macro_auroc.value, limits.macro_drop)
        for k, info in enumerate(reference.classes):
            if enough[k]:
                was, now = reference.auroc[k].value, report.auroc[k].value
                faults += _fault(name, f"AUROC of {info.abbreviation}", was, now, limits.class_drop)
        if reference.challenge is not None and report.challenge is not None:
            was, now = reference.challenge.value, report.challenge.value
            faults += _fault(name, "Challenge metric", was, now, limits.challenge_drop)
        error = logit_error(float_network.logits, candidate.logits)
        if not error <= limits.logit_error:
            told = f"{error:.4f} of their deviation, more than {limits.logit_error:g}"
            faults.append(f"{name}: logits miss those in float by {told}")
    disagreement = 0.0
    everyone = {"float": float_network, **candidates}
    names = list(everyone)
    for i, first in enumerate(names):
        for second in names[i + 1 :]:
            share = float((everyone[first].decisions != everyone[second].decisions).mean())
            disagreement = max(share, disagreement)
            if share > limits.disagreement:
                faults.append(
                    f"{first} and {second} differ in {share:.2%} of the decisions, more than {limits.disagreement:.2%}"
                )
    return Verdict(tuple(faults), _table(reference, candidates), disagreement)


def logit_error(exact: npt.NDArray[np.float32], found: npt.NDArray[np.float32]) -> float:
    """Return the root of the mean square of `found` less `exact`, over the standard deviation of `exact`."""
    difference = found.astype(np.float64) - exact
    return float(np.sqrt(np.mean(difference**2)) / np.std(exact, dtype=np.float64))


def require_pass(verdict: Verdict) -> None:
    """Raise GateError for a verdict with faults."""
    if verdict.faults:
        raise GateError(
            f"the gate refuses this network: {'; '.join(verdict.faults)}. Leave more in float, calibrate on other "
            "records, or train again; no bundle was written"
        )


def _fault(name: str, figure: str, was: float, now: float, limit: float) -> list[str]:
    if np.isnan(was) or was - now <= limit:
        return []
    return [f"{name}: {figure} {now:.4f} against {was:.4f} in float, {was - now:.4f} less (at most {limit:g})"]


def _table(reference: Report, candidates: Mapping[str, Candidate]) -> str:
    names = ["float", *candidates]
    reports = [reference, *(candidate.report for candidate in candidates.values())]
    width = max(16, *(len(info.abbreviation) for info in reference.classes))
    lines = [f"{'AUROC':{width}} {'positives':>9} " + " ".join(f"{name:>8}" for name in names)]
    for k, info in enumerate(reference.classes):
        cells = " ".join(f"{_text(report.auroc[k].value):>8}" for report in reports)
        few = "" if reference.positives[k] >= reference.min_positives else "  (too few to judge)"
        lines.append(f"{info.abbreviation:{width}} {reference.positives[k]:9d} {cells}{few}")
    macros = " ".join(f"{_text(report.macro_auroc.value):>8}" for report in reports)
    lines.append(f"{'macro AUROC':{width}} {reference.classes_averaged:9d} {macros}")
    if reference.challenge is not None:
        found = " ".join(f"{_text(r.challenge.value if r.challenge else float('nan')):>8}" for r in reports)
        lines.append(f"{'Challenge metric':{width}} {'':9} {found}")
    return "\n".join(lines)


def _text(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.4f}"
