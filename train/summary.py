"""What a data folder holds for a task, as one object and as a table: records, positives, and what is left out."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .records.entry import RecordEntry, by_reason
from .records.index import RecordIndex
from .tasks import Task

NO_FOLD = "none"
"""Stands for the fold of records whose source has none, or whose fold is not known."""


@dataclass(frozen=True)
class Summary:
    """Counts of records."""

    task: str
    """Name of the task."""
    records: dict[str, dict[str, int]]
    """By source, then by fold (`1` to `10`, NO_FOLD)."""
    labelled: dict[str, int]
    """Records that are labelled for the task, by source."""
    positives: dict[str, dict[str, int]]
    """By class of the task, then by source; labels as the database has them."""
    broken: dict[str, int]
    """Records of all that was looked at that cannot be used, by reason."""
    duplicates: dict[str, int]
    """Second copies of an ECG, by source."""
    mended: dict[str, int]
    """Records whose header's gain is known to be wrong, and put right, by source."""
    absent: tuple[str, ...]
    """Sources that are not there."""

    def to_json(self) -> dict[str, Any]:
        """Return the summary as JSON types."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in vars(self).items()}


def summarize(index: RecordIndex, entries: Sequence[RecordEntry], task: Task) -> Summary:
    """Return the counts of `entries`, which are those of `index` or some of them."""
    known, labels = task.known(entries), task.labels(entries)
    sources = list(dict.fromkeys(entry.source for entry in entries))
    folds = {source: Counter(_fold(e) for e in entries if e.source == source) for source in sources}
    rows = {source: [k for k, e in enumerate(entries) if e.source == source] for source in sources}
    return Summary(
        task=task.name,
        records={source: dict(sorted(counts.items(), key=_fold_order)) for source, counts in folds.items()},
        labelled={source: int(known[rows[source]].sum()) for source in sources},
        positives={
            name: {source: int(labels[rows[source], column].sum()) for source in sources}
            for column, name in enumerate(task.abbreviations)
        },
        broken=by_reason(index.broken),
        duplicates=dict(Counter(entry.source for entry in index.duplicates)),
        mended=index.mended(),
        absent=index.absent,
    )


def table(summary: Summary) -> str:
    """Return the summary as text: records by fold, positives by class, and what is left out with its reason."""
    sources = list(summary.records)
    folds = sorted(
        {fold for counts in summary.records.values() for fold in counts}, key=lambda fold: _fold_order((fold,))
    )
    rows = [["fold", *sources, "all"]]
    for fold in folds:
        rows.append(_row(fold, [summary.records[source].get(fold, 0) for source in sources]))
    rows.append(_row("all", [sum(summary.records[source].values()) for source in sources]))
    rows.append(_row(f"labelled for {summary.task}", [summary.labelled[source] for source in sources]))
    positives = [["positives", *sources, "all"]]
    positives += [_row(name, [counts[source] for source in sources]) for name, counts in summary.positives.items()]
    lines = [*_aligned(rows), "", *_aligned(positives)]
    lines += _listed("left out, broken", [f"{count} {reason}" for reason, count in summary.broken.items()])
    lines += _listed("left out, second copies", [f"{count} {source}" for source, count in summary.duplicates.items()])
    lines += _listed("wrong gain put right", [f"{count} {source}" for source, count in summary.mended.items()])
    lines += _listed("not there", summary.absent)
    return "\n".join(lines)


def _fold(entry: RecordEntry) -> str:
    return NO_FOLD if entry.fold is None else str(entry.fold)


def _fold_order(item: Sequence[Any]) -> int:
    return 99 if item[0] == NO_FOLD else int(item[0])


def _row(name: str, counts: Sequence[int]) -> list[str]:
    return [name, *(str(count or "-") for count in counts), str(sum(counts) or "-")]


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    ]


def _listed(title: str, items: Sequence[str]) -> list[str]:
    return ["", title, *(f"  {item}" for item in items)] if items else []
