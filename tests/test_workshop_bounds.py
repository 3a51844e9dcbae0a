"""Bounds can be left again, on either side, and rounding passes gradients."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from intaglio.errors import ArgumentError
from intaglio.workshop.bounds import bounded, lower_bound, round_ste, upper_bound

LOW, HIGH = 0.0, 3.0
BOUNDS: dict[str, Callable[[Tensor], Tensor]] = {
    "lower": lambda x: lower_bound(x, LOW),
    "upper": lambda x: upper_bound(x, HIGH),
    "both": lambda x: bounded(x, LOW, HIGH),
}


@pytest.mark.parametrize("name", BOUNDS)
@pytest.mark.parametrize("x", [-1.0, 0.0, 1.0, 3.0, 5.0])
@pytest.mark.parametrize("grad", [-2.0, 2.0])
def test_a_gradient_passes_inside_and_where_descending_it_leads_back(name: str, x: float, grad: float) -> None:
    value = torch.tensor([x], requires_grad=True)
    clamped = BOUNDS[name](value)
    low, high = (-math.inf if name == "upper" else LOW), (math.inf if name == "lower" else HIGH)
    assert clamped.item() == min(max(x, low), high)
    clamped.backward(torch.tensor([grad]))
    descent_raises = grad < 0
    passes = (x >= low or descent_raises) and (x <= high or not descent_raises)
    assert value.grad is not None
    assert value.grad.item() == (grad if passes else 0.0)


@pytest.mark.parametrize("bound", BOUNDS.values(), ids=BOUNDS)
def test_descent_from_outside_comes_back_where_a_clamp_stays(bound: Callable[[Tensor], Tensor]) -> None:
    for start, target in ((-1.0, 2.0), (5.0, 1.0)):
        x = torch.tensor(start, requires_grad=True)
        for _ in range(200):
            (grad,) = torch.autograd.grad((bound(x) - target).square(), x)
            x.data -= 0.1 * grad
        assert x.item() == pytest.approx(target, abs=1e-3)
    stuck = torch.tensor(-1.0, requires_grad=True)
    (stuck.clamp(LOW, HIGH) - 2.0).square().backward()
    assert stuck.grad is not None
    assert stuck.grad.item() == 0.0


def test_a_bound_clamps_without_gradients_too() -> None:
    x = torch.tensor([-1.0, 1.0, 9.0])
    with torch.no_grad():
        assert bounded(x, 0.0, 3.0).tolist() == [0.0, 1.0, 3.0]
        assert lower_bound(x, 0.0).tolist() == [0.0, 1.0, 9.0]
        assert upper_bound(x, 3.0).tolist() == [-1.0, 1.0, 3.0]


@pytest.mark.parametrize(
    "wrong",
    [
        lambda x: bounded(x, 3.0, 0.0),
        lambda x: bounded(x, math.nan, 0.0),
        lambda x: bounded(x, 0.0, math.nan),
        lambda x: lower_bound(x, math.nan),
        lambda x: upper_bound(x, math.nan),
    ],
)
def test_bounds_that_are_none_are_refused(wrong: Callable[[Tensor], Tensor]) -> None:
    with pytest.raises(ArgumentError, match="bounds"):
        wrong(torch.ones(2))


def test_rounding_goes_up_at_halves_and_passes_gradients(rng: np.random.Generator, seed: int) -> None:
    numbers = np.concatenate([rng.normal(0, 40, 1000), np.arange(-6, 6) + 0.5]).astype(np.float32)
    x = torch.tensor(numbers, requires_grad=True)
    rounded = round_ste(x)
    assert np.array_equal(rounded.detach().numpy(), np.floor(numbers + np.float32(0.5))), f"seed {seed}"
    weight = torch.tensor(rng.normal(size=len(numbers)), dtype=torch.float32)
    rounded.backward(weight)
    assert x.grad is not None
    assert torch.equal(x.grad, weight), f"seed {seed}"
    with torch.no_grad():
        assert torch.equal(round_ste(x), rounded)
