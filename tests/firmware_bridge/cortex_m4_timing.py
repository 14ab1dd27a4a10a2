"""How many cycles an instruction takes on a Cortex-M4, as bounds, by what was executed before and after it.

From the Cortex-M4 Technical Reference Manual, ARM DDI 0439D, tables 3-1 and 3-2 and section 3.3.2 (load/store
timings), which hold for memory without wait states. Where the manual leaves a range, both ends are given.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

REFILL = (1, 3)  # P of the tables: by the target's alignment and width, and whether its address was guessed early
CONDITIONS = ("eq", "ne", "cs", "cc", "mi", "pl", "vs", "vc", "hi", "ls", "ge", "lt", "gt", "le", "al")
TWO_RESULTS = frozenset(("smlal", "smull", "umlal", "umull"))
MULTIPLY = TWO_RESULTS | {"mul", "smulbb", "smulbt", "smultb", "smultt", "smlabb", "smlabt", "smlatb", "smlatt"}
MOVE = frozenset(("mov", "movt", "movw", "mvn", "nop", "sxtb", "sxth", "uxtb", "uxth", "ssat", "usat"))
ADD = frozenset(("adc", "add", "addw", "adr", "cmn", "cmp", "neg", "rsb", "sbc", "sub", "subw"))
LOGIC = frozenset(("and", "bic", "eor", "orn", "orr", "teq", "tst", "asr", "lsl", "lsr", "ror", "rrx"))
BITS = frozenset(("bfc", "bfi", "clz", "rbit", "rev", "rev16", "revsh", "sbfx", "ubfx"))
DATA = MULTIPLY | MOVE | ADD | LOGIC | BITS
NO_RESULT = frozenset(("cmn", "cmp", "nop", "teq", "tst"))
ACCUMULATE = frozenset(("mla", "mls"))
DIVIDE = frozenset(("sdiv", "udiv"))
LOAD = frozenset(("ldr", "ldrb", "ldrh", "ldrsb", "ldrsh"))
STORE = frozenset(("str", "strb", "strh"))
DOUBLE = frozenset(("ldrd", "strd"))
MULTIPLE = frozenset(("ldm", "ldmdb", "ldmia", "pop", "push", "stm", "stmdb", "stmia"))
BRANCH = frozenset(("b", "bl", "blx", "bx", "cbnz", "cbz"))
TABLE_BRANCH = frozenset(("tbb", "tbh"))
KNOWN = DATA | ACCUMULATE | DIVIDE | LOAD | STORE | DOUBLE | MULTIPLE | BRANCH | TABLE_BRANCH
_LINE = re.compile(r"^\s*([0-9a-f]+):\t((?:[0-9a-f]{4} ?){1,2})\s*\t(\S+)[ \t]*([^@;\n]*)", re.MULTILINE)
_REGISTER = re.compile(r"\b(?:r\d+|sl|fp|ip|sp|lr|pc)\b")


class UnknownInstructionError(Exception):
    """An instruction that these tables do not hold."""


@dataclass(frozen=True)
class Instruction:
    """One instruction, as objdump writes it."""

    address: int
    size: int
    """Bytes: 2 or 4."""
    text: str
    """Mnemonic with all its suffixes."""
    operands: str

    @cached_property
    def base(self) -> str:
        """Mnemonic without width, flags and condition; `it` for all its forms. Raises UnknownInstructionError."""
        name = self.text.removesuffix(".n").removesuffix(".w")
        if re.fullmatch("it[te]{0,3}", name):
            return "it"
        without_condition = name[:-2] if name.endswith(CONDITIONS) else name
        for base in (name, without_condition, name.removesuffix("s"), without_condition.removesuffix("s")):
            if base in KNOWN:
                return base
        raise UnknownInstructionError(f"{self.address:#x}: no cycles are known of {self.text} {self.operands}")

    @cached_property
    def conditional(self) -> bool:
        """Whether it stands under an IT, and takes one cycle where the condition fails."""
        name = self.text.removesuffix(".n").removesuffix(".w")
        return self.base not in BRANCH and name not in (self.base, self.base + "s") and name.endswith(CONDITIONS)

    @cached_property
    def addressing(self) -> frozenset[str]:
        """Registers that a load or store makes its address of."""
        if self.base in ("push", "pop"):
            return frozenset(("sp",))
        inside = re.search(r"\[(.*?)\]", self.operands)
        return frozenset(_REGISTER.findall(inside[1] if inside else self.operands.partition(",")[0]))

    @cached_property
    def results(self) -> frozenset[str]:
        """Registers that a data processing instruction or a single load writes, write-back apart."""
        count = 0 if self.base in NO_RESULT else 2 if self.base in TWO_RESULTS else 1
        return frozenset(_REGISTER.findall(",".join(self.operands.split(",")[:count])))


def disassembly(listing: str) -> Iterator[Instruction]:
    """Yield the instructions in the output of `objdump -d`; data between them come along under their directives."""
    for address, code, text, operands in _LINE.findall(listing):
        yield Instruction(int(address, 16), len(code.replace(" ", "")) // 2, text, operands.strip())


def cycles(before: Instruction | None, here: Instruction, after: int) -> tuple[int, int]:
    """Return the least and the most cycles of `here`, executed right after `before` and followed by address `after`.

    Raises UnknownInstructionError.
    """
    base = here.base
    least, most = 1, 1
    if base == "it":
        least = 0  # folded onto a 16-bit instruction before it
    elif base in ACCUMULATE:
        most = 2  # in earlier revisions of the manual
    elif base in DIVIDE:
        least, most = 2, 12
    elif base in DOUBLE:
        least = most = 3
    elif base in MULTIPLE:
        least = most = 1 + len(_REGISTER.findall(here.operands.partition("{")[2]))
    elif base in TABLE_BRANCH:
        least, most = 2, 3  # the table has 2 + P, the text at least 6 in all
    elif base in LOAD or base in STORE:
        least, most = _single(before, here)
    if base in DOUBLE | MULTIPLE and _stalled(before, here):
        most += 1
    if after != here.address + here.size:
        refill = REFILL
        if base in LOAD:
            refill = (3, 3)  # the text: always three for a load of the program counter
        least, most = least + refill[0], most + refill[1]
    return (min(least, 1) if here.conditional else least), most


def _single(before: Instruction | None, here: Instruction) -> tuple[int, int]:
    """Return the bounds of a load or store of one register."""
    pipelined = before is not None and before.base in LOAD and not before.results & here.addressing
    by_register = len(here.addressing) > 1
    overlaps = pipelined or (here.base in STORE and not by_register)  # such a store runs beside what follows
    contention = here.base in LOAD and "pc" in here.addressing  # with the fetch of instructions
    return 1 if overlaps else 2, 2 + _stalled(before, here) + contention


def _stalled(before: Instruction | None, here: Instruction) -> bool:
    """Return whether an address waits for what the instruction before computed."""
    return before is not None and before.base in DATA | ACCUMULATE | DIVIDE and bool(before.results & here.addressing)
