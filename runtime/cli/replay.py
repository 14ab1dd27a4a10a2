"""Run a WFDB record, or the built-in `demo`, through the engine; or serve it as a serial device on a pty.

ecg-edge replay demo                          a simulated recording, no data needed
ecg-edge replay path/to/00017_hr --json       a record (its path without suffix), events as JSON
ecg-edge replay demo --as-device              prints a pty for `ecg-edge stream --device`
"""

import argparse
import math
import signal
import sys
from contextlib import suppress
from pathlib import Path

from ecg_edge.firmware_bridge.device import SimulatedDevice
from ecg_edge.firmware_bridge.faults import Faults
from ecg_edge.firmware_bridge.packetize import FRAMES_PER_PACKET
from ecg_edge.firmware_bridge.recording import Recording

from ..sources.replay import ReplaySource
from .common import (
    add_model_arguments,
    add_monitor_arguments,
    add_signal_arguments,
    open_record,
    positive,
    run_monitor,
    whole,
    wrong_use,
)
from .outlets import OUTLETS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("record", help="path of a WFDB record without suffix, or `demo`")
    parser.add_argument(
        "--speed",
        type=_speed,
        metavar="max|N",
        help="times true time (max; with --as-device 1, as a device would send)",
    )
    add_signal_arguments(parser)
    add_monitor_arguments(parser)
    add_model_arguments(parser)
    group = parser.add_argument_group("as a device")
    group.add_argument("--as-device", action="store_true", help="serve the record on a pty instead of monitoring it")
    group.add_argument("--link", type=Path, metavar="PATH", help="make a symbolic link to the pty at PATH")
    group.add_argument(
        "--faults",
        type=wrong_use(Faults.parse),
        metavar="SPEC",
        help="what the cable does, as in drop=0.01,flip=0.001,stall=2@10",
    )
    group.add_argument(
        "--frames-per-packet", type=whole, metavar="N", help=f"frames a packet carries ({FRAMES_PER_PACKET})"
    )


def run(args: argparse.Namespace) -> int:
    """Run the command and return its exit status."""
    for option in ("link", "faults", "frames_per_packet"):
        if getattr(args, option) is not None and not args.as_device:
            print(f"ecg-edge: --{option.replace('_', '-')} goes with --as-device: add it", file=sys.stderr)
            return 2
    for option, name in {**OUTLETS, "policy": "policy", "probabilities": "probabilities"}.items():
        if getattr(args, name) and args.as_device:
            print(f"ecg-edge: --as-device monitors nothing: give --{option} to ecg-edge stream", file=sys.stderr)
            return 2
    recording = open_record(args.record, args.leads)
    if args.as_device:
        return _serve(args, recording)
    source = ReplaySource(recording, _times(args.speed, math.inf), args.mains)
    return run_monitor(args, source, live=False)


def _serve(args: argparse.Namespace, recording: Recording) -> int:
    """Serve until Ctrl-C or SIGTERM; the link is taken away whichever ends it."""
    frames = FRAMES_PER_PACKET if args.frames_per_packet is None else args.frames_per_packet
    speed = _times(args.speed, 1.0)
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with suppress(KeyboardInterrupt), SimulatedDevice(recording, frames, speed, args.faults, args.link) as device:
            path = args.link or device.path
            print(path, flush=True)
            print(
                f"{recording.name}: {recording.seconds:.0f} s, {recording.rate} Hz, leads {' '.join(recording.leads)}\n"
                f"monitor it with: ecg-edge stream --device {path}    (end with Ctrl-C)",
                file=sys.stderr,
            )
            device.wait()
    finally:
        signal.signal(signal.SIGTERM, before)
    return 0


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
