"""The student's training: that of any network, with the teachers beside the labels.

The teachers see the windows that the student sees, disturbed and mixed as they are (Beyer et al. 2022, arXiv
2106.05237: the same view for both, many epochs), so a window needs no label to teach. Knowledge passes by three ways:
probabilities (Hinton et al. 2015, arXiv 1503.02531), fused vectors (Romero et al. 2015, arXiv 1412.6550), and what the
fusion attends by.
"""

from typing import Any

import torch
from torch import nn

from ecg_edge.runtime.contract import Contract
from ecg_edge.train.distributed import World
from ecg_edge.train.finetune import Answers, FinetuneRun, Guide
from ecg_edge.train.loop import Line
from ecg_edge.train.networks.model import FusionNet
from ecg_edge.train.networks.output import BranchOutput
from ecg_edge.train.pretrained import Pretrained
from ecg_edge.train.settings import to_table
from ecg_edge.train.store import RecordStore
from ecg_edge.train.tutor import Tutor

from .settings import DistillSettings
from .teachers import Teachers, attention_of


class TeacherGuide(Guide):
    """What a student is told by its teachers."""

    def __init__(self, settings: DistillSettings, teachers: Teachers, student: FusionNet) -> None:
        """student: a network like the one to be taught, for its sizes alone."""
        super().__init__()
        self.settings = settings
        self._teachers = [teachers]  # in a list, so that its weights are neither trained nor kept
        self._attends = settings.gate_weight > 0 and settings.student.network.fusion == teachers.fusion
        widths = teachers.widths if settings.feature_weight > 0 else []
        self.projections = nn.ModuleList(nn.Linear(student.features, width) for width in widths)

    def compared(
        self, network: FusionNet, branches: tuple[BranchOutput | None, BranchOutput | None], fused: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        """Return the fused vector as each teacher would have it, then what the fusion attends by."""
        projected = tuple(projection(fused) for projection in self.projections)
        return projected + (attention_of(network, *branches) if self._attends else ())

    def loss(
        self, answers: Answers, signal: torch.Tensor, spectrogram: torch.Tensor, windows: int
    ) -> tuple[torch.Tensor, Line]:
        """Return the loss against the teachers, and its three parts before their weights; see Guide."""
        s, lesson = self.settings, self._teachers[0].lesson(signal, spectrogram)
        share = len(signal) / windows
        logits = answers.logits.float()
        told = nn.functional.binary_cross_entropy_with_logits(logits, torch.sigmoid(lesson.logits)) * share
        loss, line = s.logit_weight * told, {"told": float(told.detach())}
        count = len(self.projections)
        if count:
            pairs = zip(answers.guided[:count], lesson.features, strict=True)
            distances = [1 - nn.functional.cosine_similarity(mine.float(), theirs).mean() for mine, theirs in pairs]
            features = torch.stack(distances).mean() * share
            loss, line["features"] = loss + s.feature_weight * features, float(features.detach())
        if self._attends and lesson.attention:
            gates = [
                nn.functional.mse_loss(mine, _resampled(theirs, mine.shape[1]))
                for mine, theirs in zip(answers.guided[count:], lesson.attention, strict=True)
            ]
            gate = torch.stack(gates).mean() * share
            loss, line["gate"] = loss + s.gate_weight * gate, float(gate.detach())
        return loss, line


class DistillRun(FinetuneRun):
    """A job for `run_job`: a FinetuneRun of the student, with teachers."""

    def __init__(
        self,
        settings: DistillSettings,
        contract: Contract,
        train: RecordStore,
        valid: RecordStore | None,
        noise: dict[str, Any],
        teachers: Teachers,
        facts: list[dict[str, Any]],
        world: World | None = None,
        init: Pretrained | None = None,
        tutor: Tutor | None = None,
    ) -> None:
        """Prepare a run on `train` that is validated on `valid`; see FinetuneRun.

        facts: what the teachers were made from, to be told in the result.
        """
        settings.check()
        self._facts = {"distill": to_table(settings), "teachers": facts}
        device = (world or World()).device
        torch.manual_seed(settings.student.seed)
        outputs = len(teachers.columns[0])
        student = FusionNet(settings.student.network, len(contract.leads), outputs)
        guide = TeacherGuide(settings, teachers.to(device), student)
        super().__init__(settings.student, contract, train, valid, noise, world, init, guide, tutor)

    def more_facts(self) -> dict[str, Any]:
        """Return the settings of the distillation and what the teachers were made from."""
        return self._facts


def _resampled(attention: torch.Tensor, steps: int) -> torch.Tensor:
    """Return attention (n, m) over time at another number of steps."""
    if attention.shape[1] == steps:
        return attention
    return nn.functional.interpolate(attention[:, None], steps, mode="linear", align_corners=False)[:, 0]
