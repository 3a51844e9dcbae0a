"""Entropy models: tables of distributions that training learns and `freeze` turns into the coder's integers.

    ScaleFamily            Gaussian, Laplace or logistic, one row per scale of a logarithmic grid; the index is real
    Mixture                K components per row, all learned; the index is the row
    ParametricFactorized   one distribution per channel: a family's member, or a mixture of them
    DeepFactorized         one monotone network per channel

All charge a value with the probability of the unit cell around it, which is what adding noise U(-1/2, 1/2) estimates
and what rounding costs.
"""

from __future__ import annotations

import itertools
import math
import numbers
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from intaglio import scales as grid
from intaglio.errors import ArgumentError
from intaglio.rans import MAX_GAUSSIAN_SCALE, MAX_TABLES, Tables
from intaglio.workshop.arguments import check_above_zero, check_whole, is_number, one_line
from intaglio.workshop.bounds import bounded, lower_bound
from intaglio.workshop.densities import (
    check_components,
    check_tensor,
    family_of,
    full,
    logit_log_likelihood,
    mixture_log_cells,
    to_bits,
)
from intaglio.workshop.entropy_base import Conditional, EntropyModel, Factorized

__all__ = [
    "Conditional",
    "DeepFactorized",
    "EntropyModel",
    "Factorized",
    "Mixture",
    "ParametricFactorized",
    "ScaleFamily",
    "scale_grid",
]

# Added to a real position ahead of rounding down; a scale that lies on the grid stays there, inexact as logarithms are.
ROUNDINGS = {"up": 0.999, "down": 0.001, "nearest": 0.5}
LEAST_SCALE = 0.01  # of a learned density: narrower ones are a single whole number all the same


def scale_grid(count: int = 64, low: float = 0.11, high: float = 64.0) -> NDArray[np.float64]:
    """`count` scales from `low` to `high`, evenly spaced in the logarithm: float64 (count,). Raises ArgumentError."""
    whole = isinstance(count, numbers.Integral) and 2 <= count <= MAX_TABLES
    if not (whole and is_number(low) and is_number(high) and 0.0 < low < high < math.inf):
        given = f"{one_line(count)} scales from {one_line(low)} to {one_line(high)}"
        wanted = f"give a whole number, 2 to {MAX_TABLES}, from above 0 to a larger finite one"
        raise ArgumentError(f"{given} make no grid; {wanted}")
    return np.geomspace(low, high, count)


class ScaleFamily(Conditional):
    """A density at every scale of a logarithmic grid; the index is the position on the grid, real while training.

    The scale at a position i is low * exp(i * step), so whole positions are the grid's, and the coder's row of a
    predicted scale is its position rounded "up", "down" or to the "nearest": the edge between two rows is then the
    geometric mean of their scales. What each choice costs is in docs/entropy-models.md.
    """

    def __init__(self, family: str = "gaussian", scales: ArrayLike | None = None, rounding: str = "nearest") -> None:
        """family: "gaussian", "laplace" or "logistic"; scales: (N,), 2 to 256 rising, evenly spaced in the logarithm,
        at most 4096 (default: those of `intaglio.scales`). Raises ArgumentError.
        """
        values = _checked_grid(grid.scale_grid() if scales is None else scales)
        super().__init__(len(values))
        if not isinstance(rounding, str) or rounding not in ROUNDINGS:
            raise ArgumentError(f"rounding is {one_line(rounding)}; it must be one of {', '.join(ROUNDINGS)}")
        self.family, self._family, self.rounding = family, family_of(family), rounding
        self.scales, self.low = values, float(values[0])
        self.step = math.log(values[-1] / values[0]) / (len(values) - 1)

    def scale(self, index: Tensor) -> Tensor:
        """Scale at a position of the grid, same shape."""
        return self.low * torch.exp(self.step * full(index))

    def position(self, scale: Tensor) -> Tensor:
        """Real position of a scale, same shape, 0..N-1; scales outside the grid, negative ones too, count as its ends.

        At the ends a gradient passes if descending it leads back inside (`bounds.bounded`). Raises ArgumentError for a
        scale that is not finite.
        """
        _check_finite("scale", scale)
        return torch.log(bounded(full(scale), self.low, float(self.scales[-1])) / self.low) / self.step

    def row(self, index: Tensor) -> Tensor:
        _check_finite("index", index)
        return torch.floor(index + ROUNDINGS[self.rounding]).clamp(0, self.rows - 1).to(torch.uint8)

    def bits(self, value: Tensor, index: Tensor) -> Tensor:
        """Cost of `value` (a latent less its mean, any shape) in bits, float; `index` is the real position on the grid.

        Raises ArgumentError unless index is broadcastable to value.
        """
        _fits(value, index)
        return to_bits(self._family.log_cell(full(value).abs(), self.scale(index)))

    def freeze(self) -> Tables:
        return Tables.from_gaussian_scales(self.scales) if self.family == "gaussian" else super().freeze()

    def _log_cells(self, x: Tensor) -> Tensor:
        return self._family.log_cell(x.abs(), self._column())

    def _cdf(self, x: Tensor) -> Tensor:
        return self._family.tail(-x / self._column())

    def _column(self) -> Tensor:
        return torch.from_numpy(self.scales)[:, None]


class Components(nn.Module):
    """Learned mixtures: log weights, means and log scales, (N,K) each."""

    def __init__(self, weights: Tensor, means: Tensor, scales: Tensor, family: str) -> None:
        """Raises ArgumentError for components that are none; scales below `LEAST_SCALE` count as that."""
        super().__init__()
        check_components(weights, means, scales)
        if weights.ndim != 2 or not weights.is_floating_point():
            raise ArgumentError(f"weights of shape {tuple(weights.shape)} must be floating, (N, K)")
        self.family = family_of(family)
        self.logits = nn.Parameter(weights.detach().log())
        self.means = nn.Parameter(means.detach().clone())
        self.log_scales = nn.Parameter(scales.detach().log())

    def at(self, pick: Any) -> tuple[Tensor, Tensor, Tensor]:
        """Log weights, means and scales of the rows that `pick` names, as an index of the (N,K) tensors."""
        scales = torch.exp(lower_bound(self.log_scales, math.log(LEAST_SCALE)))
        return torch.log_softmax(self.logits, -1)[pick], self.means[pick], scales[pick]

    def log_cells(self, x: Tensor, pick: Any = (slice(None), None)) -> Tensor:
        """Natural log likelihood of the unit cells around x; by default (N,n), row by row."""
        return mixture_log_cells(x, *self.at(pick), self.family)

    def cdf(self, x: Tensor) -> Tensor:
        """Distribution functions at x, (N,n), row by row."""
        log_weights, means, scales = self.at((slice(None), None))
        return (log_weights.exp() * self.family.tail((means - x[..., None]) / scales)).sum(-1)


class Mixture(Conditional):
    """A mixture of K members of a family in every row; the index is the row, whole."""

    def __init__(self, weights: Tensor, means: Tensor, scales: Tensor, family: str = "gaussian") -> None:
        """weights, means, scales: (N,K) float, where training begins; weights sum to one in each row.

        Raises ArgumentError for shapes that differ, weights that do not sum to one, scales that are not finite and
        above zero, means that are not finite.
        """
        check_tensor("weights", weights)
        super().__init__(weights.shape[0] if weights.ndim == 2 else 1)
        self.components = Components(weights, means, scales, family)

    def row(self, index: Tensor) -> Tensor:
        self._check_rows(index)
        return index.to(torch.uint8)

    def bits(self, value: Tensor, index: Tensor) -> Tensor:
        """Cost of `value` (a latent less its mean, any shape) in bits; `index` is its row, whole, 0..N-1.

        Raises ArgumentError for another row, and unless index is broadcastable to value.
        """
        _fits(value, index)
        self._check_rows(index)
        return to_bits(self.components.log_cells(full(value), index.long()))

    def _check_rows(self, index: Tensor) -> None:
        check_tensor("index", index)
        if wrong := int((~((index >= 0) & (index < self.rows) & (index == torch.floor(index)))).sum()):
            wanted = f"must be rows, whole, 0 to {self.rows - 1}"
            raise ArgumentError(f"index of shape {tuple(index.shape)} {wanted}; {wrong} of them are not")

    def _log_cells(self, x: Tensor) -> Tensor:
        return self.components.log_cells(x)

    def _cdf(self, x: Tensor) -> Tensor:
        return self.components.cdf(x)


class ParametricFactorized(Factorized):
    """In every channel a Gaussian, Laplace or logistic of learned mean and scale, or a mixture of such."""

    def __init__(
        self, channels: int, family: str = "gaussian", components: int = 1, initial_scale: float = 10.0
    ) -> None:
        """family: "gaussian", "laplace" or "logistic"; components: K, whose scales begin a factor of 2 apart.

        Raises ArgumentError for what cannot be.
        """
        super().__init__(channels)
        check_above_zero("initial_scale", initial_scale)
        check_whole("components", components)
        spread = torch.exp2(torch.arange(float(components)) - 0.5 * (components - 1))
        scales = (initial_scale * spread).repeat(channels, 1)
        self.components = Components(torch.full_like(scales, 1.0 / components), 0.0 * scales, scales, family)

    def _median(self) -> Tensor:
        means = self.components.means
        return means[:, 0] if means.shape[1] == 1 else super()._median()

    def _log_cells(self, x: Tensor) -> Tensor:
        return self.components.log_cells(x)

    def _cdf(self, x: Tensor) -> Tensor:
        return self.components.cdf(x)


class DeepFactorized(Factorized):
    """In every channel a small monotone network whose sigmoid is the distribution function.

    Layers x -> g(softplus(H) x + b) with g(x) = x + tanh(a) tanh(x), and no g in the last: Ballé et al. 2018, appendix
    6.1. Without hidden layers it is the logistic distribution.
    """

    def __init__(self, channels: int, widths: tuple[int, ...] = (3, 3, 3), initial_scale: float = 10.0) -> None:
        """widths: of the hidden layers; initial_scale: about how far the density reaches at first.

        Raises ArgumentError for what cannot be.
        """
        super().__init__(channels)
        check_above_zero("initial_scale", initial_scale)
        if not isinstance(widths, (tuple, list)):
            raise ArgumentError(f"widths is of type {type(widths).__name__}; it must be a tuple of whole numbers")
        for width in widths:
            check_whole(f"one of the widths {tuple(widths)}", width)
        sizes = (1, *widths, 1)
        gain = initial_scale ** (-1.0 / (len(sizes) - 1))
        self.matrices, self.biases, self.factors = nn.ParameterList(), nn.ParameterList(), nn.ParameterList()
        for before, after in itertools.pairwise(sizes):
            slope = gain / after  # what softplus shall give; the layer's slope is the gain
            weight = slope + math.log(-math.expm1(-slope))
            self.matrices.append(nn.Parameter(torch.full((channels, after, before), weight)))
            self.biases.append(nn.Parameter(torch.rand(channels, after, 1) - 0.5))
        for width in widths:
            self.factors.append(nn.Parameter(torch.zeros(channels, width, 1)))

    @torch.no_grad()
    def shrink(self, factor: Tensor) -> None:
        """Turns the densities of x into those of x / factor, (C,), above zero."""
        first = self.matrices[0]
        slope = F.softplus(first) * factor.to(first.device)[:, None, None]
        first.copy_(slope + torch.log(-torch.expm1(-slope)))

    @torch.no_grad()
    def centre(self, median: Tensor) -> None:
        """Moves the medians to these, (C,), by the last biases."""
        self.biases[-1] -= self._logits(median.to(self.biases[-1].device)[:, None])[:, :, None]

    def _logits(self, x: Tensor) -> Tensor:
        """Logits of the distribution functions at x, (C,n)."""
        x = x[:, None]
        for number, (matrix, bias) in enumerate(zip(self.matrices, self.biases, strict=True)):
            x = torch.baddbmm(bias, F.softplus(matrix), x)
            if number < len(self.factors):
                x = x + torch.tanh(self.factors[number]) * torch.tanh(x)
        return x[:, 0]

    def _log_cells(self, x: Tensor) -> Tensor:
        lower, upper = self._logits(torch.cat([x - 0.5, x + 0.5], 1)).chunk(2, 1)
        return logit_log_likelihood(lower, upper)

    def _cdf(self, x: Tensor) -> Tensor:
        return torch.sigmoid(self._logits(x))


def _checked_grid(scales: ArrayLike) -> NDArray[np.float64]:
    try:
        values = np.asarray(scales, dtype=np.float64)
    except (TypeError, ValueError, RuntimeError) as error:  # strings, rows of unlike length, a tensor on a GPU
        raise ArgumentError(f"scales must be a list of numbers: {' '.join(str(error).split())}") from None
    if values.ndim != 1 or not 2 <= len(values) <= MAX_TABLES:
        raise ArgumentError(f"scales of shape {values.shape} must be a list of 2 to {MAX_TABLES}")
    if not np.all((values > 0) & (values <= MAX_GAUSSIAN_SCALE)):
        raise ArgumentError(f"scales of shape {values.shape} must lie above 0 and up to {MAX_GAUSSIAN_SCALE:g}")
    steps = np.diff(np.log(values))
    if not (steps[0] > 0 and np.allclose(steps, steps.mean(), rtol=1e-4, atol=0)):
        raise ArgumentError(f"scales of shape {values.shape} must rise by a constant factor; see scale_grid")
    return values


def _check_finite(name: str, value: Tensor) -> None:
    check_tensor(name, value)
    if wrong := int((~value.isfinite()).sum()):
        raise ArgumentError(f"{name} of shape {tuple(value.shape)} must be finite; {wrong} of them are not")


def _fits(value: Tensor, index: Tensor) -> None:
    check_tensor("value", value)
    check_tensor("index", index)
    try:
        fits = torch.broadcast_shapes(value.shape, index.shape) == value.shape
    except RuntimeError:
        fits = False
    if not fits:
        raise ArgumentError(
            f"index of shape {tuple(index.shape)} must be broadcastable to value, of shape {tuple(value.shape)}"
        )
