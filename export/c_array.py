"""The INT8 TFLite model of a bundle as C, for a microcontroller that runs it with TensorFlow Lite Micro."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ecg_edge.firmware_bridge.errors import EcgEdgeError
from ecg_edge.firmware_bridge.recording import Recording
from ecg_edge.runtime import selftest
from ecg_edge.runtime.backends.tflite_inputs import KNEE, SIGNAL_STEPS, SPECTROGRAM_ZERO
from ecg_edge.runtime.bundle import Bundle
from ecg_edge.train.windows import Windows

from .micro import arena_bytes, micro_logits
from .micro_check import KernelCheck, check_decisions, logit_thresholds
from .tflite_file import operators

SOURCE, HEADER, RESOLVER = "ecg_model.c", "ecg_model.h", "ecg_model_operators.h"
LARGEST_DIFFERENCE = 0.3
"""Of a self-test logit, against the kernels that LiteRT runs on hosts: they round differently, which has moved a logit
of a real window by 0.14; an operator that computes something else moves them by whole units."""
ADD_METHODS = {
    "ADD": "AddAdd",
    "CONCATENATION": "AddConcatenation",
    "CONV_2D": "AddConv2D",
    "DEQUANTIZE": "AddDequantize",
    "FULLY_CONNECTED": "AddFullyConnected",
    "LOGISTIC": "AddLogistic",
    "MAX_POOL_2D": "AddMaxPool2D",
    "MEAN": "AddMean",
    "MUL": "AddMul",
    "PAD": "AddPad",
    "QUANTIZE": "AddQuantize",
    "RESHAPE": "AddReshape",
    "SLICE": "AddSlice",
    "SOFTMAX": "AddSoftmax",
}
"""Operator -> the method of MicroMutableOpResolver that brings its kernel."""


@dataclass(frozen=True)
class CArray:
    """What was written."""

    model_bytes: int
    """Of flash that the model takes."""
    arena_bytes: int
    """Of RAM that the interpreter takes."""
    operators: tuple[str, ...]
    """That it needs, sorted."""
    largest_difference: float
    """Of a self-test logit between TensorFlow Lite Micro and the bundle's, which LiteRT gave."""
    checks: tuple[KernelCheck, ...]
    """Of recordings' windows; none where no recording was given."""


def write_c_array(bundle: Bundle, folder: Path, recordings: Iterable[Recording] = ()) -> CArray:
    """Write the TFLite model of a bundle to `folder` as C, and what a program needs to run it.

    HEADER declares the model, its sizes, classes and thresholds, and computes its inputs; SOURCE defines them;
    RESOLVER (C++) registers its operators and no others. Before anything is written the model answers the bundle's
    self-test in TensorFlow Lite Micro's own interpreter, and judges the windows of `recordings` there and in LiteRT.

    Raises BundleError where the bundle has no TFLite model; MicroError where the interpreter is not installed or does
    not take it; EcgEdgeError where it answers otherwise than LiteRT, decides on a window of `recordings` otherwise than
    LiteRT's reference kernels, or uses an operator that is not in ADD_METHODS.
    """
    model = bundle.model("tflite")
    names = tuple(sorted(set(operators(model))))
    unknown = [name for name in names if name not in ADD_METHODS]
    if unknown:
        raise EcgEdgeError(f"the model uses {unknown[0]}, which no resolver is written for: export the bundle again")
    arena = arena_bytes(model)
    inputs = selftest.front_end_inputs(bundle.manifest.contract)
    answer = micro_logits(model, Windows(inputs.signal[np.newaxis], inputs.spectrogram[np.newaxis]), arena)[0]
    difference = float(np.abs(answer - np.array(bundle.manifest.self_test.logits["tflite"])).max())
    if not difference <= LARGEST_DIFFERENCE:
        raise EcgEdgeError(
            f"TensorFlow Lite Micro answers the self-test {difference:.2g} away from LiteRT: use another version of it"
        )
    recordings = list(recordings)
    checks = check_decisions(bundle, recordings, arena) if recordings else ()
    if checks and not checks[0].windows:
        raise EcgEdgeError("no window of the records can be judged: give some of 10 s and more with a readable lead")
    if checks and checks[0].differ:
        raise EcgEdgeError(
            f"TensorFlow Lite Micro takes {checks[0].differ} of {checks[0].decisions} decisions otherwise than "
            "LiteRT's reference kernels: export the bundle again"
        )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / HEADER).write_text(_header(bundle, len(model), arena), encoding="utf-8")
    (folder / SOURCE).write_text(_source(bundle, model), encoding="utf-8")
    (folder / RESOLVER).write_text(_resolver(names), encoding="utf-8")
    return CArray(len(model), arena, names, difference, checks)


def _header(bundle: Bundle, size: int, arena: int) -> str:
    manifest = bundle.manifest
    contract = manifest.contract
    title, licence = _comment(f"{manifest.name} {manifest.version}"), _comment(manifest.licence)
    return f"""\
/* The model of bundle {title} for TensorFlow Lite Micro, written by ecg-edge.
 * bundle.json has sha256 {bundle.sha256},
 * the signal contract {contract.sha256}.
 * {licence}
 * Research software, not a medical device.
 *
 * Inputs, both int8, channels last (leads {", ".join(contract.leads)}):
 *     0: signal       [sample][lead], ecg_model_signal() of {contract.window} samples at {contract.rate} Hz
 *     1: spectrogram  [bin][frame][lead], ecg_model_power() of ecg_stft_frame()'s log power, {contract.frames} frames
 *        of {contract.stft_length} samples, one every {contract.stft_hop}
 * both with zeros before ecg_model_...() for a lead that is missing. Output, float: the logits of ecg_model_classes;
 * a class is found where its logit is above ecg_model_thresholds. */
#ifndef ECG_MODEL_H
#define ECG_MODEL_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {{
#endif

#define ECG_MODEL_BYTES {size}u
#define ECG_MODEL_ARENA_BYTES {arena}u /* measured with 8-byte pointers and the reference kernels */
#define ECG_MODEL_SAMPLES {contract.window}u
#define ECG_MODEL_LEADS {len(contract.leads)}u
#define ECG_MODEL_BINS {contract.stft_bins}u
#define ECG_MODEL_FRAMES {contract.frames}u
#define ECG_MODEL_CLASSES {len(manifest.classes)}u

extern const unsigned char ecg_model[ECG_MODEL_BYTES]; /* aligned to 16 bytes */
extern const char *const ecg_model_classes[ECG_MODEL_CLASSES];
extern const float ecg_model_thresholds[ECG_MODEL_CLASSES]; /* of logits */

/* Where an element lies in its input. */
#define ECG_MODEL_SIGNAL_AT(sample, lead) ((sample) * ECG_MODEL_LEADS + (lead))
#define ECG_MODEL_POWER_AT(bin, frame, lead) (((bin) * ECG_MODEL_FRAMES + (frame)) * ECG_MODEL_LEADS + (lead))

/* The model's input from a sample in microvolts: {SIGNAL_STEPS} x / ({KNEE} + |x|), rounded half away from zero. */
static inline int8_t ecg_model_signal(int16_t microvolts)
{{
    int32_t x = microvolts;
    int32_t size = x < 0 ? -x : x;
    int32_t steps = ({2 * SIGNAL_STEPS} * size + {KNEE} + size) / (2 * ({KNEE} + size));
    return (int8_t)(x < 0 ? -steps : steps);
}}

/* The model's input from an element of the log power. */
static inline int8_t ecg_model_power(uint8_t log_power)
{{
    return (int8_t)((int)log_power + ({SPECTROGRAM_ZERO}));
}}

#ifdef __cplusplus
}}
#endif

#endif
"""


def _source(bundle: Bundle, model: bytes) -> str:
    rows = "\n".join(
        "    " + " ".join(f"0x{byte:02x}," for byte in model[start : start + 16]) for start in range(0, len(model), 16)
    )
    classes = bundle.manifest.classes
    names = "\n".join(
        f"    {_literal(info.abbreviation)}, /* {_comment(f'{info.code} {info.name}')} */" for info in classes
    )
    logits = logit_thresholds(bundle).tolist()
    thresholds = "\n".join(
        f"    {logit!r}f, /* {info.threshold} */" for logit, info in zip(logits, classes, strict=True)
    )
    return f"""\
/* Written by ecg-edge; see {HEADER}. */
#include "{HEADER}"

#if defined(__STDC_VERSION__) && __STDC_VERSION__ >= 201112L
_Alignas(16)
#else
__attribute__((aligned(16)))
#endif
const unsigned char ecg_model[ECG_MODEL_BYTES] = {{
{rows}
}};

const char *const ecg_model_classes[ECG_MODEL_CLASSES] = {{
{names}
}};

const float ecg_model_thresholds[ECG_MODEL_CLASSES] = {{
{thresholds}
}};
"""


def _comment(text: str) -> str:
    """Return text of a bundle, which may hold anything, as it can stand inside a C comment."""
    return "".join(c if c.isprintable() and c not in "*/\\?" else " " for c in text)


def _literal(text: str) -> str:
    """Return a C string literal of a text's UTF-8 bytes; whatever is not plain stands in octal."""
    plain = b" %&()*+,-./0123456789:;<=>@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]^_abcdefghijklmnopqrstuvwxyz{|}~"
    return '"' + "".join(chr(b) if b in plain else f"\\{b:03o}" for b in text.encode()) + '"'


def _resolver(names: tuple[str, ...]) -> str:
    adds = "\n".join(f"    if (resolver.{ADD_METHODS[name]}() != kTfLiteOk) return kTfLiteError;" for name in names)
    return f"""\
/* Written by ecg-edge; see {HEADER}. The kernels that the model uses, and no others. */
#ifndef ECG_MODEL_OPERATORS_H
#define ECG_MODEL_OPERATORS_H

#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"

using EcgModelResolver = tflite::MicroMutableOpResolver<{len(names)}>;

inline TfLiteStatus ecg_model_add_operators(EcgModelResolver &resolver)
{{
{adds}
    return kTfLiteOk;
}}

#endif
"""
