"""The sinks file: what it may say, and one line that names the key where it may not."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ecg_edge.firmware_bridge.errors import EcgEdgeError
from ecg_edge.runtime.sinks import config
from ecg_edge.runtime.sinks.config import open_sinks

DOCS = Path(__file__).parents[2] / "docs" / "sinks.md"


@pytest.fixture
def written(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        path = tmp_path / "sinks.toml"
        path.write_text(text)
        return path

    return write


def test_every_kind(written: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("paho.mqtt", reason="paho-mqtt is not installed (extra mqtt)")
    monkeypatch.setenv("WARD_PASSWORD", "s3cret")
    (tmp_path / "token").write_text("t0ken\n")
    text = """
[disk]
kind = "file"
path = "logs/events.jsonl"
max_mb = 2
keep = 1

[ward]
kind = "mqtt"
events = ["alert", "technical"]
store = "ward.db"
host = "127.0.0.1"
port = 1
topic = "ecg-edge/bed-7"
username = "ecg"
password_env = "WARD_PASSWORD"
timeout_s = 0.5

[pager]
kind = "webhook"
store = "pager.db"
url = "http://127.0.0.1:1/alerts"
token_file = "token"

[light]
kind = "command"
events = ["alert"]
run = ["/usr/local/bin/light", "red"]
"""
    sinks = open_sinks(written(text))
    try:
        assert [sink.name for sink in sinks] == ["disk", "ward", "pager", "light"]
        disk, ward, pager, light = sinks
        settings: Any = disk._sink._settings  # type: ignore[union-attr]
        assert (settings.path, settings.max_mb, settings.keep) == (tmp_path / "logs" / "events.jsonl", 2, 1)
        assert ward._types == {"alert", "technical"}
        courier = ward._courier  # type: ignore[attr-defined]
        assert (courier._password, courier._settings.timeout_s) == ("s3cret", 0.5)
        assert pager._courier._headers["Authorization"] == "Bearer t0ken"  # type: ignore[attr-defined]
        assert light._sink._settings.run == ("/usr/local/bin/light", "red")  # type: ignore[union-attr]
        assert (tmp_path / "ward.db").exists(), "paths count from the folder of the file"
    finally:
        for sink in sinks:
            sink.close()


FILE = '[disk]\nkind = "file"\npath = "x"\n'
MQTT = '[ward]\nkind = "mqtt"\nstore = "w.db"\nhost = "h"\n'
HOOK = '[pager]\nkind = "webhook"\nstore = "p.db"\n'
COMMAND = '[run]\nkind = "command"\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "names no sink"),
        ("[disk", "is not TOML"),
        ('kind = "file"', "kind: outside a table"),
        ('[Disk]\nkind = "file"', "no name for a sink"),
        ('[stdout]\nkind = "file"', "no name for a sink"),
        ('[disk]\nkind = "fil"', "kind: 'fil' is none; use one of file, mqtt, webhook, command"),
        ('[disk]\npath = "x"', "kind: None is none"),
        ('[disk]\nkind = "file"', "path: missing"),
        (FILE + "max_md = 3", "max_md: unknown key; did you mean max_mb?"),
        (FILE + 'store = "x.db"', "store: unknown key"),
        (FILE + "max_mb = 0", "max_mb: 0 is impossible; give a value from 0.001"),
        (FILE + "keep = 1.5", "keep: 1.5 has the wrong type; give a whole number"),
        (FILE + "keep = true", "keep: True has the wrong type"),
        (FILE + "max_mb = nan", "max_mb: nan has the wrong type"),
        (FILE + 'events = "alert"', "events: 'alert' has the wrong type; give a list"),
        (FILE + 'events = ["alerts"]', "no events of type 'alerts'"),
        ('[disk]\nkind = "file"\npath = 3', "path: 3 has the wrong type; give a path"),
        (MQTT, "topic: missing"),
        (MQTT + 'topic = "a/#"', "topic: 'a/#' is no topic"),
        (MQTT + 'topic = "/a"', "topic: '/a' is no topic"),
        (MQTT + 'topic = "a"\nport = 70000', "port: 70000 is impossible"),
        (MQTT + 'topic = "a"\npassword = "x"', "password: unknown key; did you mean password_"),
        (MQTT + 'topic = "a"\npassword_env = "NOT_SET_AT_ALL"', "no variable NOT_SET_AT_ALL; set it"),
        (MQTT + 'topic = "a"\npassword_file = "none"', "cannot read none"),
        (MQTT + 'topic = "a"\npassword_env = "A"\npassword_file = "b"', "are both there"),
        (MQTT + 'topic = "a"\nca_file = "b"', "goes with tls = true"),
        (HOOK, "url: missing"),
        ('[pager]\nkind = "webhook"\nurl = "http://h/"', "store: missing"),
        (HOOK + 'url = "file:///etc/passwd"', "url: 'file:///etc/passwd' is no address"),
        (COMMAND, "run: missing"),
        (COMMAND + "run = []", "run: empty"),
        (COMMAND + 'run = "ls"', "run: 'ls' has the wrong type"),
    ],
)
def test_what_is_wrong_is_named(written: Any, text: str, message: str) -> None:
    with pytest.raises(EcgEdgeError, match=re.escape(message)) as caught:
        open_sinks(written(text))
    assert "sinks.toml: " in str(caught.value)
    assert "\n" not in str(caught.value).replace("TOML (", ""), "one line"


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(EcgEdgeError, match="name an existing file"):
        open_sinks(tmp_path / "none.toml")


def test_one_store_for_two_sinks(written: Any) -> None:
    two = HOOK + 'url = "http://127.0.0.1:1/"\n' + HOOK.replace("pager", "other") + 'url = "http://127.0.0.1:1/"'
    with pytest.raises(EcgEdgeError, match="its own store"):
        open_sinks(written(two))


def test_the_documentation_has_a_row_for_every_setting() -> None:
    text = DOCS.read_text()
    for kind, settings in config.KINDS.items():
        section = text.split(f"### `{kind}`")[1].split("\n### ")[0].split("\n## ")[0]
        for name in settings.__dataclass_fields__:
            assert f"| `{name}` |" in section, f"{kind}.{name}"
