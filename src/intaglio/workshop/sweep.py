"""One run for each of a few lambdas, and the rate-distortion curve of their models beside JPEG's, by real files."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path

import numpy as np
from rich.progress import track

from intaglio import codec, codecs, metrics
from intaglio.bundle import load_model
from intaglio.errors import ArgumentError
from intaglio.images import atomic_write
from intaglio.workshop import checkpoint
from intaglio.workshop.config import RunConfig
from intaglio.workshop.data import Pixels, load_pictures, picture_files
from intaglio.workshop.distributed import alone_or_first
from intaglio.workshop.export import export
from intaglio.workshop.train import train

JPEG_QUALITIES = (5, 10, 20, 35, 50, 65, 80, 90, 95)
MODEL = "model.itgm"


@dataclass(frozen=True)
class Point:
    """Means over the pictures: bytes of the whole file, bits per pixel, PSNR in dB, MS-SSIM (NaN if one is too small).

    setting: lambda of our models, quality of JPEG.
    """

    codec: str
    setting: float
    bytes: float
    bpp: float
    psnr: float
    ms_ssim: float


def runs(config: RunConfig) -> list[RunConfig]:
    """The runs of a sweep: each in a folder of its own, with an equal share of the minutes."""
    minutes = config.train.minutes / len(config.sweep.lmbdas)
    return [
        replace(
            config, train=replace(config.train, lmbda=lmbda, minutes=minutes, out=str(folder(config.train.out, lmbda)))
        )
        for lmbda in config.sweep.lmbdas
    ]


def folder(out: str | Path, lmbda: float) -> Path:
    """Where in a sweep's folder the run of a lambda lies; different lambdas have different folders."""
    return Path(out) / f"lmbda-{_exact(lmbda)}"


def _exact(value: float) -> str:
    """The shortest text that reads back as this number; 2 rather than 2.0."""
    return repr(float(value)).removesuffix(".0")


def sweep(config: RunConfig) -> list[Point]:
    """Trains and measures a model for each lambda; goes on where an earlier call stopped.

    Each run's folder holds what `train` writes and the exported model, `model.itgm`; the sweep's folder `rd.csv` and
    `rd.png`. Returns the points, or nothing in processes other than the first. Raises what `train`, `export` and the
    codec raise.
    """
    if not config.data.val:
        raise ArgumentError("configuration: [data] val is missing; a sweep measures its models on these pictures")
    before: Path | None = None
    for run in runs(config):
        out = Path(run.train.out)
        resume = checkpoint.exists(out)
        train(run, resume=resume, start=before if config.sweep.warm and not resume else None)
        before = out
    if not alone_or_first():
        return []
    points = _measured(config)
    out = Path(config.train.out)
    atomic_write(out / "rd.csv", _as_csv(points).encode())
    _draw(points, out / "rd.png", config.train.distortion == "ms-ssim")
    for point in points:
        print(f"{point.codec} {_exact(point.setting)}: {point.bpp:.4f} bpp  {point.psnr:.2f} dB", flush=True)
    return points


def _measured(config: RunConfig) -> list[Point]:
    pictures = load_pictures(picture_files(config.data.val, "[data] val"), "decoding validation pictures")
    coders = [_ours(run) for run in runs(config)]
    jpeg = codecs.available().codecs["jpeg"]
    coders += [
        _Coder("jpeg", quality, partial(jpeg.encode, quality=quality), jpeg.decode) for quality in JPEG_QUALITIES
    ]
    return [_point(coder, pictures) for coder in track(coders, "coding the validation pictures", transient=True)]


@dataclass(frozen=True)
class _Coder:
    name: str
    setting: float
    encode: Callable[[Pixels], bytes]
    decode: Callable[[bytes], Pixels]


def _ours(run: RunConfig) -> _Coder:
    path = Path(run.train.out) / MODEL
    export(run.train.out, path)
    model = load_model(str(path))
    return _Coder(run.model, run.train.lmbda, partial(codec.encode, model=model), partial(codec.decode, model=model))


def _point(coder: _Coder, pictures: list[Pixels]) -> Point:
    rows = []
    for picture in pictures:
        data = coder.encode(picture)
        decoded = coder.decode(data)
        height, width = picture.shape[:2]
        large = min(height, width) >= metrics.MS_SSIM_MIN_SIDE
        similar = metrics.ms_ssim(picture, decoded) if large else math.nan
        bpp = metrics.bits_per_pixel(len(data), width, height)
        rows.append((len(data), bpp, metrics.psnr(picture, decoded), similar))
    return Point(coder.name, coder.setting, *np.mean(rows, axis=0).tolist())


def _as_csv(points: list[Point]) -> str:
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(field.name for field in fields(Point))
    for point in points:
        values = (asdict(point) | {"setting": _exact(point.setting)}).values()
        rows.writerow(each if isinstance(each, str) else "" if math.isnan(each) else f"{each:.6g}" for each in values)
    return text.getvalue()


def _draw(points: list[Point], path: Path, similarity: bool) -> None:
    """PSNR, or MS-SSIM in dB, over bits per pixel."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 5), layout="constrained")
    axes = figure.subplots()
    for name in dict.fromkeys(point.codec for point in points):
        curve = sorted((p for p in points if p.codec == name), key=lambda point: point.bpp)
        heights = [metrics.ms_ssim_db(p.ms_ssim) if similarity else p.psnr for p in curve]
        axes.plot([p.bpp for p in curve], heights, ".--" if name == "jpeg" else "o-", label=name)
    axes.set(xlabel="bits per pixel (whole files)", ylabel="MS-SSIM (dB)" if similarity else "PSNR (dB)")
    axes.grid(alpha=0.3)
    axes.legend()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    atomic_write(path, buffer.getvalue())
