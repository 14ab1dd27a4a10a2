"""Energy from made-up /sys folders: joules worked out by hand, never those of the machine that runs this."""

from collections.abc import Callable
from pathlib import Path

import pytest

from ecg_edge.runtime.benchmark_energy import SENSOR_PAUSE_S, Meter, energy_a_hop
from ecg_edge.runtime.machine import Machine

Put = Callable[[str, object], None]


@pytest.fixture
def put(tmp_path: Path) -> Put:
    """Return a function that writes a file below the made-up root."""

    def write(path: str, value: object) -> None:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(f"{value}\n")

    return write


class Clock:
    """Seconds that a test sets."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_machine_that_shows_nothing_has_no_source(tmp_path: Path) -> None:
    meter = Meter(Machine(tmp_path))
    assert meter.source == ""
    assert meter.joules() == 0.0


def test_rapl_packages_are_added_and_their_parts_are_not(tmp_path: Path, put: Put) -> None:
    packages = [f"sys/class/powercap/intel-rapl:{n}" for n in range(2)]
    for folder in (*packages, "sys/class/powercap/intel-rapl:0:0"):
        put(f"{folder}/energy_uj", 5_000_000)
    put("sys/class/powercap/intel-rapl:2/name", "psys")  # of the whole platform, packages included
    put("sys/class/powercap/intel-rapl:2/energy_uj", 5_000_000)
    meter = Meter(Machine(tmp_path))
    assert meter.source == ", ".join(f"/{folder}/energy_uj" for folder in packages)
    put(f"{packages[0]}/energy_uj", 6_500_000)
    put(f"{packages[1]}/energy_uj", 5_250_000)
    put("sys/class/powercap/intel-rapl:0:0/energy_uj", 9_000_000)
    assert meter.joules() == pytest.approx(1.75)


def test_a_counter_that_comes_round_loses_nothing(tmp_path: Path, put: Put) -> None:
    put("sys/class/powercap/intel-rapl:0/energy_uj", 9_000_000)
    put("sys/class/powercap/intel-rapl:0/max_energy_range_uj", 10_000_000)
    meter = Meter(Machine(tmp_path))
    put("sys/class/powercap/intel-rapl:0/energy_uj", 500_000)
    assert meter.joules() == pytest.approx(1.5)


def test_a_counter_of_hwmon_is_taken_where_there_is_no_rapl(tmp_path: Path, put: Put) -> None:
    put("sys/class/hwmon/hwmon3/energy1_input", 1_000_000)
    put("sys/class/hwmon/hwmon3/power1_input", 7_000_000)
    meter = Meter(Machine(tmp_path))
    assert meter.source == "/sys/class/hwmon/hwmon3/energy1_input"
    put("sys/class/hwmon/hwmon3/energy1_input", 1_250_000)
    assert meter.joules() == pytest.approx(0.25)


def test_power_is_summed_by_trapezia_between_readings(tmp_path: Path, put: Put) -> None:
    clock = Clock()
    put("sys/class/hwmon/hwmon0/power1_input", 2_000_000)
    meter = Meter(Machine(tmp_path), clock)
    put("sys/class/hwmon/hwmon0/power1_input", 4_000_000)
    clock.now += SENSOR_PAUSE_S / 2
    assert meter.joules() == 0.0  # too soon for another reading
    clock.now = 102.0
    assert meter.joules() == pytest.approx(2 * (2 + 4) / 2)
    clock.now = 103.0
    assert meter.joules() == pytest.approx(6 + 4)


def test_a_jetsons_main_rail_is_voltage_times_current(tmp_path: Path, put: Put) -> None:
    clock = Clock()
    for number, (label, millivolts, milliamperes) in enumerate((("VDD_CPU_CV", 5000, 100), ("VDD_IN", 5000, 1200)), 1):
        put(f"sys/class/hwmon/hwmon1/in{number}_label", label)
        put(f"sys/class/hwmon/hwmon1/in{number}_input", millivolts)
        put(f"sys/class/hwmon/hwmon1/curr{number}_input", milliamperes)
    meter = Meter(Machine(tmp_path), clock)
    assert meter.source == "/sys/class/hwmon/hwmon1/in2_input, /sys/class/hwmon/hwmon1/curr2_input"
    clock.now += 2
    assert meter.joules() == pytest.approx(12.0)


def test_voltages_of_other_rails_are_not_taken_for_the_boards(tmp_path: Path, put: Put) -> None:
    put("sys/class/hwmon/hwmon1/in1_label", "Vcore")
    put("sys/class/hwmon/hwmon1/in1_input", 900)
    put("sys/class/hwmon/hwmon1/curr1_input", 900)
    assert Meter(Machine(tmp_path)).source == ""


def test_energy_of_a_hop_is_what_the_counter_gained_by_it(tmp_path: Path, put: Put) -> None:
    path = "sys/class/powercap/intel-rapl:0/energy_uj"
    put(path, 0)
    hops = 0

    def hop() -> None:
        nonlocal hops
        hops += 1
        put(path, 3_000 * hops)  # 3 mJ each

    found = energy_a_hop(Meter(Machine(tmp_path)), hop, stretch_s=0.05)
    assert found["source"] == f"/{path}"
    assert found["idle_watts"] == 0.0
    assert found["hop_mj"] == found["above_idle_mj"] == pytest.approx(3.0, abs=1e-3)
    assert hops > 0
