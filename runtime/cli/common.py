"""What several sub-commands share: the options of a model, of a signal and of a monitor."""

import argparse
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from ecg_edge.firmware_bridge.boards.choose import BOARDS, Choice
from ecg_edge.firmware_bridge.heart import demo, described
from ecg_edge.firmware_bridge.leads import canonical_all
from ecg_edge.firmware_bridge.recording import Recording

from .. import backends
from ..bundle import Bundle, load
from ..control import Control
from ..engine import Engine
from ..one_branch import open_one_branch
from ..policy import load_policy
from ..service import DEFAULT_BUDGET_MS, Monitor, Source, stopped_by_signals
from ..sources.items import renamed
from ..sources.records import read_recording
from ..systemd import Notifier
from .options import positive, whole, wrong_use
from .outlets import add_outlet_arguments, open_outlets

DEFAULT_BUNDLE = "arrhythmia"
DEMO = "demo"
BACKEND_HELP = (
    "what runs the model (%(default)s: for a record onnx where the bundle has it, so that it gives the same events "
    "everywhere; live and in bench the faster one here)"
)


def add_board_argument(parser: argparse.ArgumentParser | argparse._ArgumentGroup, help: str) -> None:
    """Add the option that says which board is, or is played, at the other end."""
    parser.add_argument(
        "--board",
        type=wrong_use(Choice.parse),
        metavar="NAME[:KEY=VALUE,...]",
        help=f"{help}: {', '.join(BOARDS)} (docs/boards.md)",
    )


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of every command that runs a model."""
    group = parser.add_argument_group("model")
    group.add_argument(
        "--bundle", default=DEFAULT_BUNDLE, metavar="NAME|PATH", help="shipped bundle or folder (%(default)s)"
    )
    group.add_argument("--backend", default="auto", choices=backends.CHOICES, help=BACKEND_HELP)
    group.add_argument("--threads", type=whole, default=1, metavar="N", help="inference threads (%(default)s)")


def open_model(args: argparse.Namespace, *, live: bool = False) -> tuple[Bundle, backends.Backend]:
    """Return the bundle and the backend that the options name; raises EcgEdgeError.

    live: whether `--backend auto` may go by a timing, which the events of a record must not depend on.
    """
    bundle = load(args.bundle)
    return bundle, backends.open_backend(bundle, args.backend, args.threads, timed=live)


def add_signal_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that say how to read a signal."""
    group = parser.add_argument_group("signal")
    group.add_argument(
        "--leads",
        type=wrong_use(lead_names),
        metavar="I,II,...",
        help="names of the channels, in order; '-' leaves one out (--leads=-,II where it is the first)",
    )
    group.add_argument("--mains", type=int, choices=(50, 60), help="null the grid's frequency (Hz)")


def lead_names(text: str) -> tuple[str, ...]:
    """Return the names in a `--leads` option; each a lead or `-`. Raises UnknownLeadError."""
    names = tuple(name.strip() for name in text.split(","))
    canonical_all([name for name in names if name != "-"])
    return names


def open_record(record: str, leads: tuple[str, ...] | None = None) -> Recording:
    """Return the recording of a WFDB record path, of `demo`, or of a simulated `heart:RHYTHM/SECONDS`."""
    recording = demo() if record == DEMO else described(record)
    if recording is None:
        return read_recording(record, leads=leads)
    columns, names = renamed(recording.leads, leads)
    invalid = None if recording.invalid is None else recording.invalid[:, columns]
    return replace(recording, leads=names, counts=recording.counts[:, columns], invalid=invalid)


def add_monitor_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the commands that monitor a stream."""
    group = parser.add_argument_group("events")
    group.add_argument("--json", action="store_true", help="write events as lines of JSON instead of text")
    group.add_argument("--probabilities", action="store_true", help="a status with all probabilities every window")
    group.add_argument(
        "--rules",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="run the rhythm rules beside the model: beats, heart rate, alerts within seconds (on)",
    )
    group.add_argument("--control", type=Path, metavar="PATH", help="listen on this Unix socket for `ecg-edge silence`")
    group.add_argument("--policy", type=Path, metavar="FILE", help="alert policy that overlays the built-in one (TOML)")
    group.add_argument(
        "--budget-ms",
        type=positive,
        metavar="MS",
        default=DEFAULT_BUDGET_MS,
        help="latency budget of a window; windows over it are counted, and a live monitor says when it keeps missing "
        "it, and does less as far as that helps (%(default)g)",
    )
    add_outlet_arguments(parser)


def run_monitor(args: argparse.Namespace, source: Source, *, live: bool, seconds: float | None = None) -> int:
    """Monitor a source as the options say, until it ends or a signal comes; return the exit status."""
    bundle, backend = open_model(args, live=live)
    light = open_one_branch(args.one_branch, bundle, backend.name, args.threads) if live else None
    classes = bundle.manifest.classes
    policy = load_policy(args.policy, labels=[c.abbreviation for c in classes])
    with open_outlets(args, classes, live=live) as outlets, ExitStack() as stack:
        control = None
        if args.control is not None:
            control = Control(args.control)
            stack.callback(control.close)
        monitor = Monitor(
            source,
            lambda stream: Engine(
                bundle, backend, policy, stream, every_probability=args.probabilities, rules=args.rules, light=light
            ),
            outlets.sinks,
            budget_ms=args.budget_ms,
            live=live,
            seconds=seconds,
            recorder=outlets.recorder,
            metrics=outlets.metrics,
            notifier=Notifier() if live else None,
            control=control,
        )
        with stopped_by_signals(monitor):
            monitor.run()
    return 0
