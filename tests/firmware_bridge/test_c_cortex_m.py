"""What the C library costs on a Cortex-M4: flash, RAM, stack and instructions stay within a budget.

The other test_c files run their vectors there too, on an emulated board.
"""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[[bytes], tuple[bytes, bytes]]

# Bytes at -O2: of code as GCC 12 makes it and a tenth more, of tables hardly more.
FLASH = {
    "ecg_ads129x": 170,
    "ecg_bridge": 200,
    "ecg_cobs": 230,
    "ecg_conditioner": 1650,
    "ecg_crc": 60,
    "ecg_decoder": 260,
    "ecg_leads": 620,
    "ecg_packet": 1120,
    "ecg_resampler_250": 850,
    "ecg_resampler_360": 2950,
    "ecg_resampler_500": 840,
    "ecg_resampler_1000": 1640,
    "ecg_sequence": 950,
    "ecg_stft": 700,
    "ecg_tables": 780,
}
STACK = 360  # bytes of the deepest function, the transform with its frame
RAM = {"conditioner_bytes": 19_800, "decoder_bytes": 4_800}  # of eight channels at 500 Hz; of a host's decoder
STATED = {  # what the README says of each, by the beginning of its line
    "conditioner_bytes": "conditioner of 8 channels at 500 Hz, 12 leads",
    "decoder_bytes": "receiving as a host, with sequence numbers | 1,092 flash;",
    "conditioner_second": "conditioner, a second of signal",
    "stft_frame": "STFT, a frame of one lead",
    "encode_samples": "encoding a SAMPLES packet, 10 frames of 8 channels",
    "decode_samples": "decoding it as a host",
}
README = Path(__file__).resolve().parents[2] / "firmware_bridge" / "c" / "README.md"


def sizes(folder: Path) -> dict[str, tuple[int, int]]:
    """Bytes of flash and of static RAM of each object."""
    command = ["arm-none-eabi-size", str(folder / "libecg.a")]
    rows = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout.splitlines()[1:]
    return {r[5].removesuffix(".o"): (int(r[0]) + int(r[1]), int(r[1]) + int(r[2])) for r in map(str.split, rows)}


def test_flash_stays_within_budget_and_there_is_no_static_ram(cortex_m4_library: Path) -> None:
    found = sizes(cortex_m4_library)
    assert found.keys() == FLASH.keys()
    assert {name: (flash, FLASH[name]) for name, (flash, _) in found.items() if flash > FLASH[name]} == {}
    assert not any(ram for _, ram in found.values())


def test_stack_stays_within_budget(cortex_m4_library: Path) -> None:
    rows = [text.split("\t") for file in cortex_m4_library.glob("*.su") for text in file.read_text().splitlines()]
    assert len(rows) > 20
    assert all(kind == "static" for _, _, kind in rows)
    assert max(int(size) for _, size, _ in rows) <= STACK


def test_nothing_but_memory_functions_is_called(cortex_m4_library: Path) -> None:
    command = ["arm-none-eabi-nm", "-u", str(cortex_m4_library / "libecg.a")]
    listed = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
    undefined = {text.split()[1] for text in listed.splitlines() if text.startswith(" ")}
    outside = {name for name in undefined if not name.startswith("ecg_")}
    assert outside <= {"memcpy", "memset", "__aeabi_ldivmod", "__aeabi_uldivmod"}  # 64-bit division is the compiler's


@pytest.fixture(scope="module")
def counted(cortex_m4_program: Callable[..., Run]) -> dict[str, int]:
    output = cortex_m4_program("count_instructions", options=("-icount", "shift=0"))(b"")[0].decode()
    return {name: int(value) for name, value in map(str.split, output.splitlines())}


def test_ram_stays_within_budget(counted: dict[str, int]) -> None:
    assert {name: counted[name] for name, most in RAM.items() if counted[name] > most} == {}


@pytest.mark.parametrize("name", STATED)
def test_the_readme_states_what_was_counted(counted: dict[str, int], name: str) -> None:
    found = re.search(rf"^\| {re.escape(STATED[name])}[ |]*([0-9,]+)", README.read_text(), re.MULTILINE)
    assert found
    assert int(found[1].replace(",", "")) == pytest.approx(counted[name], rel=0.1)
