"""The last ten seconds: conditioned signal and spectrogram, each computed once as the samples arrive."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ecg_edge.firmware_bridge.leads import LEADS

from .conditioning import Conditioned
from .contract import Contract
from .stft import Stft


class Hop(NamedTuple):
    """One hop of new signal."""

    end: int
    """Model samples from the start of the stream to the end of this hop."""
    signal: npt.NDArray[np.int16]
    """(12, hop), a view that the next hop overwrites."""
    invalid: npt.NDArray[np.bool_]
    """(12, hop), a view that the next hop overwrites."""


class Window:
    """The window that ends with the last hop. Before the stream is a window long, its past is zero."""

    def __init__(self, contract: Contract) -> None:
        """Make an empty window."""
        self._contract = contract
        self._stft = Stft(contract)
        self.signal = np.zeros((len(LEADS), contract.window), dtype=np.int16)
        """(12, window) in microvolts."""
        self.spectrogram = np.zeros((len(LEADS), contract.stft_bins, contract.frames), dtype=np.uint8)
        """(12, bins, frames) of log power."""
        self.end = 0
        """Model samples from the start of the stream to the end of the window."""
        self._transforms = True
        self._fresh = np.zeros((len(LEADS), contract.hop), dtype=np.int16)
        self._fresh_invalid = np.zeros((len(LEADS), contract.hop), dtype=np.bool_)
        self._any_invalid = False  # whether any flag of `_fresh_invalid` may be set
        self._filled = 0

    @property
    def pending(self) -> int:
        """Model samples that have arrived since the last hop."""
        return self._filled

    @property
    def transforms(self) -> bool:
        """Whether the spectrogram is kept up; when it is again after a rest, it is computed anew."""
        return self._transforms

    @transforms.setter
    def transforms(self, wanted: bool) -> None:
        """Begin to keep it up again, or let it rest."""
        if wanted and not self._transforms:
            self.spectrogram[:] = self._stft.frames(self.signal)
        self._transforms = wanted

    def push(self, conditioned: Conditioned) -> Iterator[Hop]:
        """Take conditioned signal and yield each hop that it completes, when the window ends with it."""
        taken = 0
        while taken < len(conditioned.signal):
            piece = min(len(conditioned.signal) - taken, self._contract.hop - self._filled)
            place = slice(self._filled, self._filled + piece)
            self._fresh[:, place] = conditioned.signal[taken : taken + piece].T
            invalid = conditioned.invalid[taken : taken + piece]
            if self._any_invalid or np.count_nonzero(invalid):
                self._any_invalid = True
                self._fresh_invalid[:, place] = invalid.T
            taken += piece
            self._filled += piece
            if self._filled == self._contract.hop:
                self._filled = 0
                self._advance()
                yield Hop(self.end, self._fresh, self._fresh_invalid)
                self._any_invalid = self._any_invalid and bool(np.count_nonzero(self._fresh_invalid))

    def _advance(self) -> None:
        """Move the window on by one hop and compute the frames that the hop completes."""
        c = self._contract
        _move_left(self.signal, c.hop)
        self.signal[:, -c.hop :] = self._fresh
        known = self._frames_before(self.end)
        self.end += c.hop
        if not self._transforms:
            return
        fresh = min(self._frames_before(self.end) - known, c.frames)  # without overlap some straddle two windows
        start = (c.frames - fresh) * c.stft_hop  # place of the first new frame within the window
        frames = self._stft.frames(self.signal[:, start : start + (fresh - 1) * c.stft_hop + c.stft_length])
        _move_left(self.spectrogram, fresh)
        self.spectrogram[..., c.frames - fresh :] = frames

    def _frames_before(self, end: int) -> int:
        """Return how many frames lie wholly before model sample `end`, counted from the start of the stream."""
        return max(0, (end - self._contract.stft_length) // self._contract.stft_hop + 1)

    def padded(self) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.uint8]]:
        """Return signal and spectrogram of a stream that ended before its first window, zeros on its left.

        The part of a hop that has arrived is included, and the frames are those of the padded signal.
        """
        signal = np.zeros_like(self.signal)
        rest = self.signal.shape[1] - self._filled
        signal[:, :rest] = self.signal[:, self._filled :]
        signal[:, rest:] = self._fresh[:, : self._filled]
        return signal, self._stft.frames(signal)


def _move_left(array: npt.NDArray[np.generic], places: int) -> None:
    """Move each row of a contiguous array left in one piece: what falls off a row ends up in the last places before it.

    Those `places` are for the caller to fill. One move costs a fifth of a move row by row, which goes by a copy.
    """
    flat = array.reshape(-1)
    flat[: flat.size - places] = flat[places:]
