"""BD-rate: how many more bits one codec needs than another for the same quality, with a confidence interval.

Bjontegaard, "Calculation of average PSNR differences between RD-curves", VCEG-M33, 2001, with piecewise cubic (PCHIP)
interpolation of the logarithm of the rate in place of one cubic. A codec's curve is the mean over pictures at each
setting: mean bits per pixel and mean quality. Everything is computed for many curves at once, one a line, so that
a thousand resamples cost milliseconds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from intaglio.errors import ArgumentError
from intaglio.rdcurves import Curve, from_points, from_rows, listed, unit
from intaglio.results import Row

Floats = NDArray[np.float64]

MIN_OVERLAP = 0.5
MIN_PICTURES = 5  # for an interval: resamples of fewer say little
_LEVEL = 0.95
_MOST_UNDEFINED = 0.05  # of resamples without a BD-rate: above it there is no interval
_NO_GAP = 1e-9  # points of a resample this close in quality count as this far apart, which adds nothing to the area


@dataclass(frozen=True)
class Options:
    """How to compare: the least overlap as a part of the narrower curve's range of quality, resamples, their seed."""

    min_overlap: float = MIN_OVERLAP
    resamples: int = 1000
    seed: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.min_overlap <= 1:
            raise ArgumentError(f"the least overlap is {self.min_overlap:g}; it must be from 0 to 1")
        if not 0 <= self.resamples <= 100_000 or self.seed < 0:
            raise ArgumentError("resamples must be 0 to 100000, the seed 0 or more")


@dataclass(frozen=True)
class PerPicture:
    """BD-rates in percent of each picture's own curves: by name, NaN where they overlap too little; mean and median."""

    rates: dict[str, float]
    mean: float
    median: float
    undefined: int


@dataclass(frozen=True)
class Comparison:
    """What `test` needs more than `anchor` at the same quality.

    rate: BD-rate in percent, negative where bits are saved. interval: where it lies with 95 % confidence when the
    pictures are taken for a sample of all pictures; None without enough of them, or where more than 5 % of the
    resamples have no BD-rate. left_out: how many have none, because their curves share no quality. quality: BD-PSNR,
    the gain at the same rate, in units of the metric. cubic: the BD-rate by the classical cubic. low, high: the
    qualities that both curves reach, and what part of each curve's range that is.
    """

    anchor: str
    test: str
    metric: str
    rate: float
    interval: tuple[float, float] | None
    left_out: int
    quality: float
    cubic: float
    low: float
    high: float
    share_anchor: float
    share_test: float
    pictures: int
    per_picture: PerPicture | None
    notices: tuple[str, ...]


@dataclass(frozen=True)
class Cell:
    """One pair of a matrix: BD-rate of `test` against `anchor` in percent, its interval (NaN: none), the qualities
    compared, the number of pictures; or NaN and one line that says why there is none.
    """

    anchor: str
    test: str
    rate: float
    interval_low: float = math.nan
    interval_high: float = math.nan
    low: float = math.nan
    high: float = math.nan
    pictures: int = 0
    reason: str = ""


@dataclass(frozen=True)
class Matrix:
    """BD-rates of every ordered pair of codecs, how they were made, and lines on what was left out."""

    metric: str
    codecs: tuple[str, ...]
    cells: tuple[Cell, ...]
    notices: tuple[str, ...]
    resamples: int
    seed: int
    min_overlap: float

    def cell(self, anchor: str, test: str) -> Cell:
        """The cell of a pair. Raises KeyError for a codec that is not in the matrix, or one against itself."""
        for each in self.cells:
            if (each.anchor, each.test) == (anchor, test):
                return each
        raise KeyError((anchor, test))


class _Lines(NamedTuple):
    """Curves, one a line: rates in bits per pixel and qualities, both (lines, settings), in any order."""

    rate: Floats
    quality: Floats


class _Gap(NamedTuple):
    """For each line: mean of y2 - y1 over the x that both curves have (NaN without any), and those x."""

    mean: Floats
    low: Floats
    high: Floats


def bd_rate(anchor: np.ndarray, test: np.ndarray) -> float:
    """Rate that `test` needs more than `anchor` for the same quality, in percent; negative when it saves.

    Both are arrays (n, 2), n >= 4, of rate (any unit, the same for both) and quality, in any order. Raises
    ArgumentError for an unusable curve, and when the curves share less than half of the narrower one's qualities.
    """
    return compare(from_points(anchor, "the anchor curve"), from_points(test, "the test curve")).rate


def compare(anchor: Curve, test: Curve, options: Options | None = None) -> Comparison:
    """The comparison of two curves, over the pictures that both have.

    The interval is the 2.5th to 97.5th percentile of the BD-rates of resamples: pictures are drawn with replacement,
    the same ones for both codecs (Efron, 1979). Resamples without a BD-rate are left out, and a notice says so. Curves
    that are means already give no interval and no BD-rates by picture. Raises ArgumentError when the metrics differ,
    no picture is common, or the overlap is too small.
    """
    how = options or Options()
    if anchor.metric != test.metric:
        raise ArgumentError(f"one curve has {anchor.metric}, the other {test.metric}; compare the same metric")
    anchor, test, notices = _paired(anchor, test)
    pictures = len(anchor.pictures) if anchor.pictures and test.pictures else 0
    a, b = _mean(anchor), _mean(test)
    gap = _rate_gap(a, b)
    low, high = float(gap.low[0]), float(gap.high[0])
    _check_overlap(anchor, test, how)
    interval, left_out = None, 0
    if pictures >= MIN_PICTURES and how.resamples > 0:
        interval, left_out = _interval(anchor, test, how)
    if left_out:
        told = f"{test.name} against {anchor.name}: {left_out} of {how.resamples} resamples share no quality"
        notices += (f"{told}; {'the interval is that of the others' if interval else 'there is no interval'}",)
    return Comparison(
        anchor=anchor.name,
        test=test.name,
        metric=anchor.metric,
        rate=float(_percent(gap.mean)[0]),
        interval=interval,
        left_out=left_out,
        quality=float(_gap(np.log(a.rate), a.quality, np.log(b.rate), b.quality).mean[0]),
        cubic=_cubic(a, b, low, high),
        low=low,
        high=high,
        share_anchor=(high - low) / float(np.ptp(a.quality)),
        share_test=(high - low) / float(np.ptp(b.quality)),
        pictures=pictures,
        per_picture=_per_picture(anchor, test, how) if pictures else None,
        notices=notices,
    )


def matrix(rows: Iterable[Row], metric: str = "psnr", options: Options | None = None) -> Matrix:
    """BD-rates of every codec in the rows of an evaluation against every other, in the order of the rows.

    A pair that cannot be compared has a cell that says why. Raises ArgumentError for an unknown metric.
    """
    how = options or Options()
    curves = from_rows(rows, metric)
    cells, notices = [], []
    for first, anchor in curves.items():
        for second, test in curves.items():
            if first != second:
                cell, said = _cell(first, second, (anchor, test), how)
                cells.append(cell)
                notices += said
    settings = how.resamples, how.seed, how.min_overlap
    return Matrix(metric, tuple(curves), tuple(cells), tuple(dict.fromkeys(notices)), *settings)


def _cell(first: str, second: str, pair: tuple[Curve | str, Curve | str], how: Options) -> tuple[Cell, tuple[str, ...]]:
    anchor, test = pair
    if isinstance(anchor, str) or isinstance(test, str):
        return Cell(first, second, math.nan, reason=anchor if isinstance(anchor, str) else str(test)), ()
    try:
        found = compare(anchor, test, how)
    except ArgumentError as error:
        return Cell(first, second, math.nan, reason=str(error)), ()
    interval = found.interval or (math.nan, math.nan)
    return Cell(first, second, found.rate, *interval, found.low, found.high, found.pictures), found.notices


def _paired(anchor: Curve, test: Curve) -> tuple[Curve, Curve, tuple[str, ...]]:
    """Both curves over the pictures that both have, and every notice there is."""
    notices = list(dict.fromkeys([*anchor.notices, *test.notices]))
    if anchor.pictures and test.pictures:
        common = [picture for picture in anchor.pictures if picture in set(test.pictures)]
        if not common:
            names = f"{listed(p.name for p in anchor.pictures[:2])} and {listed(p.name for p in test.pictures[:2])}"
            raise ArgumentError(f"the curves have no picture of the same name and size in common (such as {names})")
        for curve in (anchor, test):
            if left := [picture.name for picture in curve.pictures if picture not in set(common)]:
                notices.append(f"{curve.name}: left out, because the other curve lacks them: {listed(left)}")
        anchor, test = anchor.on(common), test.on(common)
    elif anchor.pictures or test.pictures:
        notices.append("one curve is a mean already: no interval; see for yourself that the pictures are the same")
    return anchor, test, tuple(notices)


def _check_overlap(anchor: Curve, test: Curve, how: Options) -> None:
    a, b = _mean(anchor).quality, _mean(test).quality
    ranges = " and ".join(f"{each.min():.2f} to {each.max():.2f} {unit(anchor.metric)}" for each in (a, b))
    share = float(_share(a, b)[0])
    if share <= 0:
        raise ArgumentError(f"{anchor.name} and {test.name} share no quality ({ranges}): there is no BD-rate")
    if share < how.min_overlap:
        raise ArgumentError(
            f"{anchor.name} and {test.name} share {share:.0%} of the narrower curve's qualities ({ranges}); "
            f"{how.min_overlap:.0%} is needed for a BD-rate: measure both over the same range"
        )


def _share(a: Floats, b: Floats) -> Floats:
    """Part of the narrower curve's range of quality that both have, for each line; not positive without any."""
    overlap = np.minimum(a.max(axis=1), b.max(axis=1)) - np.maximum(a.min(axis=1), b.min(axis=1))
    return overlap / np.maximum(np.minimum(np.ptp(a, axis=1), np.ptp(b, axis=1)), _NO_GAP)


def _mean(curve: Curve, weights: Floats | None = None) -> _Lines:
    """The mean curve; with `weights` (lines, pictures), a weighted one for each line."""
    if weights is None:
        weights = np.full((1, len(curve.rate)), 1 / len(curve.rate))
    return _Lines(weights @ curve.rate, weights @ curve.quality)


def _interval(anchor: Curve, test: Curve, how: Options) -> tuple[tuple[float, float] | None, int]:
    """The interval, or None where too many resamples have no BD-rate, and how many have none."""
    count = len(anchor.pictures)
    draws = np.random.default_rng(how.seed).multinomial(count, [1 / count] * count, how.resamples)
    rates = _percent(_rate_gap(_mean(anchor, draws / count), _mean(test, draws / count)).mean)
    defined = rates[np.isfinite(rates)]
    left_out = len(rates) - len(defined)
    if left_out > _MOST_UNDEFINED * len(rates):
        return None, left_out
    low, high = np.quantile(defined, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return (float(low), float(high)), left_out


def _per_picture(anchor: Curve, test: Curve, how: Options) -> PerPicture:
    own = _Lines(anchor.rate, anchor.quality), _Lines(test.rate, test.quality)
    share = _share(own[0].quality, own[1].quality)
    rates = np.where((share > 0) & (share >= how.min_overlap), _percent(_rate_gap(*own).mean), math.nan)
    defined = rates[np.isfinite(rates)]
    mean, median = (float(np.mean(defined)), float(np.median(defined))) if len(defined) else (math.nan, math.nan)
    names = (picture.name for picture in anchor.pictures)
    return PerPicture(dict(zip(names, rates.tolist(), strict=True)), mean, median, len(rates) - len(defined))


def _cubic(a: _Lines, b: _Lines, low: float, high: float) -> float:
    """BD-rate in percent by one cubic a curve, fitted to log rate by least squares, as VCEG-M33 has it."""
    areas = []
    for rate, quality in ((a.rate[0], a.quality[0]), (b.rate[0], b.quality[0])):
        cubic = np.polyint(np.polyfit(quality - low, np.log(rate), 3))
        areas.append(np.polyval(cubic, high - low))
    return 100 * math.expm1(float(areas[1] - areas[0]) / (high - low))


def _percent(log_ratio: Floats) -> Floats:
    return 100 * np.expm1(log_ratio)


def _rate_gap(a: _Lines, b: _Lines) -> _Gap:
    return _gap(a.quality, np.log(a.rate), b.quality, np.log(b.rate))


def _gap(x1: Floats, y1: Floats, x2: Floats, y2: Floats) -> _Gap:
    low = np.maximum(x1.min(axis=1), x2.min(axis=1))
    high = np.minimum(x1.max(axis=1), x2.max(axis=1))
    area = _area(x2, y2, low, high) - _area(x1, y1, low, high)
    return _Gap(np.where(high > low, area / np.maximum(high - low, _NO_GAP), math.nan), low, high)


def _area(x: Floats, y: Floats, low: Floats, high: Floats) -> Floats:
    """Integral from `low` to `high` (lines) of the PCHIP interpolant of each line's points (lines, points)."""
    order = np.argsort(x, axis=1, kind="stable")
    x, y = np.take_along_axis(x, order, axis=1), np.take_along_axis(y, order, axis=1)
    width = np.maximum(np.diff(x, axis=1), _NO_GAP)
    slope = _pchip_slopes(width, np.diff(y, axis=1) / width)
    whole = width * (y[:, :-1] + y[:, 1:]) / 2 + width**2 * (slope[:, :-1] - slope[:, 1:]) / 12
    before = np.concatenate([np.zeros((len(x), 1)), whole.cumsum(axis=1)], axis=1)

    def until(at: Floats) -> Floats:
        """Integral from the line's first point to `at`, of the cubic in Hermite form (t from 0 to 1 in its piece)."""
        piece = np.clip((x <= at[:, None]).sum(axis=1) - 1, 0, x.shape[1] - 2)
        line = np.arange(len(x))
        h = width[line, piece]
        t = (at - x[line, piece]) / h
        start = y[line, piece] * (t - t**3 + t**4 / 2) + h * slope[line, piece] * (t**2 / 2 - 2 * t**3 / 3 + t**4 / 4)
        end = y[line, piece + 1] * (t**3 - t**4 / 2) + h * slope[line, piece + 1] * (t**4 / 4 - t**3 / 3)
        return before[line, piece] + h * (start + end)

    return until(high) - until(low)


def _pchip_slopes(width: Floats, secant: Floats) -> Floats:
    """Slopes (lines, points) that make the interpolant monotone between points, of intervals (lines, points - 1).

    Fritsch and Butland, "A method for constructing local monotone piecewise cubic interpolants", 1984: inside, a
    weighted harmonic mean of the secants, or zero where they differ in sign; at the ends, the three-point formula held
    to the shape of the curve (Moler, "Numerical computing with MATLAB", section 3.6).
    """
    left, right = secant[:, :-1], secant[:, 1:]
    first, second = width[:, :-1] + 2 * width[:, 1:], 2 * width[:, :-1] + width[:, 1:]
    same = left * right > 0
    safe_left, safe_right = np.where(same, left, 1), np.where(same, right, 1)
    inner = np.where(same, (first + second) / (first / safe_left + second / safe_right), 0)
    ends = [_pchip_end(width[:, k], width[:, n], secant[:, k], secant[:, n]) for k, n in ((0, 1), (-1, -2))]
    return np.concatenate([ends[0][:, None], inner, ends[1][:, None]], axis=1)


def _pchip_end(width: Floats, next_width: Floats, secant: Floats, next_secant: Floats) -> Floats:
    slope = ((2 * width + next_width) * secant - width * next_secant) / (width + next_width)
    overshoots = (np.sign(secant) != np.sign(next_secant)) & (np.abs(slope) > 3 * np.abs(secant))
    return np.where(np.sign(slope) != np.sign(secant), 0, np.where(overshoots, 3 * secant, slope))
