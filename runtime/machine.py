"""What this machine is and how it is doing, as Linux tells it in /proc and /sys; what cannot be read is None."""

import os
import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from . import native

BELIEVABLE_C = (-40.0, 150.0)  # some zones report a sensor that is not there as -273 or 0x7fff


@dataclass(frozen=True)
class Machine:
    """Readings of one machine; each is read anew."""

    root: Path = Path("/")
    """Folder that holds proc, sys and dev; tests give one with files of their own."""

    def read(self, path: str) -> str | None:
        """Return the text of a small file below the root, stripped; None where it cannot be read."""
        try:
            return (self.root / path).read_bytes().decode(errors="replace").strip(" \t\r\n\0")
        except OSError:
            return None

    @property
    def cpu(self) -> str:
        """Name of the board where it has one, else of the processor."""
        names = self._cpu_lines("model name") + self._cpu_lines("Model")
        return self.read("proc/device-tree/model") or next(iter(names), "") or platform.machine()

    @property
    def is_raspberry_pi(self) -> bool:
        """Whether the board says that it is one."""
        return "raspberry pi" in self.cpu.lower()

    @property
    def cores(self) -> int | None:
        """Processors that are on."""
        return len(self._cpu_lines("processor")) or None

    @property
    def governor(self) -> str | None:
        """Clock governor of the first processor."""
        return self.read("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")

    @property
    def clock_driver(self) -> str | None:
        """Driver that the governor steers."""
        return self.read("sys/devices/system/cpu/cpu0/cpufreq/scaling_driver")

    @property
    def temperature_c(self) -> float | None:
        """Temperature of the hottest zone."""
        zones = sorted((self.root / "sys/class/thermal").glob("thermal_zone*"))
        texts = (self.read(f"sys/class/thermal/{zone.name}/temp") for zone in zones)
        degrees = [int(text) / 1000 for text in texts if text and text.lstrip("-").isdecimal()]
        return max((d for d in degrees if BELIEVABLE_C[0] < d < BELIEVABLE_C[1]), default=None)

    @property
    def memory_available(self) -> int | None:
        """Bytes that programs can still have."""
        for line in (self.read("proc/meminfo") or "").splitlines():
            name, _, value = line.partition(":")
            if name == "MemAvailable" and value.split()[:1] and value.split()[0].isdecimal():
                return int(value.split()[0]) * 1024
        return None

    @property
    def ftdi_latency_ms(self) -> dict[str, int]:
        """Latency timer in milliseconds of each port behind an FTDI bridge, by the port's name (`ttyUSB0`)."""
        timers = sorted((self.root / "sys/bus/usb-serial/devices").glob("*/latency_timer"))
        texts = {t.parent.name: self.read(str(t.relative_to(self.root))) for t in timers}
        return {port: int(text) for port, text in texts.items() if text and text.isdecimal()}

    def stable_name(self, device: str) -> str | None:
        """Return the name of a port in /dev/serial/by-id, which stays when ports are plugged in another order."""
        port = os.path.realpath(device)
        links = sorted((self.root / "dev/serial/by-id").glob("*"))
        return next((str(link) for link in links if os.path.realpath(link) == port), None)

    def _cpu_lines(self, key: str) -> list[str]:
        """Return the values of all lines `key : value` of /proc/cpuinfo."""
        pairs = (line.partition(":") for line in (self.read("proc/cpuinfo") or "").splitlines())
        return [value.strip() for name, _, value in pairs if name.strip() == key]


def describe(machine: Machine) -> dict[str, Any]:
    """Return, as JSON types, what a measurement on this machine depends on."""
    return {
        "cpu": machine.cpu,
        "cores": machine.cores,
        "governor": machine.governor,
        "temperature_c": machine.temperature_c,
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "numpy": installed("numpy"),
        "onnxruntime": installed("onnxruntime"),
        "ecg_edge": installed("ecg-edge"),
        "loops": "NumPy" if native.kernels is None else "compiled",
    }


def installed(package: str) -> str | None:
    """Return the version of an installed package, None where it is not."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None
