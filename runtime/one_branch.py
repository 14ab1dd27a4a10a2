"""The model of one branch: lighter, of the same classes, and for the time in which the whole one takes too long.

A bundle of its own, made, judged and verified as any other. It reads the signal and not the spectrogram, so that with
the second branch the transforms are saved too.
"""

from dataclasses import dataclass

import numpy as np

from ecg_edge.firmware_bridge.errors import EcgEdgeError

from .backends import Backend, open_backend
from .bundle import Bundle, load, shipped
from .selftest import front_end_inputs

SUFFIX = "-signal"  # of the shipped bundle of one branch, after the name of the one that it stands in for
CHOICES = ("auto", "none")
"""What the option takes besides a bundle: the shipped one that belongs to a shipped bundle; no model of one branch."""


@dataclass(frozen=True)
class OneBranch:
    """A bundle of the signal alone, opened."""

    bundle: Bundle
    backend: Backend


def open_one_branch(choice: str, bundle: Bundle, kind: str, threads: int = 1) -> OneBranch | None:
    """Return the model that stands in for `bundle`'s, None where there is none.

    choice: a bundle's name or folder, or one of CHOICES. kind: the backend that runs it, where it has a model for it.
    Raises EcgEdgeError for a bundle that cannot stand in: of other classes, of another contract, or of more branches.
    """
    if choice == "none":
        return None
    if choice == "auto":
        choice = bundle.manifest.name + SUFFIX
        if choice not in shipped() or bundle.sha256 != load(bundle.manifest.name).sha256:
            return None
    light = load(choice)
    mine, theirs = bundle.manifest, light.manifest
    if [c.abbreviation for c in mine.classes] != [c.abbreviation for c in theirs.classes]:
        raise EcgEdgeError(f"bundle {theirs.name} has other classes than {mine.name}: it cannot stand in for it")
    if mine.contract != theirs.contract:
        raise EcgEdgeError(f"bundle {theirs.name} has another signal contract than {mine.name}: export it again")
    backend = open_backend(light, kind if kind in theirs.models else "auto", threads)
    inputs = front_end_inputs(theirs.contract)
    answer = backend.logits(inputs.signal, inputs.spectrogram)
    if not np.array_equal(answer, backend.logits(inputs.signal, np.zeros_like(inputs.spectrogram))):
        raise EcgEdgeError(
            f"bundle {theirs.name} reads the spectrogram: one of the signal alone is needed (network.fusion = time)"
        )
    return OneBranch(light, backend)
