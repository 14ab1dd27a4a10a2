"""Quantized graphs with wrong scales: what a gate is there to refuse."""

import numpy as np
import onnx
import pytest

FACTOR = 4


def onnx_layers(model: bytes) -> list[str]:
    """Return the scales of the convolutions' weights in a QDQ graph, in its order."""
    graph = onnx.load_from_string(model).graph
    constants = {value.name for value in graph.initializer}
    scales = {
        n.output[0]: n.input[1] for n in graph.node if n.op_type == "DequantizeLinear" and n.input[0] in constants
    }
    return [scales[n.input[1]] for n in graph.node if n.op_type == "Conv" and n.input[1] in scales]


def break_onnx(model: bytes, layer: str) -> bytes:
    """Return a graph in which that layer's weights have FACTOR times their scales."""
    broken = onnx.load_from_string(model)
    (scale,) = (value for value in broken.graph.initializer if value.name == layer)
    values = np.asarray(FACTOR * onnx.numpy_helper.to_array(scale), np.float32)
    scale.CopyFrom(onnx.numpy_helper.from_array(values, layer))
    return bytes(broken.SerializeToString())


def tflite_layers(model: bytes) -> list[bytes]:
    """Return the scales of the convolutions' weights in an INT8 graph, in its order, as they lie in the file."""
    interpreter = pytest.importorskip("ai_edge_litert.interpreter").Interpreter(model_content=model)
    found = []
    for tensor in interpreter.get_tensor_details():
        scales = tensor["quantization_parameters"]["scales"]
        if tensor["dtype"] == np.int8 and len(tensor["shape"]) == 4 and len(scales) > 1:
            found.append(np.asarray(scales, "<f4").tobytes())
    return [scales for scales in found if model.count(scales) == 1]


def break_tflite(model: bytes, layer: bytes) -> bytes:
    """Return a graph in which that layer's weights have FACTOR times their scales."""
    return model.replace(layer, (np.float32(FACTOR) * np.frombuffer(layer, "<f4")).astype("<f4").tobytes())
