"""One training run: the model, its running average, the optimiser, the clock; steps, and checkpoints of all of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from intaglio import gains
from intaglio.errors import ArgumentError
from intaglio.quality import RATES, lmbda_to_rate
from intaglio.workshop import checkpoint, distributed, models
from intaglio.workshop.config import RunConfig
from intaglio.workshop.data import Batches
from intaglio.workshop.loss import RateDistortion
from intaglio.workshop.models.base import Model
from intaglio.workshop.objective import Objective
from intaglio.workshop.soap import Soap

START_PICTURES = 400
# Checkpoints number the parameters by these parts (others come after them), however a model's class is written.
PARTS = ("analysis", "hyper_analysis_net", "hyper_synthesis", "context", "synthesis", "z_index")


def spread_rates(count: int) -> Tensor:
    """Random rate steps, (count,) int64: one from each of `count` equal parts of the scale, in random order.

    Every batch sees low and high qualities alike, which keeps its gradient's variance down.
    """
    position = (torch.randperm(count) + torch.rand(count)) / count
    return (position * RATES).long().clamp_max(RATES - 1)


class Trainer:
    """One run: holds the model, its running average, the optimiser and the clock; in every process the same."""

    def __init__(self, config: RunConfig) -> None:
        """Raises ArgumentError if the model or the accelerator cannot be, or the model needs one lambda."""
        self.config, self.options = config, config.train
        self.fabric = distributed.open_fabric(self.options)
        torch.manual_seed(self.options.seed)
        self.model = self._build().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if self.model.fixed and not self.options.lmbda:
            wanted = "set lmbda, such as 0.01 (docs/training.md)"
            raise ArgumentError(f"configuration: [train] {config.model!r} is trained for one lambda: {wanted}")
        self.model.to(self.fabric.device)
        self.average = self._weights()
        self.objective = Objective(self.model, self.options, self.fabric.autocast)
        self.optimizer = self._optimizer()
        self.step, self.seconds, self.skipped, self.norm = 0, 0.0, 0, 0.0
        self.manifest, self.commit = "", checkpoint.source_commit()
        self._averaging: tuple[bool, nn.Module] | None = None
        distributed.seed_apart(self.fabric, self.options.seed)

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes and speaks."""
        return self.fabric.is_global_zero

    @property
    def progress(self) -> float:
        """How much of the run is done, 0..1."""
        return min(self.seconds / (60.0 * self.options.minutes), 1.0)

    def learning_rate(self) -> float:
        """Warm-up by steps, then a cosine over the run's minutes down to zero; the last phase has one of its own."""
        warm = min(1.0, (self.step + 1) / max(1, self.options.warmup_steps))
        peak, done = self.options.learning_rate, self.progress
        if self.hard and self.options.hard_from < 1.0:
            peak = self.options.hard_learning_rate
            done = (done - self.options.hard_from) / (1.0 - self.options.hard_from)
        return peak * warm * 0.5 * (1.0 + math.cos(math.pi * done))

    @property
    def hard(self) -> bool:
        """Whether the run is in its last phase: rounded latents, the encoding half frozen."""
        return self.progress >= self.options.hard_from

    def shapes(self) -> Iterator[tuple[int, int]]:
        """Crop and batch size of the batches to come; asked a few batches ahead."""
        while True:
            yield next((size, count) for until, size, count in self.options.stages if self.progress <= until)

    def rates(self, count: int) -> Tensor:
        """The rate steps of this process's part of a batch, (count,) int64, on its device: those of `spread_rates` of
        the whole batch, or that of the run's lambda.
        """
        if self.options.lmbda:
            rates = torch.full((count,), lmbda_to_rate(self.options.lmbda, self.model.lmbdas))
        else:
            rates = distributed.own_part(self.fabric, spread_rates(count * self.fabric.world_size))
        return rates.to(self.fabric.device)

    def forward(self, batch: Tensor, rate: Tensor) -> RateDistortion:
        """What this process's part of a batch, uint8 (B,3,H,W), costs."""
        if self._averaging is None or self._averaging[0] != self.hard:
            self._averaging = None  # two at once would average twice
            for part in self.model.encoding_parts():
                part.requires_grad_(not self.hard)
            self._averaging = self.hard, distributed.averaging(self.fabric, self.objective)
        pictures = batch.to(self.fabric.device, non_blocking=True)
        return RateDistortion(*self._averaging[1](pictures, rate, self.progress, self.hard))

    def update(self, batch: Tensor) -> RateDistortion:
        """One optimiser step, skipped if the gradient is not finite or an outlier."""
        result = self.forward(batch, self.rates(batch.shape[0]))
        self.optimizer.zero_grad(set_to_none=True)
        self.fabric.backward(result.loss())
        norm = float(nn.utils.clip_grad_norm_(self.model.parameters(), self.options.clip))
        self.step += 1
        outlier = self.step > self.options.warmup_steps and norm > self.options.outlier * self.norm > 0.0
        if not math.isfinite(norm) or outlier:
            self.skipped += 1
            self.norm *= 1.05  # a new level is accepted after some sixty steps
            return result
        self.norm = norm if self.norm == 0.0 else 0.99 * self.norm + 0.01 * norm
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate() * group["factor"]
        self.optimizer.step()
        self._update_average()
        return result

    @torch.no_grad()
    def _update_average(self) -> None:
        weight = 1.0 - min(self.options.ema, (1.0 + self.step) / (10.0 + self.step))
        current = self.model.state_dict()
        torch._foreach_lerp_(list(self.average.values()), [current[name] for name in self.average], weight)  # type: ignore[attr-defined]

    def averaged(self) -> Model:
        """A float32 copy of the model with the averaged weights, in evaluation mode."""
        model = self._build()
        model.load_state_dict(self.average)
        return model.to(self.fabric.device).eval()

    def save(self, shard_bytes: int | None = None) -> None:
        """Writes the checkpoint of this moment; all processes must call it, the first one writes, the others wait."""
        random = distributed.random_states(self.fabric)
        if self.first:
            self._write(random, shard_bytes)
        self.fabric.barrier()

    def _write(self, random: checkpoint.State, shard_bytes: int | None) -> None:
        state = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        state |= {f"average.{name}": value for name, value in self.average.items()}
        state |= checkpoint.flatten_optimizer(self.optimizer) | random
        record = {
            "step": self.step,
            "seconds": self.seconds,
            "skipped": self.skipped,
            "norm": self.norm,
            "manifest": self.manifest,
            "commit": self.commit,
            "config": self.config.as_dict(),
        }
        checkpoint.save(Path(self.options.out), state, record, shard_bytes)

    def resume(self) -> None:
        """Goes on from the checkpoint in the run's folder.

        Raises ArgumentError if there is none or it is of another model or optimiser, ModelError if it is damaged or of
        another version.
        """
        state, record = self._load(Path(self.options.out), "model.")
        before = record["config"]["train"].get("optimizer", "adam")
        if _gains(record["config"]["model_fields"]) != _gains(self.config.model_fields):
            raise ArgumentError(f"configuration: [model] gains: the run in {self.options.out} began otherwise")
        if before != self.options.optimizer:
            wanted = f"set it to that, or start a new run from this one's weights with --from {self.options.out}"
            raise ArgumentError(f"configuration: [train] optimizer: the run began with {before!r}; {wanted}")
        self.average = {name: state[f"average.{name}"].to(self.fabric.device) for name in self.average}
        checkpoint.restore_optimizer(self.optimizer, state)
        self.step, self.seconds = record["step"], record["seconds"]
        self.skipped, self.norm, self.manifest = record["skipped"], record["norm"], record["manifest"]
        distributed.restore_random_states(self.fabric, state, self.options.seed + self.step)

    def start_from(self, path: Path) -> None:
        """Starts from the weights of a model file, or from the averaged ones of the checkpoint in a run's folder.

        Raises ArgumentError if there is none or it is of another model, ModelError if it is damaged, of another
        version, or does not fit.
        """
        if path.is_dir():
            _, record = self._load(path, "average.")
            self.model.adopt(_gains(record["config"]["model_fields"]))
        else:
            from intaglio.workshop import restore  # needs onnx, which a GPU machine may lack

            file = restore.read(path)
            self.model.load_state_dict(restore.weights(file, self.model))
            self.model.adopt(gains.ARRAY in file.arrays)
        self.average = self._weights()

    def start_from_pictures(self, batches: Batches) -> None:
        """Lets the model set what can be known from some of the training pictures."""
        self.model.start(batches.pictures[:: max(1, len(batches.pictures) // START_PICTURES)])
        self.average = self._weights()

    def _load(self, folder: Path, prefix: str) -> tuple[checkpoint.State, dict[str, Any]]:
        """A checkpoint, whose weights of that name the model takes."""
        state, record = checkpoint.load(folder)
        if prefix == "model." and not checkpoint.under(prefix, state):
            wanted = f"begin a new run with them, --from {folder}"
            raise ArgumentError(f"checkpoint {folder} holds averaged weights alone and cannot be resumed: {wanted}")
        try:
            self.model.load_state_dict(checkpoint.under(prefix, state))
            missing = [name for name in self.average if f"average.{name}" not in state]
        except RuntimeError:  # missing, unexpected or misshapen entries
            missing = ["some"]
        if missing:
            wanted = "give [model] in the configuration as it was, or name another folder"
            raise ArgumentError(f"checkpoint {folder} is of another model: {wanted}")
        return state, record

    def _build(self) -> Model:
        return models.build(self.config.model, **self.config.model_fields)

    def _optimizer(self) -> torch.optim.Optimizer:
        if self.options.optimizer == "soap":
            products = torch.float32 if self.options.precision == "32-true" else torch.bfloat16
            return Soap(self._groups(), self.options.learning_rate, dtype=products)
        return torch.optim.Adam(self._groups(), lr=self.options.learning_rate, betas=(0.9, 0.99), fused=True)

    def _groups(self) -> list[dict[str, Any]]:
        """Parameters by how fast they learn: first the rest, then as the model names them."""
        factors = self.model.rates_of_learning(self.options)
        groups: dict[str, list[nn.Parameter]] = {"": [], **{prefix: [] for prefix in factors}}
        for name, parameter in sorted(self.model.named_parameters(), key=lambda named: _place(named[0])):
            groups[next((prefix for prefix in factors if name.startswith(prefix)), "")].append(parameter)
        return [{"params": each, "factor": factors.get(prefix, 1.0)} for prefix, each in groups.items() if each]

    def _weights(self) -> dict[str, Tensor]:
        return {name: value.detach().clone() for name, value in self.model.state_dict().items()}


def _gains(fields: Mapping[str, Any]) -> bool:
    """Whether a model of these fields has gains."""
    return bool(fields.get("gains", False))


def _place(name: str) -> int:
    part = name.split(".")[0]
    return PARTS.index(part) if part in PARTS else len(PARTS)
