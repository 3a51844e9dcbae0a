"""SOAP: Adam in the basis in which a layer's gradients are least correlated.

Of a gradient G (O,I), running means of G G^T and G^T G are kept, and the eigenvectors of both, L and R, found again
every few steps by one step of orthogonal iteration. The moments of Adam are those of L^T G R, and its step is turned
back. A kernel of n positions is n such matrices with the same L and R. Source: Vyas et al. 2024, arXiv 2409.11321; for
image coding Chen et al. 2026, arXiv 2601.20769.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

EPSILON = 1e-8
SMALLEST = 1e-30
FEW_INPUTS = 4  # a kernel with no more of them is one matrix, of all its positions: (O, I k k)
LARGEST = 1024  # a side that is longer keeps its basis


class Soap(torch.optim.Optimizer):
    """Parameters of two or more dimensions by SOAP, the others by Adam.

    State of each parameter: `step`; `mean` and `square`, the moments, (O,n,I); of each side that is turned `cov_left`
    or `cov_right`, and `left` or `right`, all square.
    """

    def __init__(
        self,
        params: Iterable[dict[str, Any]],
        lr: float,
        betas: tuple[float, float, float] = (0.9, 0.99, 0.9),
        every: int = 16,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """`betas`: of the mean, of the squares, of the covariances, which see every second gradient; `every`: steps
        between new bases; `dtype`: of the products with the bases.
        """
        super().__init__(params, {"lr": lr, "betas": betas, "every": every})
        self.dtype = dtype

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One step of every parameter that has a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, group)

    def _update(self, parameter: Tensor, group: dict[str, Any]) -> None:
        assert parameter.grad is not None
        state, gradient = self.state[parameter], _matrices(parameter.grad)
        if not state:
            self._begin(state, gradient)
        first, second, third = group["betas"]
        state["step"] += 1
        number = int(state["step"])
        turns = "left" in state or "right" in state
        low = gradient.to(self.dtype if turns else torch.float32)
        if number % 2:
            for side, flat in (("left", low.flatten(1)), ("right", low.flatten(0, 1).t())):
                if side in state:
                    state[f"cov_{side}"].lerp_((flat @ flat.t()).float(), 1.0 - third)
        if number == 1 or number % group["every"] == 0:
            self._turn(state)
        left, right = (state[side].to(self.dtype) if side in state else None for side in ("left", "right"))
        turned = _rotated(low, left, right).float()
        state["mean"].lerp_(turned, 1.0 - first)
        state["square"].lerp_(turned.square(), 1.0 - second)
        scale = (state["square"] / (1.0 - second**number)).sqrt_().add_(EPSILON)
        step = (state["mean"] / scale).to(low.dtype)
        step = _rotated(step, None if left is None else left.t(), None if right is None else right.t())
        parameter.add_(_unmatrices(step, parameter), alpha=-group["lr"] / (1.0 - first**number))

    def _begin(self, state: dict[str, Tensor], gradient: Tensor) -> None:
        state["step"] = torch.zeros(())
        state["mean"], state["square"] = torch.zeros_like(gradient), torch.zeros_like(gradient)
        outputs, _, inputs = gradient.shape
        for side, size in (("left", outputs), ("right", inputs)):
            if min(outputs, inputs) > 1 and size <= LARGEST:
                state[f"cov_{side}"] = gradient.new_zeros(size, size)
                state[side] = torch.eye(size, device=gradient.device)

    def _turn(self, state: dict[str, Tensor]) -> None:
        """New bases from the covariances; the mean turns with them, the squares keep to the order of eigenvalues."""
        turns: list[Tensor | None] = []
        for axis, side in ((0, "left"), (2, "right")):
            if side not in state:
                turns.append(None)
                continue
            old, covariance = state[side], state[f"cov_{side}"]
            moved = (covariance / covariance.trace().clamp_min(SMALLEST)) @ old  # about 1, whatever the gradient's unit
            order = torch.argsort((old * moved).sum(0), descending=True, stable=True)
            state[side] = torch.linalg.qr(moved[:, order])[0]
            state["square"] = state["square"].index_select(axis, order)
            turns.append(old.t() @ state[side])
        state["mean"] = _rotated(state["mean"], *turns)


def _rotated(x: Tensor, left: Tensor | None, right: Tensor | None) -> Tensor:
    """`left^T x right` of each matrix of (O,n,I), which share their first and last axis."""
    shape = x.shape
    if left is not None:
        x = left.t() @ x.flatten(1)
    if right is not None:
        x = x.reshape(-1, shape[2]) @ right
    return x.view(shape)


def _matrices(x: Tensor) -> Tensor:
    """A gradient as (O,n,I), contiguous."""
    if x.ndim < 2:
        return x.reshape(1, 1, -1)
    if x.ndim == 2 or x.shape[1] <= FEW_INPUTS:
        return x.reshape(x.shape[0], 1, -1)
    return x.flatten(2).transpose(1, 2).contiguous()


def _unmatrices(x: Tensor, like: Tensor) -> Tensor:
    """The inverse of `_matrices`."""
    if like.ndim <= 2 or like.shape[1] <= FEW_INPUTS:
        return x.reshape(like.shape)
    return x.transpose(1, 2).reshape(like.shape)
