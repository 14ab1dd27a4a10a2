"""Two processes: the loss curve of one with the same global batch, and batch norm over all of it."""

import csv
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from ecg_edge.runtime.cli.main import main  # noqa: E402
from ecg_edge.train.distributed import DeviceError, World, join, share_batch_norm  # noqa: E402
from ecg_edge.train.loop import LOG  # noqa: E402
from ecg_edge.train.settings import SettingsError  # noqa: E402

# Relative, between the losses of one and of two ranks in float32: what another order of summation comes to after the
# few steps of these runs. Measured in fine-tuning: 3e-6.
TOLERANCE = 1e-4


def two_ranks(words: list[str]) -> None:
    """Run `python WORDS` in two processes that know of each other; fails with what they said."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *words]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=540)
    assert done.returncode == 0, done.stderr[-3000:]


def losses(folder: Path) -> dict[str, list[float]]:
    with (folder / LOG).open(newline="") as file:
        rows = list(csv.DictReader(file))
    names = [name for name in rows[0] if name.startswith(("loss", "contrast"))]
    return {name: [float(row[name]) for row in rows] for name in names}


# A smaller rate with contrast: by a larger one, the order of summation alone has moved the second epoch's loss by 0.4 %
# on a processor with AMX.
@pytest.mark.parametrize(
    ("command", "change"),
    [
        ("finetune", {"contrast_weight": 0.0}),
        ("finetune", {"contrast_weight": 0.3, "learning_rate": 0.002}),
        ("pretrain", {}),
    ],
)
def test_two_ranks_follow_the_curve_of_one(
    command_line: Callable[..., list[str]],
    tiny: Callable[..., Any],
    tiny_pretraining: Callable[..., Any],
    tmp_path: Path,
    command: str,
    change: dict[str, Any],
) -> None:
    settings = (tiny if command == "finetune" else tiny_pretraining)(**change)
    assert main(command_line(command, settings, tmp_path / "one")) == 0
    two_ranks(["-m", "ecg_edge.train", *command_line(command, settings, tmp_path / "two")])
    one, two = losses(tmp_path / "one"), losses(tmp_path / "two")
    assert one.keys() == two.keys()
    assert ("contrast" in one) == (change.get("contrast_weight", 0) > 0)
    for name in one:
        np.testing.assert_allclose(two[name], one[name], rtol=TOLERANCE, err_msg=name)


_NORM = """
import sys
import torch
from torch import nn
from ecg_edge.train.distributed import join, leave, share_batch_norm

world = join("cpu")
given = torch.load(sys.argv[1], weights_only=True)
norm = nn.Sequential(nn.BatchNorm2d(3))
norm.load_state_dict(given["state"])
shared = share_batch_norm(norm, world)
rows = torch.from_numpy(world.rows(len(given["x"])))
x = given["x"][rows].requires_grad_()
y = shared(x)
(y * given["weights"][rows]).sum().backward()
gradients = [world.sum(p.grad) for p in shared.parameters()]
whole = world.gather(y.detach(), len(given["x"])), world.gather(x.grad, len(given["x"]))
if world.first:
    found = {"y": whole[0], "x": whole[1], "weight": gradients[0], "bias": gradients[1], "state": shared.state_dict()}
    torch.save(found, sys.argv[2])
leave(world)
"""


def test_shared_batch_norm_is_batch_norm_over_the_whole_batch(tmp_path: Path) -> None:
    torch.manual_seed(0)
    norm = torch.nn.Sequential(torch.nn.BatchNorm2d(3))
    norm[0].weight.data.uniform_(0.5, 2)
    x = (3 * torch.randn(7, 3, 4, 5) + 1).requires_grad_()  # four rows for one rank, three for the other
    weights = torch.randn(7, 3, 4, 5)
    torch.save({"state": norm.state_dict(), "x": x.detach(), "weights": weights}, tmp_path / "given.pt")
    script = tmp_path / "norm.py"
    script.write_text(_NORM)
    two_ranks([str(script), str(tmp_path / "given.pt"), str(tmp_path / "found.pt")])
    found = torch.load(tmp_path / "found.pt", weights_only=True)
    y = norm(x)
    (y * weights).sum().backward()
    expected = {"y": y.detach(), "x": x.grad, "weight": norm[0].weight.grad, "bias": norm[0].bias.grad}
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-5, msg=name)
    for name, value in norm.state_dict().items():
        torch.testing.assert_close(found["state"][name], value, msg=name)


@pytest.mark.parametrize("n", [1, 2, 7, 64])
@pytest.mark.parametrize("size", [1, 2, 3])
def test_the_ranks_rows_cover_a_batch(n: int, size: int) -> None:
    parts = [World(rank, size).rows(n) for rank in range(size)]
    assert np.concatenate(parts).tolist() == list(range(n))
    assert np.ptp([len(part) for part in parts]) <= 1


def test_a_world_of_one_changes_nothing() -> None:
    world = World()
    module = torch.nn.Sequential(torch.nn.BatchNorm1d(2))
    assert share_batch_norm(module, world) is world.parallel(module) is module
    assert type(module[0]) is torch.nn.BatchNorm1d
    tensor = torch.ones(2)
    assert world.sum(tensor) is world.gather(tensor, 2) is tensor
    assert world.first


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_named() -> None:
    with pytest.raises(DeviceError, match="--device cpu"):
        join("cuda")


def test_batches_too_small_for_the_ranks_are_refused() -> None:
    World(size=1).check_batches(1, 8)
    World(size=2).check_batches(8, 4)
    with pytest.raises(SettingsError, match="too small for 2 ranks with accumulate = 4"):
        World(size=2).check_batches(7, 4)
