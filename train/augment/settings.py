"""How training windows differ from the records."""

from dataclasses import dataclass, fields

from ecg_edge.firmware_bridge.errors import EcgEdgeError


class AugmentError(EcgEdgeError):
    """Augmentation that cannot be done as set."""


@dataclass(frozen=True)
class AugmentSettings:
    """Probabilities are per window, ranges are uniform unless said otherwise."""

    crop_probability: float = 0.0
    """Of a window that is not whole: a shorter piece, zeros on its left."""
    shortest_seconds: float = 5.0
    """Length of the shortest such piece; the longest is the window's."""
    mixup_probability: float = 0.0
    """Of a window mixed with another one of its batch (Zhang et al. 2018)."""
    mixup_alpha: float = 0.4
    """Both parameters of the Beta distribution that the mixing weight is drawn from."""
    gain_sigma: float = 0.0
    """Standard deviation of the log amplitude factor of a window."""
    lead_gain_sigma: float = 0.0
    """Standard deviation of the log amplitude factor of each lead on top of it."""
    noise_probability: float = 0.0
    """Of recorded muscle noise (NSTDB `ma`)."""
    noise_snr_db: tuple[float, ...] = (6.0, 24.0)
    """Range of its signal-to-noise ratio, by the standard deviations of lead and noise, drawn for each lead."""
    wander_probability: float = 0.0
    """Of recorded baseline wander (NSTDB `bw`)."""
    wander_snr_db: tuple[float, ...] = (0.0, 18.0)
    """Range of its signal-to-noise ratio."""
    white_probability: float = 0.0
    """Of white noise."""
    white_microvolts: tuple[float, ...] = (0.0, 25.0)
    """Range of its standard deviation, drawn for each lead."""
    timeout_probability: float = 0.0
    """Of stretches without signal."""
    timeout_lead_rate: float = 0.5
    """Fraction of the leads that have one then, each at its own place."""
    timeout_fraction: tuple[float, ...] = (0.1, 0.3)
    """Range of their length as a part of the window."""
    lead_set_probability: float = 0.0
    """Of the leads that a smaller board leaves (`leads.LEAD_SETS`) instead of all."""
    lead_drop_probability: float = 0.0
    """Of leads dropped independently of each other, in windows that keep their set."""
    lead_drop_rate: float = 0.3
    """Fraction of the leads dropped in those."""
    time_mask_probability: float = 0.0
    """Of consecutive frames of the spectrogram set to nothing in all leads and bins (SpecAugment, Park et al. 2019)."""
    time_mask_fraction: float = 0.2
    """Greatest length of that mask as a part of the frames; the least is one frame."""
    frequency_mask_probability: float = 0.0
    """Of consecutive bins of the spectrogram set to nothing in all leads and frames."""
    frequency_mask_fraction: float = 0.25
    """Greatest width of that mask as a part of the bins; the least is one bin."""

    def check(self) -> None:
        """Raise AugmentError for a value that cannot be followed."""
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, tuple):
                if len(value) != 2 or value[0] > value[1]:
                    raise AugmentError(f"{field.name} = {list(value)}: must be two numbers, the lower first")
                if field.name == "timeout_fraction" and not 0 <= value[0] <= value[1] <= 1:
                    raise AugmentError(f"{field.name} = {list(value)}: must lie within 0 and 1")
            elif field.name.endswith(("probability", "rate", "fraction")) and not 0 <= value <= 1:
                raise AugmentError(f"{field.name} = {value}: must be from 0 to 1")
            elif field.name in ("shortest_seconds", "mixup_alpha") and not value > 0:
                raise AugmentError(f"{field.name} = {value}: must be above 0")
            elif field.name.endswith("sigma") and value < 0:
                raise AugmentError(f"{field.name} = {value}: must not be negative")
