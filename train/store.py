"""Conditioned records, computed once and read as two memory-mapped files.

The store holds only what the front end makes of each record: int16 signal, 12 leads, model rate, and the STFT frames
that begin at multiples of its hop from the record's start. Labels, folds and
sources come from the index every time, so that mending a label table needs no new store. It is keyed by the hash
of the signal contract and of the list of records: another contract or another list makes another store.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from ecg_edge.firmware_bridge.errors import EcgEdgeError
from ecg_edge.runtime.conditioning import condition
from ecg_edge.runtime.contract import Contract
from ecg_edge.runtime.stft import Stft

from . import amplitude
from .records.entry import Broken, RecordEntry, by_reason
from .records.signals import read_signal

SIGNALS = "signals.npy"
FRAMES = "frames.npy"
TABLE = "records.json"
KEY_DIGITS = 16  # hexadecimal, of each hash in the folder's name
SHORTEST_SECONDS = 5  # a shorter record shows too few beats for its labels to be seen in it


class StoreError(EcgEdgeError):
    """Records of which none can be stored."""


@dataclass(frozen=True)
class RecordStore:
    """The conditioned signals of some records, and those records."""

    entries: tuple[RecordEntry, ...]
    """Stored records, in the order asked for."""
    broken: tuple[Broken, ...]
    """Records that could not be stored, with reasons."""
    folder: Path
    """Where the files lie."""
    signals: npt.NDArray[np.int16]
    """All signals one after the other, read-only and memory-mapped."""
    offsets: npt.NDArray[np.int64]
    """First element of each record, and the end of the last."""
    contract: Contract
    """What made them."""
    spectra: npt.NDArray[np.uint8]
    """All spectrograms one after the other, read-only and memory-mapped."""
    doubts: tuple[str, ...] = ()
    """What looks wrong about whole sources, a sentence each, and is left as it is."""

    def signal(self, k: int) -> npt.NDArray[np.int16]:
        """Return record k, (leads, samples) in microvolts, a read-only view."""
        return self.signals[self.offsets[k] : self.offsets[k + 1]].reshape(self.leads, -1)

    @property
    def leads(self) -> int:
        """Leads of every record."""
        return len(self.contract.leads)

    @cached_property
    def _frame_offsets(self) -> npt.NDArray[np.int64]:
        samples = np.diff(self.offsets) // self.leads
        counts = np.maximum((samples - self.contract.stft_length) // self.contract.stft_hop + 1, 0)
        return np.concatenate(([0], np.cumsum(counts * self.leads * self.contract.stft_bins)))

    def frames(self, k: int) -> npt.NDArray[np.uint8]:
        """Return the log power of record k, (leads, bins, frames), a read-only view."""
        piece = self.spectra[self._frame_offsets[k] : self._frame_offsets[k + 1]]
        return piece.reshape(self.leads, self.contract.stft_bins, -1)

    def samples(self, k: int) -> int:
        """Return the length of record k in model samples."""
        return int(self.offsets[k + 1] - self.offsets[k]) // self.leads

    def last_window(self, k: int, length: int) -> npt.NDArray[np.int16]:
        """Return the last `length` samples of record k, int16 (leads, length), zeros on the left of a short one."""
        signal = self.signal(k)[:, -length:]
        window = np.zeros((self.leads, length), dtype=np.int16)
        window[:, length - signal.shape[1] :] = signal
        return window

    def broken_by_reason(self) -> dict[str, int]:
        """Return the number of broken records for each reason, see `records.entry.by_reason`."""
        return by_reason(self.broken)


def open_store(entries: Sequence[RecordEntry], contract: Contract, cache: Path, progress: bool = False) -> RecordStore:
    """Return the store of `entries` below `cache`, made first where it is not there yet.

    Signals are those of `records.signals.read_signal`. Broken records, those shorter than SHORTEST_SECONDS and those
    without the amplitude of an ECG are left out and listed; sources whose typical amplitude is odd are in `doubts`.
    Long records are kept whole. Memory holds one record at a time. The folder appears whole or not at all.
    progress: show a bar on stderr.
    Raises StoreError where no record can be used, or `cache` cannot be written.
    """
    folder = cache / f"{contract.sha256[:KEY_DIGITS]}-{_records_hash(entries)[:KEY_DIGITS]}"
    if not all((folder / name).is_file() for name in (TABLE, SIGNALS, FRAMES)):
        try:
            _make(entries, contract, folder, progress)
        except OSError as error:
            raise StoreError(
                f"cannot write the store {folder} ({error.strerror}): name a folder with --cache"
            ) from error
    table: dict[str, Any] = json.loads((folder / TABLE).read_text(encoding="utf-8"))
    by_path = {str(entry.path.resolve()): entry for entry in entries}
    return RecordStore(
        entries=tuple(by_path[path] for path in table["paths"]),
        broken=tuple(Broken(Path(item["path"]), item["reason"]) for item in table["broken"]),
        folder=folder,
        signals=_mapped(folder / SIGNALS),
        spectra=_mapped(folder / FRAMES),
        offsets=np.array(table["offsets"], dtype=np.int64),
        contract=contract,
        doubts=tuple(table.get("doubts", ())),  # a store of before there were any has none
    )


def _records_hash(entries: Sequence[RecordEntry]) -> str:
    """Return the hash of what the stored signals depend on besides the contract: which records, and how scaled."""
    lines = [
        f"{entry.path.resolve()} {entry.scaled} {entry.limb_ratios}"
        + (f" {entry.gain_error}" if entry.gain_error != 1 else "")
        for entry in entries
    ]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _make(entries: Sequence[RecordEntry], contract: Contract, folder: Path, progress: bool) -> None:
    working = folder.with_name(f"{folder.name}.{os.getpid()}")
    shutil.rmtree(working, ignore_errors=True)
    working.mkdir(parents=True)
    try:
        with _GrowingArray(working / SIGNALS, "<i2") as signals, _GrowingArray(working / FRAMES, "|u1") as frames:
            table = _condition(entries, contract, signals, frames, progress)
        (working / TABLE).write_text(json.dumps(table), encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        working.rename(folder)
    finally:
        shutil.rmtree(working, ignore_errors=True)


def _condition(
    entries: Sequence[RecordEntry],
    contract: Contract,
    signals: "_GrowingArray",
    frames: "_GrowingArray",
    progress: bool,
) -> dict[str, Any]:
    """Write all signals and spectrograms, and return the table that goes with them."""
    paths, broken, offsets = [], [], [0]
    amplitudes: dict[str, list[float]] = {}
    stft = Stft(contract)
    for entry in tqdm(entries, desc="conditioning", unit="record", disable=not progress, dynamic_ncols=True):
        try:
            signal = condition(read_signal(entry), contract).signal
            if len(signal) < SHORTEST_SECONDS * contract.rate:
                raise StoreError(f"shorter than {SHORTEST_SECONDS} s")
            size = amplitude.checked(signal)
        except EcgEdgeError as error:
            broken.append({"path": str(entry.path), "reason": str(error)})
            continue
        amplitudes.setdefault(entry.source, []).append(size)
        rows = np.ascontiguousarray(signal.T)
        signals.append(rows)
        frames.append(np.ascontiguousarray(stft.frames(rows)))
        offsets.append(offsets[-1] + signal.size)
        paths.append(str(entry.path.resolve()))
    if not paths:
        first = f"; the first: {broken[0]['reason']}" if broken else ""
        raise StoreError(f"none of {len(entries)} records can be used{first}: check the data folder")
    return {"paths": paths, "offsets": offsets, "broken": broken, "doubts": amplitude.doubts(amplitudes)}


class _GrowingArray:
    """A `.npy` file of one axis that is appended to; NumPy pads headers, so that the length can be set at the end."""

    def __init__(self, path: Path, dtype: str) -> None:
        self._path, self._dtype, self._length = path, dtype, 0

    def __enter__(self) -> Self:
        self._file = self._path.open("wb")
        self._start = self._write_header()
        return self

    def append(self, array: npt.NDArray[np.generic]) -> None:
        """Add the elements of an array in C order."""
        self._file.write(array.astype(self._dtype, copy=False).tobytes())
        self._length += array.size

    def __exit__(self, *_: object) -> None:
        if self._write_header() != self._start:
            raise AssertionError("the header of a .npy file has no room for its length")
        self._file.close()

    def _write_header(self) -> int:
        self._file.seek(0)
        description = {"descr": self._dtype, "fortran_order": False, "shape": (self._length,)}
        np.lib.format.write_array_header_1_0(self._file, description)
        return self._file.tell()


def _mapped(path: Path) -> npt.NDArray[Any]:
    """Return the array in a file, mapped; as a plain array, since each view of a memmap costs microseconds."""
    return np.load(path, mmap_mode="r", allow_pickle=False).view(np.ndarray)
