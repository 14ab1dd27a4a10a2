"""PTB-XL's 71 SCP-ECG statements, and the superclass and subclass of those that are diagnostic.

The table is `scp_statements.csv` of PTB-XL (Wagner et al. 2020, doi 10.1038/s41597-020-0495-6, CC BY 4.0), in its
order. It is kept here so that labels need no file beside the database's; a test holds it against that file.
"""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Statement:
    """One row of the table."""

    name: str
    """The key of `scp_codes`: `IMI`."""
    description: str
    """The statement in words."""
    superclass: str = ""
    """`NORM`, `MI`, `STTC`, `CD` or `HYP`; empty where the statement is about form or rhythm only."""
    subclass: str = ""
    """One of 23; empty where the superclass is."""


_ROWS = (
    ("NDT", "non-diagnostic T abnormalities", "STTC", "STTC"),
    ("NST_", "non-specific ST changes", "STTC", "NST_"),
    ("DIG", "digitalis-effect", "STTC", "STTC"),
    ("LNGQT", "long QT-interval", "STTC", "STTC"),
    ("NORM", "normal ECG", "NORM", "NORM"),
    ("IMI", "inferior myocardial infarction", "MI", "IMI"),
    ("ASMI", "anteroseptal myocardial infarction", "MI", "AMI"),
    ("LVH", "left ventricular hypertrophy", "HYP", "LVH"),
    ("LAFB", "left anterior fascicular block", "CD", "LAFB/LPFB"),
    ("ISC_", "non-specific ischemic", "STTC", "ISC_"),
    ("IRBBB", "incomplete right bundle branch block", "CD", "IRBBB"),
    ("1AVB", "first degree AV block", "CD", "_AVB"),
    ("IVCD", "non-specific intraventricular conduction disturbance (block)", "CD", "IVCD"),
    ("ISCAL", "ischemic in anterolateral leads", "STTC", "ISCA"),
    ("CRBBB", "complete right bundle branch block", "CD", "CRBBB"),
    ("CLBBB", "complete left bundle branch block", "CD", "CLBBB"),
    ("ILMI", "inferolateral myocardial infarction", "MI", "IMI"),
    ("LAO/LAE", "left atrial overload/enlargement", "HYP", "LAO/LAE"),
    ("AMI", "anterior myocardial infarction", "MI", "AMI"),
    ("ALMI", "anterolateral myocardial infarction", "MI", "AMI"),
    ("ISCIN", "ischemic in inferior leads", "STTC", "ISCI"),
    ("INJAS", "subendocardial injury in anteroseptal leads", "MI", "AMI"),
    ("LMI", "lateral myocardial infarction", "MI", "LMI"),
    ("ISCIL", "ischemic in inferolateral leads", "STTC", "ISCI"),
    ("LPFB", "left posterior fascicular block", "CD", "LAFB/LPFB"),
    ("ISCAS", "ischemic in anteroseptal leads", "STTC", "ISCA"),
    ("INJAL", "subendocardial injury in anterolateral leads", "MI", "AMI"),
    ("ISCLA", "ischemic in lateral leads", "STTC", "ISCA"),
    ("RVH", "right ventricular hypertrophy", "HYP", "RVH"),
    ("ANEUR", "ST-T changes compatible with ventricular aneurysm", "STTC", "STTC"),
    ("RAO/RAE", "right atrial overload/enlargement", "HYP", "RAO/RAE"),
    ("EL", "electrolytic disturbance or drug (former EDIS)", "STTC", "STTC"),
    ("WPW", "Wolf-Parkinson-White syndrome", "CD", "WPW"),
    ("ILBBB", "incomplete left bundle branch block", "CD", "ILBBB"),
    ("IPLMI", "inferoposterolateral myocardial infarction", "MI", "IMI"),
    ("ISCAN", "ischemic in anterior leads", "STTC", "ISCA"),
    ("IPMI", "inferoposterior myocardial infarction", "MI", "IMI"),
    ("SEHYP", "septal hypertrophy", "HYP", "SEHYP"),
    ("INJIN", "subendocardial injury in inferior leads", "MI", "IMI"),
    ("INJLA", "subendocardial injury in lateral leads", "MI", "AMI"),
    ("PMI", "posterior myocardial infarction", "MI", "PMI"),
    ("3AVB", "third degree AV block", "CD", "_AVB"),
    ("INJIL", "subendocardial injury in inferolateral leads", "MI", "IMI"),
    ("2AVB", "second degree AV block", "CD", "_AVB"),
    ("ABQRS", "abnormal QRS"),
    ("PVC", "ventricular premature complex"),
    ("STD_", "non-specific ST depression"),
    ("VCLVH", "voltage criteria (QRS) for left ventricular hypertrophy"),
    ("QWAVE", "Q waves present"),
    ("LOWT", "low amplitude T-waves"),
    ("NT_", "non-specific T-wave changes"),
    ("PAC", "atrial premature complex"),
    ("LPR", "prolonged PR interval"),
    ("INVT", "inverted T-waves"),
    ("LVOLT", "low QRS voltages in the frontal and horizontal leads"),
    ("HVOLT", "high QRS voltage"),
    ("TAB_", "T-wave abnormality"),
    ("STE_", "non-specific ST elevation"),
    ("PRC(S)", "premature complex(es)"),
    ("SR", "sinus rhythm"),
    ("AFIB", "atrial fibrillation"),
    ("STACH", "sinus tachycardia"),
    ("SARRH", "sinus arrhythmia"),
    ("SBRAD", "sinus bradycardia"),
    ("PACE", "normal functioning artificial pacemaker"),
    ("SVARR", "supraventricular arrhythmia"),
    ("BIGU", "bigeminal pattern (unknown origin, SV or Ventricular)"),
    ("AFLT", "atrial flutter"),
    ("SVTAC", "supraventricular tachycardia"),
    ("PSVT", "paroxysmal supraventricular tachycardia"),
    ("TRIGU", "trigeminal pattern (unknown origin, SV or Ventricular)"),
)

STATEMENTS: tuple[Statement, ...] = tuple(Statement(*row) for row in _ROWS)
"""All 71, in the published order."""

SUBCLASSES: dict[str, str] = {
    "NORM": "normal ECG",
    "IMI": "inferior myocardial infarction",
    "AMI": "anterior myocardial infarction",
    "LMI": "lateral myocardial infarction",
    "PMI": "posterior myocardial infarction",
    "STTC": "other ST-T changes",
    "NST_": "non-specific ST changes",
    "ISC_": "non-specific ischemic ST-T changes",
    "ISCA": "ischemic ST-T changes in anterior leads",
    "ISCI": "ischemic ST-T changes in inferior leads",
    "LAFB/LPFB": "left anterior or posterior fascicular block",
    "IRBBB": "incomplete right bundle branch block",
    "_AVB": "AV block",
    "IVCD": "non-specific intraventricular conduction disturbance",
    "CRBBB": "complete right bundle branch block",
    "CLBBB": "complete left bundle branch block",
    "WPW": "Wolff-Parkinson-White syndrome",
    "ILBBB": "incomplete left bundle branch block",
    "LVH": "left ventricular hypertrophy",
    "LAO/LAE": "left atrial overload or enlargement",
    "RVH": "right ventricular hypertrophy",
    "RAO/RAE": "right atrial overload or enlargement",
    "SEHYP": "septal hypertrophy",
}
"""The 23 diagnostic subclasses in words, superclass after superclass."""

_BY_NAME = {statement.name: statement for statement in STATEMENTS}


def superclasses(statements: Iterable[str]) -> frozenset[str]:
    """Return the superclasses of a record's statements; a name that is none of the 71 gives none.

    Any diagnostic statement counts, whatever its likelihood, zero (unknown) included: the rule of the PTB-XL
    benchmark (Strodthoff et al. 2021, doi 10.1109/JBHI.2020.3022989). A record with rhythm and form statements
    only gives the empty set; the benchmark leaves such records out.
    """
    return frozenset(_BY_NAME[s].superclass for s in statements if s in _BY_NAME) - {""}


def subclasses(statements: Iterable[str]) -> frozenset[str]:
    """Return the subclasses of a record's statements, by the rule of `superclasses`."""
    return frozenset(_BY_NAME[s].subclass for s in statements if s in _BY_NAME) - {""}
