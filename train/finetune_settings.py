"""Settings of supervised training."""

from dataclasses import dataclass, field

from .augment.settings import AugmentSettings
from .contrast import ContrastSettings
from .networks.model import NetworkSettings
from .settings import require
from .tasks import task


@dataclass(frozen=True)
class FinetuneSettings:
    """Everything that a supervised training run depends on besides its data and the weights that it starts from."""

    seed: int
    """Of the initial weights, the order of records, the augmentation, dropout, and the choice of labelled patients."""
    tasks: tuple[str, ...]
    """What is learned, side by side: names of `tasks.TASKS`."""
    epochs: int
    """Passes over the training records."""
    batch_size: int
    """Windows of a step, over all ranks."""
    learning_rate: float
    """Highest, of AdamW under a one-cycle schedule (Smith and Topin 2018)."""
    train_folds: tuple[int, ...]
    """Folds of PTB-XL to train on; records of sources without folds are trained on as well."""
    valid_folds: tuple[int, ...]
    """Folds that choose the epoch and later the thresholds. With none, every epoch is run, the last one's network is
    kept, and thresholds have to come from elsewhere: for a recipe that was fixed with validation folds before."""
    sources: tuple[str, ...]
    """Sources to train on, as `ecg-edge records` names them."""
    network: NetworkSettings
    """Kind and size of the network."""
    augment: AugmentSettings = field(default_factory=AugmentSettings)
    """How training windows are made from records."""
    accumulate: int = 1
    """Parts that a rank's share of a step is computed in; batch norm then sees one part at a time."""
    encoder_rate: float = 1.0
    """The branches' learning rate as a part of the head's, where they start from pretrained weights."""
    frozen: bool = False
    """Leave the branches as they start, and train fusion and head alone. Branches that were not pretrained get their
    batch-norm statistics from the training records first."""
    warmup_fraction: float = 0.2
    """Part of all steps in which the learning rate rises."""
    weight_decay: float = 0.05
    """Of AdamW, on convolutions and matrices; not on biases and batch norm."""
    gradient_norm: float = 1.0
    """Gradients longer than this are scaled down to it."""
    average_decay: float = 0.997
    """Per step at most, of the running average of the weights, which is what is validated and kept. Before step
    10 / (1 - average_decay) of a run it is smaller: the average is then over about a tenth of the steps so far."""
    rare_power: float = 0.0
    """A positive counts (negatives / positives) ** rare_power times in the loss: 0 as it comes, 1 balanced."""
    rare_limit: float = 10.0
    """Largest such weight."""
    label_weight: float = 1.0
    """Weight of the loss against labels, where there is something else to learn from as well."""
    tutor_part: float = 0.7
    """With a tutor: part of the targets that it has; the rest is the labels'."""
    tutor_unknown: float = 0.5
    """With a tutor: weight in the loss of its answer where a label is not known; the others count 1."""
    measurement_weight: float = 1.0
    """With a tutor: weight in the loss of the measurements, which a layer for training alone has to tell."""
    branch_weight: float = 0.3
    """Weight in the loss of what each branch alone would answer; see BranchHeads."""
    contrast_weight: float = 0.0
    """Weight in the loss of the supervised contrastive task: records that share labels get similar features."""
    contrast: ContrastSettings = field(default_factory=lambda: ContrastSettings(0.1, 128, 64))
    """Of that task."""
    label_fraction: float = 1.0
    """Part of the training patients whose labels are used; the sets are nested for one seed."""
    least_steps: int = 1
    """Steps of an epoch at least, however few the records: they then come several times."""
    crops_per_record: int = 1
    """Times that each record comes in an epoch, another window of it every time."""
    window_seconds: float = 10.0
    """Length of the windows that the network takes."""
    stride_seconds: float = 10.0
    """Where windows are shorter than the contract's: how far apart they are when a record is judged."""
    precision: str = "auto"
    """Of the forward pass: `bf16`, `float32`, or `auto`, which is bf16 where the device computes with it."""
    threads: int = 0
    """Of torch; 0 for all cores. Sums are split over threads, so another number gives slightly other weights."""

    def check(self) -> None:
        """Raise SettingsError (or AugmentError) for a value that no run can follow."""
        positive = ("epochs", "batch_size", "accumulate", "learning_rate", "gradient_norm", "rare_limit", "least_steps")
        for name in (*positive, "crops_per_record", "window_seconds", "stride_seconds"):
            require(getattr(self, name) > 0, f"{name} = {getattr(self, name)}: must be above 0")
        for name in ("tutor_unknown", "measurement_weight"):
            require(getattr(self, name) >= 0, f"{name} = {getattr(self, name)}: must not be negative")
        for name in ("warmup_fraction", "average_decay", "encoder_rate", "label_fraction", "tutor_part"):
            require(0 <= getattr(self, name) <= 1, f"{name} = {getattr(self, name)}: must be from 0 to 1")
        require(self.label_fraction > 0, "label_fraction = 0.0: must be above 0")
        require(self.precision in ("auto", "bf16", "float32"), f"precision = {self.precision}: auto, bf16 or float32")
        require(self.threads >= 0, f"threads = {self.threads}: must not be negative")
        require(bool(self.tasks) and len(set(self.tasks)) == len(self.tasks), "tasks: name at least one, each once")
        for name in self.tasks:
            task(name)
        self.network.check()
        self.augment.check()
