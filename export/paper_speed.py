"""How much faster the student is than the network of Phan et al. 2022: `python -m ecg_edge.export.paper_speed`.

Both as float graphs in ONNX Runtime on one thread, called in turns in one process, so that a change of the machine's
clock is in all of them. Times are the processor's on that thread, in which other programs' turns do not count. The
paper's network takes windows of 2.5 s and its own float spectrogram, the student of the preset windows of 10 s; it is
timed on 2.5 s as well. Weights are random: no operator's time depends on them. Conditioning and spectrogram are not
part of the times.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import torch

from ecg_edge.runtime.contract import Contract
from ecg_edge.runtime.machine import Machine, describe
from ecg_edge.train import paper_spectrogram
from ecg_edge.train.networks.model import FusionNet, NetworkSettings
from ecg_edge.train.settings import read_preset

from .distill.settings import DistillSettings
from .onnx import INPUTS, export_graph, multiply_accumulates

CLASSES = 24  # of the Challenge; the head's share of either network is below a thousandth
PAPER_SECONDS = 2.5
WARM_UP = 20  # calls of each that are not counted
PAPER = NetworkSettings(dropout=0.0, backbone="paper")


@dataclass(frozen=True)
class Timed:
    """One network on one length of window."""

    network: str
    """`paper`, or the preset that the student is of."""
    window_seconds: float
    """Length of its window."""
    parameters: int
    """Trained ones."""
    mmac: float
    """Million multiply-accumulates of one call."""
    ms: float
    """Median milliseconds of processor time of one call."""

    @property
    def ms_per_second(self) -> float:
        """Milliseconds for each second of ECG in its window."""
        return self.ms / self.window_seconds


def measure(preset: str = "small", calls: int = 200) -> list[Timed]:
    """Return the paper's network, then the student on 10 s and on 2.5 s windows, timed in turns.

    preset: of `ecg-edge distill`, name or TOML file, whose network the student is; calls: of each that count.
    """
    contract = Contract()
    short = round(PAPER_SECONDS * contract.rate)
    frames = (short - contract.stft_length) // contract.stft_hop + 1
    student = read_preset(DistillSettings, "distill", preset).student.network
    leads, rng = len(contract.leads), np.random.default_rng(0)

    def device(samples: int, count: int) -> tuple[npt.NDArray[Any], ...]:
        signal = rng.integers(-1000, 1000, (1, leads, 1, samples)).astype(np.int16)
        return signal, rng.integers(0, 256, (1, leads, contract.stft_bins, count)).astype(np.uint8)

    signal, _ = device(short, frames)
    own = paper_spectrogram.paper_spectrogram(signal[:, :, 0])
    cases = [
        ("paper", PAPER, PAPER_SECONDS, (signal, own)),
        (preset, replace(student, dropout=0.0), contract.window_seconds, device(contract.window, contract.frames)),
        (preset, replace(student, dropout=0.0), PAPER_SECONDS, device(short, frames)),
    ]
    sessions, facts = [], []
    with tempfile.TemporaryDirectory() as folder:
        for number, (_, settings, _, inputs) in enumerate(cases):
            path = Path(folder) / f"{number}.onnx"
            torch.manual_seed(0)
            network = FusionNet(settings, leads, CLASSES).eval()
            export_graph(network, tuple(map(torch.from_numpy, inputs)), path)
            sessions.append((_session(path), dict(zip(INPUTS, inputs, strict=True))))
            facts.append((network.parameters_count(), round(multiply_accumulates(path) / 1e6, 2)))
    medians = _medians(sessions, calls)
    return [
        Timed(name, float(seconds), *fact, round(ms, 4))
        for (name, _, seconds, _), fact, ms in zip(cases, facts, medians, strict=True)
    ]


def _session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])


def _medians(sessions: Sequence[tuple[Any, dict[str, npt.NDArray[Any]]]], calls: int) -> list[float]:
    """Return the median milliseconds of processor time of a call of each, taken in turns."""
    taken = np.empty((WARM_UP + calls, len(sessions)))
    for row in taken:
        for k, (session, inputs) in enumerate(sessions):
            begin = time.thread_time_ns()
            session.run(None, inputs)
            row[k] = (time.thread_time_ns() - begin) / 1e6
    return [float(ms) for ms in np.median(taken[WARM_UP:], axis=0)]


def report(timed: Sequence[Timed]) -> dict[str, Any]:
    """Return the measurements as JSON types, with how many times as fast as the first, the paper's, each other is."""
    paper = timed[0]
    rows = [
        asdict(one)
        | {
            "ms_per_second": round(one.ms_per_second, 4),
            "speedup_per_call": round(paper.ms / one.ms, 2),
            "speedup_per_second": round(paper.ms_per_second / one.ms_per_second, 2),
        }
        for one in timed
    ]
    return {"threads": 1, "weights": "random", "networks": rows, "machine": describe(Machine())}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m ecg_edge.export.paper_speed", description=__doc__)
    parser.add_argument("--preset", default="small", metavar="NAME|FILE", help="the student's (default: small)")
    parser.add_argument("--calls", type=int, default=200, help="timed calls of each network (default: 200)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    args = parser.parse_args(arguments)
    if args.calls < 1:
        parser.error("--calls: give a whole number from 1 up")
    told = report(measure(args.preset, args.calls))
    print(json.dumps(told) if args.json else _table(told))
    return 0


def _table(told: dict[str, Any]) -> str:
    head = f"{'network':<10}{'window':>8}{'parameters':>12}{'MMAC':>8}{'ms a call':>11}{'ms a second':>13}"
    lines = [f"{head}{'times a call':>14}{'times a second':>16}"]
    for row in told["networks"]:
        lines.append(
            f"{row['network']:<10}{row['window_seconds']:>6g} s{row['parameters']:>12}{row['mmac']:>8.1f}"
            f"{row['ms']:>11.3f}{row['ms_per_second']:>13.3f}{row['speedup_per_call']:>14.1f}{row['speedup_per_second']:>16.1f}"
        )
    machine = told["machine"]
    lines.append(f"float, ONNX Runtime {machine['onnxruntime']}, one thread, random weights, {machine['cpu']}")
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
