"""The windows of records that a network is validated on, and what it says of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from ecg_edge.runtime.contract import Contract
from ecg_edge.runtime.stft import Stft

from .inputs import signal_tensor, spectrogram_tensor
from .networks.front import front_of
from .networks.model import FusionNet
from .store import RecordStore

STFT_CHUNK = 8  # windows transformed at once: the working set then stays in a core's own cache


@dataclass(frozen=True)
class Windows:
    """Windows of records, in order: the engine's own at each record's end, or several a record."""

    signal: npt.NDArray[np.int16]
    """(N, leads, samples) in microvolts."""
    spectrogram: npt.NDArray[np.generic]
    """(N, leads, bins, frames), as the network takes it."""
    per_record: int = 1
    """Windows of each record, one after the other."""


def spectrograms(stft: Stft, signal: npt.NDArray[np.int16]) -> npt.NDArray[np.uint8]:
    """Return the front end's spectrograms (N, leads, bins, frames) of signal (N, leads, window)."""
    return np.concatenate([stft.frames(signal[k : k + STFT_CHUNK]) for k in range(0, len(signal), STFT_CHUNK)])


def whole_windows(store: RecordStore, contract: Contract, records: Sequence[int] | None = None) -> Windows:
    """Return the last window of each record, or of those numbered, as the engine has it at the record's end."""
    chosen = range(len(store.entries)) if records is None else records
    signal = np.stack([store.last_window(k, contract.window) for k in chosen])
    return Windows(signal, spectrograms(Stft(contract), signal))


def network_windows(
    store: RecordStore, contract: Contract, backbone: str, window_seconds: float, stride_seconds: float
) -> Windows:
    """Return what a network of that backbone and window judges records by: the last window of each, cut into pieces.

    The edge network takes the window as it is. A network of a shorter one gets a piece every `stride_seconds`, and
    its answers are averaged (Phan et al. 2022: 2.5 s at a stride of 1.25 s).
    """
    whole = whole_windows(store, contract)
    length, stride = round(window_seconds * contract.rate), round(stride_seconds * contract.rate)
    if length == contract.window:
        return Windows(whole.signal, front_of(backbone)(whole.signal, np.asarray(whole.spectrogram, dtype=np.uint8)))
    starts = range(0, contract.window - length + 1, stride)
    pieces = np.stack([whole.signal[:, :, s : s + length] for s in starts], axis=1)
    signal = np.ascontiguousarray(pieces.reshape(-1, *pieces.shape[2:]))
    device = spectrograms(Stft(contract), signal)
    return Windows(signal, front_of(backbone)(signal, device), len(starts))


def predict_logits(network: FusionNet, windows: Windows, batch_size: int = 64) -> npt.NDArray[np.float32]:
    """Return one logit per record and class, float32 (records, classes).

    Of several windows of a record, the mean of the probabilities, as a logit.
    """
    network.eval()
    device = next(network.parameters()).device
    parts = []
    with torch.inference_mode():
        for k in range(0, len(windows.signal), batch_size):
            signal = signal_tensor(windows.signal[k : k + batch_size], device)
            spectrogram = spectrogram_tensor(windows.spectrogram[k : k + batch_size], device)
            parts.append(network(signal, spectrogram).float().cpu().numpy())
    logits = np.concatenate(parts)
    if windows.per_record == 1:
        return logits
    p = 1 / (1 + np.exp(-logits.astype(np.float64)))
    mean = p.reshape(-1, windows.per_record, logits.shape[1]).mean(axis=1).clip(1e-7, 1 - 1e-7)
    averaged: npt.NDArray[np.float32] = np.log(mean / (1 - mean)).astype(np.float32)
    return averaged
