"""How irregular beats are: intervals worked by hand, and the rhythms that the figure has to tell apart."""

import numpy as np
import pytest

from ecg_edge.firmware_bridge.heart import Episode, simulate
from ecg_edge.runtime.bundle import load
from ecg_edge.runtime.engine import Engine
from ecg_edge.runtime.events import Alert, Event
from ecg_edge.runtime.policy import load_policy
from ecg_edge.runtime.rhythm.regularity import irregularity
from ecg_edge.runtime.sources.items import format_of


def beats(intervals: list[float], ventricular: tuple[int, ...] = ()) -> list[tuple[float, bool]]:
    """Return beats at the ends of the intervals, newest first; those at the places `ventricular` are so."""
    times = np.cumsum([0.0, *intervals])
    return [(float(t), k in ventricular) for k, t in enumerate(times)][::-1]


def test_nine_intervals_are_needed():
    assert irregularity(beats([1.0] * 8)) is None
    assert irregularity(beats([1.0] * 9)) == 0.0
    assert irregularity([]) is None


def test_the_median_of_the_differences_over_that_of_the_intervals():
    # Differences .1 .2 .1 .2 .1 .2 .1 .2 .1, their median .1; of the intervals 1.0.
    intervals = [1.0, 0.9, 1.1, 1.0, 1.2, 1.1, 0.9, 1.0, 0.8, 0.9]
    assert irregularity(beats(intervals)) == pytest.approx(0.1)


def test_early_beats_in_sinus_rhythm_do_not_make_it_irregular():
    intervals = [1.0] * 30
    for k in (5, 14, 23):  # an early beat and its pause
        intervals[k : k + 2] = [0.6, 1.4]
    assert irregularity(beats(intervals)) == pytest.approx(0.0)


def test_bigeminy_of_ventricular_beats_says_nothing_and_that_of_others_is_irregular():
    pairs = [0.6, 1.4] * 10
    assert irregularity(beats(pairs, tuple(range(1, 21, 2)))) is None
    assert irregularity(beats(pairs)) == pytest.approx(0.8)


def test_what_is_long_ago_does_not_count():
    assert irregularity(beats([0.7, 1.3] * 20 + [1.0] * 30)) == pytest.approx(0.0)


class Sure:
    """A model that takes everything for everything."""

    name = "none"

    def logits(self, signal: np.ndarray, spectrogram: np.ndarray) -> np.ndarray:
        return np.full(3, 3.0, dtype=np.float32)


@pytest.fixture(scope="module")
def bundle(tiny_bundle, tmp_path_factory):
    return load(tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny"))


def alerts_of_the_model(bundle, episodes: list[Episode], rules: bool = True) -> list[str]:
    simulated = simulate(episodes, rate=250, leads=("II",), seed=3)
    engine = Engine(bundle, Sure(), load_policy(), format_of(simulated.recording), rules=rules)
    events: list[Event] = engine.push(simulated.recording.counts) + engine.finish()
    return [
        f"{e.phase} {e.label}" for e in events if isinstance(e, Alert) and e.kind == "model" and e.phase != "update"
    ]


def test_fibrillation_of_the_atria_is_not_believed_while_beats_are_regular(bundle):
    sinus, fibrillation = Episode("sinus rhythm", 60), Episode("atrial fibrillation", 60)
    assert "new AF" not in alerts_of_the_model(bundle, [sinus])
    assert "new AF" in alerts_of_the_model(bundle, [sinus], rules=False), "nobody knows of beats without the rules"
    assert "new AF" in alerts_of_the_model(bundle, [fibrillation])
    both = alerts_of_the_model(bundle, [fibrillation, sinus])
    assert both.index("new AF") < both.index("end AF")
