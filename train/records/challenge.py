"""Training records of the PhysioNet/CinC Challenges 2020 and 2021: diagnoses in header comments.

Any folder below `cinc2020` is a source, and any `.hea` file at any depth below it a record, so the layouts of both
years' releases are met. Headers are met as they come: `#Dx:` and `# Dx:`, SNOMED CT codes or, in the first
release, the words of CPSC 2018; lead names in capitals; a record name that carries its suffix.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from ecg_edge.firmware_bridge.errors import EcgEdgeError
from ecg_edge.firmware_bridge.leads import canonical_all
from ecg_edge.runtime.sources.wfdb_header import Header, read_header

from .. import labels
from .entry import Broken, Identity, RecordEntry, ecg_key, parse_age, parse_sex

FOLDER = "cinc2020"

_PTBXL_NAME = re.compile(r"HR(\d{5})")  # the Challenge's name of PTB-XL's ECG of that number, in every release
_FIELD = re.compile(r"\s*(Age|Sex|Dx)\s*:\s*(.*?)\s*", re.IGNORECASE)

# Words of the Challenge's first release, and the codes that its later ones give to the same records.
_CODE_OF_WORD = {
    "normal": labels.NORMAL_SINUS_RHYTHM,
    "af": "164889003",
    "i-avb": "270492004",
    "lbbb": "164909002",
    "rbbb": "59118001",
    "pac": "284470004",
    "pvc": labels.VENTRICULAR_ECTOPICS,
    "std": "429622005",
    "ste": "164931005",
}


def sources(folder: Path) -> list[str]:
    """Return the names of the sources below `folder`, sorted; none where it does not exist."""
    return sorted(child.name for child in folder.iterdir() if child.is_dir()) if folder.is_dir() else []


def read_entries(
    folder: Path, source: str, identities: Mapping[int, Identity]
) -> tuple[list[RecordEntry], list[Broken]]:
    """Return every record below `folder / source`, and those that cannot be used, with the reason.

    identities: patient and fold of PTB-XL's ECGs by number, for the records that are PTB-XL's. A record without a
    known diagnosis is broken, since "nothing scored" and "nobody said" must not be the same label.
    """
    entries, broken = [], []
    for file in sorted((folder / source).rglob("*.hea")):
        record = file.with_suffix("")
        try:
            entries.append(_read_entry(record, source, identities))
        except EcgEdgeError as error:
            broken.append(Broken(record, str(error)))
    return entries, broken


def parse_dx(text: str) -> frozenset[str]:
    """Return the SNOMED CT codes of a Dx field's codes or words; raises EcgEdgeError where one is neither."""
    items = [item.strip() for item in text.split(",") if item.strip()]
    codes = {item if item.isdigit() else _CODE_OF_WORD.get(item.lower(), "") for item in items}
    if not codes or "" in codes:
        raise EcgEdgeError(f"diagnosis {text!r} is not known: it takes SNOMED CT codes or the words of CPSC 2018")
    return frozenset(codes)


def _read_entry(record: Path, source: str, identities: Mapping[int, Identity]) -> RecordEntry:
    header = read_header(record)
    if not header.signals:
        raise EcgEdgeError("header names no signals")
    canonical_all([signal.name for signal in header.signals])
    for name in sorted({signal.file for signal in header.signals}):
        if not (record.parent / name).is_file():
            raise EcgEdgeError(f"signal file {name} missing")
    fields = _fields(header)
    if "dx" not in fields:
        raise EcgEdgeError("no Dx line in the header")
    codes = parse_dx(fields["dx"])
    match = _PTBXL_NAME.fullmatch(record.name)
    ecg_id = int(match[1]) if match else None
    identity = identities.get(ecg_id) if ecg_id is not None else None
    unknown = ecg_key(ecg_id) if ecg_id is not None else f"{source}/{record.name}"
    return RecordEntry(
        path=record,
        source=source,
        patient=identity.patient if identity else unknown,
        ecg_id=ecg_id,
        fold=identity.fold if identity else None,
        codes=labels.scored(codes),
        unscored=labels.unscored(codes),
        age=parse_age(fields.get("age", "")),
        sex=parse_sex(fields.get("sex", "")),
    )


def _fields(header: Header) -> dict[str, str]:
    matches = (_FIELD.fullmatch(comment) for comment in header.comments)
    return {match[1].lower(): match[2] for match in matches if match}
