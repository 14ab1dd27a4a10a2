"""How the rules are measured: beat matching against brute force, the reference, noise; and real records with bounds."""

import json
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecg_edge.firmware_bridge.errors import EcgEdgeError
from ecg_edge.firmware_bridge.recording import Recording
from ecg_edge.runtime import evidence, evidence_reference
from ecg_edge.runtime.bundle import load
from ecg_edge.runtime.cli.main import main
from ecg_edge.runtime.policy import load_policy
from ecg_edge.runtime.sources.records import read_recording
from ecg_edge.runtime.sources.wfdb_annotation import Annotation, Annotations, read_annotations

times = st.lists(st.integers(0, 40), max_size=6, unique=True).map(lambda t: np.array(sorted(t)) / 10)


@settings(max_examples=200, deadline=None)
@given(times, times)
def test_no_pairing_of_beats_has_more_pairs(truth, detected):
    got = evidence.match_beats(truth, detected, 0.15)
    assert got.true == most_pairs(truth.tolist(), detected.tolist(), 0.15)
    assert got.true + len(got.missed) == len(truth)
    assert got.true + len(got.extra) == len(detected)
    assert set(got.missed) <= set(truth.tolist())


def most_pairs(truth: list[float], detected: list[float], window: float) -> int:
    """Return the largest number of pairs, by trying all subsets in order (an optimal pairing need not cross)."""
    for n in range(min(len(truth), len(detected)), 0, -1):
        for some in combinations(truth, n):
            for others in combinations(detected, n):
                if all(abs(a - b) <= window for a, b in zip(some, others, strict=True)):
                    return n
    return 0


def test_the_reference_has_annotated_rhythms_and_what_beats_make():
    beats = [*np.arange(0, 20, 1.0), *np.arange(24.5, 30, 0.4), *np.arange(31, 60, 2.0)]
    entries = [Annotation(round(t * 100), "V" if 24 < t < 30 else "N") for t in beats]
    entries += [Annotation(7000, "+", aux="(VFL"), Annotation(8000, "+", aux="(N")]
    entries += [Annotation(9000, "["), Annotation(9500, "]")]
    entries.sort(key=lambda a: a.sample)
    truth = evidence_reference.reference(Annotations(tuple(entries)), 100, 100.0, load_policy().rules)
    found = [(e.label, round(e.onset, 2), round(e.end, 2)) for e in truth.episodes]
    assert ("VF", 70.0, 80.0) in found
    assert ("VF", 90.0, 95.0) in found
    assert ("Asystole", 19.0, 24.5) in found
    assert ("VT", 24.5, 29.7) in found
    assert any(label == "ExtremeBrady" and end == 59.0 for label, _, end in found)
    assert truth.flutter == ((90.0, 95.0),)


def test_an_alarm_is_true_when_the_reference_has_it_and_its_delay_counts_from_the_onset():
    flutter = evidence_reference.Episode("VF", 100.0, 120.0)
    truth = evidence_reference.Reference(np.zeros(0), (), (flutter,), evidence_reference.BY_RHYTHM)
    early, right, late = (evidence.Alarm("VT", "high", t - 3, t, t + 5) for t in (90.0, 104.5, 130.0))
    assert [evidence.is_true(a, truth) for a in (early, right, late)] == [False, True, False]
    assert evidence.delay(truth.episodes[0], [early, right, late]) == (4.5, "VT")
    assert evidence.delay(truth.episodes[0], [late]) is None
    assert not evidence.can_be_judged(evidence.Alarm("ExtremeTachy", "high", 0, 1, 2), truth), "no beats to count"


def test_noise_has_the_ratio_that_was_asked_for():
    rng = np.random.default_rng(0)
    counts = np.zeros((3600, 1), np.int32)
    beats = np.arange(0.5, 9.5, 1.0)
    counts[np.rint(beats * 360).astype(int)] = 1000
    clean = Recording("r", 360, ("II",), counts, 1_000_000)
    noise = Recording("n", 360, ("II",), rng.normal(0, 50, (7200, 1)).astype(np.int32), 1_000_000)
    noisy = evidence.add_noise(clean, noise, 6.0, beats)
    power = np.mean(np.square((noisy.counts - counts).astype(float)))
    assert 10 * np.log10(1000**2 / 8 / power) == pytest.approx(6.0, abs=0.3)
    with pytest.raises(EcgEdgeError, match="same rate"):
        evidence.add_noise(clean, Recording("n", 250, ("II",), noise.counts, 1_000_000), 6.0, beats)


@pytest.fixture(scope="module")
def bundle(tiny_bundle, tmp_path_factory):
    return load(tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny"))


@pytest.mark.parametrize(("record", "sensitivity", "predictivity"), [("223", 99.5, 99.5), ("119", 99.5, 99.0)])
def test_beats_of_real_records(data_dir, bundle, record, sensitivity, predictivity):
    path = data_dir / "mitdb" / record
    recording = read_recording(path, leads=("II", "V1"), stop_seconds=900)
    annotations = read_annotations(path)
    kept = tuple(a for a in annotations.entries if a.sample < 900 * 360)
    result = evidence.evaluate(recording, Annotations(kept), 360, bundle, load_policy())
    (row,) = evidence.report([result], 8.0)["records"]
    assert row["beats"]["sensitivity"] >= sensitivity
    assert row["beats"]["positive_predictivity"] >= predictivity
    assert row["false"] == []


@pytest.mark.parametrize(("record", "start", "stop"), [("424", 1100, 1420), ("419", 500, 960)])
def test_lethal_rhythms_of_real_records(data_dir, bundle, record, start, stop):
    path = data_dir / "vfdb" / record
    recording = read_recording(path, leads=("II", "V1"), start_seconds=start, stop_seconds=stop)
    shifted = [(a, a.sample - start * 250) for a in read_annotations(path).entries if start * 250 <= a.sample]
    kept = tuple(Annotation(sample, a.symbol, aux=a.aux) for a, sample in shifted if sample < (stop - start) * 250)
    result = evidence.evaluate(recording, Annotations(kept), 250, bundle, load_policy())
    (row,) = evidence.report([result], 8.0)["records"]
    assert len(row["episodes"]) == 2
    assert all(e["delay"] <= 5.5 for e in row["episodes"])


def test_command(data_dir, tiny_bundle, tmp_path, capsys, wfdb):
    bundle = tiny_bundle(tmp_path / "tiny", logits=[20.0, -20.0, -20.0])  # AF all the time
    record = data_dir / "cpsc2021" / "data_92_12"
    args = [
        "evaluate-stream",
        str(record),
        "--model",
        "--leads",
        "II,V1",
        "--bundle",
        str(bundle),
        "--annotations",
        str(tmp_path),
    ]
    assert main([*args, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["records"][0]["record"] == "data_92_12"
    written = wfdb.rdann(str(tmp_path / "data_92_12"), "qrs")
    assert len(written.sample) > 30
    assert {"N", "+"} <= set(written.symbol)
    assert "(AFIB" in [note.rstrip("\x00") for note in written.aux_note]
    assert report["pooled"]["rhythms"]["atrial"]["episode_sensitivity"] == 100
    assert report["pooled"]["alerts"]["AF"]["false"] == 0
    assert main([*args, "--snr", "6"]) == 1
    assert "go together" in capsys.readouterr().err


def test_what_the_model_says_is_judged_by_beats_and_rhythms():
    beats = [Annotation(100 * k, "N" if k % 20 else "V") for k in range(60)]
    notes = [Annotation(0, "+", aux="(N"), Annotation(3000, "+", aux="(AFIB"), Annotation(4000, "+", aux="(N")]
    entries = tuple(sorted(beats + notes, key=lambda a: a.sample))
    truth = evidence_reference.reference(Annotations(entries), 100, 60.0, load_policy().rules)

    def said(label: str, onset: float, heard: float) -> bool:
        alarm = evidence.Alarm(label, "low", onset, heard, heard + 5, "model")
        assert evidence.can_be_judged(alarm, truth)
        return evidence.is_true(alarm, truth)

    assert said("AF", 28.0, 36.0)
    assert not said("AF", 5.0, 15.0)
    assert said("PVC", 15.0, 22.0)
    assert not said("PVC", 26.0, 33.0)
    assert not said("STach", 10.0, 20.0), "60 beats a minute"
    assert not said("PR", 10.0, 20.0)
    assert not evidence.can_be_judged(evidence.Alarm("LQT", "low", 0, 1, 2), truth), "nobody annotated intervals"
    bare = evidence_reference.reference(Annotations(tuple(beats)), 100, 60.0, load_policy().rules)
    assert not evidence.can_be_judged(evidence.Alarm("AF", "low", 0, 1, 2), bare), "no rhythm was annotated"


def test_paced_records_stand_apart():
    def result(name: str, symbol: str) -> evidence.Evidence:
        entries = tuple(Annotation(36000 + 100 * k, symbol) for k in range(20))
        truth = evidence_reference.reference(Annotations(entries), 100, 600.0, load_policy().rules)
        matches = evidence.match_beats(truth.beats, truth.beats[1:])
        return evidence.Evidence(name, 600.0, truth.beats, np.zeros(20, bool), matches, (), truth)

    report = evidence.report([result("100", "N"), result("107", "/")], 8.0)
    assert [row["paced"] for row in report["records"]] == [False, True]
    assert report["pooled"]["hours"] == report["pooled_paced"]["hours"] == pytest.approx(1 / 6, abs=1e-3)
