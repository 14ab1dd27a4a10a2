"""Hold the monitor against annotated WFDB records: beats, episodes, delays of alarms, false alarms.

ecg-edge evaluate-stream mitdb/100 mitdb/101 --leads II,-          first channel only, by a standard name
ecg-edge evaluate-stream vfdb/* --leads II,V1 --json               rhythm annotations
ecg-edge evaluate-stream mitdb/* --leads II,V1 --model             the model's alerts too
ecg-edge evaluate-stream mitdb/100 --noise-record nstdb/ma --snr 6
ecg-edge evaluate-stream training/* --leads II,V1,-,- --alarms     records of the Challenge 2015: its alarm score

Beats count from the sixth minute on; alarms over the whole record. Latched alerts are acknowledged as soon as their
finding is gone.
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ecg_edge.firmware_bridge.errors import EcgEdgeError
from ecg_edge.firmware_bridge.recording import Recording

from .. import alarm_score, evidence
from ..backends import Backend
from ..bundle import Bundle
from ..evidence_reference import reference
from ..policy import Policy, load_policy
from ..sources.records import read_recording
from ..sources.wfdb_annotation import Annotations, read_annotations, write_annotations
from .common import add_model_arguments, lead_names, open_model
from .options import wrong_use

SHORTEST_S = 8.0  # an alarm may take as long


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("records", nargs="+", metavar="RECORD", help="path of an annotated WFDB record without suffix")
    parser.add_argument(
        "--leads",
        type=wrong_use(lead_names),
        metavar="II,V1,...",
        help="names of the channels, in order; '-' leaves one out",
    )
    parser.add_argument("--policy", type=Path, metavar="FILE", help="alert policy over the built-in one (TOML)")
    parser.add_argument("--noise-record", metavar="RECORD", help="WFDB record of noise to add, all along")
    parser.add_argument("--snr", type=float, metavar="DB", help="signal-to-noise ratio of it, as nst(1) has it")
    parser.add_argument(
        "--shortest", type=float, default=SHORTEST_S, metavar="S", help="count longer episodes (%(default)g s)"
    )
    parser.add_argument(
        "--alarms", action="store_true", help="score the alarm at 5:00 that each header names, as the Challenge 2015"
    )
    parser.add_argument(
        "--annotations", type=Path, metavar="DIR", help="write beats and rhythms found as RECORD.qrs in DIR"
    )
    parser.add_argument("--model", action="store_true", help="run the bundle's model too, and judge its alerts")
    add_model_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print the report as one JSON object")


def run(args: argparse.Namespace) -> int:
    """Run the command and return its exit status."""
    if (args.noise_record is None) != (args.snr is None):
        raise EcgEdgeError("--noise-record and --snr go together: give both")
    bundle, backend = open_model(args)
    policy = load_policy(args.policy, labels=[c.abbreviation for c in bundle.manifest.classes])
    model = backend if args.model else None
    if args.alarms:
        for option in ("noise_record", "annotations"):
            if getattr(args, option) is not None:
                raise EcgEdgeError(f"--alarms has no beats to work with: leave out --{option.replace('_', '-')}")
        return _score(args, bundle, policy)
    results = []
    for path in args.records:
        recording = read_recording(path, leads=args.leads)
        annotations = read_annotations(path)
        if args.noise_record is not None:
            recording = _noisy(args, recording, annotations, policy)
        results.append(_evaluated(args, recording, annotations, bundle, policy, model))
    report = evidence.report(results, args.shortest)
    if args.json:
        print(json.dumps(report, indent=1))
    else:
        _show(report)
    return 0


def _noisy(args: argparse.Namespace, recording: Recording, annotations: Annotations, policy: Policy) -> Recording:
    noise = read_recording(args.noise_record, leads=args.leads or ("II", "V1"))
    truth = reference(annotations, recording.rate, recording.seconds, policy.rules)
    return evidence.add_noise(recording, noise, args.snr, truth.beats)


def _evaluated(
    args: argparse.Namespace,
    recording: Recording,
    annotations: Annotations,
    bundle: Bundle,
    policy: Policy,
    model: Backend | None,
) -> evidence.Evidence:
    result = evidence.evaluate(recording, annotations, recording.rate, bundle, policy, model)
    if args.annotations is not None:
        args.annotations.mkdir(parents=True, exist_ok=True)
        found = evidence.annotations_of(result, recording.rate)
        write_annotations(args.annotations / recording.name, found, "qrs")
    return result


def _score(args: argparse.Namespace, bundle: Bundle, policy: Policy) -> int:
    """Print the alarm score of records of the Challenge 2015."""
    verdicts = []
    for path in args.records:
        recording = read_recording(path, leads=args.leads, stop_seconds=alarm_score.ALARM_S)
        kind, true = alarm_score.annotated_alarm(recording.name, recording.comments)
        alarms, _ = evidence.monitor(recording, bundle, policy)
        told = [(a.label, a.heard, a.end) for a in alarms if a.kind == "rule"]
        verdicts.append(alarm_score.judge(recording.name, kind, true, told))
    figures = alarm_score.score(verdicts)
    if args.json:
        print(json.dumps({"records": [asdict(v) | {"outcome": v.outcome} for v in verdicts], **figures}, indent=1))
        return 0
    for v in verdicts:
        truth, outcome = "true" if v.true else "false", "confirmed" if v.confirmed else "suppressed"
        print(f"{v.record:<12}{v.alarm:<26}{truth:<7}{outcome}")
    print(f"\n{'':<26}{'TP':>5}{'TN':>5}{'FP':>5}{'FN':>5}{'TPR':>8}{'TNR':>8}{'score':>8}")
    for name, row in {**figures["by_alarm"], "all": figures}.items():
        counts = "".join(f"{row[key]:>5}" for key in ("tp", "tn", "fp", "fn"))
        rates = "".join(_cell(row.get(key)) for key in ("true_positive_rate", "true_negative_rate", "score"))
        print(f"{name:<26}{counts}{rates}")
    print("\nResearch software, not a medical device.")
    return 0


def _show(report: dict[str, Any]) -> None:
    print("record        missed  extra      Se     +P   episodes  delays (s)                  alerts; false high ones")
    for row in report["records"]:
        delays = " ".join(f"{e['delay']:.1f}" if "delay" in e else "missed" for e in row["episodes"])
        alarms = " ".join(f"{label}:{n['announced']}" for label, n in row["alerts"].items())
        false = " ".join(f"{f['label']}@{f['time']:.0f}" for f in row["false"])
        count = len(row["episodes"])
        name = row["record"] + (" paced" if row["paced"] else "")
        print(f"{name:<12}{_beats(row)}   {count:>8}  {delays:<26}  {alarms}; {false or 'none'}")
    for key, title in (
        ("pooled", "all records without pacemaker"),
        ("pooled_without_lethal_rhythms", "of these, without VF, VT, asystole"),
        ("pooled_paced", "paced records"),
    ):
        if report[key]["hours"]:
            _show_pooled(report[key], title)
    print("\nResearch software, not a medical device.")


def _show_pooled(p: dict[str, Any], title: str) -> None:
    print(f"\n{title}: {p['hours']:.2f} h")
    print(f"  beats      {_beats(p)}")
    for key, name in (("delays", "VF, VFL, VT, asystole"), ("delays_vf_asystole", "of them without VT")):
        d = p[key]
        print(
            f"  episodes   {name}: {d['alarmed']} of {d['episodes']} alarmed, {d['already']} already at the onset",
            end="",
        )
        late = f"95th percentile {d['p95']}, most {d['max']} s" if "median" in d else ""
        print(f"; delay median {d['median']}, {late}" if late else "")
    print(f"  false high-priority alarms  {p['false_alarms']} of {p['alarms_judged']}", end="")
    print(f", {p['false_alarms_per_10_hours']} in 10 h")
    print(f"\n  {'rhythm':<14}{'episodes':>9}{'Se':>8}{'+P':>8}{'hours':>9}{'Se':>8}{'+P':>8}")
    for name, row in p["rhythms"].items():
        of_episodes = "".join(_cell(row.get(f"episode_{what}")) for what in ("sensitivity", "predictivity"))
        of_time = "".join(_cell(row.get(f"duration_{what}")) for what in ("sensitivity", "predictivity"))
        print(f"  {name:<14}{row['episodes']:>9}{of_episodes}{row['seconds'] / 3600:>9.3f}{of_time}")
    print(f"\n  {'alert':<14}{'announced':>10}{'judged':>8}{'false':>7}{'an hour':>9}")
    for label, row in p["alerts"].items():
        hourly = f"{row['false_per_hour']:>9.2f}" if "false_per_hour" in row else f"{'-':>9}"
        print(f"  {label:<14}{row['announced']:>10}{row['judged']:>8}{row['false']:>7}{hourly}")


def _cell(value: float | None) -> str:
    return f"{'-':>8}" if value is None else f"{value:>8.2f}"


def _beats(row: dict[str, Any]) -> str:
    beats = row.get("beats")
    if not beats or "sensitivity" not in beats:
        return f"{'-':>8}{'-':>7}{'-':>8}{'-':>7}"
    return f"{beats['missed']:>8}{beats['extra']:>7}{beats['sensitivity']:>8.2f}{beats['positive_predictivity']:>7.2f}"
