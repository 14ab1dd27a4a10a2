"""Supervised training of the two-branch network on labelled records.

Each epoch: batches from the background, AdamW under a one-cycle schedule, a running average of the weights, and the
macro AUROC of that average on the validation records. `last.pt` holds all that a run needs to go on, `best.pt` the
averaged network of the best epoch, `log.csv` one line an epoch.
"""

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from tqdm import tqdm

from ecg_edge.firmware_bridge.errors import EcgEdgeError
from ecg_edge.runtime.contract import Contract
from ecg_edge.runtime.stft import Stft

from . import checkpoint, metrics
from .augment import Augmenter, Batch, spectrograms
from .labels import CODES, multi_hot
from .loader import epoch_batches
from .networks.model import BranchHeads, FusionNet
from .records.entry import RecordEntry
from .settings import FinetuneSettings
from .store import RecordStore
from .tasks import ARRHYTHMIA

LAST, BEST, LOG = "last.pt", "best.pt", "log.csv"
ENOUGH_POSITIVES = 5  # of a class, for its AUROC to enter the mean that chooses the epoch


class ResumeError(EcgEdgeError):
    """A run that cannot be resumed, or must not be written over."""


@dataclass(frozen=True)
class Windows:
    """Whole windows with labels, to validate or calibrate on."""

    signal: npt.NDArray[np.int16]
    """(N, leads, window) in microvolts."""
    spectrogram: npt.NDArray[np.uint8]
    """(N, leads, bins, frames)."""
    labels: npt.NDArray[np.bool_]
    """(N, classes), as the database has them."""


def whole_windows(store: RecordStore, contract: Contract, records: Sequence[int] | None = None) -> Windows:
    """Return the last window of each record, or of those numbered, as the engine has it at the record's end."""
    chosen = range(len(store.entries)) if records is None else records
    signal = np.stack([store.last_window(k, contract.window) for k in chosen])
    labels = multi_hot(store.entries[k].codes for k in chosen)
    return Windows(signal, spectrograms(Stft(contract), signal), labels)


def training_labels(entries: Sequence[RecordEntry]) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Return labels and counted of the task `arrhythmia`: see `tasks.Task.training_labels`."""
    return ARRHYTHMIA.training_labels(entries)


def one_cycle(settings: FinetuneSettings, steps: int) -> npt.NDArray[np.float64]:
    """Return the learning rate of each step: a cosine up from a 25th in the warm-up, then one down to nearly zero."""
    warm = max(1, round(settings.warmup_fraction * steps))
    up = 0.5 - 0.5 * np.cos(np.pi * np.arange(warm) / warm)
    down = 0.5 + 0.5 * np.cos(np.pi * np.arange(steps - warm) / max(1, steps - warm))
    return settings.learning_rate * np.concatenate((0.04 + 0.96 * up, down))[:steps]


def rare_weights(settings: FinetuneSettings, labels: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    """Return how many times a positive of each class counts, (classes,)."""
    positives = np.maximum(labels.sum(axis=0), 1)
    balance = ((len(labels) - positives) / positives).clip(min=1.0) ** settings.rare_power
    return balance.clip(max=settings.rare_limit).astype(np.float32)


def weighted_bce(
    logits: torch.Tensor, targets: torch.Tensor, counted: torch.Tensor, positive_weights: torch.Tensor
) -> torch.Tensor:
    """Return the mean binary cross entropy over what counts; all (N, classes) but positive_weights, (classes,)."""
    each = nn.functional.binary_cross_entropy_with_logits(
        logits, targets, weight=counted, pos_weight=positive_weights, reduction="sum"
    )
    return each / counted.sum().clamp(min=1.0)


class Average:
    """The running average of a network's weights and batch-norm statistics."""

    def __init__(self, network: FusionNet, decay: float) -> None:
        self.state = {name: value.detach().clone() for name, value in network.state_dict().items()}
        self._decay = decay

    def update(self, network: FusionNet, steps: int) -> None:
        """Take in the weights after step number `steps`; early on the average is over fewer of them."""
        decay = min(self._decay, steps / (steps + 10.0))
        for name, value in network.state_dict().items():
            if value.is_floating_point():
                self.state[name].lerp_(value, 1 - decay)
            else:
                self.state[name].copy_(value)


def predict_logits(network: FusionNet, windows: Windows, batch_size: int = 64) -> npt.NDArray[np.float32]:
    """Return the logits (N, classes) of windows."""
    network.eval()
    parts = []
    with torch.inference_mode():
        for k in range(0, len(windows.signal), batch_size):
            signal = torch.from_numpy(windows.signal[k : k + batch_size, :, np.newaxis])
            parts.append(network(signal, torch.from_numpy(windows.spectrogram[k : k + batch_size])).numpy())
    return np.concatenate(parts)


def macro_auroc(labels: npt.NDArray[np.bool_], logits: npt.NDArray[np.float32]) -> float:
    """Return the mean AUROC of the classes with ENOUGH_POSITIVES; of all that have one where none has."""
    values, positives = metrics.auroc(labels, logits), labels.sum(axis=0)
    mean = float(metrics.macro(values, positives, ENOUGH_POSITIVES))
    return mean if not math.isnan(mean) else float(metrics.macro(values, positives))


def trained_network(result: dict[str, Any]) -> FusionNet:
    """Return the network that `Run.result` holds, in evaluation mode."""
    settings = FinetuneSettings.from_dict(result["settings"])
    network = FusionNet(settings.network, len(result["contract"]["leads"]), len(result["codes"]))
    network.load_state_dict(result["network"])
    return network.eval()


class Run:
    """One training run: its state, and the steps that move it on."""

    def __init__(self, settings: FinetuneSettings, contract: Contract, train: RecordStore, valid: RecordStore) -> None:
        torch.set_num_threads(settings.threads)
        torch.manual_seed(settings.seed)
        self.settings = settings
        self.contract = contract
        labels, counted = training_labels(train.entries)
        self._records = len(train.entries)
        self._augmenter = Augmenter(settings.augment, contract, train, labels, counted)
        self._valid = whole_windows(valid, contract)
        self._positive_weights = torch.from_numpy(rare_weights(settings, labels))
        self._rates = one_cycle(settings, settings.epochs * self.steps_per_epoch)
        self.network = FusionNet(settings.network, len(contract.leads), len(CODES))
        for module in self.network.modules():
            if isinstance(module, nn.Conv2d):  # channel-last weights make torch compute so: a third faster here
                module.weight.data = module.weight.data.contiguous(memory_format=torch.channels_last)
        self.heads = BranchHeads(self.network, len(CODES))
        trained = nn.ModuleList((self.network, self.heads))
        self._optimizer = torch.optim.AdamW(_decay_groups(trained, settings.weight_decay))
        self.average = Average(self.network, settings.average_decay)
        self._averaged = FusionNet(settings.network, len(contract.leads), len(CODES))
        self.history: list[dict[str, float]] = []

    @property
    def steps_per_epoch(self) -> int:
        """Batches of an epoch."""
        return -(-self._records // self.settings.batch_size)

    @property
    def best(self) -> int:
        """Number in the history of the epoch that validates best, the later one of equals."""
        scores = [line["valid_macro_auroc"] for line in self.history]
        return max(range(len(scores)), key=lambda k: (scores[k], k))

    def epoch(self) -> None:
        """Train one epoch and validate; adds a line to the history."""
        number = len(self.history)
        torch.manual_seed(self.settings.seed * 100_003 + number)  # of dropout; a prime keeps runs' epochs apart
        self.network.train()
        total = 0.0
        step = number * self.steps_per_epoch
        for batch in epoch_batches(
            self._augmenter, self._records, self.settings.batch_size, self.settings.seed, number
        ):
            total += self._step(batch, step)
            step += 1
        self._averaged.load_state_dict(self.average.state)
        score = macro_auroc(self._valid.labels, predict_logits(self._averaged, self._valid))
        line = {
            "epoch": number + 1,
            "loss": total / self.steps_per_epoch,
            "learning_rate": float(self._rates[step - 1]),
            "valid_macro_auroc": score,
        }
        self.history.append(line)

    def _step(self, batch: Batch, step: int) -> float:
        for group in self._optimizer.param_groups:
            group["lr"] = float(self._rates[step])
        time = self.network.time(torch.from_numpy(batch.signal[:, :, np.newaxis]))
        spectrogram = self.network.spectrogram(torch.from_numpy(batch.spectrogram))
        targets, counted = torch.from_numpy(batch.targets), torch.from_numpy(batch.counted)
        loss = weighted_bce(self.network.fuse(time, spectrogram), targets, counted, self._positive_weights)
        total = loss
        for logits in self.heads(time, spectrogram):
            alone = weighted_bce(logits, targets, counted, self._positive_weights)
            total = total + self.settings.branch_weight * alone
        self._optimizer.zero_grad(set_to_none=True)
        total.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), self.settings.gradient_norm)
        self._optimizer.step()
        self.average.update(self.network, step)
        return float(loss.detach())

    def state(self) -> dict[str, Any]:
        """Return all that a later process needs to go on after the last finished epoch."""
        return {
            "settings": self.settings.to_dict(),
            "contract": self.contract.to_dict(),
            "history": self.history,
            "network": self.network.state_dict(),
            "heads": self.heads.state_dict(),
            "average": self.average.state,
            "optimizer": self._optimizer.state_dict(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from `state`; raises ResumeError where it is of another configuration."""
        if state["settings"] != self.settings.to_dict() or state["contract"] != self.contract.to_dict():
            raise ResumeError("the run to resume was started with other settings: name another --out")
        self.network.load_state_dict(state["network"])
        self.heads.load_state_dict(state["heads"])
        self._optimizer.load_state_dict(state["optimizer"])
        for name, value in state["average"].items():
            self.average.state[name].copy_(value)
        self.history = list(state["history"])

    def result(self) -> dict[str, Any]:
        """Return the averaged network as it is now, with what it was made from: the content of `best.pt`."""
        return {
            "settings": self.settings.to_dict(),
            "contract": self.contract.to_dict(),
            "codes": list(CODES),
            "history": self.history,
            "network": self.average.state,
        }


def finetune(
    settings: FinetuneSettings,
    contract: Contract,
    train: RecordStore,
    valid: RecordStore,
    out: Path,
    resume: bool = False,
    progress: bool = False,
) -> Run:
    """Train, leaving `last.pt`, `best.pt` and `log.csv` in `out`; return the finished run.

    resume: go on from `out`'s last finished epoch if there is one; the result is that of an uninterrupted run.
    Raises ResumeError where `out` holds a run and `resume` is not given, or was of other settings.
    """
    run = Run(settings, contract, train, valid)
    out.mkdir(parents=True, exist_ok=True)
    if (out / LAST).exists():
        if not resume:
            raise ResumeError(f"{out} holds a run already: add --resume to go on with it, or name another --out")
        run.load_state(checkpoint.load(out / LAST))
    bar = tqdm(
        total=settings.epochs,
        initial=len(run.history),
        desc="training",
        unit="epoch",
        disable=not progress,
        dynamic_ncols=True,
    )
    with bar:
        while len(run.history) < settings.epochs:
            run.epoch()
            if run.best == len(run.history) - 1:
                checkpoint.save(out / BEST, run.result())
            checkpoint.save(out / LAST, run.state())
            _write_log(out / LOG, run.history)
            latest = run.history[-1]
            bar.set_postfix(loss=f"{latest['loss']:.4f}", auroc=f"{latest['valid_macro_auroc']:.4f}")
            bar.update()
    return run


def _decay_groups(network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Return parameter groups: convolutions and matrices decay, biases and batch norm do not (He et al. 2019)."""
    matrices = [p for p in network.parameters() if p.ndim > 1]
    rest = [p for p in network.parameters() if p.ndim <= 1]
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": rest, "weight_decay": 0.0}]


def _write_log(path: Path, history: list[dict[str, float]]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(history[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    working = path.with_name(f".{path.name}")
    working.write_text(text.getvalue(), encoding="utf-8")
    working.replace(path)
