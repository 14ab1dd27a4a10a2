"""What moves the weights: parameter groups, schedules as arrays, the running average, and the precision of it."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

Floats = npt.NDArray[np.float64]

CUDA_BF16_CAPABILITY = 8  # compute capability from which bfloat16 is computed and not emulated (Ampere)


def one_cycle(highest: float, warmup_fraction: float, steps: int) -> Floats:
    """Return the learning rate of each step: a cosine up from a 25th of `highest`, then one down to nearly zero.

    The one-cycle policy (Smith and Topin 2018, arXiv 1708.07120).
    """
    warm = max(1, round(warmup_fraction * steps))
    up = 0.5 - 0.5 * np.cos(np.pi * np.arange(warm) / warm)
    down = 0.5 + 0.5 * np.cos(np.pi * np.arange(steps - warm) / max(1, steps - warm))
    return highest * np.concatenate((0.04 + 0.96 * up, down))[:steps]


def cosine(start: float, end: float, steps: int, warmup: int = 0) -> Floats:
    """Return values of `steps` steps: linear from zero to `start` in `warmup` steps, a cosine to `end` at the last."""
    warmup = min(warmup, steps - 1)
    up = start * np.arange(1, warmup + 1) / (warmup + 1)
    rest = steps - warmup
    along = np.arange(rest) / max(1, rest - 1)
    return np.concatenate((up, end + 0.5 * (start - end) * (1 + np.cos(np.pi * along))))


def decay_groups(
    parameters: Iterable[nn.Parameter], weight_decay: float, rate_factor: float = 1.0
) -> list[dict[str, Any]]:
    """Return parameter groups: convolutions and matrices decay, biases and batch norm do not (He et al. 2019).

    rate_factor: `factor` of the groups, by which the caller multiplies the schedule's learning rate.
    """
    trained = [p for p in parameters if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": weight_decay, "factor": rate_factor},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0, "factor": rate_factor},
    ]
    return [group for group in groups if group["params"]]


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of every group: `rate` times its factor."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["factor"]


def follow(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Move every weight and every batch-norm statistic of `average` towards those of `network`, in place.

    Both are the same kind of network. Statistics are averaged like weights, since a network of averaged weights has
    neither the one's nor the other's; counters are copied.
    """
    theirs = network.state_dict()
    mine, other = [], []
    with torch.no_grad():
        for name, value in average.state_dict().items():
            if value.is_floating_point():
                mine.append(value)
                other.append(theirs[name])
            else:
                value.copy_(theirs[name])
        torch._foreach_lerp_(mine, other, 1 - decay)


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """Return the context that forward passes run in: bfloat16 or not. See `resolve_precision`."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")


def resolve_precision(precision: str, device: torch.device) -> str:
    """Return `bf16` or `float32` for `auto`: bfloat16 where the device computes with it rather than emulating it."""
    if precision != "auto":
        return precision
    if device.type == "cuda":
        able = torch.cuda.get_device_capability(device)[0] >= CUDA_BF16_CAPABILITY
    else:
        able = bool(torch.cpu._is_avx512_bf16_supported())
    return "bf16" if able else "float32"
