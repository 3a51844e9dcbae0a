"""What rounding the scale index costs: up, down, or to the nearest in the logarithm; real latents and simulated ones.

    python benchmarks/scale_index.py [FOLDER] [--pictures 8] [--side 512] [--rates 18 58 98 138 178]

The latents y of the shipped model are walked in PyTorch, where a latent's position on the scale grid is still real. The
same symbols are then charged by the coder's tables for several grids and roundings. What stands for the continuous
scale is a grid so fine (256 rows) that its own rounding costs a sixteenth of our grid's. "Simulated" draws the
symbols from Gaussians of the very scales that the model predicted, so that the model's mistakes play no part.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress
from torch import Tensor

from intaglio import images
from intaglio.quality import rate_to_quality
from intaglio.rans import Tables
from intaglio.scales import SCALE_MAX, SCALE_MIN, SCALES, index_to_scale
from intaglio.traversal import latents
from intaglio.workshop import restore
from intaglio.workshop.coders import Likelihood, Round, Rows
from intaglio.workshop.entropy import ScaleFamily, scale_grid
from intaglio.workshop.models.base import Model

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT.parent / "shared" / "data" / "val"
SUFFIXES = {".png", ".webp"}
BLOCK = 64  # pixels
GRIDS = ((64, SCALE_MAX), (64, 256.0), (32, SCALE_MAX), (16, SCALE_MAX))  # rows, largest scale; all from SCALE_MIN
RULES = ("up", "down", "nearest")
SHIFTS = (0.0, 0.25, 0.4, 0.5, 0.6, 0.75, 1.0)  # added ahead of rounding down: 0 is "down", 1/2 "nearest", 1 "up"


@dataclass(frozen=True)
class Latents:
    """One rate's latents of all pictures: symbols int32 (n,), predicted scales float64 (n,), pixels they stand for."""

    symbols: NDArray[np.int32]
    scales: NDArray[np.float64]
    pixels: int

    def simulated(self, rng: np.random.Generator) -> Latents:
        """The same scales, with symbols drawn from their Gaussians."""
        drawn = np.floor(rng.normal(size=len(self.scales)) * self.scales + 0.5).astype(np.int32)
        return Latents(drawn, self.scales, self.pixels)


class Watched(Round):
    """Keeps every slice of y: symbols and real positions on the codec's grid."""

    def __init__(self, model: Model) -> None:
        super().__init__(model.layout)
        self.slices: list[tuple[NDArray[np.int32], NDArray[np.float64]]] = []
        self._in_y = False

    def gaussian(
        self, y: Tensor | None, y_hat: Tensor, params: tuple[Tensor, Tensor | Likelihood], step: int
    ) -> Tensor:
        self._in_y = True
        return super().gaussian(y, y_hat, params, step)

    def _charge(self, charged: Tensor, likelihood: Likelihood, handed: Tensor) -> None:
        if self._in_y and isinstance(likelihood, Rows):
            position = likelihood.index.expand_as(charged).reshape(-1).double().numpy()
            self.slices.append((charged.reshape(-1).numpy().astype(np.int32), position))


def shipped() -> Model:
    """The shipped model in PyTorch."""
    return restore.model(restore.read(ROOT / "src" / "intaglio" / "weights" / "photo.itgm"))


@torch.no_grad()
def walked(model: Model, pictures: list[NDArray[np.uint8]], rate: int) -> Latents:
    """Latents of pictures, uint8 (H,W,3) with sides that are multiples of 64, at a rate step."""
    slices: list[tuple[NDArray[np.int32], NDArray[np.float64]]] = []
    for pixels in pictures:
        coder = Watched(model)
        x = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 255.0
        latents(model, x, torch.tensor([rate]), coder)  # type: ignore[arg-type]
        slices += coder.slices
    symbols, positions = (np.concatenate(each) for each in zip(*slices, strict=True))
    return Latents(symbols, index_to_scale(positions), sum(each.shape[0] * each.shape[1] for each in pictures))


class Grid:
    """The codec's Gaussian tables on a grid of scales."""

    def __init__(self, rows: int, high: float) -> None:
        self.family = ScaleFamily("gaussian", scale_grid(rows, SCALE_MIN, high))
        self.tables: Tables = self.family.freeze()
        self.title = f"{rows} rows to {high:g}"

    def bits(self, given: Latents, shift: float) -> float:
        """What the coder charges for all symbols, in bits; `shift` is added to the position ahead of rounding down."""
        position = self.family.position(torch.from_numpy(given.scales)).numpy()
        near_whole = np.round(position, 6)  # the ends of the grid are whole, but for their logarithm
        rows = np.floor(near_whole + shift) if shift < 1.0 else np.ceil(near_whole)
        return float(self.tables.bits(given.symbols, rows.clip(0, self.family.rows - 1).astype(np.uint8)).sum())


def compared(found: dict[int, Latents], title: str) -> list[str]:
    """Markdown: for every rate and grid, what each rule costs over the continuous scale."""
    fine, shift = Grid(256, SCALE_MAX), {"up": 1.0, "down": 0.0, "nearest": 0.5}
    lines = [
        f"| {title}: quality | bits per pixel | grid | up | down | nearest | nearest saves over up |",
        "|---:|---:|---|---:|---:|---:|---:|",
    ]
    for rate, given in found.items():
        continuous = fine.bits(given, 0.5)
        for rows, high in GRIDS:
            grid = Grid(rows, high)
            costs = {rule: grid.bits(given, shift[rule]) for rule in RULES}
            over = " | ".join(f"{100 * (costs[rule] / continuous - 1):+.3f} %" for rule in RULES)
            saved = 100 * (1 - costs["nearest"] / costs["up"])
            bpp = continuous / given.pixels
            lines.append(f"| {rate_to_quality(rate):g} | {bpp:.4f} | {grid.title} | {over} | {saved:.3f} % |")
    return lines


def shifted(found: dict[int, Latents], title: str) -> list[str]:
    """Markdown: what each shift ahead of rounding down costs over the nearest, on the codec's grid."""
    grid = Grid(SCALES, SCALE_MAX)
    lines = [
        f"| {title}: quality | {' | '.join(f'{shift:g}' for shift in SHIFTS)} |",
        "|---:" * (1 + len(SHIFTS)) + "|",
    ]
    for rate, given in found.items():
        costs = np.array([grid.bits(given, shift) for shift in SHIFTS])
        over = " | ".join(f"{100 * each:+.3f} %" for each in costs / costs[SHIFTS.index(0.5)] - 1)
        lines.append(f"| {rate_to_quality(rate):g} | {over} |")
    return lines


def crops(folder: Path, count: int, side: int) -> list[NDArray[np.uint8]]:
    """The middle of the first `count` pictures of a folder, at most `side` pixels wide and high."""
    found = []
    for path in sorted(each for each in folder.iterdir() if each.suffix in SUFFIXES)[:count]:
        pixels = images.to_rgb(images.load(path).pixels)
        sides = [min(side, length) // BLOCK * BLOCK for length in pixels.shape[:2]]
        top, left = ((length - each) // 2 for length, each in zip(pixels.shape, sides, strict=False))
        found.append(pixels[top : top + sides[0], left : left + sides[1]])
    return found


def main() -> None:
    """Prints the tables as Markdown."""
    parser = argparse.ArgumentParser(description="What rounding the scale index costs.")
    parser.add_argument("folder", nargs="?", type=Path, default=FOLDER)
    parser.add_argument("--pictures", type=int, default=8)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--rates", type=int, nargs="+", default=[18, 58, 98, 138, 178])
    parser.add_argument("--seed", type=int, default=1, help="of the simulated symbols")
    arguments = parser.parse_args()
    pictures, model = crops(arguments.folder, arguments.pictures, arguments.side), shipped()
    found: dict[int, Latents] = {}
    with Progress(console=Console(stderr=True), transient=True) as bar:
        for rate in bar.track(arguments.rates, description="walking pictures"):
            found[rate] = walked(model, pictures, rate)
    drawn = {rate: given.simulated(np.random.default_rng(arguments.seed)) for rate, given in found.items()}
    for title, latents_of in (("real", found), ("simulated", drawn)):
        print("\n".join([*compared(latents_of, title), "", *shifted(latents_of, title), ""]))


if __name__ == "__main__":
    main()
