"""The commands told of a run make its settings again, exactly."""

import argparse
import shlex
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from ecg_edge.train.command_lines import preset_options, training_commands  # noqa: E402
from ecg_edge.train.commands import finetune, pretrain  # noqa: E402
from ecg_edge.train.commands.runs import settings_of  # noqa: E402
from ecg_edge.train.finetune_settings import FinetuneSettings  # noqa: E402
from ecg_edge.train.selfdistill.settings import PretrainSettings  # noqa: E402
from ecg_edge.train.settings import SettingsError, preset_names, read_preset, to_table  # noqa: E402

FINETUNE = read_preset(FinetuneSettings, "finetune", "edge")
PRETRAIN = read_preset(PretrainSettings, "pretrain", "edge")


def parsed(command: Any, words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    command.add_arguments(parser)
    return parser.parse_args(words)


def made_again(command: Any, kind: type, line: str) -> tuple[Any, argparse.Namespace]:
    """Return the settings that a shell line gives to its command, and the rest of its options."""
    program, name, *words = shlex.split(line)
    assert program == "ecg-edge"
    args = parsed(command, words)
    return settings_of(kind, name, args), args


@pytest.mark.parametrize(
    ("command", "kind"),
    [("finetune", FinetuneSettings), ("pretrain", PretrainSettings)],
)
def test_a_preset_is_told_by_its_name_alone(command: str, kind: type) -> None:
    for name in preset_names(command):
        assert preset_options(command, read_preset(kind, command, name)) == ["--preset", name]


def test_differences_are_told_by_name() -> None:
    other = replace(
        FINETUNE,
        seed=3,
        frozen=True,
        tasks=("superclass",),
        network=replace(FINETUNE.network, fusion="concat"),
        augment=replace(FINETUNE.augment, noise_snr_db=(0.0, 1e-7)),
    )
    assert preset_options("finetune", other) == [
        "--preset",
        "edge",
        "--set",
        "seed=3",
        "--set",
        'tasks=["superclass"]',
        "--set",
        "network.fusion=concat",
        "--set",
        "augment.noise_snr_db=[0.0, 1e-07]",
        "--set",
        "frozen=true",
    ]


@given(
    rate=st.floats(1e-300, 1e300),
    folds=st.lists(st.integers(1, 10), unique=True),
    word=st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=8),
    whole=st.booleans(),
    count=st.integers(-(2**40), 2**40),
)
def test_any_settings_come_back(rate: float, folds: list[int], word: str, whole: bool, count: int) -> None:
    settings = replace(
        FINETUNE,
        seed=count,
        learning_rate=rate,
        valid_folds=tuple(folds),
        sources=(word, "true"),
        frozen=whole,
        precision=word,
        network=replace(FINETUNE.network, fusion=word, dropout=rate),
    )
    line = shlex.join(["ecg-edge", "finetune", "--data", "DIR", "--out", "RUN", *preset_options("finetune", settings)])
    assert made_again(finetune, FinetuneSettings, line)[0] == settings


@pytest.mark.parametrize("word", ["true", "false", "inf", "nan", "1", "1e3", "1979-05-27", " edge ", "[]", ""])
def test_text_that_looks_like_another_value_stays_text(word: str) -> None:
    settings = replace(FINETUNE, precision=word)
    line = shlex.join(["ecg-edge", "finetune", "--data", "DIR", "--out", "RUN", *preset_options("finetune", settings)])
    assert made_again(finetune, FinetuneSettings, line)[0] == settings


SETTINGS = replace(FINETUNE, epochs=7)


def test_a_run_from_random_weights_is_one_command() -> None:
    (line,) = training_commands(SETTINGS, None)
    settings, args = made_again(finetune, FinetuneSettings, line)
    assert settings == replace(FINETUNE, epochs=7)
    assert args.init is None


def test_a_run_from_pretrained_branches_is_two() -> None:
    before = replace(PRETRAIN, local_views=replace(PRETRAIN.local_views, count=2), folds=(1, 2))
    init = {"file": "pretrained.pt", "sha256": "0" * 64, "epochs": 60, "settings": to_table(before)}
    first, second = training_commands(SETTINGS, init)
    settings, args = made_again(pretrain, PretrainSettings, first)
    assert settings == before
    settings, after = made_again(finetune, FinetuneSettings, second)
    assert settings == replace(FINETUNE, epochs=7)
    assert after.init == args.out / "pretrained.pt"


def test_pretraining_settings_of_another_version_are_refused() -> None:
    init = {"file": "p.pt", "sha256": "0", "epochs": 1, "settings": to_table(PRETRAIN) | {"typo": 1}}
    with pytest.raises(SettingsError, match="typo"):
        training_commands(SETTINGS, init)
