"""Writes a bundle: model, card and manifest with hashes and self-test, whole or not at all."""

import hashlib
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ecg_edge.firmware_bridge.errors import EcgEdgeError
from ecg_edge.runtime import bundle, selftest
from ecg_edge.runtime.backends import OnnxBackend
from ecg_edge.runtime.bundle import FileInfo, Manifest, Metric, SelfTest
from ecg_edge.runtime.classes import ClassInfo
from ecg_edge.runtime.contract import Contract

from .card import CARD

MODEL = "model.onnx"
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
    model: bytes
    """ONNX graph."""
    card: str
    """Markdown."""
    metrics: Sequence[Metric]
    provenance: dict[str, Any]


def write_bundle(parts: BundleParts, folder: Path) -> bundle.Bundle:
    """Write the bundle into `folder`, in place of one that is there, and return it as it loads again.

    Raises BundleWriteError where `folder` holds something else, the bundle is too large, or it fails its own
    self-test.
    """
    if folder.exists() and any(folder.iterdir()) and not (folder / bundle.MANIFEST).is_file():
        raise BundleWriteError(f"{folder} holds something that is no bundle: name another --out")
    inputs = selftest.front_end_inputs(parts.contract)
    logits = OnnxBackend(parts.model).logits(inputs.signal, inputs.spectrogram)
    contents = {MODEL: parts.model, CARD: parts.card.encode()}
    manifest = Manifest(
        name=parts.name,
        version=parts.version,
        classes=tuple(parts.classes),
        contract=parts.contract,
        files={name: FileInfo(hashlib.sha256(blob).hexdigest(), len(blob)) for name, blob in contents.items()},
        models={"onnx": MODEL},
        self_test=SelfTest(inputs.sha256, tuple(round(float(v), 6) for v in np.ravel(logits)), TOLERANCE),
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
    if not selftest.run(written, OnnxBackend(written.model("onnx"))).passed:
        shutil.rmtree(working)
        raise BundleWriteError("the new bundle fails its own self-test: check the onnxruntime installation")
    shutil.rmtree(folder, ignore_errors=True)
    working.rename(folder)
    return bundle.load(folder)
