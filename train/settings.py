"""Settings of a run: frozen dataclasses, read from TOML files whose unknown keys are errors."""

import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, asdict, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from ecg_edge.firmware_bridge.errors import EcgEdgeError

PRESETS = Path(__file__).parent / "presets"

T = TypeVar("T")


class SettingsError(EcgEdgeError):
    """Settings that cannot be followed."""


def to_table(settings: Any) -> dict[str, Any]:
    """Return a settings dataclass as the types that TOML, JSON and checkpoints know."""
    return {k: _plain(v) for k, v in asdict(settings).items()}


def from_table(kind: type[T], data: Mapping[str, Any]) -> T:
    """Return the settings of class `kind` in `data`; raises SettingsError for unknown, missing or mistyped keys."""
    return _build(kind, data, "")


def read_preset(kind: type[T], command: str, name_or_path: str) -> T:
    """Return the settings of a preset of `command` or of a TOML file; raises SettingsError, naming the presets."""
    preset = PRESETS / command / f"{name_or_path}.toml"
    path = preset if preset.is_file() else Path(name_or_path)
    try:
        return from_table(kind, tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        known = ", ".join(preset_names(command))
        raise SettingsError(f"no preset or file {name_or_path!r}: the presets are {known}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not TOML: {error}") from error


def preset_names(command: str) -> list[str]:
    """Return the names of the presets of a command."""
    return sorted(path.stem for path in (PRESETS / command).glob("*.toml"))


def override(settings: T, assignments: list[str]) -> T:
    """Return `settings` with `name=value` replaced, values written as in TOML, `a.b=value` for a field of a field.

    Raises SettingsError for a name that is none or a value of another type.
    """
    table = to_table(settings)
    for text in assignments:
        name, equals, value = text.partition("=")
        *parents, last = name.strip().split(".")
        place = table
        for parent in parents:
            place = place.get(parent, {}) if isinstance(place, dict) else {}
        if not equals or not isinstance(place, dict) or last not in place:
            raise SettingsError(f"no setting {text!r}: give NAME=VALUE with a name that the preset has")
        try:
            place[last] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            place[last] = value  # a bare word is a string
    return from_table(type(settings), table)


def require(condition: bool, message: str) -> None:
    """Raise SettingsError(message) unless `condition`."""
    if not condition:
        raise SettingsError(message)


def _build(kind: type[T], data: Mapping[str, Any], where: str) -> T:
    """Return a dataclass from a table, field by field and strictly typed."""
    if not isinstance(data, Mapping):
        raise SettingsError(f"{where or 'settings'}: must be a table")
    hints = get_type_hints(kind)
    known = fields(kind)  # type: ignore[arg-type]
    unknown = sorted(set(data) - {f.name for f in known})
    if unknown:
        raise SettingsError(f"unknown setting {where}{unknown[0]}: one of {', '.join(f.name for f in known)}")
    missing = [f.name for f in known if f.name not in data and f.default is MISSING and f.default_factory is MISSING]
    if missing:
        raise SettingsError(f"missing setting {where}{missing[0]}")
    return kind(**{key: _value(hints[key], value, f"{where}{key}") for key, value in data.items()})


def _value(hint: Any, value: Any, where: str) -> Any:
    if is_dataclass(hint) and isinstance(hint, type):
        return _build(hint, value, f"{where}.")
    if get_origin(hint) is tuple:
        item = get_args(hint)[0]
        if not isinstance(value, list | tuple):
            raise SettingsError(f"{where}: must be a list")
        return tuple(_value(item, v, where) for v in value)
    if hint is float and type(value) is int:
        return float(value)
    if type(value) is not hint:
        raise SettingsError(f"{where} = {value!r}: must be of type {hint.__name__}")
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return list(value) if isinstance(value, tuple) else value
