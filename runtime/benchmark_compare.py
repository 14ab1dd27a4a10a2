"""Bundles and their backends side by side: hops and bare calls of all of them in turns."""

from collections.abc import Sequence
from itertools import islice
from typing import Any

from . import backends
from .benchmark import Costs, Settings, figures, hops, make_recording, measure_process
from .bundle import Bundle
from .policy import load_policy

TURN = 10  # hops of one before the next one's turn: the first of them finds the caches full of the others' models


def compare(bundles: Sequence[Bundle], backend: str = "auto", settings: Settings | None = None) -> list[dict[str, Any]]:
    """Return the figures of each bundle on each backend that runs it here, or on the named one, as JSON types.

    Each runs the same stream, in turns in this process on this thread; memory and cold start are of fresh processes.
    `hop_of_first` is the median hop as a multiple of the first one's. Raises EcgEdgeError where a backend cannot be
    opened or a fresh process fails.
    """
    settings = settings or Settings()
    recording = make_recording()
    entries = []
    for bundle in bundles:
        there = [kind for kind in bundle.manifest.models if backends.installed(kind)]
        for kind in there if backend == "auto" else [backend]:
            entries.append((bundle, backends.open_backend(bundle, kind, settings.threads)))
    streams = [
        hops(bundle, opened, load_policy(labels=[c.abbreviation for c in bundle.manifest.classes]), recording, settings)
        for bundle, opened in entries
    ]
    measured: list[list[tuple[int, int, int]]] = [[] for _ in streams]
    for _ in range(0, settings.seconds, TURN):
        for seconds, stream in zip(measured, streams, strict=True):
            seconds += islice(stream, TURN)
    found: list[dict[str, Any]] = []
    for (bundle, opened), seconds in zip(entries, measured, strict=True):
        peak, start = measure_process(bundle, opened.name, recording, settings)
        costs = figures(Costs.of(seconds))
        first = found[0]["hop_ms"]["p50"] if found else costs["hop_ms"]["p50"]
        found.append(
            {
                "bundle": bundle.manifest.name,
                "bundle_sha256": bundle.sha256,
                "backend": opened.name,
                "bytes": len(bundle.model(opened.name)),
                **costs,
                "hop_of_first": round(costs["hop_ms"]["p50"] / first, 3),
                "rss_mb": round(peak / 1e6, 1),
                "cold_start_s": round(start, 3),
            }
        )
    return found
