"""Events as a person reads them."""

import io
from dataclasses import replace

import pytest

from ecg_edge.firmware_bridge.leads import LEADS
from ecg_edge.runtime.classes import ClassInfo
from ecg_edge.runtime.events import NOTICE, Alert, Event, Status, Summary, Technical
from ecg_edge.runtime.sinks.console import Console

CLASSES = (ClassInfo("164889003", "AF", "atrial fibrillation", 0.5),)

NEW = Alert(
    time=83.0,
    id="AF-1",
    phase="new",
    kind="model",
    code="164889003",
    label="AF",
    priority="high",
    probability=0.91,
    onset=81.0,
    leads=("I", "II"),
    quality=1.0,
    latency_ms=11.84,
)
END = Alert(
    time=4000.0,
    id="AF-1",
    phase="end",
    kind="model",
    label="AF",
    priority="high",
    probability=0.2,
    onset=81.0,
    leads=LEADS,
    quality=1.0,
    reason="stream_end",
)
SUMMARY = Summary(
    time=4000.0,
    signal_s=4000.0,
    windows={"analyzed": 3980, "skipped": 4, "unusable": 7},
    alerts={"AF": 1},
    losses={"gap_frames": 130, "link_missing": 0},
    leads=LEADS,
    bundle="tiny",
    bundle_sha256="ab" * 32,
    latency_ms={"p50": 1.0, "p95": 2.0, "p99": 3.0, "max": 4.0},
    budget_ms=100.0,
    misses=2,
)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(*events: Event, stream: io.StringIO | None = None) -> list[str]:
    stream = io.StringIO() if stream is None else stream
    console = Console(stream, CLASSES)
    for event in events:
        console.emit(event)
    console.close()
    assert not stream.closed, "it belongs to the caller"
    return stream.getvalue().splitlines()


def test_what_it_is_not_comes_before_all_else_and_once() -> None:
    lines = shown(NEW, END)
    assert lines[0] == NOTICE
    assert lines.count(NOTICE) == 1


def test_alert_with_its_name_time_and_reason() -> None:
    _, new, end = shown(NEW, END)
    assert new == (
        "   01:23  ALERT   high   AF atrial fibrillation  "
        "(probability 0.91, since 01:21, leads I II, 11.8 ms after its last sample)"
    )
    assert end.startswith(" 1:06:40  end     high   AF atrial fibrillation  (stream end; probability 0.20")


def test_technical_and_status() -> None:
    off = Technical(time=5.0, code="lead_off", phase="new", message="V2: electrode off", leads=("V2",))
    gap = Technical(time=6.0, code="gap", phase="once", message="5 frames are missing", counts={"frames": 5})
    rate = Status(time=8.0, heart_rate=71.6, quality=1.0, leads=LEADS)
    assert shown(rate)[1].endswith("status  72 beats a minute, quality 1.00, 12 leads")
    status = Status(time=7.0, quality=0.93, leads=LEADS[1:], probabilities={"AF": 0.1, "NSR": 0.8})
    _, first, second, third = shown(off, gap, status)
    assert first.split() == ["00:05", "signal", "lead_off", "begins", "V2:", "electrode", "off"]
    assert second.split()[:3] == ["00:06", "link", "gap"]
    assert third == "   00:07  status  quality 0.93, all leads but I  NSR 0.80  AF 0.10"


@pytest.mark.parametrize(
    ("leads", "text"), [((), "no lead"), (("II",), "lead II"), (LEADS, "12 leads"), (LEADS[:6], "leads I II III aVR")]
)
def test_leads_in_words(leads: tuple[str, ...], text: str) -> None:
    assert f"1.00, {text}" in shown(Status(time=1.0, quality=1.0, leads=leads))[1]


def test_summary_tells_what_was_lost_and_nothing_of_what_was_not() -> None:
    text = "\n".join(shown(SUMMARY))
    assert "4000.0 s of signal, 3980 windows analyzed, 7 unusable, 4 skipped" in text
    assert "alerts: AF 1" in text
    assert "max 4.00; 2 over the budget of 100 ms" in text
    assert "lost or damaged: gap_frames 130\n" in text
    assert "device's clock" not in text, "which is not known of a recording"
    assert text.endswith(NOTICE)


@pytest.mark.parametrize(("ppm", "says"), [(50.3, "50.3 ppm fast, +-0.5"), (-9000.0, "9000.0 ppm slow, +-0.5")])
def test_the_summary_names_the_drift(ppm: float, says: str) -> None:
    timed = replace(SUMMARY, clock={"drift_ppm": ppm, "uncertainty_ppm": 0.5})
    assert f"\ndevice's clock: {says}\n" in "\n".join(shown(timed))


def test_color_only_on_a_terminal() -> None:
    assert "\033[" not in "\n".join(shown(NEW, SUMMARY))
    colored = "\n".join(shown(NEW, END, stream=Terminal()))
    assert colored.count("\033[1;37;41m") == 1, "the alert that is new stands out"
    assert colored.count("\033[0m") == 1


def test_gaps_that_come_in_numbers_are_added_up() -> None:
    out = io.StringIO()
    console = Console(out, ())
    for k in range(30):
        counts = {"frames": 10}
        console.emit(
            Technical(time=100 + k / 10, code="gap", phase="once", message="10 frames are lost", counts=counts)
        )
    console.emit(Technical(time=105, code="lead_off", phase="new", message="V1", leads=("V1",)))
    console.emit(Technical(time=111, code="lead_off", phase="end", message="V1", leads=("V1",)))
    lines = out.getvalue().splitlines()[1:]
    assert [line.split()[2] for line in lines] == ["gap", "lead_off", "gap", "lead_off"]
    assert "29 more gaps, 290 more frames" in lines[2]


LOST = Technical(time=10.2, code="gap", phase="once", message="10 frames are lost", counts={"frames": 10})
DAMAGED = Technical(time=10.4, code="link_errors", phase="once", message="the link damages packets: garbled 3")
OFF = Technical(time=9.0, code="lead_off", phase="new", message="V2: electrode off", leads=("V2",))
RULE = Alert(
    time=10.6, id="VF-1", phase="new", kind="rule", label="VF", priority="high", onset=6.0, leads=("II",), quality=1.0
)
ALIVE = Status(time=11.0, quality=1.0, leads=LEADS)


def codes(lines: list[str]) -> list[str]:
    return [next(word for word in ("gap", "link_errors", "lead_off", "VF", "status") if word in line) for line in lines]


def test_lines_of_the_link_wait_for_the_windows_of_their_time() -> None:
    """Windows are known a second and a half after what the link costs."""
    assert codes(shown(LOST, DAMAGED, OFF, ALIVE)[1:]) == ["lead_off", "gap", "link_errors", "status"]


def test_no_alert_waits_for_order_nor_brings_others_before_their_time() -> None:
    out = io.StringIO()
    console = Console(out, ())
    for event in (LOST, RULE):
        console.emit(event)
    assert codes(out.getvalue().splitlines()[1:]) == ["VF"]
    for event in (OFF, ALIVE):
        console.emit(event)
    assert codes(out.getvalue().splitlines()[1:]) == ["VF", "lead_off", "gap", "status"]


@pytest.mark.parametrize("code", ["link_lost", "sink_failed", "silenced"])
def test_what_is_urgent_is_written_at_once_behind_what_was_before_it(code: str) -> None:
    out = io.StringIO()
    console = Console(out, ())
    console.emit(DAMAGED)
    console.emit(Technical(time=10.5, code=code, phase="new", message="now"))
    assert [line.split()[0] for line in out.getvalue().splitlines()[1:]] == ["00:10", "00:10"]
    assert "now" in out.getvalue().splitlines()[-1]


def test_what_waits_is_written_in_the_end() -> None:
    assert codes(shown(LOST, DAMAGED)[1:]) == ["gap", "link_errors"]
    assert "link_errors" in shown(DAMAGED, SUMMARY)[1], "before the summary"
