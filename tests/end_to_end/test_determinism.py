"""The same record gives the same bytes of events: for any cut, with outlets or without, from a file or a board."""

import json
from pathlib import Path
from typing import Any

import pytest

from ecg_edge.firmware_bridge.packetize import packetize
from ecg_edge.runtime.events import EVENT_FIELDS_OF_MACHINE
from ecg_edge.runtime.sources import replay
from ecg_edge.runtime.sources.records import read_recording

CUTS_S = (0.004, 0.037, 0.25, 1.0, 7.3, 1e9)  # a frame at 250 Hz, odd pieces, a block, a hop, and all of it at once


@pytest.fixture(params=["simulated", "real"])
def any_record(request: pytest.FixtureRequest, record: Path) -> Path:
    if request.param == "simulated":
        return record
    path: Path = request.getfixturevalue("data_dir") / "vfdb/428"
    if not path.with_suffix(".hea").is_file():
        pytest.skip("this selection of VFDB lacks 428")
    return path


def bare(text: str) -> list[str]:
    """Return the lines without what depends on the machine, in the order and the digits in which they stand."""
    lines = [json.loads(line) for line in text.splitlines()]
    return [json.dumps({k: v for k, v in line.items() if k not in EVENT_FIELDS_OF_MACHINE}) for line in lines]


def test_for_any_cut_with_and_without_outlets(
    cli: Any, bundle: Path, any_record: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sinks = tmp_path / "sinks.toml"
    sinks.write_text('[disk]\nkind = "file"\npath = "events.jsonl"\n[bad]\nkind = "command"\nrun = ["false"]\n')
    simulated = any_record.name == "half_minute"
    common = ("replay", any_record, "--json", "--probabilities", "--rules", "--bundle", bundle)
    common += () if simulated else ("--leads", "II,V1")  # its own names say nothing
    plain = cli(*common)
    assert plain.status == 0
    expected = bare(plain.out)
    assert '"alert"' in plain.out
    cuts = CUTS_S if simulated else CUTS_S[1:4]
    for number, cut in enumerate(cuts):
        monkeypatch.setattr(replay, "CHUNK_SECONDS", cut)
        more = ("--sinks", sinks, "--record", tmp_path / "records", "--log", tmp_path / "log") if number % 2 else ()
        assert bare(cli(*common, *more).out) == expected, (cut, more)


@pytest.mark.parametrize("frames", [1, 10, 37])
def test_from_a_board_s_packets(
    cli: Any, bundle: Path, record: Path, frames: int, of_signal: Any, lines_of: Any
) -> None:
    """A capture of its bytes is no live stream: but for the link's counters it is the file."""
    options = ("--json", "--probabilities", "--rules", "--bundle", bundle)
    data = b"".join(packetize(read_recording(record), frames))
    expected = of_signal(lines_of(cli("replay", record, *options).out))
    assert of_signal(lines_of(cli("stream", "--device", "-", *options, stdin=data).out)) == expected
