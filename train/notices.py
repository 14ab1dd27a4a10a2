"""What stderr is told about data: records left out, gains mended, amplitudes that look wrong."""

import sys
from collections.abc import Sequence

from .records.challenge import RIGHT_GAIN, WRONG_GAIN
from .records.entry import Broken
from .records.index import RecordIndex


def tell_index(index: RecordIndex) -> None:
    """Tell what is left out of an index, and where the gain in headers is known to be wrong."""
    tell_broken(index.broken)
    if index.duplicates:
        print(f"left out {len(index.duplicates)} second copies of one ECG", file=sys.stderr)
    for source, count in index.mended().items():
        print(
            f"{source}: {count} headers state the wrong gain {WRONG_GAIN:g}/mV, taken as {RIGHT_GAIN:g}/mV",
            file=sys.stderr,
        )


def tell_broken(broken: Sequence[Broken]) -> None:
    """Tell which records are left out, why, and how many."""
    for item in broken:
        print(f"left out {item.path}: {item.reason}", file=sys.stderr)
    if broken:
        print(f"left out {len(broken)} broken records", file=sys.stderr)


def tell_doubts(doubts: Sequence[str]) -> None:
    """Tell what looks wrong about whole sources."""
    for doubt in doubts:
        print(doubt, file=sys.stderr)
