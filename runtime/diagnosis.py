"""What this machine lacks to run a monitor: a list of checks, each with what was found and what mends it.

No check raises: what cannot be found out is unknown. What a check needs is imported inside it, so that a NumPy or
ONNX Runtime that does not load is a finding and not the end.
"""

import grp
import importlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path

from .machine import Machine, installed

PACKAGE = "ecg-edge"
IMPORTED_AS = {"pyserial": "serial"}  # packages whose module is called otherwise
USUAL_RATE, USUAL_CHANNELS = 500, 8  # a 12-lead front end such as the ADS1298 at its usual rate
TOO_SLOW_BAUD = 115200  # what serial programs default to, and what most first attempts use
HOT_C = 80.0  # a Raspberry Pi 4 and 5 slow down from here on (Raspberry Pi documentation, "Frequency management")
STEADY_GOVERNORS = ("performance", "schedutil", "ondemand", "interactive")  # raise the clock within a hop
SELF_CLOCKED = ("intel_pstate", "amd-pstate-epp")  # there, "powersave" is the usual setting and follows the load
PROCESS_BYTES = 120_000_000  # what a monitor may hold
DAY_BYTES = USUAL_RATE * USUAL_CHANNELS * 3 * 86_400  # of signal, at 24 bits a sample
SPEED_SECONDS = 20  # of stream in the speed check
VCGENCMD_TIMEOUT_S = 5.0
THROTTLE_NOW = {0: "under-voltage", 1: "clock capped", 2: "throttled", 3: "soft temperature limit"}
"""Bits of `vcgencmd get_throttled` (Raspberry Pi documentation); the same 16 higher mean: since the machine started."""
SINCE_START = 16


@dataclass(frozen=True)
class Check:
    """One finding."""

    name: str
    status: str
    """`ok`, `warn`, `fail` or `unknown`."""
    found: str
    mend: str = ""
    """What to do about it; empty where nothing is to be done."""


def diagnose(machine: Machine | None = None, bundle: str | None = None, backend: str = "auto") -> list[Check]:
    """Return all checks of this machine.

    machine: where /proc and /sys are read; bundle: name or path of one to check besides those that ship with the
    package, and to check the speed with; backend: as `--backend` takes it.
    """
    machine = machine or Machine()
    checks: list[tuple[str, Callable[[], Iterator[Check]]]] = [
        ("python", _python),
        ("dependencies", _dependencies),
        ("compiled loops", _loops),
        ("bundles", lambda: _bundles(bundle, backend)),
        ("serial ports", lambda: _ports(machine)),
        ("baud", _baud),
        ("ftdi latency", lambda: _ftdi(machine)),
        ("processor", lambda: _processor(machine)),
        ("clock governor", lambda: _governor(machine)),
        ("temperature", lambda: _temperature(machine)),
        ("throttling", lambda: _throttling(machine)),
        ("memory", lambda: _memory(machine)),
        ("disk", lambda: _disk(Path.cwd())),
        ("speed", lambda: _speed(bundle, backend)),
    ]
    return [found for name, check in checks for found in _guarded(name, check)]


def passed(checks: list[Check]) -> bool:
    """Return whether nothing failed; warnings and unknowns pass."""
    return all(check.status != "fail" for check in checks)


def _guarded(name: str, check: Callable[[], Iterator[Check]]) -> list[Check]:
    found: list[Check] = []
    try:
        for one in check():
            found.append(one)
    except Exception as error:  # whatever a broken installation raises
        found.append(Check(name, "unknown", f"could not be checked: {type(error).__name__}: {_first_line(error)}"))
    return found


def _python() -> Iterator[Check]:
    have = ".".join(map(str, sys.version_info[:3]))
    wanted = metadata.metadata(PACKAGE)["Requires-Python"]
    if meets(have, wanted):
        yield Check("python", "ok", f"{have} (needs {wanted})")
    else:
        yield Check("python", "fail", f"{have}, but {wanted} is needed", "install such a Python and ecg-edge into it")


def _dependencies() -> Iterator[Check]:
    for line in metadata.requires(PACKAGE) or []:
        requirement, _, marker = line.partition(";")
        match = re.match(r"([\w.-]+)(.*)", requirement.strip())
        if match is not None and "extra" not in marker:
            yield from _guarded(match[1], partial(_package, match[1], match[2].strip()))


def _package(name: str, wanted: str) -> Iterator[Check]:
    mend = f"pip install '{name}{wanted}'"
    have = installed(name)
    if have is None:
        yield Check(name, "fail", "is not installed", mend)
    elif not meets(have, wanted):
        yield Check(name, "fail", f"{have}, but {wanted} is needed", mend)
    else:
        try:
            importlib.import_module(IMPORTED_AS.get(name, name))
        except Exception as error:  # a damaged library can raise anything
            found = f"{have} is installed and does not load: {_first_line(error)}"
            yield Check(name, "fail", found, f"pip install --force-reinstall '{name}{wanted}'")
        else:
            yield Check(name, "ok", f"{have} (needs {wanted})")


def _loops() -> Iterator[Check]:
    from . import native

    if native.kernels is not None:
        yield Check("compiled loops", "ok", "are used")
    elif os.environ.get(native.VARIABLE) == "0":
        yield Check("compiled loops", "ok", f"are left out: {native.VARIABLE} is 0; NumPy does the same in more time")
    else:
        mend = f"install gcc and the headers of Python, then pip install --force-reinstall --no-deps {PACKAGE}"
        yield Check("compiled loops", "warn", "are missing: NumPy does the same in more time", mend)


def _bundles(named: str | None, backend: str) -> Iterator[Check]:
    from .bundle import shipped

    names = shipped()
    if named is not None and named not in names:
        names.append(named)
    if not names:
        mend = f"pip install --force-reinstall {PACKAGE}, or name your own with --bundle"
        yield Check("bundles", "warn", "none ships with this installation", mend)
    for name in names:
        yield from _guarded(f"bundle {name}", partial(_bundle, name, backend))


def _bundle(name: str, backend: str) -> Iterator[Check]:
    from ecg_edge.firmware_bridge.errors import EcgEdgeError

    from . import backends, bundle, selftest

    title = f"bundle {name}"
    try:
        loaded = bundle.load(name)
        outcome = selftest.run(loaded, backends.open_backend(loaded, backend))
    except EcgEdgeError as error:
        what, _, mend = str(error).rpartition(": ")
        yield Check(title, "fail", what or mend, mend if what else "")
        return
    exact = "exact" if outcome.front_end_exact else "not exact"
    found = f"files intact, front end {exact}, largest logit difference {outcome.largest_difference:.2g}"
    if outcome.passed:
        yield Check(title, "ok", found)
    else:
        yield Check(title, "fail", found, "this machine computes other numbers: report it with the output of doctor")


def _ports(machine: Machine) -> Iterator[Check]:
    from serial.tools.list_ports import comports

    ports = sorted(comports(), key=lambda port: str(port.device))
    if not ports:
        mend = "plug in the board; without one, `ecg-edge replay demo` and `--device sim:demo` need no port"
        yield Check("serial ports", "warn", "none", mend)
    for port in ports:
        device = str(port.device)
        found = str(port.description or "no description")
        stable = machine.stable_name(device)
        if stable:
            found += f"; stays {stable}"
        if os.access(device, os.R_OK | os.W_OK):
            yield Check(f"port {device}", "ok", found)
        else:
            group = _group(device)
            # A board on USB is there to be used; a computer's own port that nobody may open is usual.
            status = "fail" if port.vid is not None else "warn"
            mend = f"sudo usermod -aG {group} $USER, then log out and in again"
            yield Check(f"port {device}", status, f"{found}; you may not open it (group {group})", mend)


def _group(device: str) -> str:
    """Return the group that may open a port: dialout with Debian, uucp elsewhere."""
    try:
        return grp.getgrgid(os.stat(device).st_gid).gr_name
    except (OSError, KeyError):
        return "dialout"


def _baud() -> Iterator[Check]:
    from ecg_edge.firmware_bridge.bandwidth import bits_per_second
    from ecg_edge.firmware_bridge.transport import DEFAULT_BAUD

    needed = bits_per_second(USUAL_RATE, USUAL_CHANNELS)
    yield Check(
        "baud",
        "ok",
        f"{USUAL_CHANNELS} channels at {USUAL_RATE} Hz take {needed / 1000:.0f} kbit/s, "
        f"{needed / DEFAULT_BAUD:.0%} of {DEFAULT_BAUD} baud; {TOO_SLOW_BAUD} is too slow",
    )


def _ftdi(machine: Machine) -> Iterator[Check]:
    for port, ms in machine.ftdi_latency_ms.items():
        if ms <= 1:
            yield Check(f"latency of {port}", "ok", f"{ms} ms")
        else:
            mend = f"echo 1 | sudo tee /sys/bus/usb-serial/devices/{port}/latency_timer, or a udev rule that does"
            yield Check(f"latency of {port}", "warn", f"its bridge holds bytes back for up to {ms} ms", mend)


def _processor(machine: Machine) -> Iterator[Check]:
    cores = machine.cores
    if cores is None:
        yield Check("processor", "unknown", machine.cpu)
    elif cores == 1:
        yield Check("processor", "warn", f"{machine.cpu}, 1 core", "run nothing else on it: reader and engine share it")
    else:
        yield Check("processor", "ok", f"{machine.cpu}, {cores} cores")


def _governor(machine: Machine) -> Iterator[Check]:
    governor = machine.governor
    if governor is None:
        yield Check("clock governor", "unknown", "none to be read, as in a virtual machine")
    elif governor in STEADY_GOVERNORS or machine.clock_driver in SELF_CLOCKED:
        yield Check("clock governor", "ok", governor)
    else:
        mend = "echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"
        yield Check("clock governor", "warn", f"{governor}: the clock may stay low through a hop", mend)


def _temperature(machine: Machine) -> Iterator[Check]:
    degrees = machine.temperature_c
    if degrees is None:
        yield Check("temperature", "unknown", "no sensor to be read")
    elif degrees >= HOT_C:
        yield Check("temperature", "warn", f"{degrees:.0f} C: the clock goes down with the heat", "cool the machine")
    else:
        yield Check("temperature", "ok", f"{degrees:.0f} C")


def _throttling(machine: Machine) -> Iterator[Check]:
    """Ask a Raspberry Pi's firmware; other boards have no such word."""
    if not machine.is_raspberry_pi:
        return
    tool = shutil.which("vcgencmd")
    if tool is None:
        yield Check("throttling", "unknown", "vcgencmd is not installed", "sudo apt install raspi-utils")
        return
    answer = subprocess.run(
        [tool, "get_throttled"], capture_output=True, text=True, timeout=VCGENCMD_TIMEOUT_S, check=False
    )
    match = re.search(r"throttled=0x([0-9a-fA-F]+)", answer.stdout)
    if match is None:
        said = (answer.stderr or answer.stdout).strip() or "nothing"
        yield Check("throttling", "unknown", f"vcgencmd says {said}", "run doctor as a user in the group video")
        return
    bits = int(match[1], 16)
    now = [text for bit, text in THROTTLE_NOW.items() if bits >> bit & 1]
    past = [text for bit, text in THROTTLE_NOW.items() if bits >> bit + SINCE_START & 1]
    mend = "use the board's own power supply and a short cable, and cool the board"
    if now:
        yield Check("throttling", "fail", f"now: {', '.join(now)}", mend)
    elif past:
        yield Check("throttling", "warn", f"since the machine started: {', '.join(past)}", mend)
    else:
        yield Check("throttling", "ok", "none since the machine started")


def _memory(machine: Machine) -> Iterator[Check]:
    available = machine.memory_available
    if available is None:
        yield Check("memory", "unknown", "cannot be read")
        return
    found = f"{available / 1e6:.0f} MB available, a monitor stays below {PROCESS_BYTES / 1e6:.0f} MB"
    if available < PROCESS_BYTES:
        yield Check("memory", "fail", found, "end other programs")
    elif available < 2 * PROCESS_BYTES:
        yield Check("memory", "warn", found, "end other programs: it is nearly all that is left")
    else:
        yield Check("memory", "ok", found)


def _disk(folder: Path) -> Iterator[Check]:
    free = shutil.disk_usage(folder).free
    found = f"{free / 1e9:.1f} GB free in {folder}, a day of {USUAL_CHANNELS} channels takes {DAY_BYTES / 1e9:.1f} GB"
    if free < DAY_BYTES:
        yield Check("disk", "warn", found, "make room before recording")
    else:
        yield Check("disk", "ok", found)


def _speed(named: str | None, backend: str) -> Iterator[Check]:
    from .bundle import load, shipped

    names = [named] if named is not None else shipped()
    if not names:
        yield Check("speed", "unknown", "no bundle to measure with")
        return
    import numpy as np

    from . import backends, benchmark
    from .policy import load_policy
    from .service import DEFAULT_BUDGET_MS

    bundle = load(names[0])
    policy = load_policy(labels=[c.abbreviation for c in bundle.manifest.classes])
    settings = benchmark.Settings(seconds=SPEED_SECONDS)
    model = backends.open_backend(bundle, backend)
    costs = benchmark.measure_hops(bundle, model, policy, benchmark.make_recording(), settings)
    median = float(np.median(costs.hop))
    found = (
        f"{median:.2f} ms for a hop ({bundle.manifest.name}, {model.name}); the budget is {DEFAULT_BUDGET_MS:.0f} ms"
    )
    if median > DEFAULT_BUDGET_MS:
        yield Check("speed", "fail", found, "use a faster machine, or end what else runs on this one")
    elif median > DEFAULT_BUDGET_MS / 2:
        yield Check("speed", "warn", found, "end what else runs on this machine")
    else:
        yield Check("speed", "ok", found)


def meets(version: str, specifiers: str) -> bool:
    """Return whether a version is within specifiers such as `>=1.26,<3`; raises ValueError for other operators."""
    have = _release(version)
    for text in filter(None, (part.strip() for part in specifiers.split(","))):
        match = re.fullmatch(r"(>=|<)\s*([\d.]+)", text)
        if match is None:
            raise ValueError(f"cannot read the requirement {text!r}")
        bound = _release(match[2])
        if (have < bound) != (match[1] == "<"):
            return False
    return True


def _release(version: str) -> tuple[int, ...]:
    match = re.match(r"\d+(?:\.\d+)*", version)
    if match is None:
        raise ValueError(f"cannot read the version {version!r}")
    numbers = [int(n) for n in match[0].split(".")]
    while numbers and not numbers[-1]:  # 3.0 is 3
        numbers.pop()
    return tuple(numbers)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or ["no message"])[0]
