"""Training windows: cropped, mixed, disturbed and stripped of leads, a batch at a time, in NumPy.

Everything is done to the signal; the spectrogram of the result is then computed by the front end itself, from the
same rounded integers that the network sees. So training sees exactly the numbers that a device would compute from
such a signal.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ecg_edge.firmware_bridge.leads import LEADS
from ecg_edge.runtime.contract import Contract
from ecg_edge.runtime.stft import Stft

from .store import RecordStore

STFT_CHUNK = 8  # windows transformed at once: the working set then stays in a core's own cache
NOISE_POOL = 2**21  # samples of white noise made once and read from random places; drawing it anew costs more

# What boards with few electrodes leave: the leads that are there, derived ones included.
LEAD_SETS: tuple[tuple[str, ...], ...] = (
    LEADS[:6],  # limb electrodes alone
    (*LEADS[:6], "V2"),  # the Challenge 2021's three-lead set, as the other limb leads follow from two
    (*LEADS[:6], "V5"),
    ("II", "V1"),  # two-channel Holter
    ("II", "V5"),
    ("II",),
    ("I",),
)
_LEAD_SET_ROWS = np.array([[lead in leads for lead in LEADS] for leads in LEAD_SETS])


@dataclass(frozen=True)
class AugmentSettings:
    """How training windows differ from the records. Probabilities are per window."""

    crop_probability: float
    """Of a window that is not whole: a shorter piece, zeros on its left."""
    shortest_seconds: float
    """Length of the shortest such piece; lengths are uniform from there to the window's."""
    mixup_probability: float
    """Of a window mixed with another one of its batch (Zhang et al. 2018)."""
    mixup_alpha: float
    """Both parameters of the Beta distribution that the mixing weight is drawn from."""
    gain_sigma: float
    """Standard deviation of the log amplitude factor of a window."""
    lead_gain_sigma: float
    """Standard deviation of the log amplitude factor of each lead on top of it."""
    noise_probability: float
    """Of white noise."""
    noise_microvolts: float
    """Its largest standard deviation; that of each lead is uniform up to here."""
    wander_probability: float
    """Of baseline wander: a slow sine in each lead, 0.3 to 0.9 Hz (what the high-pass leaves of it)."""
    wander_microvolts: float
    """Its largest amplitude; that of each lead is uniform up to here."""
    timeout_probability: float
    """Of a stretch without signal in all leads."""
    timeout_seconds: float
    """Its greatest length; uniform up to here."""
    lead_set_probability: float
    """Of one of LEAD_SETS instead of all leads."""
    lead_drop_probability: float
    """Of leads dropped independently of each other, in windows that keep their set."""
    lead_drop_rate: float
    """Fraction of the leads dropped in those."""


@dataclass(frozen=True)
class Batch:
    """What one training step takes."""

    signal: npt.NDArray[np.int16]
    """(N, leads, window) in microvolts; a dropped lead is zero."""
    spectrogram: npt.NDArray[np.uint8]
    """(N, leads, bins, frames), the front end's, of that signal."""
    targets: npt.NDArray[np.float32]
    """(N, classes), in [0, 1]; between them for mixed windows."""
    counted: npt.NDArray[np.float32]
    """(N, classes): 1 where the record's source is known to label the class, else 0."""


class Augmenter:
    """Makes batches from a store. The same generator state gives the same batch."""

    def __init__(
        self,
        settings: AugmentSettings,
        contract: Contract,
        store: RecordStore,
        labels: npt.NDArray[np.bool_],
        counted: npt.NDArray[np.bool_],
    ) -> None:
        """Take the records of `store` with `labels` and `counted`, bool (records, classes) both."""
        self._settings = settings
        self._contract = contract
        self._store = store
        self._labels = labels.astype(np.float32)
        self._counted = counted.astype(np.float32)
        self._stft = Stft(contract)
        self._noise = np.random.default_rng(0).standard_normal(NOISE_POOL, dtype=np.float32)

    def batch(self, records: npt.NDArray[np.integer], rng: np.random.Generator) -> Batch:
        """Return one window of each of `records` (numbers in the store), augmented."""
        targets, counted = self._labels[records], self._counted[records]
        x, pads = self._crop(records, rng)
        weight, other = self._draw_partners(len(records), rng)
        if len(rows := np.flatnonzero(weight < 1)):
            w = weight[:, np.newaxis]
            x[rows] = x[rows] * w[rows, :, np.newaxis] + x[other[rows]] * (1 - w[rows, :, np.newaxis])
            targets = targets * w + targets[other] * (1 - w)
            counted = counted * counted[other]
            pads = np.minimum(pads, pads[other])
        heard = x.any(axis=2)  # a lead that its record has not stays zero through what follows
        self._scale(x, rng)
        self._disturb(x, rng)
        self._time_out(x, rng)
        kept = self._keep_leads(len(records), rng)
        # A window without any lead left teaches nothing but the class frequencies: it keeps those it had.
        kept[~(kept & heard).any(axis=1)] = True
        x *= (kept & heard)[:, :, np.newaxis]
        for row in np.flatnonzero(pads):
            x[row, :, : pads[row]] = 0  # where there is no record there is no noise either
        signal = np.clip(np.rint(x, out=x), -32767, 32767).astype(np.int16)
        return Batch(signal, spectrograms(self._stft, signal), targets, counted)

    def _crop(
        self, records: npt.NDArray[np.integer], rng: np.random.Generator
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        """Return a piece of each record, at the right of its window, and the zeros on the left of each."""
        s, window = self._settings, self._contract.window
        x = np.zeros((len(records), len(LEADS), window), dtype=np.float32)
        short = rng.random(len(records)) < s.crop_probability
        lengths = rng.integers(round(s.shortest_seconds * self._contract.rate), window, len(records), endpoint=True)
        lengths = np.where(short, lengths, window)
        lengths = np.minimum(lengths, [self._store.samples(int(k)) for k in records])
        places = rng.random(len(records))
        for row, k in enumerate(records):
            signal, length = self._store.signal(int(k)), int(lengths[row])
            start = int(places[row] * (signal.shape[1] - length + 1))
            x[row, :, window - length :] = signal[:, start : start + length]
        return x, (window - lengths).astype(np.int64)

    def _draw_partners(self, n: int, rng: np.random.Generator) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        """Return each window's own weight, 1 where it is not mixed, and its partner: itself where not mixed."""
        s = self._settings
        mixed = rng.random(n) < s.mixup_probability
        drawn = rng.beta(s.mixup_alpha, s.mixup_alpha, n)
        weight = np.where(mixed, np.maximum(drawn, 1 - drawn), 1.0).astype(np.float32)
        return weight, np.where(mixed, rng.permutation(n), np.arange(n))

    def _scale(self, x: npt.NDArray[np.float32], rng: np.random.Generator) -> None:
        s = self._settings
        log_gain = s.gain_sigma * rng.standard_normal((len(x), 1, 1), dtype=np.float32)
        log_gain = log_gain + s.lead_gain_sigma * rng.standard_normal((*x.shape[:2], 1), dtype=np.float32)
        x *= np.exp(log_gain)

    def _disturb(self, x: npt.NDArray[np.float32], rng: np.random.Generator) -> None:
        s, (n, leads, window) = self._settings, x.shape
        noisy = np.flatnonzero(rng.random(n) < s.noise_probability)
        sigma = s.noise_microvolts * rng.random((len(noisy), leads, 1), dtype=np.float32)
        places = rng.integers(0, NOISE_POOL - leads * window, len(noisy))
        for row, place, level in zip(noisy, places, sigma, strict=True):
            x[row] += level * self._noise[place : place + leads * window].reshape(leads, window)

        swaying = np.flatnonzero(rng.random(n) < s.wander_probability)
        shape = (len(swaying), leads, 1)
        amplitude = s.wander_microvolts * rng.random(shape, dtype=np.float32)
        cycles = rng.uniform(0.3, 0.9, (len(swaying), 1, 1)).astype(np.float32)  # one breath, all leads
        time = np.arange(window, dtype=np.float32) / self._contract.rate
        x[swaying] += amplitude * np.sin(2 * np.pi * (cycles * time + rng.random(shape, dtype=np.float32)))

    def _time_out(self, x: npt.NDArray[np.float32], rng: np.random.Generator) -> None:
        s, n = self._settings, len(x)
        silent = np.flatnonzero(rng.random(n) < s.timeout_probability)
        lengths = rng.integers(0, round(s.timeout_seconds * self._contract.rate), len(silent), endpoint=True)
        for row, length in zip(silent, lengths, strict=True):
            start = rng.integers(0, x.shape[2] - length, endpoint=True)
            x[row, :, start : start + length] = 0

    def _keep_leads(self, n: int, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
        s = self._settings
        kept = np.ones((n, len(LEADS)), dtype=np.bool_)
        draw = rng.random(n)
        reduced = draw < s.lead_set_probability
        kept[reduced] = _LEAD_SET_ROWS[rng.integers(0, len(LEAD_SETS), int(reduced.sum()))]
        thinned = ~reduced & (draw < s.lead_set_probability + s.lead_drop_probability)
        kept[thinned] = rng.random((int(thinned.sum()), len(LEADS))) >= s.lead_drop_rate
        return kept


def spectrograms(stft: Stft, signal: npt.NDArray[np.int16]) -> npt.NDArray[np.uint8]:
    """Return the front end's spectrograms (N, leads, bins, frames) of signal (N, leads, window)."""
    return np.concatenate([stft.frames(signal[k : k + STFT_CHUNK]) for k in range(0, len(signal), STFT_CHUNK)])
