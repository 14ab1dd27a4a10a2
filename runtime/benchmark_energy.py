"""The energy that the machine says it takes, and what of it one hop is.

Two kinds of reading under /sys: counters of microjoules (Intel's and AMD's RAPL in /sys/class/powercap, of processor
packages; `energy*_input` of hwmon) and sensors of power (hwmon's `power*_input` in microwatts; of the INA3221 of a
Jetson the product of `in*_input`, millivolts, and `curr*_input`, milliamperes, on the rail that feeds the module).
A power sensor is read while the work goes on, and its readings are summed over time. What is shown belongs to the
whole package or board, other programs included; hence the same is read of an idle stretch before. Units and names:
the kernel's Documentation/hwmon/sysfs-interface.rst and Documentation/power/powercap/powercap.rst.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .machine import Machine

STRETCH_S = 2.0  # of idling and of work: long against the millisecond in which RAPL counts and the pauses below
SENSOR_PAUSE_S = 0.02  # between readings of a power sensor: each is a transfer on a slow bus, and counts as work
MAIN_RAILS = ("VDD_IN", "POM_5V_IN")  # labels of the whole module's supply: Jetson Orin and Xavier NX; Nano and TX2
NOT_SHOWN = "not shown by this machine"


class Meter:
    """Joules since some instant, from the best that this machine has; `source` is empty where it has nothing."""

    def __init__(self, machine: Machine | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        """Look for a counter, then for a sensor; what cannot be read (RAPL is root's) is as if it were not there."""
        self._machine = machine or Machine()
        self._clock = clock
        zones = self._readable("sys/class/powercap", "*-rapl:?/energy_uj")
        # "psys" is the platform, which the packages are part of.
        self._counters = [zone for zone in zones if self._machine.read(str(Path(zone).with_name("name"))) != "psys"]
        self._counters = self._counters or self._readable("sys/class/hwmon", "hwmon*/energy*_input")[:1]
        sensors = self._readable("sys/class/hwmon", "hwmon*/power1_input") if not self._counters else []
        self._factors = [sensors[0]] if sensors else ([] if self._counters else self._rail())
        self._last = [self._number(path) or 0 for path in self._counters]
        self._watts = self._power() if self._factors else 0.0
        self._at = clock()
        self._joules = 0.0
        self.source = ", ".join(f"/{path}" for path in self._counters or self._factors)
        """Files that are read."""

    def joules(self) -> float:
        """Return the joules since this meter was made; of a power sensor, up to now by trapezia between readings."""
        for place, path in enumerate(self._counters):
            now = self._number(path)
            if now is None:
                continue
            since = now - self._last[place]
            if since < 0:  # the counter has come round
                since += self._number(str(Path(path).with_name("max_energy_range_uj"))) or 0
            self._joules += max(since, 0) / 1e6
            self._last[place] = now
        at = self._clock()
        if self._factors and at - self._at >= SENSOR_PAUSE_S:
            watts = self._power()
            self._joules += (watts + self._watts) / 2 * (at - self._at)
            self._watts, self._at = watts, at
        return self._joules

    def _power(self) -> float:
        """Return watts."""
        product = 1.0
        for path in self._factors:
            product *= self._number(path) or 0
        return product / 1e6  # microwatts, or millivolts times milliamperes

    def _rail(self) -> list[str]:
        """Return voltage and current of the rail that feeds the board; none where no rail has such a name."""
        labels = self._readable("sys/class/hwmon", "hwmon*/in*_label", text=True)
        names = {self._machine.read(path): path for path in labels}
        for rail in MAIN_RAILS:
            if rail in names:
                volts = names[rail].replace("_label", "_input")
                folder, _, name = volts.rpartition("/")
                pair = [volts, f"{folder}/{name.replace('in', 'curr', 1)}"]
                return pair if all(self._number(path) is not None for path in pair) else []
        return []

    def _readable(self, folder: str, pattern: str, text: bool = False) -> list[str]:
        root = self._machine.root
        paths = [str(path.relative_to(root)) for path in sorted((root / folder).glob(pattern))]
        return [path for path in paths if (self._machine.read(path) if text else self._number(path) is not None)]

    def _number(self, path: str) -> int | None:
        text = self._machine.read(path)
        return int(text) if text and text.isdecimal() else None


def energy_a_hop(meter: Meter, hop: Callable[[], None], stretch_s: float = STRETCH_S) -> dict[str, Any]:
    """Return what hops, one after the other, take of the meter's energy, and the watts of an idle stretch before.

    `above_idle_mj` is what a hop adds to an idle machine; negative where something else came to rest meanwhile.
    """
    idle_watts, _ = _run(meter, lambda: time.sleep(SENSOR_PAUSE_S), stretch_s)
    watts, hop_s = _run(meter, hop, stretch_s)
    return {
        "source": meter.source,
        "idle_watts": round(idle_watts, 3),
        "watts": round(watts, 3),
        "hop_mj": round(1000 * watts * hop_s, 4),
        "above_idle_mj": round(1000 * (watts - idle_watts) * hop_s, 4),
    }


def _run(meter: Meter, work: Callable[[], None], stretch_s: float) -> tuple[float, float]:
    """Return (watts, seconds of one `work`) over a stretch of it."""
    before, begin, done = meter.joules(), time.monotonic(), 0
    while not done or time.monotonic() - begin < stretch_s:
        work()
        meter.joules()
        done += 1
    joules = meter.joules() - before
    seconds = max(time.monotonic() - begin, 1e-9)
    return joules / seconds, seconds / done
