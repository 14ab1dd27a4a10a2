"""From a trained network to a float ONNX graph: batch norm folded, batch 1, nodes named after their modules."""

import ast
import copy
import logging
import math
import warnings
from pathlib import Path

import onnx
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ecg_edge.firmware_bridge.errors import EcgEdgeError
from ecg_edge.runtime.contract import Contract
from ecg_edge.train.networks.model import FusionNet

OPSET = 18  # the lowest that torch's exporter writes without a conversion; ONNX Runtime reads it since 1.14
INPUTS = ("signal", "spectrogram")
OUTPUT = "logits"
_SCOPES = "pkg.torch.onnx.name_scopes"  # where torch's exporter notes the modules that a node comes from


def fold_batch_norm(network: FusionNet) -> FusionNet:
    """Return a copy in evaluation mode with each batch norm folded into the convolution before it."""
    folded = copy.deepcopy(network).eval()
    for parent in list(folded.modules()):
        for name, child in list(parent.named_children()):
            pair = list(child.children()) if isinstance(child, nn.Sequential) else []
            if len(pair) == 2 and isinstance(pair[0], nn.Conv2d) and isinstance(pair[1], nn.BatchNorm2d):
                setattr(parent, name, fuse_conv_bn_eval(pair[0], pair[1]))
    return folded


def export_float(network: FusionNet, contract: Contract, path: Path) -> None:
    """Write `network` as a float graph of opset OPSET.

    Inputs: `signal` int16 (1, leads, 1, window) and `spectrogram` uint8 (1, leads, bins, frames), as the front end
    gives them; output: `logits` float32 (1, classes). The batch is fixed to 1, which is what an engine asks for.
    Raises EcgEdgeError for another backbone than the edge one, whose inputs no front end gives.
    """
    if network.settings.backbone != "edge":
        raise EcgEdgeError(
            f"the {network.settings.backbone} backbone does not run on devices: export one with the edge backbone"
        )
    leads = len(contract.leads)
    example = (
        torch.zeros((1, leads, 1, contract.window), dtype=torch.int16),
        torch.zeros((1, leads, contract.stft_bins, contract.frames), dtype=torch.uint8),
    )
    export_graph(network, example, path)


def export_graph(network: FusionNet, example: tuple[torch.Tensor, ...], path: Path) -> None:
    """Write any network as a float graph for inputs of the shapes and types of `example`; see `export_float`."""
    folded = fold_batch_norm(network)
    exporter = logging.getLogger("torch.onnx")
    level = exporter.level
    exporter.setLevel(logging.ERROR)  # it tells of an operator library that is not installed and not needed
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                folded,
                example,
                input_names=INPUTS,
                output_names=(OUTPUT,),
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
            )
    finally:
        exporter.setLevel(level)
    assert program is not None  # None is for the exporter's other form, which writes a file itself
    model = program.model_proto
    _name_nodes(model)
    strip(model)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(path))


def _name_nodes(model: onnx.ModelProto) -> None:
    """Name each node `module/operator`, with a number where a module has several of one kind."""
    taken: dict[str, int] = {}
    for node in model.graph.node:
        notes = {item.key: item.value for item in node.metadata_props}
        modules = [scope for scope in ast.literal_eval(notes.get(_SCOPES, "[]"))[:-1] if scope]
        name = f"{modules[-1] if modules else 'network'}/{node.op_type}"
        taken[name] = taken.get(name, 0) + 1
        node.name = name if taken[name] == 1 else f"{name}_{taken[name]}"


def strip(model: onnx.ModelProto) -> None:
    """Remove what no runtime reads: notes on the source code, with its paths, and shapes inside the graph."""
    for item in (*model.graph.node, *model.graph.initializer, *model.graph.input, *model.graph.output):
        del item.metadata_props[:]
        item.doc_string = ""
    del model.metadata_props[:]
    del model.graph.metadata_props[:]
    del model.graph.value_info[:]
    model.graph.name, model.doc_string, model.graph.doc_string = "ecg-edge", "", ""


def multiply_accumulates(path: Path) -> int:
    """Return the multiply-accumulates of one inference: those of its convolutions and matrix products."""
    model = onnx.shape_inference.infer_shapes(onnx.load(str(path)))
    shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in model.graph.value_info}
    shapes |= {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in model.graph.output}
    weights = {w.name: list(w.dims) for w in model.graph.initializer}
    total = 0
    for node in model.graph.node:
        if node.op_type == "Conv":
            # Each output element sums over one filter: every dimension of the weight but the first.
            total += math.prod(shapes[node.output[0]]) * math.prod(weights[node.input[1]][1:])
        elif node.op_type == "Gemm":
            total += math.prod(weights[node.input[1]])
    return total
