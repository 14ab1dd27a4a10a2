"""Loading a bundle: what was written comes back, and whatever is wrong is one BundleError of one line.

Damage to files and to the manifest's main parts is tested where a user meets it, in the command; here are the
manifest's odd corners.
"""

import contextlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ecg_edge.firmware_bridge.errors import EcgEdgeError
from ecg_edge.runtime.backends import open_backend
from ecg_edge.runtime.bundle import BundleError, Manifest, load

TinyBundle = Callable[[Path], Path]


@pytest.fixture
def folder(tiny_bundle: TinyBundle, tmp_path: Path) -> Path:
    return tiny_bundle(tmp_path / "tiny")


@pytest.fixture(scope="module")
def good(tiny_bundle: TinyBundle, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The manifest of a good bundle as JSON types."""
    folder = tiny_bundle(tmp_path_factory.mktemp("good"))
    manifest: dict[str, Any] = json.loads((folder / "bundle.json").read_text())
    return manifest


def put(data: Any, path: tuple[str | int, ...], value: Any) -> Any:
    """Return a deep copy of `data` with `value` at `path`."""
    if not path:
        return value
    copy = data.copy()
    copy[path[0]] = put(copy[path[0]] if len(path) > 1 else None, path[1:], value)
    return copy


def paths(data: Any, here: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Return the places of all values in `data`."""
    inner = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [here, *(p for key, value in inner for p in paths(value, (*here, key)))]


def test_what_was_written_comes_back(folder: Path, good: dict[str, Any]) -> None:
    bundle = load(folder)
    assert bundle.manifest == Manifest.from_dict(good)
    assert json.loads(bundle.manifest.to_json()) == good
    assert bundle.contents["model.onnx"] == (folder / "model.onnx").read_bytes()
    assert load(folder / "bundle.json").sha256 == bundle.sha256


def test_backend_that_the_bundle_does_not_have(folder: Path) -> None:
    bundle = load(folder)
    with pytest.raises(BundleError, match="no tflite model"):
        bundle.model("tflite")
    with pytest.raises(BundleError, match="--backend"):
        open_backend(bundle, "tflite")


def test_file_that_is_no_model(folder: Path) -> None:
    bundle = load(folder)
    broken = replace(bundle, contents={**bundle.contents, "model.onnx": b"no graph"})
    with pytest.raises(BundleError, match="ONNX Runtime cannot open the model"):
        open_backend(broken)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("files", "model.onnx", "bytes"), float("inf")),
        (("classes", 0, "threshold"), 10**400),
        (("classes", 0, "threshold"), 0),
        (("classes", 0, "threshold"), float("nan")),
        (("classes", 0, "abbreviation"), ""),
        (("classes", 0, "abbreviation"), 5),
        (("classes", 0, "name"), None),
        (("classes", 0, "code"), 164889003),
        (("classes", 0, "code"), "AF"),
        (("classes", 0, "equivalents"), [5]),
        (("classes", 1, "abbreviation"), "AF"),
        (("files", "model\0.onnx"), {"sha256": "0" * 64, "bytes": 1}),
        (("files", "\ud800"), {"sha256": "0" * 64, "bytes": 1}),
        (("files", "/etc/hostname"), {"sha256": "0" * 64, "bytes": 1}),
        (("files", ".."), {"sha256": "0" * 64, "bytes": 1}),
        (("metrics", 0, "value"), "0.9"),
        (("metrics", 0, "high"), True),
        (("provenance",), 5),
    ],
    ids=lambda v: "-".join(map(ascii, v)) if isinstance(v, tuple) else ascii(v)[:12],
)
def test_odd_value_is_a_bundle_error(folder: Path, good: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    (folder / "bundle.json").write_text(json.dumps(put(good, path, value)))
    with pytest.raises(BundleError) as caught:
        load(folder)
    assert "\n" not in str(caught.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just(10**400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data(), JSON)
def test_manifest_with_anything_anywhere_is_read_or_refused(
    good: dict[str, Any], data: st.DataObject, value: Any
) -> None:
    place = data.draw(st.sampled_from(paths(good)))
    with contextlib.suppress(EcgEdgeError):
        Manifest.from_dict(put(good, place, value)).to_dict()


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"schema": 1}', b'{"schema": "1"}']
)
def test_text_that_is_no_manifest(folder: Path, text: bytes) -> None:
    (folder / "bundle.json").write_bytes(text)
    with pytest.raises(BundleError):
        load(folder)


def test_folder_without_a_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"bundle\.json"):
        load(tmp_path)
