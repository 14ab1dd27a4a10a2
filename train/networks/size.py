"""How large a network is: parameters, and multiply-accumulates of one pass."""

import math
from typing import Any

import torch
from torch import nn

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d)


def parameters(network: nn.Module) -> int:
    """Return the number of trained parameters."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


def multiply_accumulates(network: nn.Module, *inputs: torch.Tensor) -> int:
    """Return the multiply-accumulates of `network(*inputs)` in its convolutions and linear layers.

    For the figure of one window give a batch of one. What is added or multiplied element by element does not count,
    as in `export.onnx.multiply_accumulates`, nor do batch norms, which fold into convolutions.
    """
    total = 0

    def count(module: nn.Module, _: Any, output: torch.Tensor) -> None:
        nonlocal total
        weight = module.weight
        assert isinstance(weight, torch.Tensor)
        total += output.numel() * math.prod(weight.shape[1:])  # each output sums over one filter, or one row

    training = {module: module.training for module in network.modules()}
    hooks = [
        module.register_forward_hook(count) for module in training if isinstance(module, (*CONVOLUTIONS, nn.Linear))
    ]
    try:
        with torch.no_grad():
            network.eval()(*inputs)
    finally:
        for hook in hooks:
            hook.remove()
        for module, mode in training.items():
            module.training = mode
    return total
