"""Measure latency, memory and overhead on this machine.

A simulated 12-lead stream (8 channels, 500 Hz) runs through the whole engine on one thread, from integer counts to
lines of JSON, in chunks of --chunk-ms; each second of it is a hop with one window of ten seconds. Bare calls of the
model take turns with the hops; the overhead is the ratio of their medians. Memory and cold start come from fresh
processes. Without --backend every backend of the bundle is measured.

Other measurements, one at a time: --compare puts bundles and their backends side by side; --model puts bare calls of
model files beside those of the bundle's own models; --stft the spectrogram of a hop beside them; --streams finds how
many simultaneous streams one core sustains. See docs/latency.md.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from ..backends import open_backend
from ..benchmark import Settings, make_recording
from ..benchmark import run as measure
from ..benchmark_compare import compare
from ..benchmark_models import measure_models, open_bundle, open_file
from ..benchmark_stft import measure_stft
from ..benchmark_streams import SECONDS, measure_streams
from ..bundle import load
from ..machine import Machine, describe
from ..policy import load_policy
from . import bench_text, common


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    common.add_model_arguments(parser)
    group = parser.add_argument_group("measuring")
    default = Settings()
    group.add_argument(
        "--seconds",
        type=_positive,
        help=f"hops, or calls of each model ({default.seconds}); with --streams seconds of each number ({SECONDS})",
    )
    group.add_argument(
        "--chunk-ms", type=_chunk, default=default.chunk_ms, help="length of the chunks fed, 1 to 1000 (%(default)s)"
    )
    group.add_argument("--rules", action="store_true", help="with the rhythm rules beside the model")
    instead = group.add_mutually_exclusive_group()
    instead.add_argument(
        "--compare", nargs="+", metavar="BUNDLE", help="these bundles and --bundle, on all their backends, in one run"
    )
    instead.add_argument(
        "--model",
        type=Path,
        action="append",
        metavar="FILE",
        help="bare calls of this .onnx or .tflite; may be repeated",
    )
    instead.add_argument(
        "--stft", action="store_true", help="the spectrogram of a hop, NumPy and C, beside a bare call"
    )
    instead.add_argument("--streams", action="store_true", help="how many streams one core sustains, measured")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Measure and print."""
    settings = Settings(
        seconds=args.seconds or Settings.seconds, chunk_ms=args.chunk_ms, threads=args.threads, rules=args.rules
    )
    if args.compare:
        report, text = _compare(args, settings), bench_text.comparison
    elif args.model:
        report, text = _models(args, settings), bench_text.models
    elif args.stft:
        report, text = _stft(args, settings), bench_text.stft
    elif args.streams:
        report, text = _streams(args), bench_text.streams
    else:
        report, text = measure(load(args.bundle), args.backend, settings), bench_text.one
    report.setdefault("machine", describe(Machine()))
    print(json.dumps(report) if args.json else text(report))
    return 0


def _compare(args: argparse.Namespace, settings: Settings) -> dict[str, Any]:
    bundles = [load(name) for name in (args.bundle, *args.compare)]
    return {
        "threads": settings.threads,
        "rules": settings.rules,
        "seconds": settings.seconds,
        "compared": compare(bundles, args.backend, settings),
    }


def _models(args: argparse.Namespace, settings: Settings) -> dict[str, Any]:
    bundle = load(args.bundle)
    models = open_bundle(bundle, args.backend, settings.threads)
    models += [open_file(path, settings.threads) for path in args.model]
    return {
        "threads": settings.threads,
        "calls": settings.seconds,
        "models": measure_models(models, bundle, settings.seconds),
    }


def _stft(args: argparse.Namespace, settings: Settings) -> dict[str, Any]:
    bundle = load(args.bundle)
    models = open_bundle(bundle, args.backend, settings.threads)
    return {"threads": settings.threads, "calls": settings.seconds, **measure_stft(bundle, models, settings.seconds)}


def _streams(args: argparse.Namespace) -> dict[str, Any]:
    bundle = load(args.bundle)
    backend = open_backend(bundle, args.backend, args.threads, timed=True)
    policy = load_policy(labels=[c.abbreviation for c in bundle.manifest.classes])
    seconds = args.seconds or SECONDS
    return {
        "bundle": bundle.manifest.name,
        "backend": backend.name,
        "threads": args.threads,
        "rules": args.rules,
        "seconds": seconds,
        "streams": measure_streams(bundle, backend, policy, make_recording(), rules=args.rules, seconds=seconds),
    }


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
