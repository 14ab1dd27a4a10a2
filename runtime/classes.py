"""One output of a model: what it detects, under which names, and from which probability on."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ClassInfo:
    """A class of a bundle; the order of a bundle's classes is the order of its model's outputs."""

    code: str
    """SNOMED CT code, or an empty string where the class has none (PTB-XL's superclasses)."""
    abbreviation: str
    """Published abbreviation (`AF`); the label in events, and what the alert policy calls the class."""
    name: str
    """Name in words (`atrial fibrillation`)."""
    threshold: float
    """Calibrated probability above which the class counts as present, in (0, 1]."""
    equivalents: tuple[str, ...] = ()
    """SNOMED CT codes scored as the same diagnosis (CRBBB 713427006 = RBBB 59118001)."""

    def __post_init__(self) -> None:
        """Raise ValueError without an abbreviation or with an impossible threshold."""
        if not self.abbreviation:
            raise ValueError(f"class {self.code or self.name!r} has no abbreviation")
        if not 0 < self.threshold <= 1:
            raise ValueError(f"class {self.abbreviation}: threshold {self.threshold} is not in (0, 1]")
