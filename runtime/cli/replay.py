"""Run a WFDB record, or the built-in `demo`, through the engine; or serve it as a serial device on a pty.

ecg-edge replay demo                          a simulated recording, no data needed
ecg-edge replay path/to/00017_hr --json       a record (its path without suffix), events as JSON
ecg-edge replay demo --as-device              prints a pty for `ecg-edge stream --device`
"""

import argparse
import sys
from pathlib import Path

from ecg_edge.firmware_bridge.device import SimulatedDevice
from ecg_edge.firmware_bridge.errors import EcgEdgeError
from ecg_edge.firmware_bridge.faults import Faults
from ecg_edge.firmware_bridge.packetize import FRAMES_PER_PACKET
from ecg_edge.firmware_bridge.recording import Recording

from ..sources.replay import ReplaySource
from .common import (
    add_model_arguments,
    add_monitor_arguments,
    add_signal_arguments,
    lead_names,
    open_record,
    run_monitor,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("record", help="path of a WFDB record without suffix, or `demo`")
    parser.add_argument(
        "--speed", metavar="max|N", help="times true time (max; with --as-device 1, as a device would send)"
    )
    add_signal_arguments(parser)
    add_monitor_arguments(parser)
    add_model_arguments(parser)
    group = parser.add_argument_group("as a device")
    group.add_argument("--as-device", action="store_true", help="serve the record on a pty instead of monitoring it")
    group.add_argument("--link", type=Path, metavar="PATH", help="make a symbolic link to the pty at PATH")
    group.add_argument("--faults", metavar="SPEC", help="what the cable does, as in drop=0.01,flip=0.001,stall=2@10")
    group.add_argument(
        "--frames-per-packet", type=int, metavar="N", help=f"frames a packet carries ({FRAMES_PER_PACKET})"
    )


def run(args: argparse.Namespace) -> int:
    """Run the command and return its exit status."""
    recording = open_record(args.record, lead_names(args.leads))
    if args.as_device:
        return _serve(args, recording)
    for option in ("link", "faults", "frames_per_packet"):
        if getattr(args, option) is not None:
            print(f"ecg-edge: --{option.replace('_', '-')} goes with --as-device", file=sys.stderr)
            return 2
    return run_monitor(args, ReplaySource(recording, _speed(args.speed, None), args.mains), live=False)


def _serve(args: argparse.Namespace, recording: Recording) -> int:
    faults = Faults.parse(args.faults) if args.faults else None
    frames = FRAMES_PER_PACKET if args.frames_per_packet is None else args.frames_per_packet
    with SimulatedDevice(recording, frames, _speed(args.speed, 1.0), faults, args.link) as device:
        path = args.link or device.path
        print(path, flush=True)
        print(
            f"{recording.name}: {recording.seconds:.0f} s, {recording.rate} Hz, leads {' '.join(recording.leads)}\n"
            f"monitor it with: ecg-edge stream --device {path}    (end with Ctrl-C)",
            file=sys.stderr,
        )
        device.wait()
    return 0


def _speed(text: str | None, default: float | None) -> float | None:
    """Return the speed in times true time, None for `max`."""
    if text is None:
        return default
    if text == "max":
        return None
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0 < speed < float("inf"):
        raise EcgEdgeError(f"--speed {text} is no speed: use max, or a number above 0 (1 is true time)")
    return speed
