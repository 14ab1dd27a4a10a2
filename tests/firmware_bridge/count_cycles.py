"""Counts what the C library's main steps take on a Cortex-M4: instructions under emulation, weighted with cycles.

    python -m tests.firmware_bridge.count_cycles

at the root of the repository; needs arm-none-eabi-gcc and qemu-system-arm, no board. QEMU runs the program of
c_programs/count_instructions.c, one instruction to a block, and logs every one; each is weighted by the processor's
manual (cortex_m4_timing.py). So these are bounds for memory without wait states, not measurements of silicon.
"""

import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from threading import Timer

from .c_build import (
    CORTEX_M4_PACKAGES,
    CORTEX_M4_TOOLS,
    QEMU,
    SEMIHOSTING,
    TIME_LIMIT,
    link_for_cortex_m4,
    make_for_cortex_m4,
    missing,
)
from .cortex_m4_timing import Instruction, cycles, disassembly

ONE_BY_ONE = ("-singlestep", "-d", "exec,nochain")
CLOCK_HZ = 80e6  # of a common Cortex-M4 board, such as an STM32L4


@dataclass(frozen=True)
class Step:
    """A function of the library that is counted with all that it calls."""

    function: str
    title: str
    per_second: int
    """Calls in a second of a board's stream."""
    calls: int
    """Calls that are counted."""
    lead_in: int = 0
    """Calls before them that are not."""


STEPS = (
    Step("ecg_stft_frame", "STFT, a frame of one lead", 60, calls=40),
    Step("ecg_conditioner_push", "conditioner, a frame of 8 channels at 500 Hz", 500, calls=500, lead_in=1000),
    Step("ecg_packet_encode", "encoding 10 frames of 8 channels", 50, calls=20),
)


@dataclass(frozen=True)
class Cost:
    """What a function took, over all its calls."""

    calls: int
    instructions: int
    least: int
    """Cycles."""
    most: int


def executed(program: Path) -> Generator[int, None, None]:
    """Run a program and yield the address of each instruction in order; raises RuntimeError where it fails."""
    read, write = os.pipe()
    command = [*QEMU, *SEMIHOSTING, *ONE_BY_ONE, "-D", f"/dev/fd/{write}", "-kernel", str(program)]
    with (
        subprocess.Popen(command, pass_fds=[write], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as qemu,
        open(read, "rb") as log,
    ):
        os.close(write)
        too_long = Timer(TIME_LIMIT, qemu.kill)
        too_long.start()
        try:
            for line in log:  # Trace 0: 0x7fe3b0000100 [00800408/000000d4/00000110/ff000201] name
                if line.startswith(b"Trace"):
                    yield int(line.split(b"/", 2)[1], 16)
        except GeneratorExit:
            qemu.kill()
            raise
        finally:
            too_long.cancel()
    if qemu.returncode:
        raise RuntimeError(f"{program.name} failed under {command[0]}: run its tests")


def symbols(program: Path) -> dict[str, int]:
    """Return the addresses of a program's functions."""
    listing = subprocess.run(["arm-none-eabi-nm", program], check=True, capture_output=True, text=True).stdout
    rows = [text.split() for text in listing.splitlines()]
    return {row[2]: int(row[0], 16) & ~1 for row in rows if len(row) == 3 and row[1] in "tT"}


def count(program: Path, steps: Sequence[Step]) -> dict[str, Cost]:
    """Run a program until every step has had its calls, and return what each function took.

    Of functions that call each other the outer one is counted. Raises UnknownInstructionError.
    """
    listing = subprocess.run(["arm-none-eabi-objdump", "-d", program], check=True, capture_output=True, text=True)
    code = {instruction.address: instruction for instruction in disassembly(listing.stdout)}
    places = symbols(program)
    entries = {places[step.function]: step for step in steps}
    made = Counter[str]()
    met = {step.function: Counter[tuple[int, int, int]]() for step in steps}
    within: Counter[tuple[int, int, int]] | None = None
    before = here = end = -1
    with closing(executed(program)) as addresses:
        for after in addresses:
            if within is not None:
                within[before, here, after] += 1
                if after == end:
                    within = None
                    if all(made[step.function] >= step.lead_in + step.calls for step in steps):
                        break
            if within is None and after in entries:  # `here` is the call
                step = entries[after]
                made[step.function] += 1
                if step.lead_in < made[step.function] <= step.lead_in + step.calls:
                    within, end = met[step.function], here + code[here].size
            before, here = here, after
    return {
        step.function: Cost(min(made[step.function] - step.lead_in, step.calls), *_weighted(met[step.function], code))
        for step in steps
    }


def _weighted(met: Counter[tuple[int, int, int]], code: Mapping[int, Instruction]) -> tuple[int, int, int]:
    """Return the number of instructions met with those before and after them, and their least and most cycles."""
    bounds = [(times, cycles(code[before], code[here], after)) for (before, here, after), times in met.items()]
    least, most = (sum(times * bound[end] for times, bound in bounds) for end in (0, 1))
    return met.total(), least, most


def table(costs: Mapping[str, Cost], steps: Sequence[Step]) -> str:
    """Return the figures of a call and of a second as a Markdown table, with the sums of a second."""
    rows = ["| a call of | instructions | cycles | calls a second | cycles a second | of 80 MHz |"]
    rows += ["| --- | ---: | ---: | ---: | ---: | ---: |"]
    sums = [0.0, 0.0]
    for step in steps:
        cost = costs[step.function]
        each = [cycles / cost.calls for cycles in (cost.least, cost.most)]
        second = [cycles * step.per_second for cycles in each]
        sums = [a + b for a, b in zip(sums, second, strict=True)]
        rows.append(
            f"| {step.title} | {cost.instructions / cost.calls:,.0f} | {each[0]:,.0f} to {each[1]:,.0f} "
            f"| {step.per_second} | {_of_a_second(second)}"
        )
    return "\n".join([*rows, f"| together | | | | {_of_a_second(sums)}"])


def _of_a_second(bounds: Sequence[float]) -> str:
    low, high = bounds
    return f"{low / 1e6:.2f} to {high / 1e6:.2f} million | {low / CLOCK_HZ:.1%} to {high / CLOCK_HZ:.1%} |"


def main() -> int:
    """Build, run, and print the table."""
    reason = missing(*CORTEX_M4_TOOLS)
    if reason:
        print(f"{reason}: install them ({CORTEX_M4_PACKAGES})", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as folder:
        make_for_cortex_m4(Path(folder))
        program = link_for_cortex_m4(Path(folder), "count_instructions")
        print(table(count(program, STEPS), STEPS))
    return 0


if __name__ == "__main__":
    sys.exit(main())
