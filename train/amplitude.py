"""Whether signals have the amplitude of an ECG: what a wrong gain in a header is found by.

The amplitude of a record is the median over its leads of the standard deviation of the conditioned signal, leads
without a signal left out. In 857 records of PTB-XL and five sources of the Challenges it lay between 55 and
486 microvolts, and the median of each source with ten or more between 139 and 172.

One record cannot tell a gain that is wrong by a factor of five from a small heart or a thick chest; many can. So a
record is refused only where it is far outside of what was seen, and a source whose median is odd is told about.
Nothing is corrected here: which factor is right cannot be seen.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from ecg_edge.firmware_bridge.errors import EcgEdgeError

FLAT_MICROVOLTS = 0.5  # a lead that spreads less is constant, but for rounding
LEAST_MICROVOLTS, MOST_MICROVOLTS = 11.0, 2430.0  # a fifth of the smallest record that was seen, five of the largest
TYPICAL_MICROVOLTS = 150.0  # medians of sources lie within 15 % of it
ODD_FACTOR = 3.0  # wrong gains in the field are 4.88 and more; different hospitals differ by 1.3
ENOUGH_RECORDS = 10  # of a source for its median; single records vary by a factor of three either way


class AmplitudeError(EcgEdgeError):
    """A signal that no heart has left."""


def checked(signal: npt.NDArray[np.int16]) -> float:
    """Return the amplitude of a conditioned signal (samples, leads) in microvolts.

    Raises AmplitudeError where every lead is flat, or the amplitude is not an ECG's.
    """
    spread = signal.std(axis=0, dtype=np.float64)
    present = spread[spread > FLAT_MICROVOLTS]
    if not present.size:
        raise AmplitudeError("no lead with a signal")
    size = float(np.median(present))
    if not LEAST_MICROVOLTS <= size <= MOST_MICROVOLTS:
        raise AmplitudeError(f"amplitude of {size:.1f} microvolts is not an ECG's: correct the gain in its header")
    return size


def doubts(amplitudes: Mapping[str, Sequence[float]]) -> list[str]:
    """Return a sentence for each source (name to amplitudes of its records) whose median amplitude is odd."""
    found = []
    for source, sizes in amplitudes.items():
        median = float(np.median(sizes))
        if len(sizes) >= ENOUGH_RECORDS and not 1 / ODD_FACTOR <= median / TYPICAL_MICROVOLTS <= ODD_FACTOR:
            found.append(
                f"the {len(sizes)} records of {source} have a median amplitude of {median:.0f} microvolts where "
                f"{TYPICAL_MICROVOLTS:.0f} are usual: check the gain in their headers"
            )
    return found
