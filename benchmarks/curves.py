"""Rate-distortion curves from measured points: means over pictures, BD-rates, margins, tables, a plot."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from scipy.interpolate import PchipInterpolator

from intaglio import metrics

OURS, JPEG = "intaglio", "jpeg"
LABELS = {
    "intaglio": "Intaglio",
    "jpeg": "JPEG 4:2:0",
    "jpeg2000": "JPEG 2000",
    "webp": "WebP",
    "avif": "AVIF",
}
FLOOR_RANGE = (0.25, 1.5)  # bits per pixel between which the curve may not fall below JPEG's


@dataclass(frozen=True)
class Point:
    """One picture coded once: bytes of the file, PSNR (RGB, luma, chroma; dB), MS-SSIM, seconds each way."""

    codec: str
    setting: float
    picture: str
    size: int
    bpp: float
    psnr: float
    psnr_luma: float
    psnr_chroma: float
    ms_ssim: float
    encode_s: float
    decode_s: float


@dataclass(frozen=True)
class Curve:
    """Mean over the pictures for every setting of one codec, by rising rate: arrays of one length."""

    codec: str
    settings: np.ndarray
    bpp: np.ndarray
    psnr: np.ndarray
    ms_ssim: np.ndarray

    @property
    def points(self) -> np.ndarray:
        """(n, 2): bits per pixel and PSNR in dB."""
        return np.stack([self.bpp, self.psnr], axis=1)

    def at(self, bpp: np.ndarray) -> np.ndarray:
        """PSNR in dB at `bpp` bits per pixel, by PCHIP over the rate's logarithm; NaN beyond the ends."""
        if len(self.bpp) < 2:
            return np.full(np.shape(bpp), np.nan)
        return PchipInterpolator(np.log(self.bpp), self.psnr, extrapolate=False)(np.log(bpp))


def write_points(points: Iterable[Point]) -> str:
    """The points as CSV with a heading."""
    out = io.StringIO()
    writer = csv.DictWriter(out, [field.name for field in fields(Point)], lineterminator="\n")
    writer.writeheader()
    for point in points:
        row = asdict(point)
        writer.writerow({key: f"{value:.6g}" if isinstance(value, float) else value for key, value in row.items()})
    return out.getvalue()


def read_points(path: Path) -> list[Point]:
    """The points in a CSV that `write_points` made; none when the file does not exist."""
    if not path.exists():
        return []
    kinds = {"codec": str, "picture": str, "size": int}
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [Point(**{key: kinds.get(key, float)(value) for key, value in row.items()}) for row in rows]


def mean_curves(points: Iterable[Point]) -> dict[str, Curve]:
    """A curve for every codec. Rates and measures are averaged over the pictures, setting by setting."""
    groups: dict[str, dict[float, list[Point]]] = defaultdict(lambda: defaultdict(list))
    for point in points:
        groups[point.codec][point.setting].append(point)
    curves = {}
    for codec, settings in groups.items():
        means = [
            (setting, *(np.mean([getattr(p, key) for p in group]) for key in ("bpp", "psnr", "ms_ssim")))
            for setting, group in settings.items()
        ]
        columns = np.array(sorted(means, key=lambda row: row[1])).T
        curves[codec] = Curve(codec, *columns)
    return curves


def published(path: Path, methods: dict[str, str]) -> dict[str, Curve]:
    """Published curves of `methods` (name there -> here); the CSV has columns method, bpp, psnr_rgb_db."""
    rows = defaultdict(list)
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            if row["method"] in methods:
                rows[methods[row["method"]]].append((float(row["bpp"]), float(row["psnr_rgb_db"])))
    curves = {}
    for name, pairs in rows.items():
        bpp, psnr = np.array(sorted(pairs)).T
        unknown = np.full(len(bpp), np.nan)
        curves[name] = Curve(name, unknown, bpp, psnr, unknown)
    return curves


def bd_rates(curves: dict[str, Curve]) -> dict[str, tuple[float, float, float]]:
    """Our BD-rate against every other curve in percent (negative: fewer bytes), and the PSNRs it spans."""
    ours = curves[OURS]
    rates: dict[str, tuple[float, float, float]] = {}
    if len(ours.bpp) < 2:
        return rates
    for name, other in curves.items():
        low, high = max(ours.psnr.min(), other.psnr.min()), min(ours.psnr.max(), other.psnr.max())
        if name != OURS and low < high:
            rates[name] = (metrics.bd_rate(other.points, ours.points), low, high)
    return rates


def margin_over_jpeg(curves: dict[str, Curve]) -> tuple[float, float]:
    """Smallest PSNR margin over JPEG in dB between 0.25 and 1.5 bits per pixel, and the rate where it lies.

    The margin is NaN when either curve does not reach over that range.
    """
    grid = np.geomspace(*FLOOR_RANGE, 200)
    margin = curves[OURS].at(grid) - curves[JPEG].at(grid)
    worst = int(np.argmin(margin)) if not np.isnan(margin).any() else int(np.argmax(np.isnan(margin)))
    return float(margin[worst]), float(grid[worst])


def table(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table, numbers to the right."""
    lines = ["| " + " | ".join(heading) + " |", "|---" + "|---:" * (len(heading) - 1) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def curve_table(curves: dict[str, Curve]) -> str:
    """The measured mean curves: codec, setting, bits per pixel, PSNR, MS-SSIM."""
    rows = [
        (LABELS[curve.codec], f"{setting:g}", f"{bpp:.4f}", f"{psnr:.2f}", f"{ms_ssim:.4f}")
        for curve in curves.values()
        for setting, bpp, psnr, ms_ssim in zip(curve.settings, curve.bpp, curve.psnr, curve.ms_ssim, strict=True)
        if not np.isnan(setting)
    ]
    return table(("codec", "setting", "bpp", "PSNR (dB)", "MS-SSIM"), rows)


def bd_table(curves: dict[str, Curve]) -> str:
    """BD-rate against every other codec, with the range of PSNR it covers."""
    rates = bd_rates(curves).items()
    rows = [(LABELS.get(name, name), f"{rate:+.1f} %", f"{low:.1f} to {high:.1f}") for name, (rate, low, high) in rates]
    return table(("Intaglio against", "BD-rate", "over PSNR (dB)"), rows)


def plot(curves: dict[str, Curve], title: str) -> bytes:
    """The curves as a PNG: PSNR over bits per pixel, up to 2.5; published ones are dashed."""
    figure = Figure(figsize=(8, 5.5), dpi=110)
    axes = figure.subplots()
    for name, curve in curves.items():
        style = "--" if np.isnan(curve.settings).any() else "-"
        width = 2.6 if name == OURS else 1.3
        axes.plot(
            curve.bpp,
            curve.psnr,
            style,
            marker="o",
            markersize=3,
            linewidth=width,
            label=LABELS.get(name, name),
        )
    axes.set(xlim=(0, 2.5), ylim=(24, 44), title=title)
    axes.set(xlabel="bits per pixel (whole file)", ylabel="PSNR over RGB (dB)")
    axes.grid(alpha=0.3)
    axes.legend()
    out = io.BytesIO()
    figure.savefig(out, format="png", bbox_inches="tight")
    return out.getvalue()
