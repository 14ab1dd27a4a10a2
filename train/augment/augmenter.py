"""Batches of training windows from a store.

A batch is drawn in two steps. `draw` takes every decision for the whole batch from one generator; `render` makes some
of its rows. So each process of a data-parallel run renders its own part of one and the same batch, and a run that is
resumed at a step sees what it would have seen.

Where a spectrogram comes from: an undisturbed window has the front end's own, as stored. What is done to a signal is
done to its stored spectrogram by the rules of `levels`; the frames that a cut or a time-out runs through are the
exception (they stay as stored, or empty). `tests/train/test_augment.py` holds the result against the front end's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ecg_edge.firmware_bridge.leads import LEADS
from ecg_edge.runtime.contract import Contract

from ..networks.front import front_of
from ..store import RecordStore
from . import levels
from .leads import draw_leads
from .noise import NoiseRecording
from .settings import AugmentError, AugmentSettings

LARGEST = 32767  # of the signal, as the front end saturates
NOISE_POOL = 2**20  # samples of white noise made once and read from random places; drawing it anew costs more

Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]
Generators = Mapping[int, np.random.Generator]


@dataclass(frozen=True)
class Batch:
    """What one training step takes."""

    signal: npt.NDArray[np.int16]
    """(N, leads, samples) in microvolts; a dropped lead is zero."""
    spectrogram: npt.NDArray[np.generic]
    """(N, leads, bins, frames), as the network takes it."""
    targets: Floats
    """(N, classes), in [0, 1]; between them for mixed windows."""
    counted: Floats
    """(N, classes): 1 where it is known whether the record has the class, else 0."""


@dataclass(frozen=True)
class Draw:
    """Every decision on a batch; the first axis of each array is the batch's."""

    records: npt.NDArray[np.int64]
    """Numbers in the store."""
    samples: int
    """Length of the windows, a multiple of the STFT's hop."""
    lengths: npt.NDArray[np.int64]
    """Samples of the piece of record in each window, at its right end; a multiple of the hop."""
    places: npt.NDArray[np.float64]
    """Where in the record the piece begins, as a part of what is possible."""
    weight: Floats
    """Weight of a window's own piece; 1 where it is not mixed."""
    other: npt.NDArray[np.int64]
    """Row that it is mixed with."""
    log_gain: Floats
    """(N, leads): log amplitude factor."""
    kept: Bools
    """(N, leads): leads not dropped."""
    disturbed: Bools
    """(N, 6): whether a window gets muscle noise, wander, white noise, a time-out, a time and a frequency mask."""
    seeds: npt.NDArray[np.int64]
    """Of what is drawn for each of those."""


class Augmenter:
    """Makes batches. The same generator state gives the same batch."""

    def __init__(
        self,
        settings: AugmentSettings,
        contract: Contract,
        store: RecordStore,
        labels: Bools | Floats,
        counted: Bools | Floats,
        noise: Mapping[str, NoiseRecording] | None = None,
        backbone: str = "edge",
    ) -> None:
        """Take the records of `store` with `labels` from 0 to 1 and how much each counts, (records, classes) both.

        noise: recordings `ma` and `bw`; backbone: of the network, since the paper's takes a spectrogram of its own,
        computed from the augmented signal (windows may then be of any length). Raises AugmentError for settings that
        cannot be followed or lack their recordings.
        """
        settings.check()
        self._settings = settings
        self._contract = contract
        self._store = store
        self._labels = labels.astype(np.float32)
        self._counted = counted.astype(np.float32)
        self._noise = dict(noise or {})
        self._front = None if backbone == "edge" else front_of(backbone)
        for name, probability in (("ma", settings.noise_probability), ("bw", settings.wander_probability)):
            if probability > 0 and name not in self._noise:
                raise AugmentError(f"noise is to be added, but its recording {name} was not given")
        self._white = np.random.default_rng(0).standard_normal(NOISE_POOL, dtype=np.float32)
        s = settings
        self._chances = np.array(
            [
                s.noise_probability,
                s.wander_probability,
                s.white_probability,
                s.timeout_probability,
                s.time_mask_probability,
                s.frequency_mask_probability,
            ]
        )
        self._sum_table = levels.addition_table(contract)

    @property
    def records(self) -> int:
        """Number of records that batches are drawn from."""
        return len(self._store.entries)

    def labels_of(self, records: npt.NDArray[np.integer]) -> tuple[Floats, Floats]:
        """Return labels and counted of records, unmixed, (N, classes) both."""
        return self._labels[records], self._counted[records]

    def batch(self, records: npt.NDArray[np.integer], rng: np.random.Generator, samples: int | None = None) -> Batch:
        """Return one window of `samples` (default: the contract's window) of each of `records`, augmented."""
        return self.render(self.draw(records, rng, samples))

    def draw(self, records: npt.NDArray[np.integer], rng: np.random.Generator, samples: int | None = None) -> Draw:
        """Return the decisions on windows of `records`; samples: their length, a multiple of the STFT's hop."""
        s, n, hop = self._settings, len(records), self._contract.stft_hop
        samples = self._contract.window if samples is None else samples
        short = rng.random(n) < s.crop_probability
        shortest = min(round(s.shortest_seconds * self._contract.rate), samples)
        lengths = np.where(short, rng.integers(shortest // hop, samples // hop, n, endpoint=True) * hop, samples)
        there = np.array([self._store.samples(int(k)) for k in records]) // hop * hop
        mixed = rng.random(n) < s.mixup_probability
        drawn = rng.beta(s.mixup_alpha, s.mixup_alpha, n)
        log_gain = s.gain_sigma * rng.standard_normal((n, 1), dtype=np.float32)
        log_gain = log_gain + s.lead_gain_sigma * rng.standard_normal((n, len(LEADS)), dtype=np.float32)
        return Draw(
            records=np.asarray(records, dtype=np.int64),
            samples=samples,
            lengths=np.minimum(lengths, there),
            places=rng.random(n),
            weight=np.where(mixed, np.maximum(drawn, 1 - drawn), 1.0).astype(np.float32),
            other=np.where(mixed, rng.permutation(n), np.arange(n)),
            log_gain=log_gain,
            kept=draw_leads(s, n, rng),
            disturbed=rng.random((n, len(self._chances))) < self._chances,
            seeds=rng.integers(0, 2**62, n),
        )

    def targets(self, draw: Draw) -> tuple[Floats, Floats]:
        """Return the targets and what counts of the whole batch, float32 (N, classes) both."""
        targets, counted = self.labels_of(draw.records)
        w = draw.weight[:, np.newaxis]
        mixed = draw.weight < 1
        return (
            targets * w + targets[draw.other] * (1 - w),
            np.where(mixed[:, np.newaxis], counted * counted[draw.other], counted),
        )

    def render(self, draw: Draw, rows: npt.NDArray[np.integer] | None = None) -> Batch:
        """Return the windows of some rows of a draw, of all by default."""
        rows = np.arange(len(draw.records)) if rows is None else np.asarray(rows)
        x, levelled, pads = self._pieces(draw, rows)
        heard = x.any(axis=2)  # a lead that its record has not stays zero through what follows
        gain = draw.log_gain[rows]
        if gain.any():
            x *= np.exp(gain)[:, :, np.newaxis]
            levels.shift(levelled, levels.steps_of_gain(gain, self._contract))
        power = levelled.astype(np.int16)
        what = draw.disturbed[rows]
        generators = {k: np.random.default_rng(draw.seeds[rows[k]]) for k in np.flatnonzero(what.any(axis=1)).tolist()}
        self._disturb(x, power, what, generators)
        kept = draw.kept[rows] & heard
        # A window without any lead left teaches nothing but the class frequencies: it keeps those it had.
        kept = np.where(np.any(kept, axis=1, keepdims=True), kept, heard)
        x[~kept], power[~kept] = 0, 0
        hop, straddling = self._contract.stft_hop, self._contract.stft_length - 1
        for row in np.flatnonzero(pads).tolist():
            x[row, :, : pads[row]] = 0  # where there is no record there is no noise either
            power[row, :, :, : max(0, (pads[row] - straddling + hop - 1) // hop)] = 0
        np.rint(x, out=x)
        signal = x.clip(-LARGEST, LARGEST, out=x).astype(np.int16)
        image = power.astype(np.uint8) if self._front is None else self._front(signal, np.zeros(0, dtype=np.uint8))
        for row, rng in generators.items():
            self._mask(image[row], what[row], rng)
        targets, counted = self.targets(draw)
        return Batch(signal, image, targets[rows], counted[rows])

    def _pieces(self, draw: Draw, rows: npt.NDArray[np.integer]) -> tuple[Floats, Floats, npt.NDArray[np.int64]]:
        """Return signal, log power in whole steps and the zeros on the left of rows, cut from their records, mixed."""
        partners, weight = draw.other[rows], draw.weight[rows]
        needed, place = np.unique(np.concatenate((rows, partners)), return_inverse=True)
        own, other = place[: len(rows)], place[len(rows) :]
        hop, frames = self._contract.stft_hop, self._frames(draw.samples)
        x = np.zeros((len(needed), len(LEADS), draw.samples), dtype=np.float32)
        power = np.zeros((len(needed), len(LEADS), self._contract.stft_bins, frames), dtype=np.float32)
        chosen = (a[needed].tolist() for a in (draw.records, draw.lengths, draw.places))
        for k, (record, length, part) in enumerate(zip(*chosen, strict=True)):
            signal, stored = self._store.signal(record), self._store.frames(record)
            first = int(part * ((signal.shape[1] - length) // hop + 1))
            start, count = first * hop, self._frames(length)
            x[k, :, draw.samples - length :] = signal[:, start : start + length]
            power[k, :, :, frames - count :] = stored[:, :, first : first + count]
        pads = draw.samples - draw.lengths
        mixed = weight < 1
        whole = np.array_equal(own, np.arange(len(needed)))  # then nothing need be copied to be mixed in place
        parts = [a if whole else a[own] for a in (x, power)]
        if mixed.any():
            for mine, cut in zip(parts, (x, power), strict=True):
                its = cut[other]
                w = weight.reshape(-1, *[1] * (mine.ndim - 1))
                its *= 1 - w
                mine *= w
                mine += its
            np.rint(parts[1], out=parts[1])
        return parts[0], parts[1], np.where(mixed, np.minimum(pads[rows], pads[partners]), pads[rows])

    def _frames(self, samples: int) -> int:
        """Return the frames of log power that are kept up with: none where the front makes its own."""
        return 0 if self._front is not None else (samples - self._contract.stft_length) // self._contract.stft_hop + 1

    def _disturb(self, x: Floats, power: levels.Levels, what: Bools, generators: Generators) -> None:
        """Add noise to windows (n, leads, samples) and their log power, and take stretches out of them, in place.

        what: (n, 6), see `Draw.disturbed`; generators: of the rows that are disturbed at all. One kind is added to all
        its windows at once: window by window, NumPy's calls cost more than what they compute.
        """
        s = self._settings
        for kind, name, snr_db in ((0, "ma", s.noise_snr_db), (1, "bw", s.wander_snr_db)):
            rows = np.flatnonzero(what[:, kind])
            if len(rows):
                self._add_recorded(x, power, rows, self._noise[name], snr_db, [generators[k] for k in rows.tolist()])
        rows = np.flatnonzero(what[:, 2])
        if len(rows):
            self._add_white(x, power, rows, [generators[k] for k in rows.tolist()])
        for row in np.flatnonzero(what[:, 3]).tolist():
            self._time_out(x[row], power[row], generators[row])

    def _mask(self, image: npt.NDArray[np.generic], what: Bools, rng: np.random.Generator) -> None:
        """Mask the spectrogram (leads, bins, frames) of one window in place: last of all, so that nothing fills it."""
        s, (_, bins, frames) = self._settings, image.shape
        if what[4]:
            start, stop = _span(frames, s.time_mask_fraction, rng)
            image[:, :, start:stop] = 0
        if what[5]:
            start, stop = _span(bins, s.frequency_mask_fraction, rng)
            image[:, start:stop] = 0

    def _add_recorded(
        self,
        x: Floats,
        power: levels.Levels,
        rows: npt.NDArray[np.integer],
        recording: NoiseRecording,
        snr_db: tuple[float, ...],
        generators: Sequence[np.random.Generator],
    ) -> None:
        leads, samples = x.shape[1:]
        decibels, starts, channels = [], [], []
        for rng in generators:
            decibels.append(rng.uniform(snr_db[0], snr_db[1], leads))
            start, channel = recording.draw(samples, leads, rng)
            starts.append(start)
            channels.append(channel)
        heard = x[rows]
        sigma = np.maximum(_deviation(heard) * 10 ** (-np.array(decibels) / 20), 1e-3).astype(np.float32)
        noise, noise_power = recording.pieces(np.array(starts), np.array(channels), samples, power.shape[3])
        noise *= sigma[..., np.newaxis]
        heard += noise
        x[rows] = heard
        noise_power += levels.steps_of_gain(np.log(sigma), self._contract)[..., np.newaxis, np.newaxis]
        # An array of zeros, since NumPy takes five times as long with a plain 0.
        np.maximum(noise_power, np.zeros_like(noise_power), out=noise_power)
        self._add_power(power, rows, noise_power)

    def _add_white(
        self,
        x: Floats,
        power: levels.Levels,
        rows: npt.NDArray[np.integer],
        generators: Sequence[np.random.Generator],
    ) -> None:
        low, high = self._settings.white_microvolts
        shape = x.shape[1:]
        size = shape[0] * shape[1]
        sigmas = np.empty((len(rows), shape[0]), dtype=np.float32)
        for k, (row, rng) in enumerate(zip(rows.tolist(), generators, strict=True)):
            sigmas[k] = rng.uniform(low, high, shape[0])
            place = int(rng.integers(0, NOISE_POOL - size))
            x[row] += sigmas[k, :, np.newaxis] * self._white[place : place + size].reshape(shape)
        level = levels.white_levels(sigmas, self._contract)[..., np.newaxis, np.newaxis]
        self._add_power(power, rows, level)

    def _add_power(self, power: levels.Levels, rows: npt.NDArray[np.integer], noise: levels.Levels) -> None:
        sums = power[rows]
        levels.add_powers(sums, noise, self._sum_table)
        power[rows] = sums

    def _time_out(self, x: Floats, power: levels.Levels, rng: np.random.Generator) -> None:
        """Take a stretch out of some leads; of the log power, the frames that lie wholly within it."""
        s, (leads, samples), c = self._settings, x.shape, self._contract
        chosen = np.flatnonzero(rng.random(leads) < s.timeout_lead_rate)
        lengths = (rng.uniform(s.timeout_fraction[0], s.timeout_fraction[1], len(chosen)) * samples).astype(np.int64)
        starts = (rng.random(len(chosen)) * (samples - lengths + 1)).astype(np.int64)
        for lead, start, length in zip(chosen.tolist(), starts.tolist(), lengths.tolist(), strict=True):
            x[lead, start : start + length] = 0
            first = -(-start // c.stft_hop)
            last = (start + length - c.stft_length) // c.stft_hop
            power[lead, :, first : max(first, last + 1)] = 0


def _deviation(x: Floats) -> npt.NDArray[np.float64]:
    """Return the standard deviation of signals (..., samples), whose means are small beside it."""
    n = np.float64(x.shape[-1])
    square = np.einsum("...i,...i->...", x, x) / n - (x.sum(axis=-1) / n) ** 2
    deviation: npt.NDArray[np.float64] = np.sqrt(np.maximum(square, 0))
    return deviation


def _span(size: int, fraction: float, rng: np.random.Generator) -> tuple[int, int]:
    width = int(rng.integers(1, max(1, round(fraction * size)), endpoint=True))
    start = int(rng.integers(0, size - width, endpoint=True))
    return start, start + width
