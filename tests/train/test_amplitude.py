"""Which amplitudes are refused and which are doubted."""

import numpy as np
import pytest

from ecg_edge.train.amplitude import AmplitudeError, checked, doubts


def leads(*sizes: float) -> np.ndarray:
    """A square wave has its height as standard deviation."""
    return np.outer(np.tile([1, -1], 500), sizes).astype(np.int16)


def test_amplitude_is_the_median_over_leads_with_a_signal() -> None:
    assert checked(leads(0, 0, 100, 200, 300)) == 200
    assert checked(leads(150)) == 150


@pytest.mark.parametrize("signal", [leads(0, 0), leads(0) + np.int16(700)])
def test_flat_records_are_refused(signal: np.ndarray) -> None:
    with pytest.raises(AmplitudeError, match="no lead with a signal"):
        checked(signal)


@pytest.mark.parametrize("size", [5, 3000])
def test_amplitudes_that_no_heart_leaves_are_refused(size: int) -> None:
    with pytest.raises(AmplitudeError, match=r"not an ECG's: correct the gain"):
        checked(leads(size, size, size))


def test_a_source_off_by_the_known_factor_is_doubted_and_an_ordinary_one_is_not() -> None:
    # The most extreme medians of sources that were seen, as they are and with a gain wrong by 4.88 either way.
    seen = {"small": [139.0] * 20, "large": [172.0] * 20}
    assert doubts(seen) == []
    for factor in (4.88, 1 / 4.88):
        told = doubts({name: [size * factor for size in sizes] for name, sizes in seen.items()})
        assert len(told) == 2
        assert told[0].startswith("the 20 records of small")
    assert doubts({"few": [20.0] * 9}) == []
