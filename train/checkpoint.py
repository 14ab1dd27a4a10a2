"""Checkpoints: dictionaries of tensors and plain values, written whole or not at all, read without running code."""

import os
from pathlib import Path
from typing import Any

import torch

from ecg_edge.firmware_bridge.errors import EcgEdgeError

FORMAT = 2
"""Raised whenever a checkpoint of before can no longer be read."""


class CheckpointError(EcgEdgeError):
    """A checkpoint that cannot be read or does not fit."""


def save(path: Path, state: dict[str, Any]) -> None:
    """Write `state` (tensors, numbers, text, lists and dictionaries of them) so that `path` is never half-written."""
    working = path.with_name(f".{path.name}.{os.getpid()}")
    with working.open("wb") as file:
        torch.save({"format": FORMAT, **state}, file)
        file.flush()
        os.fsync(file.fileno())
    working.replace(path)


def load(path: Path, kind: str | None = None) -> dict[str, Any]:
    """Return what `save` wrote; raises CheckpointError where `path` is no such file. Nothing in it is executed.

    kind: what `state["kind"]` has to be, for a checkpoint that is handed from one command to another.
    """
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise CheckpointError(f"no checkpoint {path}: train one with ecg-edge finetune") from error
    except Exception as error:  # a damaged zip, a pickle of something else: torch has a class for each
        raise CheckpointError(f"{path} is not a checkpoint of ecg-edge ({type(error).__name__})") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise CheckpointError(f"{path} is not a checkpoint that this version reads: train again")
    if kind is not None and state.get("kind") != kind:
        made_by = {
            "trained": "finetune (best.pt)",
            "pretrained": "pretrain (pretrained.pt)",
            "tutor": "trees (tutor.pt)",
        }
        raise CheckpointError(f"{path} is another kind of checkpoint: name one that ecg-edge {made_by[kind]} left")
    return state
