"""Measurements of a window: some of its rhythm, some of its typical beat in each lead.

    values = measure(signal, rate)    # float64 (len(NAMES),)

Nothing here is learned. Amplitudes are in microvolts from the level before the QRS complex, times in samples of the
model rate, intervals between beats in seconds, axes in radians of the frontal plane.
"""

import numpy as np
import numpy.typing as npt

from ecg_edge.firmware_bridge.leads import LEADS

from .beats import BEFORE_S, MEASURED, Floats, find_beats, typical_beat

RHYTHM = (
    "beats",
    "rr_mean",
    "rr_deviation",
    "rr_least",
    "rr_most",
    "rr_median",
    "rr_rmssd",  # root mean square of successive differences
    "rr_change",  # mean successive difference over the mean interval
    "beats_unlike",  # part of the beats that are of another kind than the typical one
    "beats_rather_unlike",
    "likeness_median",
    "likeness_least",
)
BEAT = (
    "qrs_duration",
    "qrs_steepness",
    "sokolow_lyon",  # S in V1 and the larger R of V5 and V6: left ventricular hypertrophy
    "cornell",  # R in aVL and S in V3: the same
    "lewis",  # R in I and S in III: the same
    "qrs_net_I",
    "qrs_net_II",
    "qrs_axis",
    "t_axis",
)
OF_EACH_LEAD = (
    "r",
    "s",
    "r_to_s",
    "r_after_s",  # by how much later the QRS complex has its maximum than its minimum
    "qrs_absolute_area",
    "qrs_area",
    "first_least",  # of the first 40 ms of the QRS complex: Q waves
    "first_most",
    "st_10ms",
    "st_30ms",
    "st_50ms",
    "st_80ms",
    "t_most",
    "t_least",
    "t_time",
    "t_area",
    "p_most",
    "p_least",
    "p_time",
    "p_spread",  # by how much beats differ where the P wave is
    "deviation",  # of the whole signal
)
NAMES = (*RHYTHM, *BEAT, *(f"{what}_{lead}" for what in OF_EACH_LEAD for lead in LEADS))

UNLIKE, RATHER_UNLIKE = 0.8, 0.9  # correlations
SHOWN = 0.12  # of the steepest part: where leads together are less steep, there is no QRS complex


def measure(signal: npt.NDArray[np.int16], rate: int) -> Floats:
    """Return the measurements of a window, float64 (len(NAMES),), of signal int16 (leads, samples) in microvolts.

    Whatever the signal, every value is finite; where there is no heart to be seen they mean nothing.
    """
    beats = find_beats(signal, rate)
    typical = typical_beat(signal, beats, rate)
    before = round(BEFORE_S * rate)
    ms = rate / 1000
    onset, end = _qrs(typical.wave, before, rate)
    level = np.median(typical.wave[:, max(0, onset - round(50 * ms)) : onset - 1], axis=1, keepdims=True)
    wave = typical.wave - level
    qrs = wave[:, onset : end + 1]
    r, s = qrs.max(axis=1), qrs.min(axis=1)
    first = wave[:, onset : onset + round(40 * ms)]
    t_from = min(end + round(80 * ms), wave.shape[1] - round(100 * ms))
    t = wave[:, t_from:]
    p = wave[:, max(0, onset - round(260 * ms)) : max(1, onset - round(40 * ms))]
    last = wave.shape[1] - 1
    leads = [
        r,
        s,
        r - s,
        qrs.argmax(axis=1) - qrs.argmin(axis=1),
        np.abs(qrs).sum(axis=1),
        qrs.sum(axis=1),
        first.min(axis=1),
        first.max(axis=1),
        *(wave[:, min(end + round(after * ms), last)] for after in (10, 30, 50, 80)),
        t.max(axis=1),
        t.min(axis=1),
        t.argmax(axis=1),
        t.sum(axis=1),
        p.max(axis=1),
        p.min(axis=1),
        p.argmax(axis=1),
        typical.spread[:, : max(1, onset - round(30 * ms))].mean(axis=1),
        signal.std(axis=1, dtype=np.float64),
    ]
    at = LEADS.index
    steep = np.abs(np.diff(wave[MEASURED], axis=1)).sum(axis=0).max()
    beat = [
        end - onset,
        steep,
        max(r[at("V5")], r[at("V6")]) - s[at("V1")],
        r[at("aVL")] - s[at("V3")],
        r[at("I")] - s[at("III")],
        r[at("I")] + s[at("I")],
        r[at("II")] + s[at("II")],
        np.arctan2(qrs[at("aVF")].sum(), qrs[at("I")].sum()),
        np.arctan2(t[at("aVF")].sum(), t[at("I")].sum()),
    ]
    return np.concatenate((_rhythm(beats, typical.likeness, rate), beat, np.concatenate(leads))).astype(np.float64)


def _rhythm(beats: npt.NDArray[np.int64], likeness: Floats, rate: int) -> list[float]:
    rr = np.diff(beats) / rate if len(beats) > 2 else np.ones(2)
    change = np.diff(rr)
    return [
        len(beats),
        rr.mean(),
        rr.std(),
        rr.min(),
        rr.max(),
        float(np.median(rr)),
        np.sqrt((change**2).mean()),
        np.abs(change).mean() / rr.mean(),
        (likeness < UNLIKE).mean(),
        (likeness < RATHER_UNLIKE).mean(),
        float(np.median(likeness)),
        likeness.min(),
    ]


def _qrs(wave: Floats, middle: int, rate: int) -> tuple[int, int]:
    """Return first and last sample of the QRS complex around `middle`: where the leads together are steep."""
    steepness = np.abs(np.diff(wave[MEASURED], axis=1)).sum(axis=0)
    start, stop = middle - round(0.14 * rate), middle + round(0.18 * rate)
    steep = np.flatnonzero(steepness[start:stop] > SHOWN * steepness.max())
    if not len(steep):
        return middle - round(0.04 * rate), middle + round(0.04 * rate)
    return start + int(steep[0]), start + int(steep[-1]) + 1
