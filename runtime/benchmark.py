"""What monitoring one 12-lead stream costs on this machine.

The signal is the built-in simulated one (8 measured channels at 500 Hz), played over and over. A *hop* here is all
that the engine does for one second of it, from integer counts to lines of JSON. Hops and bare calls of the model take
turns, so that a drift of the machine's clock is in both and cancels in their ratio. Seconds follow each other without
a pause: caches are warm and the clock is up, which a monitor that sleeps between packets does not have.

Memory and cold start are taken from fresh processes, see benchmark_child.
"""

import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from ecg_edge.firmware_bridge.errors import EcgEdgeError
from ecg_edge.firmware_bridge.heart import demo
from ecg_edge.firmware_bridge.packetize import packetize
from ecg_edge.firmware_bridge.recording import Recording

from . import backends
from .alerts import AlertMachine
from .backends import Backend
from .benchmark_energy import Meter, energy_a_hop
from .benchmark_turns import FOUR_DIGITS, percentiles
from .bundle import Bundle
from .conditioning import Conditioner, condition
from .engine import Engine
from .events import Event, stamp, to_json
from .lead_events import lead_names
from .machine import Machine, describe
from .policy import Policy, load_policy
from .quality import Quality
from .sources.items import format_of
from .stft import spectrogram
from .window import Window

SETTLE_SECONDS = 5  # of stream after the first window, not measured: allocations, caches and branch predictors
CHILD_TIMEOUT_S = 120.0  # a Raspberry Pi starts in some seconds; beyond this something hangs

Invalid = npt.NDArray[np.bool_] | None
Second = list[tuple[npt.NDArray[np.int32], Invalid]]
"""One second of stream as the chunks that it is fed in."""


@dataclass(frozen=True)
class Settings:
    """How much is measured."""

    seconds: int = 300
    """Hops measured, each of one second of stream."""
    chunk_ms: int = 250
    """Length of the chunks that the engine is fed, in milliseconds; a hop's last chunk is cut at its end."""
    cold_starts: int = 5
    """Fresh processes started, of which the median counts."""
    memory_seconds: int = 60
    """Seconds of stream that the process runs whose memory is measured."""
    threads: int = 1
    """Inference threads."""
    rules: bool = False
    """Whether the rhythm rules run beside the model."""


@dataclass(frozen=True)
class Costs:
    """Durations in milliseconds, one element a hop."""

    hop: npt.NDArray[np.float64]
    inference: npt.NDArray[np.float64]
    """Of one bare call of the model, made after each hop."""
    windows: int
    """Windows that the engine judged in those hops."""

    @classmethod
    def of(cls, seconds: Iterable[tuple[int, int, int]]) -> Self:
        """Return the costs in what `hops` yields."""
        hop, inference, windows = np.array(list(seconds), dtype=np.int64).T
        return cls(hop / 1e6, inference / 1e6, int(windows.sum()))


def run(bundle: Bundle, backend: str = "auto", settings: Settings | None = None) -> dict[str, Any]:
    """Measure everything and return it as JSON types: times in milliseconds unless the name says otherwise.

    Raises EcgEdgeError where a backend cannot be opened or a fresh process fails.
    """
    settings = settings or Settings()
    recording = make_recording()
    chosen = backends.open_backend(bundle, backend, settings.threads, timed=True)
    policy = load_policy(labels=[c.abbreviation for c in bundle.manifest.classes])

    costs = measure_hops(bundle, chosen, policy, recording, settings)
    median = float(np.median(costs.hop))
    stages = measure_stages(bundle, chosen, policy, recording, settings)
    stages["other"] = max(0.0, median - sum(stages.values()))
    rss_bytes, cold_start_s = measure_process(bundle, chosen.name, recording, settings)

    others = [n for n in bundle.manifest.models if n != chosen.name and n in backends.BACKENDS]
    by_backend = {chosen.name: figures(costs)}
    for name in filter(backends.installed, others) if backend == "auto" else ():
        other = backends.open_backend(bundle, name, settings.threads)
        by_backend[name] = figures(measure_hops(bundle, other, policy, recording, settings))
    return {
        "bundle": bundle.manifest.name,
        "bundle_sha256": bundle.sha256,
        "backend": chosen.name,
        "threads": settings.threads,
        "rules": settings.rules,
        "channels": len(recording.leads),
        "rate": recording.rate,
        "seconds": settings.seconds,
        "windows": costs.windows,
        "chunk_samples": chunk_samples(recording.rate, settings.chunk_ms),
        **by_backend[chosen.name],
        "streams_per_core": streams_per_core(median),
        "stages_ms": {name: round(ms, FOUR_DIGITS) for name, ms in stages.items()},
        "rss_mb": round(rss_bytes / 1e6, 1),
        "cold_start_s": round(cold_start_s, 3),
        "energy": measure_energy(bundle, chosen, policy, recording, settings, Meter()),
        "backends": by_backend,
        "machine": describe(Machine()),
    }


def make_recording() -> Recording:
    """Return the simulated recording with its frames one after the other in memory, as a decoder delivers them."""
    recording = demo()
    return replace(recording, counts=np.ascontiguousarray(recording.counts))


def streams_per_core(hop_ms: float) -> int:
    """Return how many streams one core could follow: how many hops of `hop_ms` fit a second.

    An estimate from the cost alone: no such number of streams was run, and they would share caches and memory.
    """
    return int(1000.0 / hop_ms)


def measure_hops(bundle: Bundle, backend: Backend, policy: Policy, recording: Recording, settings: Settings) -> Costs:
    """Return the costs of hops and of bare model calls, taken in turns in this process on this thread."""
    return Costs.of(hops(bundle, backend, policy, recording, settings))


def hops(
    bundle: Bundle, backend: Backend, policy: Policy, recording: Recording, settings: Settings
) -> Iterator[tuple[int, int, int]]:
    """Yield of each measured second of a stream the nanoseconds of its hop and of a bare call, and windows judged."""
    engine = Engine(bundle, backend, policy, format_of(recording), rules=settings.rules)
    window = first_window(bundle, recording)
    seq = 0
    for number, second in enumerate(_seconds(bundle, recording, settings)):
        before = engine.analyzed
        begin = time.perf_counter_ns()
        for counts, invalid in second:
            for event in engine.push(counts, 0.0, invalid):
                _line(event, seq)
                seq += 1
            engine.take_arrivals()
        between = time.perf_counter_ns()
        backend.logits(*window)
        end = time.perf_counter_ns()
        if number >= _unmeasured(bundle):
            yield between - begin, end - between, engine.analyzed - before


def measure_energy(
    bundle: Bundle, backend: Backend, policy: Policy, recording: Recording, settings: Settings, meter: Meter
) -> dict[str, Any] | None:
    """Return what a hop takes in millijoules, see `energy_a_hop`; None where the machine does not show it."""
    if not meter.source:
        return None
    engine = Engine(bundle, backend, policy, format_of(recording), rules=settings.rules)
    seconds = itertools.cycle(list(_seconds(bundle, recording, settings)))

    def hop() -> None:
        for counts, invalid in next(seconds):
            for event in engine.push(counts, 0.0, invalid):
                _line(event, 0)

    for _ in range(_unmeasured(bundle)):
        hop()
    return energy_a_hop(meter, hop)


def measure_stages(
    bundle: Bundle, backend: Backend, policy: Policy, recording: Recording, settings: Settings
) -> dict[str, float]:
    """Return the median milliseconds a hop of each stage, the engine's parts called one after the other.

    `spectrogram` holds the sliding of the window, `alerts` the decision and the lines of JSON.
    """
    contract = bundle.manifest.contract
    conditioner = Conditioner(contract, recording.rate, recording.pv_per_lsb, recording.leads)
    window = Window(contract)
    quality = Quality(contract, conditioner.present)
    alerts = AlertMachine(bundle.manifest.classes, policy)
    laps: list[dict[str, int]] = []
    for second in _seconds(bundle, recording, settings):
        lap = _Laps()
        for counts, invalid in second:
            conditioned = conditioner.push(counts, invalid)
            lap.end("conditioning")
            for hop in window.push(conditioned):
                lap.end("spectrogram")
                quality.push(hop.signal, hop.invalid)
                leads = lead_names(quality.usable)
                score = quality.score
                lap.end("quality")
                logits = backend.logits(window.signal, window.spectrogram)
                lap.end("inference")
                for event in alerts.step(hop.end / contract.rate, backends.probabilities(logits), leads, score):
                    _line(event, 0)
                lap.end("alerts")
            lap.end("spectrogram")
        laps.append(lap.ns)
    measured = laps[_unmeasured(bundle) :]
    return {stage: float(np.median([lap[stage] for lap in measured])) / 1e6 for stage in measured[0]}


def measure_process(bundle: Bundle, backend: str, recording: Recording, settings: Settings) -> tuple[int, float]:
    """Return (peak resident bytes, seconds of a cold start) of a process that runs a live monitor.

    Peak: of one that was fed the packets of a device. Cold start: from the start of the interpreter to the model's
    first answer, the median of several; the files are in the page cache by then, as after a restart of the service.
    """
    starts = [_child(bundle, backend, settings)["started_s"] for _ in range(settings.cold_starts)]
    frames = settings.memory_seconds * recording.rate
    times = -(-frames // len(recording.counts))
    counts = np.tile(recording.counts, (times, 1))[:frames]
    long = Recording(recording.name, recording.rate, recording.leads, counts, recording.pv_per_lsb)
    peak = _child(bundle, backend, settings, b"".join(packetize(long)))["peak_rss_bytes"]
    return int(peak), float(np.median(starts))


def chunk_samples(rate: int, chunk_ms: int) -> int:
    """Return the frames of a chunk: at least one, at most a second."""
    return min(max(1, rate * chunk_ms // 1000), rate)


class _Laps:
    """Nanoseconds spent in named stages; a lap begins where the last one ended."""

    def __init__(self) -> None:
        self.ns: dict[str, int] = {}
        self._begin = time.perf_counter_ns()

    def end(self, stage: str) -> None:
        now = time.perf_counter_ns()
        self.ns[stage] = self.ns.get(stage, 0) + now - self._begin
        self._begin = time.perf_counter_ns()


def _unmeasured(bundle: Bundle) -> int:
    """Return the seconds before measuring starts: the first window, and some more to settle."""
    return bundle.manifest.contract.window_seconds + SETTLE_SECONDS


def _seconds(bundle: Bundle, recording: Recording, settings: Settings) -> Iterator[Second]:
    """Yield the stream second by second, those not measured first."""
    rate = recording.rate
    step = chunk_samples(rate, settings.chunk_ms)
    seconds: list[Second] = []
    for start in range(0, len(recording.counts) - rate + 1, rate):
        second: Second = []
        for a in range(start, start + rate, step):
            piece = slice(a, min(a + step, start + rate))
            # As a device's source does: flags only where an electrode is off.
            flags = None if recording.invalid is None else recording.invalid[piece]
            second.append((recording.counts[piece], flags if flags is not None and flags.any() else None))
        seconds.append(second)
    return itertools.islice(itertools.cycle(seconds), _unmeasured(bundle) + settings.seconds)


def first_window(bundle: Bundle, recording: Recording) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.uint8]]:
    """Return the model's inputs of the recording's first window."""
    contract = bundle.manifest.contract
    signal = np.ascontiguousarray(condition(recording, contract).signal[: contract.window].T)
    return signal, np.ascontiguousarray(spectrogram(signal, contract))


def _line(event: Event, seq: int) -> str:
    return to_json(stamp(event, seq=seq))


def figures(costs: Costs) -> dict[str, Any]:
    """Return the percentiles of hop and bare call, and the ratio of their medians."""
    return {
        "hop_ms": percentiles(costs.hop),
        "inference_ms": percentiles(costs.inference),
        "overhead_ratio": round(float(np.median(costs.hop) / np.median(costs.inference)), 3),
    }


def _child(bundle: Bundle, backend: str, settings: Settings, packets: bytes | None = None) -> dict[str, Any]:
    """Run benchmark_child, to its start or through `packets`; return its report, with `started_s` counted from here."""
    # As the command line sets it before NumPy is imported, for a caller that did not come from there.
    environment = {"OPENBLAS_NUM_THREADS": "1", **os.environ}
    # -P: what lies in the current folder is not imported.
    command = [sys.executable, "-P", "-m", "ecg_edge.runtime.benchmark_child"]
    command += [str(bundle.folder.resolve()), backend, str(settings.threads)]
    command.append("start" if packets is None else "stream")
    begin = time.clock_gettime(time.CLOCK_MONOTONIC)
    try:
        done = subprocess.run(
            command, input=packets, capture_output=True, env=environment, timeout=CHILD_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise EcgEdgeError(f"a monitor started for measuring hung for {CHILD_TIMEOUT_S:.0f} s: try again") from None
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines() or ["no message"]
        raise EcgEdgeError(f"a monitor started for measuring failed ({lines[-1]}): run ecg-edge doctor")
    report: dict[str, Any] = json.loads(done.stdout)
    return report | {"started_s": report["ready"] - begin}
