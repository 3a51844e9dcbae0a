"""Information measures: of discrete distributions, of densities cut into bins, and of densities themselves.

    entropy(p)                     H(P) = -sum P log P
    cross_entropy(p, q)            H(P, Q) = -sum P log Q: the rate of data from P under a code made for Q
    kl(p, q)                       D(P || Q) = H(P, Q) - H(P): what the wrong code costs
    conditional_entropy(p, x, y)   H(X | Y), of a joint distribution
    mutual_information(p, x, y)    I(X; Y)

Shannon, "A mathematical theory of communication", 1948; the rest as in Cover and Thomas, "Elements of Information
Theory", chapters 2 and 8. 0 log 0 is 0; D and H(P, Q) are infinite where Q is 0 and P is not. Results are in bits, or
in nats with `unit="nats"` (1 bit = ln 2 nats).

Probabilities are arrays of any shape. `axis` (an axis or several) names the alphabet, None all axes: one joint
distribution. Every other axis holds distributions side by side, and the result, float64, has the shape that is left.

>>> round(float(entropy([0.5, 0.25, 0.25])), 3)
1.5
>>> round(float(entropy(Gaussian(0.0, 1.0).bins(1.0, -40, 40))), 6)  # a standard normal, rounded to integers
2.104833

What depends on a density's unit is not a number of bits: `Gaussian(0, 1).entropy()` and `Gaussian(0, 0.5).entropy()`
differ by one, although y = x / 2 says as much as x. Of bins it is: H of bins of width d is near h - log2 d, and grows
without end as d falls, while D of the bins goes to the D of the densities.
"""

from __future__ import annotations

import math
import numbers
import operator
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from intaglio.errors import ArgumentError

Floats = NDArray[np.float64]
Unit = Literal["bits", "nats"]
Axes = int | Sequence[int]
Function = Callable[[Floats], ArrayLike]

TOLERANCE = 1e-6  # how far a sum of probabilities may lie from 1: what float32 leaves of it
MAX_BINS = 2**24
_LOG = {"bits": np.log2, "nats": np.log}


def entropy(p: ArrayLike, axis: Axes | None = None, *, unit: Unit = "bits") -> Floats:
    """H(P) = -sum p log p over `axis`. Of a joint distribution (all its axes): the joint entropy.

    Raises ArgumentError for what is no distribution, see `distribution`, and for another axis or unit.
    """
    return cross_entropy(p, p, axis, unit=unit)


def cross_entropy(p: ArrayLike, q: ArrayLike, axis: Axes | None = None, *, unit: Unit = "bits") -> Floats:
    """H(P, Q) = -sum p log q over `axis`, p and q of one shape; inf where q is 0 and p is not.

    Raises ArgumentError as `entropy` does, and if the shapes differ.
    """
    p, q, axes = _pair(p, q, axis)
    return np.subtract(0.0, (p * _log(q, p > 0, unit)).sum(axis=axes))  # not a minus: -0.0 would come of a sure thing


def kl(p: ArrayLike, q: ArrayLike, axis: Axes | None = None, *, unit: Unit = "bits") -> Floats:
    """D(P || Q) = sum p log(p / q) over `axis`, p and q of one shape, at least 0; inf where q is 0 and p is not.

    Raises ArgumentError as `cross_entropy` does.
    """
    p, q, axes = _pair(p, q, axis)
    return np.maximum(_mean_log(p, [q], axes, unit), 0.0)


def conditional_entropy(joint: ArrayLike, axis: Axes, given: Axes, *, unit: Unit = "bits") -> Floats:
    """H(X | Y) = -sum p(x, y) log p(x | y), with X on the axes `axis` of `joint` and Y on the axes `given`.

    Axes that neither names hold joint distributions side by side. Raises ArgumentError as `entropy` does, and if an
    axis is named twice.
    """
    p, x, y = _joint(joint, axis, given, "given")
    return np.subtract(0.0, _mean_log(p, [p.sum(axis=x, keepdims=True)], x + y, unit))


def mutual_information(joint: ArrayLike, axis: Axes, other: Axes, *, unit: Unit = "bits") -> Floats:
    """I(X; Y) = D(p(x, y) || p(x) p(y)), with X on the axes `axis` of `joint` and Y on the axes `other`; at least 0.

    Axes that neither names hold joint distributions side by side. Raises ArgumentError as `conditional_entropy` does.
    """
    p, x, y = _joint(joint, axis, other, "other")
    marginals = [
        p.sum(axis=axes, keepdims=True) for axes in (x, y)
    ]  # not their product, which may be too small to hold
    return np.maximum(_mean_log(p, marginals, x + y, unit), 0.0)


def distribution(p: ArrayLike, axis: Axes | None = None, name: str = "p") -> Floats:
    """The probabilities as float64, same shape, once they are known to be such: >= 0, with sums of 1 over `axis`.

    Raises ArgumentError, which calls them `name`, for anything else: no numbers, NaN, none at all, a negative one, a
    sum that is further than 1e-6 from 1, an axis that is not there.
    """
    return _distribution(p, axis, name)[0]


def bins(cdf: Function, width: float, low: float, high: float, survival: Function | None = None) -> Floats:
    """Probabilities of a density quantised to multiples of `width`: float64 (..., n), a bin around each multiple.

    The first multiple is the one nearest to `low`, the last the one nearest to `high`; their bins take the tails as
    well, so the sum is 1. cdf: from edges, float64 (n - 1,), to P(X <= edge), (..., n - 1). survival: the same for
    P(X > edge); where it is given, bins above the median are its differences, and as precise as those below: 1 - cdf
    has no digits left there. A bin less likely than about 1e-308 has probability 0: keep the range within 38 standard
    deviations of a Gaussian that is to be q of a finite cross-entropy.

    Raises ArgumentError for a width or range that is none, more than 2^24 bins, and functions that are no cdf.
    """
    width, low, high = _number(width, "width"), _number(low, "low"), _number(high, "high")
    if not 0 < width < math.inf:
        raise ArgumentError(f"width is {width!r}; it must be a number above 0")
    if not -math.inf < low <= high < math.inf:
        raise ArgumentError(f"low and high are {low!r} and {high!r}; they must be numbers, the lower one first")
    if high / width - low / width >= MAX_BINS or max(-low, high) / width >= 2**53:
        raise ArgumentError(f"width: from {low!r} to {high!r} there are too many bins of {width!r}; make it larger")
    first, last = round(low / width), round(high / width)
    edges = (np.arange(first, last, dtype=np.float64) + 0.5) * width
    below = _values(cdf, edges, "cdf")
    above = 1.0 - below if survival is None else _values(survival, edges, "survival")
    if below.shape != above.shape or np.any(np.abs(below + above - 1.0) > TOLERANCE):
        raise ArgumentError(f"survival: it must be 1 - cdf, in the shape {below.shape}; it gave shape {above.shape}")
    sides = [(0, 0)] * (below.ndim - 1) + [(1, 1)]
    below = np.pad(below, sides, constant_values=(0.0, 1.0))
    above = np.pad(above, sides, constant_values=(1.0, 0.0))
    p = np.where(below[..., :-1] < 0.5, np.diff(below), -np.diff(above))
    if np.any(p < -TOLERANCE):
        raise ArgumentError("cdf: it falls somewhere in the range; a distribution function cannot")
    return p.clip(0.0)


class Density(ABC):
    """A symmetric density with a mean and a scale: `Gaussian`, `Laplace` or `Uniform`.

    Both may be arrays, of shapes that broadcast; every measure then has the broadcast shape, float64. Entropies are
    differential: they change with the unit of x (see above) and may be negative.
    """

    _deviation: float  # standard deviation of the standard density, whose mean is 0 and scale 1
    _reach = math.inf  # where the standard density ends

    def __init__(self, mean: ArrayLike, scale: ArrayLike) -> None:
        """mean: any finite number; scale: a finite number above 0. Raises ArgumentError for others."""
        self.mean, self.scale = _numbers(mean, "mean"), _numbers(scale, "scale")
        if not np.isfinite(self.mean).all():
            raise ArgumentError(f"mean, of shape {self.mean.shape}: every one must be finite")
        if not ((self.scale > 0) & (self.scale < math.inf)).all():
            raise ArgumentError(f"scale, of shape {self.scale.shape}: every one must be finite and above 0")
        self.shape = _together(self.mean.shape, self.scale.shape, "scale", "mean")

    def cdf(self, x: ArrayLike) -> Floats:
        """P(X <= x), float64, `x` broadcast with mean and scale; full relative precision in the lower tail."""
        return self._below(x, 1.0)

    def survival(self, x: ArrayLike) -> Floats:
        """P(X > x), as `cdf`; full relative precision in the upper tail."""
        return self._below(x, -1.0)

    def bins(self, width: float, low: float, high: float) -> Floats:
        """Probabilities of the density quantised to multiples of `width`, see `intaglio.information.bins`.

        float64 (..., n), bins on the last axis, mean and scale before it. Raises ArgumentError.
        """
        columns = type(self)(self.mean[..., None], self.scale[..., None])
        return bins(columns.cdf, width, low, high, columns.survival)

    def entropy(self, *, unit: Unit = "bits") -> Floats:
        """Differential entropy h = -E log p(X). Raises ArgumentError for another unit."""
        return self.cross_entropy(self, unit=unit)

    def cross_entropy(self, other: Density, *, unit: Unit = "bits") -> Floats:
        """-E log q(X) for X from this density and q the density `other`, of any family; inf where q lacks support.

        Raises ArgumentError for another unit, and shapes that do not go together.
        """
        _check_unit(unit)
        if not isinstance(other, Density):
            raise ArgumentError(f"other must be a density, not {type(other).__name__}")
        _together(self.shape, other.shape, "other", "this density")
        with np.errstate(over="ignore"):
            nats = other._cross(self)
        return (nats / math.log(2.0) if unit == "bits" else nats)[()]

    def kl(self, other: Density, *, unit: Unit = "bits") -> Floats:
        """D(this || other), at least 0, in closed form; arguments and errors as for `cross_entropy`."""
        return np.maximum(self.cross_entropy(other, unit=unit) - self.entropy(unit=unit), 0.0)

    def _below(self, x: ArrayLike, sign: float) -> Floats:
        """P(sign * X <= sign * x)."""
        values = _numbers(x, "x")
        _together(self.shape, values.shape, "x", "the density")
        with np.errstate(over="ignore"):
            return self._cdf(sign * (values - self.mean) / self.scale)[()]

    @abstractmethod
    def _cdf(self, z: Floats) -> Floats:
        """P(Z <= z) of the standard density, precise for z far below 0."""

    @abstractmethod
    def _distance(self, z: Floats) -> Floats:
        """E|Z - z| of the standard density."""

    @abstractmethod
    def _cross(self, p: Density) -> Floats:
        """-E log of this density in nats, for X from `p`."""


class Gaussian(Density):
    """N(mean, scale^2); scale is the standard deviation. h = 1/2 ln(2 pi e scale^2) nats."""

    _deviation = 1.0

    def _cdf(self, z: Floats) -> Floats:
        return 0.5 * _erfc(-z * math.sqrt(0.5))

    def _distance(self, z: Floats) -> Floats:  # the mean of a folded normal distribution
        return math.sqrt(2.0 / math.pi) * np.exp(-0.5 * z * z) + z * (1.0 - _erfc(z * math.sqrt(0.5)))

    def _cross(self, p: Density) -> Floats:
        square = (p._deviation * p.scale / self.scale) ** 2 + ((p.mean - self.mean) / self.scale) ** 2
        return 0.5 * math.log(2.0 * math.pi) + np.log(self.scale) + 0.5 * square


class Laplace(Density):
    """exp(-|x - mean| / scale) / (2 scale); its standard deviation is sqrt(2) scale. h = 1 + ln(2 scale) nats."""

    _deviation = math.sqrt(2.0)

    def _cdf(self, z: Floats) -> Floats:
        tail = 0.5 * np.exp(-np.abs(z))
        return np.where(z < 0, tail, 1.0 - tail)

    def _distance(self, z: Floats) -> Floats:
        return np.abs(z) + np.exp(-np.abs(z))

    def _cross(self, p: Density) -> Floats:
        return np.log(2.0 * self.scale) + p.scale * p._distance((self.mean - p.mean) / p.scale) / self.scale


class Uniform(Density):
    """1 / scale from mean - scale / 2 to mean + scale / 2; scale is the whole width. h = ln(scale) nats."""

    _deviation = math.sqrt(1.0 / 12.0)
    _reach = 0.5

    def _cdf(self, z: Floats) -> Floats:
        return np.clip(z + 0.5, 0.0, 1.0)

    def _distance(self, z: Floats) -> Floats:
        return np.where(np.abs(z) < 0.5, z * z + 0.25, np.abs(z))

    def _cross(self, p: Density) -> Floats:
        furthest = np.abs(p.mean - self.mean) + p._reach * p.scale
        inside = furthest <= (0.5 + 1e-12) * self.scale  # common ends may differ by a rounding error
        return np.where(inside, np.log(self.scale), math.inf)


_erfc = np.vectorize(math.erfc, otypes=[np.float64])


def _check_unit(unit: str) -> None:
    if not isinstance(unit, str) or unit not in _LOG:
        given = repr(unit) if isinstance(unit, str) else f"of type {type(unit).__name__}"
        raise ArgumentError(f"unit is {given}; it must be 'bits' or 'nats'")


def _log(values: Floats, where: NDArray[np.bool_], unit: Unit) -> Floats:
    """The logarithm in this unit: -inf of 0, and 0 where `where` is false."""
    _check_unit(unit)
    with np.errstate(divide="ignore"):
        return _LOG[unit](np.where(where, values, 1.0))


def _mean_log(p: Floats, references: list[Floats], axes: tuple[int, ...], unit: Unit) -> Floats:
    """sum p log(p / product of the references) over `axes`."""
    possible = p > 0
    logs = _log(p, possible, unit)
    for reference in references:
        logs = logs - _log(reference, possible, unit)
    return (p * logs).sum(axis=axes)


def _numbers(value: ArrayLike, name: str) -> Floats:
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:  # rows of unlike length, a tensor on a GPU
        raise ArgumentError(f"{name} must be an array of numbers: {' '.join(str(error).split())}") from None
    if array.dtype.kind not in "biuf":
        raise ArgumentError(f"{name}, of shape {array.shape}, must hold real numbers, not {array.dtype}")
    return array.astype(np.float64)


def _number(value: object, name: str) -> float:
    single = value.item() if isinstance(value, np.ndarray) and not value.ndim else value
    if isinstance(single, numbers.Real) and not isinstance(single, bool):
        try:
            return float(single)
        except OverflowError:
            return math.inf if single > 0 else -math.inf  # type: ignore[operator]
    shape = getattr(value, "shape", None)
    given = repr(value) if isinstance(value, (str, bool)) else f"of type {type(value).__name__}"
    given += "" if shape is None else f" and shape {shape}"
    raise ArgumentError(f"{name} is {given}; it must be a single number")


def _axes(axis: Axes | None, shape: tuple[int, ...], name: str = "axis") -> tuple[int, ...]:
    """The axes that are meant, none negative; all if `axis` is None."""
    count = len(shape)
    try:
        given = range(count) if axis is None else axis if isinstance(axis, Sequence) else (axis,)
        found = tuple(operator.index(each) + count * (operator.index(each) < 0) for each in given)
    except TypeError:
        raise ArgumentError(f"{name} is {axis!r}; it must be a whole number, or several") from None
    if not found or len({*found}) != len(found) or not {*found} <= {*range(count)}:
        raise ArgumentError(f"{name} is {axis!r}; an array of shape {shape} needs different axes below {count} there")
    return found


def _distribution(p: ArrayLike, axis: Axes | None, name: str) -> tuple[Floats, tuple[int, ...]]:
    array = _numbers(p, name)
    axes = _axes(axis, array.shape) if array.ndim else ()
    wanted = f"{name}, of shape {array.shape}: probabilities over axis {', '.join(map(str, axes))} must be"
    if not array.ndim:
        raise ArgumentError(f"{name} is a single number; an array of probabilities is needed")
    if not math.prod(array.shape[each] for each in axes):
        raise ArgumentError(f"{wanted} at least one; the alphabet is empty")
    if not (array >= 0).all():
        worst = "NaN" if np.isnan(array).any() else f"{array.min():g}"
        raise ArgumentError(f"{wanted} numbers >= 0; there is {worst}")
    sums = array.sum(axis=axes)
    wrong = sums[~(np.abs(sums - 1.0) <= TOLERANCE)]
    if wrong.size:
        raise ArgumentError(f"{wanted} numbers that sum to 1; there is a sum of {wrong.flat[0]:.9g}")
    return array, axes


def _pair(p: ArrayLike, q: ArrayLike, axis: Axes | None) -> tuple[Floats, Floats, tuple[int, ...]]:
    one, axes = _distribution(p, axis, "p")
    if q is p:
        return one, one, axes
    other = _numbers(q, "q")
    if other.shape != one.shape:
        raise ArgumentError(f"q has shape {other.shape}; it must have that of p, {one.shape}")
    return one, _distribution(other, axis, "q")[0], axes


def _joint(joint: ArrayLike, axis: Axes, other: Axes, name: str) -> tuple[Floats, tuple[int, ...], tuple[int, ...]]:
    """The joint distribution over two sets of axes, and these."""
    array = _numbers(joint, "joint")
    one, two = _axes(axis, array.shape), _axes(other, array.shape, name)
    if {*one} & {*two}:
        raise ArgumentError(f"axis is {axis!r} and {name} is {other!r}; an axis cannot be in both")
    return distribution(array, one + two, "joint"), one, two


def _values(function: Function, edges: Floats, name: str) -> Floats:
    """What a cdf or its complement gives for the edges."""
    if not callable(function):
        raise ArgumentError(f"{name} is of type {type(function).__name__}; it must be a function of an array of edges")
    values = _numbers(function(edges), name)
    if values.shape[-1:] != edges.shape or not ((values >= 0) & (values <= 1)).all():
        got = f"shape {values.shape}"
        raise ArgumentError(
            f"{name} must give numbers from 0 to 1 for {len(edges)} edges, on the last axis; it gave {got}"
        )
    return values


def _together(one: tuple[int, ...], other: tuple[int, ...], name: str, beside: str) -> tuple[int, ...]:
    """The shape that two arrays broadcast to."""
    try:
        return np.broadcast_shapes(one, other)
    except ValueError:
        raise ArgumentError(
            f"{name}, of shape {other}, must go with {beside}, of shape {one}: equal sides or 1"
        ) from None
