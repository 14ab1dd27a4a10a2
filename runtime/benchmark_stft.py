"""What the spectrogram of one hop costs beside a bare call of the model: as it runs here, in NumPy, in the C library.

It runs in the compiled loops where they are there. The C library is the microcontroller's; its sources come with the
package and are compiled here, into a folder that is gone afterwards, with a loop over leads and frames beside them,
since a call from Python for each frame would cost more than the frame.
"""

import ctypes
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ecg_edge.firmware_bridge import errors

from .benchmark import first_window, make_recording
from .benchmark_models import Opened
from .benchmark_turns import in_turns, percentiles
from .bundle import Bundle
from .stft import Stft

C_FOLDER = Path(errors.__file__).parent / "c"
COMPILERS = ("cc", "gcc", "clang")
COMPILE_TIMEOUT_S = 60.0
_LOOP = """
#include "ecg_stft.h"
void hop(const int16_t *signal, long leads, long samples, long frames, uint8_t *log_power)
{
    for (long lead = 0; lead < leads; lead++)
        for (long frame = 0; frame < frames; frame++)
            ecg_stft_frame(signal + lead * samples + frame * (long)ECG_STFT_HOP,
                           log_power + (lead * frames + frame) * (long)ECG_STFT_BINS);
}
"""


class NoCompilerError(errors.EcgEdgeError):
    """The C library cannot be compiled on this machine."""


def measure_stft(bundle: Bundle, models: Sequence[Opened], rounds: int) -> dict[str, Any]:
    """Return what the log power of a hop's frames costs against a bare call of each model, as JSON types.

    The frames of all leads that one hop of signal completes, in turns with the calls of one model at a time, as in a
    monitor, which runs one: other models between them would empty the caches. Of each model: `inference_ms`,
    `compiled_ms`, `numpy_ms`, `c_ms`, and the ratios of the medians `compiled_of_a_call` and so on; without the
    compiled loops those of them are None, and without a compiler those of C, and `c_missing` says why. Raises
    EcgEdgeError where any two disagree.
    """
    contract = bundle.manifest.contract
    stft = Stft(contract, compiled=False)
    frames = contract.hop // contract.stft_hop
    samples = contract.stft_length + (frames - 1) * contract.stft_hop
    window = first_window(bundle, make_recording())
    signal = np.ascontiguousarray(window[0][:, :samples])
    power = np.zeros((len(signal), frames, contract.stft_bins), dtype=np.uint8)
    calls: dict[str, Callable[[], object]] = {"numpy": partial(stft.frames, signal)}
    compiled = Stft(contract)
    if compiled.is_compiled:
        calls["compiled"] = partial(compiled.frames, signal)
        _same(compiled.frames(signal), stft.frames(signal), bundle)
    missing = None
    with tempfile.TemporaryDirectory() as folder:
        try:
            calls["c"] = _c_call(compile_library(Path(folder)), signal, power)
        except NoCompilerError as error:
            missing = str(error)
    if "c" in calls:
        calls["c"]()
        _same(power, np.swapaxes(stft.frames(signal), -1, -2), bundle)
    found: dict[str, dict[str, Any]] = {}
    for model in models:
        *others, bare = in_turns([*calls.values(), partial(model.backend.logits, *window)], rounds)
        of_model: dict[str, Any] = {"inference_ms": percentiles(bare)}
        of_model |= {f"{way}_{what}": None for way in ("compiled", "c") for what in ("ms", "of_a_call")}
        for name, ms in zip(calls, others, strict=True):
            of_model[f"{name}_ms"] = percentiles(ms)
            of_model[f"{name}_of_a_call"] = round(float(np.median(ms) / np.median(bare)), 4)
        found[model.name] = of_model
    return {"leads": len(signal), "frames": frames, "c_missing": missing, "models": found}


def _same(one: npt.NDArray[np.uint8], other: npt.NDArray[np.uint8], bundle: Bundle) -> None:
    """Raise EcgEdgeError where C and NumPy disagree."""
    if not np.array_equal(one, other):
        raise errors.EcgEdgeError(
            f"C and NumPy disagree under the contract of {bundle.manifest.name}: make the C library's tables anew with "
            "python -m ecg_edge.runtime.c_tables, or install anew what is compiled"
        )


def compile_library(folder: Path) -> ctypes.CDLL:
    """Compile the C transform into a shared object in `folder` and load it; raises NoCompilerError."""
    named = os.environ.get("CC")
    compiler = next(filter(None, map(shutil.which, [named] if named else COMPILERS)), None)
    if compiler is None:
        raise NoCompilerError(
            f"no C compiler was found ({named or ', '.join(COMPILERS)}): install gcc, or name one in CC"
        )
    loop, library = folder / "hop.c", folder / "hop.so"
    loop.write_text(_LOOP)
    sources = [loop, C_FOLDER / "ecg_stft.c", C_FOLDER / "ecg_tables.c"]
    command = [compiler, "-std=c99", "-O2", "-shared", "-fPIC", f"-I{C_FOLDER}", *map(str, sources)]
    try:
        done = subprocess.run(
            [*command, "-o", str(library)], capture_output=True, text=True, timeout=COMPILE_TIMEOUT_S, check=False
        )
        if not done.returncode:
            return ctypes.CDLL(str(library))
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
    except (OSError, subprocess.TimeoutExpired) as error:
        reason = str(error)
    raise NoCompilerError(
        f"{compiler} does not compile the C library ({reason}): install its headers, or name another in CC"
    )


def _c_call(library: ctypes.CDLL, signal: npt.NDArray[np.int16], power: npt.NDArray[np.uint8]) -> Callable[[], object]:
    """Return a call that fills power (leads, frames, bins) from signal (leads, samples); both must stay alive."""
    hop = library.hop
    hop.restype = None
    hop.argtypes = [ctypes.c_void_p, ctypes.c_long, ctypes.c_long, ctypes.c_long, ctypes.c_void_p]
    leads, samples = signal.shape
    return partial(hop, signal.ctypes.data, leads, samples, power.shape[1], power.ctypes.data)
