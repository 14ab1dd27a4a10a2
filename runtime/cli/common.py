"""What several sub-commands share: the options of a model, and of leads."""

import argparse

from ecg_edge.firmware_bridge.heart import demo
from ecg_edge.firmware_bridge.leads import canonical_all
from ecg_edge.firmware_bridge.recording import Recording

from .. import backends
from ..bundle import Bundle, load
from ..sources.records import read_recording

DEFAULT_BUNDLE = "arrhythmia"
DEMO = "demo"


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of every command that runs a model."""
    group = parser.add_argument_group("model")
    group.add_argument(
        "--bundle", default=DEFAULT_BUNDLE, metavar="NAME|PATH", help="shipped bundle or folder (%(default)s)"
    )
    group.add_argument("--backend", default="auto", choices=backends.CHOICES, help="inference runtime (%(default)s)")
    group.add_argument("--threads", type=int, default=1, help="inference threads (%(default)s)")


def open_model(args: argparse.Namespace) -> tuple[Bundle, backends.Backend]:
    """Return the bundle and the backend that the options name; raises EcgEdgeError."""
    bundle = load(args.bundle)
    return bundle, backends.open_backend(bundle, args.backend, args.threads)


def add_signal_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that say how to read a signal."""
    group = parser.add_argument_group("signal")
    group.add_argument(
        "--leads", metavar="I,II,...", help="names of the channels, in order; '-' leaves a channel out"
    )
    group.add_argument("--mains", type=int, choices=(50, 60), help="null the grid's frequency (Hz)")


def lead_names(text: str | None) -> tuple[str, ...] | None:
    """Return the names in a `--leads` option; each a lead or `-`. Raises UnknownLeadError."""
    if text is None:
        return None
    names = tuple(name.strip() for name in text.split(","))
    canonical_all([name for name in names if name != "-"])
    return names


def open_record(record: str, leads: tuple[str, ...] | None = None) -> Recording:
    """Return the recording of a WFDB record path, or the built-in simulated one for `demo`."""
    return demo() if record == DEMO else read_recording(record, leads=leads)
