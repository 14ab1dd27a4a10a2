"""Training: schedule, loss, reproducible runs, resuming, and one tiny run that learns."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from ecg_edge.runtime.contract import Contract  # noqa: E402
from ecg_edge.train import checkpoint, finetune  # noqa: E402
from ecg_edge.train.finetune import (  # noqa: E402
    BEST,
    LAST,
    LOG,
    ResumeError,
    Run,
    one_cycle,
    predict_logits,
    rare_weights,
    trained_network,
    training_labels,
    weighted_bce,
    whole_windows,
)
from ecg_edge.train.labels import CODES  # noqa: E402
from ecg_edge.train.records.entry import RecordEntry  # noqa: E402
from ecg_edge.train.settings import FinetuneSettings, SettingsError, preset_options, read_settings  # noqa: E402
from ecg_edge.train.store import RecordStore  # noqa: E402

CONTRACT = Contract()
EDGE = read_settings("edge")
AF, BRADY = CODES.index("164889003"), CODES.index("426627000")
TINY = replace(
    EDGE,
    epochs=4,
    batch_size=16,
    learning_rate=0.01,
    average_decay=0.8,
    network=replace(
        EDGE.network,
        time_stem=8,
        time_widths=(8, 8),
        spectrogram_stem=8,
        spectrogram_widths=(8,),
    ),
    augment=replace(EDGE.augment, mixup_probability=0.2, lead_set_probability=0.0),
)


def made_store(count: int, seed: int) -> RecordStore:
    """Return records of which every second one has fast waves, labelled as atrial fibrillation."""
    rng = np.random.default_rng(seed)
    time = np.arange(CONTRACT.window) / CONTRACT.rate
    signals, entries = [], []
    for k in range(count):
        hz = rng.uniform(5, 8) if k % 2 else rng.uniform(1, 2)
        wave = 300 * np.sin(2 * np.pi * (hz * time + rng.random((12, 1)))) + rng.normal(0, 30, (12, len(time)))
        signals.append(wave.astype(np.int16))
        codes = frozenset({CODES[AF]}) if k % 2 else frozenset()
        entries.append(RecordEntry(Path(f"{seed}-{k}"), "ptbxl", f"{seed}-{k}", None, 1, codes))
    flat = np.concatenate([s.ravel() for s in signals])
    return RecordStore(tuple(entries), (), Path(), flat, np.arange(count + 1) * signals[0].size, 12)


@pytest.fixture(scope="module")
def stores() -> tuple[RecordStore, RecordStore]:
    return made_store(64, 0), made_store(32, 1)


@pytest.fixture(scope="module")
def whole(stores: tuple[RecordStore, RecordStore], tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Path]:
    """An uninterrupted run."""
    folder = tmp_path_factory.mktemp("whole")
    return finetune.finetune(TINY, CONTRACT, *stores, folder), folder


def test_it_learns(whole: tuple[Run, Path], stores: tuple[RecordStore, RecordStore]) -> None:
    run, folder = whole
    assert max(line["valid_macro_auroc"] for line in run.history) > 0.95
    assert run.history[-1]["loss"] < 0.75 * run.history[0]["loss"]
    best = checkpoint.load(folder / BEST)
    network = trained_network(best)
    windows = whole_windows(stores[1], CONTRACT)
    logits = predict_logits(network, windows)
    score = finetune.macro_auroc(windows.labels, logits)
    assert score == run.history[run.best]["valid_macro_auroc"]
    assert len(best["history"]) == run.best + 1


def test_log_has_a_line_an_epoch(whole: tuple[Run, Path]) -> None:
    run, folder = whole
    with (folder / LOG).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["epoch"]) for row in rows] == [1, 2, 3, 4]
    assert [float(row["loss"]) for row in rows] == [line["loss"] for line in run.history]


def test_a_killed_and_resumed_run_ends_where_an_uninterrupted_one_does(
    whole: tuple[Run, Path],
    stores: tuple[RecordStore, RecordStore],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    steps = 0
    step = Run._step

    def killed(self: Run, batch: object, number: int) -> float:
        nonlocal steps
        steps += 1
        if steps == 10:  # in the third epoch of four steps
            raise KeyboardInterrupt
        return step(self, batch, number)  # type: ignore[arg-type]

    monkeypatch.setattr(Run, "_step", killed)
    with pytest.raises(KeyboardInterrupt):
        finetune.finetune(TINY, CONTRACT, *stores, tmp_path)
    assert len(checkpoint.load(tmp_path / LAST)["history"]) == 2
    resumed = finetune.finetune(TINY, CONTRACT, *stores, tmp_path, resume=True)
    run, folder = whole
    assert resumed.history == run.history
    for name, value in run.average.state.items():
        assert torch.equal(value, resumed.average.state[name]), name
    assert (folder / LOG).read_text() == (tmp_path / LOG).read_text()


def test_another_seed_gives_another_run(whole: tuple[Run, Path], stores: tuple[RecordStore, RecordStore]) -> None:
    other = Run(replace(TINY, seed=1), CONTRACT, *stores)
    other.epoch()
    assert other.history[0]["loss"] != whole[0].history[0]["loss"]


def test_a_run_is_not_written_over_nor_resumed_with_other_settings(
    whole: tuple[Run, Path], stores: tuple[RecordStore, RecordStore]
) -> None:
    with pytest.raises(ResumeError, match="--resume"):
        finetune.finetune(TINY, CONTRACT, *stores, whole[1])
    with pytest.raises(ResumeError, match="other settings"):
        finetune.finetune(replace(TINY, learning_rate=0.1), CONTRACT, *stores, whole[1], resume=True)


def test_schedule_rises_then_falls_to_nearly_zero() -> None:
    rates = one_cycle(EDGE, 1000)
    top = int(rates.argmax())
    assert len(rates) == 1000
    assert rates[0] == pytest.approx(EDGE.learning_rate / 25)
    assert rates[top] == pytest.approx(EDGE.learning_rate)
    assert top == round(EDGE.warmup_fraction * 1000)
    assert (np.diff(rates[:top]) > 0).all()
    assert (np.diff(rates[top:]) < 0).all()
    assert rates[-1] < 1e-4 * EDGE.learning_rate
    assert len(one_cycle(EDGE, 1)) == 1


def test_loss_is_the_binary_cross_entropy_over_what_counts() -> None:
    torch.manual_seed(0)
    logits, targets = torch.randn(6, 3), torch.rand(6, 3)
    counted = (torch.rand(6, 3) > 0.4).float()
    p = torch.sigmoid(logits)
    weights = torch.tensor([1.0, 2.0, 5.0])
    each = -(weights * targets * p.log() + (1 - targets) * (1 - p).log())
    expected = (each * counted).sum() / counted.sum()
    torch.testing.assert_close(weighted_bce(logits, targets, counted, weights), expected)


def test_rare_classes_weigh_more_up_to_a_limit() -> None:
    labels = np.zeros((1000, 3), dtype=np.bool_)
    labels[:500, 0] = labels[:10, 1] = labels[:1, 2] = True
    assert rare_weights(replace(EDGE, rare_power=0.0), labels).tolist() == [1, 1, 1]
    weights = rare_weights(replace(EDGE, rare_power=0.5, rare_limit=20.0), labels)
    np.testing.assert_allclose(weights, [1, 99**0.5, 20], rtol=1e-6)


def test_classes_that_a_small_source_never_names_do_not_count_there() -> None:
    def entry(k: int, source: str, code: str) -> RecordEntry:
        return RecordEntry(Path(f"{source}{k}"), source, f"{source}{k}", None, None, frozenset({code}))

    entries = [entry(k, "small", CODES[AF]) for k in range(5)] + [entry(k, "large", CODES[AF]) for k in range(600)]
    labels, counted = training_labels(entries)
    assert labels[:, AF].all()
    assert counted[:, AF].all()
    assert not counted[:5, BRADY].any()
    assert counted[5:].all()


def test_ectopics_are_a_pvc_in_training() -> None:
    entry = RecordEntry(Path("r"), "ptbxl", "p", None, 1, frozenset(), frozenset({"164884008"}))
    labels, _ = training_labels([entry])
    assert [CODES[k] for k in np.flatnonzero(labels[0])] == ["427172004"]


def test_settings_survive_their_dictionary() -> None:
    assert FinetuneSettings.from_dict(EDGE.to_dict()) == EDGE


def test_options_of_a_preset_are_found_again() -> None:
    assert preset_options(EDGE) == ["--preset", "edge"]
    assert preset_options(replace(EDGE, seed=3)) == ["--preset", "edge", "--seed", "3"]
    assert preset_options(TINY) == []


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"epoch": 3}, "unknown setting epoch"),
        ({"epochs": "many"}, "epochs"),
        ({"epochs": 0}, "epochs"),
        ({"epochs": True}, "epochs"),
        ({"average_decay": 1.5}, "average_decay"),
        ({"train_folds": [1, "2"]}, "train_folds"),
        ({"network": {}}, r"missing setting network\."),
        ({"network": EDGE.to_dict()["network"] | {"time_stem": 12}}, "multiples of 8"),
        ({"augment": {"typo": 1}}, r"unknown setting augment\.typo"),
    ],
)
def test_wrong_settings_are_named(change: dict[str, object], complaint: str) -> None:
    with pytest.raises(SettingsError, match=complaint):
        FinetuneSettings.from_dict(EDGE.to_dict() | change)


def test_unknown_preset_names_those_there_are() -> None:
    with pytest.raises(SettingsError, match="edge"):
        read_settings("no-such-preset")


def test_validation_is_not_trained_on() -> None:
    assert not set(EDGE.train_folds) & set(EDGE.valid_folds)
    assert 9 not in (*EDGE.train_folds, *EDGE.valid_folds)
