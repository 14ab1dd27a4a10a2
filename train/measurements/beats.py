"""The beats of a window, and the typical one among them.

    found = find_beats(signal, rate)
    typical = typical_beat(signal, found, rate)

Averaging aligned beats before measuring them is what electrocardiographs do: it takes away noise, and waves of a few
microvolts remain. A streaming monitor cannot wait for it; `runtime.rhythm` has a detector of its own.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ecg_edge.firmware_bridge.leads import LEADS, MEASURED_LEADS

MEASURED = [LEADS.index(lead) for lead in MEASURED_LEADS]

BEFORE_S, AFTER_S = 0.35, 0.65  # of a beat around its steepest part: from the P wave to the end of the T wave
APART_S = 0.28  # no two beats are closer
LOUDEST = 6.0  # standard deviations of a lead, beyond which its signal is cut: a spike must not hide the beats
STEEP = 0.35  # of the steepness at the 98th percentile: what is less steep is no QRS complex
SMOOTH_S = 0.07  # over which steepness is averaged
SHIFT_S = 0.04  # by which a beat is moved at most to lie on the others
ALIKE = 0.8  # correlation of two QRS complexes of one kind

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class TypicalBeat:
    """The median of a window's beats of the commonest kind."""

    wave: Floats
    """(leads, samples) in microvolts, from BEFORE_S before the steepest part to AFTER_S behind it."""
    spread: Floats
    """(leads, samples): standard deviation of the beats around it, in microvolts."""
    likeness: Floats
    """(beats,): correlation of each beat's QRS complexes with it, those of other kinds too."""


def find_beats(signal: npt.NDArray[np.int16], rate: int) -> npt.NDArray[np.int64]:
    """Return the samples at which the QRS complexes of signal (leads, samples) are steepest, in order."""
    y = signal[MEASURED].astype(np.float64)
    y = np.clip(y / (y.std(axis=1, keepdims=True) + 1), -LOUDEST, LOUDEST)
    slope = np.zeros_like(y)
    slope[:, 1:-1] = y[:, 2:] - y[:, :-2]
    width = round(SMOOTH_S * rate)
    steepness = np.sqrt(np.convolve((slope**2).mean(axis=0), np.ones(width) / width, "same"))
    return _peaks(steepness, STEEP * float(np.percentile(steepness, 98)), round(APART_S * rate))


def typical_beat(signal: npt.NDArray[np.int16], beats: npt.NDArray[np.int64], rate: int) -> TypicalBeat:
    """Return the typical beat of signal (leads, samples) in microvolts.

    Beats too near to either end are passed over; without any, the middle of the window stands for one.
    """
    before, after, reach = (round(s * rate) for s in (BEFORE_S, AFTER_S, SHIFT_S))
    samples = signal.shape[1]
    places = beats[(beats >= before + reach) & (beats + after + reach <= samples)]
    if not len(places):
        places = np.array([min(max(samples // 2, before + reach), samples - after - reach)])
    x = signal.astype(np.float64)
    around = slice(before - round(0.15 * rate), before + round(0.2 * rate))  # what beats are laid on each other by
    qrs = slice(before - round(0.15 * rate), before + round(0.3 * rate))  # and compared by
    cut = np.stack([x[:, p - before : p + after] for p in places])
    wave = np.median(cut, axis=0)
    for _ in range(2):
        target = wave[MEASURED][:, around]
        shifted = []
        for p in places:
            piece = x[MEASURED, p - before - reach : p + after + reach]
            windows = np.lib.stride_tricks.sliding_window_view(piece, before + after, axis=1)[..., around]
            distance = ((windows - target[:, np.newaxis]) ** 2).sum(axis=(0, 2))
            shifted.append(p - reach + int(distance.argmin()))
        cut = np.stack([x[:, p - before : p + after] for p in shifted])
        likeness = _correlation(cut[:, MEASURED][:, :, qrs].reshape(len(cut), -1), wave[MEASURED][:, qrs].ravel())
        alike = likeness >= ALIKE
        if alike.sum() < max(2, len(cut) // 3):  # beats of many kinds, or noise: the half that agrees better
            alike = likeness >= np.median(likeness)
        wave = np.median(cut[alike], axis=0)
    return TypicalBeat(wave, (cut[alike] - wave).std(axis=0), likeness)


def _correlation(rows: Floats, target: Floats) -> Floats:
    rows = rows - rows.mean(axis=1, keepdims=True)
    target = target - target.mean()
    length = np.linalg.norm(rows, axis=1) * np.linalg.norm(target)
    r: Floats = rows @ target / np.where(length > 0, length, np.inf)
    return r


def _peaks(x: Floats, least: float, apart: int) -> npt.NDArray[np.int64]:
    """Return the local maxima of x of at least `least`; of two closer than `apart`, the larger one."""
    inner = x[1:-1]
    places = np.flatnonzero((inner > x[:-2]) & (inner >= x[2:]) & (inner >= least)) + 1
    kept: list[int] = []
    for p in places[np.argsort(-x[places], kind="stable")].tolist():
        if all(abs(p - q) >= apart for q in kept):
            kept.append(p)
    return np.array(sorted(kept), dtype=np.int64)
