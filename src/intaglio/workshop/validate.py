"""Validation: rate and distortion of held-out pictures at a few qualities, as rows of a CSV file and a picture."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import torch
from torch import Tensor

from intaglio.images import atomic_write
from intaglio.workshop.config import CROP_UNIT, RunConfig
from intaglio.workshop.data import at_least, load_pictures, picture_files
from intaglio.workshop.loss import Criterion, rate_distortion
from intaglio.workshop.models.base import Model

ROUNDING = 1.0 / 12.0  # squared error of rounding to 8 bits: nothing counts as better


class Validator:
    """Centre crops of the validation pictures, rounded latents, estimated bits."""

    def __init__(self, config: RunConfig, out: Path) -> None:
        size = config.train.val_crop
        pictures = load_pictures(picture_files(config.data.val, "[data] val"), "decoding validation pictures")
        self.crops: list[Tensor] = []
        for picture in (at_least(picture, CROP_UNIT) for picture in pictures):
            side = min(size, *picture.shape[:2]) // CROP_UNIT * CROP_UNIT
            top, left = (picture.shape[0] - side) // 2, (picture.shape[1] - side) // 2
            crop = torch.from_numpy(picture[top : top + side, left : left + side].copy())
            self.crops.append(crop.permute(2, 0, 1)[None])
        self.rates = config.train.val_rates
        self.csv, self.png = out / "validation.csv", out / "validation.png"

    @torch.no_grad()
    def measure(self, model: Model, rate: int) -> tuple[float, float, float]:
        """Mean bits per pixel, mean PSNR (dB) and mean loss over the crops at one rate step.

        What is random in a pair is the same in every validation, and leaves training's random numbers alone.
        """
        device = next(model.parameters()).device
        steps = torch.tensor([rate], device=device)
        total = torch.zeros(3)
        for number, crop in enumerate(self.crops):
            with torch.random.fork_rng():
                torch.manual_seed(number)
                pair = model.pair(crop.to(device))
            coder = model.rounding()
            decoded = model.walk(pair, steps, coder).clamp(0.0, 1.0)
            assert isinstance(coder.bits, Tensor)
            result = rate_distortion(pair[0], decoded, coder.bits, steps, Criterion(lmbdas=model.lmbdas))
            psnr = 10.0 * torch.log10(255.0**2 / result.mse.clamp_min(ROUNDING))
            total += torch.stack([result.bpp.mean(), psnr.mean(), result.loss()]).cpu()
        bpp, psnr, loss = (total / len(self.crops)).tolist()
        return bpp, psnr, loss

    def run(self, model: Model, step: int) -> float:
        """Measures every rate, appends to the CSV file, redraws the picture; returns the mean loss."""
        fresh = not self.csv.exists()
        losses = []
        with self.csv.open("a", newline="") as file:
            rows = csv.writer(file)
            if fresh:
                rows.writerow(["step", "rate", "bpp", "psnr", "loss"])
            for rate in self.rates:
                bpp, psnr, loss = self.measure(model, rate)
                rows.writerow([step, rate, f"{bpp:.5f}", f"{psnr:.4f}", f"{loss:.5f}"])
                losses.append(loss)
                print(f"validation at step {step}: rate {rate}  {bpp:.4f} bpp  {psnr:.2f} dB", flush=True)
        self.draw()
        return sum(losses) / len(losses)

    def draw(self) -> None:
        """The rate-distortion curves of every validation so far, newest on top; nothing where matplotlib is missing."""
        try:
            from matplotlib.figure import Figure
        except ModuleNotFoundError:
            print(f"{self.png} is not drawn: matplotlib is not installed", flush=True)
            return
        curves: dict[str, list[tuple[float, float]]] = {}
        with self.csv.open(newline="") as file:
            for row in csv.DictReader(file):
                curves.setdefault(row["step"], []).append((float(row["bpp"]), float(row["psnr"])))
        figure = Figure(figsize=(7, 5), layout="constrained")
        axes = figure.subplots()
        for number, (step, points) in enumerate(curves.items(), 1):
            axes.plot(*zip(*points, strict=True), ".-", alpha=number / len(curves), label=f"step {step}")
        axes.set(xlabel="bits per pixel", ylabel="PSNR (dB)", title="validation pictures")
        axes.grid(alpha=0.3)
        axes.legend()
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=110)
        atomic_write(self.png, buffer.getvalue())
