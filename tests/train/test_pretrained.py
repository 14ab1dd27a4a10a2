"""Pretrained branches: what loading changes, what does not fit, what must not have been seen, what stays frozen."""

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from ecg_edge.runtime.contract import Contract  # noqa: E402
from ecg_edge.train import checkpoint  # noqa: E402
from ecg_edge.train.checkpoint import CheckpointError  # noqa: E402
from ecg_edge.train.distributed import World  # noqa: E402
from ecg_edge.train.finetune import FinetuneRun  # noqa: E402
from ecg_edge.train.networks.model import FusionNet  # noqa: E402
from ecg_edge.train.pretrained import Pretrained, PretrainedError, read_pretrained  # noqa: E402
from ecg_edge.train.selfdistill.pretrain import prepare  # noqa: E402
from ecg_edge.train.selfdistill.run import PretrainRun  # noqa: E402

CONTRACT = Contract()


@pytest.fixture(scope="module")
def sides(made_store: Callable[..., Any], made_waves: Callable[..., Any]) -> tuple[Any, Any]:
    return made_store(made_waves(24, 0)), made_store(made_waves(16, 1), 4, "v")


@pytest.fixture(scope="module")
def run(sides: tuple[Any, Any], tiny_pretraining: Callable[..., Any]) -> PretrainRun:
    """Two steps of self-distillation."""
    job = prepare(tiny_pretraining(), CONTRACT, sides[0], {}, World())
    for number, batch in enumerate(job.batches(0, 0)):
        job.step(batch, number)
    return job


@pytest.fixture
def path(run: PretrainRun, tmp_path: Path) -> Path:
    checkpoint.save(tmp_path / "pretrained.pt", run.result([{"epoch": 1}]))
    return tmp_path / "pretrained.pt"


@pytest.fixture
def init(path: Path) -> Pretrained:
    return read_pretrained(path, CONTRACT)


def test_loading_changes_every_weight_of_both_branches_to_the_teachers(
    run: PretrainRun, init: Pretrained, tiny: Callable[..., Any]
) -> None:
    torch.manual_seed(9)
    network = FusionNet(tiny().network, 12, 24)
    before = copy.deepcopy(network.state_dict())
    init.load_into(network)
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    convolutions = {name for name, value in before.items() if value.ndim == 4 and name.split(".")[0] != "head"}
    assert convolutions <= changed
    assert {name.split(".")[0] for name in changed} == {"time", "spectrogram"}
    for name in ("time", "spectrogram"):
        theirs = run.teacher.learners[name].branch.state_dict()
        assert all(torch.equal(value, theirs[key]) for key, value in getattr(network, name).state_dict().items())


def test_a_branch_alone_takes_its_own(init: Pretrained, tiny: Callable[..., Any]) -> None:
    network = FusionNet(replace(tiny().network, fusion="time"), 12, 24)
    init.load_into(network)
    assert network.time is not None
    assert all(torch.equal(v, init.branches["time"][k]) for k, v in network.time.state_dict().items())


def test_another_network_a_missing_branch_and_an_empty_one_are_errors(
    init: Pretrained, tiny: Callable[..., Any]
) -> None:
    with pytest.raises(PretrainedError, match=r"time branch is of another network .* pretrain with the same"):
        init.load_into(FusionNet(replace(tiny().network, time_widths=(8, 24)), 12, 24))
    with pytest.raises(PretrainedError, match="no spectrogram branch"):
        replace(init, branches={"time": init.branches["time"]}).load_into(FusionNet(tiny().network, 12, 24))
    network = FusionNet(tiny().network, 12, 24)
    init.load_into(network)
    with pytest.raises(PretrainedError, match="changed nothing"):
        init.load_into(network)


def test_another_contract_and_another_kind_are_errors(path: Path) -> None:
    with pytest.raises(PretrainedError, match="another signal contract"):
        read_pretrained(path, replace(CONTRACT, window_seconds=8))
    state = checkpoint.load(path)
    checkpoint.save(path, state | {"kind": "trained"})
    with pytest.raises(CheckpointError, match="pretrain"):
        read_pretrained(path, CONTRACT)


def test_a_validation_patient_that_was_seen_is_an_error(
    sides: tuple[Any, Any], init: Pretrained, tiny: Callable[..., Any]
) -> None:
    train, valid = sides
    FinetuneRun(tiny(), CONTRACT, train, valid, {}, init=init)
    with pytest.raises(PretrainedError, match="patients to be judged on, v3 among them"):
        FinetuneRun(tiny(), CONTRACT, train, valid, {}, init=replace(init, seen=init.seen | {"v3"}))


def test_facts_name_the_file_by_its_hash(init: Pretrained, path: Path) -> None:
    import hashlib

    assert init.facts["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (init.facts["file"], init.facts["epochs"]) == ("pretrained.pt", 1)


@pytest.mark.parametrize("pretrained", [True, False])
def test_frozen_branches_do_not_change_while_the_head_does(
    sides: tuple[Any, Any], init: Pretrained, tiny: Callable[..., Any], pretrained: bool
) -> None:
    job = FinetuneRun(tiny(frozen=True), CONTRACT, *sides, {}, init=init if pretrained else None)
    before = copy.deepcopy(job.network.state_dict())
    for number, batch in enumerate(job.batches(0, 0)):
        job.step(batch, number)
    for network in (job.network, job.average):
        for name, value in network.state_dict().items():
            branch = name.split(".")[0] in ("time", "spectrogram")
            assert torch.equal(value, before[name]) == branch, name


def test_random_frozen_branches_have_the_statistics_of_the_training_records(
    sides: tuple[Any, Any], tiny: Callable[..., Any]
) -> None:
    job = FinetuneRun(tiny(frozen=True), CONTRACT, *sides, {})
    time = job.network.time
    assert time is not None
    convolution, norm = time.stem
    train = sides[0]
    signal = np.stack([train.last_window(k, CONTRACT.window) for k in range(24)]) / 1000
    x = torch.from_numpy((signal / (1 + np.abs(signal)))[:, :, np.newaxis]).float()
    with torch.no_grad():
        y = convolution(x)
    torch.testing.assert_close(norm.running_mean, y.mean(dim=(0, 2, 3)), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(norm.running_var, y.var(dim=(0, 2, 3)), rtol=1e-3, atol=1e-4)
    assert norm.momentum == 0.1


def test_pretrained_branches_learn_at_their_part_of_the_rate(
    sides: tuple[Any, Any], init: Pretrained, tiny: Callable[..., Any]
) -> None:
    job = FinetuneRun(tiny(encoder_rate=0.0), CONTRACT, *sides, {}, init=init)
    before = copy.deepcopy(dict(job.network.named_parameters()))
    for number, batch in enumerate(job.batches(0, 0)):
        job.step(batch, number)
    for name, value in job.network.named_parameters():
        assert torch.equal(value, before[name]) == (name.split(".")[0] in ("time", "spectrogram")), name
