"""The rolling window: at every hop the same as if cut from the whole conditioned signal, however it arrived."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecg_edge.runtime.conditioning import Conditioned
from ecg_edge.runtime.contract import Contract
from ecg_edge.runtime.stft import Stft
from ecg_edge.runtime.window import Window

CONTRACTS = {
    "default": Contract(),
    "no overlap": Contract(window_seconds=3, hop_seconds=3),
    "hop does not divide": Contract(window_seconds=5, hop_seconds=2, stft_hop=25),
    "long frames": Contract(window_seconds=2, stft_length=128, stft_bins=65, stft_hop=50),
    "short frames": Contract(window_seconds=1, stft_length=32, stft_bins=17, stft_hop=10),
}


def made(samples: int, seed: int = 0) -> Conditioned:
    """Return conditioned signal of every loudness."""
    rng = np.random.default_rng(seed)
    loudness = 2.0 ** rng.uniform(0, 13, (1, 12))
    signal = np.clip(rng.normal(0, loudness, (samples, 12)), -32767, 32767).astype(np.int16)
    return Conditioned(signal, rng.random((samples, 12)) < 0.1)


def pieces(whole: Conditioned, cuts: Sequence[int]) -> Iterator[Conditioned]:
    for start, stop in pairwise([0, *sorted(cuts), len(whole.signal)]):
        yield Conditioned(whole.signal[start:stop], whole.invalid[start:stop])


@pytest.mark.parametrize("contract", CONTRACTS.values(), ids=CONTRACTS.keys())
@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_window_is_cut_from_the_whole_at_every_hop(contract: Contract, data: st.DataObject) -> None:
    samples = data.draw(st.integers(0, contract.window + 4 * contract.hop))
    whole = made(samples, samples)
    cuts = data.draw(st.lists(st.integers(0, samples), max_size=10))
    stft = Stft(contract)
    window = Window(contract)
    ends = []
    for piece in pieces(whole, cuts):
        for hop in window.push(piece):
            ends.append(hop.end)
            fresh = slice(hop.end - contract.hop, hop.end)
            assert np.array_equal(hop.signal, whole.signal[fresh].T)
            assert np.array_equal(hop.invalid, whole.invalid[fresh].T)
            assert window.end == hop.end
            past = whole.signal[max(0, hop.end - contract.window) : hop.end].T
            assert np.array_equal(window.signal[:, contract.window - past.shape[1] :], past)
            assert not window.signal[:, : contract.window - past.shape[1]].any()
            if hop.end >= contract.window:
                assert np.array_equal(window.spectrogram, stft.frames(np.ascontiguousarray(past)))
    assert ends == list(range(contract.hop, samples + 1, contract.hop))
    assert window.pending == samples % contract.hop


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 999), st.lists(st.integers(0, 999), max_size=6))
def test_padded_has_zeros_before_the_signal(samples: int, cuts: list[int]) -> None:
    contract = Contract()
    whole = made(samples)
    window = Window(contract)
    for piece in pieces(whole, [c for c in cuts if c <= samples]):
        list(window.push(piece))
    signal, spectrogram = window.padded()
    expected = np.zeros((12, contract.window), np.int16)
    expected[:, contract.window - samples :] = whole.signal.T
    assert np.array_equal(signal, expected)
    assert np.array_equal(spectrogram, Stft(contract).frames(expected))
    assert window.signal.dtype == signal.dtype == np.int16
    assert window.spectrogram.dtype == spectrogram.dtype == np.uint8


def test_shapes_are_the_contract_s() -> None:
    window = Window(Contract())
    assert window.signal.shape == (12, 1000)
    assert window.spectrogram.shape == (12, 24, 47)
