"""See what a cable says: keep the bytes, take them apart, count what is lost, measure the decoder.

ecg-edge wire decode /dev/ttyUSB0 --start     packets one a line, damage where it happens
ecg-edge wire stats /dev/ttyUSB0 --start --seconds 30
ecg-edge wire dump /dev/ttyUSB0 cable.raw     the bytes, and their times of arrival in cable.raw.times
ecg-edge wire stats cable.raw                 the same figures later
ecg-edge wire bench                           how fast this machine decodes

A source is a serial port or pty, socket://host:port, - for standard input, or a capture. A device that speaks
PROTOCOL.md is idle until it is told to start, which --start does; without it nothing is sent.
"""

import argparse
import json
import os
import signal
import stat
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from ecg_edge.firmware_bridge import decoder_bench
from ecg_edge.firmware_bridge.boards.board import Board
from ecg_edge.firmware_bridge.boards.choose import Choice
from ecg_edge.firmware_bridge.capture import Arrival, listen, read_capture, times_path, write_capture
from ecg_edge.firmware_bridge.dissection import Found, dissect
from ecg_edge.firmware_bridge.link_stats import LinkStats
from ecg_edge.firmware_bridge.protocol import Identify, Samples, Start, Stop
from ecg_edge.firmware_bridge.transport import LinkLost, Transport, open_transport

from ..sources.device import STDIN
from .common import add_board_argument, positive, whole
from .wire_text import HEADING, WireText, bench_text, stats_text

COMMAND_EVERY_S = 1.0  # START is sent again until samples come: it can be lost as anything can


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the actions and their options."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="dump|decode|stats|bench")
    dump = actions.add_parser("dump", help="keep the bytes in a file, their times beside it", allow_abbrev=False)
    decode = actions.add_parser("decode", help="packets and damage, one a line", allow_abbrev=False)
    stats = actions.add_parser("stats", help="speed, losses, jitter and clock in figures", allow_abbrev=False)
    bench = actions.add_parser("bench", help="measure the decoder on this machine", allow_abbrev=False)
    for action in (dump, decode, stats):
        action.add_argument("source", help="serial port or pty, socket://host:port, - for stdin, or a capture")
        action.add_argument("--start", action="store_true", help="tell the device to start, and to stop at the end")
        add_board_argument(action, "what sends, if it does not speak PROTOCOL.md")
        action.add_argument("--baud", type=whole, metavar="N", help="speed of a serial port (the board's)")
    dump.add_argument("file", type=Path, help="where the bytes go; FILE.times gets when they came")
    for action in (dump, decode, stats):
        action.add_argument("--seconds", type=positive, metavar="S", help="stop after so long; else at Ctrl-C")
    bench.add_argument("--seconds", type=positive, default=2.0, metavar="S", help="for each figure (%(default)g)")
    for action in (dump, decode, stats, bench):
        action.add_argument("--json", action="store_true", help="JSON: an object a packet, or one for all")


def run(args: argparse.Namespace) -> int:
    """Run the action."""
    if args.action == "bench":
        return _bench(args)
    actions = {"dump": _dump, "decode": _decode, "stats": _stats}
    with _stopped_by_signals() as stop, closing(_Source(args, stop)) as source:
        return actions[args.action](args, source)


class _Source:
    """The bytes of a port, a socket, standard input or a capture, and the conversation that they may need."""

    def __init__(self, args: argparse.Namespace, stop: threading.Event) -> None:
        self._path, self._stop, self._seconds = args.source, stop, args.seconds
        choice = args.board or Choice("native")
        self.board: Board = choice.board()
        self.baud: int | None = args.baud
        self._transport: Transport | None = None
        self._talks: bool = args.start
        self._watch: Board | None = choice.board() if args.start else None  # looks for samples until they come
        self._asked = float("-inf")
        if self._path == STDIN or not Path(self._path).is_file():
            self._transport = open_transport(self._path, args.baud or self.board.baud)
            if self._path != STDIN and "://" not in self._path:
                self.baud = args.baud or self.board.baud

    def close(self) -> None:
        """Give the link back, the device idle if this started it."""
        if self._transport is not None:
            if self._talks:
                self._say(Stop())
            self._transport.close()

    def arrivals(self) -> Iterator[Arrival]:
        """Yield what comes; a lost link ends it, with a line on standard error."""
        if self._transport is None:
            yield from read_capture(Path(self._path))
            return
        in_file = self._path == STDIN and stat.S_ISREG(os.fstat(sys.stdin.fileno()).st_mode)
        try:
            for arrival in listen(self._transport, self._stop, self._seconds):
                self._ask_to_start(arrival)
                yield arrival._replace(at=None) if in_file else arrival
        except LinkLost as error:
            print(f"ecg-edge: {error}", file=sys.stderr)

    def found(self) -> Iterator[Found]:
        """Yield what is found in it."""
        return dissect(self.arrivals(), self.board)

    def _ask_to_start(self, arrival: Arrival) -> None:
        if self._watch is None:
            return
        if any(isinstance(packet.message, Samples) for packet in self._watch.feed(arrival.data)):
            self._watch = None
        elif arrival.at is not None and arrival.at - self._asked > COMMAND_EVERY_S:
            self._asked = arrival.at
            self._say(Identify())
            self._say(Start())

    def _say(self, command: Identify | Start | Stop) -> None:
        assert self._transport is not None
        with suppress(LinkLost):  # which shows when it is read
            self._transport.write(self.board.command(command))


def _dump(args: argparse.Namespace, source: _Source) -> int:
    begun = time.monotonic()
    size = write_capture(args.file, source.arrivals())
    seconds = time.monotonic() - begun
    if args.json:
        print(json.dumps({"file": str(args.file), "bytes": size, "seconds": round(seconds, 3)}))
    else:
        print(f"{size} bytes in {seconds:.1f} s: {args.file}, times of arrival in {times_path(args.file)}")
    return _nothing(args) if not size else 0


def _decode(args: argparse.Namespace, source: _Source) -> int:
    text, some, good = WireText(), False, False
    if not args.json:
        print(HEADING, flush=True)
    for found in source.found():
        some, good = True, good or found.packet is not None
        print(json.dumps(text.json(found)) if args.json else text.line(found), flush=True)
    if some and not good:
        _nothing_good(source)
    return 0 if some else _nothing(args)


def _stats(args: argparse.Namespace, source: _Source) -> int:
    stats = LinkStats(source.board, source.baud)
    for found in source.found():
        stats.add(found)
    report = stats.report()
    if not report["bytes"]:
        return _nothing(args)
    print(json.dumps(report) if args.json else stats_text(report))
    if not report["packets"]:
        _nothing_good(source)
    return 0


def _nothing_good(source: _Source) -> None:
    board = source.board
    print(f"ecg-edge: no {board.sends} among these bytes: check --baud, --board and {board.mend}", file=sys.stderr)


def _nothing(args: argparse.Namespace) -> int:
    hint = "it is not the device's port, or nothing drives it" if args.start else "--start tells a device to send"
    print(f"ecg-edge: {args.source} gave nothing to show: {hint}", file=sys.stderr)
    return 1


def _bench(args: argparse.Namespace) -> int:
    report = decoder_bench.measure(args.seconds)
    print(json.dumps(report) if args.json else bench_text(report))
    return 0


@contextmanager
def _stopped_by_signals() -> Iterator[threading.Event]:
    """Yield an event that SIGINT and SIGTERM set; a second one of the same kind ends the process at once."""
    stop = threading.Event()

    def handle(number: int, _frame: object) -> None:
        stop.set()
        signal.signal(number, signal.SIG_DFL)

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
