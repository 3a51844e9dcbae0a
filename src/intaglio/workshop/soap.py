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

    def shapes(self, parameter: Tensor) -> dict[str, torch.Size]:
        """Of the state of a parameter, by name; for a checkpoint to be held against."""
        return {name: value.shape for name, value in _begun(_matrices(parameter.detach())).items()}

    def _update(self, parameter: Tensor, group: dict[str, Any]) -> None:
        assert parameter.grad is not None
        state, gradient = self.state[parameter], _matrices(parameter.grad)
        if not state:
            state.update(_begun(gradient))
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
            state[side] = torch.linalg.qr(moved[:, order])[0].contiguous()  # as a checkpoint would bring it back
            state["square"] = state["square"].index_select(axis, order)
            turns.append(old.t() @ state[side])
        state["mean"] = _rotated(state["mean"], *turns)


def _begun(gradient: Tensor) -> dict[str, Tensor]:
    """The state before the first step, for gradients (O,n,I) like this one."""
    state = {"step": torch.zeros(()), "mean": torch.zeros_like(gradient), "square": torch.zeros_like(gradient)}
    outputs, _, inputs = gradient.shape
    for side, size in (("left", outputs), ("right", inputs)):
        if min(outputs, inputs) > 1 and size <= LARGEST:
            state[f"cov_{side}"] = gradient.new_zeros(size, size)
            state[side] = torch.eye(size, device=gradient.device)
    return state


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
        return x.reshape(1, 1, x.numel())
    return x.reshape(x.shape[0], 1, -1) if _one(x) else x.flatten(2).transpose(1, 2).contiguous()


def _unmatrices(x: Tensor, like: Tensor) -> Tensor:
    """The inverse of `_matrices`."""
    return x.reshape(like.shape) if _one(like) else x.transpose(1, 2).reshape(like.shape)


def _one(x: Tensor) -> bool:
    """Whether a parameter is one matrix or none, rather than one for each position of a kernel."""
    return x.ndim <= 2 or x.shape[1] <= FEW_INPUTS
