"""What a model makes of a picture before the coder: latents, what was predicted of them, and what they cost.

`measure` walks the model as `encode` does. What it records says how well the entropy model fits: normalised latents
should be standard normal and free of spatial correlation, and the bits should lie where the picture has detail.
docs/latents.md explains the measures and shows what comes out.
"""

from __future__ import annotations

import math
import numbers
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from intaglio import codec, container, images
from intaglio import given as known
from intaglio.bundle import Model, load_model
from intaglio.coders import ROUNDING, Floats, Round, place
from intaglio.container import TileBox
from intaglio.errors import ArgumentError
from intaglio.quality import rate_to_quality
from intaglio.quantiser import Quantiser
from intaglio.rans import Tables
from intaglio.scales import SCALE_MIN, SCALES, index_to_scale, scale_grid
from intaglio.traversal import Layout

Doubles = NDArray[np.float64]
REACH = 4  # offsets that the correlation looks at, in latents each way


@dataclass(frozen=True, eq=False)
class Coded:
    """What the coder is given, and what its tables charge.

    symbols: int32; rows: uint8, the table of each symbol; bits: float64. All of one shape (1,channels,height,width).
    """

    symbols: NDArray[np.int32]
    rows: NDArray[np.uint8]
    bits: Doubles


@dataclass(frozen=True, eq=False)
class Latents(Coded):
    """The latents of one picture on the grid of y: 1/16 of its size, padded to whole blocks of 4 x 4 latents.

    symbols, rows, bits: of y; of a trellis the symbols are no steps, and the rows those of both quantisers. y, y_hat:
    float32, before and after rounding. means: float32, and scales: float64, of the distribution that each latent is
    coded with, see `table_moments`. All (1,M,H,W), and as coded: where the model has gains, with them, while the
    synthesis sees y_hat without. z: the hyper-latents (1,C,H/4,W/4), None for a model without. bound: what
    `normalised` and `active` take where they are told nothing. quality: 1..100; size: width and height of the
    picture in pixels.
    """

    y: Floats
    y_hat: Floats
    means: Floats
    scales: Doubles
    z: Coded | None
    bound: float
    quality: float
    size: tuple[int, int]

    @property
    def total_bits(self) -> float:
        """Bits of y and z: the picture's estimate, see `codec.estimate`."""
        return float(self.bits.sum() + (0.0 if self.z is None else self.z.bits.sum()))

    @property
    def channel_bits(self) -> Doubles:
        """Bits of each channel of y, float64 (M,)."""
        return self.bits.sum(axis=(0, 2, 3))

    @property
    def allocation(self) -> Doubles:
        """Bits at each place of the grid, float64 (H,W); those of z spread evenly over the latents that they serve.
        Their sum is `total_bits`.
        """
        spent = self.bits.sum(axis=(0, 1))
        if self.z is not None:
            cells = self.z.bits.sum(axis=(0, 1))
            side = spent.shape[0] // cells.shape[0]
            spent += np.kron(cells, np.full((side, side), side**-2.0))
        return spent

    def normalised(self, bound: float | None = None) -> Doubles:
        """(y - mean) / scale, or with a bound (y - mean) / max(scale, bound): float64 (1,M,H,W)."""
        scales = self.scales if bound is None else np.maximum(self.scales, check_bound(bound))
        return (self.y - self.means) / scales

    def active(self, bound: float | None = None) -> NDArray[np.bool_]:
        """Where the scale lies at the bound or below it, (1,M,H,W).

        At SCALE_MIN, the lowest scale of the grid, these are the latents whose scale the grid itself may have raised.
        """
        return self.scales <= check_bound(self.bound if bound is None else bound)


@dataclass(frozen=True)
class Moments:
    """count: of the values; mean, variance; kurtosis: the excess over the Gaussian's, m4 / m2^2 - 3. NaN where there is
    no such figure: no value at all, or for the kurtosis no variance.
    """

    count: int
    mean: float
    variance: float
    kurtosis: float


def check_bound(bound: float) -> float:
    """The bound as a float. Raises ArgumentError unless it is a finite number above zero."""
    fine = isinstance(bound, numbers.Real) and not isinstance(bound, bool) and math.isfinite(bound) and bound > 0
    if not fine:
        raise ArgumentError(f"bound is {bound!r}; it must be a finite number above zero")
    return float(bound)


def measure(
    image: Image.Image | codec.Pixels,
    quality: float | None = None,
    *,
    model: codec.ModelName = "photo",
    bound: float = SCALE_MIN,
    threads: int | None = None,
    progress: codec.Progress | None = None,
) -> Latents:
    """The picture's latents, those of several tiles side by side.

    bound: see `Latents`; the other arguments are as for `codec.encode`. Raises ArgumentError (also for a model that
    needs a given picture), ImageError, ModelError.
    """
    bound = check_bound(bound)
    pixels = images.from_image(image).pixels
    runner = model if isinstance(model, Model) else load_model(model, threads)
    known.check_alone(runner.given, runner.name)
    header = codec.header_for(pixels, codec.rate_for(quality, runner), runner)
    boxes = container.tile_grid(header)
    report: codec.Progress = progress if progress and len(boxes) > 1 else lambda done, total: None
    report(0, len(boxes))
    tiles: list[_Recorded] = []
    for tile in codec.walk_tiles(pixels, header, runner, _Recorded):
        assert isinstance(tile, _Recorded)
        tiles.append(tile)
        report(len(tiles), len(boxes))
    found, z = (_joined(parts, boxes) for parts in ([tile.y for tile in tiles], [tile.z for tile in tiles]))
    means, scales = table_moments(runner.tables, runner.quantiser)
    return Latents(
        means=found.pop("loc") + means.astype(np.float32)[found["rows"]],
        scales=scales[found["rows"]],
        z=Coded(**z) if z else None,
        bound=bound,
        quality=rate_to_quality(header.rate),
        size=(header.width, header.height),
        **found,
    )


def _joined(tiles: list[dict[str, NDArray[Any]]], boxes: tuple[TileBox, ...]) -> dict[str, NDArray[Any]]:
    """The tiles' arrays side by side, name by name."""
    joined = {}
    for name in tiles[0]:
        lines: dict[int, list[NDArray[Any]]] = {}
        for tile, box in zip(tiles, boxes, strict=True):
            lines.setdefault(box.y, []).append(tile[name])
        joined[name] = np.block(list(lines.values()))  # the inner lists along the columns, the outer one along the rows
    return joined


class _Recorded(Round):
    """Keeps what it sees: `y` and `z`, each what belongs to it by name; `z` is empty where there is none."""

    def __init__(self, layout: Layout, tables: Tables, quantiser: Quantiser = ROUNDING) -> None:
        super().__init__(layout, tables, quantiser)
        self.y: dict[str, NDArray[Any]] = {}
        self.z: dict[str, NDArray[Any]] = {}
        self._slice: dict[str, NDArray[Any]] = {}

    def _code(self, symbols: NDArray[np.int32] | None, rows: NDArray[np.uint8]) -> NDArray[np.int32]:
        assert symbols is not None
        self._slice = {"symbols": symbols, "rows": rows, "bits": self.tables.bits(symbols, rows)}
        return symbols

    def factorized(self, z: Floats | None, rows: Any) -> Floats:
        z_hat = super().factorized(z, rows)
        self.z = self._slice
        return z_hat

    def empty_y(self, y: Floats | None) -> Floats:
        assert y is not None
        y_hat = super().empty_y(y)
        kinds = {"loc": np.float32, "symbols": np.int32, "rows": np.uint8, "bits": np.float64}
        self.y = {"y": y, "y_hat": y_hat} | {name: np.empty(y.shape, kind) for name, kind in kinds.items()}
        return y_hat  # which the steps fill in place

    def gaussian(self, y: Floats | None, y_hat: Floats, params: tuple[Floats, Any], step: int) -> Floats:
        y_hat = super().gaussian(y, y_hat, params, step)
        for name, values in {"loc": params[0], **self._slice}.items():
            place(self.y[name], values, self.layout, step)
        return y_hat


def table_moments(tables: Tables, quantiser: Quantiser = ROUNDING) -> tuple[Doubles, Doubles]:
    """Mean and scale that each table stands for, beside the mean that a latent's symbol was taken from: float64 (N,).

    A table of the scale grid has mean 0 and its row's scale. Any other, such as one of a learned density, has the mean
    and the standard deviation of its own distribution over what its symbols stand for, escapes aside, and at least
    SCALE_MIN.
    """
    grid = Tables.from_gaussian_scales(scale_grid())
    means, scales = np.zeros(len(tables)), np.empty(len(tables))
    meant = np.split(quantiser.values(tables), np.cumsum(tables.sizes)[:-1])
    for row in range(len(tables)):
        first, cells = _cells(tables, row)
        if not quantiser.follows and row < SCALES and (first, *cells) == (_cells(grid, row)[0], *_cells(grid, row)[1]):
            scales[row] = index_to_scale(row)
        else:
            values, weights = meant[row][:-1], np.asarray(cells[:-1], np.float64)
            means[row] = np.average(values, weights=weights)
            variance = np.average((values - means[row]) ** 2, weights=weights)
            scales[row] = max(math.sqrt(variance), SCALE_MIN)
    return means, scales


def _cells(tables: Tables, row: int) -> tuple[int, list[int]]:
    """First symbol and frequencies of a table."""
    start = int(tables.sizes[:row].sum())
    return int(tables.first[row]), tables.frequencies[start : start + int(tables.sizes[row])].tolist()


def moments(values: NDArray[Any]) -> Moments:
    """Moments of values of any shape, each counting once. Raises ArgumentError if one is not finite."""
    flat = _finite("values", values).reshape(-1)
    if not flat.size:
        return Moments(0, math.nan, math.nan, math.nan)
    mean = float(flat.mean())
    squares = np.square(flat - mean)
    variance = float(squares.mean())
    kurtosis = float(np.square(squares).mean()) / variance**2 - 3.0 if variance else math.nan
    return Moments(flat.size, mean, variance, kurtosis)


def spatial_correlation(values: NDArray[Any], weights: NDArray[Any] | None = None, reach: int = REACH) -> Doubles:
    """Correlation of a field with itself shifted by -reach..reach rows and columns: float64 (2 reach + 1, 2 reach + 1).

    values: (M,H,W) or (1,M,H,W), the normalised latents; weights: (M,), such as the bits of each channel, equal without
    any. Entry (reach + i, reach + j) is the weighted mean over the channels of Pearson's correlation between v[r, c]
    and v[r + i, c + j], over all places that both lie in. A channel without variance does not count; NaN where no
    channel is left, as for shifts beyond the grid. The measure of Zhu, Yang and Cohen, "Transformer-based transform
    coding", ICLR 2022, there averaged over all latents alike. Raises ArgumentError for other shapes, a value that is
    not finite, weights that are negative or all zero.
    """
    field = _finite("values", values)
    field = field[0] if field.ndim == 4 and field.shape[0] == 1 else field
    if field.ndim != 3 or not field.size:
        raise ArgumentError(f"values have shape {np.shape(values)}; it must be (M,H,W) or (1,M,H,W), not empty")
    weigh = np.ones(len(field)) if weights is None else _finite("weights", weights)
    if weigh.shape != (len(field),) or (weigh < 0).any() or not weigh.any():
        wanted = f"they must be {len(field)} numbers >= 0, not all 0, one for each channel"
        raise ArgumentError(f"weights have shape {weigh.shape}, smallest {weigh.min(initial=0.0):g}; {wanted}")
    if reach < 0:
        raise ArgumentError(f"reach is {reach}; it must be 0 or more")
    field = field - field.mean(axis=(1, 2), keepdims=True)
    height, width = field.shape[1:]
    found = np.full((2 * reach + 1, 2 * reach + 1), np.nan)
    for down in range(min(reach, height - 1) + 1):
        for right in range(max(-reach, 1 - width) if down else 0, min(reach, width - 1) + 1):
            left = max(0, -right)
            here = field[:, : height - down, left : width - max(0, right)]
            there = field[:, down:, left + right : width + min(0, right)]
            value = _weighted(_pearson(here, there), weigh)
            found[reach + down, reach + right] = found[reach - down, reach - right] = value
    return found


def _pearson(a: Doubles, b: Doubles) -> Doubles:
    """Correlation of each channel of (M,H,W) with the other's, (M,); NaN without variance. Means are near 0."""
    products = [np.einsum("mhw,mhw->m", *pair) / a[0].size for pair in ((a, b), (a, a), (b, b))]
    means = a.mean(axis=(1, 2)), b.mean(axis=(1, 2))
    both, one, other = products[0] - means[0] * means[1], products[1] - means[0] ** 2, products[2] - means[1] ** 2
    varies = (one > 1e-10 * products[1]) & (other > 1e-10 * products[2])  # less is what rounding leaves of equal values
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(varies, both / np.sqrt(one * other), np.nan)


def _weighted(values: Doubles, weights: Doubles) -> float:
    kept = ~np.isnan(values) & (weights > 0)
    return float(np.average(values[kept], weights=weights[kept])) if kept.any() else math.nan


def normal_quantiles(values: NDArray[Any]) -> tuple[Doubles, Doubles]:
    """For a normality (Q-Q) plot: quantiles of the standard normal, in steps of 1/10 as far out as the number of values
    allows, and the same quantiles of the values; float64, two of one length.

    Raises ArgumentError if there is no value, or one is not finite.
    """
    flat = _finite("values", values).reshape(-1)
    if not flat.size:
        raise ArgumentError("values are empty; there are no quantiles")
    normal = NormalDist()
    reach = int(-10.0 * normal.inv_cdf(0.5 / flat.size)) if flat.size > 1 else 0
    theory = np.arange(-reach, reach + 1) / 10.0
    return theory, np.quantile(flat, [normal.cdf(float(each)) for each in theory])


def _finite(name: str, values: NDArray[Any]) -> Doubles:
    try:
        found = np.asarray(values, np.float64)
    except (TypeError, ValueError):
        raise ArgumentError(f"{name} are of type {type(values).__name__}; they must be an array of numbers") from None
    if not np.isfinite(found).all():
        raise ArgumentError(f"{name}, of shape {found.shape}, hold NaN or infinity; every number must be finite")
    return found
