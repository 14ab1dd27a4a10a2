"""Teachers and students for the made database."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

SIDES = ((1, 2, 3, 4, 5, 6, 7), (8,), ())
"""Folds of the made run: trained on, validated on, reported."""


@pytest.fixture(scope="session")
def taught(tiny: Any) -> Callable[..., Any]:
    """Return a function that gives DistillSettings of a run of seconds; its arguments replace the student's fields.

    All three weights are 1, but for `weights`, which replaces them.
    """
    from ecg_edge.export.distill.settings import DistillSettings

    def settings(weights: tuple[float, float, float] = (1.0, 1.0, 1.0), fusion: str = "csca", **student: Any) -> Any:
        network = replace(tiny.network, fusion=fusion)
        plain = replace(tiny, network=network, contrast_weight=0.0, precision="float32", threads=1)
        return DistillSettings(replace(plain, **student), *weights)

    return settings


@pytest.fixture(scope="session")
def sides(made_run: Any) -> Any:
    """The made database's training and validation side."""
    from ecg_edge.runtime.contract import Contract
    from ecg_edge.train.data import open_sides
    from ecg_edge.train.distributed import World

    return open_sides(made_run.root / "data", ("ptbxl",), *SIDES, Contract(), made_run.root / "cache", World(), False)


@pytest.fixture(scope="session")
def untrained() -> Callable[..., Any]:
    """Return a function that gives a network of random weights as one that a run of some settings left."""

    def trained(settings: Any, seed: int = 0, **facts: Any) -> Any:
        import torch

        from ecg_edge.runtime.contract import Contract
        from ecg_edge.train.networks.model import FusionNet
        from ecg_edge.train.tasks import task
        from ecg_edge.train.trained import Trained

        torch.manual_seed(seed)
        outputs = sum(len(task(name).classes) for name in settings.tasks)
        network = FusionNet(settings.network, 12, outputs).eval()
        return Trained(
            **{"contract": Contract(), "init": None} | facts, network=network, settings=settings, history=[], records=0
        )

    return trained
