"""The contrastive loss: numbers worked by hand, a loop as oracle, gradients, and what takes no part."""

import math

import pytest

torch = pytest.importorskip("torch")

from ecg_edge.train.contrast import (  # noqa: E402
    ContrastHead,
    ContrastSettings,
    contrast_loss,
    label_overlap,
    two_view_loss,
)

HEAD = ContrastSettings(temperature=0.1, hidden=16, projection=8)


def units(n: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(n, 4, generator=generator, dtype=torch.float64), dim=1)


def by_loop(z: torch.Tensor, weights: list[list[float]], temperature: float) -> float:
    """Return the loss as the formula reads, pair by pair."""
    terms = []
    for i in range(len(z)):
        others = [k for k in range(len(z)) if k != i]
        likeness = {k: math.exp(float(z[i] @ z[k]) / temperature) for k in others}
        total = sum(weights[i][k] for k in others)
        if total > 0:
            logs = [weights[i][k] * math.log(likeness[k] / sum(likeness.values())) for k in others]
            terms.append(-sum(logs) / total)
    return sum(terms) / len(terms) if terms else 0.0


def test_overlap_is_the_jaccard_index() -> None:
    targets = torch.tensor([[1.0, 0, 0], [1, 1, 0], [1, 1, 1], [0, 0, 1], [0, 0, 0]])
    expected = torch.tensor(
        [
            [1, 1 / 2, 1 / 3, 0, 0],
            [1 / 2, 1, 2 / 3, 0, 0],
            [1 / 3, 2 / 3, 1, 1 / 3, 0],
            [0, 0, 1 / 3, 1, 0],
            [0, 0, 0, 0, 0],
        ]
    )
    torch.testing.assert_close(label_overlap(targets), expected)
    torch.testing.assert_close(label_overlap(torch.tensor([[0.5, 0.5], [1.0, 0.0]]))[0, 1], torch.tensor(1 / 3))


def test_three_records_by_hand() -> None:
    z = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    targets = torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    # The first sees cosines 0 (half its label shared) and -1 (none): ln(1 + 1/e). The third likewise. The second sees
    # 0 and 0, each shared by half: ln 2.
    expected = (2 * math.log(1 + math.exp(-1)) + math.log(2)) / 3
    assert float(contrast_loss(z, targets, 1.0)) == pytest.approx(expected, rel=1e-6)
    # At temperature 1/2 the cosine of -1 becomes a logit of -2.
    expected = (2 * math.log(1 + math.exp(-2)) + math.log(2)) / 3
    assert float(contrast_loss(z, targets, 0.5)) == pytest.approx(expected, rel=1e-6)


def test_two_views_by_hand() -> None:
    views = torch.eye(2)
    own, other = 1 - math.log(math.e + 2), -math.log(math.e + 2)  # log p of cosine 1, and of each cosine 0
    unlabelled = two_view_loss(views, views, torch.zeros(2, 3), 1.0)
    assert float(unlabelled) == pytest.approx(-own, rel=1e-6)
    same = two_view_loss(views, views, torch.ones(2, 3), 1.0)
    assert float(same) == pytest.approx(-(own + 2 * other) / 3, rel=1e-6)
    half = two_view_loss(views, views, torch.tensor([[1.0, 0.0], [1.0, 1.0]]), 1.0)
    assert float(half) == pytest.approx(-(own + 0.5 * 2 * other) / 2, rel=1e-6)
    assert float(two_view_loss(views[:1], views[:1], torch.zeros(1, 3), 1.0)) == 0.0, "one record, nothing to confuse"


def test_it_is_the_formula() -> None:
    targets = (torch.rand(12, 5, generator=torch.Generator().manual_seed(1)) < 0.35).double()
    targets[3] = 0
    targets[7] = 0
    z = units(12)
    kept = [k for k in range(12) if targets[k].any()]
    weights = label_overlap(targets)
    assert float(contrast_loss(z, targets, 0.2)) == pytest.approx(
        by_loop(z[kept], weights[kept][:, kept].tolist(), 0.2), rel=1e-10
    )
    both = torch.maximum(weights, torch.eye(12, dtype=torch.float64)).repeat(2, 2)
    assert float(two_view_loss(z, units(12, 9), targets, 0.2)) == pytest.approx(
        by_loop(torch.cat((z, units(12, 9))), both.tolist(), 0.2), rel=1e-10
    )


def test_records_without_labels_take_no_part() -> None:
    z, targets = units(5), torch.tensor([[1.0, 0], [1, 0], [0, 1], [0, 0], [0, 0]], dtype=torch.float64)
    z.requires_grad_()
    loss = contrast_loss(z, targets, 0.1)
    assert float(loss.detach()) == pytest.approx(float(contrast_loss(z[:3], targets[:3], 0.1).detach()), rel=1e-12)
    loss.backward()
    assert z.grad is not None
    assert not z.grad[3:].any()
    assert z.grad[2].any(), "without a partner, yet the others are told apart from it"


@pytest.mark.parametrize("targets", [torch.zeros(4, 3), torch.eye(4), torch.eye(4)[:1], torch.zeros(0, 3)])
def test_no_partners_is_no_loss_and_no_gradient(targets: torch.Tensor) -> None:
    z = units(len(targets)).requires_grad_()
    loss = contrast_loss(z, targets, 0.1)
    loss.backward()
    assert float(loss.detach()) == 0.0
    assert z.grad is not None
    assert not z.grad.any()


def test_gradients_are_those_of_differences() -> None:
    targets = torch.tensor([[1.0, 0, 0], [1, 1, 0], [0, 1, 1], [0, 0, 0], [0, 0, 1]], dtype=torch.float64)
    z, other = units(5).requires_grad_(), units(5, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda a: contrast_loss(a, targets, 0.3), z)
    assert torch.autograd.gradcheck(lambda a, b: two_view_loss(a, b, targets, 0.3), (z, other))


def test_small_temperatures_and_autocast_are_no_trouble() -> None:
    targets = torch.tensor([[1.0, 0], [1, 0], [0, 1], [0, 1]])
    z = torch.tensor([[1.0, 0], [-1, 0], [1, 0], [-1, 0]]).requires_grad_()
    loss = contrast_loss(z, targets, 1e-3)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(2000, rel=1e-5)  # partners opposite: logits -1000 beside 1000
    assert z.grad is not None
    assert torch.isfinite(z.grad).all()
    vectors = units(4).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = contrast_loss(vectors, targets, 0.05)
    torch.testing.assert_close(mixed, contrast_loss(vectors, targets, 0.05))


def test_descent_brings_partners_together() -> None:
    torch.manual_seed(0)
    head = ContrastHead(6, HEAD)
    features = torch.randn(8, 6)
    targets = torch.nn.functional.one_hot(torch.arange(8) % 2).float()
    optimizer = torch.optim.Adam(head.parameters(), lr=0.02)
    for _ in range(60):
        optimizer.zero_grad()
        contrast_loss(head(features), targets, HEAD.temperature).backward()
        optimizer.step()
    vectors = head(features).detach()
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(8))
    cosines, same = vectors @ vectors.T, label_overlap(targets) == 1
    assert cosines[same].min() > 0.5 > cosines[~same].max()
