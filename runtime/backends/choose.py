"""Which backend runs a bundle's model here."""

import importlib.util
import time

import numpy as np

from ..bundle import Bundle, BundleError
from .backend import Backend
from .onnx import OnnxBackend
from .tflite import TfliteBackend

BACKENDS: dict[str, type[OnnxBackend] | type[TfliteBackend]] = {b.name: b for b in (OnnxBackend, TfliteBackend)}
CHOICES = ("auto", *BACKENDS)
"""What `--backend` takes."""
ROUNDS = 20  # timed calls of each backend: some 10 ms in all for a model of 0.2 ms
WARM_UP = 3  # calls before them, in which memory is touched for the first time
CLEARLY = 1.1  # how many times as fast another backend must be to be taken: less is the noise of so short a timing


def open_model(kind: str, model: bytes, threads: int = 1) -> Backend:
    """Return the backend named `kind` on a model graph of its format; raises BundleError where it cannot run it."""
    if kind not in BACKENDS:
        raise BundleError(f"no backend runs {kind} models: use {' or '.join(BACKENDS)}")
    return BACKENDS[kind](model, threads)


def installed(kind: str) -> bool:
    """Return whether a library that runs `kind` is there, without importing it."""
    modules = {"onnx": ("onnxruntime",), "tflite": ("ai_edge_litert", "tflite_runtime")}[kind]
    return any(importlib.util.find_spec(module) is not None for module in modules)


def open_backend(bundle: Bundle, choice: str = "auto", threads: int = 1, *, timed: bool = False) -> Backend:
    """Return the backend that runs a bundle's model; raises BundleError where it has none of that kind.

    choice: a backend's name, or `auto`: the first in BACKENDS' order that the bundle has and this installation can
    run, hence the same for every record and machine; with `timed` the faster of those on this machine now, for
    live use, where two runs never get the same input. Answers differ by rounding between backends, so whatever must
    give the same bytes again may not depend on a timing.
    """
    if choice not in CHOICES:
        raise BundleError(f"unknown backend {choice!r}: use --backend {' or '.join(CHOICES)}")
    if choice != "auto":
        return open_model(choice, bundle.model(choice), threads)
    there = [kind for kind in BACKENDS if kind in bundle.manifest.models]
    usable = [kind for kind in there if installed(kind)] or there
    if not usable:
        raise BundleError(f"bundle {bundle.manifest.name} has no model for {' or '.join(BACKENDS)}: export it again")
    if not timed:
        return open_model(usable[0], bundle.model(usable[0]), threads)
    return _fastest(bundle, usable, threads)


def _fastest(bundle: Bundle, kinds: list[str], threads: int) -> Backend:
    """Return the first, or one that is clearly faster; one that does not open is left out unless none does."""
    opened: list[Backend] = []
    failure = None
    for kind in kinds:
        try:
            opened.append(open_model(kind, bundle.model(kind), threads))
        except BundleError as error:
            failure = error
    if not opened:
        assert failure is not None
        raise failure
    if len(opened) == 1:
        return opened[0]
    contract = bundle.manifest.contract
    leads = len(contract.leads)
    signal = np.zeros((leads, contract.window), dtype=np.int16)
    spectrogram = np.zeros((leads, contract.stft_bins, contract.frames), dtype=np.uint8)
    best = {backend.name: float("inf") for backend in opened}
    for number in range(WARM_UP + ROUNDS):
        for backend in opened:  # in turns, so that a busy moment meets them all
            begin = time.perf_counter()
            backend.logits(signal, spectrogram)
            if number >= WARM_UP:
                best[backend.name] = min(best[backend.name], time.perf_counter() - begin)
    chosen = opened[0]
    for backend in opened[1:]:
        if best[backend.name] * CLEARLY < best[chosen.name]:
            chosen = backend
    return chosen
