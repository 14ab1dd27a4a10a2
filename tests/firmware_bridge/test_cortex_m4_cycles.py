"""The cycles of a Cortex-M4: rules by the manual's examples, a function worked by hand, and what the docs state."""

import re
from pathlib import Path

import pytest

from .c_build import link_for_cortex_m4
from .cortex_m4_timing import UnknownInstructionError, cycles, disassembly
from .count_cycles import STEPS, Cost, Step, count, table

DOCS = Path(__file__).resolve().parents[2] / "docs" / "microcontroller.md"


def bounds(*texts: str, leave_by: int | None = None) -> list[tuple[int, int]]:
    """Return the bounds of instructions executed one after the other; the last goes on to address `leave_by`."""
    code, address = "", 0x100
    for text in texts:
        code += f"     {address:x}:\tf8df 1234 \t{text}\n"
        address += 4
    run = list(disassembly(code))
    assert len(run) == len(texts)
    places = [instruction.address for instruction in run[1:]] + [address if leave_by is None else leave_by]
    before = [None, *run[:-1]]
    return [cycles(b, here, after) for b, here, after in zip(before, run, places, strict=True)]


def least(*texts: str) -> int:
    return sum(low for low, _ in bounds(*texts))


@pytest.mark.parametrize(
    ("texts", "total"),
    [
        (["ldr\tr0, [r1]", "ldr\tr1, [r2]"], 3),
        (["ldr\tr0, [r1, r2]", "str\tr0, [r3, #20]"], 3),
        (["ldr\tr0, [r1, r2]", "str\tr1, [r3, r2]"], 3),
        (["ldr\tr0, [r1, r5]", "ldr\tr1, [r2]", "ldr\tr2, [r3, #4]"], 4),
    ],
)
def test_the_manual_s_examples_of_loads_and_stores_that_overlap(texts: list[str], total: int) -> None:
    assert least(*texts) == total


def test_what_waits_for_an_address_does_not_overlap() -> None:
    assert bounds("ldr\tr0, [r1]", "ldr\tr2, [r0]") == [(2, 2), (2, 2)]
    assert bounds("add.w\tr1, r1, r2", "ldr\tr0, [r1, #4]") == [(1, 1), (2, 3)]
    assert bounds("adds\tr3, r1, r2", "ldr\tr0, [r1, #4]") == [(1, 1), (2, 2)]
    assert bounds("cmp\tr1, r2", "ldr\tr0, [r1, #4]") == [(1, 1), (2, 2)]
    assert bounds("smull\tr0, r1, r4, r5", "ldrd\tr2, r3, [r1]") == [(1, 1), (3, 4)]
    assert bounds("mov\tr1, sp", "ldr\tr0, [pc, #8]\t@ (118 <x>)") == [(1, 1), (2, 3)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ldmia.w\tsp!, {r4, r5, r6, r7}", (5, 5)),
        ("push\t{r4, lr}", (3, 3)),
        ("strd\tr2, r1, [sp, #32]", (3, 3)),
        ("mla\tr0, r1, r2, r3", (1, 2)),
        ("smlal\tr2, lr, r1, r4", (1, 1)),
        ("udiv\tr0, r1, r2", (2, 12)),
        ("iteet\teq", (0, 1)),
        ("ldreq.w\tr0, [r1]", (1, 2)),
        ("lsls\tr3, r6, #5", (1, 1)),
        ("bls.n\t180 <f>", (1, 1)),
        ("nop", (1, 1)),
    ],
)
def test_instructions_that_go_on_to_the_next(text: str, expected: tuple[int, int]) -> None:
    assert bounds(text) == [expected]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("bne.n\t180 <f>", (2, 4)),
        ("bl\t1c74 <memcpy>", (2, 4)),
        ("cbz\tr3, 68 <f>", (2, 4)),
        ("pop\t{r4, pc}", (4, 6)),
        ("ldr.w\tpc, [r0, #4]", (5, 5)),
        ("tbb\t[pc, r0]", (3, 6)),
    ],
)
def test_instructions_that_go_elsewhere(text: str, expected: tuple[int, int]) -> None:
    assert bounds(text, leave_by=0x200) == [expected]


def test_an_instruction_that_the_tables_do_not_hold_is_named() -> None:
    with pytest.raises(UnknownInstructionError, match=r"0x100: no cycles are known of vadd\.f32 s0, s1, s2"):
        bounds("vadd.f32\ts0, s1, s2")


def test_a_function_worked_by_hand(cortex_m4_library: Path) -> None:
    program = link_for_cortex_m4(cortex_m4_library, "worked_by_hand")
    # Once: push 3, mov, movs; three rounds of ldr 2, ldr 1 to 2, smull, subs, and bne, which is taken twice (2 to 4)
    # and then not (1); udiv 2 to 12, subs, str 1 to 3 (after the subs that makes its address), cmp, it 0 to 1, moveq,
    # and pop of two registers with the return 3 + 1 to 3.
    low = 3 + 1 + 1 + 3 * (2 + 1 + 1 + 1) + 2 + 2 + 1 + 2 + 1 + 1 + 1 + 0 + 1 + 4
    high = 3 + 1 + 1 + 3 * (2 + 2 + 1 + 1) + 4 + 4 + 1 + 12 + 1 + 3 + 1 + 1 + 1 + 6
    instructions = 3 + 3 * 5 + 7
    both, second = (Step("worked", "", 1, calls, lead_in) for calls, lead_in in ((2, 0), (1, 1)))
    assert count(program, [both]) == {"worked": Cost(2, 2 * instructions, 2 * low, 2 * high)}
    assert count(program, [second]) == {"worked": Cost(1, instructions, low, high)}


def test_the_docs_state_what_the_transform_takes(cortex_m4_library: Path) -> None:
    steps = [step for step in STEPS if step.function == "ecg_stft_frame"]
    row = table(count(link_for_cortex_m4(cortex_m4_library, "count_instructions"), steps), steps).splitlines()[2]
    stated = next(text for text in DOCS.read_text().splitlines() if text.startswith(f"| {steps[0].title} |"))
    assert numbers(stated) == pytest.approx(numbers(row), rel=0.1, abs=0.11)  # GCC of another version makes other code


def numbers(row: str) -> list[float]:
    """Return the numbers in the cells after the title."""
    return [float(n.replace(",", "")) for n in re.findall(r"\d[\d,.]*", row.split("|", 2)[2])]
