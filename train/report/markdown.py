"""The words and tables of a report, in Markdown."""

from collections import Counter
from collections.abc import Mapping, Sequence

from ..evaluation import Report, is_challenge, spanned, text
from ..predictions import REQUIRED_FACTS, Predictions

DISCLAIMER = "Research software, not a medical device: these figures say nothing of its use on patients."


def render(
    predictions: Predictions,
    report: Report,
    plots: Mapping[str, str],
    members: Mapping[str, Report] | None = None,
    thresholds: bool = True,
) -> str:
    """Return the page.

    plots: file name by caption; members: reports of the models that an ensemble is made of; thresholds: whether the
    classes' thresholds decided.
    """
    facts = predictions.facts
    lines = [f"# {facts['task']}: {facts['model']}", "", DISCLAIMER, "", "## What was measured", ""]
    lines += [f"- {name}: {facts[name]}" for name in (*REQUIRED_FACTS, *sorted(set(facts) - set(REQUIRED_FACTS)))]
    lines += counts(predictions)
    lines += ["", "## Figures", "", *figures(report)]
    if members:
        lines += ["", "Each model alone, with its own thresholds:", "", *side_by_side(members)]
    lines += ["", "## By class", "", *by_class(report, thresholds)]
    for caption, name in plots.items():
        lines += ["", f"### {caption}", "", f"![{caption}]({name})"]
    lines += ["", "## What is not to be concluded", "", *limits(predictions, report)]
    return "\n".join(lines) + "\n"


def counts(predictions: Predictions) -> list[str]:
    """Return list items on how many records, patients, sources and folds there are."""
    sources = Counter(predictions.sources)
    folds = Counter(fold for fold in predictions.folds if fold is not None)
    unlabelled = int((~predictions.truth.any(axis=1)).sum())
    return [
        f"- records: {len(predictions.records)} of {len(set(predictions.patients))} patients ("
        + ", ".join(f"{name} {n}" for name, n in sorted(sources.items()))
        + ")",
        *([f"- folds: {', '.join(f'{fold} ({n})' for fold, n in sorted(folds.items()))}"] if folds else []),
        f"- classes a record has: {predictions.truth.sum(axis=1).mean():.2f} in the mean, none in {unlabelled} records",
    ]


def figures(report: Report) -> list[str]:
    """Return the table of what is averaged over classes."""
    least = f"{report.classes_averaged} classes with at least {report.min_positives} positives"
    rows = [
        ("macro AUROC", report.macro_auroc, least),
        ("macro AUPRC", report.macro_auprc, least),
        ("macro F1", report.macro_f1, least),
        ("macro F2", report.macro_f2, "all classes present or decided, as the Challenge averages"),
        ("macro G2", report.macro_g2, "all classes present or decided, as the Challenge averages"),
    ]
    if report.challenge is not None:
        rows.append(("Challenge metric 2020", report.challenge, "1 perfect, 0 always sinus rhythm"))
    cells = [(name, spanned(figure), over) for name, figure, over in rows]
    cells.append(("macro ECE", text(report.macro_ece), least))
    return table(("figure", "value (95 % interval)", "over"), cells)


def by_class(report: Report, thresholds: bool = True) -> list[str]:
    """Return the table of classes, those with too few positives in italics.

    thresholds: whether to name the classes' thresholds; not where decisions rest on others.
    """
    rows = []
    for k, info in enumerate(report.classes):
        mark = "" if report.positives[k] >= report.min_positives else "*"
        columns = (report.auprc, report.f1, report.f2, report.g2, report.sensitivity, report.specificity, report.ppv)
        rows.append(
            (
                f"{mark}{info.name} ({info.abbreviation}){mark}",
                str(report.positives[k]),
                *([f"{info.threshold:.3f}"] if thresholds else []),
                spanned(report.auroc[k]) if report.positives[k] else "-",
                *(text(values[k]) for values in columns),
                text(report.ece[k]),
            )
        )
    head = ("class", "positives", *(["threshold"] if thresholds else []), "AUROC (95 % interval)", "AUPRC", "F1")
    return table((*head, "F2", "G2", "sensitivity", "specificity", "PPV", "ECE"), rows)


def side_by_side(reports: Mapping[str, Report]) -> list[str]:
    """Return a table of several reports' main figures."""
    return table(
        ("", "macro AUROC", "macro AUPRC", "macro F1", "Challenge metric"),
        [
            (name, spanned(r.macro_auroc), spanned(r.macro_auprc), spanned(r.macro_f1), _challenge(r))
            for name, r in reports.items()
        ],
    )


def limits(predictions: Predictions, report: Report) -> list[str]:
    """Return list items on what the figures do not show."""
    rare = [c.abbreviation for c, n in zip(report.classes, report.positives, strict=True) if n < report.min_positives]
    sources = sorted(set(predictions.sources))
    said = predictions.facts.get("thresholds")
    return [
        f"- How well a class with fewer than {report.min_positives} positives is found "
        f"({', '.join(rare) or 'none here'}): such classes are in italics "
        "and not in the macro averages (but in F2 and G2, where the Challenge has them).",
        "- How it would do in another hospital: intervals are over other patients of the same sources "
        f"({', '.join(sources)}), and not over other trainings of the model, other devices or other readers.",
        "- That a difference smaller than the intervals is one.",
        "- That the labels are right: they are those of the databases, one or two readers' at most, and a source may "
        "not know a class at all.",
        "- What other thresholds would give: "
        + (f"these were {said}." if said else "who made the predictions fitted these; fitted here, they would flatter.")
        + " F1, F2, G2, sensitivity, specificity, PPV and the Challenge metric rest on them; AUROC, AUPRC and ECE do "
        "not.",
        *(
            []
            if is_challenge(report.classes)
            else ["- A comparison with the Challenge 2020: these are not its classes, so it has no metric for them."]
        ),
    ]


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table, the first column to the left and the others to the right."""
    return [
        f"| {' | '.join(head)} |",
        f"| --- |{' ---: |' * (len(head) - 1)}",
        *(f"| {' | '.join(row)} |" for row in rows),
    ]


def _challenge(report: Report) -> str:
    return "-" if report.challenge is None else spanned(report.challenge)
