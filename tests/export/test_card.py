"""The card tells of the network, data and figures that there are, and of no others."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("onnxscript")

from ecg_edge.export.card import GroupFigures, ModelFacts, render
from ecg_edge.train.evaluation import evaluate
from ecg_edge.train.tasks import SUPERCLASS


def card(tiny: Any, fusion: str = "gate", **changes: Any) -> str:
    rng = np.random.default_rng(0)
    truth = rng.random((40, 5)) < np.array([0.5, 0.4, 0.3, 0.3, 0.0])
    scores = np.clip(0.3 * truth + 0.7 * rng.random(truth.shape), 0, 1)
    report = evaluate(SUPERCLASS.classes, truth, scores > 0.5, scores, range(40), resamples=20)
    facts = ModelFacts(
        name="made",
        task="superclass",
        settings=replace(tiny, network=replace(tiny.network, fusion=fusion)),
        pretrained=False,
        tutored=False,
        teachers=0,
        thresholds="f1",
        parameters=12_345,
        multiply_accumulates=6_700_000,
        model_bytes={"onnx": 20_000, "tflite": 30_000},
        like=None,
        latency_ms={},
        data={"ptbxl": 70},
        float_nodes=(),
    )
    parts = [GroupFigures("records", "female", report), GroupFigures("leads", "1: II", report)]
    return render(replace(facts, **changes), SUPERCLASS.classes, (), report, "ptbxl, fold 9", parts)


@pytest.mark.parametrize(
    ("fusion", "shape", "in_float"),
    [
        ("gate", "fused by a learned gate.", "the gate, the last layer"),
        ("concat", "fused by putting both side by side.", "the last layer"),
        ("csca", "fused by cross-attention between their maps.", "the cross-attention, the last layer"),
        ("time", "one branch, over 10 s of 12-lead ECG at 100 Hz.", "the last layer"),
        ("spectrogram", "one branch, over the log-power spectrogram of 10 s", "the last layer"),
    ],
)
def test_the_network_is_the_one_that_there_is(tiny: Any, fusion: str, shape: str, in_float: str) -> None:
    lines = card(tiny, fusion).splitlines()
    assert any(shape in line for line in lines)
    assert f"- in float, in the ONNX model: {in_float}" in lines


def test_data_is_what_was_learned_from(tiny: Any) -> None:
    alone = card(tiny)
    assert "Trained on 70 records (ptbxl 70): PTB-XL's patients of folds 1, 2, 3, 4, 5, 6, 7. Fold 8 of" in alone
    assert "doi 10.1088" not in alone
    both = card(tiny, data={"ptbxl": 70, "ningbo": 5}, settings=replace(tiny, label_fraction=0.1))
    assert "Trained on 75 records (ningbo 5, ptbxl 70)" in both
    assert "0.1 of the patients" in both
    assert "doi 10.1088/1361-6579/abc960" in both


def test_a_class_without_positives_has_no_figures(tiny: Any) -> None:
    (line,) = (line for line in card(tiny).splitlines() if "(HYP)" in line)
    assert "| 0 | - | - | - | " in line, "nor AUROC, nor interval, nor sensitivity"
    assert "nothing can be said of how well they are found: HYP." in card(tiny)


def test_groups_and_leads_have_a_table_each(tiny: Any) -> None:
    by_group, by_leads = card(tiny).split("## By group")[1].split("## With fewer leads")
    for table, name in ((by_group, "female"), (by_leads, "1: II")):
        (row,) = (line for line in table.splitlines() if line.startswith(f"| {name} |"))
        assert row.split(" | ")[1:3] == ["40", "4"], "records, and classes with enough positives"


def test_teachers_and_latency_are_told_of_where_there_are_any(tiny: Any) -> None:
    alone = card(tiny)
    assert "distilled" not in alone
    assert "## Latency" not in alone
    assert "distilled from a larger network." in card(tiny, teachers=1)
    more = card(tiny, teachers=3, latency_ms={"int8 onnx": 0.25, "int8 tflite": 0.2})
    assert "distilled from 3 larger networks (the mean of their logits)" in more
    assert "int8 onnx 0.250 ms; int8 tflite 0.200 ms" in more.split("## Latency")[1]
