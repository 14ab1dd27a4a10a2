"""Training records of the PhysioNet/CinC Challenges 2020 and 2021: diagnoses in header comments.

Any folder below `cinc2020` or `cinc2021`, or below `training` in them, is a source, and any `.hea` file at any depth
below it a record, so the layouts of both years' releases are met; a source is the same whatever year it is below.
Headers are met as they come: `#Dx:` and `# Dx:`, SNOMED CT codes or, in the first release, the words of CPSC 2018;
lead names in capitals; a record name that carries its suffix; the one wrong gain that is known for certain.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from ecg_edge.firmware_bridge.errors import EcgEdgeError
from ecg_edge.firmware_bridge.leads import canonical_all
from ecg_edge.runtime.sources.wfdb_header import Header, read_header
from ecg_edge.runtime.sources.wfdb_signal import frames_in

from .. import labels
from .entry import Broken, Identity, RecordEntry, ecg_key, parse_age, parse_sex

FOLDERS = ("cinc2021", "cinc2020")
"""Either year's release, below the data folder; where both have a record, the later one's header is the better."""

_TRAINING = "training"  # the folder of the sources in the release's own layout

# The 2020 release's headers of Georgia state 4880 ADC units per mV, those of 2021 1000 for the same
# samples (which then have the amplitude of every other source's). No other source of the Challenges has that gain.
WRONG_GAIN, RIGHT_GAIN = 4880.0, 1000.0

_PTBXL_NAME = re.compile(r"HR(\d{5})")  # the Challenge's name of PTB-XL's ECG of that number, in every release
_FIELD = re.compile(r"\s*(Age|Sex|Dx)\s*:\s*(.*?)\s*", re.IGNORECASE)

_CODE_OF_WORD = {word.lower(): code for word, code in labels.CPSC2018_CODES.items()}  # words of the first release


def sources(root: Path) -> list[str]:
    """Return the names of the sources in the data folder `root`, sorted; none where there is no Challenge folder."""
    children = {child.name for base in _bases(root) for child in base.iterdir() if child.is_dir()}
    return sorted(children - {_TRAINING})


def read_entries(root: Path, source: str, identities: Mapping[int, Identity]) -> tuple[list[RecordEntry], list[Broken]]:
    """Return every record of a source in the data folder `root`, and those that cannot be used, with the reason.

    identities: patient and fold of PTB-XL's ECGs by number, for the records that are PTB-XL's. A record without a
    known diagnosis is broken, since "nothing scored" and "nobody said" must not be the same label.
    """
    entries, broken = [], []
    for file in [file for base in _bases(root) for file in sorted((base / source).rglob("*.hea"))]:
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


def _bases(root: Path) -> list[Path]:
    """Return the folders whose folders are sources."""
    folders = [root / name for name in FOLDERS]
    return [base for folder in folders for base in (folder, folder / _TRAINING) if base.is_dir()]


def _read_entry(record: Path, source: str, identities: Mapping[int, Identity]) -> RecordEntry:
    header = read_header(record)
    if not header.signals:
        raise EcgEdgeError("header names no signals")
    canonical_all([signal.name for signal in header.signals])
    _check_files(record, header)
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
        gain_error=WRONG_GAIN / RIGHT_GAIN if {s.gain for s in header.signals} == {WRONG_GAIN} else 1.0,
    )


def _check_files(record: Path, header: Header) -> None:
    """Raise EcgEdgeError where a signal file is missing or shorter than the header says."""
    for name in sorted({signal.file for signal in header.signals}):
        members = [signal for signal in header.signals if signal.file == name]
        there = frames_in(record.parent / name, members[0].format, len(members), members[0].byte_offset)
        if there < (header.samples or 1):
            raise EcgEdgeError(f"signal file truncated, {there} of {header.samples or 1} samples are there")


def _fields(header: Header) -> dict[str, str]:
    matches = (_FIELD.fullmatch(comment) for comment in header.comments)
    return {match[1].lower(): match[2] for match in matches if match}
