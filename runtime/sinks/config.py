"""The sinks file: TOML, a table for each sink, whose `kind` says what it is and whose other keys are its settings.

What a file says is checked whole before a monitor starts. The settings of each kind are the dataclass beside its code.
"""

import difflib
import math
import os
import re
import tomllib
from collections.abc import Iterable
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from ecg_edge.firmware_bridge.errors import EcgEdgeError

from ..events import EVENT_TYPES
from ..ranges import Range
from .command import CommandSettings, CommandSink
from .forward import StoreAndForward
from .mqtt import MqttCourier, MqttSettings
from .queued import QueuedSink
from .rotated import FileSettings, RotatedFile
from .store import Store
from .webhook import WebhookCourier, WebhookSettings

KINDS: dict[str, type] = {
    "file": FileSettings,
    "mqtt": MqttSettings,
    "webhook": WebhookSettings,
    "command": CommandSettings,
}
"""Settings of each kind of sink."""

FORWARDED = ("mqtt", "webhook")
"""Kinds that store and forward, and so have a `store`."""

_NAME = re.compile(r"[a-z][a-z0-9-]*")
_TAKEN = ("stdout", "log")  # names that the command line's own sinks have
_TYPE_NAMES = {str: "text in quotes", bool: "true or false", int: "a whole number", float: "a number"}


class SinksError(EcgEdgeError):
    """A sinks file that cannot be followed."""


def open_sinks(path: Path) -> list[QueuedSink]:
    """Return the sinks of the file at `path`, running; paths in it count from its folder.

    Raises SinksError naming the table and the key, and EcgEdgeError where a store cannot be opened.
    """
    try:
        with path.open("rb") as file:
            tables = tomllib.load(file)
    except OSError as error:
        raise SinksError(f"{path}: cannot be read ({error.strerror}); name an existing file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SinksError(f"{path}: is not TOML ({error}); mend it there") from None
    try:
        checked = [_Sink(name, table, path.parent) for name, table in tables.items()]
    except SinksError as error:
        raise SinksError(f"{path}: {error}") from None
    if not checked:
        raise SinksError(f"{path}: names no sink; write a table such as [ward] with a kind")
    opened: list[QueuedSink] = []
    try:
        opened.extend(sink.open() for sink in checked)
    except BaseException:
        for sink in opened:
            sink.close()
        raise
    return opened


class _Sink:
    """One table, checked."""

    def __init__(self, name: str, table: Any, folder: Path) -> None:
        if not _NAME.fullmatch(name) or name in _TAKEN:
            raise SinksError(f"[{name}]: no name for a sink; use small letters, digits and -, not {', '.join(_TAKEN)}")
        if not isinstance(table, dict):
            raise SinksError(f"{name}: outside a table; write [NAME] above the settings of each sink")
        self._name, self._folder = name, folder
        self._kind = table.get("kind")
        if self._kind not in KINDS:
            raise SinksError(f"[{name}] kind: {self._kind!r} is none; use one of {', '.join(KINDS)}")
        settings_of = KINDS[self._kind]
        hints = get_type_hints(settings_of, include_extras=True)
        common = ["kind", "events", *(["store"] if self._kind in FORWARDED else [])]
        for key in table:
            if key not in hints and key not in common:
                raise SinksError(f"[{name}] {_unknown(key, [*hints, *common])}")
        missing = [f.name for f in fields(settings_of) if f.default is MISSING] + common[2:]
        for key in missing:
            if key not in table:
                raise SinksError(f"[{name}] {key}: missing; a sink of kind {self._kind} needs it")
        self._types = self._value("events", table.get("events", list(EVENT_TYPES)), tuple[str, ...])
        for kind in self._types:
            if kind not in EVENT_TYPES:
                raise SinksError(f"[{name}] events: no events of type {kind!r}; use {', '.join(EVENT_TYPES)}")
        own = {key: self._value(key, value, hints[key]) for key, value in table.items() if key in hints}
        self._settings: Any = settings_of(**own)
        self._store: Path | None = self._value("store", table["store"], Path) if "store" in common else None
        self._check()

    def open(self) -> QueuedSink:
        """Return it, running."""
        s, name = self._settings, self._name
        if self._store is None:
            sink = RotatedFile(s) if isinstance(s, FileSettings) else CommandSink(s)
            return QueuedSink(name, sink, types=self._types)
        if isinstance(s, MqttSettings):
            courier: MqttCourier | WebhookCourier = MqttCourier(s, self._secret("password"))
        else:
            courier = WebhookCourier(s, self._secret("token"))
        return StoreAndForward(name, Store(self._store), courier, types=self._types)

    def _check(self) -> None:
        """Raise SinksError for what is impossible and no matter of type or range."""
        s, name = self._settings, self._name
        if isinstance(s, WebhookSettings) and not re.fullmatch(r"https?://[^\s/]+\S*", s.url):
            raise SinksError(f"[{name}] url: {s.url!r} is no address; write http:// or https:// and a host")
        if isinstance(s, CommandSettings) and not s.run:
            raise SinksError(f'[{name}] run: empty; write ["PROGRAM", "ARGUMENT"]')
        if isinstance(s, MqttSettings):
            if not s.topic or s.topic.startswith(("/", "$")) or s.topic.endswith("/") or re.search(r"[+#\0]", s.topic):
                raise SinksError(f"[{name}] topic: {s.topic!r} is no topic to publish to; write one as ecg-edge/bed-7")
            if s.ca_file and not s.tls:
                raise SinksError(f"[{name}] ca_file: goes with tls = true; add it")
        if isinstance(s, MqttSettings | WebhookSettings):
            self._secret("password" if isinstance(s, MqttSettings) else "token")

    def _secret(self, what: str) -> str | None:
        """Return what the environment or a file holds, None where the table names neither."""
        variable, file = (getattr(self._settings, f"{what}_{place}") for place in ("env", "file"))
        if variable and file:
            raise SinksError(f"[{self._name}] {what}_env: and {what}_file are both there; take one out")
        if variable:
            if variable not in os.environ:
                raise SinksError(f"[{self._name}] {what}_env: no variable {variable}; set it")
            return os.environ[variable]
        if not file:
            return None
        try:
            return (self._folder / file).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            text = getattr(error, "strerror", None) or "not UTF-8"
            raise SinksError(f"[{self._name}] {what}_file: cannot read {file} ({text}); correct the path") from None

    def _value(self, key: str, value: Any, hint: Any) -> Any:
        """Return `value` as the type of its setting; raises SinksError where type or range are wrong."""
        where = f"[{self._name}] {key}"
        allowed = None
        if get_origin(hint) is Annotated:
            hint, allowed = get_args(hint)
        if hint == tuple[str, ...]:
            if not isinstance(value, list) or not all(isinstance(one, str) and one for one in value):
                raise SinksError(f'{where}: {value!r} has the wrong type; give a list of texts, as ["a", "b"]')
            return tuple(value)
        if hint is Path:
            if not isinstance(value, str) or not value:
                raise SinksError(f"{where}: {value!r} has the wrong type; give a path in quotes")
            return self._folder / value
        right = type(value) in (int, float) and math.isfinite(value) if hint is float else type(value) is hint
        if not right:
            raise SinksError(f"{where}: {value!r} has the wrong type; give {_TYPE_NAMES[hint]}")
        if isinstance(allowed, Range) and not allowed.low <= value <= allowed.high:
            raise SinksError(f"{where}: {value} is impossible; give a value from {allowed.low:g} to {allowed.high:g}")
        return value


def _unknown(key: str, known: Iterable[str]) -> str:
    names = list(known)
    near = difflib.get_close_matches(key, names, n=1, cutoff=0.5)
    return f"{key}: unknown key; " + (f"did you mean {near[0]}?" if near else f"use one of {', '.join(names)}")
