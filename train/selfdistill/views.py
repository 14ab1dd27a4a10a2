"""The views of each record that student and teacher compare: some long, some short, each disturbed in its own way."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ecg_edge.runtime.contract import Contract

from ..augment.augmenter import Augmenter, Draw
from .settings import PretrainSettings, ViewSettings


@dataclass(frozen=True)
class Views:
    """Views of one kind of some records."""

    signal: npt.NDArray[np.int16]
    """(views * N, leads, samples), view after view."""
    spectrogram: npt.NDArray[np.generic]
    """(views * N, leads, bins, frames), as the network takes it."""


@dataclass(frozen=True)
class ViewBatch:
    """What one step takes."""

    long: Views
    """Global views."""
    short: Views | None
    """Local views; None where there are none."""
    records: int
    """Records of the whole step, over all ranks."""


class ViewMaker:
    """Draws and renders views."""

    def __init__(self, settings: PretrainSettings, contract: Contract, long: Augmenter, short: Augmenter) -> None:
        """Take one augmenter for each kind of view, both over the same store."""
        self._settings, self._contract = settings, contract
        self._makers = ((settings.global_views, long), (settings.local_views, short))

    def batch(
        self, records: npt.NDArray[np.integer], rng: np.random.Generator, rows: npt.NDArray[np.integer]
    ) -> ViewBatch:
        """Return the views of some rows of a step over `records`."""
        long, short = (self._views(views, maker, records, rng, rows) for views, maker in self._makers)
        assert long is not None
        return ViewBatch(long, short, len(records))

    def samples(self, views: ViewSettings, rng: np.random.Generator) -> int:
        """Return the length of a batch's views of one kind, within their range.

        A multiple of the STFT's hop for the edge network, whose spectrograms are cut out of the stored ones.
        """
        c, low_high = self._contract, views.fraction
        longest = self._settings.window_seconds * c.rate
        if self._settings.network.backbone == "paper":
            least, most = (max(1, round(f * longest)) for f in low_high)
            return int(rng.integers(least, most, endpoint=True))
        least, most = (max(1, round(f * longest / c.stft_hop)) for f in low_high)
        shortest = -(-c.stft_length // c.stft_hop)  # one frame
        return max(shortest, int(rng.integers(least, max(least, most), endpoint=True))) * c.stft_hop

    def _views(
        self,
        views: ViewSettings,
        maker: Augmenter,
        records: npt.NDArray[np.integer],
        rng: np.random.Generator,
        rows: npt.NDArray[np.integer],
    ) -> Views | None:
        if not views.count:
            return None
        samples = self.samples(views, rng)
        draws: list[Draw] = [maker.draw(records, rng, samples) for _ in range(views.count)]
        batches = [maker.render(draw, rows) for draw in draws]
        return Views(np.concatenate([b.signal for b in batches]), np.concatenate([b.spectrogram for b in batches]))
