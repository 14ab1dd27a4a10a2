"""A fresh process as `bench` measures it: a live monitor, from its start to the end of a stream.

    python -m ecg_edge.runtime.benchmark_child BUNDLE BACKEND THREADS start
    python -m ecg_edge.runtime.benchmark_child BUNDLE BACKEND THREADS stream < packets

`start` ends when the monitor is ready; `stream` then runs the bytes of a device on standard input. Either
prints one JSON object: `ready`, the instant (system-wide monotonic clock, in seconds) at which the bundle was loaded,
the engine built and the model had answered once; `peak_rss_bytes`, the most memory that the process ever held.
"""

import json
import os
import resource
import sys
import time

import numpy as np

from ecg_edge.firmware_bridge.leads import MEASURED_LEADS

from .backends import open_backend
from .bundle import load
from .engine import Engine, StreamFormat
from .machine import Machine
from .policy import load_policy
from .service import Monitor
from .sinks.jsonl import JsonLines
from .sources.device import DeviceSource


def main(folder: str, backend_name: str, threads: int, until: str) -> None:
    """Get ready, run the stream when `until` is "stream", and print the report."""
    bundle = load(folder)
    backend = open_backend(bundle, backend_name, threads)
    contract = bundle.manifest.contract
    policy = load_policy(labels=[c.abbreviation for c in bundle.manifest.classes])

    def make_engine(stream: StreamFormat) -> Engine:
        return Engine(bundle, backend, policy, stream)

    make_engine(StreamFormat(500, MEASURED_LEADS, 1_000_000))
    leads = len(contract.leads)
    backend.logits(
        np.zeros((leads, contract.window), np.int16), np.zeros((leads, contract.stft_bins, contract.frames), np.uint8)
    )
    ready = time.clock_gettime(time.CLOCK_MONOTONIC)

    if until == "stream":
        with open(os.devnull, "w", encoding="utf-8") as nowhere:
            Monitor(DeviceSource("-"), make_engine, [JsonLines(nowhere)]).run()
    print(json.dumps({"ready": ready, "peak_rss_bytes": peak_rss_bytes()}))


def peak_rss_bytes() -> int:
    """Return the most resident memory that this process has held so far."""
    for line in (Machine().read("proc/self/status") or "").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    # Elsewhere than on Linux, where this figure would hold the peak of the process that started this one too.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
