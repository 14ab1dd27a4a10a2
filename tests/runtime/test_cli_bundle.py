"""`ecg-edge bundle`: what it tells, and that nothing damaged or hostile passes."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ecg_edge.runtime import bundle as bundles
from ecg_edge.runtime.cli.main import main

Edit = Callable[[dict[str, Any]], None]


@pytest.fixture(scope="module")
def made(tiny_bundle: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a valid bundle that nobody may change."""
    return tiny_bundle(tmp_path_factory.mktemp("made") / "tiny")


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """Return a copy of the valid bundle, to be damaged."""
    return Path(shutil.copytree(made, tmp_path / "tiny"))


def edit(folder: Path, change: Edit) -> None:
    """Change the manifest of a bundle by `change`."""
    path = folder / "bundle.json"
    data = json.loads(path.read_text())
    change(data)
    data[bundles.OWN_HASH] = bundles.own_sha256(data)  # as one who means it would
    path.write_text(json.dumps(data))


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Return the one line that a command fails with."""
    assert main(["bundle", *arguments]) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("ecg-edge: ")
    assert output.err.count("\n") == 1
    assert "unexpected" not in output.err
    return output.err


def test_show_tells_everything_that_the_manifest_holds(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bundle", "show", str(made)]) == 0
    text = capsys.readouterr().out
    manifest = json.loads((made / "bundle.json").read_text())
    for one in manifest["classes"]:
        assert one["code"] in text
        assert one["name"] in text
    for name, info in manifest["files"].items():
        assert name in text
        assert info["sha256"] in text
    assert manifest["contract_sha256"] in text
    assert manifest["licence"] in text
    assert "17338001" in text  # an equivalent code
    assert "0.4000 to 0.6000" in text  # the interval of a figure
    assert "made_by" in text


def test_show_json_is_the_manifest_with_its_hash(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bundle", "show", str(made), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    manifest = json.loads((made / "bundle.json").read_text())
    assert {key: shown[key] for key in manifest} == manifest
    assert shown["sha256"] == bundles.load(made).sha256


def test_show_without_a_name_lists_what_ships(
    made: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundles, "SHIPPED", made.parent)
    assert main(["bundle", "show"]) == 0
    assert "tiny" in capsys.readouterr().out
    assert main(["bundle", "show", "--json"]) == 0
    (one,) = json.loads(capsys.readouterr().out)["bundles"]
    assert one["name"] == "tiny"
    assert one["classes"] == ["AF", "NSR", "PVC"]
    assert one["bytes"] == sum((made / name).stat().st_size for name in ("model.onnx", "MODEL_CARD.md"))


def test_nothing_shipped_is_said_and_not_an_empty_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundles, "SHIPPED", tmp_path)
    assert main(["bundle", "show"]) == 0
    assert "no bundle ships" in capsys.readouterr().out
    assert "no bundle ships" in refused(capsys, "verify")


def test_verify_passes_a_good_bundle(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bundle", "verify", str(made)]) == 0
    text = capsys.readouterr().out
    assert "front end exact: yes" in text
    assert "passed" in text
    assert main(["bundle", "verify", str(made), "--json", "--backend", "onnx"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["passed"]
    (one,) = report["bundles"]
    assert one["front_end_exact"]
    assert list(one["backends"]) == ["onnx"]
    assert one["backends"]["onnx"]["largest_difference"] <= one["tolerance"]


def test_verify_without_a_name_verifies_all_that_ship(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(folder, folder.parent / "damaged")
    (folder.parent / "damaged" / "MODEL_CARD.md").write_text("another text")
    monkeypatch.setattr(bundles, "SHIPPED", folder.parent)
    assert main(["bundle", "verify"]) == 1
    output = capsys.readouterr()
    assert "tiny: " in output.out
    assert "damaged: " in output.err
    assert output.err.count("\n") == 1


@pytest.mark.parametrize("name", ["model.onnx", "MODEL_CARD.md"])
@pytest.mark.parametrize("action", ["show", "verify"])
def test_a_changed_byte_is_refused(folder: Path, name: str, action: str, capsys: pytest.CaptureFixture[str]) -> None:
    blob = bytearray((folder / name).read_bytes())
    blob[len(blob) // 2] ^= 1
    (folder / name).write_bytes(blob)
    assert name in refused(capsys, action, str(folder))


def test_an_added_byte_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (folder / "model.onnx").open("ab") as file:
        file.write(b"\0")
    assert "model.onnx" in refused(capsys, "verify", str(folder))


def test_a_missing_file_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "model.onnx").unlink()
    assert "model.onnx" in refused(capsys, "verify", str(folder))


def _set(*keys: str, value: Any) -> Edit:
    """Return an edit that sets the value under `keys`."""

    def change(data: dict[str, Any]) -> None:
        for key in keys[:-1]:
            data = data[key]
        data[keys[-1]] = value

    return change


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(_set("schema", value=99), id="other schema"),
        pytest.param(_set("contract", "window_seconds", value=5), id="contract changed, its hash not"),
        pytest.param(_set("contract", "rate", value=200), id="contract that cannot be computed"),
        pytest.param(_set("contract", "highpass_boxcar", value="128"), id="text for a number"),
        pytest.param(_set("contract", "new_field", value=1), id="contract of another version"),
        pytest.param(_set("contract_sha256", value="0" * 64), id="hash of another contract"),
        pytest.param(_set("classes", value=[]), id="no classes"),
        pytest.param(_set("classes", value="AF"), id="classes that are none"),
        pytest.param(_set("files", "model.onnx", "bytes", value=1), id="size of another file"),
        pytest.param(_set("files", "model.onnx", "sha256", value="0" * 64), id="hash of another file"),
        pytest.param(_set("files", value={}), id="model not among the files"),
        pytest.param(_set("models", value={}), id="no model"),
        pytest.param(_set("models", value={"onnx": "other.onnx"}), id="model of another name"),
        pytest.param(_set("self_test", "logits", "onnx", value=[0.0]), id="too few logits"),
        pytest.param(_set("self_test", value=None), id="no self-test"),
        pytest.param(lambda data: data.pop("licence"), id="field missing"),
    ],
)
@pytest.mark.parametrize("action", ["show", "verify"])
def test_a_changed_manifest_is_refused(
    folder: Path, change: Edit, action: str, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(folder, change)
    refused(capsys, action, str(folder))


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000], ids=range(6))
def test_what_is_no_manifest_is_refused(folder: Path, text: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "bundle.json").write_bytes(text)
    refused(capsys, "verify", str(folder))


@pytest.mark.parametrize(
    "name", ["../secret", "/etc/hostname", "sub/secret", "..", ".", "", "bundle.json", "sub/../model.onnx"]
)
def test_a_file_name_that_leads_out_of_the_folder_is_refused(
    folder: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder.parent / "secret").write_bytes((folder / "model.onnx").read_bytes())
    (folder / "sub").mkdir()
    (folder / "sub" / "secret").write_bytes((folder / "model.onnx").read_bytes())

    def change(data: dict[str, Any]) -> None:
        data["files"][name] = data["files"].pop("model.onnx")
        data["models"]["onnx"] = name

    edit(folder, change)
    assert "damaged" in refused(capsys, "verify", str(folder))


def test_verify_fails_where_the_front_end_computes_other_integers(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(folder, _set("self_test", "front_end_sha256", value="0" * 64))
    assert "front end" in refused(capsys, "verify", str(folder))
    assert main(["bundle", "verify", str(folder), "--json"]) == 1
    (one,) = json.loads(capsys.readouterr().out)["bundles"]
    assert not one["front_end_exact"]
    assert not one["passed"]


def test_verify_fails_where_the_model_answers_otherwise(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def change(data: dict[str, Any]) -> None:
        data["self_test"]["logits"]["onnx"][1] += 2 * data["self_test"]["tolerance"]

    edit(folder, change)
    assert "differs by" in refused(capsys, "verify", str(folder))


def test_verify_fails_where_the_model_gives_no_number(
    tiny_bundle: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tiny_bundle(tmp_path / "nan", logits=[0.0, float("nan"), 0.0])
    assert "not finite" in refused(capsys, "verify", str(folder))
    assert main(["bundle", "verify", str(folder), "--json"]) == 1
    text = capsys.readouterr().out
    assert json.loads(text, parse_constant=pytest.fail)["bundles"][0]["backends"]["onnx"]["largest_difference"] is None


def test_no_such_bundle_and_wrong_use(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no bundle" in refused(capsys, "show", str(tmp_path / "nothing"))
    for wrong in (["bundle"], ["bundle", "show", "--backend", "onnx"], ["bundle", "verify", "--backend", "other"]):
        with pytest.raises(SystemExit) as stop:
            main(wrong)
        assert stop.value.code == 2


def test_verify_runs_every_model(both_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bundle", "verify", str(both_bundle)]) == 0
    text = capsys.readouterr().out
    assert "on onnx" in text
    assert "on tflite" in text
    assert main(["bundle", "verify", str(both_bundle), "--json", "--backend", "tflite"]) == 0
    (one,) = json.loads(capsys.readouterr().out)["bundles"]
    assert list(one["backends"]) == ["tflite"]


def test_verify_says_which_model_could_not_run(
    both_bundle: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ecg_edge.runtime.backends.installed", lambda kind: kind == "onnx")
    assert main(["bundle", "verify", str(both_bundle)]) == 0
    assert "tflite not run (ai-edge-litert is not installed)" in capsys.readouterr().out
    monkeypatch.setattr("ecg_edge.runtime.backends.installed", lambda kind: False)
    assert "nothing here runs" in refused(capsys, "verify", str(both_bundle))


def test_verify_fails_where_one_of_two_models_answers_otherwise(
    both_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def change(data: dict[str, Any]) -> None:
        data["self_test"]["logits"]["tflite"][0] += 1

    edit(both_bundle, change)
    assert "tflite model's answer differs by" in refused(capsys, "verify", str(both_bundle))
    edit(both_bundle, lambda data: data["self_test"]["logits"].pop("tflite"))
    assert "other models" in refused(capsys, "verify", str(both_bundle))


def test_a_flipped_byte_in_any_file_is_refused(both_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = sorted(path.name for path in both_bundle.iterdir())
    assert files == ["MODEL_CARD.md", "bundle.json", "model.onnx", "model.tflite"]
    for name in files:
        good = (both_bundle / name).read_bytes()
        places = (0, len(good) // 3, len(good) // 2, len(good) - 1)
        for place in [*places, *(range(1, len(good), 41) if name == "bundle.json" else ())]:
            (both_bundle / name).write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
            line = refused(capsys, "verify", str(both_bundle))
            assert name in line or name == "bundle.json"
        (both_bundle / name).write_bytes(good)
    assert main(["bundle", "verify", str(both_bundle)]) == 0


def test_a_bundle_of_the_first_schema_still_works(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def change(data: dict[str, Any]) -> None:
        data["schema"] = 1
        data["self_test"]["logits"] = data["self_test"]["logits"]["onnx"]

    edit(folder, change)
    assert main(["bundle", "verify", str(folder)]) == 0
    assert "on onnx" in capsys.readouterr().out
