"""Faults as text and as a file: what is read is what was meant, and errors say what is known."""

from pathlib import Path

import pytest

from ecg_edge.firmware_bridge.errors import EcgEdgeError
from ecg_edge.firmware_bridge.fault_script import read_script
from ecg_edge.firmware_bridge.faults import FOREVER, Fault, Faults


def test_text_form() -> None:
    text = "drop=0.01, duplicate=0.02,reorder=0.03,flip=1e-3,drift=-50,stall=2@10,stall=0.5@20,seed=7"
    stalls = (Fault("stall", 10, 2), Fault("stall", 20, 0.5))
    assert Faults.parse(text) == Faults(0.01, 0.02, 0.03, 0.001, -50, stalls, 7)
    assert Faults.parse("") == Faults()


def test_text_form_of_what_has_a_time() -> None:
    text = "drop=0.5@10+5,flip=1@3,unplug=2@30,lead_off=v1/MLII@20+5,saturate=all,mains=0.5,motion=1@5+2"
    assert Faults.parse(text).timed == (
        Fault("drop", 10, 5, 0.5),
        Fault("flip", 3, FOREVER, 1),
        Fault("unplug", 30, 2),
        Fault("lead_off", 20, 5, leads=("V1", "II")),
        Fault("saturate", 0, FOREVER),
        Fault("mains", 0, FOREVER, 0.5),
        Fault("motion", 5, 2, 1.0),
    )


def test_file_says_what_text_says(tmp_path: Path) -> None:
    path = tmp_path / "night.toml"
    path.write_text(
        """
        seed = 7
        drift = 50
        [[fault]]
        kind = "drop"
        at = 10
        seconds = 5
        amount = 0.5
        [[fault]]
        kind = "lead_off"
        at = 20.5
        seconds = 5
        leads = ["V1", "V2"]
        [[fault]]
        kind = "mains"
        amount = 2
        """
    )
    assert read_script(path) == Faults.parse("seed=7,drift=50,drop=0.5@10+5,lead_off=V1/V2@20.5+5,mains=2")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dorp=0.1", "unknown fault 'dorp': use drop, duplicate, reorder, flip, stall, unplug, lead_off"),
        ("drop", "'drop' cannot be read: drop takes a probability"),
        ("drop=often", "drop takes a probability"),
        ("drop=1.5", "drop=1.5 is no probability"),
        ("drop=1.5@1+2", "drop=1.5 is no probability"),
        ("flip=-0.1", "flip=-0.1 is no probability"),
        ("flip=nan", "flip=nan is no probability"),
        ("drop=0.1,drop=0.2", "drop is given twice"),
        ("stall=2", "stall takes SECONDS@SECOND"),
        ("stall=2@3+4", "stall takes SECONDS@SECOND"),
        ("stall=-1@3", "stall needs seconds from 0 up"),
        ("stall=nan@3", "stall needs seconds from 0 up"),
        ("unplug=inf@3", "unplug needs an end"),
        ("lead_off=V9@3+1", "unknown lead name 'V9'"),
        ("lead_off=V1@x", "lead_off takes leads and a time"),
        ("mains=-1", "mains=-1 is not possible"),
        ("drift=1e9", "drift=1e\\+09 is not possible"),
        ("seed=1.5", "seed takes a whole number"),
    ],
)
def test_errors_say_what_is_known(text: str, message: str) -> None:
    with pytest.raises(EcgEdgeError, match=message):
        Faults.parse(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed = 'x'", "seed 'x' is no whole number"),
        ("sede = 1", "unknown key 'sede' in the file: use seed, drift, fault"),
        ("fault = 3", r"write each as \[\[fault\]\]"),
        ("[[fault]]\nat = 3", "a \\[\\[fault\\]\\] has no kind"),
        ("[[fault]]\nkind = 'rain'", "unknown fault 'rain': use drop"),
        ("[[fault]]\nkind = 'drop'\nfor = 3", "unknown key 'for'"),
        ("[[fault]]\nkind = 'drop'\nat = 'noon'", "at 'noon' is no number"),
        ("[[fault]]\nkind = 'drop'\nleads = ['V1']", "drop concerns no leads"),
        ("[[fault]]\nkind = 'stall'\nat = 3", "stall needs an end"),
        ("[[fault]]\nkind = 'lead_off'\nleads = 'V1'", "leads of lead_off is no list"),
        ("= 3", "give a TOML file"),
    ],
)
def test_errors_of_a_file_name_it(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "night.toml"
    path.write_text(text)
    with pytest.raises(EcgEdgeError, match=message) as raised:
        read_script(path)
    assert "night.toml" in str(raised.value)
    with pytest.raises(EcgEdgeError, match="nowhere"):
        read_script(tmp_path / "nowhere.toml")
