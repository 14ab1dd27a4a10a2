"""Hold the rhythm rules against annotated WFDB records: beats, episodes, delays of alarms, false alarms.

ecg-edge evaluate-stream mitdb/100 mitdb/101 --leads II,-          first channel only, by a standard name
ecg-edge evaluate-stream vfdb/* --leads II,V1 --json               rhythm annotations
ecg-edge evaluate-stream mitdb/100 --noise-record nstdb/ma --snr 6

The model is not run. Beats count from the sixth minute on; alarms over the whole record. Latched alerts are
acknowledged as soon as their finding is gone.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from ecg_edge.firmware_bridge.errors import EcgEdgeError

from .. import evidence
from ..bundle import load
from ..policy import load_policy
from ..sources.records import read_recording
from ..sources.wfdb_annotation import read_annotations, write_annotations
from .common import DEFAULT_BUNDLE, lead_names

SHORTEST_S = 8.0  # an alarm may take as long


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("records", nargs="+", metavar="RECORD", help="path of an annotated WFDB record without suffix")
    parser.add_argument("--leads", metavar="II,V1,...", help="names of the channels, in order; '-' leaves one out")
    parser.add_argument("--policy", type=Path, metavar="FILE", help="alert policy over the built-in one (TOML)")
    parser.add_argument("--noise-record", metavar="RECORD", help="WFDB record of noise to add, all along")
    parser.add_argument("--snr", type=float, metavar="DB", help="signal-to-noise ratio of it, as nst(1) has it")
    parser.add_argument(
        "--shortest", type=float, default=SHORTEST_S, metavar="S", help="count longer episodes (%(default)g s)"
    )
    parser.add_argument("--annotations", type=Path, metavar="DIR", help="write the beats found as RECORD.qrs in DIR")
    parser.add_argument("--bundle", default=DEFAULT_BUNDLE, metavar="NAME|PATH", help="for its contract (%(default)s)")
    parser.add_argument("--json", action="store_true", help="print the report as one JSON object")


def run(args: argparse.Namespace) -> int:
    """Run the command and return its exit status."""
    if (args.noise_record is None) != (args.snr is None):
        raise EcgEdgeError("--noise-record and --snr go together: give both")
    bundle = load(args.bundle)
    policy = load_policy(args.policy, labels=[c.abbreviation for c in bundle.manifest.classes])
    leads = lead_names(args.leads)
    results = []
    for path in args.records:
        recording = read_recording(path, leads=leads)
        annotations = read_annotations(path)
        if args.noise_record is not None:
            names = ("II", "V1") if leads is None else leads
            noise = read_recording(args.noise_record, leads=names)
            truth = evidence.reference(annotations, recording.rate, recording.seconds, policy.rules)
            recording = evidence.add_noise(recording, noise, args.snr, truth.beats)
        result = evidence.evaluate(recording, annotations, recording.rate, bundle, policy)
        results.append(result)
        if args.annotations is not None:
            args.annotations.mkdir(parents=True, exist_ok=True)
            beats = evidence.beat_annotations(result, recording.rate)
            write_annotations(args.annotations / recording.name, beats, "qrs")
    report = evidence.report(results, args.shortest)
    if args.json:
        print(json.dumps(report, indent=1))
    else:
        _show(report)
    return 0


def _show(report: dict[str, Any]) -> None:
    print("record        missed  extra      Se     +P   episodes  delays (s)                  alarms; false ones")
    for row in report["records"]:
        delays = " ".join(f"{e['delay']:.1f}" if "delay" in e else "missed" for e in row["episodes"])
        alarms = " ".join(f"{label}:{n}" for label, n in row["alarms"].items())
        false = " ".join(f"{f['label']}@{f['time']:.0f}" for f in row["false"])
        count = len(row["episodes"])
        print(f"{row['record']:<12}{_beats(row)}   {count:>8}  {delays:<26}  {alarms}; {false or 'none'}")
    for name, title in (("pooled", "all records"), ("pooled_without_lethal_rhythms", "without VF, VT, asystole")):
        p = report[name]
        print(f"\n{title}: {p['hours']:.2f} h")
        print(f"  beats      {_beats(p)}")
        already = f"{p['already_alarmed']} of them already at the onset"
        print(f"  episodes   {p['episodes_alarmed']} of {p['episodes']} alarmed, {already}", end="")
        if "delay_median" in p:
            late = f"95th percentile {p['delay_p95']}, most {p['delay_max']} s"
            print(f"; delay median {p['delay_median']}, {late}", end="")
        print(f"\n  false high-priority alarms  {p['false_alarms']} of {p['alarms_judged']}", end="")
        print(f", {p['false_alarms_per_10_hours']} in 10 h" if p["hours"] else "")
    print("\nResearch software, not a medical device.")


def _beats(row: dict[str, Any]) -> str:
    beats = row.get("beats")
    if not beats or "sensitivity" not in beats:
        return f"{'-':>8}{'-':>7}{'-':>8}{'-':>7}"
    return f"{beats['missed']:>8}{beats['extra']:>7}{beats['sensitivity']:>8.2f}{beats['positive_predictivity']:>7.2f}"
