"""Sizes of networks, worked by hand; tests/export holds them against the exported graph."""

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from ecg_edge.train.networks.size import multiply_accumulates, parameters  # noqa: E402


def small() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 8, (1, 5), (1, 2), (0, 2), bias=False),  # 20 samples to 10: 10 * 8 * 3 * 5
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding=1, groups=4),  # 10 * 8 * 2 * 9
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(80, 4),  # 320
    )


def test_by_hand() -> None:
    network = small()
    assert multiply_accumulates(network, torch.zeros(1, 3, 1, 20)) == 1200 + 1440 + 320
    assert multiply_accumulates(network, torch.zeros(3, 3, 1, 20)) == 3 * (1200 + 1440 + 320)
    assert parameters(network) == 120 + 16 + (144 + 8) + 324
    assert multiply_accumulates(nn.Conv1d(2, 4, 3), torch.zeros(1, 2, 10)) == 8 * 4 * 6


def test_the_network_is_left_as_it_was() -> None:
    network = small().train()
    network[1].eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    multiply_accumulates(network, torch.ones(2, 3, 1, 20))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert [m.training for m in network] == [True, False, True, True, True, True, True]
    assert not any(m._forward_hooks for m in network.modules())


def test_frozen_parameters_do_not_count() -> None:
    network = small()
    network[0].requires_grad_(False)
    assert parameters(network) == 16 + (144 + 8) + 324
