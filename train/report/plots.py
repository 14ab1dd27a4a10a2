"""The plots of a report: ROC curves, reliability, AUROC by class, and the folds of a cross-validation.

Colours are Okabe and Ito's, which the colour-blind can tell apart. Every function writes one PNG. matplotlib is
imported only when one is called, and draws into files without a display.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..evaluation import Figure, Report
from ..predictions import Predictions

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY = "#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#56B4E9"
PALETTE = (BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY)
GREY = "#767676"

FEW = len(PALETTE)  # as many curves as one panel shows apart
BINS = 10  # of probability, as metrics.calibration_error has
_COLUMNS = 6  # of small multiples: the names stay legible at the width of a page
_DPI = 150


def roc_curves(predictions: Predictions, report: Report, path: Path) -> None:
    """Draw the ROC curve of every class with enough positives: one panel for few classes, else one for each."""
    shown = _enough(report)
    if 0 < len(shown) <= FEW:
        figure, axes = _canvas(1, 1, 5.2, 5.0)
        for colour, k in zip(PALETTE, shown, strict=False):
            label = f"{report.classes[k].abbreviation}  {report.auroc[k].value:.3f}  ({report.positives[k]} positives)"
            _roc(axes[0], predictions, k, colour, label)
        axes[0].legend(loc="lower right", frameon=False, title="class, AUROC", alignment="left")
        axes[0].set_xlabel("1 - specificity")
        axes[0].set_ylabel("sensitivity")
    else:
        figure, axes = _grid(len(shown), 1.75, 1.95)
        for axis, k in zip(axes, shown, strict=False):
            _roc(axis, predictions, k, BLUE, None)
            axis.set_title(f"{report.classes[k].abbreviation}  ({report.positives[k]})", fontsize=9)
            axis.text(0.96, 0.06, f"{report.auroc[k].value:.3f}", ha="right", fontsize=9)
        figure.supxlabel("1 - specificity", fontsize=10)
        figure.supylabel("sensitivity", fontsize=10)
        figure.suptitle("ROC curves, with positives and AUROC", fontsize=11)
    _save(figure, path)


def reliability(predictions: Predictions, report: Report, path: Path) -> None:
    """Draw share of positives against predicted probability, in tenths, and below how many records each tenth has.

    One cell a class with enough positives; a dot grows with its records, its bar is the 95 % Wilson interval.
    """
    shown = _enough(report)
    few = len(shown) <= FEW
    width, height, columns = (2.3, 2.9, 3) if few else (1.75, 2.4, _COLUMNS)
    figure, cells = _grid(len(shown), width, height, share=False, columns=columns)
    p = predictions.probabilities
    for number, (cell, k) in enumerate(zip(cells, shown, strict=False)):
        below = cell.inset_axes((0, 0, 1, 0.24))
        above = cell.inset_axes((0, 0.32, 1, 0.68))
        for axis in (below, above):
            axis.spines[["top", "right"]].set_visible(False)
        cell.axis("off")
        _reliability(above, predictions.truth[:, k], p[:, k])
        _histogram(below, p[:, k])
        above.set_title(f"{report.classes[k].abbreviation}  ECE {report.ece[k]:.3f}", fontsize=9)
        below.set_ylim(0.5, 3 * len(p))
        below.set_yticks([1, 10 ** int(np.log10(len(p)))])
        if number % _across(len(shown), columns):
            above.set_yticklabels([])
            below.set_yticklabels([])
        else:
            above.set_ylabel("share with it", fontsize=8)
            below.set_ylabel("records", fontsize=8)
    figure.supxlabel("predicted probability", fontsize=10)
    _save(figure, path)


def auroc_intervals(report: Report, path: Path) -> None:
    """Draw the AUROC of each class with its interval, best first.

    Classes with too few positives are hollow and have no interval: resampling one positive says nothing of others.
    """
    defined = [k for k in range(len(report.classes)) if not np.isnan(report.auroc[k].value)]
    order = sorted(defined, key=lambda k: report.auroc[k].value)
    figure, (axis,) = _canvas(1, 1, 6.4, 1.3 + 0.21 * len(order))
    enough = set(_enough(report))
    for row, k in enumerate(order):
        value = report.auroc[k]
        counted = k in enough
        if counted:
            axis.plot([value.low, value.high], [row, row], color=BLUE, lw=1.6, alpha=0.7)
        axis.plot(value.value, row, "o", color=BLUE if counted else GREY, mfc=BLUE if counted else "white", ms=5)
    names = [f"{report.classes[k].abbreviation}  ({report.positives[k]})" for k in order]
    axis.set_yticks(range(len(order)), names, fontsize=9)
    axis.set_ylim(-0.7, len(order) - 0.3)
    leftmost = [report.auroc[k].low if k in enough else report.auroc[k].value for k in order]
    axis.set_xlim(min([0.5, *leftmost]) - 0.01, 1.01)
    if not np.isnan(report.macro_auroc.value):
        axis.axvline(report.macro_auroc.value, color=VERMILION, lw=1, ls="--")
        hollow = f"; hollow: fewer than {report.min_positives} positives" if len(enough) < len(order) else ""
        axis.set_title(f"dashed: macro {report.macro_auroc.value:.3f}, {len(enough)} classes{hollow}", fontsize=10)
    axis.set_xlabel("AUROC with 95 % interval over patients")
    axis.grid(axis="x", color="#e5e5e5")
    _save(figure, path)


def fold_figures(values: Mapping[str, Sequence[float]], pooled: Mapping[str, Figure], path: Path) -> None:
    """Draw one panel a figure: its value in each fold in order, their mean, and the pooled one with its interval."""
    names = [name for name, each in values.items() if not np.isnan(each).all()]
    figure, axes = _canvas(1, max(len(names), 1), 2.7 * max(len(names), 1), 3.1)
    for axis, name in zip(axes, names, strict=False):
        each = np.asarray(values[name], dtype=np.float64)
        k = len(each)
        axis.plot(range(1, k + 1), each, "o", color=BLUE, ms=5)
        axis.axhline(float(np.nanmean(each)), color=BLUE, lw=1, ls="--")
        whole = pooled[name]
        axis.plot([k + 1.2] * 2, [whole.low, whole.high], color=VERMILION, lw=1.6)
        axis.plot(k + 1.2, whole.value, "s", color=VERMILION, ms=6)
        axis.set_xticks([*range(1, k + 1), k + 1.2], [*map(str, range(1, k + 1)), "all"], fontsize=8 if k > 6 else 9)
        axis.set_xlim(0.4, k + 1.8)
        axis.set_title(name, fontsize=10)
        axis.set_xlabel("test fold")
        axis.grid(axis="y", color="#e5e5e5")
    figure.suptitle("dots: test folds; dashed: their mean; square: all pooled, 95 % interval", fontsize=9, color=GREY)
    _save(figure, path)


def _roc(axis: "Axes", predictions: Predictions, k: int, colour: str, label: str | None) -> None:
    truth, scores = predictions.truth[:, k], predictions.logits[:, k]
    order = np.argsort(-scores, kind="stable")
    last = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))  # of each group of ties
    found = truth[order].cumsum()[last]
    sensitivity = np.concatenate(([0], found / truth.sum()))
    false = np.concatenate(([0], (last + 1 - found) / (~truth).sum()))
    axis.plot([0, 1], [0, 1], color="#cccccc", lw=0.8)
    axis.plot(false, sensitivity, color=colour, lw=1.5, label=label)
    axis.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    axis.set_xticks((0, 0.5, 1), ("0", "0.5", "1"))
    axis.set_yticks((0, 0.5, 1), ("0", "0.5", "1"))


def _reliability(axis: "Axes", truth: npt.NDArray[np.bool_], p: npt.NDArray[np.float64]) -> None:
    cell = np.minimum((p * BINS).astype(np.int64), BINS - 1)
    n = np.bincount(cell, minlength=BINS)
    used = np.flatnonzero(n)
    n = n[used]
    at = np.bincount(cell, weights=p, minlength=BINS)[used] / n
    share = np.bincount(cell, weights=truth, minlength=BINS)[used] / n
    low, high = _wilson(share, n)
    axis.plot([0, 1], [0, 1], color="#cccccc", lw=0.8)
    axis.vlines(at, low, high, color=BLUE, lw=1.1, alpha=0.45)
    axis.scatter(at, share, s=6 + 40 * np.sqrt(n / len(p)), color=BLUE, zorder=3, clip_on=False)
    axis.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xticks=(0, 0.5, 1), yticks=(0, 0.5, 1))
    axis.set_xticklabels([])
    axis.tick_params(labelsize=8)


def _histogram(axis: "Axes", p: npt.NDArray[np.float64]) -> None:
    counts, edges = np.histogram(p, bins=BINS, range=(0, 1))
    axis.bar(edges[:-1], counts, width=1 / BINS, align="edge", color="#b0b0b0", edgecolor="white", lw=0.5)
    axis.set_yscale("log")
    axis.minorticks_off()
    axis.set(xlim=(-0.02, 1.02), xticks=(0, 0.5, 1))
    axis.set_xticklabels(["0", "0.5", "1"])
    axis.tick_params(labelsize=8)


def _wilson(share: npt.NDArray[np.float64], n: npt.NDArray[np.int64]) -> tuple[Any, Any]:
    """Return the 95 % Wilson (1927) interval of shares of n."""
    z = 1.96
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return centre - half, centre + half


def _enough(report: Report) -> list[int]:
    return [
        k
        for k in range(len(report.classes))
        if report.positives[k] >= report.min_positives and not np.isnan(report.auroc[k].value)
    ]


def _across(cells: int, columns: int) -> int:
    return min(columns, max(cells, 1))


def _canvas(rows: int, columns: int, width: float, height: float, share: bool = False) -> tuple["Canvas", list["Axes"]]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Canvas

    figure = Canvas(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = list(figure.subplots(rows, columns, squeeze=False, sharex=share, sharey=share).flat)
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _grid(
    cells: int, width: float, height: float, share: bool = True, columns: int = _COLUMNS
) -> tuple["Canvas", list["Axes"]]:
    across = _across(cells, columns)
    rows = max(-(-cells // across), 1)
    figure, axes = _canvas(rows, across, width * across + 0.4, height * rows + 0.4, share)
    for axis in axes[cells:]:
        axis.axis("off")
    for axis in axes[max(cells - across, 0) : cells]:
        axis.tick_params(labelbottom=True)  # of the lowest of each column, in the last row or not
    return figure, axes


def _save(figure: "Canvas", path: Path) -> None:
    figure.savefig(path, dpi=_DPI, metadata={"Software": None})
