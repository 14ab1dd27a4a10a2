"""Which blocks have to stay in float: a search through neural-compressor, on the network in PyTorch.

neural-compressor quantizes the network as a PT2E graph (uint8 activations, int8 weights with a scale per channel,
modules named to it left in float) and stops its trials by their accuracy. The graphs are tried and thrown away, since
the ONNX files that it writes have float weights; which blocks they had in float is carried into ONNX Runtime's
quantization. A package of the extra `search`, imported only here.

Method: everything in INT8 first. Where that costs too much, each block alone in INT8 tells what it costs, and blocks
go back to float, the costliest first, until the cost is within the limits.
"""

import contextlib
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ecg_edge.firmware_bridge.errors import EcgEdgeError
from ecg_edge.train.inputs import signal_tensor, spectrogram_tensor
from ecg_edge.train.networks.model import FusionNet
from ecg_edge.train.windows import Windows

from .onnx import fold_batch_norm

ALWAYS_FLOAT = ("time.pool", "spectrogram.pool", "fusion", "head")
"""Modules that no block holds, as in `quantize.IN_FLOAT`."""
CPU = torch.device("cpu")

Cost = Callable[[npt.NDArray[np.float32]], float]
"""Of validation logits (N, classes): what quantization costs, in units of what it may; within the limits up to 1."""


class NotInstalledError(EcgEdgeError):
    """The search's packages are missing."""


def search_blocks(
    network: FusionNet, blocks: Sequence[str], calibration: Windows, validation: Windows, cost: Cost
) -> tuple[str, ...]:
    """Return the blocks that have to stay in float for `cost` to be at most 1, the costliest first.

    blocks: modules of the network, as `quantize.groups` names them. All of them are returned where nothing less will
    do. Raises NotInstalledError where neural-compressor or what it needs is missing.
    """
    with _quiet():
        trials = _Trials(network, calibration, validation, cost)
        if trials.costs([()])[0] <= 1:
            return ()
        alone = trials.costs([tuple(b for b in blocks if b != block) for block in blocks], to_the_end=True)
        order = [block for _, block in sorted(zip(alone, blocks, strict=True), key=lambda pair: -pair[0])]
        tried = list(accumulate(((block,) for block in order), lambda a, b: a + b))
        return tried[len(trials.costs(tried)) - 1]


class _Trials:
    """Runs neural-compressor's tuning over choices of blocks in float."""

    def __init__(self, network: FusionNet, calibration: Windows, validation: Windows, cost: Cost) -> None:
        try:
            from neural_compressor.torch import export, quantization
            from neural_compressor.torch.algorithms import pt2e_quant  # noqa: F401  (needs torchao)
        except ImportError as error:
            raise NotInstalledError(
                f"neural-compressor is not installed ({error}): pip install ecg-edge[search]"
            ) from error
        logging.getLogger("neural_compressor").setLevel(logging.ERROR)  # it sets its own while it is imported
        self._tools: Any = quantization
        self._calibration, self._validation, self._cost = _tensors(calibration), _tensors(validation), cost
        self._graph = export.export(fold_batch_norm(network).to(CPU), self._calibration)

    def costs(self, choices: Sequence[Sequence[str]], to_the_end: bool = False) -> list[float]:
        """Return the cost with each choice of blocks in float, up to the first that is within the limits."""
        found: list[float] = []

        def accuracy(graph: Any) -> float:
            found.append(self._cost(self._logits(graph)))
            return 1 - found[-1]

        self._tools.autotune(
            self._graph,
            self._tools.TuningConfig(
                config_set=[self._config(choice) for choice in choices],
                # A part of the float network's accuracy, which is 1 here.
                tolerable_loss=-1.0 if to_the_end else 1.0,
                max_trials=len(choices),
            ),
            accuracy,
            # In one batch: its observers average the extremes of batches, which clips what is rare.
            run_fn=lambda graph: graph(*self._calibration),
            example_inputs=self._calibration,
        )
        return found[1 : len(choices) + 1]  # the first is the float network's

    def _config(self, in_float: Sequence[str]) -> Any:
        config = self._tools.StaticQuantConfig()
        for module in (*ALWAYS_FLOAT, *in_float):
            config.set_local(module, self._tools.StaticQuantConfig(w_dtype="fp32", act_dtype="fp32"))
        return config

    def _logits(self, graph: Any) -> npt.NDArray[np.float32]:
        size, windows = len(self._calibration[0]), len(self._validation[0])
        with torch.no_grad():
            # The graph is of one batch size, with which torch quantizes it far faster: the last batch is filled up.
            chosen = torch.arange(-(-windows // size) * size).clamp(max=windows - 1).split(size)
            parts = [graph(*(part[k] for part in self._validation)).numpy() for k in chosen]
        return np.concatenate(parts)[:windows]


def _tensors(windows: Windows) -> tuple[torch.Tensor, torch.Tensor]:
    return signal_tensor(windows.signal, CPU), spectrogram_tensor(windows.spectrogram, CPU)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep back warnings on what torch will change."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
