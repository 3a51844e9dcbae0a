"""What the entropy coders are measured on: two synthetic workloads and the latents of a real picture.

    dense    sigma = exp(N(-0.7, 1)), clipped to 0.11..60
    sparse   three quarters at sigma 0.11, the others exp(N(-0.5, 0.8)), clipped alike
    picture  what a shipped model codes for a picture, all of its slices after one another

The synthetic symbols are rounded draws of N(0, sigma); the table is the one nearest in log(sigma) out of 64
Gaussians with sigma from 0.11 to 64, evenly spaced in the logarithm.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from intaglio import codec, images
from intaglio.bundle import load_model
from intaglio.coders import ROUNDING, Round
from intaglio.latents import table_moments
from intaglio.quality import quality_to_rate
from intaglio.quantiser import Quantiser
from intaglio.rans import Tables
from intaglio.traversal import Layout

SYNTHETIC = ("dense", "sparse")
QUALITY = 50.0  # of the picture
_ROWS = 64
_NARROWEST, _WIDEST = 0.11, 64.0  # sigma of the first and of the last table
_LARGEST = 60.0  # sigma of a symbol


@dataclass(frozen=True)
class Workload:
    """Symbols and everything a coder may want to know about them.

    symbols: int32 (n,); indexes: uint8 (n,), the table of each; scales: float64, the standard deviation that each
    table stands for; tables: ours; costs: float64 (n,), ideal bits of each symbol; ideal: what "ideal" means here;
    about: where the symbols are from.
    """

    name: str
    about: str
    symbols: NDArray[np.int32]
    indexes: NDArray[np.uint8]
    scales: NDArray[np.float64]
    tables: Tables
    costs: NDArray[np.float64]
    ideal: str

    @property
    def ideal_bits(self) -> float:
        """Ideal bits per symbol, the mean of `costs`."""
        return float(self.costs.mean())

    @property
    def reach(self) -> int:
        """Largest absolute symbol, at least 1."""
        return max(1, int(np.abs(self.symbols).max()))

    def head(self, count: int) -> Workload:
        """The first `count` symbols, or all if there are fewer."""
        return replace(self, symbols=self.symbols[:count], indexes=self.indexes[:count], costs=self.costs[:count])


def synthetic(name: str, count: int, seed: int) -> Workload:
    """`count` (1 or more) symbols of the workload "dense" or "sparse"; equal arguments give equal symbols.

    The ideal is -log2 of the symbol's exact probability under its table's Gaussian.
    """
    rng = np.random.default_rng([seed, SYNTHETIC.index(name)])
    if name == "dense":
        sigma = np.exp(rng.normal(-0.7, 1.0, count))
    else:
        sigma = np.where(rng.random(count) < 0.75, _NARROWEST, np.exp(rng.normal(-0.5, 0.8, count)))
    sigma = sigma.clip(_NARROWEST, _LARGEST)
    scales = np.geomspace(_NARROWEST, _WIDEST, _ROWS)
    step = math.log(_WIDEST / _NARROWEST) / (_ROWS - 1)
    indexes = np.rint(np.log(sigma / _NARROWEST) / step).astype(np.uint8)
    symbols = np.rint(rng.normal(0.0, sigma)).astype(np.int32)
    return Workload(
        name=name,
        about=f"synthetic, seed {seed}",
        symbols=symbols,
        indexes=indexes,
        scales=scales,
        tables=Tables.from_gaussian_scales(scales),
        costs=_gaussian_costs(symbols, indexes, scales),
        ideal="the exact Gaussian of each symbol's table",
    )


def picture(path: Path) -> Workload:
    """The symbols and indexes that the model `photo` codes for the picture at quality 50.

    They come from the codec's own traversal, with a coder that records. The slices of all tiles are put after one
    another, so every coder has them in a single call. The ideal is what our tables charge (`Tables.bits`); peers
    that want a standard deviation get the one that the table's row stands for. Raises ImageError.
    """
    pixels = images.load(path).pixels
    model = load_model("photo")
    header = codec.header_for(pixels, quality_to_rate(QUALITY), model)
    slices: list[tuple[NDArray[np.int32], NDArray[np.uint8]]] = []
    for coder in codec.walk_tiles(pixels, header, model, _Record):
        slices += cast(_Record, coder).slices
    symbols = np.concatenate([part.reshape(-1) for part, _ in slices])
    indexes = np.concatenate([part.reshape(-1) for _, part in slices])
    height, width = pixels.shape[:2]
    return Workload(
        name="picture",
        about=f"{path.name}, {width} x {height}, quality {QUALITY:g}, all slices as one",
        symbols=symbols,
        indexes=indexes,
        scales=table_moments(model.tables)[1],
        tables=model.tables,
        costs=model.tables.bits(symbols, indexes),
        ideal="what our own tables charge",
    )


class _Record(Round):
    """Keeps every slice that goes through the coder."""

    def __init__(self, layout: Layout, tables: Tables, quantiser: Quantiser = ROUNDING) -> None:
        super().__init__(layout, tables, quantiser)
        self.slices: list[tuple[NDArray[np.int32], NDArray[np.uint8]]] = []

    def _code(self, symbols: NDArray[np.int32] | None, rows: NDArray[np.uint8]) -> NDArray[np.int32]:
        assert symbols is not None
        self.slices.append((symbols, rows))
        return symbols


def upper_tails(scale: float, edges: NDArray[np.floating]) -> NDArray[np.float64]:
    """P(X > edge) for X ~ N(0, scale), float64 in the shape of `edges` (one-dimensional); full relative precision
    far out."""
    unit = 1.0 / (scale * math.sqrt(2.0))
    return np.array([0.5 * math.erfc(float(edge) * unit) for edge in edges])


def _gaussian_costs(
    symbols: NDArray[np.int32], indexes: NDArray[np.uint8], scales: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Bits of each symbol under N(0, scales[index]) rounded to integers."""
    sizes = np.abs(symbols)
    edges = np.arange(int(sizes.max()) + 2) - 0.5
    with np.errstate(divide="ignore"):  # cells so far out that they underflow; no symbol falls there
        costs = np.array([-np.log2(-np.diff(upper_tails(float(scale), edges))) for scale in scales])
    return costs[indexes, sizes]
