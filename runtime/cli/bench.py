"""Measure latency, memory and overhead on this machine.

A simulated 12-lead stream (8 channels, 500 Hz) runs through the whole engine on one thread, from integer counts to
lines of JSON, in chunks of --chunk-ms; each second of it is a hop with one window of ten seconds. Bare calls of the
model take turns with the hops; the overhead is the ratio of their medians. Memory and cold start come from fresh
processes. Without --backend every backend of the bundle is measured.

With --model, bare calls of model files are measured instead, in turns with the bundle's own models; with --streams,
how many simultaneous streams one core sustains, from 1 to the first number that does not fit a second.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from ecg_edge.firmware_bridge.errors import EcgEdgeError

from ..backends import installed, open_backend
from ..benchmark import Settings, first_window, make_recording
from ..benchmark import run as measure
from ..benchmark_models import measure_models, open_file, opened
from ..benchmark_streams import measure_streams
from ..bundle import load
from ..machine import Machine, describe
from ..policy import load_policy
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
    group.add_argument(
        "--model", type=Path, action="append", default=[], metavar="FILE", help="bare calls of this .onnx or .tflite"
    )
    group.add_argument("--streams", action="store_true", help="how many streams one core sustains, measured")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Measure and print."""
    if args.model and args.streams:
        raise EcgEdgeError("--model and --streams are two measurements: ask for one at a time")
    if args.model:
        return _models(args)
    if args.streams:
        return _streams(args)
    settings = Settings(seconds=args.seconds, chunk_ms=args.chunk_ms, threads=args.threads, rules=args.rules)
    report = measure(load(args.bundle), args.backend, settings)
    print(json.dumps(report) if args.json else _table(report))
    return 0


def _models(args: argparse.Namespace) -> int:
    bundle = load(args.bundle)
    kinds = [kind for kind in bundle.manifest.models if installed(kind)]
    models = [opened(f"{bundle.manifest.name}/{kind}", kind, bundle.model(kind), args.threads) for kind in kinds]
    models += [open_file(path, args.threads) for path in args.model]
    found = measure_models(models, first_window(bundle, make_recording()), args.seconds)
    if args.json:
        print(json.dumps({"threads": args.threads, "models": found, "machine": describe(Machine())}))
        return 0
    width = max(len(one["name"]) for one in found)
    print(
        f"{'bare call, ms':<{width}}  format{'bytes':>10}{'p50':>9}{'p95':>9}{'p99':>9}{'max':>9}  times fastest float"
    )
    for one in found:
        cells = "".join(f"{value:>9.3f}" for value in one["ms"].values())
        times = "-" if one["times_fastest_float"] is None else f"{one['times_fastest_float']:.2f}"
        print(f"{one['name']:<{width}}  {one['format']:<6}{one['bytes']:>10}{cells}{times:>21}")
    return 0


def _streams(args: argparse.Namespace) -> int:
    bundle = load(args.bundle)
    backend = open_backend(bundle, args.backend, args.threads, timed=True)
    policy = load_policy(labels=[c.abbreviation for c in bundle.manifest.classes])
    found = measure_streams(bundle, backend, policy, make_recording(), rules=args.rules)
    if args.json:
        machine = describe(Machine())
        print(json.dumps({"backend": backend.name, "rules": args.rules, "streams": found, "machine": machine}))
        return 0
    print(f"{bundle.manifest.name} on {backend.name}, one thread, rules {'on' if args.rules else 'off'}")
    print(f"{'streams':>8}{'s a second, p50':>18}{'max':>9}{'ms a stream':>14}  sustained")
    for one in found:
        work = one["work_s"]
        print(
            f"{one['streams']:>8}{work['p50']:>18.4f}{work['max']:>9.4f}{one['ms_a_stream_second']:>14.4f}"
            f"  {'yes' if one['sustained'] else 'no'}"
        )
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
