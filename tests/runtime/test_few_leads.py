"""One to twelve leads, in any order and by any name: alarms come, and everything says what it rests on."""

import json
from dataclasses import replace

import numpy as np
import pytest

from ecg_edge.firmware_bridge.heart import Episode, simulate
from ecg_edge.firmware_bridge.leads import LEADS
from ecg_edge.runtime.cli.main import main
from ecg_edge.runtime.sources.records import read_recording, write_recording

EPISODES = [Episode("sinus rhythm", 25), Episode("asystole", 10), Episode("sinus rhythm", 15)]
LIMB = ("I", "II", "III", "aVR", "aVL", "aVF")

# names in the header -> leads that the rules watch, leads that the summary rests on
CASES = {
    "one lead I": (("lead i",), ("I",), ("I",)),
    "one Holter lead": (("MLII",), ("II",), ("II",)),
    "one augmented lead": (("AVR",), ("aVR",), ("aVR",)),
    "Holter pair": (("MLII", "V1"), ("II", "V1"), ("II", "V1")),
    "pair the other way round": (("V1", "MLII"), ("II", "V1"), ("II", "V1")),
    "limb leads from two": (("III", "I"), ("I", "II"), LIMB),
    "no pair of limb leads": (("v5", "LEAD III"), ("III", "V5"), ("III", "V5")),
    "two augmented leads": (("avl", "aVF"), ("aVL", "aVF"), ("aVL", "aVF")),
    "chest leads": (("V6", "V2", "V4"), ("V2", "V4", "V6"), ("V2", "V4", "V6")),
    "twelve, reversed and in capitals": (
        tuple(lead.upper() for lead in reversed(LEADS)),
        ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6"),
        LEADS,
    ),
}


@pytest.fixture(scope="module")
def whole():
    return simulate(EPISODES, rate=250, leads=LEADS, seed=4).recording


@pytest.mark.parametrize(("names", "watched", "rests_on"), CASES.values(), ids=CASES)
def test_any_set_of_leads(whole, tiny_bundle, tmp_path, capsys, names, watched, rests_on):
    by_name = {lead.upper(): k for k, lead in enumerate(LEADS)}
    plain = [name.upper().removeprefix("LEAD ").replace("MLII", "II") for name in names]
    columns = [by_name[name] for name in plain]
    some = replace(whole, name="few", leads=tuple(LEADS[k] for k in columns), counts=whole.counts[:, columns])
    header = write_recording(some, tmp_path).with_suffix(".hea")
    in_option = any(" " in name for name in names)  # a blank ends a name in a header, not in an option
    if not in_option:
        lines = header.read_text().splitlines()
        for k, name in enumerate(names):
            lines[k + 1] = f"{lines[k + 1].rpartition(' ')[0]} {name}"
        header.write_text("\n".join(lines) + "\n")
    args = ["--leads", ",".join(names)] if in_option else []
    bundle = tiny_bundle(tmp_path / "tiny", logits=[-9.0, 9.0, -9.0])
    assert main(["replay", str(tmp_path / "few"), "--json", "--bundle", str(bundle), *args]) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    alerts = [e for e in events if e["type"] == "alert" and e["label"] == "Asystole" and e["phase"] == "new"]
    assert [tuple(e["leads"]) for e in alerts] == [watched]
    assert 29 < alerts[0]["time"] < 30.5
    assert tuple(events[-1]["leads"]) == rests_on
    rates = [e["heart_rate"] for e in events if e["type"] == "status" and "heart_rate" in e]
    assert rates[0] == pytest.approx(68, abs=8)


def test_a_single_coarse_lead_as_of_an_ad8232(whole, tiny_bundle, tmp_path, capsys):
    """10 bits over 3.3 V behind a gain of 100: 32 microvolts a count, at 125 Hz."""
    microvolts = whole.counts[::2, :1] * (whole.pv_per_lsb / 1e6)
    counts = np.rint(microvolts / 32.2).astype(np.int32)
    coarse = replace(whole, name="ad8232", rate=125, leads=("I",), counts=counts, pv_per_lsb=32_200_000)
    path = write_recording(coarse, tmp_path)
    bundle = tiny_bundle(tmp_path / "tiny", logits=[-9.0, 9.0, -9.0])
    assert main(["replay", str(path), "--json", "--bundle", str(bundle)]) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    told = [(e["label"], e["leads"]) for e in events if e["type"] == "alert" and e["phase"] == "new"]
    assert ("Asystole", ["I"]) in told
    assert events[-1]["leads"] == ["I"]


def test_a_holter_record_by_its_own_names(data_dir, tiny_bundle, tmp_path, capsys):
    path = data_dir / "mitdb" / "119"
    names = read_recording(path, stop_seconds=1).leads
    assert names == ("II", "V1"), "MLII and V1 in its header"
    cut = read_recording(path, stop_seconds=60)
    written = write_recording(replace(cut, name="cut"), tmp_path)
    bundle = tiny_bundle(tmp_path / "tiny", logits=[-9.0, 9.0, -9.0])
    assert main(["replay", str(written), "--json", "--bundle", str(bundle)]) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert events[-1]["leads"] == ["II", "V1"]
    rates = [e["heart_rate"] for e in events if e["type"] == "status" and "heart_rate" in e]
    assert len(rates) >= 5
    assert all(55 < rate < 80 for rate in rates)
