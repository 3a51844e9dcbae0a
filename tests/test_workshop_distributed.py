"""Two processes that `torchrun` starts train as one with twice the batch does."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from intaglio.workshop import checkpoint
from intaglio.workshop.config import DataConfig
from intaglio.workshop.data import Batches
from small_runs import SMALL_PHOTO, make_pictures
from two_processes import TORCHRUN, start

STEPS = 9  # the last three of them in the last phase
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a handful of small pictures."""
    return make_pictures(tmp_path_factory.mktemp("pictures"))


def write_config(pictures: Path, folder: Path, **options: Any) -> Path:
    """A configuration whose run lies in `folder`."""
    train = {
        "out": str(folder / "run"),
        "minutes": 1.0,
        "stages": [[1.0, 64, 2]],
        "learning_rate": 2e-3,
        "warmup_steps": 5,
        "hard_from": 0.65,
        "precision": "32-true",
        "accelerator": "cpu",
        "log_steps": 2,
        "val_crop": 64,
        "val_rates": [90],
    } | options
    widths = "\n".join(f"{name} = {json.dumps(value)}" for name, value in SMALL_PHOTO.items())
    rows = "\n".join(f"{name} = {json.dumps(value)}" for name, value in train.items())
    folder.mkdir(parents=True)
    path = folder / "run.toml"
    data = json.dumps(str(pictures))
    path.write_text(f'[model]\nname = "photo"\n{widths}\n[data]\ntrain = {data}\nval = {data}\n[train]\n{rows}\n')
    return path


def worker(pictures: Path, folder: Path, processes: int, pause: int = 0) -> list[dict[str, torch.Tensor]]:
    """What each process has after STEPS steps of four crops in all; stopped and started again after `pause`."""
    config = write_config(pictures, folder, quantiser="straight-through")
    if pause:
        start(config, (STEPS, 0, pause), 4, processes)
    return start(config, (STEPS, pause, STEPS), 4, processes)


def differences(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> list[str]:
    assert a.keys() == b.keys()
    return [name for name in a if not torch.equal(a[name], b[name])]


@pytest.mark.slow
def test_two_processes_train_as_one_with_twice_the_batch(pictures: Path, tmp_path: Path) -> None:
    """Rounding draws no noise, so that only the order of sums differs."""
    (one,) = worker(pictures, tmp_path / "one", 1)
    first, second = worker(pictures, tmp_path / "two", 2)
    assert differences(first, second) == []
    assert first["losses"].numpy() == pytest.approx(one["losses"].numpy(), rel=1e-5)
    assert one["losses"].std() > 1.0
    moments = [name for name in one if name.endswith(".exp_avg")]
    a, b = (torch.cat([state[name].flatten() for name in moments]) for state in (first, one))
    assert float((a - b).norm()) < 5e-3 * float(b.norm())


@pytest.mark.slow
def test_two_processes_resume_as_if_they_had_not_stopped(pictures: Path, tmp_path: Path) -> None:
    whole = worker(pictures, tmp_path / "whole", 2)
    resumed = worker(pictures, tmp_path / "resumed", 2, pause=4)
    for a, b in zip(whole, resumed, strict=True):
        assert torch.equal(a.pop("losses")[4:], b.pop("losses"))
        assert differences(a, b) == []


@pytest.mark.slow
def test_torchrun_runs_the_command_line_and_resumes(pictures: Path, tmp_path: Path) -> None:
    config = write_config(pictures, tmp_path / "run", minutes=0.04)
    out = tmp_path / "run" / "run"
    command = [sys.executable, *TORCHRUN, "-m", "intaglio", "train", str(config)]
    printed = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True).stdout
    state, record = checkpoint.load(out)
    assert {"random", "random.1"} <= state.keys()
    assert not torch.equal(state["random"], state["random.1"])
    assert printed.count("validation at step") == 1  # by the first process alone
    rows = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(2, record["step"] + 1, 2))
    config.write_text(config.read_text().replace("minutes = 0.04", "minutes = 0.07"))
    subprocess.run([*command, "--resume"], capture_output=True, timeout=300, check=True)
    assert checkpoint.load(out)[1]["step"] > record["step"]
    assert checkpoint.load(out)[1]["seconds"] >= 60 * 0.07


@pytest.mark.slow
def test_two_processes_stop_at_the_same_step_when_their_time_is_over(pictures: Path, tmp_path: Path) -> None:
    config = write_config(pictures, tmp_path / "run", minutes=9.0)
    command = [sys.executable, *TORCHRUN, "-m", "intaglio", "train", str(config), "--stop-after", "0.02"]
    printed = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True).stdout
    state, record = checkpoint.load(tmp_path / "run" / "run")
    assert {"random", "random.1"} <= state.keys()
    assert printed.count(f"stopped after 0.02 minutes at step {record['step']},") == 1


@pytest.mark.parametrize("parts", [2, 3])
def test_the_parts_of_a_batch_are_the_batch_of_one_process(pictures: Path, parts: int) -> None:
    config = DataConfig(str(pictures))
    whole = Batches(config, 5)
    shares = [Batches(config, 5, (rank, parts)) for rank in range(parts)]
    for number in range(4):
        wanted = whole.batch(number, 64, 2 * parts)
        assert torch.equal(torch.cat([share.batch(number, 64, 2) for share in shares]), wanted)
        assert len(np.unique(wanted.numpy().reshape(2 * parts, -1), axis=0)) > 1
