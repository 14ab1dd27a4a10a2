"""Several networks as one teacher: the mean of what they say of the student's classes; who may not teach."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from ecg_edge.export.distill.teachers import TeacherError, Teachers, attention_of  # noqa: E402
from ecg_edge.runtime.contract import Contract  # noqa: E402
from ecg_edge.train.inputs import signal_tensor, spectrogram_tensor  # noqa: E402
from ecg_edge.train.selfdistill.settings import PretrainSettings  # noqa: E402
from ecg_edge.train.settings import read_preset, to_table  # noqa: E402
from ecg_edge.train.trained import TrainedError  # noqa: E402
from ecg_edge.train.windows import Windows, predict_logits, whole_windows  # noqa: E402

CONTRACT = Contract()
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def windows(sides: Any) -> Windows:
    return whole_windows(sides.valid, CONTRACT)


def inputs(windows: Windows) -> tuple[torch.Tensor, torch.Tensor]:
    return signal_tensor(windows.signal, CPU), spectrogram_tensor(windows.spectrogram, CPU)


def test_the_lesson_is_the_mean_in_the_order_of_the_student_s_tasks(
    taught: Callable[..., Any], untrained: Callable[..., Any], windows: Windows
) -> None:
    student = taught(tasks=("superclass", "arrhythmia")).student
    other = replace(student.network, time_widths=(16,))
    both = [
        untrained(replace(student, tasks=("arrhythmia", "superclass")), 1),
        untrained(replace(student, network=other), 2),
    ]
    lesson = Teachers(both, student, CONTRACT).lesson(*inputs(windows))
    said = [
        np.concatenate([predict_logits(one.for_task(name), windows) for name in student.tasks], axis=1) for one in both
    ]
    assert lesson.logits.shape == (12, 5 + 24)
    np.testing.assert_allclose(lesson.logits, np.mean(said, axis=0), rtol=1e-4, atol=1e-5)
    assert [f.shape for f in lesson.features] == [(12, one.network.features) for one in both]
    for vectors in lesson.features:
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)


def test_attention_is_the_mean_of_alike_fusions_and_left_out_of_others(
    taught: Callable[..., Any], untrained: Callable[..., Any], windows: Windows
) -> None:
    student = taught().student
    alike = [untrained(student, seed) for seed in (1, 2)]
    lesson = Teachers(alike, student, CONTRACT).lesson(*inputs(windows))
    with torch.no_grad():
        each = [attention_of(one.network, *one.network.branch_features(*inputs(windows))) for one in alike]
    assert len(lesson.attention) == 2
    for k, mean in enumerate(lesson.attention):
        torch.testing.assert_close(mean, (each[0][k] + each[1][k]) / 2)
    for network in (replace(student.network, fusion="gate"), replace(student.network, time_stride=2)):
        mixed = [alike[0], untrained(replace(student, network=network), 3)]
        assert Teachers(mixed, student, CONTRACT).lesson(*inputs(windows)).attention == ()


def pretrained_on(*folds: int) -> dict[str, Any]:
    edge = read_preset(PretrainSettings, "pretrain", "edge")
    return {"file": "pretrained.pt", "settings": to_table(replace(edge, folds=folds))}


@pytest.mark.parametrize(
    ("settings", "facts", "complaint"),
    [
        ({"train_folds": (1, 8)}, {}, "fold 8, which is to choose the student: set student.valid_folds"),
        ({}, {"init": pretrained_on(1, 8)}, "fold 8, which is to choose"),
        ({"train_folds": (1, 9)}, {}, "fold 9, which is to measure the student: report on another"),
        ({}, {"init": pretrained_on(9)}, "fold 9, which is to measure"),
        ({"window_seconds": 5.0}, {}, "the same window"),
        ({}, {"contract": replace(CONTRACT, window_seconds=9)}, "another signal contract"),
        ({}, {"distill": {"logit_weight": 1.0}}, "distilled itself"),
    ],
)
def test_a_network_that_must_not_teach_is_refused(
    taught: Callable[..., Any],
    untrained: Callable[..., Any],
    settings: dict[str, Any],
    facts: dict[str, Any],
    complaint: str,
) -> None:
    student = taught().student
    good, bad = untrained(student), untrained(replace(student, **settings), **facts)
    Teachers([good], student, CONTRACT, (9,))
    with pytest.raises(TeacherError, match=complaint):
        Teachers([good, bad], student, CONTRACT, (9,))


def test_there_has_to_be_a_teacher_who_knows_the_classes(
    taught: Callable[..., Any], untrained: Callable[..., Any]
) -> None:
    student = taught().student
    with pytest.raises(TeacherError, match="--teacher"):
        Teachers([], student, CONTRACT)
    with pytest.raises(TrainedError, match="not for superclass"):
        Teachers([untrained(replace(student, tasks=("arrhythmia",)))], student, CONTRACT)
