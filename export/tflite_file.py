"""Short names in a TFLite file, vectors that are equal written once, weights aligned.

The tools write a zero point of 8 bytes for each channel of each weight and bias, all of them zero, and names of a
hundred characters: together a tenth of an INT8 file.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

ALIGNMENT = 16  # of weights, as TFLite's schema asks (force_align), which its Python writer does not see to


def named(model: bytes, inputs: Sequence[str], output: str) -> bytes:
    """Return the graph with tensors named `module/operator`, and its inputs and output as given."""
    from ai_edge_litert.tools import flatbuffer_utils

    parsed = flatbuffer_utils.read_model_from_bytearray(bytearray(model))
    graph = parsed.subgraphs[0]
    taken: dict[str, int] = {}

    def give(tensor: int, wanted: str) -> None:
        taken[wanted] = taken.get(wanted, 0) + 1
        name = wanted if taken[wanted] == 1 else f"{wanted}_{taken[wanted]}"
        graph.tensors[tensor].name = name.encode()

    known = {tensor for operator in graph.operators for tensor in operator.outputs} | set(graph.inputs)
    modules = [_module(graph.tensors[operator.outputs[0]].name.decode()) for operator in graph.operators]
    for operator, module in zip(graph.operators, modules, strict=True):
        for tensor in operator.inputs:
            if tensor >= 0 and tensor not in known:
                give(tensor, f"{module}/constant")
                known.add(tensor)
        kind = flatbuffer_utils.opcode_to_name(parsed, operator.opcodeIndex)
        give(operator.outputs[0], f"{module}/{str(kind).lower()}")
    for tensor, name in zip((*graph.inputs, *graph.outputs), (*inputs, output), strict=True):
        graph.tensors[tensor].name = name.encode()
    return _packed(parsed)


def compact(model: bytes) -> bytes:
    """Return the same graph in fewer bytes."""
    from ai_edge_litert.tools import flatbuffer_utils

    parsed = flatbuffer_utils.read_model_from_bytearray(bytearray(model))
    for tensor in parsed.subgraphs[0].tensors:
        if tensor.quantization is not None:
            tensor.quantization.min = tensor.quantization.max = None  # of calibration, which no interpreter reads
            for field, kind in (("scale", np.float32), ("zeroPoint", np.int64)):
                values = getattr(tensor.quantization, field)
                if values is not None:
                    setattr(tensor.quantization, field, np.array(values, dtype=kind))
    return _packed(parsed)


def integer_inputs(model: bytes, scales: Mapping[str, tuple[float, int]]) -> bytes:
    """Return a graph whose inputs that no operator takes are int8, by name on the (scale, zero point) of `scales`.

    A network of one branch has such an input, and the quantizer leaves it in float: four times the memory for nothing.
    """
    from ai_edge_litert.tools import flatbuffer_utils
    from ai_edge_litert.tools.flatbuffer_utils import schema_fb as schema

    parsed = flatbuffer_utils.read_model_from_bytearray(bytearray(model))
    graph = parsed.subgraphs[0]
    taken = {tensor for operator in graph.operators for tensor in operator.inputs}
    for number in graph.inputs:
        tensor = graph.tensors[number]
        if number in taken:
            continue
        tensor.type = schema.TensorType.INT8
        scale, zero = scales[tensor.name.decode()]
        tensor.quantization = schema.QuantizationParametersT()
        tensor.quantization.scale, tensor.quantization.zeroPoint = (
            np.array([scale], np.float32),
            np.array([zero], np.int64),
        )
    return _packed(parsed)


def operators(model: bytes) -> list[str]:
    """Return the names of a graph's operators, in the order in which they run."""
    from ai_edge_litert.tools import flatbuffer_utils

    parsed = flatbuffer_utils.read_model_from_bytearray(bytearray(model))
    return [str(flatbuffer_utils.opcode_to_name(parsed, one.opcodeIndex)) for one in parsed.subgraphs[0].operators]


def _packed(parsed: Any) -> bytes:
    """Return a graph as the file's bytes."""
    import flatbuffers

    class Builder(flatbuffers.Builder):
        def __init__(self) -> None:
            super().__init__(1024)
            self._written: dict[tuple[str, bytes], int] = {}

        def CreateNumpyVector(self, x: Any) -> int:
            key = (x.dtype.str, x.tobytes())
            if key not in self._written:
                if x.dtype == np.uint8:  # weights, the only vectors of bytes
                    self.Prep(ALIGNMENT, x.nbytes)
                self._written[key] = super().CreateNumpyVector(x)
            return self._written[key]

    for buffer in parsed.buffers:
        if buffer.data is not None:
            buffer.data = np.frombuffer(bytes(buffer.data), dtype=np.uint8)
    builder = Builder()
    builder.Finish(parsed.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def _module(name: str) -> str:
    """Return `time/blocks/0/first` of the converter's `package.module.Class_time/...Class_blocks/...;...`."""
    first = next(piece for piece in name.split(";") if piece)
    return "/".join(re.sub(r"^(\w+\.)+[A-Za-z0-9]+_", "", piece) for piece in first.split("/")[1:]) or "network"
