"""One process or several: ranks, their part of a batch, and batch norm over all of it.

`torchrun --nproc-per-node N -m ecg_edge.runtime.cli.main finetune ...` starts N processes, each of which finds its
rank in the environment. Gradients are averaged by DistributedDataParallel; what else a single process would compute
over its whole batch (batch statistics, centres, the number of labels that count) is summed over the ranks here, so
that N ranks follow the curve of one rank with the same global batch, up to the order of summation.
"""

import os
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist
import torch.distributed.nn.functional as dist_functional
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ecg_edge.firmware_bridge.errors import EcgEdgeError

from .settings import require

TIMEOUT = timedelta(minutes=30)  # a rank may condition records while the others wait

M = TypeVar("M", bound=nn.Module)


class DeviceError(EcgEdgeError):
    """A device that is not there."""


@dataclass(frozen=True)
class World:
    """The processes of a run, and this one's place among them."""

    rank: int = 0
    """Number of this process; rank 0 writes files and shows progress."""
    size: int = 1
    """How many there are."""
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    """Where this one computes."""

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes."""
        return self.rank == 0

    def rows(self, n: int) -> npt.NDArray[np.int64]:
        """Return this rank's rows of a batch of `n`: consecutive, and at most one more than any other rank's."""
        return np.array_split(np.arange(n), self.size)[self.rank]

    def check_batches(self, smallest: int, parts: int) -> None:
        """Raise SettingsError where a batch of `smallest` records leaves a rank without a row in one of its parts.

        Such a rank would take fewer steps than the others, which would wait for it for ever.
        """
        require(
            self.size == 1 or smallest >= self.size * parts,
            f"batches of {smallest} records are too small for {self.size} ranks with accumulate = {parts}: "
            "raise batch_size, or lower accumulate or the number of processes",
        )

    def sum(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return the sum over the ranks; no gradient passes."""
        if self.size > 1:
            tensor = tensor.clone()
            dist.all_reduce(tensor)
        return tensor

    def gather(self, tensor: torch.Tensor, total: int) -> torch.Tensor:
        """Return the rows of all ranks, `total` of them, in order; gradients pass."""
        if self.size == 1:
            return tensor
        mine = torch.zeros((total, *tensor.shape[1:]), dtype=tensor.dtype, device=tensor.device)
        mine = mine.index_copy(0, torch.from_numpy(self.rows(total)).to(tensor.device), tensor)
        whole: torch.Tensor = dist_functional.all_reduce(mine)
        return whole

    def wait(self) -> None:
        """Return when every rank has come here."""
        if self.size > 1:
            dist.barrier()

    def parallel(self, module: nn.Module) -> nn.Module:
        """Return `module`, its gradients averaged over the ranks where there are several."""
        if self.size == 1:
            return module
        ids: list[Any] | None = [self.device] if self.device.type == "cuda" else None
        return nn.parallel.DistributedDataParallel(module, device_ids=ids, broadcast_buffers=False)


def join(device: str = "auto") -> World:
    """Return the world that torchrun started this process in, or a world of one.

    device: `cpu`, `cuda` or `auto`, which takes a GPU where there is one. NCCL connects GPUs, gloo CPUs.
    Raises DeviceError where `cuda` is asked for and missing.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise DeviceError("no CUDA device: install a CUDA build of torch, or use --device cpu")
    rank, size = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    cuda = device == "cuda" or (device == "auto" and torch.cuda.is_available())
    place = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0))) if cuda else torch.device("cpu")
    if cuda:
        torch.cuda.set_device(place)
    if size > 1 and not dist.is_initialized():
        dist.init_process_group("nccl" if cuda else "gloo", timeout=TIMEOUT)
    return World(rank, size, place)


def leave(world: World) -> None:
    """End the process group of a world of several."""
    if world.size > 1 and dist.is_initialized():
        dist.destroy_process_group()


class SharedBatchNorm(_BatchNorm):
    """Batch norm whose statistics are those of all ranks' rows together; torch's own has no CPU form."""

    def _check_input_dim(self, input: torch.Tensor) -> None:
        if input.dim() < 2:
            raise ValueError(f"batch norm of {input.dim()} dimensions")

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Return the normalised input (N, channels, ...)."""
        if not self.training:
            return super().forward(input)
        x = input.float()
        dims = [d for d in range(x.dim()) if d != 1]
        count = x.new_full((1,), x.numel() / x.shape[1])
        total = dist_functional.all_reduce(torch.cat((x.sum(dims), count)))
        n = total[-1].detach()
        mean = total[:-1] / n
        shape = [1, -1] + [1] * (x.dim() - 2)
        centred = x - mean.view(shape)
        # A sum of its own: the mean square less the squared mean cancels where the mean is large.
        variance = dist_functional.all_reduce(centred.square().sum(dims)) / n
        with torch.no_grad():
            assert self.running_mean is not None
            assert self.running_var is not None
            assert self.num_batches_tracked is not None
            self.num_batches_tracked.add_(1)
            momentum = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
            self.running_mean.lerp_(mean, momentum)
            self.running_var.lerp_(variance * n / (n - 1), momentum)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        y = centred * scale.view(shape) + self.bias.view(shape)
        return y.to(input.dtype)


def share_batch_norm(module: M, world: World) -> M:
    """Return `module` with every batch norm computed over all ranks; unchanged in a world of one."""
    if world.size == 1:
        return module
    for name, child in list(module.named_children()):
        if isinstance(child, _BatchNorm) and not isinstance(child, SharedBatchNorm):
            shared = SharedBatchNorm(child.num_features, child.eps, child.momentum, child.affine)
            shared.load_state_dict(child.state_dict())
            shared.train(child.training)
            setattr(module, name, shared)
        else:
            share_batch_norm(child, world)
    return module
