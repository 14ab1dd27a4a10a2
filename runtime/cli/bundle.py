"""Show or verify a model bundle.

`show` tells what a bundle holds: its classes, signal contract, files, measured figures and origin. Without a name it
lists the bundles that ship with the package. `verify` checks the hashes and the contract, and runs the self-test on
this machine with each of its models that a library here can run; without a name, of every shipped bundle.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

from ecg_edge.firmware_bridge.errors import EcgEdgeError

from .. import backends, selftest
from ..bundle import Bundle, Manifest, load, shipped

RUNNERS = {"onnx": "onnxruntime", "tflite": "ai-edge-litert"}  # what runs the models of each backend
NONE_SHIPPED = "no bundle ships with this installation: name the folder of one"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the two actions and their options."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="show|verify")
    show = actions.add_parser("show", help="tell what a bundle is, or list the shipped ones", allow_abbrev=False)
    verify = actions.add_parser("verify", help="check hashes, contract and self-test", allow_abbrev=False)
    verify.add_argument(
        "--backend", default="auto", choices=backends.CHOICES, help="run this model alone (%(default)s: every one)"
    )
    for action in (show, verify):
        action.add_argument("bundle", nargs="?", metavar="NAME|PATH", help="shipped bundle or folder")
        action.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Show or verify."""
    if args.action == "verify":
        return _verify(args)
    return _list(args.json) if args.bundle is None else _show(load(args.bundle), args.json)


def _list(as_json: bool) -> int:
    bundles = [load(name) for name in shipped()]
    if as_json:
        print(json.dumps({"bundles": [_brief(b) for b in bundles]}))
        return 0
    rows = [("name", "version", "classes", "backends", "bytes", "licence")]
    for b in bundles:
        m = b.manifest
        rows.append((m.name, m.version, str(len(m.classes)), ",".join(m.models), str(_size(m)), m.licence))
    print(_columns(rows) if bundles else NONE_SHIPPED)
    return 0


def _brief(bundle: Bundle) -> dict[str, Any]:
    m = bundle.manifest
    return {
        "name": m.name,
        "version": m.version,
        "classes": [c.abbreviation for c in m.classes],
        "backends": list(m.models),
        "bytes": _size(m),
        "licence": m.licence,
        "sha256": bundle.sha256,
    }


def _size(manifest: Manifest) -> int:
    return sum(info.bytes for info in manifest.files.values())


def _show(bundle: Bundle, as_json: bool) -> int:
    m = bundle.manifest
    if as_json:
        print(json.dumps(m.to_dict() | {"sha256": bundle.sha256, "folder": str(bundle.folder)}))
        return 0
    c = m.contract
    facts = [
        ("name", f"{m.name} {m.version}"),
        ("folder", str(bundle.folder)),
        ("sha256", bundle.sha256),
        ("licence", m.licence),
        ("contract", f"{c.sha256}, front end {c.front_end}"),
        ("signal", f"{len(c.leads)} leads at {c.rate} Hz, {c.nv_per_lsb} nV per LSB, up to {c.lowpass_pass_hz:g} Hz"),
        ("window", f"{c.window_seconds} s every {c.hop_seconds} s"),
        ("spectrogram", f"{c.stft_bins} bins x {c.frames} frames, {c.stft_length} samples every {c.stft_hop}"),
    ]
    classes = [("class", "SNOMED CT", "threshold", "name", "same as")]
    classes += [
        (k.abbreviation, k.code or "-", f"{k.threshold:.3f}", k.name, " ".join(k.equivalents) or "-") for k in m.classes
    ]
    used = {file: backend for backend, file in m.models.items()}
    files = [("file", "bytes", "sha256", "backend")]
    files += [(name, str(i.bytes), i.sha256, used.get(name, "-")) for name, i in m.files.items()]
    metrics = [("figure", "value", "95 % interval", "data", "split")]
    metrics += [(f.metric, f"{f.value:.4f}", _interval(f.low, f.high), f.data, f.split) for f in m.metrics]
    origin = [(key, value if isinstance(value, str) else json.dumps(value)) for key, value in m.provenance.items()]
    tables = (facts, classes, files, metrics if m.metrics else [], origin)
    print("\n\n".join(_columns(table) for table in tables if table))
    return 0


def _interval(low: float | None, high: float | None) -> str:
    return "-" if low is None or high is None else f"{low:.4f} to {high:.4f}"


def _verify(args: argparse.Namespace) -> int:
    names = [args.bundle] if args.bundle is not None else shipped()
    if not names:
        raise EcgEdgeError(NONE_SHIPPED)
    found = [_verdict(name, args.backend) for name in names]
    good = all(one["passed"] for one in found)
    if args.json:
        print(json.dumps({"passed": good, "bundles": found}))
    for one in found:
        if not one["passed"]:
            print(f"ecg-edge: {one['bundle']}: {one['reason']}", file=sys.stderr)
        elif not args.json:
            print(_passed(one))
    return 0 if good else 1


def _passed(one: dict[str, Any]) -> str:
    """Return the line of a bundle that passed."""
    parts = [
        f"{one['bundle']}: {one['files']} files match their hashes, contract {one['contract_sha256'][:12]}",
        "front end exact: yes",
    ]
    for name, result in one["backends"].items():
        if result["passed"] is None:
            parts.append(f"{name} not run ({result['reason']})")
        else:
            parts.append(f"largest logit difference {result['largest_difference']:.2g} on {name}")
    return f"{', '.join(parts)} (tolerance {one['tolerance']:.2g}): passed"


def _verdict(name: str, choice: str) -> dict[str, Any]:
    """Return what verifying found, as JSON types; `reason` only where it failed.

    Under `backends` each of the bundle's models, or the chosen one: whether it `passed`, null where nothing here runs
    it. Without a choice it is enough that one passes and none fails, since a device may have one runtime only.
    """
    try:
        bundle = load(name)
    except EcgEdgeError as error:
        return {"bundle": name, "passed": False, "reason": str(error)}
    manifest = bundle.manifest
    kinds = [k for k in backends.BACKENDS if k in manifest.models] if choice == "auto" else [choice]
    results: dict[str, dict[str, Any]] = {}
    exact: bool | None = None
    for kind in kinds:
        if choice == "auto" and not backends.installed(kind):
            results[kind] = {"passed": None, "reason": f"{RUNNERS[kind]} is not installed"}
            continue
        try:
            outcome = selftest.run(bundle, backends.open_backend(bundle, kind))
        except EcgEdgeError as error:
            results[kind] = {"passed": False, "reason": str(error)}
            continue
        exact = outcome.front_end_exact
        results[kind] = _result(kind, outcome, manifest.self_test.tolerance)
    reasons = [one["reason"] for one in results.values() if one["passed"] is False]
    if not any(one["passed"] for one in results.values()):
        reasons.append(f"nothing here runs {' or '.join(manifest.models)}: pip install --force-reinstall ecg-edge")
    verdict = {
        "bundle": name,
        "passed": not reasons,
        "sha256": bundle.sha256,
        "contract_sha256": manifest.contract.sha256,
        "files": len(manifest.files),
        "front_end_exact": exact,
        "tolerance": manifest.self_test.tolerance,
        "backends": results,
    }
    return verdict | ({"reason": reasons[0]} if reasons else {})


def _result(kind: str, outcome: selftest.Outcome, tolerance: float) -> dict[str, Any]:
    # JSON has no infinity, which stands for an answer that is not a number.
    finite = outcome.largest_difference < float("inf")
    result = {"passed": outcome.passed, "largest_difference": outcome.largest_difference if finite else None}
    if not outcome.front_end_exact:
        reason = "the front end computes other integers here: reinstall ecg-edge, or report this machine"
        return result | {"reason": reason}
    if not outcome.passed:
        far = f"differs by {outcome.largest_difference:.2g}" if finite else "is not finite"
        reason = f"the {kind} model's answer {far}, where {tolerance:.2g} is tolerated"
        return result | {"reason": f"{reason}: use another version of {RUNNERS[kind]}"}
    return result


def _columns(rows: Sequence[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows)
