"""The gate: what passes just inside each limit is refused just outside of it, and no broken quantization passes."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")

from ecg_edge.export.gate import Candidate, GateError, Limits, Verdict, judge, logit_error, require_pass  # noqa: E402
from ecg_edge.export.measure import decisions, measured  # noqa: E402
from ecg_edge.runtime import bundle  # noqa: E402
from ecg_edge.runtime.backends import open_model, probabilities  # noqa: E402
from ecg_edge.runtime.contract import Contract  # noqa: E402
from ecg_edge.train.challenge_metric import read_weights  # noqa: E402
from ecg_edge.train.data import open_sides  # noqa: E402
from ecg_edge.train.distributed import World  # noqa: E402
from ecg_edge.train.evaluation import Figure, Report, evaluate  # noqa: E402
from ecg_edge.train.store import RecordStore  # noqa: E402
from ecg_edge.train.tasks import SUPERCLASS, task  # noqa: E402

from .broken import FACTOR, break_onnx, break_tflite, onnx_layers, tflite_layers  # noqa: E402

LIMITS = Limits(macro_drop=0.01, class_drop=0.05, challenge_drop=0.03, disagreement=0.02)
RECORDS, CLASSES, RARE = 40, 5, 4
"""Of the report below; the last class has too few positives to be judged."""


@pytest.fixture(scope="module")
def report() -> Report:
    """Figures of a network of five classes."""
    rng = np.random.default_rng(0)
    truth = rng.random((RECORDS, CLASSES)) < 0.4
    truth[:, RARE] = np.arange(RECORDS) < 2
    scores = np.clip(0.3 * truth + 0.7 * rng.random(truth.shape), 0, 1)
    made = evaluate(SUPERCLASS.classes, truth, scores > 0.5, scores, range(RECORDS), resamples=20)
    return replace(made, challenge=Figure(0.5, 0.4, 0.6))


def with_figures(report: Report, **changes: float) -> Report:
    """Return a report with other values: `macro`, `challenge`, or that of class `c0` to `c4`."""
    auroc = list(report.auroc)
    for name, value in changes.items():
        if name.startswith("c") and name[1:].isdigit():
            auroc[int(name[1:])] = replace(auroc[int(name[1:])], value=value)
    return replace(
        report,
        auroc=tuple(auroc),
        macro_auroc=replace(report.macro_auroc, value=changes.get("macro", report.macro_auroc.value)),
        challenge=Figure(changes.get("challenge", 0.5), 0.4, 0.6),
    )


def decided(count: int = 0) -> Any:
    """Return decisions for nothing, but `count` times."""
    found = np.zeros((RECORDS, CLASSES), dtype=np.bool_)
    found.ravel()[:count] = True
    return found


LOGITS = np.tile(np.float32([-2, 2]), (RECORDS, CLASSES))
"""Of standard deviation 2."""


def candidate(report: Report, differing: int = 0, off: float = 0.0) -> Candidate:
    return Candidate(report, decided(differing), LOGITS + np.float32(off))


def judged(reference: Report, changed: Report, differing: int = 0, off: float = 0.0) -> Verdict:
    candidates = {"onnx": candidate(reference), "tflite": candidate(changed, differing, off)}
    return judge(candidate(reference), candidates, LIMITS)


def test_equal_networks_pass(report: Report) -> None:
    verdict = judged(report, report)
    assert verdict.faults == ()
    assert verdict.disagreement == 0
    require_pass(verdict)
    assert judge(candidate(report), {"onnx": candidate(report)}, LIMITS).faults == ()


@pytest.mark.parametrize(
    ("figure", "limit", "told"),
    [
        ("macro", 0.01, "tflite: macro AUROC"),
        ("c1", 0.05, "tflite: AUROC of MI"),
        ("challenge", 0.03, "tflite: Challenge metric"),
    ],
)
def test_each_figure_has_its_limit(report: Report, figure: str, limit: float, told: str) -> None:
    report = with_figures(report, macro=0.9, c1=0.8, challenge=0.5)
    was = {"macro": 0.9, "c1": 0.8, "challenge": 0.5}[figure]
    for now in (was - limit + 1e-6, was + 0.05):
        assert judged(report, with_figures(report, **{figure: now})).faults == ()
    for now in (was - limit - 1e-6, float("nan")):
        (fault,) = judged(report, with_figures(report, **{figure: now})).faults
        assert fault.startswith(told)
        assert f"(at most {limit:g})" in fault
    assert judged(with_figures(report, **{figure: float("nan")}), report).faults == (), "nothing to be held against"


def test_formats_may_differ_in_few_decisions(report: Report) -> None:
    inside, outside = judged(report, report, 4), judged(report, report, 5)  # of 200: 2 % is 4
    assert (inside.faults, inside.disagreement) == ((), 0.02)
    told = "and tflite differ in 2.50% of the decisions, more than 2.00%"
    assert outside.faults == (f"float {told}", f"onnx {told}")
    assert outside.disagreement == 0.025


def test_logits_may_miss_those_in_float_by_a_part_of_their_deviation(report: Report) -> None:
    assert judged(report, report, off=0.0499).faults == ()
    (fault,) = judged(report, report, off=0.0502).faults
    assert fault == "tflite: logits miss those in float by 0.0251 of their deviation, more than 0.025"
    (fault,) = judged(report, report, off=float("nan")).faults
    assert "nan" in fault


def test_a_class_of_few_positives_is_shown_and_not_judged(report: Report) -> None:
    verdict = judged(report, with_figures(report, **{f"c{RARE}": 0.0}))
    assert verdict.faults == ()
    assert "too few to judge" in verdict.table.splitlines()[1 + RARE]


def test_a_refusal_names_every_fault_and_the_table_shows_them(report: Report) -> None:
    report = with_figures(report, macro=0.9, c1=0.8)
    verdict = judged(report, with_figures(report, macro=0.8, c1=0.7), 50)
    with pytest.raises(GateError) as caught:
        require_pass(verdict)
    told, table = str(caught.value), verdict.table.splitlines()
    assert "\n" not in told
    assert all(part in told for part in ("macro AUROC 0.8000 against 0.9000", "AUROC of MI", "differ in 25.00%"))
    assert [line.split()[0] for line in table[1:6]] == list(SUPERCLASS.abbreviations)
    assert table[2].split() == ["MI", str(report.positives[1]), "0.8000", "0.8000", "0.7000"]
    assert table[6].split() == ["macro", "AUROC", "4", "0.9000", "0.9000", "0.8000"]
    assert table[7].split() == ["Challenge", "metric", "0.5000", "0.5000", "0.5000"]


def some(layers: list[Any]) -> list[Any]:
    """Return the first two, which are the branches' stems in the ONNX graphs, a middle one and the last."""
    return [*layers[:2], layers[len(layers) // 2], layers[-1]]


@pytest.fixture(scope="module")
def fold_8(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> RecordStore:
    """The records that choose for the shipped bundles."""
    cache = tmp_path_factory.mktemp("cache")
    return open_sides(data_dir, ("ptbxl",), (8,), (), (), Contract(), cache, World(), False, True).train


@pytest.mark.parametrize("backend", ["onnx", "tflite"])
@pytest.mark.parametrize("name", ["arrhythmia", "superclass"])
def test_wrong_scales_of_any_layer_of_a_shipped_model_are_refused(
    fold_8: RecordStore, data_dir: Path, name: str, backend: str
) -> None:
    """Five broad classes may keep their order, and so their AUROC, where a tenth of the decisions change."""
    shipped = bundle.load(name)
    if backend not in shipped.manifest.models:
        pytest.skip(f"the shipped bundle has no {backend} model")
    intact, classes = shipped.model(backend), shipped.manifest.classes
    records = measured(fold_8, task(name), "fold 8")
    weights = read_weights(data_dir / "scoring" / "weights.csv") if name == "arrhythmia" else None
    layers, break_layer = (
        (onnx_layers(intact), break_onnx) if backend == "onnx" else (tflite_layers(intact), break_tflite)
    )

    def answers(model: bytes) -> Any:
        opened = open_model(backend, model)
        spectrograms = np.asarray(records.windows.spectrogram, dtype=np.uint8)
        return np.stack([opened.logits(*one) for one in zip(records.windows.signal, spectrograms, strict=True)])

    def of(logits: Any) -> Candidate:
        return Candidate(records.report(logits, classes, weights), decisions(probabilities(logits), classes), logits)

    exact = answers(intact)
    reference = of(exact)
    assert judge(reference, {backend: reference}, Limits()).faults == ()
    broken = {layer: answers(break_layer(intact, layer)) for layer in layers}
    # Attention that has learned next to nothing: what it gives moves logits less than rounding does.
    idle = [layer for layer, logits in broken.items() if logit_error(exact, logits) < 0.02]
    assert len(idle) <= 3 <= 20 <= len(layers)
    passing = [layer for layer, logits in broken.items() if logit_error(exact, logits) <= Limits().logit_error]
    assert passing == idle, "each of the others is refused by its logits, if by nothing else"
    for layer in some([layer for layer in layers if layer not in idle]):
        verdict = judge(reference, {backend: of(broken[layer])}, Limits())
        assert verdict.faults, f"{layer!r} with {FACTOR} times its scale passes"
