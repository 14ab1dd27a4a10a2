"""What became of the events that a sink was given."""

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Account:
    """The sink's counters. What it was given, and held from a run before, is delivered, dropped or still held."""

    delivered: int = 0
    """Events that arrived where they should."""
    dropped: int = 0
    """Events that never will: there were too many, or they were refused."""
    held: int = 0
    """Events that wait."""
    failures: int = 0
    """Attempts to deliver that failed."""

    def as_dict(self) -> dict[str, int]:
        """Return the counters by name."""
        return asdict(self)


ACCOUNT_KEYS = tuple(Account().as_dict())
"""Names of the counters, in order."""
