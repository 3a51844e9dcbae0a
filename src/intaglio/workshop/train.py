"""The training loop: one model for every lambda, resumable, on CPU or GPU (PyTorch and Lightning Fabric)."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from intaglio.errors import ArgumentError
from intaglio.quality import RATES
from intaglio.traversal import latents
from intaglio.workshop import checkpoint, models
from intaglio.workshop.coders import Hard, Noise
from intaglio.workshop.config import RunConfig, TrainConfig
from intaglio.workshop.data import Batches, at_least, patch_statistics, picture_files
from intaglio.workshop.loss import RateDistortion, rate_distortion
from intaglio.workshop.models.photo import PATCH, Photo
from intaglio.workshop.validate import Validator

LINEAR_PARTS = ("analysis.linear.", "synthesis.linear.")
KLT_PICTURES = 400
LOG = "log.jsonl"
LONGEST_STEP = 20.0  # seconds: a longer one was a pause (a stopped process), which does not count


def spread_rates(count: int) -> Tensor:
    """Random rate steps, (count,) int64: one from each of `count` equal parts of the scale, in random order.

    Every batch sees low and high qualities alike, which keeps its gradient's variance down.
    """
    position = (torch.randperm(count) + torch.rand(count)) / count
    return (position * RATES).long().clamp_max(RATES - 1)


class Trainer:
    """One run: holds the model, its running average, the optimiser and the clock."""

    def __init__(self, config: RunConfig) -> None:
        self.config, self.options = config, config.train
        self.fabric = _fabric(self.options)
        torch.manual_seed(self.options.seed)
        self.model = models.build(config.model, **config.model_fields).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.model.to(self.fabric.device)
        self.average = self._weights()
        self.optimizer = torch.optim.Adam(self._groups(), lr=self.options.learning_rate, betas=(0.9, 0.99), fused=True)
        self.step, self.seconds, self.skipped, self.norm = 0, 0.0, 0, 0.0
        self.manifest, self.commit = "", checkpoint.source_commit()

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

    def forward(self, batch: Tensor, rate: Tensor) -> RateDistortion:
        """Rate and distortion of a batch, from noisy latents, or from rounded ones in the last phase."""
        x = batch.to(self.fabric.device, non_blocking=True).float().div(255.0)
        x = x.contiguous(memory_format=torch.channels_last)
        coder = Hard(self.model.config.latent) if self.hard else Noise(self.model.config.latent)
        with self.fabric.autocast():
            y_hat = latents(self.model, x, rate, coder)  # type: ignore[arg-type]
            decoded = self.model.synthesis(y_hat, rate)
        assert isinstance(coder.bits, Tensor)
        return rate_distortion(x, decoded, coder.bits, rate)

    def update(self, batch: Tensor) -> RateDistortion:
        """One optimiser step, skipped if the gradient is not finite or an outlier."""
        rate = spread_rates(batch.shape[0]).to(self.fabric.device)
        for part in (self.model.analysis, self.model.hyper_analysis_net):
            part.requires_grad_(not self.hard)
        result = self.forward(batch, rate)
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

    def averaged(self) -> Photo:
        """A float32 copy of the model with the averaged weights, in evaluation mode."""
        model = models.build(self.config.model, **self.config.model_fields)
        model.load_state_dict(self.average)
        return model.to(self.fabric.device).eval()

    def save(self, shard_bytes: int | None = None) -> None:
        """Writes the checkpoint of this moment."""
        state = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        state |= {f"average.{name}": value for name, value in self.average.items()}
        state |= checkpoint.flatten_optimizer(self.optimizer)
        state["random"] = torch.get_rng_state()
        if self.fabric.device.type == "cuda":  # the noise is drawn there
            state["random.cuda"] = torch.cuda.get_rng_state(self.fabric.device)
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

        Raises ArgumentError if there is none or it is of another model, ModelError if it is damaged.
        """
        folder = Path(self.options.out)
        state, record = checkpoint.load(folder)
        try:
            self.model.load_state_dict(checkpoint.under("model.", state))
            self.average = {name: state[f"average.{name}"].to(self.fabric.device) for name in self.average}
        except (RuntimeError, KeyError):  # missing, unexpected or misshapen entries
            wanted = "give [model] in the configuration as it was, or name another folder"
            raise ArgumentError(f"checkpoint {folder} is of another model: {wanted}") from None
        checkpoint.restore_optimizer(self.optimizer, state)
        torch.set_rng_state(state["random"])
        if self.fabric.device.type == "cuda" and "random.cuda" in state:
            torch.cuda.set_rng_state(state["random.cuda"], self.fabric.device)
        self.step, self.seconds = record["step"], record["seconds"]
        self.skipped, self.norm, self.manifest = record["skipped"], record["norm"], record["manifest"]

    def start_from_model(self, path: Path) -> None:
        """Starts from the weights of a model file."""
        from intaglio.workshop import restore  # needs onnx, which a GPU machine may lack

        self.model.load_state_dict(restore.weights(restore.read(path), self.model))
        self.average = self._weights()

    def start_from_pictures(self, batches: Batches) -> None:
        """Starts the linear path from the training pictures' KLT."""
        chosen = batches.pictures[:: max(1, len(batches.pictures) // KLT_PICTURES)]
        chosen = [at_least(picture, PATCH) for picture in chosen]
        basis, deviation = patch_statistics(chosen, PATCH, self.model.config.latent)
        self.model.start_from_klt(basis.to(self.fabric.device), deviation.to(self.fabric.device))
        self.average = self._weights()

    def _groups(self) -> list[dict[str, Any]]:
        """Parameters by how fast they learn."""
        linear, synthesis, rest = [], [], []
        for name, parameter in self.model.named_parameters():
            group = linear if name.startswith(LINEAR_PARTS) else synthesis if name.startswith("synthesis.") else rest
            group.append(parameter)
        factors = 1.0, self.options.linear_factor, self.options.synthesis_factor
        return [
            {"params": group, "factor": each} for group, each in zip((rest, linear, synthesis), factors, strict=True)
        ]

    def _weights(self) -> dict[str, Tensor]:
        return {name: value.detach().clone() for name, value in self.model.state_dict().items()}


def _fabric(options: TrainConfig) -> Fabric:
    try:
        return Fabric(accelerator=options.accelerator, devices=1, precision=options.precision)  # type: ignore[arg-type]
    except Exception as error:  # Lightning's own classes among them, which derive from Exception alone
        fault = f"{options.accelerator!r} cannot be used: {' '.join(str(error).split())}"
        raise ArgumentError(f"configuration: [train] accelerator {fault}") from None


class _Meter:
    """Averages between two log lines."""

    def __init__(self) -> None:
        self.totals, self.count, self.samples, self.since = [0.0] * 4, 0, 0, time.monotonic()

    def add(self, result: RateDistortion) -> None:
        if not torch.isfinite(result.loss()):  # a skipped step; it would spoil the averages
            return
        psnr = 10.0 * torch.log10(255.0**2 / result.mse.detach().clamp_min(1e-6))
        values = (result.loss().detach(), result.bpp.detach().mean(), result.mse.detach().mean(), psnr.mean())
        self.totals = [total + float(value) for total, value in zip(self.totals, values, strict=True)]
        self.count += 1
        self.samples += len(result.bpp)

    def row(self) -> dict[str, float]:
        loss, bpp, mse, psnr = (round(total / max(1, self.count), 4) for total in self.totals)
        speed = self.samples / max(1e-9, time.monotonic() - self.since)
        return {"loss": loss, "bpp": bpp, "mse": mse, "psnr": psnr, "samples_per_s": round(speed, 2)}


def _log(trainer: Trainer, meter: _Meter, file: Path) -> None:
    state: dict[str, Any] = {"step": trainer.step, "minutes": round(trainer.seconds / 60.0, 2)}
    row = (
        state
        | meter.row()
        | {"lr": trainer.learning_rate(), "norm": round(trainer.norm, 3), "skipped": trainer.skipped}
    )
    with file.open("a") as log:
        log.write(json.dumps(row) + "\n")
    print(
        f"step {row['step']}  {row['minutes']:.1f}/{trainer.options.minutes:g} min  loss {row['loss']:.3f}  "
        f"R {row['bpp']:.3f} bpp  D {row['mse']:.1f}  PSNR {row['psnr']:.2f} dB  {row['samples_per_s']:.1f} samples/s  "
        f"norm {row['norm']:.2f}  skipped {row['skipped']}",
        flush=True,
    )


def train(config: RunConfig, resume: bool = False, start: Path | None = None, shard_bytes: int | None = None) -> None:
    """Runs `config` to its end; from the checkpoint in its folder on if `resume`, from a model file's weights if
    `start`.

    Writes to the run's folder: the checkpoint, `log.jsonl`, `validation.csv` and `validation.png`. Does nothing if a
    resumed run has already ended. `shard_bytes`: see `checkpoint.save`. Raises ArgumentError if the configuration, its
    folders or the checkpoint cannot be used, or a new run would overwrite another; ModelError for a damaged checkpoint
    or a model that does not fit; ImageError for a picture that cannot be read.
    """
    if resume and start:
        raise ArgumentError("a run is either resumed or started from a model file, not both")
    trainer = Trainer(config)
    out = _folder(config, resume)
    if resume:
        trainer.resume()
        if trainer.progress >= 1.0:
            print(f"the run in {out} has ended at step {trainer.step}; to go on, raise [train] minutes", flush=True)
            return
    batches = Batches(config.data, config.train.seed)
    if trainer.manifest not in ("", batches.manifest):
        print("note: the training pictures are not those that the run began with", flush=True)
    trainer.manifest = batches.manifest
    validator = Validator(config, out) if config.data.val else None
    if start:
        trainer.start_from_model(start)
    elif not resume:
        trainer.start_from_pictures(batches)
    _run(trainer, batches, validator, shard_bytes)


def _folder(config: RunConfig, resume: bool) -> Path:
    """The run's folder, made if it is missing; a new run clears what an earlier one without a checkpoint left there."""
    out = Path(config.train.out)
    for key in ("train", "val"):  # before anything long is begun
        if folder := getattr(config.data, key):
            picture_files(folder, f"[data] {key}")
    if not resume and checkpoint.exists(out):
        raise ArgumentError(f"configuration: [train] out: {out} already holds a run; resume it, or name another folder")
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name in () if resume else (LOG, "validation.csv", "validation.png"):
            (out / name).unlink(missing_ok=True)
    except OSError as error:
        raise ArgumentError(f"configuration: [train] out: {out} cannot be used: {error.strerror}") from None
    return out


def _run(trainer: Trainer, batches: Batches, validator: Validator | None, shard_bytes: int | None) -> None:
    """Trains to the end of the run."""
    options = trainer.options
    meter, saved, validated = _Meter(), time.monotonic(), trainer.seconds
    last = time.monotonic()
    trainer.model.train()
    for batch in batches.ahead(trainer.step, trainer.shapes()):
        meter.add(trainer.update(batch))
        now = time.monotonic()
        trainer.seconds, last = trainer.seconds + min(now - last, LONGEST_STEP), now
        if trainer.step % options.log_steps == 0:
            _log(trainer, meter, Path(options.out) / LOG)
            meter = _Meter()
        done = trainer.progress >= 1.0
        if done or now - saved > 60.0 * options.save_minutes:
            trainer.save(shard_bytes)
            saved = now
        if validator and (done or trainer.seconds - validated > 60.0 * options.val_minutes):
            validator.run(trainer.averaged(), trainer.step)
            validated, last = trainer.seconds, time.monotonic()
        if done:
            return
