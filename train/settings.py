"""Settings of a training run: frozen dataclasses, read from a TOML file whose unknown keys are errors."""

import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Self, TypeVar, get_args, get_origin, get_type_hints

from ecg_edge.firmware_bridge.errors import EcgEdgeError

from .augment import AugmentSettings
from .networks.model import NetworkSettings

PRESETS = Path(__file__).parent / "presets"

T = TypeVar("T")


class SettingsError(EcgEdgeError):
    """A settings file that cannot be followed."""


@dataclass(frozen=True)
class FinetuneSettings:
    """Everything that a supervised training run depends on besides its data."""

    seed: int
    """Of the initial weights, the order of records, the augmentation and dropout."""
    epochs: int
    """Passes over the training records."""
    batch_size: int
    """Windows of a step."""
    learning_rate: float
    """Highest, of AdamW under a one-cycle schedule (Smith and Topin 2018)."""
    warmup_fraction: float
    """Part of all steps in which the learning rate rises."""
    weight_decay: float
    """Of AdamW, on convolutions and matrices; not on biases and batch norm."""
    gradient_norm: float
    """Gradients longer than this are scaled down to it."""
    average_decay: float
    """Per step, of the running average of the weights, which is what is validated and kept."""
    rare_power: float
    """A positive counts (negatives / positives) ** rare_power times in the loss: 0 as it comes, 1 balanced."""
    rare_limit: float
    """Largest such weight."""
    branch_weight: float
    """Weight in the loss of what each branch alone would answer; see BranchHeads."""
    threads: int
    """Of torch. Sums are split over threads, so another number gives slightly other weights."""
    train_folds: tuple[int, ...]
    """Folds of PTB-XL to train on; records of sources without folds are trained on as well."""
    valid_folds: tuple[int, ...]
    """Folds that choose the epoch and later the thresholds."""
    sources: tuple[str, ...]
    """Sources to train on, as `ecg-edge records` names them."""
    network: NetworkSettings
    """Size of the network."""
    augment: AugmentSettings
    """How training windows are made from records."""

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as the types that TOML and JSON know."""
        return {k: _plain(v) for k, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Return the settings in `data`; raises SettingsError for unknown, missing or mistyped keys."""
        settings = _build(cls, data, "")
        settings.check()
        return settings

    def check(self) -> None:
        """Raise SettingsError for a value that no run can follow."""
        positive = ("epochs", "batch_size", "learning_rate", "threads", "gradient_norm", "rare_limit")
        for name in positive:
            if not getattr(self, name) > 0:
                raise SettingsError(f"{name} = {getattr(self, name)}: must be above 0")
        shares = {name: getattr(self, name) for name in ("warmup_fraction", "average_decay")}
        shares |= {f.name: getattr(self.augment, f.name) for f in fields(self.augment) if "probability" in f.name}
        for name, value in shares.items():
            if not 0 <= value <= 1:
                raise SettingsError(f"{name} = {value}: must be from 0 to 1")
        net = self.network
        for channels in (net.time_stem, *net.time_widths, net.spectrogram_stem, *net.spectrogram_widths):
            # INT8 kernels work on eight channels at once, and torch 2.13's channel-last 1 x 1 convolution of a
            # stride above one writes out of bounds with four.
            if channels <= 0 or channels % 8:
                raise SettingsError(f"{channels} channels: numbers of channels must be multiples of 8")
        if net.time_kernel % 2 == 0:
            raise SettingsError(f"time_kernel = {net.time_kernel}: must be odd")


def read_settings(name_or_path: str) -> FinetuneSettings:
    """Return the settings of a preset's name or of a TOML file; raises SettingsError, naming the presets."""
    preset = PRESETS / f"{name_or_path}.toml"
    path = preset if preset.is_file() else Path(name_or_path)
    try:
        return FinetuneSettings.from_dict(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        known = ", ".join(sorted(p.stem for p in PRESETS.glob("*.toml")))
        raise SettingsError(f"no preset or file {name_or_path!r}: the presets are {known}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not TOML: {error}") from error


def preset_options(settings: FinetuneSettings) -> list[str]:
    """Return the options of `ecg-edge finetune` that give these settings; none where no preset does."""
    for path in sorted(PRESETS.glob("*.toml")):
        preset = read_settings(path.stem)
        if replace(preset, seed=settings.seed, epochs=settings.epochs) == settings:
            names = [n for n in ("seed", "epochs") if getattr(preset, n) != getattr(settings, n)]
            return ["--preset", path.stem, *(o for n in names for o in (f"--{n}", str(getattr(settings, n))))]
    return []


def _build(kind: type[T], data: Mapping[str, Any], where: str) -> T:
    """Return a dataclass from a table, field by field and strictly typed."""
    if not isinstance(data, Mapping):
        raise SettingsError(f"{where or 'settings'}: must be a table")
    hints = get_type_hints(kind)
    known = fields(kind)  # type: ignore[arg-type]
    unknown = sorted(set(data) - {f.name for f in known})
    if unknown:
        raise SettingsError(f"unknown setting {where}{unknown[0]}: one of {', '.join(f.name for f in known)}")
    missing = [f.name for f in known if f.name not in data and f.default is MISSING]
    if missing:
        raise SettingsError(f"missing setting {where}{missing[0]}")
    return kind(**{key: _value(hints[key], value, f"{where}{key}") for key, value in data.items()})


def _value(hint: Any, value: Any, where: str) -> Any:
    if is_dataclass(hint) and isinstance(hint, type):
        return _build(hint, value, f"{where}.")
    if get_origin(hint) is tuple:
        item = get_args(hint)[0]
        if not isinstance(value, list | tuple):
            raise SettingsError(f"{where}: must be a list")
        return tuple(_value(item, v, where) for v in value)
    if hint is float and type(value) is int:
        return float(value)
    if type(value) is not hint:
        raise SettingsError(f"{where} = {value!r}: must be of type {hint.__name__}")
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return list(value) if isinstance(value, tuple) else value
