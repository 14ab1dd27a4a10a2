"""`ecg-edge c-array`: write the INT8 TFLite model of a bundle as C, for TensorFlow Lite Micro on a microcontroller.

Three files: the model with its sizes, classes and thresholds as C (ecg_model.c, ecg_model.h), and the list of the
operators that it needs as C++ (ecg_model_operators.h). Before they are written, the model answers the bundle's
self-test in TensorFlow Lite Micro's own interpreter, which also measures the arena. docs/microcontroller.md tells
what to do with them.
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from ecg_edge.runtime.bundle import load

from ..c_array import write_c_array


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's options."""
    parser.add_argument("bundle", metavar="NAME|PATH", help="shipped bundle or folder")
    parser.add_argument("out", type=Path, metavar="DIR", help="folder for the three files")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Write the files and say what they take. Raises EcgEdgeError where the model does not run on one."""
    written = write_c_array(load(args.bundle), args.out)
    if args.json:
        print(json.dumps(asdict(written)))
        return 0
    print(
        f"{args.out}: {written.model_bytes} bytes of flash, {written.arena_bytes} bytes of arena; "
        f"{len(written.operators)} operators: {', '.join(written.operators)}; "
        f"self-test in TensorFlow Lite Micro within {written.largest_difference:.2g} of LiteRT's logits"
    )
    return 0
