"""A finite multi-lead recording in integer counts: what files are read into and what a simulated device plays."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

COUNT_LIMIT = 2**23 - 1  # counts are what a 24-bit converter can give, so that any recording fits the wire


@dataclass(frozen=True)
class Recording:
    """A recording as a 24-bit converter would have delivered it."""

    name: str
    """Base name of the record, for messages and output files."""
    rate: int
    """Samples per second and lead."""
    leads: tuple[str, ...]
    """Canonical lead name of each column, no lead twice."""
    counts: npt.NDArray[np.int32]
    """Signal (samples, leads), baseline removed, within +-COUNT_LIMIT."""
    pv_per_lsb: int
    """Picovolts per count, the same for all leads. Picovolts, since 47.684 nV is no whole number of nanovolts."""
    invalid: npt.NDArray[np.bool_] | None = None
    """True (samples, leads) where a sample is missing or its electrode off; its count then means nothing."""
    comments: tuple[str, ...] = field(default=())
    """Free text of the source, a line each."""

    @property
    def seconds(self) -> float:
        """Length of the recording."""
        return len(self.counts) / self.rate
