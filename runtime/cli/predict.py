"""Classify whole records: the mean of the probabilities over all windows that could be judged.

ecg-edge predict RECORD... [--json]
ecg-edge records DATA --source ptbxl --fold 9 | ecg-edge predict --list - --challenge-output out/
"""

import argparse
import json
import sys
from pathlib import Path

from ecg_edge.firmware_bridge.errors import EcgEdgeError

from ..challenge_files import write_prediction
from ..policy import load_policy
from ..prediction import Prediction, predict
from .common import add_model_arguments, add_signal_arguments, open_model, open_record


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument(
        "records",
        nargs="*",
        metavar="RECORD",
        help="path of a WFDB record without suffix, `demo`, or heart:RHYTHM/SECONDS,...",
    )
    parser.add_argument("--list", metavar="FILE", help="also the records named in FILE, one a line; - for stdin")
    parser.add_argument("--json", action="store_true", help="one JSON object a record")
    parser.add_argument(
        "--challenge-output", type=Path, metavar="DIR", help="write the PhysioNet/CinC Challenge's CSV files"
    )
    add_signal_arguments(parser)
    add_model_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command; exit status 1 when a record could not be judged, after all the others were."""
    records = [*args.records, *_listed(args.list)]
    if not records:
        print("ecg-edge: name a record, or a list of them with --list", file=sys.stderr)
        return 2
    bundle, backend = open_model(args)
    policy = load_policy(None, labels=[c.abbreviation for c in bundle.manifest.classes])
    failed = 0
    written: set[str] = set()
    for record in records:
        try:
            prediction = predict(open_record(record, args.leads), record, bundle, backend, policy, args.mains)
        except EcgEdgeError as error:
            failed += 1
            print(f"ecg-edge: {error}", file=sys.stderr)
            continue
        if prediction.probabilities is None:
            failed += 1
            print(f"ecg-edge: {record}: no diagnosis: {'; '.join(prediction.technical)}", file=sys.stderr)
        elif args.challenge_output is not None:
            if prediction.name in written:
                failed += 1
                print(
                    f"ecg-edge: {record}: another record called {prediction.name} has been written; "
                    "give records of the same name another --challenge-output",
                    file=sys.stderr,
                )
                continue
            written.add(prediction.name)
            write_prediction(args.challenge_output, prediction, bundle.manifest.classes)
        _show(prediction, args.json)
    if failed and len(records) > 1:
        print(f"ecg-edge: {failed} of {len(records)} records without a diagnosis", file=sys.stderr)
    return 1 if failed else 0


def _listed(path: str | None) -> list[str]:
    if path is None:
        return []
    try:
        text = sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise EcgEdgeError(f"cannot read the list {path} ({error}): name a text file of record paths") from None
    return [line.strip() for line in text.splitlines() if line.strip()]


def _show(prediction: Prediction, as_json: bool) -> None:
    if as_json:
        print(json.dumps(prediction.to_dict(), allow_nan=False))
        return
    if prediction.probabilities is None:
        return
    best = sorted(prediction.probabilities.items(), key=lambda item: -item[1])
    marked = [f"{label}{'*' if label in prediction.labels else ''} {p:.2f}" for label, p in best[:6]]
    print(f"{prediction.record}  quality {prediction.quality:.2f}  {'  '.join(marked)}")
