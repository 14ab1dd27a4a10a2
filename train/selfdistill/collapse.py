"""Whether self-distillation has collapsed: a teacher that says the same of every record teaches nothing."""

import math
from dataclasses import dataclass

import torch

from ecg_edge.firmware_bridge.errors import EcgEdgeError

# Healthy runs of the presets stay far inside of these, collapsed ones far outside; docs/training.md has figures.
UNIFORM_ENTROPY = 0.995  # of log(prototypes): each answer is spread evenly over all prototypes
SINGLE_ENTROPY = 0.05  # of log(prototypes), of the mean answer: all records get the same few prototypes
LEAST_DEVIATION = 0.05  # of normalised features, where 1 is what independent directions have
PATIENCE = 2  # epochs in a row that have to look collapsed


class CollapseError(EcgEdgeError):
    """A run that has collapsed."""


@dataclass(frozen=True)
class Signs:
    """What is watched, of one modality over one batch or, averaged, over an epoch."""

    entropy: float
    """Mean entropy of the teacher's answers as a part of log(prototypes): 1 when each is uniform."""
    marginal_entropy: float
    """Entropy of the mean answer, likewise: 0 when all records get one prototype."""
    deviation: float
    """Mean standard deviation over records of the student's features, each scaled to length 1, times the root of
    their number: 1 for directions that are independent of each other, 0 when all are one."""


@torch.no_grad()
def signs(targets: torch.Tensor, features: torch.Tensor) -> Signs:
    """Return the signs of teacher's answers (N, prototypes) and student's features (N, features)."""
    span = math.log(targets.shape[1])
    entropy = -(targets * targets.clamp(min=1e-12).log()).sum(dim=1).mean() / span
    mean = targets.mean(dim=0)
    marginal = -(mean * mean.clamp(min=1e-12).log()).sum() / span
    unit = torch.nn.functional.normalize(features.float(), dim=1)
    deviation = unit.std(dim=0).mean() * math.sqrt(features.shape[1])
    return Signs(float(entropy), float(marginal), float(deviation))


def verdict(found: Signs) -> str | None:
    """Return what is wrong in words, None where nothing is."""
    if found.deviation < LEAST_DEVIATION:
        return f"all records get nearly the same features (deviation {found.deviation:.3f})"
    if found.entropy > UNIFORM_ENTROPY:
        return f"the teacher's answers are uniform (entropy {found.entropy:.4f} of its greatest)"
    if found.marginal_entropy < SINGLE_ENTROPY:
        return f"the teacher gives all records the same answer (entropy of the mean {found.marginal_entropy:.3f})"
    return None


class Watch:
    """Counts how many epochs in a row look collapsed."""

    def __init__(self) -> None:
        self.bad_epochs = 0

    def look(self, modality: str, found: Signs, still_warming: bool) -> None:
        """Take the signs of an epoch; raises CollapseError at the PATIENCE-th bad one in a row."""
        wrong = None if still_warming else verdict(found)
        self.bad_epochs = self.bad_epochs + 1 if wrong else 0
        if wrong and self.bad_epochs >= PATIENCE:
            raise CollapseError(
                f"self-distillation of {modality} has collapsed: {wrong}. Lower the learning rate or the teacher's "
                "temperature, raise centre_momentum where answers are all the same, or take more and shorter views"
            )
