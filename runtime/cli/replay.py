"""Run a WFDB record, or the built-in `demo`, through the engine; or serve records as simulated devices.

ecg-edge replay demo                                    a simulated recording, no data needed
ecg-edge replay path/to/00017_hr --json                 a record (its path without suffix), events as JSON
ecg-edge replay demo --as-device                        prints a pty for `ecg-edge stream --device`
ecg-edge replay demo --as-device --tcp 4000             the same behind a TCP port of this machine
ecg-edge replay demo --as-device --faults drop=0.01,lead_off=V2@20+5,stall=4@40
"""

import argparse
import math
import sys

from ..sources.replay import ReplaySource
from .common import add_model_arguments, add_monitor_arguments, add_signal_arguments, open_record, positive, run_monitor
from .serve import add_device_arguments, device_options, serve


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument(
        "records",
        nargs="+",
        metavar="record",
        help="path of a WFDB record without suffix, `demo`, or heart:RHYTHM/SECONDS,...",
    )
    parser.add_argument(
        "--speed",
        type=_speed,
        metavar="max|N",
        help="times true time (max; with --as-device 1, as a device would send)",
    )
    add_signal_arguments(parser)
    add_monitor_arguments(parser)
    add_model_arguments(parser)
    add_device_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command and return its exit status."""
    if args.as_device:
        return serve(args, _times(args.speed, 1.0))
    if misplaced := device_options(args):
        print(f"ecg-edge: {misplaced[0]} goes with --as-device: add it", file=sys.stderr)
        return 2
    if len(args.records) > 1:
        print("ecg-edge: one record at a time can be replayed; --as-device serves several", file=sys.stderr)
        return 2
    recording = open_record(args.records[0], args.leads)
    return run_monitor(args, ReplaySource(recording, _times(args.speed, math.inf), args.mains), live=False)


def _speed(text: str) -> float:
    """Return the speed in times true time, infinity for `max`."""
    if text == "max":
        return math.inf
    try:
        return positive(text)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(f"{text} is no speed: use max, or a number above 0 (1 is true time)") from None


def _times(speed: float | None, default: float) -> float | None:
    """Return what a source takes: None for no waiting."""
    chosen = default if speed is None else speed
    return None if chosen == math.inf else chosen
