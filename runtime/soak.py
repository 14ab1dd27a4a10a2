"""Run the whole monitor through hours of stream, and everything that can go wrong, as fast as this machine can.

python -m ecg_edge.runtime.soak                      24 hours of stream, the shipped model
python -m ecg_edge.runtime.soak --rules --json       with the rhythm rules; one JSON object at the end
python -m ecg_edge.runtime.soak --hours 0.5 --seed 7

The board is soak_board's; link, decoder, engine, model, recorder and sinks are those of `ecg-edge stream`. Some answers
of the model are made NaN, and one sink fails and hangs now and then. At the end everything must add up: see Outcome.
Records and events go to a temporary folder that is removed (50 MB at most).
"""

import argparse
import json
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt

from ecg_edge.firmware_bridge.errors import EcgEdgeError
from ecg_edge.firmware_bridge.heart import RHYTHMS, Episode, simulate

from . import backends
from .bundle import load
from .engine import Engine, StreamFormat
from .events import Event, Summary
from .policy import load_policy
from .recorder.recorder import Recorder, RecordSettings
from .service import Monitor
from .sinks import Sink, Undelivered
from .sinks.queued import QueuedSink
from .sinks.rotated import FileSettings, RotatedFile
from .soak_board import SoakBoard
from .sources.device import DeviceSource

RATE = 250
EPISODE_S = 60.0  # of each rhythm, in the recording that is played over and over
STEPS = 24  # of the run that are told and compared
GROWTH_LIMIT_MB = 2.0  # of memory, after the first step: what has no bound shows within a day
COST_LIMIT = 1.2  # the last steps' processor time by the first ones': what grows with time grows 24 times
NAN_EVERY = 2000  # windows
TROUBLE_EVERY = 200  # events of the sink that is bad
RECORD_BYTES = 50_000_000


@dataclass(frozen=True)
class Step:
    """A part of the run."""

    hours: float
    """Hours of stream until its end."""
    cpu_s: float
    """Processor time that it took, of the whole process, the board's play included."""
    rss_mb: float
    """Resident memory at its end, in 10^6 bytes."""


@dataclass
class Outcome:
    """What a run came to."""

    hours: float
    """Of stream."""
    seed: int
    rules: bool
    steps: list[Step]
    sampled: int = 0
    """Frames that the board sampled."""
    used: int = 0
    """Frames that the engine took in."""
    counted: int = 0
    """Frames that were counted as lost on the way."""
    windows: dict[str, int] = field(default_factory=dict)
    alerts: int = 0
    """Episodes announced."""
    events: int = 0
    """Events handed to the sinks."""
    sinks: dict[str, dict[str, int]] = field(default_factory=dict)
    losses: dict[str, int] = field(default_factory=dict)
    faults: dict[str, int] = field(default_factory=dict)
    """What was done to the stream."""
    exceptions: list[str] = field(default_factory=list)
    """Those that reached anybody."""

    @property
    def growth_mb(self) -> float:
        """Memory at the end over that after the first step."""
        return self.steps[-1].rss_mb - self.steps[0].rss_mb if self.steps else 0.0

    @property
    def cost_ratio(self) -> float:
        """Processor time of the last quarter of the steps by the first quarter's, medians."""
        quarter = max(1, len(self.steps) // 4)
        first, last = self.steps[:quarter], self.steps[-quarter:]
        return median(s.cpu_s for s in last) / median(s.cpu_s for s in first) if self.steps else 1.0

    def wrong(self) -> list[str]:
        """Return what is not as it must be, in sentences; nothing after a good run."""
        found = [f"exception: {text}" for text in self.exceptions]
        if self.sampled != self.used + self.counted:
            found.append(f"{self.sampled} frames sent, {self.used} used and {self.counted} counted as lost")
        whole = sum(self.windows.values())
        expected = (self.used + self.losses.get("gap_frames", 0)) // RATE - 9  # a window is 10 s, and a hop 1 s
        if whole != expected:
            found.append(f"{whole} windows where the stream has {expected}")
        for name, account in self.sinks.items():
            total = account["delivered"] + account["dropped"] + account["held"]
            if name.startswith("record_frames"):
                continue  # these are frames, and those of a gap are no loss of the recorder
            if total != self.events:
                found.append(f"sink {name} accounts for {total} of {self.events} events")
        if self.growth_mb >= GROWTH_LIMIT_MB:
            found.append(f"memory grew by {self.growth_mb:.2f} MB")
        if self.cost_ratio >= COST_LIMIT:
            found.append(f"the last hours cost {self.cost_ratio:.2f} times the first")
        return found


class _StepLog:
    """A sink that keeps the cost of each step, by the time of the events."""

    def __init__(self, step_s: float, tell: Callable[[Step], None]) -> None:
        self.steps: list[Step] = []
        self.events = 0
        self._step_s, self._tell = step_s, tell
        self._cpu = time.process_time()

    def emit(self, event: Event) -> None:
        if not isinstance(event, Summary):
            self.events += 1
        if event.time < (len(self.steps) + 1) * self._step_s or len(self.steps) == STEPS:
            return
        now = time.process_time()
        step = Step(round(event.time / 3600, 3), round(now - self._cpu, 3), round(_resident_mb(), 3))
        self._cpu = now
        self.steps.append(step)
        self._tell(step)

    def close(self) -> None: ...


class _BadSink:
    """A sink that refuses some events and hangs over others."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def emit(self, _event: Event) -> None:
        chance = self._random.random() * TROUBLE_EVERY
        if chance < 1:
            raise Undelivered("the bad sink takes nothing now: try again")
        if chance < 2:
            raise EcgEdgeError("the bad sink does not take this")
        if chance < 3:
            time.sleep(0.05)

    def close(self) -> None: ...


class _BadModel:
    """A model that sometimes gives NaN."""

    def __init__(self, backend: backends.Backend, seed: int) -> None:
        self.name = backend.name
        self.broken = 0
        self._backend, self._random = backend, random.Random(seed)

    def logits(self, signal: npt.NDArray[np.int16], spectrogram: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        answer = self._backend.logits(signal, spectrogram)
        if self._random.random() < 1 / NAN_EVERY:
            self.broken += 1
            return np.full_like(answer, np.nan)
        return answer


def soak(
    hours: float = 24.0,
    seed: int = 1,
    *,
    rules: bool = False,
    bundle: str = "arrhythmia",
    backend: str = "auto",
    tell: Callable[[Step], None] = lambda _: None,
) -> Outcome:
    """Run so many hours of stream and return what came of it; `tell` gets each of 24 steps as it ends."""
    loaded = load(bundle)
    policy = load_policy(labels=[c.abbreviation for c in loaded.manifest.classes])
    model = _BadModel(backends.open_backend(loaded, backend), seed)
    recording = simulate([Episode(rhythm, EPISODE_S) for rhythm in RHYTHMS], RATE, seed=seed, name="soak").recording
    board = SoakBoard(recording, round(hours * 3600), seed)
    log = _StepLog(hours * 3600 / STEPS, tell)
    outcome = Outcome(hours, seed, rules, log.steps)
    hook, threading.excepthook = threading.excepthook, lambda a: outcome.exceptions.append(_text(a.exc_value))

    def engine(stream: StreamFormat) -> Engine:
        return Engine(loaded, model, policy, stream, rules=rules)

    try:
        with tempfile.TemporaryDirectory(prefix="ecg-edge-soak-") as folder:
            sinks: list[Sink] = [
                log,
                QueuedSink("file", RotatedFile(FileSettings(path=Path(folder) / "events.jsonl", max_mb=5))),
                QueuedSink("bad", _BadSink(seed)),
            ]
            source = DeviceSource("soak", open_link=board.open)
            recorder = Recorder(Path(folder) / "records", RecordSettings(RECORD_BYTES), live=False)
            summary = Monitor(source, engine, sinks, recorder=recorder).run()
    except Exception as error:  # that none comes is what this is about
        outcome.exceptions.append(_text(error))
        return outcome
    finally:
        threading.excepthook = hook
    losses = dict(summary.losses)
    outcome.sampled = board.sampled
    outcome.used = round(summary.signal_s * RATE) - losses["gap_frames"]
    outcome.counted = losses["frames_lost"] + losses["frames_before_hello"] + losses["frames_mismatched"]
    outcome.windows, outcome.losses = dict(summary.windows), losses
    outcome.alerts, outcome.events = sum(summary.alerts.values()), log.events
    outcome.sinks = {name: dict(account) for name, account in (summary.sinks or {}).items()}
    packets = {f"packets {k}": n for k, n in asdict(board.packets).items() if k not in ("frames", "unplugged")}
    outcome.faults = {**board.done, **packets, "model NaN": model.broken}
    return outcome


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit status: 1 where anything was wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m ecg_edge.runtime.soak",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--hours", type=float, default=24.0, metavar="H", help="hours of stream (%(default)g)")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of everything that is drawn (%(default)s)")
    parser.add_argument("--rules", action="store_true", help="run the rhythm rules too")
    parser.add_argument("--bundle", default="arrhythmia", metavar="NAME|PATH", help="shipped bundle or folder")
    parser.add_argument("--backend", default="auto", choices=backends.CHOICES, help="inference runtime (%(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON object at the end")
    args = parser.parse_args(arguments)
    if not 0.05 <= args.hours <= 10_000 or args.seed < 0:
        parser.error("--hours is a number from 0.05 to 10000, --seed a whole number from 0 up")

    def tell(step: Step) -> None:
        print(
            f"{step.hours:8.2f} h  {step.cpu_s:8.2f} s of processor  {step.rss_mb:7.1f} MB", file=sys.stderr, flush=True
        )

    outcome = soak(args.hours, args.seed, rules=args.rules, bundle=args.bundle, backend=args.backend, tell=tell)
    wrong = outcome.wrong()
    if args.json:
        extra: dict[str, Any] = {"growth_mb": outcome.growth_mb, "cost_ratio": outcome.cost_ratio, "wrong": wrong}
        print(json.dumps(asdict(outcome) | extra))
    else:
        print(
            "\n".join([*_table(outcome), *(f"WRONG: {text}" for text in wrong), "failed" if wrong else "all adds up"])
        )
    return 1 if wrong else 0


def _table(outcome: Outcome) -> list[str]:
    cpu = sum(step.cpu_s for step in outcome.steps)
    rows = {
        "stream": f"{outcome.hours:g} h, seed {outcome.seed}, rules {'on' if outcome.rules else 'off'}",
        "exceptions": str(len(outcome.exceptions)),
        "frames sent": f"{outcome.sampled} = {outcome.used} used + {outcome.counted} counted as lost",
        "windows": ", ".join(f"{n} {kind}" for kind, n in outcome.windows.items()),
        "events": f"{outcome.events}, {outcome.alerts} episodes announced",
        "memory": f"{outcome.growth_mb:+.2f} MB since the first of {len(outcome.steps)} steps",
        "processor": f"{cpu:.0f} s; the last quarter of the steps cost {outcome.cost_ratio:.3f} times the first",
        "faults": ", ".join(f"{n} {kind}" for kind, n in outcome.faults.items()),
        "losses": ", ".join(f"{kind} {n}" for kind, n in outcome.losses.items() if n),
    }
    return [f"{name:<12} {value}" for name, value in rows.items()]


def _resident_mb() -> float:
    with open("/proc/self/status", encoding="ascii") as status:
        for line in status:
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024 / 1e6
    return 0.0


def _text(error: BaseException | None) -> str:
    return f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    sys.exit(main())
