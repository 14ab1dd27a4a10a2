"""Inference backends: a verified model graph in, logits out."""

from typing import Protocol

import numpy as np
import numpy.typing as npt

from .bundle import Bundle, BundleError

CHOICES = ("auto", "onnx")
"""What `--backend` takes; `auto` is the fastest one that the bundle and this machine have."""


class Backend(Protocol):
    """What the engine needs of a model."""

    name: str
    """Name of the backend, as `--backend` takes it."""

    def logits(self, signal: npt.NDArray[np.int16], spectrogram: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Return the logits (classes,) of one window.

        signal: int16 (12, window) in microvolts; spectrogram: uint8 (12, bins, frames); both with zeros for
        leads that are not to be used.
        """
        ...


class OnnxBackend:
    """ONNX Runtime on the CPU."""

    name = "onnx"

    def __init__(self, model: bytes, threads: int = 1) -> None:
        """Open a graph; one thread by default, since waking more costs what a 0.3 ms model could save.

        Raises BundleError where ONNX Runtime refuses the graph.
        """
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Idle threads would spin on a core that the reader thread needs.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
            self._signal, self._spectrogram = (i.name for i in self._session.get_inputs())
            shape = self._session.get_inputs()[0].shape
        except Exception as error:  # ONNX Runtime's exception classes are not public
            first = str(error).splitlines()[0]
            raise BundleError(f"ONNX Runtime cannot open the model ({first}): update onnxruntime") from error
        self._signal_shape = (1, shape[1], 1, shape[3])

    def logits(self, signal: npt.NDArray[np.int16], spectrogram: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Return the logits (classes,) of one window; see Backend."""
        feed = {self._signal: signal.reshape(self._signal_shape), self._spectrogram: spectrogram[np.newaxis]}
        logits: npt.NDArray[np.float32] = self._session.run(None, feed)[0][0]
        return logits


def open_backend(bundle: Bundle, choice: str = "auto", threads: int = 1) -> Backend:
    """Return the backend that runs a bundle's model; raises BundleError where it has none of that kind."""
    if choice not in CHOICES:
        raise BundleError(f"unknown backend {choice!r}: use --backend {' or '.join(CHOICES)}")
    return open_model("onnx", bundle.model("onnx"), threads)


def open_model(kind: str, model: bytes, threads: int = 1) -> Backend:
    """Return the backend named `kind` on a model graph of its format; raises BundleError where it cannot run it."""
    if kind != OnnxBackend.name:
        raise BundleError(f"no backend runs {kind} models: use {OnnxBackend.name}")
    return OnnxBackend(model, threads)


def probabilities(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Return the sigmoid of logits, without overflow."""
    return 1.0 / (1.0 + np.exp(-np.clip(logits.astype(np.float64), -60.0, 60.0)))
