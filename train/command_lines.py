"""The command lines that repeat a training run, from what its checkpoint says of it."""

import json
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from .finetune_settings import FinetuneSettings
from .selfdistill.run import RESULT
from .selfdistill.settings import PretrainSettings
from .settings import from_table, preset_names, read_preset, to_table
from .trees import TreeSettings
from .tutor import RESULT as TUTOR

_TOML_WORDS = ("true", "false", "inf", "nan")  # what would not be taken for text without quotation marks


def preset_options(command: str, settings: Any) -> list[str]:
    """Return `--preset` and `--set` options with which `command` has exactly `settings`.

    command: `finetune`, `pretrain`, `trees` or `distill`; settings: the dataclass of its settings. The preset is the
    one from which fewest settings differ, the first by name of several.
    """
    wanted = to_table(settings)
    found = {
        name: list(_differences(to_table(read_preset(type(settings), command, name)), wanted))
        for name in preset_names(command)
    }
    name = min(found, key=lambda preset: len(found[preset]))
    return ["--preset", name, *(word for assignment in found[name] for word in ("--set", assignment))]


INIT = f"PRETRAINED/{RESULT}"
"""Where the command lines have the pretrained branches."""


TUTOR_FILE = f"TUTOR/{TUTOR}"
"""Where the command lines have the tutor."""


def training_commands(
    settings: FinetuneSettings,
    init: Mapping[str, Any] | None,
    tutor: Mapping[str, Any] | None = None,
    out: str = "RUN",
) -> list[str]:
    """Return the shell lines that train such a network: `pretrain` and `trees` where it learned by them, `finetune`.

    init, tutor: of `Trained`; out: what the folder of the run is called there. Raises SettingsError where the
    pretraining or the tutor was of another version's settings.
    """
    finetune = ["ecg-edge", "finetune", "--data", "DIR", *preset_options("finetune", settings)]
    return [*helping_commands(init, tutor), shlex.join([*finetune, *helping_options(init, tutor), "--out", out])]


def helping_commands(init: Mapping[str, Any] | None, tutor: Mapping[str, Any] | None) -> list[str]:
    """Return the shell lines that come before a training; raises as `training_commands` does."""
    lines = [] if init is None else [pretraining_command(init)]
    if tutor is not None:
        settings = from_table(TreeSettings, tutor["settings"])
        options = preset_options("trees", settings)
        lines.append(shlex.join(["ecg-edge", "trees", "--data", "DIR", *options, "--out", "TUTOR"]))
    return lines


def helping_options(init: Mapping[str, Any] | None, tutor: Mapping[str, Any] | None) -> list[str]:
    """Return the options of a training that take what the lines before it have made."""
    return ([] if init is None else ["--init", INIT]) + ([] if tutor is None else ["--tutor", TUTOR_FILE])


def pretraining_command(init: Mapping[str, Any]) -> str:
    """Return the shell line of the pretraining that `Trained.init` tells of; raises as `training_commands` does."""
    before = from_table(PretrainSettings, init["settings"])
    return shlex.join(
        ["ecg-edge", "pretrain", "--data", "DIR", *preset_options("pretrain", before), "--out", "PRETRAINED"]
    )


def _differences(base: Mapping[str, Any], wanted: Mapping[str, Any], where: str = "") -> Iterator[str]:
    """Yield `a.b=value` for each value of `wanted` that `base` has otherwise."""
    for key, value in wanted.items():
        if isinstance(value, dict):
            yield from _differences(base[key], value, f"{where}{key}.")
        elif value != base[key]:
            yield f"{where}{key}={_as_toml(value)}"


def _as_toml(value: Any) -> str:
    """Return a value of `to_table` as `settings.override` reads it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(_quoted(item) if isinstance(item, str) else _as_toml(item) for item in value)}]"
    if isinstance(value, str):
        return value if value.isidentifier() and value not in _TOML_WORDS else _quoted(value)
    return repr(value)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
