"""What a training run leaves (`best.pt`), and the network in it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ecg_edge.firmware_bridge.errors import EcgEdgeError
from ecg_edge.runtime.contract import Contract

from . import checkpoint
from .finetune_settings import FinetuneSettings
from .networks.model import FusionNet
from .settings import from_table
from .tasks import Task, task


class TrainedError(EcgEdgeError):
    """A trained network that cannot answer what it is asked."""


@dataclass(frozen=True)
class Trained:
    """A trained network, and what it was trained on."""

    network: FusionNet
    """In evaluation mode, with one output per class of all its tasks."""
    settings: FinetuneSettings
    """Of its run."""
    contract: Contract
    """Of its inputs."""
    history: list[dict[str, float]]
    """Log of the run up to these weights."""
    records: int
    """How many records it was trained on."""
    init: dict[str, Any] | None
    """Where its branches came from; None for random weights."""
    distill: dict[str, Any] | None = None
    """Settings of the distillation, where it learned from teachers; None otherwise."""
    teachers: tuple[dict[str, Any], ...] = ()
    """`settings`, `init` and `tutor` of each teacher."""
    tutor: dict[str, Any] | None = None
    """What it was tutored by, see `Tutor.facts`; None for labels alone."""

    @property
    def tasks(self) -> tuple[Task, ...]:
        """Tasks, in the order of the outputs."""
        return tuple(map(task, self.settings.tasks))

    def columns(self, name: str) -> slice:
        """Return which outputs belong to a task; raises TrainedError where it was not learned."""
        start = 0
        for one in self.tasks:
            if one.name == name:
                return slice(start, start + len(one.classes))
            start += len(one.classes)
        raise TrainedError(f"the network was trained for {', '.join(self.settings.tasks)}, not for {name}: train again")

    def for_task(self, name: str) -> FusionNet:
        """Return a network with the outputs of one task alone."""
        columns = self.columns(name)
        network = FusionNet(self.settings.network, len(self.contract.leads), columns.stop - columns.start)
        state = self.network.state_dict()
        last = network.output_layer()
        for part in ("weight", "bias"):
            state[f"{last}.{part}"] = state[f"{last}.{part}"][columns].clone()
        network.load_state_dict(state)
        return network.eval()


def read_trained(path: Path) -> Trained:
    """Return the network in `path`; raises CheckpointError or SettingsError where there is none."""
    state = checkpoint.load(path, "trained")
    settings = from_table(FinetuneSettings, state["settings"])
    settings.check()
    contract = Contract.from_dict(state["contract"])
    outputs = sum(len(task(name).classes) for name in settings.tasks)
    network = FusionNet(settings.network, len(contract.leads), outputs)
    network.load_state_dict(state["network"])
    return Trained(
        network.eval(),
        settings,
        contract,
        state["history"],
        state["records"],
        state["init"],
        state.get("distill"),
        tuple(state.get("teachers", ())),
        state.get("tutor"),
    )
