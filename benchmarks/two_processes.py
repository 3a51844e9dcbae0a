"""Two processes under `torchrun` against one with twice the batch: loss curves, step by step.

    python benchmarks/two_processes.py PICTURES OUT.png

trains a small `photo` model three times: in one process, in two, and in two that are stopped half way and started
again. `worker` is what each process runs, which the tests use too:

    python benchmarks/two_processes.py --worker CONFIG STEPS BEGIN END CROPS OUT

The learning rate goes by the share of STEPS, not by the clock, so that runs of any speed can be compared.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from matplotlib.figure import Figure

from intaglio.workshop import checkpoint, distributed
from intaglio.workshop.config import read_config
from intaglio.workshop.data import Batches
from intaglio.workshop.trainer import Trainer

TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
STEPS, CROPS, MEAN = 300, 8, 20
CONFIG = """
[model]
name = "photo"
latent = 64
analysis = [16, 32, 64]
synthesis = [48, 32, 16]
hyper = 24
side = 32
context = 32

[data]
train = {pictures!r}

[train]
out = {out!r}
lmbda = 0.01
stages = [[1.0, 128, 4]]
warmup_steps = 30
learning_rate = 4e-4
hard_from = 0.9
precision = "32-true"
accelerator = "cpu"
"""


def worker(config: str, span: tuple[int, int, int], crops: int, out: Path) -> None:
    """Takes the steps `span[1]` to `span[2]` of `span[0]` with `crops` in this process, and saves a checkpoint.

    From a checkpoint if they do not begin with 0. Leaves `RANK.pt` in `out`: weights, moments, and the mean loss over
    all processes of each step.
    """
    torch.set_num_threads(1)
    steps, begin, end = span
    trainer = Trainer(read_config(config))
    place = trainer.fabric.global_rank, trainer.fabric.world_size
    batches = Batches(trainer.config.data, trainer.options.seed, place)
    if begin:
        trainer.resume()
    else:
        trainer.start_from_pictures(batches)
    losses = []
    size = trainer.options.stages[0][1]
    for number in range(begin, end):
        trainer.seconds = 60.0 * trainer.options.minutes * number / steps
        loss = trainer.update(batches.batch(number, size, crops)).loss()
        losses += [distributed.sums(trainer.fabric, [float(loss.detach())])[0] / place[1]]
    trainer.save()
    state = trainer.model.state_dict() | checkpoint.flatten_optimizer(trainer.optimizer)
    state["losses"] = torch.tensor(losses)
    torch.save(state, out / f"{place[0]}.pt")


def start(config: Path, span: tuple[int, int, int], crops: int, processes: int = 1) -> list[dict[str, torch.Tensor]]:
    """Runs `worker` in one process or two, with `crops` in all; returns what each left."""
    numbers = (*span, crops // processes)
    arguments = (*(TORCHRUN if processes == 2 else ()), __file__, "--worker", config, *numbers, config.parent)
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, *map(str, arguments)], check=True, env=environment, timeout=1200)
    return [torch.load(config.parent / f"{rank}.pt") for rank in range(processes)]


def _curve(folder: Path, pictures: str, spans: list[tuple[int, int, int]], processes: int) -> torch.Tensor:
    folder.mkdir()
    config = folder / "run.toml"
    config.write_text(CONFIG.format(pictures=pictures, out=str(folder / "run")))
    return torch.cat([start(config, span, CROPS, processes)[0]["losses"] for span in spans])


def main(pictures: str, target: str) -> None:
    """Trains three times, draws the curves, prints a table of means."""
    whole, halves = [(STEPS, 0, STEPS)], [(STEPS, 0, STEPS // 2), (STEPS, STEPS // 2, STEPS)]
    with tempfile.TemporaryDirectory() as name:
        curves = {
            "one process, 8 crops": _curve(Path(name) / "one", pictures, whole, 1),
            "two processes, 4 crops each": _curve(Path(name) / "two", pictures, whole, 2),
            "the same, stopped and resumed": _curve(Path(name) / "resumed", pictures, halves, 2),
        }
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for (label, losses), style in zip(curves.items(), ("-", "--", ":"), strict=True):
        axes.plot(losses.unfold(0, MEAN, 1).mean(1), style, label=label)
        blocks = losses.view(-1, STEPS // 6).mean(1)
        print(f"{label}: " + "  ".join(f"{block:.3f}" for block in blocks.tolist()))
    axes.set(xlabel="step", ylabel=f"loss, mean over {MEAN} steps", yscale="log")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(target, dpi=110)


if __name__ == "__main__":
    if sys.argv[1] == "--worker":
        worker(sys.argv[2], (int(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5])), int(sys.argv[6]), Path(sys.argv[7]))
    else:
        main(*sys.argv[1:])
