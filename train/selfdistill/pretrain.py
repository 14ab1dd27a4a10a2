"""From settings and a store of records to a self-distillation run."""

from typing import Any

import numpy as np
import torch

from ecg_edge.runtime.contract import Contract

from ..augment.augmenter import Augmenter
from ..distributed import World
from ..networks.model import FusionNet
from ..networks.standardization import standardize
from ..store import RecordStore
from ..threads import set_threads
from .run import PretrainRun
from .settings import PretrainSettings
from .views import ViewMaker


def prepare(
    settings: PretrainSettings, contract: Contract, store: RecordStore, noise: dict[str, Any], world: World
) -> PretrainRun:
    """Return a run over the records of `store`, none of which may be validated or tested on later.

    noise: recordings for the augmentation. Raises SettingsError or AugmentError for settings that cannot be followed.
    """
    settings.check()
    set_threads(settings.threads)
    torch.manual_seed(settings.seed)
    nothing = np.zeros((len(store.entries), 0), dtype=np.bool_)
    long, short = (
        Augmenter(views.augment, contract, store, nothing, nothing, noise, settings.network.backbone)
        for views in (settings.global_views, settings.local_views)
    )
    maker = ViewMaker(settings, contract, long, short)
    network = FusionNet(settings.network, len(contract.leads), 1)
    if settings.network.backbone == "paper":
        standardize(network, store, round(settings.window_seconds * contract.rate))
    seen = tuple(sorted({entry.patient for entry in store.entries}))
    return PretrainRun(settings, contract, maker, seen, len(store.entries), world, network)
