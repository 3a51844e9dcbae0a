"""Our measurements beside published ones: at the publishers' settings, and along the curves of our own settings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy.interpolate import PchipInterpolator

from intaglio import bdrate, rdcurves
from intaglio.codecs import Codec, PillowCodec
from intaglio.rdcurves import Curve
from intaglio.results import Mean, PublishedPoint, Row, means

# What CompressAI's results of Pillow's codecs were made with: quality 5 to 95, or ratio 10 to 190.
_STEPS = range(5, 96, 5)
_RATIOS = range(10, 191, 10)
COUNTERPARTS = {"jpeg": "jpeg", "jpeg2000": "jpeg2000", "webp": "webp", "avif": "av1"}  # ours -> published method


def _jpeg(quality: int, _grey: bool) -> Mapping[str, Any]:
    return {"quality": quality}


def _jpeg2000(ratio: int, _grey: bool) -> Mapping[str, Any]:
    return {"quality_mode": "rates", "quality_layers": [ratio], "mct": 1}


def _webp(quality: int, _grey: bool) -> Mapping[str, Any]:
    return {"quality": quality, "method": 4}


def publishers_codecs() -> tuple[Codec, ...]:
    """Pillow's codecs with the options that the published figures were made with, as far as known."""
    return (
        PillowCodec("jpeg", "JPEG 4:2:0", "JPEG", "libjpeg_turbo", _STEPS, tuple(_STEPS), _jpeg),
        PillowCodec("jpeg2000", "JPEG 2000", "JPEG2000", "jpg_2000", _RATIOS, tuple(_RATIOS), _jpeg2000),
        PillowCodec("webp", "WebP", "WEBP", "webp", _STEPS, tuple(_STEPS), _webp),
    )


def at(curve: np.ndarray, rates: np.ndarray) -> np.ndarray:
    """Quality of a curve (n, 2) at these rates in bits per pixel, by PCHIP over the rate's logarithm; NaN beyond it."""
    curve = curve[np.argsort(curve[:, 0])]
    return PchipInterpolator(np.log(curve[:, 0]), curve[:, 1], extrapolate=False)(np.log(rates))


def span(ours: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """Least and most of the difference ours - other in dB at equal rate, where both curves (n, 2) reach."""
    low = max(ours[:, 0].min(), other[:, 0].min())
    high = min(ours[:, 0].max(), other[:, 0].max())
    rates = np.geomspace(low * (1 + 1e-9), high * (1 - 1e-9), 200)
    difference = at(ours, rates) - at(other, rates)
    return float(difference.min()), float(difference.max())


def at_their_settings(rows: Iterable[Row], published: Mapping[str, Sequence[PublishedPoint]]) -> list[list[str]]:
    """For each codec: how many settings, the rates' largest difference, and least and most difference of the PSNR."""
    table = []
    found = means(rows)
    for codec in publishers_codecs():
        mine = [mean for mean in found if mean.codec == codec.name]
        theirs = published[codec.name]
        if len(mine) != len(theirs):
            continue
        rate, psnr = _differences(mine, theirs)
        table.append(
            [
                codec.label,
                str(len(mine)),
                f"{100 * np.abs(rate).max():.2f} %",
                f"{psnr.min():+.3f} to {psnr.max():+.3f}",
            ]
        )
    return table


def _differences(mine: Sequence[Mean], theirs: Sequence[PublishedPoint]) -> tuple[np.ndarray, np.ndarray]:
    """Ours against theirs at each setting, both by rising rate: relative rate, and PSNR in dB."""
    pairs = list(zip(mine, theirs, strict=True))
    rate = np.array([m.bpp / t.bpp - 1 for m, t in pairs])
    return rate, np.array([m.psnr - t.psnr for m, t in pairs])


def along_the_curves(
    curves: Mapping[str, Curve], published: Mapping[str, Sequence[PublishedPoint]], labels: Mapping[str, str]
) -> list[list[str]]:
    """For each codec: the mean of our PSNR less the published one at equal rate, least and most of it, our BD-rate."""
    table = []
    for name, method in COUNTERPARTS.items():
        if name not in curves or method not in published:
            continue
        theirs, ours = rdcurves.from_means(published[method], method), curves[name]
        found = bdrate.compare(theirs, ours)
        least, most = span(ours.mean, theirs.mean)
        table.append(
            [labels[name], method, f"{found.quality:+.2f}", f"{least:+.2f} to {most:+.2f}", f"{found.rate:+.1f} %"]
        )
    return table
