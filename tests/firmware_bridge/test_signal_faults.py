"""Faults of electrodes: where they are, of what size, in which leads, and nowhere else."""

from pathlib import Path

import numpy as np
import pytest

from ecg_edge.firmware_bridge.errors import EcgEdgeError
from ecg_edge.firmware_bridge.faults import FOREVER, Fault
from ecg_edge.firmware_bridge.leads import LEADS, MEASURED_LEADS
from ecg_edge.firmware_bridge.recording import COUNT_LIMIT, Recording
from ecg_edge.firmware_bridge.signal_faults import disturb
from ecg_edge.runtime.sources.records import read_recording

RATE = 250
QUIET = Recording("quiet", RATE, MEASURED_LEADS, np.zeros((20 * RATE, 8), np.int32), 1_000_000)  # 1 uV a count


def changed(after: Recording) -> tuple[set[str], int, int]:
    """Return the leads that differ from QUIET, and the first and the last second of it."""
    rows, columns = np.nonzero(after.counts != QUIET.counts)
    return {after.leads[k] for k in columns}, int(rows.min()), int(rows.max()) + 1


def test_nothing_changes_nothing() -> None:
    after = disturb(QUIET, [])
    assert np.array_equal(after.counts, QUIET.counts)
    assert after.invalid is None


def test_lead_off_is_reported_and_at_the_rail() -> None:
    after = disturb(QUIET, [Fault("lead_off", 4, 3, leads=("V2",))])
    assert changed(after) == ({"V2"}, 4 * RATE, 7 * RATE)
    assert after.invalid is not None
    assert np.array_equal(after.invalid, after.counts == COUNT_LIMIT)


def test_an_electrode_takes_the_leads_that_rest_on_it() -> None:
    twelve = Recording("twelve", RATE, LEADS, np.zeros((1000, 12), np.int32), 1_000_000)
    after = disturb(twelve, [Fault("lead_off", leads=("I",))])
    assert after.invalid is not None
    assert after.invalid.all(axis=0).tolist() == [name in ("I", "III", "aVR", "aVL", "aVF") for name in LEADS]


def test_saturation_is_not_reported_by_the_board() -> None:
    after = disturb(QUIET, [Fault("saturate", 2, FOREVER, leads=("V1", "V6"))])
    assert changed(after) == ({"V1", "V6"}, 2 * RATE, 20 * RATE)
    assert after.invalid is None
    assert set(after.counts[-1].tolist()) == {0, COUNT_LIMIT}


@pytest.mark.parametrize(("kind", "hz"), [("mains", 50), ("mains60", 60)])
def test_hum_has_its_amplitude_and_frequency(kind: str, hz: int) -> None:
    after = disturb(QUIET, [Fault(kind, 5, 10, 0.3)])
    hum = after.counts[5 * RATE : 15 * RATE].astype(float)
    assert np.abs(hum).max(axis=0) == pytest.approx(300, abs=20)
    spectrum = np.abs(np.fft.rfft(hum, axis=0))
    assert (spectrum.argmax(axis=0) == 10 * hz).all(), "in ten seconds"
    assert not after.counts[: 5 * RATE].any()


def test_motion_has_its_size_and_is_slow() -> None:
    after = disturb(QUIET, [Fault("motion", 5, 10, 0.8, leads=("V1",))], seed=3)
    assert changed(after)[0] == {"V1"}
    motion = after.counts[5 * RATE : 15 * RATE, MEASURED_LEADS.index("V1")].astype(float)
    assert np.sqrt(np.mean(motion**2)) == pytest.approx(800, rel=0.01)
    power = np.abs(np.fft.rfft(motion)) ** 2
    assert power[:50].sum() > 0.8 * power.sum(), "most of it below 5 Hz"
    again = disturb(QUIET, [Fault("motion", 5, 10, 0.8, leads=("V1",))], seed=3)
    assert np.array_equal(after.counts, again.counts)
    assert not np.array_equal(after.counts, disturb(QUIET, [Fault("motion", 5, 10, 0.8, leads=("V1",))], 4).counts)


def test_motion_from_a_real_noise_record(data_dir: Path) -> None:
    noise = read_recording(data_dir / "nstdb" / "bw", leads=("II", "V1"))
    after = disturb(QUIET, [Fault("motion", 0, FOREVER, 0.5)], noise=noise)
    found = after.counts[:, 0].astype(float)
    seconds = np.arange(20 * RATE) / RATE
    expected = np.interp(seconds, np.arange(len(noise.counts)) / noise.rate, noise.counts[:, 0])
    assert np.corrcoef(found, expected)[0, 1] > 0.9999
    assert np.sqrt(np.mean(found**2)) == pytest.approx(500, rel=0.01)
    assert abs(np.corrcoef(found, after.counts[:, 2])[0, 1]) < 0.9, "lead 3 has another minute of channel 1"


def test_counts_stay_within_the_converter() -> None:
    after = disturb(QUIET, [Fault("motion", 0, FOREVER, 100_000)])
    assert np.abs(after.counts).max() == COUNT_LIMIT


def test_a_lead_that_is_not_there() -> None:
    two = Recording("two", RATE, ("I", "II"), np.zeros((1000, 2), np.int32), 1_000_000)
    with pytest.raises(EcgEdgeError, match="lead_off of lead V1: the recording has I, II"):
        disturb(two, [Fault("lead_off", leads=("V1",))])
