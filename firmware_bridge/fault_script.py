"""Faults as text on a command line, or as a TOML file: at second t do fault f for d seconds.

    drop=0.01                1 % of the packets, all along; so duplicate, reorder, flip
    drop=0.5@10+5            half of them from second 10 for 5 seconds
    stall=2@10               2 seconds at second 10; so unplug
    lead_off=V1/V2@20+5      these leads; `all` for all of them; so saturate
    mains=0.5@5+20           0.5 mV of 50 Hz hum; so mains60, and motion, in mV rms; without @ all along
    drift=50                 the device's clock goes 50 ppm fast
    seed=7                   draws the chances

A file holds `seed` and `drift`, and a table [[fault]] for each fault with the fields of `faults.Fault`.
"""

import math
import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any

from .errors import EcgEdgeError
from .faults import FOREVER, LINK_KINDS, PACKET_KINDS, SIGNAL_KINDS, Fault, Faults
from .leads import LEADS, canonical_all

ALL = "all"
_OF_LEADS = ("lead_off", "saturate")
KEYS = (*PACKET_KINDS, *LINK_KINDS, *SIGNAL_KINDS, "drift", "seed")
_FORMS = {
    **dict.fromkeys(PACKET_KINDS, "a probability, 0 to 1, as in drop=0.01 or drop=0.5@10+5"),
    **dict.fromkeys(LINK_KINDS, "SECONDS@SECOND, as in stall=2@10 (2 s at second 10)"),
    **dict.fromkeys(_OF_LEADS, "leads and a time, as in lead_off=V1/V2@20+5"),
    **dict.fromkeys(("mains", "mains60", "motion"), "mV, as in mains=0.5 or motion=1@10+5"),
    "drift": "parts per million, as in drift=50",
    "seed": "a whole number",
}


def parse(text: str) -> dict[str, Any]:
    """Return the arguments of Faults in a text; raises EcgEdgeError naming what is known."""
    values: dict[str, Any] = {}
    timed: list[Fault] = []
    for item in filter(None, (part.strip() for part in text.split(","))):
        key, _, value = (part.strip() for part in item.partition("="))
        if key not in KEYS:
            raise EcgEdgeError(f"unknown fault {key!r}: use {', '.join(KEYS)} (as in drop=0.01,stall=2@10)")
        try:
            if key in ("drift", "seed") or (key in PACKET_KINDS and "@" not in value):
                if key in values:
                    raise EcgEdgeError(f"fault {key} is given twice: give it once")
                values[key] = int(value) if key == "seed" else float(value)
            else:
                timed.append(_timed(key, value))
        except ValueError:
            raise EcgEdgeError(f"fault {item!r} cannot be read: {key} takes {_FORMS[key]}") from None
    return values | {"timed": tuple(timed)}


def _timed(kind: str, text: str) -> Fault:
    amount, at_sign, when = text.partition("@")
    at, plus, length = when.partition("+")
    if kind in LINK_KINDS:
        if plus:
            raise ValueError("the length of these stands before the @")
        return Fault(kind, float(at), float(amount))
    start = float(at) if at_sign else 0.0
    seconds = float(length) if plus else FOREVER
    if kind in _OF_LEADS:
        leads = () if amount == ALL else canonical_all(amount.split("/"))
        return Fault(kind, start, seconds, leads=leads)
    return Fault(kind, start, seconds, float(amount))


def read_script(path: Path) -> Faults:
    """Return the faults in a TOML file; raises EcgEdgeError naming the file and what is wrong in it."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise EcgEdgeError(f"cannot read the fault script {path} ({error}): give a TOML file") from None
    try:
        _known(content, ("seed", "drift", "fault"), "the file")
        tables = content.get("fault", [])
        if not isinstance(tables, list) or not all(isinstance(t, dict) for t in tables):
            raise EcgEdgeError("fault is no list of tables: write each as [[fault]]")
        seed = content.get("seed", 0)
        if not isinstance(seed, int) or isinstance(seed, bool):
            raise EcgEdgeError(f"seed {seed!r} is no whole number: give one")
        timed = tuple(_of_table(table) for table in tables)
        return Faults(seed=seed, drift=_number(content, "drift", 0.0), timed=timed)
    except EcgEdgeError as error:
        raise EcgEdgeError(f"fault script {path}: {error}") from None


def _of_table(table: dict[str, Any]) -> Fault:
    names = tuple(f.name for f in fields(Fault))
    _known(table, names, "[[fault]]")
    kind = table.get("kind")
    if not isinstance(kind, str):
        raise EcgEdgeError(f"a [[fault]] has no kind: use {', '.join(PACKET_KINDS + LINK_KINDS + SIGNAL_KINDS)}")
    leads = table.get("leads", [])
    if not isinstance(leads, list) or not all(isinstance(lead, str) for lead in leads):
        raise EcgEdgeError(f"leads of {kind} is no list of names: write it as [{', '.join(map(repr, LEADS[:2]))}]")
    return Fault(
        kind,
        _number(table, "at", 0.0),
        _number(table, "seconds", FOREVER),
        _number(table, "amount", 1.0),
        canonical_all(leads),
    )


def _known(table: dict[str, Any], names: tuple[str, ...], where: str) -> None:
    for key in table:
        if key not in names:
            raise EcgEdgeError(f"unknown key {key!r} in {where}: use {', '.join(names)}")


def _number(table: dict[str, Any], key: str, default: float) -> float:
    value = table.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
        raise EcgEdgeError(f"{key} {value!r} is no number: give one")
    return float(value)
