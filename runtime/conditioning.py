"""From counts at the device's rate to the twelve leads at the model rate: int16, 1 LSB = 1 microvolt.

Two linear-phase FIR filters with integer coefficients, each rounded once:

1. resampling: a Kaiser-windowed sinc (pass band to 40 Hz, over 60 dB down from 50 Hz), evaluated at output instants,
   so one design serves every device rate; a mains notch, when asked for, is folded into the same coefficients;
2. high-pass: the signal minus a cascade of two moving averages, -3 dB at 0.45 Hz.

Every product and partial sum is an integer below 2**53, so float64 matrix products give the same bits as 64-bit
integer accumulation in C, in any order of summation. Work is done in groups at fixed places of the stream, so the
output does not depend on how the input was cut. Before its first and after its last sample the signal is taken to be
constant, which makes a 10 s record 10 s long after conditioning and starts a stream without a step.
"""

import sys
from collections.abc import Sequence
from math import ceil, floor
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ecg_edge.firmware_bridge.errors import EcgEdgeError
from ecg_edge.firmware_bridge.leads import LEADS, derivation, present
from ecg_edge.firmware_bridge.recording import Recording

from . import native
from .bridge import Bridge
from .contact import Contact
from .contract import Contract
from .filters import BLOCK, KERNEL_SECONDS, highpass_matrix
from .resampling import Resampler, beyond, overlapping

GROUP = 4  # blocks that go through the high-pass together: 1 s, the shortest hop of windows, on whose grid they end
RATES = (100, 2000)  # device rates in Hz that can be resampled; below 100 Hz there is no pass band to 40 Hz
PV_PER_LSB = (1, 10**8)  # picovolts per count; above 100 microvolts per count an ECG has no shape left


_NO_FAST = np.zeros((0, len(LEADS)))
_ALL_VALID = np.zeros((GROUP * BLOCK, len(LEADS)), dtype=np.bool_)
_ALL_VALID.flags.writeable = False  # shared by every stretch without an invalid sample


class Conditioned(NamedTuple):
    """A stretch of conditioned signal, and the resampled signal that has become known meanwhile.

    The high-pass looks 1.27 s ahead and works on a second at a time, so the two are of different stretches of time.
    """

    signal: npt.NDArray[np.int16]
    """(samples, 12) at the model rate, 1 LSB = 1 microvolt; leads that are not there are zero."""
    invalid: npt.NDArray[np.bool_]
    """(samples, 12): True where the electrode was off or the sample lost; the signal then holds its last value."""
    fast: npt.NDArray[np.float64] = _NO_FAST
    """(whole blocks, 12) at the model rate in 1/16 microvolt, integers: before the high-pass, with the electrodes'
    offset; only from an eager conditioner. The stream's first block starts `lead_in` samples before the signal; at its
    end what would lie behind the signal is left out."""
    fast_invalid: npt.NDArray[np.bool_] = _ALL_VALID[:0]
    """(whole blocks, 12): as `invalid`, for `fast`."""


class Conditioner:
    """Streaming front end of one source; feed it chunks of any length, then flush it once."""

    def __init__(
        self,
        contract: Contract,
        rate: int,
        pv_per_lsb: int,
        leads: Sequence[str],
        mains: int | None = None,
        eager: bool = False,
    ) -> None:
        """Prepare the filters.

        rate: device rate in Hz, 100 to 2000; pv_per_lsb: picovolts per count; leads: canonical name of each channel;
        mains: 50 or 60 to null the grid's frequency, None for the low-pass alone (over 60 dB at either).
        eager: give `fast`, and each block of it as soon as it is known (see `hasten`); otherwise all is done once a
        second, which costs less. Neither changes `signal`.
        Raises EcgEdgeError for a rate, gain or notch that cannot be served.
        """
        if not RATES[0] <= rate <= RATES[1]:
            raise EcgEdgeError(
                f"sampling rate {rate} Hz is outside {RATES[0]} to {RATES[1]} Hz: set the device to a rate in it"
            )
        if not PV_PER_LSB[0] <= pv_per_lsb <= PV_PER_LSB[1]:
            raise EcgEdgeError(f"gain of {pv_per_lsb} pV per LSB is outside {PV_PER_LSB}: check the device's gain")
        if mains is not None and (mains not in (50, 60) or rate < 2 * (mains + 1)):
            raise EcgEdgeError(f"a {mains} Hz notch at {rate} Hz is impossible: 50 from 102 Hz up, 60 from 122 Hz up")
        self._derivation = derivation(leads)
        self.present = present(self._derivation)
        self.saturated = 0  # model samples that did not fit int16 (or 8.4 V before the high-pass)
        self.samples_in = 0
        self.samples_out = 0
        self._total = sys.maxsize  # model samples of the whole stream, once that is known

        self._rate = rate
        self._model_rate = contract.rate
        self._half = floor(KERNEL_SECONDS * rate) + 1
        self.delay_samples = contract.highpass_boxcar - 1  # by which the high-pass is behind `fast`
        # Samples of constant past before the first one, so that a hop's last sample is a block's last sample.
        self.lead_in = -self.delay_samples % BLOCK
        # The last input of any output comes this much later than the output's own instant.
        self.delay_seconds = self._half / rate + self.delay_samples / contract.rate
        starts = [self._block_start(b) for b in range(4)]
        self._resampler = Resampler(rate, contract.rate, self._half, mains, starts, self._derivation, pv_per_lsb)
        self._kernels, self._boxcar = native.kernels, contract.highpass_boxcar
        self._highpass = highpass_matrix(self._boxcar)
        self._fast = self._eager = eager
        channels = len(leads)
        self._aim(0)  # the next block; block b starts at model sample b * BLOCK - lead_in
        self._grouped = 0  # blocks of the next group that are resampled
        self._bridge = Bridge(channels)
        self.contact = Contact(rate, pv_per_lsb, leads)
        capacity = self._resampler.span + 2 * rate
        self._input = np.zeros((capacity, channels))
        self._input_invalid = np.zeros((capacity, channels), dtype=np.bool_)
        self._views: dict[int, npt.NDArray[np.float64]] = {}  # of what the high-pass takes, by the number of blocks
        # Rows of it that are bridged, those before the first sample included; then rows that wait; whether any is
        # marked among those.
        self._filled = self._end = self._half - 1 - self._block_start(0) // contract.rate
        self._marked = False
        self._begun = False
        self._any_invalid = False  # among the bridged ones
        self._sixteenths = np.zeros((2 * self.delay_samples + GROUP * BLOCK, len(LEADS)))
        self._mask = np.zeros((self.delay_samples + GROUP * BLOCK, len(LEADS)), dtype=np.bool_)
        self._mask_set = False

    @property
    def invalid_samples(self) -> int:
        """Single samples that were marked invalid, or that stood at the converter's end of scale."""
        return self._bridge.invalid_samples

    def hasten(self, eager: bool) -> None:
        """Give each block of `fast` as soon as it is known from now on, or all of a group at its end."""
        if eager != self._eager:
            self._eager = eager
            self._aim(self._block)

    def push(self, counts: npt.NDArray[np.int32], invalid: npt.NDArray[np.bool_] | None = None) -> Conditioned:
        """Take counts (n, channels) and return what they complete: a whole number of blocks, often none.

        invalid: True (n, channels) where a sample is missing or its electrode off. Both are copied.
        """
        n, start = len(counts), self._end
        self.samples_in += n
        if invalid is None and n and start + n < self._step.needed:  # small chunks cost a copy each
            self._end = start + n
            self._input[start : self._end] = counts
            return NOTHING
        parts = []
        while len(counts):  # once, but for a chunk that is longer than there is room
            start, end = self._end, min(self._end + len(counts), len(self._input))
            self._input[start:end] = counts[: end - start]
            if invalid is not None:
                self._input_invalid[start:end] = invalid[: end - start]
                self._marked, invalid = True, invalid[end - start :]
            self._end, counts = end, counts[end - start :]
            if end >= self._step.needed:
                parts.append(self._take_waiting())
        return _stack(parts) if parts else NOTHING

    def flush(self) -> Conditioned:
        """Return the rest of the signal, as if its last sample lasted; the conditioner is then finished."""
        parts = [self._take_waiting()]
        self._total = total = ceil(self.samples_in * self._model_rate / self._rate)
        surplus = -total
        while self.samples_out < total:
            rows = slice(self._end, self._end + self._rate // 4)
            self._input[rows], self._input_invalid[rows] = self._bridge.held, self._bridge.off
            self._any_invalid = self._any_invalid or bool(self._bridge.off.any())
            self._end = self._filled = rows.stop
            parts.append(self._work())
        surplus += self.samples_out
        self.samples_out = total
        tail = _stack(parts)
        keep = len(tail.signal) - surplus
        return Conditioned(tail.signal[:keep], tail.invalid[:keep], tail.fast, tail.fast_invalid)

    def _take_waiting(self) -> Conditioned:
        """Work on what has been put aside."""
        rows = slice(self._filled, self._end)
        self._filled = rows.stop
        if rows.start == rows.stop:
            return NOTHING
        counts, marks = self._input[rows], self._input_invalid[rows]
        bridged, bad = self._bridge.join(counts, marks if self._marked else None)
        if bridged is not counts:
            counts[:] = bridged
        if bad is not None:
            marks[:] = bad
            self._any_invalid = True
        self._marked = False
        if not self._begun:
            self._begun = True
            self._input[: rows.start] = counts[0]
        return self._work()

    def _work(self) -> Conditioned:
        """Do all the steps for which there is input."""
        parts = []
        while self._filled >= self._step.needed:
            parts.append(self._work_step())
        return _stack(parts)

    def _block_start(self, block: int) -> int:
        """Return the first model sample of a block times the device rate: its place among the input samples."""
        return (block * BLOCK - self.lead_in) * self._rate

    def _aim(self, block: int) -> None:
        """Make the step that starts with `block` the next one: a block, or what is left of its group."""
        self._block = block
        left = GROUP - (block - (self.lead_in + self.delay_samples) // BLOCK) % GROUP  # the first group is shorter
        self._blocks = 1 if self._eager else left
        self._step = self._resampler.step(self._block_start(block), self._blocks)

    def _work_step(self) -> Conditioned:
        """Resample the blocks of the next step; where they complete a group, take that through the high-pass."""
        place = 2 * self.delay_samples + self._grouped * BLOCK
        fresh = self._sixteenths[place : place + self._blocks * BLOCK]
        self.saturated += self._resampler.apply(self._step, self._input, fresh)
        if self._block == 0:
            self._sixteenths[:place] = fresh[0]  # the past is constant, and so is the lead-in
        fresh_invalid = self._take_mask(len(fresh))
        dropped = self._step.offsets[-1]
        self.contact.add(self._input[:dropped], self._input_invalid[:dropped] if self._any_invalid else None)
        self._drop_input(dropped)
        self._grouped += self._blocks
        self._aim(self._block + self._blocks)

        newest = self._block * BLOCK - self.lead_in
        if newest > self._total or not self._fast:
            whole = max(0, len(fresh) - ceil((newest - self._total) / BLOCK) * BLOCK) if self._fast else 0
            fresh, fresh_invalid = fresh[:whole], fresh_invalid[:whole]
        fresh = fresh.copy()
        if (newest - self.delay_samples) % (GROUP * BLOCK):
            return Conditioned(NOTHING.signal, NOTHING.invalid, fresh, fresh_invalid)
        self.contact.end_second(newest / self._model_rate)
        signal, invalid = self._work_group(max(0, newest - self.delay_samples))
        return Conditioned(signal, invalid, fresh, fresh_invalid)

    def _work_group(self, most: int) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.bool_]]:
        """Return signal and invalid flags of the group of blocks that is resampled, at most the last `most` rows."""
        blocks, self._grouped = self._grouped, 0
        n = blocks * BLOCK
        history = 2 * self.delay_samples
        rows = min(n, most)
        signal = self._to_microvolts(blocks, rows)[n - rows :]
        self._sixteenths[:history] = self._sixteenths[n : n + history]
        invalid = self._move_mask(n)[n - rows :]
        self.samples_out += rows
        return signal, invalid

    def _to_microvolts(self, blocks: int, rows: int) -> npt.NDArray[np.int16]:
        """Return the blocks of the group behind the high-pass, (samples, 12); the last `rows` of them go out."""
        n, history = blocks * BLOCK, 2 * self.delay_samples
        counted = slice(n - rows, min(n, n - rows + self._total - self.samples_out))  # not what lies behind the end
        if self._kernels is not None:
            out = np.empty((n, len(LEADS)), dtype=np.int16)
            taken = self._sixteenths[: history + n]
            self.saturated += self._kernels.highpass(taken, self._boxcar, out, counted.start, counted.stop)
            return out
        if blocks not in self._views:
            self._views[blocks] = overlapping(self._sixteenths, blocks, history + BLOCK, BLOCK)
        microvolts = self._highpass @ self._views[blocks]
        microvolts += 0.5
        np.floor(microvolts, out=microvolts)
        signal = microvolts.reshape(n, len(LEADS))
        row = signal.reshape(-1)
        # Mostly the sum of squares is below the limit's, and then so is every sample.
        if row.dot(row) >= 32767**2 and beyond(signal, 32767):
            self.saturated += int(np.count_nonzero(np.abs(signal[counted]) > 32767))
            np.clip(signal, -32767, 32767, out=signal)
        return signal.astype(np.int16)

    def _drop_input(self, count: int) -> None:
        """Forget the oldest `count` samples of the input."""
        left = self._filled - count
        self._input[:left] = self._input[count : self._filled]
        if self._any_invalid:
            self._input_invalid[:left] = self._input_invalid[count : self._filled]
            self._input_invalid[left : self._filled] = False
            self._any_invalid = bool(self._input_invalid[:left].any())
        self._filled = self._end = left

    def _take_mask(self, n: int) -> npt.NDArray[np.bool_]:
        """Put the invalid flags of the step's n samples with those of its group, and return them."""
        if not self._any_invalid and not self._mask_set:
            return _ALL_VALID[:n]
        place = self.delay_samples + self._grouped * BLOCK
        mine = self._mask[place : place + n]
        if self._any_invalid:
            k0 = self._block_start(self._block)
            places = (k0 + np.arange(n + 1) * self._rate) // self._model_rate - k0 // self._model_rate
            near = self._half - 1 + places  # rows of self._input at and after each output's instant
            hit = np.logical_or.reduceat(self._input_invalid[: near[-1]], near[:-1], axis=0)
            mine[:] = hit @ (self._derivation.T != 0)
            self._mask_set = self._mask_set or bool(mine.any())
        else:
            mine[:] = False
        return mine.copy()

    def _move_mask(self, n: int) -> npt.NDArray[np.bool_]:
        """Move the invalid flags on by the group's n samples and return those of the n that leave the high-pass."""
        if not self._mask_set:
            return _ALL_VALID[:n]
        leaving = self._mask[:n].copy()
        self._mask[: self.delay_samples] = self._mask[n : n + self.delay_samples]
        self._mask[self.delay_samples :] = False
        self._mask_set = bool(self._mask.any())
        return leaving


def condition(recording: Recording, contract: Contract, mains: int | None = None) -> Conditioned:
    """Return a whole recording conditioned: ceil(seconds * model rate) samples."""
    conditioner = Conditioner(contract, recording.rate, recording.pv_per_lsb, recording.leads, mains)
    return _stack([conditioner.push(recording.counts, recording.invalid), conditioner.flush()])


NOTHING = Conditioned(np.zeros((0, len(LEADS)), np.int16), np.zeros((0, len(LEADS)), np.bool_))


def _stack(parts: list[Conditioned]) -> Conditioned:
    parts = [part for part in parts if len(part.signal) or len(part.fast)]
    if len(parts) == 1:
        return parts[0]
    if not parts:
        return NOTHING
    return Conditioned(
        np.concatenate([p.signal for p in parts]),
        np.concatenate([p.invalid for p in parts]),
        np.concatenate([p.fast for p in parts]),
        np.concatenate([p.fast_invalid for p in parts]),
    )
