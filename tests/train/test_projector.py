"""The head of self-distillation against torch's own weight norm."""

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from ecg_edge.train.networks.projector import Projector, ProjectorSettings  # noqa: E402
from ecg_edge.train.networks.size import parameters  # noqa: E402

SETTINGS = ProjectorSettings(hidden=32, bottleneck=8, prototypes=20)


def test_logits_are_those_of_a_weight_normed_layer() -> None:
    torch.manual_seed(0)
    projector = Projector(12, SETTINGS)
    last = nn.utils.parametrizations.weight_norm(nn.Linear(8, 20, bias=False))
    with torch.no_grad():
        last.parametrizations.weight.original0.fill_(1.0)  # magnitudes
        last.parametrizations.weight.original1.copy_(projector.prototypes)
    x = torch.randn(5, 12)
    a, _, b, _, c = projector.layers
    h = c(nn.functional.gelu(b(nn.functional.gelu(a(x)))))
    expected = last(h / h.norm(dim=1, keepdim=True))
    got = projector(x)
    assert got.shape == (5, 20)
    torch.testing.assert_close(got, expected)
    assert got.abs().max() <= 1 + 1e-6


def test_length_of_a_prototype_does_not_matter() -> None:
    torch.manual_seed(0)
    projector, x = Projector(12, SETTINGS), torch.randn(5, 12)
    before = projector(x)
    with torch.no_grad():
        projector.prototypes.mul_(torch.rand(20, 1) + 0.5)
    torch.testing.assert_close(projector(x), before)


def test_everything_learns_and_size_is_the_papers() -> None:
    torch.manual_seed(0)
    projector = Projector(12, SETTINGS)
    nn.functional.cross_entropy(projector(torch.randn(8, 12)) / 0.1, torch.arange(8)).backward()
    assert all(p.grad is not None and p.grad.any() for p in projector.parameters())
    with torch.device("meta"):
        papers = Projector(512, ProjectorSettings(hidden=512, bottleneck=128, prototypes=65_536))
    assert parameters(papers) == 2 * (512 * 512 + 512) + 512 * 128 + 128 + 65_536 * 128
