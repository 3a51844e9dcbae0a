"""`intaglio inspect`: the measures of `intaglio.latents` as a table, as JSON, and as pictures.

Drawing needs matplotlib, from the extra intaglio[evaluate]; the table does not.
"""

from __future__ import annotations

import io
import math
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from intaglio import images
from intaglio.bundle import LATENT_SCALE
from intaglio.errors import ArgumentError
from intaglio.latents import Latents, Moments, moments, normal_quantiles, spatial_correlation

Figure = Any  # matplotlib's, which is imported only when something is drawn

_PALETTE = ("#0072B2", "#E69F00", "#009E73")  # Okabe and Ito's: told apart by colour-blind people
_KINDS = {"plain": "(y - mean) / scale", "bounded": "(y - mean) / max(scale, bound)", "above": "scale above the bound"}


@dataclass(frozen=True)
class Summary:
    """The figures of one picture.

    bits_y, bits_z: what the tables charge; bpp: both, per pixel. active_latents, active_bits: share, 0..1, of the
    latents of y and of their bits where the scale lies at the bound or below. normalised: moments of the normalised
    latents, all of them ("plain", and "bounded" with the bound in force), and those whose scale lies above the bound
    ("above"). correlation: of the plain ones and of the bounded, 9 rows of 9, see `latents.spatial_correlation`, each
    channel weighted by its bits. bits_per_channel: of y.
    """

    width: int
    height: int
    quality: float
    channels: int
    grid: tuple[int, int]
    bits_y: float
    bits_z: float
    bpp: float
    bound: float
    active_latents: float
    active_bits: float
    normalised: dict[str, Moments]
    correlation: dict[str, list[list[float]]]
    bits_per_channel: list[float]


def summary(found: Latents) -> Summary:
    """The figures of a picture's latents."""
    active, (width, height) = found.active(), found.size
    plain, bounded = found.normalised(), found.normalised(found.bound)
    return Summary(
        width=width,
        height=height,
        quality=found.quality,
        channels=found.y.shape[1],
        grid=(found.y.shape[2], found.y.shape[3]),
        bits_y=float(found.bits.sum()),
        bits_z=0.0 if found.z is None else float(found.z.bits.sum()),
        bpp=found.total_bits / (width * height),
        bound=found.bound,
        active_latents=float(active.mean()),
        active_bits=float(found.bits[active].sum() / found.bits.sum()),
        normalised={"plain": moments(plain), "bounded": moments(bounded), "above": moments(plain[~active])},
        correlation={
            name: spatial_correlation(values, found.channel_bits).tolist()
            for name, values in (("plain", plain), ("bounded", bounded))
        },
        bits_per_channel=found.channel_bits.tolist(),
    )


def as_json(figures: Summary) -> dict[str, Any]:
    """The summary for `json.dumps`: what is no number (NaN) becomes None."""

    def clean(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: clean(each) for key, each in value.items()}
        if isinstance(value, (list, tuple)):
            return [clean(each) for each in value]
        return None if isinstance(value, float) and math.isnan(value) else value

    return clean(asdict(figures))


def show(figures: Summary, title: str, console: Console) -> None:
    """Prints the table for people."""
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for heading in ("normalised latents", "count", "mean", "variance", "excess kurtosis"):
        table.add_column(heading, justify="left" if heading == "normalised latents" else "right", no_wrap=True)
    for name, found in figures.normalised.items():
        numbers = (f"{value:.3f}" for value in (found.mean, found.variance, found.kurtosis))
        table.add_row(_KINDS[name], f"{found.count:,}", *numbers)
    bits = figures.bits_y + figures.bits_z
    effect = "" if _bound_matters(figures) else "; no scale is below it, so it changes nothing"
    lines = [
        f"{figures.width} x {figures.height} pixels, quality {figures.quality:g}: {bits:,.0f} bits, {figures.bpp:.3f} "
        f"per pixel; {100 * figures.bits_z / bits:.1f} % of them for z",
        f"Bound {figures.bound:g}: {100 * figures.active_latents:.1f} % of the latents of y have a scale at or below "
        f"it, with {100 * figures.active_bits:.2f} % of y's bits{effect}",
        f"{_channels_for(figures, 0.9)} of {figures.channels} channels take 90 % of y's bits",
    ]
    centre = len(figures.correlation["plain"]) // 2
    for name, rows in figures.correlation.items():
        near = (rows[centre][centre + 1], rows[centre + 1][centre], rows[centre][centre + 2], rows[centre + 2][centre])
        told = ", ".join("none" if math.isnan(value) else f"{value:+.3f}" for value in near)
        lines.append(f"Correlation, {name}: 1 right, 1 down, 2 right, 2 down: {told}")
    console.print(table)
    for line in lines:
        console.print(line, markup=False, highlight=False)


def _channels_for(figures: Summary, share: float) -> int:
    falling = np.cumsum(sorted(figures.bits_per_channel, reverse=True))
    return int(np.searchsorted(falling, share * falling[-1])) + 1


def check_folder(folder: Path) -> None:
    """A look before long work: raises ArgumentError if `write` could not fill the folder, or matplotlib is missing."""
    _figure(1.0, 1.0)
    there = next((each for each in (folder, *folder.parents) if os.path.lexists(each)), Path())
    if not (there.is_dir() and os.access(there, os.W_OK | os.X_OK)):
        raise ArgumentError(f"{folder}: {there} is no folder that can be written to; name another")


def write(folder: Path, found: Latents, figures: Summary, pixels: NDArray[np.uint8]) -> None:
    """Writes the pictures and `latents.npz` into a folder, made if it is not there. pixels: uint8 (H,W,3) or (H,W).

    Raises ArgumentError if that fails or matplotlib is missing.
    """
    buffer = io.BytesIO()
    names = ("y", "y_hat", "means", "scales", "symbols", "rows", "bits", "allocation")
    hyper = {} if found.z is None else {f"z_{name}": array for name, array in vars(found.z).items()}
    np.savez_compressed(buffer, **{name: getattr(found, name) for name in names}, **hyper)
    files = {f"{name}.png": png for name, png in draw(found, figures, pixels).items()}
    images.make_folder(folder)
    for name, data in (files | {"latents.npz": buffer.getvalue()}).items():
        images.atomic_write(folder / name, data)


def draw(found: Latents, figures: Summary, pixels: NDArray[np.uint8]) -> dict[str, bytes]:
    """The pictures by name, as PNG: allocation, normality, correlation, channels. pixels: uint8 (H,W,3) or (H,W).

    Raises ArgumentError if matplotlib is missing.
    """
    drawn = {
        "allocation": _allocation(found, pixels),
        "normality": _normality(found, figures),
        "correlation": _correlation(figures),
        "channels": _channels(figures),
    }
    return {name: _png(figure) for name, figure in drawn.items()}


def _allocation(found: Latents, pixels: NDArray[np.uint8]) -> Figure:
    """The picture, and beside it where its bits go."""
    width, height = found.size
    spent = found.allocation / LATENT_SCALE**2
    side = min(4.7, max(1.0, 5.5 * width / height))  # width of a panel, in inches
    figure = _figure(1.8 + 2 * side, 0.9 + min(5.5, side * height / width))
    left, right = figure.subplots(1, 2)
    left.imshow(images.to_rgb(pixels), extent=(0, width, height, 0))
    left.set(title="picture", ylabel="pixels")
    shown = right.imshow(
        spent,
        cmap="viridis",
        extent=(0, spent.shape[1] * LATENT_SCALE, spent.shape[0] * LATENT_SCALE, 0),
        vmin=0.0,
        vmax=float(np.quantile(spent, 0.995)),
        interpolation="nearest",
    )
    right.set_title(f"{found.total_bits / (width * height):.3f} bits per pixel")
    for axes in (left, right):
        axes.set(xlim=(0, width), ylim=(height, 0), xlabel="pixels")
    figure.colorbar(shown, ax=[left, right], label="bits per pixel", extend="max", shrink=0.85, pad=0.02)
    return figure


def _normality(found: Latents, figures: Summary) -> Figure:
    """Quantiles of the normalised latents against those of the standard normal."""
    plain = found.normalised()
    drawn = {"plain": plain, "above": plain[~found.active()]}
    if _bound_matters(figures):
        drawn["bounded"] = found.normalised(found.bound)
    figure = _figure(6.5, 5.5)
    axes = figure.subplots()
    axes.axline((0.0, 0.0), slope=1.0, color="black", linewidth=1.0, linestyle="--", label="standard normal")
    for (name, values), colour, marker in zip(drawn.items(), _PALETTE, ("o", "^", "x"), strict=False):
        if values.size:
            label = f"{_KINDS[name]}: variance {figures.normalised[name].variance:.2f}"
            axes.plot(*normal_quantiles(values), marker, color=colour, markersize=4, label=label)
    axes.set(xlabel="quantile of the standard normal", ylabel="quantile of the normalised latents")
    axes.set_title(f"normality, bound {found.bound:g}")
    axes.grid(alpha=0.3)
    axes.legend(loc="upper left", fontsize=9)
    return figure


def _bound_matters(figures: Summary) -> bool:
    return figures.normalised["plain"] != figures.normalised["bounded"]


def _correlation(figures: Summary) -> Figure:
    """The correlation matrices of the normalised latents, one where the bound changes nothing."""
    matrices = {name: np.array(rows) for name, rows in figures.correlation.items()}
    if not _bound_matters(figures):
        del matrices["bounded"]
    centre = len(matrices["plain"]) // 2
    off = [np.delete(matrix.ravel(), matrix.size // 2) for matrix in matrices.values()]
    limit = float(np.nanmax(np.abs(off), initial=0.05))
    figure = _figure(1.0 + 5.2 * len(matrices), 5.2)
    panels = figure.subplots(1, len(matrices), squeeze=False)[0]
    shown = None
    for axes, (name, matrix) in zip(panels, matrices.items(), strict=True):
        extent = (-centre - 0.5, centre + 0.5, centre + 0.5, -centre - 0.5)
        shown = axes.imshow(matrix, cmap="PuOr", vmin=-limit, vmax=limit, extent=extent)
        for (row, column), value in np.ndenumerate(matrix):
            text = "1" if row == column == centre else "" if math.isnan(value) else f"{value:+.3f}"
            colour = "white" if abs(value) > 0.6 * limit else "black"
            axes.text(column - centre, row - centre, text, ha="center", va="center", fontsize=7, color=colour)
        ticks = range(-centre, centre + 1)
        axes.set(xticks=ticks, yticks=ticks, xlabel="columns to the right", ylabel="rows down")
        axes.set_title(_KINDS[name] + (f", bound {figures.bound:g}" if name == "bounded" else ""))
    assert shown
    figure.colorbar(shown, ax=list(panels), label="correlation", extend="max", shrink=0.85, pad=0.02)
    return figure


def _channels(figures: Summary) -> Figure:
    """Bits of each channel, and how many channels take which share of them."""
    spent = np.array(figures.bits_per_channel) / (figures.width * figures.height)
    least = max(float(spent.min()) / 2, float(spent.max()) / 1e6)
    figure = _figure(11.0, 4.2)
    left, right = figure.subplots(1, 2)
    left.fill_between(np.arange(len(spent)), least, np.maximum(spent, least), step="mid", color=_PALETTE[0])
    left.set(yscale="log", ylim=(least, None), xlabel="channel of y", ylabel="bits per pixel")
    left.set_title("bits per channel")
    share = 100.0 * np.cumsum(np.sort(spent)[::-1]) / spent.sum()
    right.plot(np.arange(1, len(share) + 1), share, color=_PALETTE[0])
    right.set(xlabel="channels, the dearest first", ylabel="share of y's bits (%)", ylim=(0, 101))
    right.set_title("share of the dearest channels")
    for axes in (left, right):
        axes.grid(alpha=0.3)
    return figure


def _figure(width: float, height: float) -> Figure:
    """A figure of that many inches."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ArgumentError("drawing needs matplotlib: pip install 'intaglio[evaluate]'") from None
    return Figure(figsize=(width, height), dpi=110, layout="constrained")


def _png(figure: Figure) -> bytes:
    out = io.BytesIO()
    figure.savefig(out, format="png", metadata={"Software": None})
    return out.getvalue()
