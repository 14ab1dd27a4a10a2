"""`ecg-edge c-array`: write the INT8 TFLite model of a bundle as C, for TensorFlow Lite Micro on a microcontroller.

Three files: the model with its sizes, classes and thresholds as C (ecg_model.c, ecg_model.h), and the list of the
operators that it needs as C++ (ecg_model_operators.h). Before they are written, the model answers the bundle's
self-test in TensorFlow Lite Micro's own interpreter, which also measures the arena. With --check it also judges the
windows of records there and in LiteRT, and nothing is written where a decision is another one than that of LiteRT's
reference kernels. docs/microcontroller.md tells what to do with the files.
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from ecg_edge.runtime.bundle import load
from ecg_edge.runtime.cli.common import lead_names, open_record
from ecg_edge.runtime.cli.options import wrong_use

from ..c_array import write_c_array
from ..micro_check import KernelCheck


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's options."""
    parser.add_argument("bundle", metavar="NAME|PATH", help="shipped bundle or folder")
    parser.add_argument("out", type=Path, metavar="DIR", help="folder for the three files")
    parser.add_argument(
        "--check",
        nargs="+",
        default=[],
        metavar="RECORD",
        help="WFDB records, `demo` or heart:RHYTHM/SECONDS, on whose windows the decisions are held against LiteRT's",
    )
    parser.add_argument(
        "--leads",
        type=wrong_use(lead_names),
        metavar="II,V1,...",
        help="names of their channels, in order; '-' leaves one out",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Write the files and say what they take. Raises EcgEdgeError where the model does not run on one."""
    recordings = [open_record(record, args.leads) for record in args.check]
    written = write_c_array(load(args.bundle), args.out, recordings)
    if args.json:
        print(json.dumps(asdict(written)))
        return 0
    print(
        f"{args.out}: {written.model_bytes} bytes of flash, {written.arena_bytes} bytes of arena; "
        f"{len(written.operators)} operators: {', '.join(written.operators)}; "
        f"self-test in TensorFlow Lite Micro within {written.largest_difference:.2g} of LiteRT's logits"
    )
    for check in written.checks:
        print(_told(check))
    return 0


def _told(check: KernelCheck) -> str:
    kernels = "LiteRT's reference kernels" if check.kernels == "reference" else "the kernels that LiteRT runs here"
    if check.same_windows == check.windows:
        return f"{check.windows} windows: every logit is that of {kernels}, to the bit"
    far = f", each within {check.farthest:.2g} of its threshold" if check.differ else ""
    return (
        f"{check.windows} windows: {check.differ} of {check.decisions} decisions differ from {kernels}{far}; "
        f"logits within {check.largest_difference:.2g}"
    )
