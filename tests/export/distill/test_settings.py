"""Settings of a distillation that no run can follow, and the presets."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from ecg_edge.export.distill.settings import DistillSettings  # noqa: E402
from ecg_edge.train.command_lines import preset_options  # noqa: E402
from ecg_edge.train.networks.model import NetworkSettings  # noqa: E402
from ecg_edge.train.settings import SettingsError, from_table, preset_names, read_preset, to_table  # noqa: E402


@pytest.mark.parametrize("name", preset_names("distill"))
def test_presets_can_be_followed_and_survive_their_table(name: str) -> None:
    settings = read_preset(DistillSettings, "distill", name)
    settings.check()
    assert from_table(DistillSettings, to_table(settings)) == settings
    assert not {*settings.student.train_folds, 9} & set(settings.student.valid_folds)
    assert preset_options("distill", settings) == ["--preset", name]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"gate_weight": -1.0}, "gate_weight = -1.0: must not be negative"),
        ({"logit_weight": 0.0, "feature_weight": 0.0}, "nothing to learn from the teachers"),
        ({"student": {"epochs": 0}}, "epochs = 0"),
        ({"student": {"network": NetworkSettings(0.1, backbone="paper")}}, "only edge runs on devices"),
    ],
)
def test_values_that_no_run_can_follow_are_named(
    taught: Callable[..., Any], change: dict[str, Any], complaint: str
) -> None:
    settings = taught()
    if "student" in change:
        change = {"student": replace(settings.student, **change["student"])}
    with pytest.raises(SettingsError, match=complaint):
        replace(settings, **change).check()
