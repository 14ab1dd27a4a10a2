"""Settings of distillation."""

from dataclasses import dataclass

from ecg_edge.train.finetune_settings import FinetuneSettings
from ecg_edge.train.settings import require


@dataclass(frozen=True)
class DistillSettings:
    """The student, and what it learns from its teachers besides the labels."""

    student: FinetuneSettings
    """Of the student's training; its `label_weight` is the part that the labels have."""
    logit_weight: float
    """Of the cross entropy against the teachers' probabilities, on every window and class, labelled or not."""
    feature_weight: float
    """Of the distance between the teachers' fused vectors and what linear layers make of the student's."""
    gate_weight: float
    """Of the squared difference of what both fusions attend by: the gate's weights, or when csca listens."""

    def check(self) -> None:
        """Raise SettingsError for a value that no run can follow."""
        self.student.check()
        for name in ("logit_weight", "feature_weight", "gate_weight"):
            require(getattr(self, name) >= 0, f"{name} = {getattr(self, name)}: must not be negative")
        require(
            self.logit_weight > 0 or self.feature_weight > 0,
            "logit_weight and feature_weight are 0: there is nothing to learn from the teachers",
        )
        require(self.student.network.backbone == "edge", "student.network.backbone: only edge runs on devices")
