"""The self-distillation loss: the student's view of one crop against the teacher's, centred and sharpened, of another.

Caron et al. 2021 (arXiv 2104.14294), equations 1 to 4.
"""

import torch
from torch import nn

from ..distributed import World


class Centre(nn.Module):
    """The running mean of the teacher's scores, which is taken from them so that no prototype wins always."""

    def __init__(self, prototypes: int, momentum: float) -> None:
        super().__init__()
        self.momentum = momentum
        self.value: torch.Tensor
        self.register_buffer("value", torch.zeros(prototypes))

    @torch.no_grad()
    def update(self, scores: torch.Tensor, world: World) -> None:
        """Take in a batch of teacher's scores (N, prototypes): c = m c + (1 - m) mean, over all rows of all ranks."""
        total = world.sum(scores.sum(dim=0))
        count = world.sum(scores.new_tensor(float(len(scores))))
        self.value.lerp_(total / count, 1 - self.momentum)


def teacher_targets(scores: torch.Tensor, centre: torch.Tensor, temperature: float) -> torch.Tensor:
    """Return softmax((scores - centre) / temperature), (N, prototypes), without gradient."""
    return torch.softmax((scores.detach() - centre) / temperature, dim=-1)


def agreement(
    student: list[torch.Tensor], targets: list[torch.Tensor], temperature: float, same_view_too: bool = False
) -> torch.Tensor:
    """Return the mean cross entropy over pairs of views, and over the records.

    student: scores (N, prototypes) of each view, the teacher's views first; targets: of each of the teacher's views.
    A view is not compared with itself unless `same_view_too`, for students of another modality.
    """
    logs = [torch.log_softmax(scores / temperature, dim=-1) for scores in student]
    pairs = [
        -(target * log).sum(dim=-1).mean()
        for t, target in enumerate(targets)
        for s, log in enumerate(logs)
        if same_view_too or s != t
    ]
    return torch.stack(pairs).mean()
