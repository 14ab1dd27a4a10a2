"""Supervised training of a network on labelled records: a job for the training loop.

Each epoch: batches from the background, AdamW under a one-cycle schedule, a running average of the weights, and the
macro AUROC of that average on the validation records. `last.pt` holds all that a run needs to go on, `best.pt` the
averaged network of the best epoch (see `trained`), `log.csv` one line an epoch.
"""

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from ecg_edge.runtime.contract import Contract

from . import checkpoint, metrics
from .augment.augmenter import Augmenter, Batch
from .contrast import ContrastHead, contrast_loss
from .distributed import World, share_batch_norm
from .finetune_settings import FinetuneSettings
from .inputs import channels_last, signal_tensor, spectrogram_tensor
from .loader import Meter, epoch_items
from .loop import Line
from .losses import KnownLoss, measurement_loss, rare_weights
from .networks.front import front_of
from .networks.model import BranchHeads, FusionNet
from .networks.output import BranchOutput
from .networks.standardization import standardize
from .optimizer import autocast, decay_groups, follow, one_cycle, resolve_precision, set_rate
from .pretrained import Pretrained, measure_batch_norm
from .records.entry import RecordEntry
from .settings import require, to_table
from .store import RecordStore
from .tasks import Mask, task
from .threads import set_threads
from .tutor import Lesson, Tutor
from .windows import Windows, network_windows, predict_logits

BEST = "best.pt"
HARDLY_MIXED = 0.95  # weight of a window's own record, from which on its measurements are the window's
ENOUGH_POSITIVES = 5  # of a class, for its AUROC to enter the mean that chooses the epoch


def labelled_part(entries: tuple[RecordEntry, ...], fraction: float, seed: int) -> npt.NDArray[np.int64]:
    """Return the numbers of the records of a part of the patients, at least one; nested for one seed."""
    patients = sorted({entry.patient for entry in entries})
    order = np.random.default_rng([seed, 7]).permutation(len(patients))
    chosen = {patients[k] for k in order[: max(1, round(fraction * len(patients)))]}
    return np.array([k for k, entry in enumerate(entries) if entry.patient in chosen], dtype=np.int64)


def learned_records(
    settings: FinetuneSettings, entries: tuple[RecordEntry, ...], counted: npt.NDArray[np.bool_]
) -> npt.NDArray[np.int64]:
    """Return the numbers of the training records that a run learns from.

    counted: (records, classes) of all its tasks, see `Task.training_labels`; a record that counts for nothing has
    nothing to teach.
    """
    part = labelled_part(entries, settings.label_fraction, settings.seed)
    learned: npt.NDArray[np.int64] = part[counted[part].any(axis=1)]
    return learned


def macro_auroc(labels: npt.NDArray[np.bool_], logits: npt.NDArray[np.float32]) -> float:
    """Return the mean AUROC of the classes with ENOUGH_POSITIVES; of all that have one where none has."""
    values, positives = metrics.auroc(labels, logits), labels.sum(axis=0)
    mean = float(metrics.macro(values, positives, ENOUGH_POSITIVES))
    return mean if not math.isnan(mean) else float(metrics.macro(values, positives))


def tutored(
    labels: Mask, counted: Mask, lesson: Lesson, settings: FinetuneSettings
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return targets and their weights (records, classes) from labels and what a tutor says beside them.

    labels, counted: (records, classes). Where a label is not known, the target is the tutor's answer.
    """
    part = np.where(counted, np.float32(settings.tutor_part), np.float32(1))
    targets = (1 - part) * labels + part * lesson.probabilities
    weights = np.where(counted, np.float32(1), np.float32(settings.tutor_unknown))
    return targets.astype(np.float32), weights


@dataclass(frozen=True)
class StepBatch:
    """A rank's part of a step."""

    rows: Batch
    """Its windows."""
    targets: npt.NDArray[np.float32]
    """Of the whole step's windows, (records, classes)."""
    counted: npt.NDArray[np.float32]
    """Of the whole step's windows."""
    measurements: npt.NDArray[np.float32] | None = None
    """Of the whole step's windows, (records, values); NaN where a window is a mixture. None without a tutor."""


class Answers(NamedTuple):
    """What the losses take of the network, for n windows."""

    logits: torch.Tensor
    """(n, classes)."""
    alone: tuple[torch.Tensor, ...]
    """Each branch's own logits, (n, classes)."""
    projected: torch.Tensor | None
    """What the contrastive task compares."""
    guided: tuple[torch.Tensor, ...]
    """What a guide compares; see Guide."""
    measured: torch.Tensor | None = None
    """Measurements as the network tells them, (n, values)."""


class Guide(nn.Module, ABC):
    """What a network learns from besides labels; its own layers are trained along with the network.

    Made before the run, it takes part in the objective: `compared` runs inside the parallel module, `loss` outside.
    """

    @abstractmethod
    def compared(
        self, network: FusionNet, branches: tuple[BranchOutput | None, BranchOutput | None], fused: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        """Return what `loss` takes of the network besides its logits."""

    @abstractmethod
    def loss(
        self, answers: Answers, signal: torch.Tensor, spectrogram: torch.Tensor, windows: int
    ) -> tuple[torch.Tensor, Line]:
        """Return the loss of some windows, whose sum over the parts of a batch of `windows` is the batch's; and a line.

        signal, spectrogram: the windows, as the network has taken them.
        """


class Objective(nn.Module):
    """The network with its losses, as one module for DistributedDataParallel."""

    def __init__(
        self,
        network: FusionNet,
        heads: BranchHeads,
        contrast: ContrastHead | None,
        guide: Guide | None = None,
        measurer: nn.Linear | None = None,
    ) -> None:
        super().__init__()
        self.network, self.heads, self.contrast, self.guide = network, heads, contrast, guide
        self.measurer = measurer

    def forward(self, signal: torch.Tensor, spectrogram: torch.Tensor, keep: torch.Tensor) -> Answers:
        """Return what the losses take."""
        branches = self.network.branch_features(signal, spectrogram)
        fused = self.network.fuse_features(*branches)
        return Answers(
            self.network.classify(fused, keep),
            self.heads(*branches),
            None if self.contrast is None else self.contrast(fused),
            () if self.guide is None else self.guide.compared(self.network, branches, fused),
            None if self.measurer is None else self.measurer(fused * keep),
        )


class FinetuneRun:
    """A job for `run_job`."""

    def __init__(
        self,
        settings: FinetuneSettings,
        contract: Contract,
        train: RecordStore,
        valid: RecordStore | None,
        noise: dict[str, Any],
        world: World | None = None,
        init: Pretrained | None = None,
        guide: Guide | None = None,
        tutor: Tutor | None = None,
    ) -> None:
        """Prepare a run on `train` that is validated on `valid`; without it the last epoch's network is kept.

        noise: recordings for the augmentation; init: pretrained branches to start from; guide: what is learned from
        besides labels, on windows without labels too; tutor: what is learned besides each record's labels. Raises
        SettingsError, PretrainedError where `init` does not fit or has seen a validation patient, and TutorError where
        `tutor` has or does not know a record.
        """
        settings.check()
        set_threads(settings.threads)
        torch.manual_seed(settings.seed)
        self.settings, self.contract, self.world = settings, contract, world or World()
        self._init = init
        tasks = [task(name) for name in settings.tasks]
        parts = [one.training_labels(train.entries) for one in tasks]
        labels = np.concatenate([part[0] for part in parts], axis=1)
        counted = np.concatenate([part[1] for part in parts], axis=1)
        self._records = learned_records(settings, train.entries, counted)
        if guide is not None:  # has something to say of every record
            unlabelled = np.setdiff1d(np.arange(len(counted)), self._records)
            counted[unlabelled] = False
            self._labelled, self._records = self._records, np.arange(len(counted))
        else:
            self._labelled = self._records
        backbone = settings.network.backbone
        self._tutor, self._measurements = tutor, None
        targets, weights = labels.astype(np.float32), counted.astype(np.float32)
        if tutor is not None:
            require(settings.label_fraction == 1, "label_fraction: a tutor knows all labels, so it must be 1")
            if valid is not None:
                tutor.check_unseen(valid.entries)
            lesson = tutor.lesson(train.entries, settings.tasks)
            targets, weights = tutored(labels, counted, lesson, settings)
            self._measurements = lesson.measurements
        self._augmenter = Augmenter(settings.augment, contract, train, targets, weights, noise, backbone)
        self._samples = round(settings.window_seconds * contract.rate)

        self.network = FusionNet(settings.network, len(contract.leads), labels.shape[1])
        if backbone == "paper":
            standardize(self.network, train, self._samples)
        if init is not None:
            if valid is not None:
                init.check_unseen(valid.entries)
            init.load_into(self.network)
        if settings.frozen:
            if init is None:
                measure_batch_norm(self.network, train, self._records, contract, front_of(backbone), self._samples)
            for branch in self._branches():
                branch.requires_grad_(False)
        rare = rare_weights(labels[self._labelled], settings.rare_power, settings.rare_limit)
        self.loss = KnownLoss(rare).to(self.world.device)
        heads = BranchHeads(self.network, labels.shape[1])
        contrast = ContrastHead(self.network.features, settings.contrast) if settings.contrast_weight > 0 else None
        measurer = None
        if self._measurements is not None and settings.measurement_weight > 0:
            measurer = nn.Linear(self.network.features, self._measurements.shape[1])
        objective = Objective(self.network, heads, contrast, guide, measurer)
        self.objective = share_batch_norm(objective, self.world).to(self.world.device)
        channels_last(self.objective)
        self.average = copy.deepcopy(self.network).requires_grad_(False)
        encoder = {id(p) for branch in self._branches() for p in branch.parameters()}
        rate = settings.encoder_rate if init is not None else 1.0
        groups = decay_groups((p for p in self.objective.parameters() if id(p) in encoder), settings.weight_decay, rate)
        groups += decay_groups((p for p in self.objective.parameters() if id(p) not in encoder), settings.weight_decay)
        self._optimizer = torch.optim.AdamW(groups, lr=1.0, fused=True)
        self._parallel = self.world.parallel(self.objective)
        self._precision = resolve_precision(settings.precision, self.world.device)
        self.meter = Meter()
        self.epochs = settings.epochs
        windows = settings.crops_per_record * len(self._records)
        self.steps_per_epoch = max(settings.least_steps, -(-windows // settings.batch_size))
        self.world.check_batches(min(settings.batch_size, windows // self.steps_per_epoch), settings.accumulate)
        self._rates = one_cycle(settings.learning_rate, settings.warmup_fraction, self.epochs * self.steps_per_epoch)

        self._valid: Windows | None = None
        self._valid_labels: list[tuple[Mask, Mask]] = []
        if valid is None:
            return
        self._valid = network_windows(valid, contract, backbone, settings.window_seconds, settings.stride_seconds)
        self._valid_labels = [(one.known(valid.entries), one.labels(valid.entries)) for one in tasks]
        for one, (known, truth) in zip(tasks, self._valid_labels, strict=True):
            some = truth[known].any(axis=0) & ~truth[known].all(axis=0)
            require(
                bool(some.any()), f"valid_folds: no class of {one.name} is in some of their records and not in others"
            )

    def _branches(self) -> list[nn.Module]:
        return [branch for branch in (self.network.time, self.network.spectrogram) if branch is not None]

    def identity(self) -> dict[str, Any]:
        """Return settings, contract, data and the weights that the run starts from."""
        return {
            "settings": to_table(self.settings),
            "contract": self.contract.to_dict(),
            "records": len(self._records),
            "init": None if self._init is None else self._init.facts,
            "tutor": None if self._tutor is None else self._tutor.facts,
            **self.more_facts(),
        }

    def more_facts(self) -> dict[str, Any]:
        """Return what else the run depends on, as types that checkpoints know."""
        return {}

    def batches(self, epoch: int, first: int) -> Iterator[StepBatch]:
        """Yield this rank's part of each step of an epoch."""
        s = self.settings

        def make(numbers: npt.NDArray[np.int64], number: int) -> StepBatch:
            rng = np.random.default_rng([s.seed, epoch, number])
            draw = self._augmenter.draw(self._records[numbers], rng, self._samples)
            rows = self._augmenter.render(draw, self.world.rows(len(numbers)))
            measurements = None if self._measurements is None else self._measurements[draw.records]
            if measurements is not None:
                measurements[draw.weight < HARDLY_MIXED] = np.nan
            return StepBatch(rows, *self._augmenter.targets(draw), measurements)

        return epoch_items(
            make, len(self._records), self.steps_per_epoch, s.batch_size, s.seed, epoch, first, self.meter
        )

    def step(self, batch: StepBatch, number: int) -> Line:
        """Take one step; its line has the loss of each part over the whole batch."""
        s, device = self.settings, self.world.device
        self.objective.train()
        if s.frozen:
            for branch in self._branches():
                branch.eval()
        set_rate(self._optimizer, float(self._rates[number]))
        targets, counted = torch.from_numpy(batch.targets).to(device), torch.from_numpy(batch.counted).to(device)
        total = counted.sum().clamp(min=1.0)
        keep = self._dropout(len(targets), number)
        rows = self.world.rows(len(targets))
        self._optimizer.zero_grad(set_to_none=True)
        line: Line = {"loss": 0.0}
        parts = [part for part in np.array_split(np.arange(len(rows)), s.accumulate) if len(part)]
        for k, part in enumerate(parts):
            mine = torch.from_numpy(rows[part]).to(device)
            hold = self.world.size > 1 and k < len(parts) - 1
            with self._parallel.no_sync() if hold else torch.enable_grad():  # type: ignore[operator]
                with autocast(self._precision, device):
                    signal = signal_tensor(batch.rows.signal[part], device)
                    spectrogram = spectrogram_tensor(batch.rows.spectrogram[part], device)
                    answers: Answers = self._parallel(signal, spectrogram, keep[mine])
                loss = self.loss(answers.logits.float(), targets[mine], counted[mine], total)
                line["loss"] += float(loss.detach())
                for own in answers.alone:
                    loss = loss + s.branch_weight * self.loss(own.float(), targets[mine], counted[mine], total)
                loss = s.label_weight * loss
                if answers.measured is not None and batch.measurements is not None:
                    truth = torch.from_numpy(batch.measurements[rows[part]]).to(device)
                    told = measurement_loss(answers.measured.float(), truth, len(targets))
                    line["measurements"] = line.get("measurements", 0.0) + float(told.detach())
                    loss = loss + s.measurement_weight * told
                if self.objective.guide is not None:
                    with autocast(self._precision, device):
                        guided, more = self.objective.guide.loss(answers, signal, spectrogram, len(targets))
                    loss = loss + guided
                    line |= {name: line.get(name, 0.0) + value for name, value in more.items()}
                projected = answers.projected
                if projected is not None:
                    known = targets[mine] * counted[mine]
                    if s.accumulate == 1:
                        projected, known = self.world.gather(projected.float(), len(targets)), targets * counted
                    contrast = contrast_loss(projected.float(), known, s.contrast.temperature)
                    share = len(part) / len(targets) if s.accumulate > 1 else 1 / self.world.size
                    line["contrast"] = line.get("contrast", 0.0) + float(contrast.detach()) * share
                    loss = loss + s.contrast_weight * share * contrast
                # DistributedDataParallel takes the mean over ranks; the batch's loss is the sum over them.
                (loss * self.world.size).backward()
        nn.utils.clip_grad_norm_(self.objective.parameters(), s.gradient_norm)
        self._optimizer.step()
        # Early on the average is over fewer steps than its decay would have.
        follow(self.average, self.network, min(s.average_decay, (number + 1) / (number + 11)))
        summed = self.world.sum(torch.tensor(list(line.values()), device=device))
        return dict(zip(line, summed.tolist(), strict=True))

    def _dropout(self, n: int, number: int) -> torch.Tensor:
        """Return what the fused features of a whole batch are multiplied by, the same on every rank."""
        rate = self.settings.network.dropout
        generator = torch.Generator().manual_seed(self.settings.seed * 1_000_003 + number)  # a prime: runs differ
        keep = torch.rand((n, self.network.features), generator=generator) >= rate
        return (keep.float() / (1 - rate)).to(self.world.device)

    def end_epoch(self, epoch: int, means: Line) -> Line:
        """Validate the averaged network, where there is something to validate on."""
        line: Line = {"learning_rate": float(self._rates[(epoch + 1) * self.steps_per_epoch - 1])}
        if self._valid is None:
            return line
        logits = predict_logits(self.average, self._valid)
        start = 0
        scores = []
        for name, (known, labels) in zip(self.settings.tasks, self._valid_labels, strict=True):
            mine = logits[known, start : start + labels.shape[1]]
            scores.append(macro_auroc(labels[known], mine))
            line[f"valid_auroc_{name}"] = scores[-1]
            start += labels.shape[1]
        line["valid_auroc"] = float(np.mean(scores))
        return line

    def save_result(self, out: Path, history: list[Line]) -> None:
        """Write `best.pt` where the last epoch validates best, the later one of equals; always without validation."""
        if self._valid is None or history[-1]["valid_auroc"] >= max(line["valid_auroc"] for line in history):
            checkpoint.save(out / BEST, self.result(history))

    def result(self, history: list[Line]) -> dict[str, Any]:
        """Return the content of `best.pt`: the averaged network as it is now, with what it was made from."""
        return {
            "kind": "trained",
            "records": len(self._labelled),
            "settings": to_table(self.settings),
            "contract": self.contract.to_dict(),
            "init": None if self._init is None else self._init.facts,
            "tutor": None if self._tutor is None else self._tutor.facts,
            "history": history,
            "network": self.average.state_dict(),
            **self.more_facts(),
        }

    def state(self) -> dict[str, Any]:
        """Return all that changes."""
        return {
            "objective": self.objective.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self._optimizer.state_dict(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from `state`."""
        self.objective.load_state_dict(state["objective"])
        self.average.load_state_dict(state["average"])
        self._optimizer.load_state_dict(state["optimizer"])
