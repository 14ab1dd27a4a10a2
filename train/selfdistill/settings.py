"""Settings of self-distillation."""

from dataclasses import dataclass, fields

from ..augment.settings import AugmentSettings
from ..networks.model import NetworkSettings
from ..networks.projector import ProjectorSettings
from ..settings import require

MODALITIES = ("time", "spectrogram")


@dataclass(frozen=True)
class ViewSettings:
    """One kind of view: how many of each record, how long, how disturbed."""

    count: int
    """Views of each record."""
    fraction: tuple[float, ...]
    """Range of their length as a part of the window; all views of this kind in a batch have one length, drawn anew
    for every batch, and each its own place in the record."""
    augment: AugmentSettings
    """What else is done to them."""


@dataclass(frozen=True)
class PretrainSettings:
    """Everything that a self-distillation run depends on besides its data."""

    seed: int
    """Of the initial weights, the order of records, and the views."""
    epochs: int
    """Passes over the records."""
    batch_size: int
    """Records of a step, over all ranks."""
    accumulate: int
    """Parts that a rank's share of a step is computed in, one after the other."""
    modalities: tuple[str, ...]
    """`time`, `spectrogram` or both; both are learned side by side from the same views."""
    cross_weight: float
    """Weight of the agreement across modalities: each student also predicts the other modality's teacher, through a
    projector of its own. 0 for the paper's independent models."""
    window_seconds: float
    """Longest view."""
    global_views: ViewSettings
    """Views that the teacher sees, and the student too."""
    local_views: ViewSettings
    """Shorter views, for the student alone."""
    projector: ProjectorSettings
    """Size of the projectors."""
    student_temperature: float
    """Divides the student's scores."""
    teacher_temperature: tuple[float, ...]
    """Divides the teacher's: at the start, and from the end of its warm-up on."""
    temperature_epochs: int
    """Epochs from one to the other, linearly."""
    centre_momentum: float
    """Per step, of the running mean that is taken from the teacher's scores."""
    teacher_momentum: tuple[float, ...]
    """Per step, of the teacher's weights: from the first to the second value along a cosine."""
    learning_rate: float
    """Highest, for a batch of 256 records, in proportion to the batch."""
    final_rate: float
    """Learning rate of the last step."""
    warmup_epochs: int
    """Epochs in which the learning rate rises linearly."""
    weight_decay: tuple[float, ...]
    """From the first to the second value along a cosine."""
    gradient_norm: float
    """Gradients longer than this are scaled down to it."""
    frozen_prototype_epochs: int
    """Epochs at the start in which the prototypes stay as they were drawn."""
    precision: str
    """`bf16`, `float32` or `auto`."""
    threads: int
    """Of torch; 0 for all cores, shared among the ranks of a machine."""
    folds: tuple[int, ...]
    """Folds of PTB-XL to learn from, besides the records of sources without folds."""
    sources: tuple[str, ...]
    """Sources, as `ecg-edge records` names them."""
    network: NetworkSettings
    """Network whose branches are learned."""

    def check(self) -> None:
        """Raise SettingsError for a value that no run can follow."""
        for name in ("epochs", "batch_size", "accumulate", "window_seconds", "learning_rate", "student_temperature"):
            require(getattr(self, name) > 0, f"{name} = {getattr(self, name)}: must be above 0")
        require(
            bool(self.modalities) and set(self.modalities) <= set(MODALITIES),
            f"modalities = {list(self.modalities)}: must be some of {', '.join(MODALITIES)}",
        )
        require(self.cross_weight == 0 or len(self.modalities) == 2, "cross_weight needs both modalities")
        require(self.global_views.count >= 2, "global_views.count must be at least 2: a view is told from another")
        for name in ("teacher_temperature", "teacher_momentum", "weight_decay"):
            require(len(getattr(self, name)) == 2, f"{name} must be two values, the first and the last")
        for name in ("global_views", "local_views"):
            views = getattr(self, name)
            low, high = (*views.fraction, 0, 0)[:2]
            require(
                len(views.fraction) == 2 and 0 < low <= high <= 1, f"{name}.fraction must be a range within 0 and 1"
            )
            views.augment.check()
        require(self.precision in ("auto", "bf16", "float32"), f"precision = {self.precision}: auto, bf16 or float32")
        for f in fields(self):
            if f.name.endswith("momentum"):
                values = getattr(self, f.name)
                for value in values if isinstance(values, tuple) else (values,):
                    require(0 <= value <= 1, f"{f.name} = {value}: must be from 0 to 1")
        self.network.check()
