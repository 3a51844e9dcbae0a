"""Functions whose gradient is not their derivative: bounds that can be left again, rounding that passes gradients."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from intaglio.errors import ArgumentError


class _Clamp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, low: float | None, high: float | None) -> Tensor:
        ctx.save_for_backward(x)
        ctx.limits = low, high
        return x.clamp(low, high)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (x,), (low, high), (grad,) = ctx.saved_tensors, ctx.limits, grads
        if low is not None:
            grad = grad * ((x >= low) | (grad < 0))
        if high is not None:
            grad = grad * ((x <= high) | (grad > 0))
        return grad, None, None


def lower_bound(x: Tensor, low: float) -> Tensor:
    """`max(x, low)`, any shape, floating; a gradient passes where x >= low, and below where descending it raises x.

    The rule is that of Ballé et al. 2018 (arXiv 1802.01436): what left the bound can come back.
    Raises ArgumentError if `low` is NaN.
    """
    return _bound(x, low, None)


def upper_bound(x: Tensor, high: float) -> Tensor:
    """`min(x, high)`, any shape, floating; a gradient passes where x <= high, and above where descending it lowers x.

    Raises ArgumentError if `high` is NaN.
    """
    return _bound(x, None, high)


def bounded(x: Tensor, low: float, high: float) -> Tensor:
    """Both bounds at once: `x` clamped to low..high. Raises ArgumentError unless low <= high."""
    return _bound(x, low, high)


def _bound(x: Tensor, low: float | None, high: float | None) -> Tensor:
    if not (-math.inf if low is None else low) <= (math.inf if high is None else high):
        raise ArgumentError(f"bounds {low} and {high}: they must be numbers, the lower one not above the upper one")
    if not torch.is_grad_enabled():
        return x.clamp(low, high)
    return _Clamp.apply(x, low, high)  # type: ignore[return-value]


def round_ste(x: Tensor) -> Tensor:
    """`floor(x + 1/2)` with the gradient of the identity (straight-through); rounds halves up, as the codec does."""
    rounded = torch.floor(x + 0.5)
    return x + (rounded - x).detach() if torch.is_grad_enabled() else rounded
