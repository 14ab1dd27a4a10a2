"""The doctor's findings on made-up machines: a Raspberry Pi in each state, a bare folder, broken packages."""

import importlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ecg_edge.runtime import bundle as bundles
from ecg_edge.runtime import diagnosis, native
from ecg_edge.runtime.cli.main import main
from ecg_edge.runtime.diagnosis import Check, diagnose, meets, passed
from ecg_edge.runtime.machine import Machine

CPU0 = "sys/devices/system/cpu/cpu0/cpufreq/"
PI = {
    "proc/device-tree/model": "Raspberry Pi 4 Model B Rev 1.4\0",
    "proc/cpuinfo": "".join(f"processor\t: {k}\nBogoMIPS\t: 108.00\n\n" for k in range(4)),
    "proc/meminfo": "MemTotal:        3884360 kB\nMemFree:          200000 kB\nMemAvailable:    3200000 kB\n",
    CPU0 + "scaling_governor": "ondemand\n",
    CPU0 + "scaling_driver": "cpufreq-dt\n",
    "sys/class/thermal/thermal_zone0/temp": "48312\n",
    "sys/bus/usb-serial/devices/ttyUSB0/latency_timer": "16\n",
}


@pytest.fixture(autouse=True)
def _nothing_ships(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what happens to ship out of these tests; what needs a bundle names one."""
    monkeypatch.setattr(bundles, "SHIPPED", tmp_path / "none")


def tree(root: Path, **changes: str) -> Machine:
    """Return a Raspberry Pi whose files are PI's but for `changes`."""
    for name, text in (PI | changes).items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Machine(root)


def found(checks: list[Check], name: str) -> Check:
    """Return the one check of a name."""
    (one,) = [check for check in checks if check.name == name]
    return one


def with_ports(monkeypatch: pytest.MonkeyPatch, *ports: Any) -> None:
    """Give this machine other serial ports."""
    monkeypatch.setattr("serial.tools.list_ports.comports", lambda: list(ports))


def port(device: Path | str, vid: int | None = 0x0403) -> Any:
    """Return a port as pyserial lists it."""
    return SimpleNamespace(device=str(device), description="FT232R USB UART", vid=vid)


def with_vcgencmd(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Put a `vcgencmd` of our own on the path, and nothing else."""
    folder.mkdir()
    tool = folder / "vcgencmd"
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


def test_a_raspberry_pi_is_read(tmp_path: Path) -> None:
    machine = tree(tmp_path)
    assert machine.cpu == "Raspberry Pi 4 Model B Rev 1.4"
    assert machine.is_raspberry_pi
    assert machine.cores == 4
    assert machine.governor == "ondemand"
    assert machine.temperature_c == 48.312
    assert machine.memory_available == 3_200_000 * 1024
    assert machine.ftdi_latency_ms == {"ttyUSB0": 16}


def test_its_findings(tmp_path: Path) -> None:
    checks = diagnose(tree(tmp_path))
    assert found(checks, "processor") == Check("processor", "ok", "Raspberry Pi 4 Model B Rev 1.4, 4 cores")
    assert found(checks, "clock governor").status == "ok"
    assert found(checks, "temperature") == Check("temperature", "ok", "48 C")
    assert found(checks, "memory").status == "ok"
    latency = found(checks, "latency of ttyUSB0")
    assert latency.status == "warn"
    assert "16 ms" in latency.found
    assert "/sys/bus/usb-serial/devices/ttyUSB0/latency_timer" in latency.mend


@pytest.mark.parametrize(
    ("path", "text", "name", "status"),
    [
        (CPU0 + "scaling_governor", "performance", "clock governor", "ok"),
        (CPU0 + "scaling_governor", "powersave", "clock governor", "warn"),
        ("sys/class/thermal/thermal_zone0/temp", "79900", "temperature", "ok"),
        ("sys/class/thermal/thermal_zone0/temp", "80000", "temperature", "warn"),
        ("sys/class/thermal/thermal_zone0/temp", "-273000", "temperature", "unknown"),
        ("sys/class/thermal/thermal_zone0/temp", "hot", "temperature", "unknown"),
        ("sys/bus/usb-serial/devices/ttyUSB0/latency_timer", "1", "latency of ttyUSB0", "ok"),
        ("proc/cpuinfo", "processor : 0\n", "processor", "warn"),
        ("proc/cpuinfo", "", "processor", "unknown"),
        ("proc/meminfo", "MemAvailable: 100000 kB", "memory", "fail"),
        ("proc/meminfo", "MemAvailable: 200000 kB", "memory", "warn"),
        ("proc/meminfo", "MemAvailable:", "memory", "unknown"),
        ("proc/meminfo", "nonsense", "memory", "unknown"),
    ],
)
def test_one_thing_different(tmp_path: Path, path: str, text: str, name: str, status: str) -> None:
    one = found(diagnose(tree(tmp_path, **{path: text})), name)
    assert one.status == status
    assert bool(one.mend) == (status in ("warn", "fail"))


def test_a_laptop_that_clocks_itself_may_say_powersave(tmp_path: Path) -> None:
    changes = {CPU0 + "scaling_governor": "powersave", CPU0 + "scaling_driver": "intel_pstate"}
    assert found(diagnose(tree(tmp_path, **changes)), "clock governor").status == "ok"


def test_the_hottest_zone_counts(tmp_path: Path) -> None:
    machine = tree(tmp_path, **{"sys/class/thermal/thermal_zone1/temp": "91500"})
    assert found(diagnose(machine), "temperature").found.startswith("92 C")


@pytest.mark.parametrize(
    ("answer", "status", "words"),
    [
        ("echo throttled=0x0", "ok", "none"),
        ("echo throttled=0x50005", "fail", "under-voltage, throttled"),
        ("echo throttled=0x10000", "warn", "under-voltage"),
        ("echo throttled=0x80000", "warn", "soft temperature limit"),
        ("echo VCHI initialization failed >&2; exit 1", "unknown", "VCHI initialization failed"),
        ("exit 0", "unknown", "nothing"),
    ],
)
def test_throttling_as_the_firmware_tells_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, status: str, words: str
) -> None:
    with_vcgencmd(tmp_path / "bin", monkeypatch, answer)
    one = found(diagnose(tree(tmp_path)), "throttling")
    assert one.status == status
    assert words in one.found


def test_throttling_without_the_tool_or_on_another_board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert found(diagnose(tree(tmp_path)), "throttling").status == "unknown"
    other = tree(tmp_path, **{"proc/device-tree/model": "NVIDIA Jetson Orin Nano Developer Kit"})
    assert "throttling" not in {check.name for check in diagnose(other)}


def test_a_hanging_tool_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_vcgencmd(tmp_path / "bin", monkeypatch, "exec /bin/sleep 30")
    monkeypatch.setattr(diagnosis, "VCGENCMD_TIMEOUT_S", 0.1)
    assert found(diagnose(tree(tmp_path)), "throttling").status == "unknown"


def test_a_machine_that_tells_nothing_is_unknown_and_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_ports(monkeypatch)
    checks = diagnose(Machine(tmp_path / "empty"))
    assert passed(checks)
    for name in ("processor", "clock governor", "temperature", "memory", "speed"):
        assert found(checks, name).status == "unknown"


def test_no_port_is_a_warning_with_a_way_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with_ports(monkeypatch)
    checks = diagnose(tree(tmp_path))
    one = found(checks, "serial ports")
    assert one.status == "warn"
    assert "demo" in one.mend
    assert passed(checks)


def test_a_port_is_told_with_the_name_that_stays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    machine = tree(tmp_path)
    device = tmp_path / "dev/ttyUSB0"
    by_id = tmp_path / "dev/serial/by-id"
    by_id.mkdir(parents=True)
    device.touch()
    (by_id / "usb-FTDI_FT232R-if00-port0").symlink_to("../../ttyUSB0")
    with_ports(monkeypatch, port(device))
    one = found(diagnose(machine), f"port {device}")
    assert one.status == "ok"
    assert "FT232R USB UART" in one.found
    assert str(by_id / "usb-FTDI_FT232R-if00-port0") in one.found


@pytest.mark.parametrize(("vid", "status"), [(0x0403, "fail"), (None, "warn")])
def test_a_port_that_may_not_be_opened(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, vid: int | None, status: str
) -> None:
    device = tmp_path / "ttyUSB0"
    device.touch()
    with_ports(monkeypatch, port(device, vid))
    monkeypatch.setattr(os, "access", lambda *_: False)
    monkeypatch.setattr(diagnosis.grp, "getgrgid", lambda _: SimpleNamespace(gr_name="uucp"))
    one = found(diagnose(tree(tmp_path)), f"port {device}")
    assert one.status == status
    assert "usermod -aG uucp" in one.mend


def test_a_port_that_is_gone_names_the_usual_group(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with_ports(monkeypatch, port(tmp_path / "gone"))
    assert "dialout" in found(diagnose(tree(tmp_path)), f"port {tmp_path / 'gone'}").mend


def test_the_line_has_room_for_the_usual_stream() -> None:
    text = found(diagnose(), "baud").found
    assert "8 channels at 500 Hz" in text
    assert "14%" in text  # 50 packets of 264 bytes, 10 bits each, of 921600


def _raise(*_: object) -> Any:
    raise RuntimeError("first line\nsecond line")


def _fail_import(name: str) -> Callable[[str], Any]:
    real = importlib.import_module

    def import_module(asked: str) -> Any:
        if asked == name:
            raise ImportError("libopenblas.so.0: cannot open shared object file")
        return real(asked)

    return import_module


def test_a_check_that_breaks_is_unknown_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("serial.tools.list_ports.comports", _raise)
    monkeypatch.setattr(diagnosis.shutil, "disk_usage", _raise)
    checks = diagnose(tree(tmp_path))
    assert found(checks, "serial ports").status == "unknown"
    assert found(checks, "disk").found == "could not be checked: RuntimeError: first line"
    assert found(checks, "temperature").status == "ok"


def test_packages_are_held_against_the_projects_own_requirements(monkeypatch: pytest.MonkeyPatch) -> None:
    checks = diagnose()
    for name in ("python", "numpy", "onnxruntime", "pyserial"):
        assert found(checks, name).status == "ok"
    assert not {"torch", "pytest", "onnx"} & {check.name for check in checks}  # extras
    versions = {"numpy": "1.25.9", "onnxruntime": None, "pyserial": "3.5"}
    monkeypatch.setattr(diagnosis, "installed", versions.__getitem__)
    checks = diagnose()
    assert found(checks, "numpy").status == found(checks, "onnxruntime").status == "fail"
    assert found(checks, "onnxruntime").mend.startswith("pip install 'onnxruntime")
    assert not passed(checks)


def test_a_package_that_does_not_load_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnosis.importlib, "import_module", _fail_import("onnxruntime"))
    one = found(diagnose(), "onnxruntime")
    assert one.status == "fail"
    assert "libopenblas" in one.found


def test_without_the_projects_metadata_versions_are_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnosis, "PACKAGE", "ecg-edge-that-is-not-installed")
    checks = diagnose()
    assert found(checks, "python").status == found(checks, "dependencies").status == "unknown"


@pytest.mark.parametrize(
    ("version", "specifiers", "expected"),
    [
        ("1.26", ">=1.26,<3", True),
        ("1.26.0", "<3,>=1.26", True),
        ("1.25.2", ">=1.26,<3", False),
        ("2.4.6", ">=1.26,<3", True),
        ("3.0.0", ">=1.26,<3", False),
        ("3.0", "<3.0.1", True),
        ("1.100", ">=1.26", True),
        ("3.11.0rc1", ">=3.11,<3.14", True),
        ("3.14.0", ">=3.11,<3.14", False),
        ("9", "", True),
    ],
)
def test_versions_are_compared_number_by_number(version: str, specifiers: str, expected: bool) -> None:
    assert meets(version, specifiers) is expected


@pytest.mark.parametrize(("version", "specifiers"), [("1.0", "~=1.0"), ("unknown", ">=1.0")])
def test_versions_that_cannot_be_read_raise(version: str, specifiers: str) -> None:
    with pytest.raises(ValueError, match="cannot read"):
        meets(version, specifiers)


def test_a_good_bundle_passes_and_gives_the_speed(tiny_bundle: Any, tmp_path: Path) -> None:
    folder = tiny_bundle(tmp_path / "tiny")
    checks = diagnose(bundle=str(folder))
    assert found(checks, f"bundle {folder}").status == "ok"
    assert found(checks, "speed").status in ("ok", "warn", "fail")  # how fast this machine is, is no test's business
    assert "100 ms" in found(checks, "speed").found


@pytest.mark.parametrize("damage", ["byte", "answer", "missing"])
def test_a_damaged_bundle_fails_with_its_reason(tiny_bundle: Any, tmp_path: Path, damage: str) -> None:
    folder = tiny_bundle(tmp_path / "tiny", logits=[0.0, float("nan") if damage == "answer" else 0.0, 0.0])
    if damage == "byte":
        (folder / "MODEL_CARD.md").write_text("another")
    elif damage == "missing":
        (folder / "bundle.json").unlink()
    checks = diagnose(bundle=str(folder))
    one = found(checks, f"bundle {folder}")
    assert one.status == "fail"
    assert one.mend
    assert not passed(checks)


def test_a_shipped_bundle_is_checked_unasked(tiny_bundle: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_bundle(tmp_path / "shipped" / "tiny")
    monkeypatch.setattr(bundles, "SHIPPED", tmp_path / "shipped")
    checks = diagnose()
    assert found(checks, "bundle tiny").status == "ok"
    assert "tiny" in found(checks, "speed").found


@pytest.mark.parametrize(("hop_ms", "status"), [(3.0, "ok"), (60.0, "warn"), (101.0, "fail")])
def test_speed_is_held_against_the_budget(
    tiny_bundle: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hop_ms: float, status: str
) -> None:
    costs = SimpleNamespace(hop=[hop_ms] * 3)
    monkeypatch.setattr("ecg_edge.runtime.benchmark.measure_hops", lambda *_: costs)
    assert found(diagnose(bundle=str(tiny_bundle(tmp_path / "tiny"))), "speed").status == status


def test_doctor_exits_with_what_it_found(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "ecg_edge.runtime.cli.doctor.diagnose",
        lambda **_: [Check("a", "ok", "fine"), Check("b", "warn", "odd", "mend")],
    )
    assert main(["doctor"]) == 0
    text = capsys.readouterr().out
    assert "-> mend" in text
    assert "0 failed, 1 to be looked at, 0 unknown" in text
    monkeypatch.setattr("ecg_edge.runtime.cli.doctor.diagnose", lambda **_: [Check("a", "fail", "bad", "mend")])
    assert main(["doctor", "--json"]) == 1
    assert json.loads(capsys.readouterr().out) == {
        "ok": False,
        "checks": [{"name": "a", "status": "fail", "found": "bad", "mend": "mend"}],
    }


def test_it_tells_whether_the_loops_are_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(native.VARIABLE, raising=False)
    monkeypatch.setattr(native, "kernels", object())
    assert found(diagnose(tree(tmp_path)), "compiled loops").status == "ok"
    monkeypatch.setattr(native, "kernels", None)
    missing = found(diagnose(tree(tmp_path)), "compiled loops")
    assert missing.status == "warn"
    assert "gcc" in missing.mend
    monkeypatch.setenv(native.VARIABLE, "0")
    assert found(diagnose(tree(tmp_path)), "compiled loops").status == "ok"
