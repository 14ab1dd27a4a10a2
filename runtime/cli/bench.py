"""Measure latency, memory and overhead on this machine.

A simulated 12-lead stream (8 channels, 500 Hz) runs through the whole engine on one thread, from integer counts to
lines of JSON, in chunks of --chunk-ms; each second of it is a hop with one window of ten seconds. Bare calls of the
model take turns with the hops; the overhead is the ratio of their medians. Memory and cold start come from fresh
processes. Without --backend every backend of the bundle is measured.
"""

import argparse
import json
from typing import Any

from ..benchmark import Settings
from ..benchmark import run as measure
from ..bundle import load
from . import common


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    common.add_model_arguments(parser)
    group = parser.add_argument_group("measuring")
    default = Settings()
    group.add_argument("--seconds", type=_positive, default=default.seconds, help="hops measured (%(default)s)")
    group.add_argument(
        "--chunk-ms", type=_chunk, default=default.chunk_ms, help="length of the chunks fed, 1 to 1000 (%(default)s)"
    )
    group.add_argument("--rules", action="store_true", help="with the rhythm rules beside the model")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Measure and print."""
    settings = Settings(seconds=args.seconds, chunk_ms=args.chunk_ms, threads=args.threads, rules=args.rules)
    report = measure(load(args.bundle), args.backend, settings)
    print(json.dumps(report) if args.json else _table(report))
    return 0


def _table(report: dict[str, Any]) -> str:
    r, machine = report, report["machine"]
    lines = [
        f"{r['bundle']} on {r['backend']}, {r['threads']} thread: {r['windows']} windows of {r['channels']} channels "
        f"at {r['rate']} Hz, fed {r['chunk_samples']} frames at a time",
        "",
        f"{'ms':<24}{'p50':>9}{'p95':>9}{'p99':>9}{'max':>9}",
    ]
    for name, figures in r["backends"].items():
        for what, key in (("hop", "hop_ms"), ("inference", "inference_ms")):
            title = f"{what} ({name})"
            lines.append(f"{title:<24}" + "".join(f"{v:>9.3f}" for v in figures[key].values()))
    lines += ["", "stages of a hop, median ms"]
    lines += [f"  {stage:<22}{ms:>9.3f}" for stage, ms in r["stages_ms"].items()]
    overheads = (f"{figures['overhead_ratio']:.2f} ({name})" for name, figures in r["backends"].items())
    lines += [
        "",
        f"{'overhead ratio':<24}{', '.join(overheads)}",
        f"{'memory at most':<24}{r['rss_mb']} MB",
        f"{'cold start':<24}{r['cold_start_s']} s",
        f"{'streams per core':<24}{r['streams_per_core']} (estimate from the median hop)",
        "",
    ]
    lines += [f"{name.replace('_', ' '):<24}{value}" for name, value in machine.items() if value is not None]
    return "\n".join(lines)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text}: give a whole number from 1 up")
    return number


def _chunk(text: str) -> int:
    number = _positive(text)
    if number > 1000:
        raise argparse.ArgumentTypeError(f"{text}: give a whole number from 1 to 1000")
    return number
