"""Where the events and the signal of a monitor go, by the options of `stream` and `replay`."""

import argparse
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..classes import ClassInfo
from ..metrics import Metrics
from ..recorder.recorder import Recorder, RecordSettings
from ..sinks import Sink
from ..sinks.console import Console
from ..sinks.jsonl import JsonLines, JsonLinesFile
from ..sinks.queued import QueuedSink
from .options import address, positive

OUTLETS = {"json": "json", "log": "log", "sinks": "sinks", "metrics": "metrics", "record": "record_folder"}
"""Options that ask for an outlet, and the names of their values: `record` is what `replay` calls its argument."""


@dataclass(frozen=True)
class Outlets:
    """What a monitor is given."""

    sinks: list[Sink]
    """Where events go."""
    recorder: Recorder | None
    """Where signal and events go, None where nothing is recorded."""
    metrics: Metrics | None
    """What is served, None where nothing is."""


def add_outlet_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    group = parser.add_argument_group("where events and signal go")
    group.add_argument("--log", type=Path, metavar="FILE", help="also append events to FILE as lines of JSON")
    group.add_argument(
        "--sinks", type=Path, metavar="FILE", help="files, MQTT, webhooks and commands that get events: docs/sinks.md"
    )
    group.add_argument(
        "--metrics", type=address, metavar="[HOST:]PORT", help="serve Prometheus metrics (HOST is 127.0.0.1)"
    )
    group.add_argument(
        "--record",
        dest="record_folder",
        type=Path,
        metavar="DIR",
        help="record signal and events in DIR, as WFDB records",
    )
    group.add_argument(
        "--record-max-mb",
        type=positive,
        default=RecordSettings.total_bytes / 1e6,
        metavar="MB",
        help="megabytes of all records in DIR, for which the oldest are removed (%(default)g)",
    )
    group.add_argument(
        "--record-hours",
        type=positive,
        default=RecordSettings.hours,
        metavar="H",
        help="hours after which a new record begins (%(default)g)",
    )


@contextmanager
def open_outlets(args: argparse.Namespace, classes: tuple[ClassInfo, ...], *, live: bool) -> Iterator[Outlets]:
    """Open what the options name, and close it in the end; raises EcgEdgeError.

    A record waits for whoever reads standard output or the log. A live stream does not: it queues for those too.
    """
    own: dict[str, Sink] = {"stdout": JsonLines(sys.stdout) if args.json else Console(sys.stdout, classes)}
    with ExitStack() as stack:
        if args.log is not None:
            own["log"] = JsonLinesFile(args.log)
        sinks = [QueuedSink(name, sink, vital=True) if live else sink for name, sink in own.items()]
        for sink in sinks:
            stack.callback(sink.close)
        if args.sinks is not None:
            from ..sinks.config import open_sinks  # only now: what it needs of the standard library takes time to load

            for more in open_sinks(args.sinks):
                stack.callback(more.close)
                sinks.append(more)
        recorder = None
        if args.record_folder is not None:
            settings = RecordSettings(round(args.record_max_mb * 1e6), args.record_hours)
            recorder = Recorder(args.record_folder, settings, live=live)
            stack.callback(recorder.close)
        metrics = None
        if args.metrics is not None:
            from ..metrics_server import MetricsServer

            metrics = Metrics()
            host, port = args.metrics
            stack.callback(MetricsServer(host, port, metrics).close)
        yield Outlets(sinks, recorder, metrics)
