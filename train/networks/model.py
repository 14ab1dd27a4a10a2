"""The network: signal and spectrogram of one window in, one logit per class out.

Two branches, each for one of the inputs, a fusion of what they give, and a linear head. Which branches and which
fusion is a matter of settings; a network of one modality has one branch and no fusion.

It takes the integers of the device's front end; their scaling to float is part of the network, hence of the
exported graph, so nothing about it can differ between training and the device.
"""

from dataclasses import dataclass

import torch
from torch import nn

from ..settings import SettingsError
from .concat import Concat
from .csca import Csca
from .gate import Gate
from .output import BranchOutput
from .se_resnet import SeResNet34
from .size import parameters
from .spectrogram_branch import SpectrogramBranch
from .time_branch import TimeBranch
from .xresnet1d import XResNet1d50

BACKBONES = ("edge", "paper")
SINGLE = ("time", "spectrogram")
FUSIONS = ("gate", "concat", "csca", *SINGLE)
PAPER_HIDDEN = 512  # outputs of the first of the paper's two linear layers


@dataclass(frozen=True)
class NetworkSettings:
    """Kind and size of the network. The sizes are those of the edge backbone; the paper's has its own."""

    dropout: float
    """Fraction of the head's inputs dropped while training."""
    time_stem: int = 0
    """Channels after the first convolution of the time branch."""
    time_stride: int = 0
    """Samples between the outputs of that convolution."""
    time_widths: tuple[int, ...] = ()
    """Channels of its residual blocks, each at half the length of the one before."""
    time_kernel: int = 0
    """Samples that a block's convolutions span; odd. The stem spans 2 * time_kernel + 1."""
    spectrogram_stem: int = 0
    """Channels after the first convolution of the spectrogram branch."""
    spectrogram_widths: tuple[int, ...] = ()
    """Channels of its residual blocks, each at half the image's sides of the one before."""
    backbone: str = "edge"
    """`edge`: small branches on 8-bit log power, which ship; `paper`: those of Phan et al. 2022, to compare with."""
    fusion: str = "gate"
    """`gate` (Phan et al. 2022), `concat` or `csca` of both branches; `time` or `spectrogram`: that branch alone."""

    def check(self) -> None:
        """Raise SettingsError for a value that no network can have."""
        for name, known in (("backbone", BACKBONES), ("fusion", FUSIONS)):
            if getattr(self, name) not in known:
                raise SettingsError(f"{name} = {getattr(self, name)!r}: must be one of {', '.join(known)}")
        if not 0 <= self.dropout < 1:
            raise SettingsError(f"dropout = {self.dropout}: must be from 0 to below 1")
        sizes = ("time_stem", "time_stride", "time_widths", "time_kernel", "spectrogram_stem", "spectrogram_widths")
        if self.backbone == "paper":
            given = [name for name in sizes if getattr(self, name)]
            if given:
                raise SettingsError(f"{given[0]}: the paper backbone has sizes of its own, leave this one out")
            return
        for name in sizes:
            if not getattr(self, name):
                raise SettingsError(f"{name} is missing: the edge backbone needs it")
        for channels in (self.time_stem, *self.time_widths, self.spectrogram_stem, *self.spectrogram_widths):
            # INT8 kernels work on eight channels at once, and torch 2.13's channel-last 1 x 1 convolution of a
            # stride above one writes out of bounds with four.
            if channels <= 0 or channels % 8:
                raise SettingsError(f"{channels} channels: numbers of channels must be multiples of 8")
        if self.time_stride < 1:
            raise SettingsError(f"time_stride = {self.time_stride}: must be at least 1")
        if self.time_kernel < 1 or self.time_kernel % 2 == 0:
            raise SettingsError(f"time_kernel = {self.time_kernel}: must be odd")


class FusionNet(nn.Module):
    """Time branch and spectrogram branch, or one of them, what fuses them, and a head."""

    time: TimeBranch | XResNet1d50 | None
    spectrogram: SpectrogramBranch | SeResNet34 | None
    fusion: Gate | Concat | Csca | None

    def __init__(self, settings: NetworkSettings, leads: int, classes: int) -> None:
        super().__init__()
        self.settings = s = settings
        paper = s.backbone == "paper"
        self.time = self.spectrogram = self.fusion = None
        if s.fusion != "spectrogram":
            self.time = (
                XResNet1d50(leads)
                if paper
                else TimeBranch(leads, s.time_stem, s.time_stride, s.time_widths, s.time_kernel)
            )
        if s.fusion != "time":
            self.spectrogram = (
                SeResNet34(leads) if paper else SpectrogramBranch(leads, s.spectrogram_stem, s.spectrogram_widths)
            )
        self.fusion = _fusion(s.fusion, self.time, self.spectrogram)
        part = self.fusion or self.time or self.spectrogram
        assert part is not None
        self.features = part.features
        self.head: nn.Linear | nn.Sequential = (
            nn.Sequential(nn.Linear(self.features, PAPER_HIDDEN), nn.Linear(PAPER_HIDDEN, classes))
            if paper
            else nn.Linear(self.features, classes)
        )

    def forward(self, signal: torch.Tensor, spectrogram: torch.Tensor) -> torch.Tensor:
        """Return logits float32 (N, classes); a network of one modality ignores the other one's input.

        Edge backbone: signal int16 (N, leads, 1, samples) in microvolts; spectrogram uint8 (N, leads, bins, frames),
        the front end's log power of that signal. Paper backbone: signal int16 (N, leads, 1, 250) in microvolts;
        spectrogram float32 (N, leads, 13, 21), see `paper_spectrogram`. A lead that is missing is zero in both.
        """
        return self.fuse(*self.branch_features(signal, spectrogram))

    def branch_features(
        self, signal: torch.Tensor, spectrogram: torch.Tensor
    ) -> tuple[BranchOutput | None, BranchOutput | None]:
        """Return what the time and the spectrogram branch give; None for the one that the network does not have."""
        return (
            None if self.time is None else self.time(signal),
            None if self.spectrogram is None else self.spectrogram(spectrogram),
        )

    def fuse_features(self, time: BranchOutput | None, spectrogram: BranchOutput | None) -> torch.Tensor:
        """Return the fused vector (N, features), before dropout and head; of one branch alone its own vector."""
        if self.fusion is not None:
            fused: torch.Tensor = self.fusion(time, spectrogram)
            return fused
        alone = time if self.spectrogram is None else spectrogram
        assert alone is not None
        return alone.vector

    def classify(self, features: torch.Tensor, keep: torch.Tensor | None = None) -> torch.Tensor:
        """Return logits (N, classes) of fused vectors (N, features).

        keep: what each is multiplied by, 0 or 1 / (1 - dropout), so that processes that share a batch can share one
        draw; without it dropout is drawn here while training.
        """
        if keep is None:
            features = nn.functional.dropout(features, self.settings.dropout, self.training)
        else:
            features = features * keep
        logits: torch.Tensor = self.head(features)
        return logits

    def fuse(self, time: BranchOutput | None, spectrogram: BranchOutput | None) -> torch.Tensor:
        """Return logits (N, classes) of what the branches give."""
        return self.classify(self.fuse_features(time, spectrogram))

    def output_layer(self) -> str:
        """Return the name of the linear layer whose rows are the classes."""
        return "head.1" if isinstance(self.head, nn.Sequential) else "head"

    def parameters_count(self) -> int:
        """Return the number of trained parameters."""
        return parameters(self)


def _fusion(
    kind: str, time: TimeBranch | XResNet1d50 | None, spectrogram: SpectrogramBranch | SeResNet34 | None
) -> Gate | Concat | Csca | None:
    if time is None or spectrogram is None:
        return None
    if kind == "csca":
        return Csca(time.channels, time.features, spectrogram.channels, spectrogram.features)
    return (Gate if kind == "gate" else Concat)(time.features, spectrogram.features)


class BranchHeads(nn.Module):
    """One linear classifier for each of two branches, for training alone; none for a network of one branch.

    A softmax gate that finds one branch better early on closes on the other, which then gets no gradient to improve
    by. A loss of its own keeps each branch learning, whatever the gate does.
    """

    def __init__(self, network: FusionNet, classes: int) -> None:
        super().__init__()
        branches = [network.time, network.spectrogram]
        both = [b.features for b in branches if b is not None] if network.fusion is not None else []
        self.heads = nn.ModuleList(nn.Linear(features, classes) for features in both)

    def forward(self, time: BranchOutput | None, spectrogram: BranchOutput | None) -> tuple[torch.Tensor, ...]:
        """Return the logits (N, classes) of each branch's vector."""
        outputs = [output.vector for output in (time, spectrogram) if output is not None]
        return tuple(head(vector) for head, vector in zip(self.heads, outputs, strict=False))
