"""A convolution that is right on narrow images too."""

import torch
from torch import nn


class NarrowConv2d(nn.Conv2d):
    """Convolution of which a strided one keeps off bfloat16 where a row of its output is one pixel.

    torch 2.13 computes that with memory that nothing has written, on processors with AVX512-BF16 where the image is
    one pixel wide, on those with AMX where it is two as well; in float32 it is right.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return maps (N, outputs, h, w) of x (N, inputs, rows, columns)."""
        if self.stride[1] > 1 and x.shape[-1] <= self.stride[1]:
            with torch.autocast(x.device.type, enabled=False):
                return super().forward(x.float())
        return super().forward(x)
