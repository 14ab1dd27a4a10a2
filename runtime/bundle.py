"""Model bundles: a folder with `bundle.json`, the model and its card, checked before anything in it is used.

Loading verifies names, sizes, hashes and the signal contract first. A bundle holds JSON, Markdown and model graphs;
nothing in it is unpickled, imported or run, and models are given to the runtime as bytes, so a graph cannot reach
for files beside it.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Self

from ecg_edge.firmware_bridge.errors import EcgEdgeError

from .classes import ClassInfo
from .contract import Contract

SCHEMA = 2  # 1 had an ONNX model only, and its logits alone in the self-test; it is read as well
MANIFEST = "bundle.json"
OWN_HASH = "manifest_sha256"  # where bundle.json holds its own; since schema 2
SHIPPED = Path(__file__).parent / "bundles"
SIZE_LIMIT = 64 * 2**20  # bytes of one file: a hundred times what an edge model needs


class BundleError(EcgEdgeError):
    """A bundle that cannot be trusted or used."""


@dataclass(frozen=True)
class FileInfo:
    """What a file of the bundle must be."""

    sha256: str
    bytes: int


@dataclass(frozen=True)
class Metric:
    """One measured figure."""

    data: str
    """Data set, with its subset."""
    split: str
    """What was held out and how (`fold 9, patients apart`)."""
    metric: str
    """Name of the figure (`macro_auroc`)."""
    value: float
    low: float | None = None
    """Lower end of the 95 % interval."""
    high: float | None = None


@dataclass(frozen=True)
class SelfTest:
    """What the model must answer to the built-in test signal."""

    front_end_sha256: str
    """Hash of the integers that the front end computes from it: the same on every machine."""
    logits: dict[str, tuple[float, ...]]
    """Of each backend's model: `{"onnx": (...)}`."""
    tolerance: float
    """Largest difference of a logit; machines differ in the last bits of their INT8 kernels' float parts."""


@dataclass(frozen=True)
class Manifest:
    """The contents of `bundle.json`."""

    name: str
    version: str
    classes: tuple[ClassInfo, ...]
    contract: Contract
    files: dict[str, FileInfo]
    """Every file but the manifest itself, by name."""
    models: dict[str, str]
    """File of each backend: `{"onnx": "model.onnx", "tflite": "model.tflite"}`."""
    self_test: SelfTest
    licence: str
    metrics: tuple[Metric, ...] = ()
    provenance: dict[str, Any] = field(default_factory=dict)
    """How it was made: data, settings, seeds, versions, commands."""

    def to_dict(self) -> dict[str, Any]:
        """Return the manifest as JSON types, with a hash of all the rest as `manifest_sha256`."""
        data = {
            "schema": SCHEMA,
            "name": self.name,
            "version": self.version,
            "classes": [asdict(c) for c in self.classes],
            "contract": self.contract.to_dict(),
            "contract_sha256": self.contract.sha256,
            "files": {name: asdict(info) for name, info in self.files.items()},
            "models": self.models,
            "self_test": asdict(self.self_test),
            "licence": self.licence,
            "metrics": [asdict(m) for m in self.metrics],
            "provenance": self.provenance,
        }
        return data | {OWN_HASH: own_sha256(data)}

    def to_json(self) -> str:
        """Return the text of `bundle.json`."""
        return json.dumps(self.to_dict(), indent=1, sort_keys=False, allow_nan=False) + "\n"

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Return the manifest in `data`; raises BundleError or ContractError for anything that is not one."""
        if not isinstance(data, dict) or type(data.get("schema")) is not int or not 1 <= data["schema"] <= SCHEMA:
            raise BundleError(
                f"bundle.json has schema {_peek(data)}, this version reads 1 to {SCHEMA}: export it again"
            )
        try:
            manifest = cls(
                name=_text(data["name"]),
                version=_text(data["version"]),
                classes=tuple(_class(c) for c in data["classes"]),
                contract=Contract.from_dict(data["contract"]),
                files={_plain(n): FileInfo(_text(f["sha256"]), int(f["bytes"])) for n, f in data["files"].items()},
                models={_text(k): _plain(v) for k, v in data["models"].items()},
                self_test=SelfTest(
                    _text(data["self_test"]["front_end_sha256"]),
                    _answers(data["self_test"]["logits"], data["schema"]),
                    float(data["self_test"]["tolerance"]),
                ),
                licence=_text(data["licence"]),
                metrics=tuple(_metric(m) for m in data["metrics"]),
                provenance=dict(data["provenance"]),
            )
            contract_hash = data["contract_sha256"]
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise BundleError(f"bundle.json is damaged ({_reason(error)}): fetch or export the bundle again") from error
        if contract_hash != manifest.contract.sha256:
            raise BundleError("the signal contract in bundle.json does not match its hash: fetch the bundle again")
        answers = manifest.self_test.logits
        if set(answers) != set(manifest.models):
            raise BundleError("bundle.json has other models than its self-test has answers of: export it again")
        if any(len(v) != len(manifest.classes) for v in answers.values()) or not manifest.classes:
            raise BundleError("bundle.json names other classes than its self-test has logits: export it again")
        if len({c.abbreviation for c in manifest.classes}) < len(manifest.classes):
            raise BundleError("bundle.json has two classes of one abbreviation: export it again")
        if not manifest.models or any(f not in manifest.files for f in manifest.models.values()):
            raise BundleError("bundle.json names a model that is not among its files: export it again")
        return manifest


@dataclass(frozen=True)
class Bundle:
    """A verified bundle with its files in memory."""

    manifest: Manifest
    folder: Path
    sha256: str
    """Hash of bundle.json, which holds the hashes of all the rest."""
    contents: dict[str, bytes]
    """Verified bytes of each file."""

    def model(self, backend: str) -> bytes:
        """Return the model graph for a backend; raises BundleError naming those there are."""
        try:
            return self.contents[self.manifest.models[backend]]
        except KeyError:
            there = ", ".join(self.manifest.models)
            raise BundleError(f"bundle {self.manifest.name} has no {backend} model: use --backend {there}") from None


def shipped() -> list[str]:
    """Return the names of the bundles inside the package."""
    return sorted(p.parent.name for p in SHIPPED.glob(f"*/{MANIFEST}"))


def find(name_or_path: str | Path) -> Path:
    """Return the folder of a shipped bundle's name or of a path; raises BundleError where there is none."""
    if str(name_or_path) in shipped():
        return SHIPPED / str(name_or_path)
    folder = Path(name_or_path)
    if folder.name == MANIFEST:
        folder = folder.parent
    if not (folder / MANIFEST).is_file():
        raise BundleError(
            f"no bundle {str(name_or_path)!r}: name a folder with a {MANIFEST}, or one of {', '.join(shipped())}"
        )
    return folder


def load(name_or_path: str | Path) -> Bundle:
    """Return a bundle, its files read once and verified; raises BundleError or ContractError otherwise."""
    folder = find(name_or_path)
    text = _read(folder / MANIFEST)
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{folder / MANIFEST} is not JSON ({_reason(error)}): fetch the bundle again") from error
    manifest = Manifest.from_dict(data)
    if data["schema"] > 1 and data.get(OWN_HASH) != own_sha256(data):
        raise BundleError(f"{folder / MANIFEST} does not match its own hash: fetch or export the bundle again")
    contents = {}
    for name, info in manifest.files.items():
        blob = _read(folder / name)
        if len(blob) != info.bytes or hashlib.sha256(blob).hexdigest() != info.sha256:
            raise BundleError(f"{folder / name} is not the file that bundle.json names: fetch the bundle again")
        contents[name] = blob
    return Bundle(manifest, folder, hashlib.sha256(text).hexdigest(), contents)


def own_sha256(data: dict[str, Any]) -> str:
    """Return the hash of a manifest's values, all but the hash itself: it tells damage, not who wrote them."""
    rest = {key: value for key, value in data.items() if key != OWN_HASH}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > SIZE_LIMIT:
            raise BundleError(f"{path} is larger than {SIZE_LIMIT} bytes: that is no edge model")
        return path.read_bytes()
    except OSError as error:
        raise BundleError(f"cannot read {path}: {error.strerror}; fetch the bundle again") from error


def _plain(name: Any) -> str:
    if (
        not isinstance(name, str)
        or Path(name).name != name
        or name in ("", ".", "..", MANIFEST)
        or not name.isprintable()
    ):
        raise ValueError(f"file name {name!r}")
    return name


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def _answers(data: Any, schema: int) -> dict[str, tuple[float, ...]]:
    """Return the self-test's logits by backend."""
    by_backend = {"onnx": data} if schema == 1 else data
    return {_text(name): tuple(float(v) for v in values) for name, values in by_backend.items()}


def _class(data: dict[str, Any]) -> ClassInfo:
    values = {f.name: data[f.name] for f in fields(ClassInfo)}
    for text in (values["code"], values["abbreviation"], values["name"]):
        _text(text)
    if values["code"].strip("0123456789"):
        raise ValueError(f"SNOMED CT code {values['code']!r}")
    values["equivalents"] = tuple(_text(code) for code in values["equivalents"])
    values["threshold"] = float(values["threshold"])
    return ClassInfo(**values)


def _metric(data: dict[str, Any]) -> Metric:
    metric = Metric(**data)
    for text in (metric.data, metric.split, metric.metric):
        _text(text)
    for number in (metric.value, metric.low or 0.0, metric.high or 0.0):
        if type(number) not in (int, float):
            raise TypeError(f"{number!r} is no figure")
    return metric


def _peek(data: Any) -> str:
    return repr(data.get("schema")) if isinstance(data, dict) else type(data).__name__


def _reason(error: Exception) -> str:
    return f"no {error}" if isinstance(error, KeyError) else str(error)
