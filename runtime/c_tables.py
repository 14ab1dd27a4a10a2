"""The C library's tables, made from the signal contract; `python -m ecg_edge.runtime.c_tables FOLDER`.

It writes `ecg_tables.h`, `ecg_tables.c` and a resampler for each of the usual device rates, as `firmware_bridge/c`
holds them. `--rate` and `--mains` add a resampler for another rate, or with a mains notch in it.
"""

import argparse
from collections.abc import Iterable, Iterator
from math import floor, gcd
from pathlib import Path

import numpy as np

from .conditioning import RATES
from .contract import Contract
from .filters import BLOCK, COEFFICIENT_BITS, FRACTION_BITS, KERNEL_SECONDS, resampling_kernel
from .resampling import SIXTEENTHS_LIMIT
from .stft import MAGNITUDE_BITS, MANTISSA_BITS, TABLE_BITS, Stft, twiddle_tables, window_table

BUILT_IN_RATES = (250, 360, 500, 1000)
"""Device rates in Hz whose tables come with the library: the usual ones of boards and recordings."""
_MADE_BY = "/* Made by `python -m ecg_edge.runtime.c_tables`; do not edit. */\n"


def tables(contract: Contract) -> dict[str, str]:
    """Return the texts of the library's generated files by name."""
    header, source = _header(contract), _source(contract)
    return {"ecg_tables.h": header, "ecg_tables.c": source} | {
        f"{_name(rate, None)}.c": resampler(contract, rate) for rate in BUILT_IN_RATES
    }


def resampler(contract: Contract, rate: int, mains: int | None = None) -> str:
    """Return the source of one resampler: the conditioner's low-pass for a device rate, with a mains notch or none.

    Raises ValueError for a rate or notch that the conditioner does not serve.
    """
    if not RATES[0] <= rate <= RATES[1] or (mains is not None and (mains not in (50, 60) or rate < 2 * (mains + 1))):
        raise ValueError(f"no resampler for {rate} Hz with a notch at {mains} Hz: see ecg_edge.runtime.conditioning")
    half = _half(rate)
    step = gcd(rate, contract.rate)
    phases = range(0, contract.rate, step)
    kernels = [resampling_kernel(phase, rate, contract.rate, half, mains) for phase in phases]
    notch = f", {mains} Hz nulled" if mains else ""
    name = _name(rate, mains)
    return "".join(
        (
            _MADE_BY,
            f"/* {rate} Hz to {contract.rate} Hz{notch}: {len(phases)} kernels of {2 * half} taps. */\n",
            '#include "ecg_tables.h"\n\n',
            f"extern const ecg_resampler_t {name};\n\n" if (rate, mains) not in _built_in() else "",
            _array("static const int32_t", "kernels", (int(tap) for kernel in kernels for tap in kernel)),
            f"\nconst ecg_resampler_t {name} = {{{rate}, {2 * half}, {len(phases)}, kernels}};\n",
        )
    )


def _built_in() -> list[tuple[int, int | None]]:
    return [(rate, None) for rate in BUILT_IN_RATES]


def _half(rate: int) -> int:
    return floor(KERNEL_SECONDS * rate) + 1  # as the conditioner reckons it


def _name(rate: int, mains: int | None) -> str:
    return f"ecg_resampler_{rate}" + (f"_notch_{mains}" if mains else "")


def _header(contract: Contract) -> str:
    shift = Stft(contract).shift
    steps = contract.log_steps_per_octave
    defines = {
        "ECG_MODEL_RATE": contract.rate,
        "ECG_HIGHPASS_BOXCAR": f"{contract.highpass_boxcar}u",
        "ECG_HIGHPASS_BITS": f"{(contract.highpass_boxcar**2).bit_length() - 1 + FRACTION_BITS}u",
        "ECG_LEAD_IN": f"{-(contract.highpass_boxcar - 1) % BLOCK}u",
        "ECG_COEFFICIENT_BITS": f"{COEFFICIENT_BITS}u",
        "ECG_FRACTION_BITS": f"{FRACTION_BITS}u",
        "ECG_SIXTEENTHS_LIMIT": SIXTEENTHS_LIMIT,
        "ECG_STFT_LENGTH": f"{contract.stft_length}u",
        "ECG_STFT_HOP": f"{contract.stft_hop}u",
        "ECG_STFT_BINS": f"{contract.stft_bins}u",
        "ECG_STFT_MAGNITUDE_BITS": MAGNITUDE_BITS,
        "ECG_STFT_TABLE_BITS": f"{TABLE_BITS}u",
        "ECG_STFT_SHIFT": f"{shift}u",
        "ECG_STFT_LOG_STEPS": steps,
        "ECG_STFT_LOG_OFFSET": f"({steps * (2 * (TABLE_BITS - shift) + contract.log_floor_octave)})",
    }
    taps = {f"ECG_RESAMPLER_{rate}_TAPS": f"{2 * _half(rate)}u" for rate in BUILT_IN_RATES}
    return "\n".join(
        (
            _MADE_BY + "/* Every number that the device and the model's training must agree on.",
            f" * Signal contract {contract.sha256}. */",
            "#ifndef ECG_TABLES_H",
            "#define ECG_TABLES_H",
            "",
            "#include <stdint.h>",
            "",
            "#ifdef __cplusplus",
            'extern "C" {',
            "#endif",
            "",
            *(f"#define {name} {value}" for name, value in defines.items()),
            "",
            "/* A low-pass evaluated at the output instants: `phases` kernels of `taps` taps, kernel p for an",
            " * output that lies p / phases of an output period behind a frame, times the frame rate. */",
            "typedef struct {",
            "    uint32_t rate;          /* frames per second */",
            "    uint32_t taps;          /* of each kernel; they sum to 2^20 */",
            "    uint32_t phases;        /* kernels */",
            "    const int32_t *kernels; /* phases * taps */",
            "} ecg_resampler_t;",
            "",
            *(f"extern const ecg_resampler_t {_name(rate, None)};" for rate in BUILT_IN_RATES),
            *(f"#define {name} {value}" for name, value in taps.items()),
            "",
            f"extern const int32_t ecg_stft_window[ECG_STFT_LENGTH]; /* periodic Hann, Q{TABLE_BITS} */",
            "extern const int32_t ecg_stft_cosine[ECG_STFT_LENGTH]; /* of 2 pi n / length, same scale */",
            f"extern const uint8_t ecg_stft_log_fraction[{2**MANTISSA_BITS}]; /* floor({steps} log2(1 + m / 256)) */",
            "",
            "#ifdef __cplusplus",
            "}",
            "#endif",
            "",
            "#endif",
            "",
        )
    )


def _source(contract: Contract) -> str:
    length, steps = contract.stft_length, contract.log_steps_per_octave
    cosine = _cosine(length)
    size = 2**MANTISSA_BITS
    fraction = (
        sum((size + m) ** steps >= 2**j * size**steps for j in range(1, steps)) for m in range(size)
    )  # in integers, as the transform's own table
    return "\n".join(
        (
            _MADE_BY + '#include "ecg_tables.h"',
            "",
            _array("const int32_t", "ecg_stft_window", (int(w) for w in window_table(length))),
            _array("const int32_t", "ecg_stft_cosine", cosine),
            _array("const uint8_t", "ecg_stft_log_fraction", fraction),
        )
    )


def _cosine(length: int) -> list[int]:
    """Return one period of the cosine, from which all twiddles follow exactly, and check that they do."""
    cosines, sines = twiddle_tables(length, length // 2 + 1)
    table = cosines[:, 1]
    angle = np.outer(np.arange(length), np.arange(length // 2 + 1)) % length
    if not (np.array_equal(table[angle], cosines) and np.array_equal(table[(angle + length // 4) % length], sines)):
        raise AssertionError("the twiddles are not one period of a cosine: the C transform needs tables of its own")
    if not np.array_equal(table[1:], table[:0:-1]):
        raise AssertionError("the cosine table is not even: the C transform may not fold its frame")
    if not np.array_equal(table[: length // 2], -table[length // 2 :]):
        raise AssertionError("half a turn does not negate the cosine: the C transform may not fold its frame twice")
    return [int(c) for c in table]


def _array(kind: str, name: str, values: Iterable[int]) -> str:
    lines = list(_lines([str(value) for value in values]))
    size = sum(line.count(",") for line in lines)
    return f"{kind} {name}[{size}] = {{\n" + "\n".join(lines) + "\n};\n"


def _lines(words: list[str]) -> Iterator[str]:
    """Yield the words with commas in indented lines of at most 100 characters."""
    line = "   "
    for word in words:
        if len(line) + len(word) + 2 > 100:
            yield line
            line = "   "
        line += f" {word},"
    yield line


def main() -> None:
    """Write the tables."""
    parser = argparse.ArgumentParser(prog="ecg_edge.runtime.c_tables", description="Write the C library's tables.")
    parser.add_argument("folder", type=Path, help="where to write, such as firmware_bridge/c")
    parser.add_argument("--rate", type=int, help="write only a resampler for this device rate in Hz")
    parser.add_argument("--mains", type=int, choices=(50, 60), help="with a notch at this frequency in Hz")
    arguments = parser.parse_args()
    contract = Contract()
    files = tables(contract)
    if arguments.mains and not arguments.rate:
        parser.error("--mains needs --rate")
    if arguments.rate:
        try:
            text = resampler(contract, arguments.rate, arguments.mains)
        except ValueError as error:
            parser.error(str(error))
        files = {f"{_name(arguments.rate, arguments.mains)}.c": text}
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (arguments.folder / name).write_text(text)


if __name__ == "__main__":
    main()
