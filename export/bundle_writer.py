"""Writes a bundle: model, card and manifest with hashes and self-test, whole or not at all."""

import hashlib
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ecg_edge.firmware_bridge.errors import EcgEdgeError
from ecg_edge.runtime import bundle, selftest
from ecg_edge.runtime.backends import open_model
from ecg_edge.runtime.bundle import FileInfo, Manifest, Metric, SelfTest
from ecg_edge.runtime.classes import ClassInfo
from ecg_edge.runtime.contract import Contract

from .card import CARD

FILES = {"onnx": "model.onnx", "tflite": "model.tflite"}  # of each backend's model
TOLERANCE = 0.05  # of a self-test logit: some steps of the 8-bit activations that the logits are sums of
LICENCE = "Apache-2.0 (weights); trained on recordings that are CC BY 4.0, which the model card names"
LARGEST_BUNDLE = bundle.SIZE_LIMIT  # bytes; nothing reads a larger file, and no edge model comes near it


class BundleWriteError(EcgEdgeError):
    """A bundle that must not be written."""


@dataclass(frozen=True)
class BundleParts:
    """What a bundle is made from."""

    name: str
    version: str
    classes: Sequence[ClassInfo]
    contract: Contract
    models: Mapping[str, bytes]
    """Graph of each backend: `onnx`, `tflite` or both."""
    card: str
    """Markdown."""
    metrics: Sequence[Metric]
    provenance: dict[str, Any]


def write_bundle(parts: BundleParts, folder: Path) -> bundle.Bundle:
    """Write the bundle into `folder`, in place of one that is there, and return it as it loads again.

    Raises BundleWriteError where `folder` holds something else, the bundle is too large, or it fails its own
    self-test; BundleError where a model's interpreter is not installed or refuses it.
    """
    if folder.exists() and any(folder.iterdir()) and not (folder / bundle.MANIFEST).is_file():
        raise BundleWriteError(f"{folder} holds something that is no bundle: name another --out")
    inputs = selftest.front_end_inputs(parts.contract)
    answers = {
        kind: open_model(kind, model).logits(inputs.signal, inputs.spectrogram) for kind, model in parts.models.items()
    }
    logits = {kind: tuple(round(float(v), 6) for v in np.ravel(values)) for kind, values in answers.items()}
    contents = {FILES[kind]: model for kind, model in parts.models.items()}
    contents[CARD] = parts.card.encode()
    manifest = Manifest(
        name=parts.name,
        version=parts.version,
        classes=tuple(parts.classes),
        contract=parts.contract,
        files={name: FileInfo(hashlib.sha256(blob).hexdigest(), len(blob)) for name, blob in contents.items()},
        models={kind: FILES[kind] for kind in parts.models},
        self_test=SelfTest(inputs.sha256, logits, TOLERANCE),
        licence=LICENCE,
        metrics=tuple(parts.metrics),
        provenance=parts.provenance,
    )
    contents[bundle.MANIFEST] = manifest.to_json().encode()
    size = sum(map(len, contents.values()))
    if size > LARGEST_BUNDLE:
        raise BundleWriteError(
            f"the bundle would have {size} bytes, more than {LARGEST_BUNDLE}: train a smaller network"
        )

    working = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(working, ignore_errors=True)
    working.mkdir(parents=True)
    for name, blob in contents.items():
        (working / name).write_bytes(blob)
    written = bundle.load(working)
    for kind in parts.models:
        if not selftest.run(written, open_model(kind, written.model(kind))).passed:
            shutil.rmtree(working)
            raise BundleWriteError(f"the new bundle fails its own self-test on {kind}: reinstall what runs {kind}")
    shutil.rmtree(folder, ignore_errors=True)
    working.rename(folder)
    return bundle.load(folder)
