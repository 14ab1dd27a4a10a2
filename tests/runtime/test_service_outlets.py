"""The service and its outlets: troubles are told once, the recorder gets every frame, metrics say what is known."""

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ecg_edge.runtime import metrics as metrics_module
from ecg_edge.runtime.account import Account
from ecg_edge.runtime.bundle import Bundle, load
from ecg_edge.runtime.engine import Engine, StreamFormat
from ecg_edge.runtime.events import Event, Status, Summary, Technical
from ecg_edge.runtime.latency import BUCKETS_MS, LatencyHistogram
from ecg_edge.runtime.metrics import Metrics
from ecg_edge.runtime.policy import load_policy
from ecg_edge.runtime.recorder.recorder import Recorder, RecordSettings
from ecg_edge.runtime.service import Monitor
from ecg_edge.runtime.sources.items import Chunk, Gap, Item
from ecg_edge.runtime.sources.records import read_recording

RATE = 250
FORMAT = StreamFormat(RATE, ("I", "II"), 1_000_000)


@pytest.fixture(scope="module")
def bundle(tiny_bundle: Any, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return load(tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny"))


class Model:
    """Says of each window what it says of a sinus rhythm."""

    name = "onnx"

    def logits(self, _signal: Any, _spectrogram: Any) -> np.ndarray:
        return np.array([-5.0, 5.0, -5.0], np.float32)


class Kept:
    """A sink that keeps events."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def emit(self, event: Event) -> None:
        self.events.append(event)

    def close(self) -> None: ...


class Troubled(Kept):
    """An outlet that is in trouble as long as its trouble says."""

    trouble: str | None = None

    def accounts(self) -> dict[str, Account]:
        return {"ward": Account(delivered=len(self.events), held=7)}

    def settle(self, _timeout: float) -> None: ...


class Script:
    """A source of one second of signal after the other, with something done before some of them."""

    def __init__(self, seconds: int, **before: Any) -> None:
        self._seconds, self._before = seconds, before

    def items(self, _stop: threading.Event) -> Iterator[Item]:
        yield FORMAT
        for n in range(self._seconds):
            yield from self._before.get(f"at_{n}", lambda: ())() or ()
            t = np.arange(n * RATE, (n + 1) * RATE) / RATE
            wave = 1000 * np.exp(-(((t % 0.8) - 0.4) ** 2) / 0.001) + 30 * np.sin(40 * t)
            yield Chunk(np.stack([wave, 1.3 * wave], axis=1).astype(np.int32), None, time.monotonic())

    def losses(self) -> dict[str, int]:
        return {}


def run(bundle: Bundle, source: Script, *sinks: Any, **options: Any) -> Summary:
    policy = load_policy(None, labels=[c.abbreviation for c in bundle.manifest.classes])
    return Monitor(source, lambda form: Engine(bundle, Model(), policy, form), sinks, **options).run()


def technical(sink: Kept) -> list[tuple[float, str, str]]:
    return [(e.time, e.code, e.phase) for e in sink.events if isinstance(e, Technical)]


def test_trouble_is_told_once_and_its_end_when_it_has_been_calm(bundle: Bundle) -> None:
    ward, kept = Troubled(), Kept()

    def set_to(value: str | None) -> Any:
        return lambda: setattr(ward, "trouble", value)

    source = Script(25, at_3=set_to("no route"), at_5=set_to(None), at_7=set_to("no route"), at_9=set_to(None))
    summary = run(bundle, source, ward, kept, live=True)
    assert technical(kept) == [(4.0, "sink_failed", "new"), (14.0, "sink_failed", "end")]
    (new,) = (e for e in kept.events if isinstance(e, Technical) and e.phase == "new")
    assert new.message == "no route"
    assert ward.events == kept.events, "the sink in trouble is told too"
    assert summary.sinks == {"ward": {"delivered": len(kept.events) - 1, "dropped": 0, "held": 7, "failures": 0}}


def test_of_a_record_no_sink_in_trouble_is_told(bundle: Bundle) -> None:
    ward, kept = Troubled(), Kept()
    ward.trouble = "no route"
    run(bundle, Script(12), ward, kept)
    assert technical(kept) == []


def test_no_account_no_field(bundle: Bundle) -> None:
    assert run(bundle, Script(12), Kept()).sinks is None


def test_the_recorder_gets_frames_gaps_and_events(bundle: Bundle, tmp_path: Path) -> None:
    recorder, kept = Recorder(tmp_path, RecordSettings(), live=False), Kept()
    summary = run(bundle, Script(15, at_11=lambda: [Gap(100, 0.0)]), kept, recorder=recorder)
    (path,) = (file.with_suffix("") for file in tmp_path.glob("*.hea"))
    found = read_recording(path, strict=True)
    assert found.invalid is not None
    assert np.flatnonzero(found.invalid.any(axis=1)).tolist() == list(range(11 * RATE, 11 * RATE + 100))
    assert len(path.with_suffix(".jsonl").read_text().splitlines()) == len(kept.events)
    assert summary.sinks is not None
    assert summary.sinks["record_frames"]["delivered"] == 15 * RATE


def test_metrics_say_what_is_known(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    known = Metrics()
    assert "signal_seconds" not in known.text()
    run(bundle, Script(20), Troubled(), metrics=known)
    text = known.text()
    assert 'ecg_edge_sink_held{sink="ward"} 7\n' in text
    assert 'ecg_edge_windows_total{outcome="analyzed"} 11\n' in text
    assert "ecg_edge_window_latency_seconds_count 11\n" in text
    assert "ecg_edge_quality_ratio 1.0\n" in text
    assert "heart_rate" not in text, "without the rules none is known"
    monkeypatch.setattr(metrics_module, "STALE_S", -1.0)
    assert "quality" not in known.text(), "and what is old is not known any more"


def test_metrics_escape_labels() -> None:
    known = Metrics()
    windows = {"analyzed": 1, "skipped": 0, "unusable": 0}
    odd = {'a"b\\c\nd': 2}
    summary = Summary(time=1, signal_s=1, windows=windows, alerts=odd, losses={}, leads=())
    known.update(summary, LatencyHistogram(100), [Status(time=1, quality=0.5, leads=(), heart_rate=61.25)])
    assert 'ecg_edge_alerts_total{label="a\\"b\\\\c\\nd"} 2\n' in known.text()
    assert "ecg_edge_heart_rate_bpm 61.25\n" in known.text()


def test_metrics_of_modes_and_stages_are_as_prometheus_wants_them() -> None:
    known = Metrics()
    windows = {"analyzed": 2, "skipped": 1, "unusable": 0}
    summary = Summary(time=1, signal_s=1, windows=windows, alerts={}, losses={}, leads=())
    known.update(summary, LatencyHistogram(100), [])
    assert "mode_windows" not in known.text(), "of a record there are none"
    assert "stage_seconds" not in known.text()
    rules, inference = LatencyHistogram(float("inf")), LatencyHistogram(float("inf"))
    for ms in (0.2, 7.0, 3000.0):
        inference.add(ms)
    summary = replace(summary, modes={"full": 2, "long_hop": 1})
    known.update(summary, LatencyHistogram(100), [], {"rules": rules, "inference": inference})
    text = known.text()
    assert 'ecg_edge_mode_windows_total{mode="long_hop"} 1\n' in text
    lines = [line.removeprefix("ecg_edge_stage_seconds") for line in text.splitlines() if "stage_seconds" in line]
    assert lines[1] == "# TYPE ecg_edge_stage_seconds histogram"
    assert len(lines) == 2 + 2 * (len(BUCKETS_MS) + 3), "one head for both"
    for line in (
        '_bucket{stage="inference",le="0.0001"} 0',
        '_bucket{stage="inference",le="0.00025"} 1',
        '_bucket{stage="inference",le="0.005"} 1',
        '_bucket{stage="inference",le="0.01"} 2',
        '_bucket{stage="inference",le="2.5"} 2',
        '_bucket{stage="inference",le="+Inf"} 3',
        '_sum{stage="inference"} 3.007200',
        '_count{stage="inference"} 3',
        '_count{stage="rules"} 0',
    ):
        assert line in lines


def test_buckets_hold_what_is_at_most_their_bound() -> None:
    histogram = LatencyHistogram(100)
    values = [*BUCKETS_MS, 0.0, 1.01, 99.9, 9999.0]
    for ms in values:
        histogram.add(ms)
    cumulative = np.cumsum(histogram.buckets)
    assert cumulative.tolist() == [sum(v <= bound for v in values) for bound in BUCKETS_MS] + [len(values)]
    assert histogram.total_ms == pytest.approx(sum(values))
