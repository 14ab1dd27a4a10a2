"""Arrays of a batch as the tensors that a network takes."""

import numpy as np
import numpy.typing as npt
import torch


def signal_tensor(signal: npt.NDArray[np.int16], device: torch.device) -> torch.Tensor:
    """Return int16 (N, leads, 1, samples), channels last, of signal (N, leads, samples)."""
    return _channels_last(torch.from_numpy(signal[:, :, np.newaxis]), device)


def spectrogram_tensor(spectrogram: npt.NDArray[np.generic], device: torch.device) -> torch.Tensor:
    """Return (N, leads, bins, frames), channels last, of an array of that shape."""
    return _channels_last(torch.from_numpy(spectrogram), device)


def _channels_last(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    return tensor.to(device, non_blocking=True).contiguous(memory_format=torch.channels_last)


def channels_last(module: torch.nn.Module) -> None:
    """Lay out the weights of every two-dimensional convolution channels last, which makes torch compute so.

    A third faster on CPUs than the layout that torch begins with.
    """
    for child in module.modules():
        if isinstance(child, torch.nn.Conv2d):
            child.weight.data = child.weight.data.contiguous(memory_format=torch.channels_last)
