"""A whole record's answer: the engine's windows, averaged."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ecg_edge.firmware_bridge.leads import LEADS
from ecg_edge.firmware_bridge.recording import Recording

from .backends import Backend
from .bundle import Bundle
from .engine import Engine
from .events import Status, Technical
from .policy import Policy
from .sources.items import format_of


@dataclass(frozen=True)
class Prediction:
    """What the model says of a record."""

    record: str
    """As the user named it."""
    name: str
    """Base name of the record."""
    probabilities: dict[str, float] | None
    """Label to mean probability over the windows judged; None where no window could be."""
    labels: tuple[str, ...]
    """Labels above their threshold."""
    quality: float
    """Mean quality of the windows judged, 0 to 1."""
    leads: tuple[str, ...]
    """Leads that any window rested on."""
    windows: int
    """Windows judged."""
    technical: tuple[str, ...]
    """Messages of the technical events."""

    def to_dict(self) -> dict[str, Any]:
        """Return the prediction as JSON types; probabilities to 4 decimals, null where there are none."""
        p = self.probabilities
        return {
            "record": self.record,
            "probabilities": None if p is None else {label: round(v, 4) for label, v in p.items()},
            "labels": list(self.labels),
            "quality": round(self.quality, 4),
            "leads": list(self.leads),
            "windows": self.windows,
            "technical": list(self.technical),
        }


def predict(
    recording: Recording, record: str, bundle: Bundle, backend: Backend, policy: Policy, mains: int | None = None
) -> Prediction:
    """Run a recording through the engine and average its windows.

    A window without a diagnosis (unusable leads, too short) does not count: unknown is not normal.
    """
    engine = Engine(bundle, backend, policy, format_of(recording, mains), every_probability=True)
    events = [*engine.push(recording.counts, invalid=recording.invalid), *engine.finish()]
    judged = [e for e in events if isinstance(e, Status) and e.probabilities is not None]
    technical = tuple(dict.fromkeys(e.message for e in events if isinstance(e, Technical)))
    if not judged:
        return Prediction(record, recording.name, None, (), 0.0, (), 0, technical)
    classes = bundle.manifest.classes
    table = np.array([[e.probabilities[c.abbreviation] for c in classes] for e in judged if e.probabilities])
    mean = table.mean(axis=0)
    labels = tuple(c.abbreviation for c, p in zip(classes, mean, strict=True) if p > c.threshold)
    rested_on = {lead for e in judged for lead in e.leads}
    return Prediction(
        record=record,
        name=recording.name,
        probabilities={c.abbreviation: float(p) for c, p in zip(classes, mean, strict=True)},
        labels=labels,
        quality=float(np.mean([e.quality for e in judged])),
        leads=tuple(lead for lead in LEADS if lead in rested_on),
        windows=len(judged),
        technical=technical,
    )
