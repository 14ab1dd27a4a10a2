"""The command line's dispatcher and the options that commands share."""

import argparse
import math
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from ecg_edge.firmware_bridge.errors import EcgEdgeError
from ecg_edge.runtime.cli import common, main


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that puts a command in the place of `doctor` and runs it."""

    def run(does: Any, *arguments: str) -> int:
        module = ModuleType("fake", "Does what the test says.")
        module.__dict__.update(add_arguments=lambda parser: parser.add_argument("--n", type=common.whole), run=does)
        monkeypatch.setattr(main, "importlib", SimpleNamespace(import_module=lambda _: module))
        return main.main(["doctor", *arguments])

    return run


def raising(error: BaseException) -> Any:
    def run(_: argparse.Namespace) -> int:
        raise error

    return run


@pytest.mark.parametrize("status", [0, 1, 2])
def test_status_is_the_command_s(command: Any, status: int) -> None:
    assert command(lambda _: status) == status


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (EcgEdgeError("no such board: plug it in"), "ecg-edge: no such board: plug it in"),
        (EcgEdgeError("two\nlines"), "ecg-edge: two lines"),
        (FileNotFoundError(2, "No such file or directory", "x.dat"), "ecg-edge: x.dat: No such file or directory"),
        (ModuleNotFoundError("no", name="torch.nn"), "ecg-edge: this command needs torch, which is not installed: "),
        (ModuleNotFoundError("no", name="numpy"), "ecg-edge: this command needs numpy, which is not installed: "),
        (ValueError("odd"), "ecg-edge: unexpected ValueError: odd (run again with --debug and report it)"),
    ],
)
def test_what_goes_wrong_is_one_line(
    command: Any, capsys: pytest.CaptureFixture[str], error: Exception, line: str
) -> None:
    assert command(raising(error)) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert err.startswith(line)
    with pytest.raises(type(error)):
        command(raising(error), "--debug")


def test_interrupt_before_anything_ran(command: Any) -> None:
    assert command(raising(KeyboardInterrupt())) == 130


def test_wrong_use_is_one_line(command: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        command(lambda _: 0, "--n", "none")
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        "ecg-edge doctor: argument --n: 'none' is not possible: use a whole number above 0 (see ecg-edge doctor --help)"
    )


def test_every_command_is_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(f"  {name} " in text for name in main.COMMANDS)
    assert "not a medical device" in text


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "-inf", "1e400", "", "ten", "0x10"])
def test_numbers_that_are_not_above_zero(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="above 0"):
        common.positive(text)
    with pytest.raises(argparse.ArgumentTypeError, match="above 0"):
        common.whole(text)


def test_numbers() -> None:
    assert common.positive("2.5") == 2.5
    assert math.isclose(common.positive("1e-3"), 0.001)
    assert common.whole("12") == 12


def test_lead_names() -> None:
    assert common.lead_names("I, mlii ,-,V6") == ("I", "mlii", "-", "V6")
    with pytest.raises(EcgEdgeError, match="XX"):
        common.lead_names("I,XX")


def test_demo_with_chosen_channels() -> None:
    whole, part = common.open_record("demo"), common.open_record("demo", ("-", "V5"))
    assert part.leads == ("V5",)
    assert (part.counts[:, 0] == whole.counts[:, 1]).all()
    assert part.invalid is not None
    assert part.invalid.shape == part.counts.shape
