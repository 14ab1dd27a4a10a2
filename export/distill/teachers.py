"""Trained networks as teachers: one answer from several."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ecg_edge.firmware_bridge.errors import EcgEdgeError
from ecg_edge.runtime.contract import Contract
from ecg_edge.train import checkpoint
from ecg_edge.train.finetune_settings import FinetuneSettings
from ecg_edge.train.inputs import channels_last
from ecg_edge.train.networks.model import FusionNet
from ecg_edge.train.trained import Trained, read_trained


class TeacherError(EcgEdgeError):
    """A teacher that cannot teach this student."""


@dataclass(frozen=True)
class Lesson:
    """What the teachers say of n windows."""

    logits: torch.Tensor
    """(n, classes), the mean over teachers, in the order of the student's tasks."""
    features: tuple[torch.Tensor, ...]
    """Each teacher's fused vector (n, its features), every row of unit length."""
    attention: tuple[torch.Tensor, ...]
    """What their fusions attend by, (n, steps) each, the mean over teachers; none where kinds or lengths differ."""


class Teachers(nn.Module):
    """Networks that do not learn, for the tasks of one student."""

    def __init__(
        self,
        trained: Sequence[Trained],
        student: FinetuneSettings,
        contract: Contract,
        report_folds: Sequence[int] = (),
    ) -> None:
        """Take what each knows of the student's tasks.

        contract: of the student's inputs; report_folds: what it is to be measured on. Raises TeacherError for another
        window or contract, for one that has seen a fold that the student is to be validated or measured on, and for
        one that was distilled itself; TrainedError for one that has not learned the student's tasks.
        """
        super().__init__()
        if not trained:
            raise TeacherError("name at least one --teacher")
        for one in trained:
            self._check(one, student, contract, report_folds)
        self.networks = nn.ModuleList(one.network.requires_grad_(False) for one in trained)
        self.columns = [[k for name in student.tasks for k in _range(one.columns(name))] for one in trained]
        kinds = {one.settings.network.fusion for one in trained}
        self.fusion = kinds.pop() if len(kinds) == 1 else None
        channels_last(self)

    @staticmethod
    def _check(one: Trained, student: FinetuneSettings, contract: Contract, report_folds: Sequence[int]) -> None:
        if one.settings.network.backbone != "edge" or one.settings.window_seconds != student.window_seconds:
            raise TeacherError("a teacher has to take the student's inputs: the edge backbone and the same window")
        if one.contract.sha256 != contract.sha256:
            raise TeacherError("a teacher was trained under another signal contract than the student's: train it again")
        if one.distill is not None:  # a bundle tells of the student's teachers, and not of theirs
            raise TeacherError("a teacher was distilled itself: name the networks that it learned from")
        seen = {*one.settings.train_folds, *(one.init["settings"]["folds"] if one.init else ())}
        seen |= {*(one.tutor["settings"]["train_folds"] if one.tutor else ())}
        for folds, use, mend in (
            (student.valid_folds, "choose", "set student.valid_folds to folds that no teacher knows"),
            (report_folds, "measure", "report on another one, or train the teachers without it"),
        ):
            leaked = sorted(seen & set(folds))
            if leaked:
                raise TeacherError(f"a teacher was trained on fold {leaked[0]}, which is to {use} the student: {mend}")

    @property
    def widths(self) -> list[int]:
        """Length of each teacher's fused vector."""
        return [network.features for network in self._nets()]

    def lesson(self, signal: torch.Tensor, spectrogram: torch.Tensor) -> Lesson:
        """Return what they say of windows; see FusionNet.forward for the inputs."""
        logits, features, attention = [], [], []
        with torch.no_grad():
            self.eval()
            for network, columns in zip(self._nets(), self.columns, strict=True):
                time, image = network.branch_features(signal, spectrogram)
                fused = network.fuse_features(time, image)
                logits.append(network.classify(fused).float()[:, columns])
                features.append(nn.functional.normalize(fused.float(), dim=1))
                attention.append(attention_of(network, time, image))
        together = self.fusion is not None and len({tuple(a.shape for a in one) for one in attention}) == 1
        means = tuple(torch.stack(same).mean(dim=0) for same in zip(*attention, strict=True)) if together else ()
        return Lesson(torch.stack(logits).mean(dim=0), tuple(features), means)

    def _nets(self) -> list[FusionNet]:
        return [network for network in self.networks if isinstance(network, FusionNet)]


def attention_of(network: FusionNet, time: Any, spectrogram: Any) -> tuple[torch.Tensor, ...]:
    """Return what a network's fusion attends by in these branch outputs, float32 (n, steps) each."""
    if network.fusion is None:
        return ()
    return tuple(a.float() for a in network.fusion.attention(time, spectrogram))


def read_teachers(
    paths: Sequence[Path], student: FinetuneSettings, contract: Contract, report_folds: Sequence[int] = ()
) -> tuple[Teachers, list[dict[str, Any]]]:
    """Return the teachers in checkpoints and what they were made from; raises as Teachers and `read_trained` do."""
    trained = [read_trained(path) for path in paths]
    facts = [
        {"settings": checkpoint.load(path, "trained")["settings"], "init": one.init, "tutor": one.tutor}
        for path, one in zip(paths, trained, strict=True)
    ]
    return Teachers(trained, student, contract, report_folds), facts


def _range(columns: slice) -> range:
    return range(columns.start, columns.stop)
