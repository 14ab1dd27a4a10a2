"""The one door to the signal of any record: each source's own reader, and its scale made right."""

from dataclasses import replace

from ecg_edge.firmware_bridge.recording import Recording
from ecg_edge.runtime.sources.records import read_recording

from . import cpsc2018, ptbxl_z
from .entry import RecordEntry


def read_signal(entry: RecordEntry) -> Recording:
    """Return the record's signal in true volts, as far as they are known.

    A record that has lost its millivolts gets typical amplitudes; one whose header is known to state a wrong gain
    gets the right one. Raises a subclass of EcgEdgeError, and nothing else, whatever the files hold.
    """
    if not entry.scaled:
        return ptbxl_z.read_scaled(entry)
    if entry.source == cpsc2018.SOURCE:
        return cpsc2018.read(entry.path)
    recording = read_recording(entry.path)
    if entry.gain_error == 1:
        return recording
    return replace(recording, pv_per_lsb=round(recording.pv_per_lsb * entry.gain_error))
