"""The training loop: resumable, on CPU or GPU, in one process or several (PyTorch and Lightning Fabric)."""

from __future__ import annotations

import json
import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from intaglio.errors import ArgumentError
from intaglio.quality import lmbda_to_rate
from intaglio.workshop import checkpoint, distributed
from intaglio.workshop.config import RunConfig
from intaglio.workshop.data import Batches, picture_files
from intaglio.workshop.loss import RateDistortion
from intaglio.workshop.trainer import Trainer
from intaglio.workshop.validate import ROUNDING, Validator

LOG = "log.jsonl"
LONGEST_STEP = 20.0  # seconds: a longer one was a pause (a stopped process), which does not count


class _Meter:
    """Averages between two log lines."""

    def __init__(self) -> None:
        self.totals, self.count, self.samples, self.since = [0.0] * 4, 0, 0, time.monotonic()

    def add(self, result: RateDistortion) -> None:
        if not torch.isfinite(result.loss()):  # a skipped step; it would spoil the averages
            return
        psnr = 10.0 * torch.log10(255.0**2 / result.mse.detach().clamp_min(ROUNDING))
        values = (result.loss().detach(), result.bpp.detach().mean(), result.mse.detach().mean(), psnr.mean())
        self.totals = [total + float(value) for total, value in zip(self.totals, values, strict=True)]
        self.count += 1
        self.samples += len(result.bpp)

    def row(self, trainer: Trainer) -> dict[str, float]:
        """Over all processes, which must ask together."""
        *totals, count, samples = distributed.sums(trainer.fabric, [*self.totals, self.count, self.samples])
        loss, bpp, mse, psnr = (round(total / max(1.0, count), 4) for total in totals)
        speed = samples / max(1e-9, time.monotonic() - self.since)
        return {"loss": loss, "bpp": bpp, "mse": mse, "psnr": psnr, "samples_per_s": round(speed, 2)}


def _log(trainer: Trainer, meter: _Meter, file: Path) -> None:
    state: dict[str, Any] = {"step": trainer.step, "minutes": round(trainer.seconds / 60.0, 2)}
    row = (
        state
        | meter.row(trainer)
        | {"lr": trainer.learning_rate(), "norm": round(trainer.norm, 3), "skipped": trainer.skipped}
    )
    if not trainer.first:
        return
    with file.open("a") as log:
        log.write(json.dumps(row) + "\n")
    print(
        f"step {row['step']}  {row['minutes']:.1f}/{trainer.options.minutes:g} min  loss {row['loss']:.3f}  "
        f"R {row['bpp']:.3f} bpp  D {row['mse']:.1f}  PSNR {row['psnr']:.2f} dB  {row['samples_per_s']:.1f} samples/s  "
        f"norm {row['norm']:.2f}  skipped {row['skipped']}",
        flush=True,
    )


def train(
    config: RunConfig,
    resume: bool = False,
    start: Path | None = None,
    shard_bytes: int | None = None,
    stop_after: float | None = None,
) -> None:
    """Runs `config` to its end; from the checkpoint in its folder on if `resume`, from the weights of a model file or
    of another run's folder if `start`.

    Writes to the run's folder: the checkpoint, `log.jsonl`, `validation.csv` and `validation.png`. Does nothing if a
    resumed run has already ended. `shard_bytes`: see `checkpoint.save`. `stop_after`: minutes by the wall clock, from
    this call on; the first step that ends later is the last, whose checkpoint a run that has not ended goes on from.

    Raises ArgumentError if the configuration, its folders or the checkpoint cannot be used, `stop_after` is no time, or
    a new run would overwrite another; ModelError for a checkpoint that is damaged or of another version, or a model
    that does not fit; ImageError for a picture that cannot be read.
    """
    until = _deadline(stop_after)
    if resume and start:
        raise ArgumentError("a run is either resumed or started from a model file, not both")
    trainer = Trainer(config)
    out = _folder(config, resume, trainer.first)
    if resume:
        trainer.resume()
        if trainer.progress >= 1.0:
            _say(trainer, f"the run in {out} has ended at step {trainer.step}; to go on, raise [train] minutes")
            return
    batches = Batches(config.data, config.train.seed, (trainer.fabric.global_rank, trainer.fabric.world_size))
    if trainer.manifest not in ("", batches.manifest):
        _say(trainer, "note: the training pictures are not those that the run began with")
    trainer.manifest = batches.manifest
    validator = Validator(_validated(config, trainer.model.lmbdas), out) if config.data.val and trainer.first else None
    if start:
        trainer.start_from(start)
    elif not resume:
        trainer.start_from_pictures(batches)
    if not _run(trainer, batches, validator, shard_bytes, until):
        done = f"at step {trainer.step}, {trainer.progress:.0%} of the run in {out}"
        _say(trainer, f"stopped after {stop_after:g} minutes {done}; to go on, resume it (--resume)")


def _deadline(stop_after: float | None) -> float:
    """When to stop, by the monotonic clock: `stop_after` minutes from now, or never."""
    if stop_after is not None and not 0.0 < stop_after < math.inf:
        raise ArgumentError(f"cannot stop after {stop_after:g} minutes; give a number above zero")
    return math.inf if stop_after is None else time.monotonic() + 60.0 * stop_after


def _say(trainer: Trainer, text: str) -> None:
    if trainer.first:
        print(text, flush=True)


def _validated(config: RunConfig, lmbdas: tuple[float, float]) -> RunConfig:
    """The configuration as validation takes it: a run of one lambda is measured there alone."""
    lmbda = config.train.lmbda
    return replace(config, train=replace(config.train, val_rates=(lmbda_to_rate(lmbda, lmbdas),))) if lmbda else config


def _folder(config: RunConfig, resume: bool, first: bool) -> Path:
    """The run's folder, made if it is missing; a new run clears what an earlier one without a checkpoint left there."""
    out = Path(config.train.out)
    for key in ("train", "val"):  # before anything long is begun
        if folder := getattr(config.data, key):
            picture_files(folder, f"[data] {key}")
    if not resume and checkpoint.exists(out):
        raise ArgumentError(f"configuration: [train] out: {out} already holds a run; resume it, or name another folder")
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name in (LOG, "validation.csv", "validation.png") if first and not resume else ():
            (out / name).unlink(missing_ok=True)
    except OSError as error:
        raise ArgumentError(f"configuration: [train] out: {out} cannot be used: {error.strerror}") from None
    return out


def _run(
    trainer: Trainer, batches: Batches, validator: Validator | None, shard_bytes: int | None, until: float
) -> bool:
    """Trains to the end of the run, or to the first step that ends after `until`; returns whether the run has ended.
    All processes go by the first one's clock.
    """
    options, fabric = trainer.options, trainer.fabric
    meter, saved, validated = _Meter(), time.monotonic(), trainer.seconds
    last = time.monotonic()
    trainer.model.train()
    for batch in batches.ahead(trainer.step, trainer.shapes()):
        meter.add(trainer.update(batch))
        now = time.monotonic()
        trainer.seconds, last = trainer.seconds + min(now - last, LONGEST_STEP), now
        due, stop = now - saved > 60.0 * options.save_minutes, now >= until
        if fabric.world_size > 1:
            trainer.seconds, due, stop = fabric.broadcast((trainer.seconds, due, stop))
        if trainer.step % options.log_steps == 0:
            _log(trainer, meter, Path(options.out) / LOG)
            meter = _Meter()
        done = trainer.progress >= 1.0
        if done or due or stop:
            trainer.save(shard_bytes)
            saved = now
        if stop and not done:
            return False
        if validator and (done or trainer.seconds - validated > 60.0 * options.val_minutes):
            validator.run(trainer.averaged(), trainer.step)
            validated, last = trainer.seconds, time.monotonic()
        if done:
            break
    return True
