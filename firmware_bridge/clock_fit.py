"""A device's clock against the host's, from when its packets arrived.

A packet can be late but never early. So the points (device time, arrival - device time) lie on or above a line whose
slope is the difference of the two clocks, and the packets that were delayed least lie on it. Of all lines below the
points this takes the one with the least sum of distances: the edge of their lower convex hull that spans their mean
(Moon, Skelly and Towsley, IEEE INFOCOM 1999, section IV).
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ClockFit:
    """How a device's clock goes."""

    drift_ppm: float
    """How much faster than the host's it goes, in parts per million; negative when it is slow."""
    uncertainty_ppm: float
    """Roughly how far that may be off: the median delay over the time observed."""
    delays: Floats
    """Seconds by which each packet came later than the promptest ones, >= 0."""


def fit(device: Floats, arrival: Floats) -> ClockFit | None:
    """Return the fit of packets that were complete at `device` seconds and arrived at `arrival`, both (n,).

    `device` must not go down. None where there are fewer than two instants to compare, or all arrived at one.
    """
    if len(device) < 2 or device[0] == device[-1]:
        return None
    offset = arrival - device
    edge = _edge(device, offset)
    if edge is None:
        return None
    left, right = edge
    slope = (offset[right] - offset[left]) / (device[right] - device[left])
    if slope <= -1:
        return None
    delays: Floats = np.maximum(offset - offset[left] - slope * (device - device[left]), 0.0)
    uncertainty = float(np.median(delays)) / (device[-1] - device[0])
    return ClockFit(-slope / (1 + slope) * 1e6, uncertainty * 1e6, delays)


def _edge(x: Floats, y: Floats) -> tuple[int, int] | None:
    """Return the ends of the edge of the lower convex hull over the mean of x; x must not go down."""
    hull: list[int] = []
    for k in range(len(x)):
        while hull and x[hull[-1]] == x[k] and y[hull[-1]] >= y[k]:
            hull.pop()
        if hull and x[hull[-1]] == x[k]:
            continue
        while len(hull) > 1 and _right_turn(x, y, hull[-2], hull[-1], k):
            hull.pop()
        hull.append(k)
    mean = x.mean()
    for left, right in pairwise(hull):
        if x[left] <= mean <= x[right]:
            return left, right
    return None


def _right_turn(x: Floats, y: Floats, a: int, b: int, c: int) -> bool:
    """Return whether b lies on or above the line from a to c."""
    return bool((y[b] - y[a]) * (x[c] - x[a]) >= (y[c] - y[a]) * (x[b] - x[a]))
