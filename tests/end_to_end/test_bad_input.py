"""What users get wrong: each ends with the right status, one line that names the mend, and nothing like a result."""

import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import serial

from ecg_edge.firmware_bridge.heart import Episode, simulate
from ecg_edge.firmware_bridge.recording import Recording
from ecg_edge.runtime.bundle import MANIFEST
from ecg_edge.runtime.sources.records import write_recording

FAILED, WRONG_USE = 1, 2


class Place(SimpleNamespace):
    """Where a case makes what it needs."""

    folder: Path
    bundle: Path
    record: Path
    patch: pytest.MonkeyPatch


@pytest.fixture
def place(tmp_path: Path, bundle: Path, record: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    return Place(folder=tmp_path, bundle=bundle, record=record, patch=monkeypatch)


Case = Callable[[Place], tuple[Any, ...]]
CASES: dict[str, tuple[Case, int, str]] = {}
"""Name -> (what makes it and returns the arguments, exit status, what the message must contain)."""


def case(status: int, says: str) -> Callable[[Case], Case]:
    def keep(make: Case) -> Case:
        CASES[make.__name__.replace("_", " ")] = (make, status, says)
        return make

    return keep


def flat(place: Place, rate: int) -> Path:
    counts = (np.arange(rate * 12) % rate)[:, None].astype(np.int32) * np.ones((1, 2), np.int32)
    return write_recording(Recording("flat", rate, ("I", "II"), counts, 1_000_000), place.folder)


def copied(place: Place) -> Path:
    for suffix in (".hea", ".dat"):
        shutil.copy(place.record.with_suffix(suffix), place.folder)
    return place.folder / place.record.name


def own_bundle(place: Place) -> Path:
    return Path(shutil.copytree(place.bundle, place.folder / "own"))


# Records ---------------------------------------------------------------------------------------------------------


@case(FAILED, "no record|cannot read|missing|no header")
def missing_record(place: Place) -> tuple[Any, ...]:
    return "replay", place.folder / "nowhere"


@case(FAILED, "no record|cannot read|missing|no header")
def missing_record_to_predict(place: Place) -> tuple[Any, ...]:
    return "predict", place.folder / "nowhere"


@case(FAILED, "no record|cannot read|missing|no header")
def missing_record_to_simulate(place: Place) -> tuple[Any, ...]:
    return "stream", "--device", f"sim:{place.folder / 'nowhere'}"


@case(FAILED, "truncated.*fetch it again")
def truncated_signal_file(place: Place) -> tuple[Any, ...]:
    path = copied(place).with_suffix(".dat")
    path.write_bytes(path.read_bytes()[:5000])
    return "replay", path.with_suffix("")


@case(FAILED, "is missing; put it beside the header")
def no_signal_file(place: Place) -> tuple[Any, ...]:
    path = copied(place)
    path.with_suffix(".dat").unlink()
    return "replay", path


@case(FAILED, "header|fetch|correct")
def garbage_header(place: Place) -> tuple[Any, ...]:
    path = place.folder / "garbage"
    path.with_suffix(".hea").write_bytes(bytes(range(256)) * 8)
    return "replay", path


@case(FAILED, "header|fetch|correct")
def empty_header(place: Place) -> tuple[Any, ...]:
    path = place.folder / "empty"
    path.with_suffix(".hea").touch()
    return "predict", path


@case(FAILED, "3.0 s of signal are too short")
def record_of_three_seconds(place: Place) -> tuple[Any, ...]:
    simulated = simulate([Episode("sinus rhythm", 3)], rate=250, name="short")
    return "predict", write_recording(simulated.recording, place.folder)


@case(FAILED, "no lead is usable")
def record_without_a_valid_sample(place: Place) -> tuple[Any, ...]:
    ecg = simulate([Episode("sinus rhythm", 12)], rate=250, name="nan").recording
    everywhere = np.ones(ecg.counts.shape, np.bool_)
    gone = Recording(ecg.name, ecg.rate, ecg.leads, ecg.counts, ecg.pv_per_lsb, everywhere)
    return "predict", write_recording(gone, place.folder)


@case(FAILED, "unknown lead name.*--leads")
def lead_names_of_another_field(place: Place) -> tuple[Any, ...]:
    path = copied(place).with_suffix(".hea")
    path.write_text(path.read_text().replace(" V1", " EEG Fpz-Cz"))
    return "replay", path.with_suffix("")


@case(FAILED, "50 Hz is outside 100 to 2000")
def rate_too_low(place: Place) -> tuple[Any, ...]:
    return "replay", flat(place, 50)


@case(FAILED, "4000 Hz is outside 100 to 2000")
def rate_too_high(place: Place) -> tuple[Any, ...]:
    return "predict", flat(place, 4000)


@case(FAILED, "8 channels, 9 lead names")
def more_names_than_channels(place: Place) -> tuple[Any, ...]:
    return "replay", place.record, "--leads", "I,II,III,aVR,aVL,aVF,V1,V2,V3"


@case(FAILED, "names 9 channels where there are 8")
def more_names_than_channels_of_the_demo(_place: Place) -> tuple[Any, ...]:
    return "replay", "demo", "--leads", "I,II,III,aVR,aVL,aVF,V1,V2,V3"


# Devices ---------------------------------------------------------------------------------------------------------


@case(FAILED, "no serial port .*plug in the board")
def port_that_does_not_exist(_place: Place) -> tuple[Any, ...]:
    return "stream", "--device", "/dev/ttyNOWHERE0"


@case(FAILED, "not permitted to open /dev/ttyUSB7: add your user to the group dialout")
def port_that_is_not_permitted(place: Place) -> tuple[Any, ...]:
    def refuse(*_: Any, **__: Any) -> None:
        raise serial.SerialException(13, "could not open port /dev/ttyUSB7: Permission denied")

    place.patch.setattr(serial, "Serial", refuse)
    return "stream", "--device", "/dev/ttyUSB7"


@case(FAILED, "is no serial port: name one")
def file_for_a_port(place: Place) -> tuple[Any, ...]:
    return "stream", "--device", place.record.with_suffix(".dat")


@case(FAILED, "is no serial port: name one")
def folder_for_a_port(place: Place) -> tuple[Any, ...]:
    return "stream", "--device", place.folder


@case(FAILED, "use the path of a serial port, socket://host:port")
def unknown_kind_of_device(_place: Place) -> tuple[Any, ...]:
    return "stream", "--device", "mqtt://somewhere"


@case(FAILED, "write socket://host:port")
def socket_without_a_port(_place: Place) -> tuple[Any, ...]:
    return "stream", "--device", "socket://localhost"


@case(FAILED, "refused the connection: start its server")
def socket_where_nobody_listens(_place: Place) -> tuple[Any, ...]:
    return "stream", "--device", "socket://127.0.0.1:1"


@case(FAILED, "before the device said what it sends: check its firmware")
def nothing_on_standard_input(_place: Place) -> tuple[Any, ...]:
    return "stream", "--device", "-"


@case(WRONG_USE, "--device")
def no_device(_place: Place) -> tuple[Any, ...]:
    return ("stream",)


@case(FAILED, "frames of 8 channels do not fit a packet")
def packets_too_long(place: Place) -> tuple[Any, ...]:
    return "replay", place.record, "--as-device", "--frames-per-packet", "999"


@case(FAILED, "cannot make the link")
def link_over_a_file(place: Place) -> tuple[Any, ...]:
    return "replay", place.record, "--as-device", "--link", place.record.with_suffix(".hea")


@case(WRONG_USE, "--as-device monitors nothing: give --probabilities to ecg-edge stream")
def served_with_options_of_a_monitor(place: Place) -> tuple[Any, ...]:
    return "replay", place.record, "--as-device", "--probabilities"


@case(WRONG_USE, "goes with --as-device")
def link_without_a_device(place: Place) -> tuple[Any, ...]:
    return "replay", place.record, "--link", place.folder / "board"


@case(WRONG_USE, "unknown fault 'drops': use drop")
def unknown_fault(place: Place) -> tuple[Any, ...]:
    return "replay", place.record, "--as-device", "--faults", "drops=0.1"


# Bundles ---------------------------------------------------------------------------------------------------------


@case(FAILED, "no bundle 'nonesuch'")
def unknown_bundle(_place: Place) -> tuple[Any, ...]:
    return "replay", "demo", "--bundle", "nonesuch"


@case(FAILED, "is not the file that bundle.json names: fetch the bundle again")
def bundle_with_a_changed_byte(place: Place) -> tuple[Any, ...]:
    folder = own_bundle(place)
    model = bytearray((folder / "model.onnx").read_bytes())
    model[len(model) // 2] ^= 1
    (folder / "model.onnx").write_bytes(model)
    return "replay", "demo", "--bundle", folder


@case(FAILED, "contract")
def bundle_with_another_contract(place: Place) -> tuple[Any, ...]:
    folder = own_bundle(place)
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["contract"]["stft_hop"] += 1
    (folder / MANIFEST).write_text(json.dumps(manifest))
    return "predict", "demo", "--bundle", folder


@case(FAILED, "is not JSON")
def bundle_that_is_cut(place: Place) -> tuple[Any, ...]:
    folder = own_bundle(place)
    (folder / MANIFEST).write_text((folder / MANIFEST).read_text()[:200])
    return "replay", "demo", "--bundle", folder


@case(WRONG_USE, "--backend.*(auto|onnx)")
def unknown_backend(_place: Place) -> tuple[Any, ...]:
    return "replay", "demo", "--backend", "cuda"


@case(FAILED, "onnxruntime, which is not installed: pip install 'ecg-edge'")
def missing_inference_runtime(place: Place) -> tuple[Any, ...]:
    place.patch.setitem(sys.modules, "onnxruntime", None)
    return "replay", "demo"


@case(FAILED, r"torch, which is not installed: pip install 'ecg-edge\[train\]'")
def missing_extra(place: Place) -> tuple[Any, ...]:
    for name in [name for name in sys.modules if name.startswith("ecg_edge.train")]:
        place.patch.delitem(sys.modules, name)
    place.patch.setitem(sys.modules, "torch", None)
    return "finetune", "--help"


# Options ---------------------------------------------------------------------------------------------------------


@case(WRONG_USE, "no command 'steam': did you mean stream")
def unknown_command(_place: Place) -> tuple[Any, ...]:
    return ("steam",)


@case(WRONG_USE, "unrecognized arguments: --jsn")
def unknown_option(_place: Place) -> tuple[Any, ...]:
    return "replay", "demo", "--jsn"


@case(WRONG_USE, "unknown lead name 'XX'")
def unknown_lead(_place: Place) -> tuple[Any, ...]:
    return "replay", "demo", "--leads", "I,XX"


for command, option, value in (
    ("replay", "--speed", "banana"),
    ("replay", "--speed", "0"),
    ("replay", "--speed", "-1"),
    ("replay", "--speed", "nan"),
    ("replay", "--budget-ms", "nan"),
    ("replay", "--budget-ms", "0"),
    ("replay", "--threads", "0"),
    ("replay", "--mains", "55"),
    ("stream", "--seconds", "nan"),
    ("stream", "--seconds", "-3"),
    ("stream", "--baud", "fast"),
    ("stream", "--reconnect-seconds", "inf"),
):
    what = ("--device", "sim:demo") if command == "stream" else ("demo",)
    arguments = (command, *what, f"{option}={value}")
    CASES[f"{option} {value}"] = (lambda _, a=arguments: a, WRONG_USE, option)  # type: ignore[misc]


@case(FAILED, "confirm_windows")
def unknown_key_in_the_policy(place: Place) -> tuple[Any, ...]:
    (place.folder / "policy.toml").write_text("confirm_window = 2\n")
    return "replay", "demo", "--policy", place.folder / "policy.toml"


@case(FAILED, "hysteresis")
def impossible_policy(place: Place) -> tuple[Any, ...]:
    (place.folder / "policy.toml").write_text("hysteresis = 7\n")
    return "replay", "demo", "--policy", place.folder / "policy.toml"


@case(FAILED, "policy.toml")
def policy_that_is_no_toml(place: Place) -> tuple[Any, ...]:
    (place.folder / "policy.toml").write_text("{json: no}")
    return "replay", "demo", "--policy", place.folder / "policy.toml"


@case(FAILED, "nowhere.toml")
def policy_that_is_not_there(place: Place) -> tuple[Any, ...]:
    return "replay", "demo", "--policy", place.folder / "nowhere.toml"


@case(FAILED, "cannot write the log .*name another file")
def log_into_a_missing_folder(place: Place) -> tuple[Any, ...]:
    return "replay", "demo", "--log", place.folder / "nowhere" / "log.jsonl"


@case(FAILED, "cannot write .*name another folder")
def challenge_output_into_a_file(place: Place) -> tuple[Any, ...]:
    (place.folder / "taken").touch()
    return "predict", "demo", "--challenge-output", place.folder / "taken"


@case(WRONG_USE, "name a record, or a list")
def empty_list(place: Place) -> tuple[Any, ...]:
    (place.folder / "list").write_text("\n\n")
    return "predict", "--list", place.folder / "list"


@case(FAILED, "cannot read the list")
def list_that_is_not_there(place: Place) -> tuple[Any, ...]:
    return "predict", "--list", place.folder / "nowhere"


@case(FAILED, "cannot read the list")
def list_that_is_no_text(place: Place) -> tuple[Any, ...]:
    (place.folder / "list").write_bytes(b"\xff\xfe\x00")
    return "predict", "--list", place.folder / "list"


@pytest.mark.parametrize("name", CASES)
def test_bad_input(cli: Any, place: Place, name: str) -> None:
    make, status, says = CASES[name]
    arguments = make(place)
    if arguments[0] in ("replay", "predict", "stream") and "--bundle" not in arguments:
        arguments += ("--bundle", place.bundle)
    done = cli(*arguments)
    assert done.status == status, done.err
    assert done.out == ""
    (line,) = done.err.splitlines()
    assert line.startswith("ecg-edge")
    assert "unexpected" not in line
    assert re.search(says, line), line


# What is no error, and no diagnosis either -----------------------------------------------------------------------


def test_invalid_samples_are_technical_and_no_diagnosis(cli: Any, bundle: Path, lines_of: Any, tmp_path: Path) -> None:
    ecg = simulate([Episode("sinus rhythm", 25)], rate=250, name="nothing").recording
    gone = Recording(ecg.name, 250, ecg.leads, ecg.counts, ecg.pv_per_lsb, np.ones(ecg.counts.shape, np.bool_))
    path = write_recording(gone, tmp_path)
    raw = np.frombuffer(path.with_suffix(".dat").read_bytes(), "<i2")
    assert set(raw.tolist()) == {-32768}, "WFDB's mark of a missing sample"
    done = cli("replay", path, "--json", "--probabilities", "--bundle", bundle)
    assert (done.status, done.err) == (0, "")
    lines = lines_of(done.out)
    assert {line["type"] for line in lines} == {"technical", "status", "summary"}
    assert not any("probabilities" in line for line in lines)
    assert {line["code"] for line in lines if line["type"] == "technical"} == {"lead_off", "signal_lost"}
    assert lines[-1]["windows"] == {"analyzed": 0, "skipped": 0, "unusable": 16}
    assert lines[-1]["losses"]["invalid_samples"] == ecg.counts.size
    assert lines[-1]["leads"] == []


def test_three_seconds_are_technical_and_no_diagnosis(
    cli: Any, bundle: Path, short_record: Path, lines_of: Any
) -> None:
    done = cli("replay", short_record, "--json", "--bundle", bundle)
    assert (done.status, done.err) == (0, "")
    lines = lines_of(done.out)
    assert [line.get("code", line["type"]) for line in lines] == ["short_signal", "summary"]


def test_debug_shows_the_traceback(cli: Any, tmp_path: Path, bundle: Path) -> None:
    with pytest.raises(Exception, match="nowhere"):
        cli("replay", tmp_path / "nowhere", "--bundle", bundle, "--debug")
