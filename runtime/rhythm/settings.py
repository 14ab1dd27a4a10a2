"""The settings of the rhythm rules: section `[rules]` of the alert policy."""

from dataclasses import dataclass
from typing import Annotated

from ..ranges import Range


@dataclass(frozen=True, kw_only=True)
class RuleSettings:
    """When each rule speaks; `policy.toml` has the defaults with their reasons."""

    asystole_s: Annotated[float, Range(2.5, 10)]
    """Seconds without a QRS complex that are asystole."""
    flat_line_is_asystole: bool
    """Whether a digitally flat line on every lead, electrodes on and after a rhythm, is asystole too."""
    pause_s: Annotated[float, Range(1.5, 10)]
    """Seconds without a QRS complex that are a pause; no longer than `asystole_s`."""
    fibrillation_s: Annotated[float, Range(3.5, 10)]
    """Seconds of fibrillation or flutter before it is announced."""
    ventricular_beats: Annotated[int, Range(3, 30)]
    """Ventricular beats in a row that are a tachycardia."""
    ventricular_bpm: Annotated[float, Range(80, 200)]
    """Rate that they must exceed."""
    brady_bpm: Annotated[float, Range(20, 60)]
    """Rate below which bradycardia is extreme."""
    brady_beats: Annotated[int, Range(2, 30)]
    """Beats in a row that it must last."""
    tachy_bpm: Annotated[float, Range(100, 250)]
    """Rate above which tachycardia is extreme."""
    tachy_beats: Annotated[int, Range(5, 60)]
    """Beats in a row that it must last."""
    regular_below: Annotated[float, Range(0, 0.2)]
    """Beats are regular while their median difference of intervals is below this share of the median interval."""
    end_s: Annotated[float, Range(1, 60)]
    """Seconds without the finding that end an episode."""
