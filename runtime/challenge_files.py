"""The output files of the PhysioNet/CinC Challenges 2020 and 2021, one a record.

Four lines: `#` and the record's name, the SNOMED CT codes, 0 or 1 for each, its score. A class that stands for
several codes has a column for each of them, with the same values.
"""

from collections.abc import Sequence
from pathlib import Path

from ecg_edge.firmware_bridge.errors import EcgEdgeError

from .classes import ClassInfo
from .prediction import Prediction


def write_prediction(folder: Path, prediction: Prediction, classes: Sequence[ClassInfo]) -> Path:
    """Write a record's file into `folder`, made if need be, and return its path.

    Raises EcgEdgeError for a bundle whose classes have no codes, or where the disk refuses; ValueError for a
    prediction without probabilities.
    """
    if prediction.probabilities is None:
        raise ValueError(f"{prediction.record} has no probabilities to write")
    if not all(c.code for c in classes):
        raise EcgEdgeError("the Challenge's output needs SNOMED CT codes: use a bundle whose classes have them")
    columns = [(code, c.abbreviation) for c in classes for code in (c.code, *c.equivalents)]
    lines = [
        f"#{prediction.name}",
        ",".join(code for code, _ in columns),
        ",".join("1" if label in prediction.labels else "0" for _, label in columns),
        ",".join(f"{prediction.probabilities[label]:.6f}" for _, label in columns),
    ]
    path = folder / f"{prediction.name}.csv"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    except OSError as error:
        raise EcgEdgeError(f"cannot write {path} ({error.strerror}): name another folder") from None
    return path
