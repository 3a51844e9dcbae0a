"""Rate-distortion curves: of the rows of an evaluation, of two columns of numbers, of published tables."""

from __future__ import annotations

import csv
import math
import os
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from intaglio import metrics, results
from intaglio.errors import ArgumentError
from intaglio.results import Mean, PublishedPoint, Row

# What a curve's quality can be. MS-SSIM counts in decibels: its own scale squeezes all good pictures together.
METRICS = ("psnr", "psnr_y", "psnr_c", "ms_ssim_db", "ssimulacra2")
MIN_POINTS = 4
MIN_GAP = 1e-6  # of quality between two points: below it slopes are those of rounding
_PUBLISHED = ("psnr", "ms_ssim_db")


class Picture(NamedTuple):
    """What makes a picture the same in two files: its name and its size in pixels."""

    name: str
    width: int
    height: int


@dataclass(frozen=True)
class Curve:
    """One codec's rates in bits per pixel and qualities in units of `metric`: float64 (pictures, settings).

    `pictures` names the rows of both; it is empty for a curve that is a mean already, which has one row. `notices`
    are lines about what was left out.
    """

    name: str
    metric: str
    settings: tuple[str, ...]
    pictures: tuple[Picture, ...]
    rate: NDArray[np.float64]
    quality: NDArray[np.float64]
    notices: tuple[str, ...] = ()

    @property
    def mean(self) -> NDArray[np.float64]:
        """(settings, 2): rate and quality, each the arithmetic mean over the pictures, in the order of `settings`."""
        return np.stack([self.rate.mean(axis=0), self.quality.mean(axis=0)], axis=1)

    def on(self, pictures: Iterable[Picture]) -> Curve:
        """The curve of these of its pictures, in this order."""
        chosen = tuple(pictures)
        rows = [self.pictures.index(picture) for picture in chosen]
        return replace(self, pictures=chosen, rate=self.rate[rows], quality=self.quality[rows])


def check_metric(metric: str) -> None:
    """Raises ArgumentError unless `metric` is one of METRICS."""
    if metric not in METRICS:
        raise ArgumentError(f"the metric is {metric!r}; it must be one of {', '.join(METRICS)}")


def unit(metric: str) -> str:
    """What a metric is measured in, for people."""
    return "points" if metric == "ssimulacra2" else "dB"


def from_points(points: np.ndarray, name: str = "curve", metric: str = "psnr") -> Curve:
    """A mean curve of an array (n, 2): rates and qualities, in any order.

    Raises ArgumentError for another shape, fewer than four points, a rate that is not positive, a value that is not
    finite, or two points of the same quality (less than 1e-6 apart).
    """
    table = np.asarray(points, dtype=np.float64)
    if table.ndim != 2 or table.shape[1] != 2:
        raise ArgumentError(f"{name}: the curve has shape {table.shape}; it must be (n, 2), rates and qualities")
    settings = tuple(f"{rate:g} bpp" for rate in table[:, 0])
    return _checked(Curve(name, metric, settings, (), table[None, :, 0], table[None, :, 1]))


def from_means(points: Iterable[Mean | PublishedPoint], name: str, metric: str = "psnr") -> Curve:
    """A curve of means over pictures, by the mean PSNR, or by the mean MS-SSIM made decibels, as it is published: the
    mean of the pictures' decibels is higher. Points without that measure are left out. Raises ArgumentError for another
    metric, and as `from_points` does.
    """
    if metric not in _PUBLISHED:
        raise ArgumentError(f"{name}: there is no {metric} of means, only {' and '.join(_PUBLISHED)}")
    table = [(each.bpp, each.psnr if metric == "psnr" else metrics.ms_ssim_db(each.ms_ssim)) for each in points]
    known = [point for point in table if not math.isnan(point[1])]
    return from_points(np.array(known).reshape(-1, 2), name, metric)


def from_rows(rows: Iterable[Row], metric: str = "psnr") -> dict[str, Curve | str]:
    """The curve of every codec in the rows of one evaluation, or one line that says why it has none.

    A picture counts for a codec when the codec has a finite rate and quality for it at every setting that it was asked
    for on any picture; the others are left out, and a notice says so. Raises ArgumentError for an unknown metric.
    """
    check_metric(metric)
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row.codec:
            groups[row.codec].append(row)
    found: dict[str, Curve | str] = {}
    for codec, group in groups.items():
        try:
            found[codec] = _of_codec(codec, group, metric)
        except ArgumentError as error:
            found[codec] = str(error)
    return found


def _of_codec(codec: str, rows: list[Row], metric: str) -> Curve:
    coded = [row for row in rows if not row.error]
    pictures = tuple(dict.fromkeys(Picture(row.picture, row.width, row.height) for row in coded))
    settings = tuple(dict.fromkeys(row.setting for row in coded))
    if not settings:
        raise ArgumentError(f"{codec}: no picture was coded without an error")
    table = np.full((2, len(pictures), len(settings)), math.nan)
    for row in coded:
        line = pictures.index(Picture(row.picture, row.width, row.height))
        table[:, line, settings.index(row.setting)] = row.bpp, getattr(row, metric)
    usable = [bool(np.isfinite(table[:, line]).all()) for line in range(len(pictures))]
    if not any(usable):
        raise ArgumentError(f"{codec}: no picture has a finite bpp and {metric} at all of its {len(settings)} settings")
    left_out = listed(picture.name for picture, good in zip(pictures, usable, strict=True) if not good)
    notice = f"{codec}: left out, for want of a finite {metric} at every setting: {left_out}"
    kept = tuple(picture for picture, good in zip(pictures, usable, strict=True) if good)
    rate, quality = table[:, usable]
    return _checked(Curve(codec, metric, settings, kept, rate, quality, (notice,) if left_out else ()))


def listed(names: Iterable[str], most: int = 5) -> str:
    """The names by comma, the first few if they are many."""
    every = list(names)
    more = f" and {len(every) - most} more" if len(every) > most else ""
    return ", ".join(every[:most]) + more


def _checked(curve: Curve) -> Curve:
    points = curve.mean
    if len(points) < MIN_POINTS:
        raise ArgumentError(f"{curve.name}: {len(points)} points; a curve needs {MIN_POINTS} or more")
    if not np.isfinite(points).all() or curve.rate.min() <= 0:
        raise ArgumentError(f"{curve.name}: has a rate that is not positive, or a value that is not finite")
    order = np.argsort(points[:, 1], kind="stable")
    gaps = np.diff(points[order, 1])
    if gaps.min() < MIN_GAP:
        at = int(np.argmin(gaps))
        pair = f"{curve.settings[order[at]]} and {curve.settings[order[at + 1]]}"
        value = f"{points[order[at], 1]:.2f} {unit(curve.metric)}"
        raise ArgumentError(f"{curve.name}: the settings {pair} have the same quality, {value}; leave one out")
    falls = int((np.diff(points[order, 0]) < 0).sum())
    if not falls:
        return curve
    notice = f"{curve.name}: the rate falls {falls} time(s) while the quality rises; all points were used all the same"
    return replace(curve, notices=(*curve.notices, notice))


def has_names(path: str | os.PathLike[str]) -> bool:
    """Whether the file's curves have names, of codecs or methods; two columns of numbers have none.

    Raises ArgumentError, naming the file, if it cannot be read.
    """
    heading, _ = _opened(path)
    return "method" in heading or ("picture" in heading and "codec" in heading)


def read(path: str | os.PathLike[str], metric: str = "psnr", name: str | None = None) -> Curve:
    """The curve in a CSV file: rows of `intaglio evaluate`, a table of published curves, or two columns of numbers.

    The columns say which: `picture` and `codec`; `method`, `bpp` and `psnr_rgb_db`; or two columns, bits per pixel
    and quality, with or without a heading. `name` says which codec or method where there are several. Raises
    ArgumentError, naming the file, for what cannot be read or is no curve.
    """
    check_metric(metric)
    heading, lines = _opened(path)
    if "picture" in heading and "codec" in heading:
        found = from_rows(results.read_rows(path), metric)
    elif "method" in heading:
        found = _published(path, metric)
    elif name is not None:
        raise ArgumentError(f"{path}: holds one curve without a name, so there is no {name!r} to choose")
    else:
        return from_points(_two_columns(path, heading, lines), str(path), metric)
    chosen = _chosen(path, found, name)
    if isinstance(chosen, str):
        raise ArgumentError(f"{path}: {chosen}")
    return chosen


def _chosen(path: str | os.PathLike[str], found: dict[str, Curve | str], name: str | None) -> Curve | str:
    if name is None and len(found) == 1:
        return next(iter(found.values()))
    if name is None or name not in found:
        what = f"no {name!r}" if name is not None else f"{len(found)} curves; choose one with --codec"
        raise ArgumentError(f"{path}: holds {what} ({listed(found, 12)})")
    return found[name]


def _opened(path: str | os.PathLike[str]) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The heading's names, and the other lines by number; the heading is empty where the file starts with numbers."""
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
        lines = [(number, line) for number, line in enumerate(csv.reader(text.splitlines()), 1) if any(line)]
    except OSError as error:
        raise ArgumentError(f"{path}: cannot be read ({error.strerror or error})") from None
    except (ValueError, csv.Error):
        raise ArgumentError(f"{path}: is no text in UTF-8, so no table") from None
    if not lines:
        raise ArgumentError(f"{path}: is empty")
    first = [field.strip() for field in lines[0][1]]
    return ([], lines) if _number(first[0]) is not None else (first, lines[1:])


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _two_columns(path: str | os.PathLike[str], heading: list[str], lines: list[tuple[int, list[str]]]) -> np.ndarray:
    if heading and (len(heading) != 2 or heading[0] != "bpp"):
        shown = listed(heading)
        raise ArgumentError(
            f"{path}: neither rows of an evaluation nor published curves nor the two columns bpp and quality ({shown})"
        )
    table = []
    for number, line in lines:
        values = [_number(field) for field in line]
        if len(values) != 2 or any(value is None or not math.isfinite(value) for value in values):
            raise ArgumentError(f"{path} line {number}: {','.join(line)!r} is not two finite numbers, bpp and quality")
        table.append(values)
    return np.array(table, dtype=np.float64).reshape(-1, 2)


def _published(path: str | os.PathLike[str], metric: str) -> dict[str, Curve | str]:
    if metric not in _PUBLISHED:
        raise ArgumentError(f"{path}: published curves have no {metric}, only {' and '.join(_PUBLISHED)}")
    found: dict[str, Curve | str] = {}
    for method, points in results.read_published(path).items():
        try:
            found[method] = from_means(points, method, metric)
        except ArgumentError as error:
            found[method] = str(error)
    return found
