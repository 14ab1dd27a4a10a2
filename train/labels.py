"""Which diagnoses are learned: the 24 merged classes of the Challenge 2020 and PTB-XL's five superclasses.

The PhysioNet/CinC Challenge 2020 scores 27 SNOMED CT codes, of which three pairs count as one diagnosis each
(Perez Alday et al. 2020, doi 10.1088/1361-6579/abc960). That leaves 24 classes. Their order here is the
Challenge's own, that of its table of scored classes: alphabetical by diagnosis. A merged class carries the code
and abbreviation of the first of its pair, as the Challenge's evaluation does, and the other as an equivalent.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from ecg_edge.runtime.classes import ClassInfo

UNSET_THRESHOLD = 0.5  # of a class before `thresholds` has seen validation data: the more likely answer wins

NORMAL_SINUS_RHYTHM = "426783006"
PVC = "427172004"
VENTRICULAR_ECTOPICS = "164884008"  # how CPSC 2018 and PTB-XL mostly code a PVC; the Challenge does not score it

_SCORED = (
    ("270492004", "IAVB", "1st degree AV block"),
    ("164889003", "AF", "atrial fibrillation"),
    ("164890007", "AFL", "atrial flutter"),
    ("426627000", "Brady", "bradycardia"),
    ("713427006", "CRBBB", "right bundle branch block", "59118001"),
    ("713426002", "IRBBB", "incomplete right bundle branch block"),
    ("445118002", "LAnFB", "left anterior fascicular block"),
    ("39732003", "LAD", "left axis deviation"),
    ("164909002", "LBBB", "left bundle branch block"),
    ("251146004", "LQRSV", "low QRS voltages"),
    ("698252002", "NSIVCB", "nonspecific intraventricular conduction disorder"),
    ("10370003", "PR", "pacing rhythm"),
    ("284470004", "PAC", "premature atrial contraction", "63593006"),
    ("427172004", "PVC", "premature ventricular contraction", "17338001"),
    ("164947007", "LPR", "prolonged PR interval"),
    ("111975006", "LQT", "prolonged QT interval"),
    ("164917005", "QAb", "Q wave abnormal"),
    ("47665007", "RAD", "right axis deviation"),
    ("427393009", "SA", "sinus arrhythmia"),
    ("426177001", "SB", "sinus bradycardia"),
    ("426783006", "NSR", "sinus rhythm"),
    ("427084000", "STach", "sinus tachycardia"),
    ("164934002", "TAb", "T wave abnormal"),
    ("59931005", "TInv", "T wave inversion"),
)

CLASSES: tuple[ClassInfo, ...] = tuple(
    ClassInfo(code, abbreviation, name, UNSET_THRESHOLD, tuple(equivalents))
    for code, abbreviation, name, *equivalents in _SCORED
)
"""The 24 classes, in the order of every 24-column array of labels, logits and probabilities."""

CODES: tuple[str, ...] = tuple(info.code for info in CLASSES)
"""Code of each class."""

ABBREVIATIONS: tuple[str, ...] = tuple(info.abbreviation for info in CLASSES)
"""Published abbreviation of each class."""

SUPERCLASSES: tuple[ClassInfo, ...] = tuple(
    ClassInfo("", abbreviation, name, UNSET_THRESHOLD)
    for abbreviation, name in (
        ("NORM", "normal ECG"),
        ("MI", "myocardial infarction"),
        ("STTC", "ST/T change"),
        ("CD", "conduction disturbance"),
        ("HYP", "hypertrophy"),
    )
)
"""PTB-XL's diagnostic superclasses (Wagner et al. 2020), in the order of every 5-column array."""

SUPERCLASS_ABBREVIATIONS: tuple[str, ...] = tuple(info.abbreviation for info in SUPERCLASSES)
"""Published abbreviation of each superclass."""

CPSC2018_CODES: dict[str, str] = {
    "Normal": NORMAL_SINUS_RHYTHM,
    "AF": "164889003",
    "I-AVB": "270492004",
    "LBBB": "164909002",
    "RBBB": "59118001",
    "PAC": "284470004",
    "PVC": VENTRICULAR_ECTOPICS,
    "STD": "429622005",
    "STE": "164931005",
}
"""The nine diagnoses of CPSC 2018 (Liu et al. 2018, doi 10.1166/jmihi.2018.2442), in the order of its digits 1 to 9,
and the SNOMED CT code that the Challenge gives each in the same records."""

# The 2021 Challenge codes complete left bundle branch block apart and scores it as the same diagnosis.
_LATER_CODES = {"733534002": "164909002"}

_CLASS_OF_CODE = {code: info.code for info in CLASSES for code in (info.code, *info.equivalents)} | _LATER_CODES

_CODE_OF_STATEMENT = {
    "1AVB": "270492004",
    "AFIB": "164889003",
    "AFLT": "164890007",
    "CLBBB": "164909002",
    "CRBBB": "713427006",
    "INVT": "59931005",
    "IRBBB": "713426002",
    "IVCD": "698252002",
    "LAFB": "445118002",
    "LNGQT": "111975006",
    "LOWT": "164934002",
    "LPR": "164947007",
    "LVOLT": "251146004",
    "NDT": "164934002",
    "NORM": "426783006",
    "NT_": "164934002",
    "PAC": "284470004",
    "PACE": "10370003",
    "PVC": VENTRICULAR_ECTOPICS,
    "QWAVE": "164917005",
    "SARRH": "427393009",
    "SBRAD": "426177001",
    "SR": "426783006",
    "STACH": "427084000",
    "SVARR": "63593006",
    "TAB_": "164934002",
}
_CODE_OF_AXIS = {"LAD": "39732003", "ALAD": "39732003", "RAD": "47665007", "ARAD": "47665007"}


def scored(codes: Iterable[str]) -> frozenset[str]:
    """Return the scored classes among SNOMED CT `codes`, equivalents merged into the code of their class."""
    return frozenset(_CLASS_OF_CODE[code] for code in codes if code in _CLASS_OF_CODE)


def unscored(codes: Iterable[str]) -> frozenset[str]:
    """Return those of `codes` that the Challenge does not score."""
    return frozenset(code for code in codes if code not in _CLASS_OF_CODE)


def codes_of_statements(statements: Iterable[str], heart_axis: str = "") -> frozenset[str]:
    """Return the SNOMED CT codes that the Challenge gives to a PTB-XL record: what `scored` and `unscored` take.

    statements: the keys of `scp_codes`, whatever their likelihood; heart_axis: the column of that name in
    `ptbxl_database.csv`. Statements without a scored class are left out, except PVC, whose code is not scored.
    Inferred from the 3,233 records whose codes are known: it gives every one of their codes but the axes (which
    statements do not hold) and a single NSIVCB.
    """
    codes = {_CODE_OF_STATEMENT[s] for s in statements if s in _CODE_OF_STATEMENT}
    if heart_axis in _CODE_OF_AXIS:
        codes.add(_CODE_OF_AXIS[heart_axis])
    return frozenset(codes)


def with_ectopics(codes: frozenset[str], unscored_codes: frozenset[str]) -> frozenset[str]:
    """Return `codes` with PVC added where a record is coded as having ventricular ectopics.

    For training: without it nearly every PVC of PTB-XL and CPSC 2018 is a negative example of the class PVC.
    Not for scoring, where the Challenge does not count that code.
    """
    return codes | {PVC} if VENTRICULAR_ECTOPICS in unscored_codes else codes


def multi_hot(records: Iterable[Iterable[str]]) -> npt.NDArray[np.bool_]:
    """Return labels (records, 24), True where a record has one of the class's codes; unscored codes are ignored."""
    return indicator((scored(codes) for codes in records), CODES)


def indicator(records: Iterable[Iterable[str]], names: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Return labels (records, names), True where a record has the name; KeyError for one that is not in `names`."""
    column = {name: k for k, name in enumerate(names)}
    rows = [[column[name] for name in record] for record in records]
    labels = np.zeros((len(rows), len(names)), dtype=np.bool_)
    for row, columns in zip(labels, rows, strict=True):
        row[columns] = True
    return labels
