"""Likelihoods of latents: a density, scaled, over the unit cell around a value; each plain and as a logarithm.

The plain form takes the difference of two upper tails at |value|, which keeps its precision far out (Ballé et al. 2018,
arXiv 1802.01436). Its logarithm is dead where it underflows or meets a floor. The log-domain form is the one to train
with: it is exact at every distance, and so is its gradient. With a = (|v| - 1/2)/s and b = (|v| + 1/2)/s:

    gaussian   a >= 0: -a^2/2 + log((erfcx(a/sqrt 2) - exp(-|v|/s^2) erfcx(b/sqrt 2)) / 2)   (b^2 - a^2 = 2|v|/s^2)
               a < 0:  log((erf(b/sqrt 2) - erf(a/sqrt 2)) / 2)
    laplace    a >= 0: -a + log((1 - exp(-1/s)) / 2);   a < 0: log((2 - exp(a) - exp(-b)) / 2)
    logistic   log sigmoid(-a) + log sigmoid(b) + log(1 - exp(-1/s))

The scale s is that of SciPy's `norm`, `laplace` and `logistic`: the standard deviation is s, sqrt(2) s, pi s / sqrt(3).
Values are latents less their mean. Results have the common shape and dtype of the arguments; float16 and bfloat16 are
computed in float32. Natural logarithms; `bits` is -log2.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from intaglio.errors import ArgumentError
from intaglio.workshop.arguments import one_line
from intaglio.workshop.bounds import lower_bound

_ROOT_HALF = math.sqrt(0.5)
_NARROWEST_CELL = 1e-7  # in logits: float32 may round a narrower one to nothing, or to less
_SUM_TOLERANCE = 1e-5  # of weights, in float32


@dataclass(frozen=True)
class Family:
    """A symmetric density of location 0 and scale 1.

    tail: upper tail area, P(X > x); log_cell: log likelihood of the cell around |value| at a scale; deviation: the
    standard deviation.
    """

    tail: Callable[[Tensor], Tensor]
    log_cell: Callable[[Tensor, Tensor], Tensor]
    deviation: float


def _gaussian_tail(x: Tensor) -> Tensor:
    return 0.5 * torch.erfc(x * _ROOT_HALF)


def _gaussian(distance: Tensor, scale: Tensor) -> Tensor:
    outside = distance >= 0.5
    unit = _ROOT_HALF / scale
    outer, inner = torch.where(outside, distance, 0.5), torch.where(outside, 0.0, distance)  # each safe elsewhere
    near, far = (outer - 0.5) * unit, (outer + 0.5) * unit
    ratio = torch.exp(-2.0 * outer * unit * unit)
    tail = torch.log(0.5 * (torch.special.erfcx(near) - ratio * torch.special.erfcx(far))) - near * near
    body = torch.log(0.5 * (torch.erf((inner + 0.5) * unit) - torch.erf((inner - 0.5) * unit)))
    return torch.where(outside, tail, body)


def _laplace_tail(x: Tensor) -> Tensor:
    return torch.where(x < 0, 1.0 - 0.5 * torch.exp(x.clamp_max(0.0)), 0.5 * torch.exp(-x.clamp_min(0.0)))


def _laplace(distance: Tensor, scale: Tensor) -> Tensor:
    near, far = (distance - 0.5) / scale, (distance + 0.5) / scale
    tail = torch.log(-0.5 * torch.expm1(-1.0 / scale)) - near
    body = torch.log(-0.5 * (torch.expm1(near.clamp_max(0.0)) + torch.expm1(-far)))
    return torch.where(near >= 0, tail, body)


def _logistic_tail(x: Tensor) -> Tensor:
    return torch.sigmoid(-x)


def _logistic(distance: Tensor, scale: Tensor) -> Tensor:
    near, far = (distance - 0.5) / scale, (distance + 0.5) / scale
    return F.logsigmoid(-near) + F.logsigmoid(far) + torch.log(-torch.expm1(-1.0 / scale))


FAMILIES = {
    "gaussian": Family(_gaussian_tail, _gaussian, 1.0),
    "laplace": Family(_laplace_tail, _laplace, math.sqrt(2.0)),
    "logistic": Family(_logistic_tail, _logistic, math.pi / math.sqrt(3.0)),
}


def family_of(name: str) -> Family:
    """The family called "gaussian", "laplace" or "logistic". Raises ArgumentError for another name."""
    if not isinstance(name, str) or name not in FAMILIES:
        raise ArgumentError(f"family is {one_line(name)}; it must be one of {', '.join(FAMILIES)}")
    return FAMILIES[name]


def likelihood(value: Tensor, scale: Tensor, family: str = "gaussian") -> Tensor:
    """Probability of the unit cell around `value`, in its plain form; 0 where it underflows.

    Raises ArgumentError for what is no tensor, shapes that do not broadcast, or a scale that is not finite and above
    zero.
    """
    value, scale = _pair(value, scale)
    near, far = (value.abs() - 0.5) / scale, (value.abs() + 0.5) / scale
    tail = family_of(family).tail
    return tail(near) - tail(far)


def log_likelihood(value: Tensor, scale: Tensor, family: str = "gaussian") -> Tensor:
    """Natural logarithm of the probability of the unit cell around `value`; its gradient survives everywhere.

    Raises ArgumentError as `likelihood`.
    """
    value, scale = _pair(value, scale)
    return family_of(family).log_cell(value.abs(), scale)


def bits(value: Tensor, scale: Tensor, family: str = "gaussian") -> Tensor:
    """`-log2` of the probability of the unit cell around `value`. Raises ArgumentError as `likelihood`."""
    return to_bits(log_likelihood(value, scale, family))


def to_bits(nats: Tensor) -> Tensor:
    """A log likelihood as a cost in bits."""
    return nats * (-1.0 / math.log(2.0))


def mixture_log_likelihood(
    value: Tensor, weights: Tensor, means: Tensor, scales: Tensor, family: str = "gaussian"
) -> Tensor:
    """Natural logarithm of the unit cell's probability under `sum_k weights_k density((x - means_k) / scales_k)`.

    weights, means and scales: K components along the last dimension, the others broadcastable to value's shape.
    Raises ArgumentError for shapes that do not fit, weights that are negative or do not sum to one, means that are not
    finite, scales that are not finite and above zero.
    """
    check_tensor("value", value)
    check_components(weights, means, scales)
    if _common(value.shape, weights.shape[:-1]) != value.shape:
        raise ArgumentError(f"value of shape {_shape(value)} does not fit weights of shape {_shape(weights)}")
    log_weights = torch.log(weights.clamp_min(torch.finfo(weights.dtype).tiny))  # of none: no gradient, rather than NaN
    return mixture_log_cells(full(value), log_weights, means, scales, family_of(family))


def mixture_log_cells(value: Tensor, log_weights: Tensor, means: Tensor, scales: Tensor, family: Family) -> Tensor:
    """As `mixture_log_likelihood`, of the weights' logarithms, and unchecked."""
    return torch.logsumexp(log_weights + family.log_cell((value[..., None] - means).abs(), scales), -1)


def logit_log_likelihood(lower: Tensor, upper: Tensor) -> Tensor:
    """`log(sigmoid(upper) - sigmoid(lower))`, natural, from the logits of a distribution function at a cell's edges.

    Equal to `log sigmoid(upper) + log sigmoid(-lower) + log(1 - exp(lower - upper))`, in which nothing cancels.
    """
    width = lower_bound(upper - lower, _NARROWEST_CELL)
    return F.logsigmoid(upper) + F.logsigmoid(-lower) + torch.log(-torch.expm1(-width))


def check_tensor(name: str, value: object) -> None:
    """Raises ArgumentError naming `name` unless it is a tensor of real numbers."""
    if not isinstance(value, Tensor):
        raise ArgumentError(f"{name} is of type {type(value).__name__}; it must be a tensor")
    if value.is_complex() or value.dtype == torch.bool:
        raise ArgumentError(f"{name} of shape {_shape(value)} must hold real numbers, not {value.dtype}")


def check_positive(name: str, scale: Tensor) -> None:
    """Raises ArgumentError naming `name` unless every value is finite and above zero, and there is one."""
    wrong = int((~((scale > 0) & scale.isfinite())).sum())
    if wrong or not scale.numel():
        found = f"{wrong} of them are not" if wrong else "there are none"
        raise ArgumentError(f"{name} of shape {_shape(scale)} must be finite and above zero; {found}")


def check_components(weights: Tensor, means: Tensor, scales: Tensor) -> None:
    """Raises ArgumentError unless these are the components of mixtures, K >= 1 along the last dimension of each."""
    for name, each in (("weights", weights), ("means", means), ("scales", scales)):
        check_tensor(name, each)
    if not weights.ndim or not weights.shape == means.shape == scales.shape:
        shapes = f"weights {_shape(weights)}, means {_shape(means)}, scales {_shape(scales)}"
        raise ArgumentError(f"components must have one shape, (..., K); found {shapes}")
    check_positive("scales", scales)
    if not bool(means.isfinite().all()):
        raise ArgumentError(f"means of shape {_shape(means)} must be finite")
    if not bool(((weights >= 0) & weights.isfinite()).all()):
        raise ArgumentError(f"weights of shape {_shape(weights)} must be finite, 0 or more")
    error = float((weights.detach().sum(-1) - 1.0).abs().max())
    if error > _SUM_TOLERANCE:
        raise ArgumentError(
            f"weights of shape {_shape(weights)} must sum to 1 along the last dimension; they miss it by {error:.2g}"
        )


def full(value: Tensor) -> Tensor:
    """`value` in float32 if it is of lower precision; as it is otherwise."""
    return value.float() if value.dtype in (torch.float16, torch.bfloat16) else value


def _pair(value: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    check_tensor("value", value)
    check_tensor("scale", scale)
    check_positive("scale", scale)
    if _common(value.shape, scale.shape) is None:
        raise ArgumentError(f"value of shape {_shape(value)} and scale of shape {_shape(scale)} do not broadcast")
    return full(value), full(scale)


def _common(*shapes: torch.Size) -> torch.Size | None:
    try:
        return torch.broadcast_shapes(*shapes)
    except RuntimeError:
        return None


def _shape(tensor: Tensor) -> tuple[int, ...]:
    return tuple(tensor.shape)
