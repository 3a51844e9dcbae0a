"""Functions whose gradient is not their derivative: bounds that can be left again, rounding that passes gradients."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class _Clamp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, low: float, high: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.limits = low, high
        return x.clamp(low, high)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (x,) = ctx.saved_tensors
        low, high = ctx.limits
        (grad,) = grads
        passes = ((x >= low) | (grad < 0)) & ((x <= high) | (grad > 0))
        return grad * passes, None, None


def bounded(x: Tensor, low: float, high: float) -> Tensor:
    """`x` clamped to low..high; a gradient passes inside, and outside where descending it leads back inside.

    The rule for the lower bound is that of Ballé et al. 2018 (arXiv 1802.01436); the upper bound mirrors it.
    """
    if not torch.is_grad_enabled():
        return x.clamp(low, high)
    return _Clamp.apply(x, low, high)  # type: ignore[return-value]


def round_ste(x: Tensor) -> Tensor:
    """`floor(x + 1/2)` with the gradient of the identity (straight-through); rounds halves up, as the codec does."""
    rounded = torch.floor(x + 0.5)
    return x + (rounded - x).detach() if torch.is_grad_enabled() else rounded
