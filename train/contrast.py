"""Supervised contrastive loss for records with several labels.

Supervised contrast (Khosla et al. 2020, arXiv 2004.11362, equation 2) draws records of one class together and pushes
all others apart. A record with several labels shares some of them with many others, so here each pair counts by how
much its labels overlap. With unit vectors z, temperature T, and w_ij the Jaccard index of the labels of i and j:

    p_ij = exp(z_i . z_j / T) / sum over k other than i of exp(z_i . z_k / T)
    loss = mean over i of [ - sum over j of w_ij log p_ij / sum over j of w_ij ]

M2JLNet (Hu, Sun and Qian) has a contrastive task of this kind; its equations are not public, these are our own.
"""

from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class ContrastSettings:
    """Of the contrastive loss."""

    temperature: float
    """Divides cosines: the smaller, the more the nearest wrong neighbours count (Khosla et al. 2020 take 0.1)."""
    hidden: int
    """Outputs of the projection head's hidden layer."""
    projection: int
    """Length of the vectors that are compared."""


class ContrastHead(nn.Module):
    """Projects features to the unit vectors that are compared, for training alone: the loss costs features detail."""

    def __init__(self, features: int, settings: ContrastSettings) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(features, settings.hidden), nn.ReLU(), nn.Linear(settings.hidden, settings.projection)
        )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return unit vectors (N, projection) of features (N, features)."""
        return nn.functional.normalize(self.layers(features), dim=1)


def label_overlap(targets: torch.Tensor) -> torch.Tensor:
    """Return the Jaccard index of each pair of rows, (N, N), of targets (N, classes) from 0 to 1.

    The sum of the classes' smaller values over that of their larger ones, which for labels is what they share over
    what they have together, and for mixed windows goes on between. 0 where neither has a label.
    """
    shared = torch.minimum(targets[:, None], targets[None]).sum(dim=2)
    either = torch.maximum(targets[:, None], targets[None]).sum(dim=2)
    return shared / either.clamp(min=torch.finfo(targets.dtype).tiny)


def contrast_loss(vectors: torch.Tensor, targets: torch.Tensor, temperature: float) -> torch.Tensor:
    """Return the loss (a scalar) of unit vectors (N, d) with targets (N, classes), floats from 0 to 1.

    A record without labels takes no part. One whose labels no other record shares has no term of its own, but the
    others are still told apart from it. 0 where no two records share a label. Gradients flow to the vectors only.
    """
    labelled = targets.sum(dim=1) > 0
    return _loss(vectors[labelled], label_overlap(targets[labelled]), temperature)


def two_view_loss(
    time: torch.Tensor, spectrogram: torch.Tensor, targets: torch.Tensor, temperature: float
) -> torch.Tensor:
    """Return the loss (a scalar) where a record has two views: unit vectors (N, d) of its time and spectrogram branch.

    All 2 N vectors are compared. Those of one record are each other's positives, with weight 1 and whatever its
    labels; vectors of two records count by their overlap as in `contrast_loss`, whichever branches they come from.
    """
    overlap = label_overlap(targets)
    overlap = torch.maximum(overlap, torch.eye(len(overlap), dtype=overlap.dtype, device=overlap.device))
    return _loss(torch.cat((time, spectrogram)), overlap.repeat(2, 2), temperature)


def _loss(vectors: torch.Tensor, weights: torch.Tensor, temperature: float) -> torch.Tensor:
    """Return the loss of unit vectors (N, d) whose pairs count by weights (N, N); the diagonal is passed over."""
    if len(vectors) < 2:
        return vectors.sum() * 0  # of no pair: 0, and a gradient of 0
    itself = torch.eye(len(vectors), dtype=torch.bool, device=vectors.device)
    with torch.autocast(vectors.device.type, enabled=False):  # a bfloat16 cosine over 0.1 may be off by 0.02
        z = vectors if vectors.dtype == torch.float64 else vectors.float()
        logits = (z @ z.T / temperature).masked_fill(itself, -torch.inf)
        log_p = torch.log_softmax(logits, dim=1).masked_fill(itself, 0.0)
    weights = weights.detach().to(log_p.dtype).masked_fill(itself, 0.0)
    total = weights.sum(dim=1)
    terms = -(weights * log_p).sum(dim=1) / total.clamp(min=torch.finfo(total.dtype).tiny)
    return terms.sum() / (total > 0).sum().clamp(min=1)
