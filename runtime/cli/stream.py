"""Monitor a live device until it ends or Ctrl-C.

ecg-edge stream --device /dev/ttyUSB0         a board that speaks firmware_bridge/PROTOCOL.md
ecg-edge stream --device serial:0403:6001     the same by its USB id, whatever its port is called (docs/service.md)
ecg-edge stream --device socket://host:4000   the same behind a TCP port
ecg-edge stream --device sim:demo             a simulated device, played at true time
ecg-edge stream --device -                    its bytes from standard input
ecg-edge stream --device /dev/ttyUSB0 --board cyton --leads I,II,V1        a board of another make
"""

import argparse
import os
import stat
import sys

from ecg_edge.firmware_bridge.device import SimulatedDevice
from ecg_edge.firmware_bridge.transport import DEFAULT_BAUD

from ..sources.device import STDIN, DeviceSource
from .common import (
    add_board_argument,
    add_model_arguments,
    add_monitor_arguments,
    add_signal_arguments,
    open_record,
    positive,
    run_monitor,
    whole,
)

SIMULATED = "sim:"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument(
        "--device",
        required=True,
        metavar="URL",
        help="serial port or pty, serial:VID:PID[:SERIAL], socket://host:port, sim:RECORD, or -",
    )
    parser.add_argument("--baud", type=whole, metavar="N", help=f"speed of a serial port (the board's; {DEFAULT_BAUD})")
    add_board_argument(parser, "what is at the other end, if it does not speak PROTOCOL.md")
    parser.add_argument("--seconds", type=positive, metavar="S", help="stop after so much signal")
    parser.add_argument(
        "--reconnect-seconds",
        type=positive,
        default=3600.0,
        metavar="S",
        help="try a lost link again for so long before giving up (%(default)g)",
    )
    add_signal_arguments(parser)
    add_monitor_arguments(parser)
    add_model_arguments(parser)
    parser.add_argument(
        "--one-branch",
        default="auto",
        metavar="NAME|PATH",
        help="bundle of the signal alone that judges when the machine is too slow for the other; none: do without "
        "(%(default)s: the shipped one that belongs to a shipped bundle)",
    )


def run(args: argparse.Namespace) -> int:
    """Run the command and return its exit status."""
    if not args.device.startswith(SIMULATED):
        return _stream(args, args.device)
    if args.board is not None:
        print("ecg-edge: sim: speaks PROTOCOL.md: leave out --board, or serve the record with replay", file=sys.stderr)
        return 2
    recording = open_record(args.device.removeprefix(SIMULATED), args.leads)
    args.leads = None  # the simulated device already calls its channels by them
    with SimulatedDevice(recording) as device:
        return _stream(args, device.path)


def _stream(args: argparse.Namespace, url: str) -> int:
    board = None if args.board is None else args.board.board()
    source = DeviceSource(url, args.baud, args.leads, args.mains, args.reconnect_seconds, board)
    if not args.json and sys.stderr.isatty():  # for a person, before whom nothing would move for a window's length
        print(
            f"listening to {args.device}: a window has to fill before the first answer (end with Ctrl-C)",
            file=sys.stderr,
        )
    return run_monitor(args, source, live=not _from_file(url), seconds=args.seconds)


def _from_file(url: str) -> bool:
    """Return whether the stream is a capture in a file, which waits for nobody and has no latency to keep."""
    return url == STDIN and stat.S_ISREG(os.fstat(sys.stdin.fileno()).st_mode)
