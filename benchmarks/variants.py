"""What the variants of training give: one small model, one lambda, the same batches and steps; a Markdown table.

    python benchmarks/variants.py TRAINING_PICTURES VALIDATION_PICTURES [STEPS]

Measured with rounded latents, estimated bits, on the validation pictures' middle (256 pixels a side), averaged weights.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from intaglio import metrics
from intaglio.quality import lmbda_to_rate
from intaglio.traversal import latents
from intaglio.workshop.coders import Round
from intaglio.workshop.config import DataConfig, RunConfig, TrainConfig
from intaglio.workshop.data import Batches
from intaglio.workshop.trainer import Trainer
from intaglio.workshop.validate import Validator

LMBDA, CROP, COUNT = 0.0067, 192, 2
WIDTHS = {"features": 32, "latent": 48}
VARIANTS: dict[str, dict[str, Any]] = {
    "as by default": {},
    '`quantiser = "noise"`': {"quantiser": "noise"},
    '`quantiser = "straight-through"`': {"quantiser": "straight-through"},
    '`quantiser = "universal"`': {"quantiser": "universal"},
    '`quantiser = "soft"`': {"quantiser": "soft"},
    "mixed, then the last phase": {"hard_from": 0.8},
    '`rate_term = "log2"`': {"rate_term": "log2"},
    '`distortion = "l1"`': {"distortion": "l1"},
    '`distortion = "ms-ssim"`': {"distortion": "ms-ssim"},
}


def _trained(config: RunConfig, batches: Batches, steps: int) -> Trainer:
    trainer = Trainer(config)
    trainer.start_from_pictures(batches)
    for number in range(steps):
        trainer.seconds = 60.0 * config.train.minutes * number / steps
        trainer.update(batches.batch(number, CROP, COUNT))
    return trainer


@torch.no_grad()
def _measured(trainer: Trainer, crops: list[torch.Tensor]) -> list[float]:
    """Bits per pixel, PSNR in dB, MS-SSIM, loss `(R + lambda D) / sqrt(lambda)`, means over the crops."""
    model, rate = trainer.averaged(), torch.tensor([lmbda_to_rate(LMBDA)])
    rows = []
    for crop in crops:
        coder = Round(model.layout)
        decoded = model.synthesis(latents(model, crop, rate, coder), rate)  # type: ignore[arg-type]
        a, b = ((255.0 * x[0].clamp(0.0, 1.0)).round().byte().permute(1, 2, 0).numpy() for x in (crop, decoded))
        bpp, psnr = float(coder.bits) / crop[0, 0].numel(), metrics.psnr(a, b)
        loss = (bpp + LMBDA * 255.0**2 / 10.0 ** (psnr / 10.0)) / LMBDA**0.5
        rows.append([bpp, psnr, metrics.ms_ssim(a, b), loss])
    return torch.tensor(rows).mean(0).tolist()


def main(train: str, val: str, steps: int = 400) -> None:
    """Prints a row for each variant as it is done."""
    options = TrainConfig(
        lmbda=LMBDA,
        stages=((1.0, CROP, COUNT),),
        warmup_steps=30,
        learning_rate=1e-3,
        precision="32-true",
        accelerator="cpu",
        val_crop=256,
    )
    config = RunConfig("bmshj2018-factorized", WIDTHS, DataConfig(train, val), options)
    batches = Batches(config.data, 0)
    with tempfile.TemporaryDirectory() as folder:
        crops = Validator(config, Path(folder)).crops
    print("| variant | bpp | PSNR, dB | MS-SSIM | loss |\n|---|---:|---:|---:|---:|")
    for name, changes in VARIANTS.items():
        trainer = _trained(replace(config, train=replace(options, **changes)), batches, steps)
        bpp, psnr, similar, loss = _measured(trainer, crops)
        print(f"| {name} | {bpp:.3f} | {psnr:.2f} | {similar:.4f} | {loss:.2f} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:]))
