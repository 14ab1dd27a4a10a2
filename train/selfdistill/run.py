"""One self-distillation run: a student and its teacher for each modality, and the steps that move them on."""

import copy
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ecg_edge.runtime.contract import Contract

from .. import checkpoint
from ..distributed import World, share_batch_norm
from ..inputs import channels_last, signal_tensor, spectrogram_tensor
from ..loader import Meter, epoch_items
from ..loop import Line
from ..networks.model import FusionNet
from ..networks.projector import Projector
from ..optimizer import autocast, cosine, decay_groups, follow, resolve_precision, set_rate
from ..settings import to_table
from .collapse import Signs, Watch, signs
from .objective import Centre, agreement, teacher_targets
from .settings import PretrainSettings
from .views import ViewBatch, ViewMaker, Views

RESULT = "pretrained.pt"
BATCH_OF_RATE = 256  # records that the settings' learning rate is for


class Learner(nn.Module):
    """One modality's branch with its projectors: one for its own teacher, one for the other modality's."""

    def __init__(self, branch: nn.Module, features: int, settings: PretrainSettings) -> None:
        super().__init__()
        self.branch: nn.Module = branch
        self.own = Projector(features, settings.projector)
        self.cross = Projector(features, settings.projector) if settings.cross_weight > 0 else None


class Students(nn.Module):
    """All learners, as one module for DistributedDataParallel."""

    def __init__(self, learners: dict[str, Learner]) -> None:
        super().__init__()
        self.learners = nn.ModuleDict(learners)

    def each(self) -> dict[str, Learner]:
        """Return the learners by modality."""
        return {name: module for name, module in self.learners.items() if isinstance(module, Learner)}

    def forward(self, views: list[dict[str, torch.Tensor]]) -> dict[str, dict[str, list[torch.Tensor]]]:
        """Return of each modality `features`, `own` and `cross` scores, one tensor a group of views."""
        found: dict[str, dict[str, list[torch.Tensor]]] = {}
        for name, learner in self.each().items():
            features = [learner.branch(group[name]).vector for group in views]
            joined = torch.cat(features)
            parts = [len(f) for f in features]
            found[name] = {"features": features, "own": list(learner.own(joined).float().split(parts))}
            if learner.cross is not None:
                found[name]["cross"] = list(learner.cross(joined).float().split(parts))
        return found


class PretrainRun:
    """A job for `run_job`."""

    def __init__(
        self,
        settings: PretrainSettings,
        contract: Contract,
        views: ViewMaker,
        seen: tuple[str, ...],
        records: int,
        world: World,
        network: FusionNet,
    ) -> None:
        """Take the maker of views over `records` records, `seen`, the patients that they are of, and the network
        whose branches learn. `prepare` makes one from a store."""
        self.settings, self.contract, self.world = settings, contract, world
        self._views, self._records, self.seen = views, records, seen
        self._precision = resolve_precision(settings.precision, world.device)
        learners = {}
        for name in settings.modalities:
            branch = getattr(network, name)
            learners[name] = Learner(branch, branch.features, settings)
        self.student = share_batch_norm(Students(learners), world).to(world.device)
        self.teacher = copy.deepcopy(self.student).requires_grad_(False)
        for module in (self.student, self.teacher):
            channels_last(module)
        for norm in self.teacher.modules():
            if isinstance(norm, nn.modules.batchnorm._BatchNorm):
                norm.momentum = 0.0  # its statistics are averaged from the student's, as its weights are
        self.centres = {
            name: Centre(settings.projector.prototypes, settings.centre_momentum).to(world.device)
            for name in settings.modalities
        }
        self._parallel = world.parallel(self.student)
        groups = decay_groups(self.student.parameters(), 1.0)
        self._decaying = [group["weight_decay"] > 0 for group in groups]
        self._optimizer = torch.optim.AdamW(groups, lr=1.0, fused=world.device.type in ("cpu", "cuda"))
        self._watches = {name: Watch() for name in settings.modalities}
        self.meter = Meter()
        self.epochs = settings.epochs
        self.steps_per_epoch = -(-records // settings.batch_size)
        world.check_batches(records // self.steps_per_epoch, settings.accumulate)
        steps = self.epochs * self.steps_per_epoch
        highest = settings.learning_rate * settings.batch_size / BATCH_OF_RATE
        warmup = settings.warmup_epochs * self.steps_per_epoch
        self.rates = cosine(highest, settings.final_rate, steps, warmup)
        self.decays = cosine(settings.weight_decay[0], settings.weight_decay[1], steps)
        self.momenta = cosine(settings.teacher_momentum[0], settings.teacher_momentum[1], steps)

    def identity(self) -> dict[str, Any]:
        """Return settings, contract and data."""
        return {"settings": to_table(self.settings), "contract": self.contract.to_dict(), "records": self._records}

    def batches(self, epoch: int, first: int) -> Iterator[ViewBatch]:
        """Yield the views of each step of an epoch."""
        s = self.settings

        def make(records: Any, number: int) -> ViewBatch:
            rng = np.random.default_rng([s.seed, epoch, number])
            return self._views.batch(records, rng, self.world.rows(len(records)))

        return epoch_items(make, self._records, self.steps_per_epoch, s.batch_size, s.seed, epoch, first, self.meter)

    def teacher_temperature(self, epoch: int) -> float:
        """Return the teacher's temperature in an epoch."""
        low, high = self.settings.teacher_temperature
        warm = self.settings.temperature_epochs
        return high if epoch >= warm else low + (high - low) * epoch / warm

    def step(self, batch: ViewBatch, number: int) -> Line:
        """Take one step."""
        s, epoch = self.settings, number // self.steps_per_epoch
        set_rate(self._optimizer, float(self.rates[number]))
        for group, decays in zip(self._optimizer.param_groups, self._decaying, strict=True):
            group["weight_decay"] = float(self.decays[number]) if decays else 0.0
        temperature = self.teacher_temperature(epoch)
        rows = self.world.rows(batch.records)
        self._optimizer.zero_grad(set_to_none=True)
        parts = [part for part in np.array_split(np.arange(len(rows)), s.accumulate) if len(part)]
        line: Line = {}
        taught: dict[str, list[torch.Tensor]] = {name: [] for name in s.modalities}
        for k, part in enumerate(parts):
            groups = [self._tensors(v, len(rows), part) for v in (batch.long, batch.short) if v is not None]
            share = len(part) * self.world.size / batch.records
            wait = self.world.size > 1 and k < len(parts) - 1
            with self._parallel.no_sync() if wait else torch.enable_grad():  # type: ignore[operator]
                loss, found = self._losses(groups, temperature, len(part), taught)
                (loss * share).backward()
            for name, value in found.items():
                line[name] = line.get(name, 0.0) + value * len(part) / batch.records
        if epoch < s.frozen_prototype_epochs:
            for module in self.student.modules():
                if isinstance(module, Projector):
                    module.prototypes.grad = None
        nn.utils.clip_grad_norm_(self.student.parameters(), s.gradient_norm)
        self._optimizer.step()
        follow(self.teacher, self.student, float(self.momenta[number]))
        for name, scores in taught.items():  # once a step, however many parts it has
            self.centres[name].update(torch.cat(scores), self.world)
        total = self.world.sum(torch.tensor(list(line.values()), device=self.world.device))
        return dict(zip(line, total.tolist(), strict=True))

    def _losses(
        self, groups: list[dict[str, torch.Tensor]], temperature: float, n: int, scored: dict[str, list[torch.Tensor]]
    ) -> tuple[torch.Tensor, dict[str, float]]:
        """Return the loss over views of `n` records, and its parts; add the teachers' scores to `scored`."""
        s = self.settings
        with autocast(self._precision, self.world.device):
            with torch.no_grad():
                taught = self.teacher(groups[:1])
            learned = self._parallel(groups)
        targets: dict[str, torch.Tensor] = {}
        losses: list[torch.Tensor] = []
        found: dict[str, float] = {}
        for name, answer in taught.items():
            scores = answer["own"][0]
            targets[name] = teacher_targets(scores, self.centres[name].value, temperature)
            found |= {f"{name}_{k}": v for k, v in asdict(signs(targets[name], learned[name]["features"][0])).items()}
            scored[name].append(scores)
        for name, answer in learned.items():
            own = [view for group in answer["own"] for view in group.split(n)]
            loss = agreement(own, list(targets[name].split(n)), s.student_temperature)
            losses.append(loss)
            found[f"loss_{name}"] = float(loss.detach())
            if s.cross_weight > 0:
                other = next(m for m in s.modalities if m != name)
                cross = [view for group in answer["cross"] for view in group.split(n)]
                across = agreement(cross, list(targets[other].split(n)), s.student_temperature, True)
                losses.append(s.cross_weight * across)
                found[f"loss_{name}_to_{other}"] = float(across.detach())
        return torch.stack(losses).sum(), found

    def _tensors(self, views: Views, rows: int, part: np.ndarray) -> dict[str, torch.Tensor]:
        """Return the tensors of some rows of each view, view after view."""
        count = len(views.signal) // rows
        chosen = (np.arange(count)[:, np.newaxis] * rows + part).ravel()
        return {
            "time": signal_tensor(views.signal[chosen], self.world.device),
            "spectrogram": spectrogram_tensor(views.spectrogram[chosen], self.world.device),
        }

    def end_epoch(self, epoch: int, means: Line) -> Line:
        """Look whether the epoch's signs are those of a collapse; raises CollapseError."""
        warming = epoch < max(self.settings.warmup_epochs, self.settings.frozen_prototype_epochs)
        for name in self.settings.modalities:
            found = Signs(**{f: means[f"{name}_{f}"] for f in Signs.__dataclass_fields__})
            self._watches[name].look(name, found, warming)
        return {}

    def save_result(self, out: Path, history: list[Line]) -> None:
        """Write the teachers' branches."""
        checkpoint.save(out / RESULT, self.result(history))

    def state(self) -> dict[str, Any]:
        """Return all that changes."""
        return {
            "student": self.student.state_dict(),
            "teacher": self.teacher.state_dict(),
            "centres": {name: centre.state_dict() for name, centre in self.centres.items()},
            "optimizer": self._optimizer.state_dict(),
            "bad_epochs": {name: watch.bad_epochs for name, watch in self._watches.items()},
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from `state`."""
        self.student.load_state_dict(state["student"])
        self.teacher.load_state_dict(state["teacher"])
        for name, centre in self.centres.items():
            centre.load_state_dict(state["centres"][name])
        self._optimizer.load_state_dict(state["optimizer"])
        for name, watch in self._watches.items():
            watch.bad_epochs = state["bad_epochs"][name]

    def result(self, history: list[Line]) -> dict[str, Any]:
        """Return the content of `pretrained.pt`."""
        return {
            "kind": "pretrained",
            "settings": to_table(self.settings),
            "contract": self.contract.to_dict(),
            "seen": list(self.seen),
            "history": history,
            "branches": {name: learner.branch.state_dict() for name, learner in self.teacher.each().items()},
        }
