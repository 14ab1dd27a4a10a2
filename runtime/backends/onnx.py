"""ONNX graphs on ONNX Runtime."""

import numpy as np
import numpy.typing as npt

from ..bundle import BundleError


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
