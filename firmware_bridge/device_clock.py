"""A device's clock by the host's, packet by packet: `clock_fit`'s line, kept up over months in little memory.

Of each stretch of device time only the promptest packet is kept. The stretches grow as the observation does, up to a
window of about an hour: a longer one would average over the temperature that a crystal follows.
"""

from dataclasses import dataclass

import numpy as np

from . import clock_fit

FIRST_STRETCH_S = 1.0
LONGEST_STRETCH_S = 32.0
POINTS = 128  # promptest packets kept: 128 stretches of 32 s are 68 minutes
FEWEST_POINTS = 8  # below, jitter is most of the slope, and the line takes the slope known before
TOLD_SPAN_S = 60.0  # a drift over less is not told: 1 ms of jitter over it is 17 ppm
EARLY_S = 1.0  # no packet can be so much before the line unless a clock has jumped, as when the host has slept
LARGEST_DRIFT_PPM = 50_000.0
"""RC oscillators are off by 1 %. Five times that is no clock but a recording that is played faster than time."""


@dataclass(frozen=True)
class ClockReading:
    """How a device's clock goes; see clock_fit.ClockFit."""

    drift_ppm: float
    """How much faster than the host's it goes, in parts per million; negative when it is slow."""
    uncertainty_ppm: float
    """Roughly how far that may be off."""


class DeviceClock:
    """Maps device time to the host's monotonic time."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self.reading: ClockReading | None = None
        """The drift, as of the latest TOLD_SPAN_S or more; stays known over a restart of the device."""
        self._slope = 0.0  # of (arrival - device) over device time
        self._steady = True  # it is a clock
        self.restart()

    def restart(self) -> None:
        """Begin another line, since device time begins anew; the drift is the same crystal's and stays."""
        self._device: list[float] = []
        self._arrival: list[float] = []
        self._stretch_s = FIRST_STRETCH_S
        self._number: int | None = None  # of the stretch under way
        self._promptest = (0.0, 0.0)  # of the stretch under way: device time, arrival
        self._at: tuple[float, float] | None = None  # a point of the line: device time, arrival

    def add(self, device_s: float, arrival_s: float) -> float:
        """Take a packet that was complete at `device_s` and arrived at `arrival_s`; return when the host had it so.

        That is the arrival of a packet with the least delay there is, in the host's seconds, and never after
        `arrival_s`. Device time may go down by a little, as from a sender that reads its clock late.
        """
        if self._at is not None and arrival_s < self._line(device_s) - EARLY_S:
            self.restart()
        number = int(device_s // self._stretch_s)
        if self._number is None or number > self._number:
            if self._number is not None:
                self._close()
                number = int(device_s // self._stretch_s)  # closing may have made stretches longer
            self._number, self._promptest = number, (device_s, arrival_s)
        elif number == self._number and arrival_s - device_s < self._promptest[1] - self._promptest[0]:
            self._promptest = device_s, arrival_s
        if self._at is None or arrival_s < self._line(device_s):
            self._at = device_s, arrival_s
        return min(arrival_s, self._line(device_s)) if self._steady else arrival_s

    def _line(self, device_s: float) -> float:
        assert self._at is not None
        device, arrival = self._at
        return arrival + (device_s - device) * (1 + self._slope)

    def _close(self) -> None:
        """Keep the promptest packet of the stretch that has ended, and fit the line anew."""
        self._device.append(self._promptest[0])
        self._arrival.append(self._promptest[1])
        if len(self._device) > POINTS:
            if self._stretch_s < LONGEST_STRETCH_S:
                self._stretch_s *= 2
                self._merge()
            else:
                del self._device[0], self._arrival[0]
        if len(self._device) < FEWEST_POINTS:
            return
        device, arrival = np.array(self._device), np.array(self._arrival)
        found = clock_fit.fit(device, arrival)
        self._steady = found is not None and abs(found.drift_ppm) <= LARGEST_DRIFT_PPM
        if found is None or not self._steady:
            self.reading = None
            return
        drift = found.drift_ppm * 1e-6
        self._slope = -drift / (1 + drift)
        self._at = self._device[-1], float(arrival[-1] - found.delays[-1])
        if device[-1] - device[0] >= TOLD_SPAN_S:
            self.reading = ClockReading(found.drift_ppm, found.uncertainty_ppm)

    def _merge(self) -> None:
        """Keep one packet of each of the longer stretches."""
        kept: dict[int, int] = {}  # stretch -> index of its promptest packet
        for k, device in enumerate(self._device):
            number = int(device // self._stretch_s)
            best = kept.setdefault(number, k)
            if self._arrival[k] - device < self._arrival[best] - self._device[best]:
                kept[number] = k
        self._device = [self._device[k] for k in kept.values()]
        self._arrival = [self._arrival[k] for k in kept.values()]
