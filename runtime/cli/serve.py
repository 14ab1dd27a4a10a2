"""`replay --as-device`: records served as boards, each on a pty, a TCP port or standard output, with faults."""

import argparse
import json
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path

from ecg_edge.firmware_bridge.boards.choose import Choice
from ecg_edge.firmware_bridge.boards.voice import Voice
from ecg_edge.firmware_bridge.device import SimulatedDevice, device_model, play
from ecg_edge.firmware_bridge.device_lines import LOCALHOST
from ecg_edge.firmware_bridge.errors import EcgEdgeError
from ecg_edge.firmware_bridge.fault_script import read_script
from ecg_edge.firmware_bridge.faults import FaultCounts, Faults
from ecg_edge.firmware_bridge.packetize import FRAMES_PER_PACKET
from ecg_edge.firmware_bridge.recording import Recording
from ecg_edge.firmware_bridge.signal_faults import disturb

from ..sources.records import read_recording
from .common import add_board_argument, open_record, whole, wrong_use
from .outlets import OUTLETS

_OPTIONS = ("link", "tcp", "stdout", "faults", "fault_script", "noise_record", "board", "frames_per_packet")


def add_device_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of a simulated device."""
    group = parser.add_argument_group("as a device (docs/simulator.md)")
    group.add_argument("--as-device", action="store_true", help="serve the records as boards instead of monitoring one")
    group.add_argument("--link", type=Path, metavar="PATH", help="make a symbolic link to the pty at PATH")
    group.add_argument(
        "--tcp",
        type=wrong_use(_address),
        metavar="[HOST:]PORT",
        help=f"serve on a TCP port instead of a pty; of {LOCALHOST} unless a host is named",
    )
    group.add_argument("--stdout", action="store_true", help="write one run to standard output instead")
    group.add_argument(
        "--faults",
        type=wrong_use(Faults.parse),
        metavar="SPEC",
        help="what goes wrong, as in drop=0.01,stall=2@10,lead_off=V2@20+5",
    )
    group.add_argument("--fault-script", type=Path, metavar="FILE", help="the same from a TOML file")
    group.add_argument("--noise-record", metavar="RECORD", help="take `motion` from this WFDB record, as nstdb/em")
    add_board_argument(group, "play another board")
    group.add_argument(
        "--frames-per-packet", type=whole, metavar="N", help=f"frames a packet carries ({FRAMES_PER_PACKET})"
    )


def device_options(args: argparse.Namespace) -> list[str]:
    """Return those options of a device that were given."""
    given = [name for name in _OPTIONS if getattr(args, name) not in (None, False)]
    return [f"--{name.replace('_', '-')}" for name in given]


def serve(args: argparse.Namespace, speed: float | None) -> int:
    """Serve the records until Ctrl-C or SIGTERM, then say what was done to them; return the exit status."""
    if wrong := _wrong(args):
        print(f"ecg-edge: {wrong}", file=sys.stderr)
        return 2
    faults: Faults = args.faults or Faults()
    if args.fault_script is not None:
        faults = read_script(args.fault_script)
    recordings = [open_record(record, args.leads) for record in args.records]
    if faults.of_signal:
        noise = _noise(args.noise_record)
        recordings = [disturb(r, faults.of_signal, faults.seed + k, noise) for k, r in enumerate(recordings)]
    choice = args.board or Choice("native")
    recordings = [choice.digitized(recording) for recording in recordings]
    frames = args.frames_per_packet or FRAMES_PER_PACKET
    stop = threading.Event()
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        if args.stdout:
            counts = [_play(recordings[0], frames, speed, faults, choice.voice(), stop)]
        else:
            counts = _serve(args, choice, recordings, frames, speed, faults, stop)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    _account(args, recordings, counts)
    return 0


def _wrong(args: argparse.Namespace) -> str | None:
    """Return what is wrong with the options, if anything is."""
    outlets = {option: name for option, name in OUTLETS.items() if option != "json"}  # serving has a JSON of its own
    others = {name: name for name in ("policy", "probabilities", "control")}
    for option, name in {**outlets, **others}.items():
        if getattr(args, name):
            return f"--as-device monitors nothing: give --{option} to ecg-edge stream"
    if args.faults is not None and args.fault_script is not None:
        return "--faults and --fault-script are two ways to say one thing: give one"
    if sum((args.link is not None, args.tcp is not None, args.stdout)) > 1:
        return "--link, --tcp and --stdout are three ways out: give one"
    if args.stdout and len(args.records) > 1:
        return "standard output carries one device: name one record"
    if args.stdout and args.json:
        return "standard output carries the device's bytes: leave out --json"
    return None


def _serve(
    args: argparse.Namespace,
    choice: Choice,
    recordings: Sequence[Recording],
    frames: int,
    speed: float | None,
    faults: Faults,
    stop: threading.Event,
) -> list[FaultCounts]:
    with ExitStack() as stack:
        devices = []
        for k, recording in enumerate(recordings):
            link: Path | None = args.link
            if link is not None and len(recordings) > 1:
                link = link.with_name(f"{link.name}{k}")
            tcp = None if args.tcp is None else (args.tcp[0], args.tcp[1] + k if args.tcp[1] else 0)
            of_this = replace(faults, seed=faults.seed + k)
            device = SimulatedDevice(recording, frames, speed, of_this, link, tcp, choice.voice())
            devices.append(stack.enter_context(device))
            path = link or devices[-1].path
            print(path, flush=True)
            leads = " ".join(recording.leads)
            known = choice.name in ("native", "csv")  # which name their leads
            board = "" if choice.name == "native" else f" --board {choice.text}"
            board += "" if known else f" --leads {','.join(recording.leads)}"
            print(
                f"{recording.name}: {recording.seconds:.0f} s, {recording.rate} Hz, leads {leads}\n"
                f"monitor it with: ecg-edge stream --device {path}{board}    (end with Ctrl-C)",
                file=sys.stderr,
            )
        while not stop.wait(0.2):  # a wait without end would not see the signal
            pass
    return [device.fault_counts for device in devices]


def _play(
    recording: Recording, frames: int, speed: float | None, faults: Faults, voice: Voice, stop: threading.Event
) -> FaultCounts:
    if sys.stdout.isatty():
        raise EcgEdgeError("standard output is a terminal: pipe it into ecg-edge stream --device -, or into a file")
    if faults.unplugs:
        raise EcgEdgeError("standard output cannot be unplugged and come back: use --tcp or --link")
    model = device_model(recording, frames, speed, faults, voice)
    out = sys.stdout.buffer

    def write(data: bytes) -> None:
        out.write(data)
        out.flush()

    play(model, write, stop)
    return model.fault_counts


def _account(args: argparse.Namespace, recordings: Sequence[Recording], counts: Sequence[FaultCounts]) -> None:
    """Say what each device sent and what was done to it, by which the host's counters can be held."""
    for recording, done in zip(recordings, counts, strict=True):
        if args.json:
            print(json.dumps({"record": recording.name, **asdict(done)}), flush=True)
            continue
        harm = {k: n for k, n in asdict(done).items() if n and k not in ("packets", "frames")}
        text = ", ".join(f"{name} {n}" for name, n in harm.items()) or "nothing done to them"
        print(f"{recording.name}: {done.packets} packets, {done.frames} frames sent; {text}", file=sys.stderr)


def _noise(record: str | None) -> Recording | None:
    """Return a record of noise; its channels have no leads' names, and get some."""
    return None if record is None else read_recording(record, leads=("II", "V1"))


def _address(text: str) -> tuple[str, int]:
    """Return host and port of `[HOST:]PORT`; raises EcgEdgeError."""
    host, colon, port = text.rpartition(":")
    if not port.isdecimal() or int(port) > 0xFFFF or (colon and not host):
        raise EcgEdgeError(f"{text} is no address: write PORT or HOST:PORT, as in 4000 or 0.0.0.0:4000")
    return (host.strip("[]") or LOCALHOST), int(port)
