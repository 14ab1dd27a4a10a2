"""What ecg-edge answers on the machine that this runs on: self-tests, whole records, the events of a replay.

Run by aarch64.py with the same recordings on both machines: `answers.py REQUEST`, a JSON object with `bundles` (names
or folders), `records` (paths to classify) and `replay` (the record to replay). Prints one JSON object. Needs what a
device has and nothing else.
"""

import json
import platform
import sys
from contextlib import redirect_stdout
from io import StringIO
from typing import Any

import numpy as np

from ecg_edge.firmware_bridge.errors import EcgEdgeError
from ecg_edge.runtime import native
from ecg_edge.runtime.backends import Backend, open_model
from ecg_edge.runtime.bundle import Bundle, load
from ecg_edge.runtime.cli.main import main
from ecg_edge.runtime.events import EVENT_FIELDS_OF_MACHINE
from ecg_edge.runtime.policy import load_policy
from ecg_edge.runtime.prediction import predict
from ecg_edge.runtime.sources.records import read_recording


class Listener:
    """A backend that keeps the logits that go through it."""

    def __init__(self, backend: Backend) -> None:
        self.name = backend.name
        self.heard: list[list[float]] = []
        self._backend = backend

    def logits(self, signal: Any, spectrogram: Any) -> Any:
        answer = self._backend.logits(signal, spectrogram)
        self.heard.append([float(v) for v in answer])
        return answer


def command(*arguments: str) -> tuple[int, list[dict[str, Any]]]:
    """Run the command line; returns its exit status and its lines of JSON."""
    with redirect_stdout(StringIO()) as out:
        status = main(list(arguments))
    return status, [json.loads(line) for line in out.getvalue().splitlines()]


def answer_of(name: str, bundle: Bundle, kind: str, request: dict[str, Any]) -> dict[str, Any]:
    """Return the answers of one model of a bundle."""
    try:
        listener = Listener(open_model(kind, bundle.model(kind)))
    except EcgEdgeError as error:
        return {"error": str(error)}
    policy = load_policy(None, labels=[c.abbreviation for c in bundle.manifest.classes])
    records = {}
    for record in request["records"]:
        listener.heard.clear()
        found = predict(read_recording(record), record, bundle, listener, policy)
        records[record] = {"labels": list(found.labels), "windows": found.windows, "logits": list(listener.heard)}
    model = ("--bundle", name, "--backend", kind)
    _, events = command("replay", request["replay"], "--json", "--rules", "--probabilities", *model)
    status, (verdict,) = command("bundle", "verify", name, "--backend", kind, "--json")
    return {
        "tolerance": bundle.manifest.self_test.tolerance,
        "verified": status == 0,
        "reason": verdict["bundles"][0].get("reason"),
        "records": records,
        "events": [{k: v for k, v in event.items() if k not in EVENT_FIELDS_OF_MACHINE} for event in events],
    }


def answers(request: dict[str, Any]) -> dict[str, Any]:
    """Return the answers of every model of every bundle, by `bundle/kind`."""
    models = {}
    for name in request["bundles"]:
        bundle = load(name)
        for kind in bundle.manifest.models:
            models[f"{bundle.manifest.name}/{kind}"] = answer_of(name, bundle, kind, request)
    loops = "in NumPy" if native.kernels is None else f"compiled, {native.kernels.width()} doubles at once"
    about = f"{platform.machine()}, Python {platform.python_version()}, numpy {np.__version__}, loops {loops}"
    return {"machine": about, "models": models}


if __name__ == "__main__":
    print(json.dumps(answers(json.loads(sys.argv[1]))))
