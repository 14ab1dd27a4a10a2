"""Pretrained branches (`pretrained.pt`): read, checked, and put into a network so that nothing is left out silently."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from ecg_edge.firmware_bridge.errors import EcgEdgeError
from ecg_edge.runtime.contract import Contract
from ecg_edge.runtime.stft import Stft

from . import checkpoint
from .inputs import signal_tensor, spectrogram_tensor
from .networks.front import Front
from .networks.model import FusionNet
from .records.entry import RecordEntry
from .store import RecordStore
from .windows import spectrograms

STATISTICS_BATCH = 64  # windows of a batch whose statistics are averaged


class PretrainedError(EcgEdgeError):
    """Pretrained weights that do not fit, or that have seen what they must not."""


@dataclass(frozen=True)
class Pretrained:
    """Branches that self-distillation left."""

    branches: dict[str, dict[str, torch.Tensor]]
    """Weights and statistics of `time`, `spectrogram` or both."""
    contract: dict[str, Any]
    """Signal contract of their inputs."""
    seen: frozenset[str]
    """Patients that they were learned from."""
    facts: dict[str, Any]
    """What a result says of where it came from: name, hash, epochs."""

    def check_unseen(self, entries: Sequence[RecordEntry]) -> None:
        """Raise PretrainedError where a patient of `entries` (validation or test) was seen in pretraining."""
        both = sorted(self.seen & {entry.patient for entry in entries})
        if both:
            raise PretrainedError(
                f"{len(both)} patients to be judged on, {both[0]} among them, were pretrained on: "
                "pretrain with the folds of the training side alone"
            )

    def load_into(self, network: FusionNet) -> None:
        """Replace the weights of the branches that `network` has; raises PretrainedError where any does not fit."""
        for name in ("time", "spectrogram"):
            branch = getattr(network, name)
            if branch is None:
                continue
            if name not in self.branches:
                raise PretrainedError(f"the checkpoint has no {name} branch: pretrain with modalities that include it")
            before = {key: value.clone() for key, value in branch.state_dict().items()}
            try:
                branch.load_state_dict(self.branches[name])
            except RuntimeError as error:
                detail = " ".join(str(error).split())[:200]
                raise PretrainedError(
                    f"the pretrained {name} branch is of another network ({detail}): pretrain with the same [network]"
                ) from error
            if all(torch.equal(value, before[key]) for key, value in branch.state_dict().items()):
                raise PretrainedError(f"loading the pretrained {name} branch changed nothing: the checkpoint is empty")


def read_pretrained(path: Path, contract: Contract) -> Pretrained:
    """Return what `path` holds; raises CheckpointError, or PretrainedError for another signal contract."""
    state = checkpoint.load(path, "pretrained")
    if Contract.from_dict(state["contract"]).sha256 != contract.sha256:
        raise PretrainedError(f"{path} was pretrained under another signal contract: pretrain again")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    epochs = len(state["history"])
    facts = {"file": path.name, "sha256": digest, "epochs": epochs, "settings": state["settings"]}
    return Pretrained(state["branches"], state["contract"], frozenset(state["seen"]), facts)


def measure_batch_norm(
    network: FusionNet,
    store: RecordStore,
    records: npt.NDArray[np.int64],
    contract: Contract,
    front: Front,
    samples: int,
) -> None:
    """Set the batch-norm statistics of random branches to those of the records' last windows, weights untouched."""
    norms = [m for m in network.modules() if isinstance(m, _BatchNorm)]
    momenta = [m.momentum for m in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean over batches
    network.train()
    stft = Stft(contract)
    with torch.no_grad():
        for part in np.array_split(records, max(1, len(records) // STATISTICS_BATCH)):
            signal = np.stack([store.last_window(int(k), samples) for k in part])
            image = front(signal, spectrograms(stft, signal))
            device = torch.device("cpu")
            if len(part) > 1:
                network.branch_features(signal_tensor(signal, device), spectrogram_tensor(image, device))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
