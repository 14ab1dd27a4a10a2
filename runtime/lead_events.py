"""Technical events of what the leads of a stream are in: electrodes off, flat, saturated, noisy."""

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from ecg_edge.firmware_bridge.leads import LEADS

from .events import Event, Technical
from .quality import LeadStates

_WORDS = {
    "lead_off": ("electrode off, at the limit of the converter, or samples missing", "connected again"),
    "flat_line": ("flat line: check the electrode; no model reads it", "not flat now"),
    "saturation": ("signal beyond +-32.7 mV: check electrode and gain", "within range again"),
    "poor_signal": ("too noisy to read", "quiet enough again"),
}
"""What is said of leads by code when a state begins, and when it ends."""


class LeadEvents:
    """Remembers which leads are in which state, and tells what has changed."""

    def __init__(self) -> None:
        """Start with every lead well."""
        self._states: dict[str, tuple[str, ...]] = {}  # code -> leads in that state now

    def tell(self, states: LeadStates, time: float) -> list[Event]:
        """Return the events of leads whose state has changed by `time`, in seconds of stream time."""
        if not states.any and not self._states:
            return []
        events: list[Event] = []
        masks = (states.off, states.flat, states.saturated, states.noisy)
        for (code, (begins, ends)), mask in zip(_WORDS.items(), masks, strict=True):
            before = self._states.pop(code, ())
            if not before and not mask.any():
                continue
            now = lead_names(mask)
            ended = tuple(lead for lead in before if lead not in now)
            begun = tuple(lead for lead in now if lead not in before)
            for phase, leads, words in (("end", ended, ends), ("new", begun, begins)):
                if leads:
                    text = f"{', '.join(leads)}: {words}"
                    events.append(Technical(time=time, code=code, phase=phase, message=text, leads=leads))
            if now:
                self._states[code] = now
        return events


def lead_names(mask: npt.NDArray[np.bool_]) -> tuple[str, ...]:
    """Return the names of the leads that a mask (12,) holds, in the contract's order."""
    return _names_of(mask.tobytes())


@lru_cache(maxsize=256)
def _names_of(mask: bytes) -> tuple[str, ...]:
    return tuple(lead for lead, there in zip(LEADS, mask, strict=True) if there)
