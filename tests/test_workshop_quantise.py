"""Every way to quantise a latent does what its name says, with the gradient that it promises."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from intaglio.errors import ArgumentError
from intaglio.workshop import quantise

ALPHAS = [0.5, 2.0, 5.0, 12.0]


@pytest.fixture
def values(rng: np.random.Generator) -> Tensor:
    return torch.tensor(rng.normal(0, 8, 20_000))


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_symbols_are_int32_and_round_halves_up(values: Tensor, seed: int) -> None:
    halves = torch.tensor([-1.5, -0.5, 0.5, 1.5, 2.4999])
    assert quantise.symbols(halves).tolist() == [-1, 0, 1, 2, 2]
    found = quantise.symbols(values.requires_grad_())
    assert found.dtype == torch.int32
    assert torch.equal(found, quantise.straight_through(values).int()), f"seed {seed}"


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf, 2.0**31, -3e9])
def test_latents_that_are_no_int32_are_refused(wrong: float) -> None:
    with pytest.raises(ArgumentError, match=r"x of shape \(2, 3\): 1 values cannot be an int32"):
        quantise.symbols(torch.tensor([[0.0, wrong, 1.0], [0.0, 0.0, 0.0]]))


def test_noise_is_uniform_and_repeats_with_its_generator(values: Tensor, seed: int) -> None:
    x = values.clone().requires_grad_()
    noisy = quantise.noise(x, seeded(seed))
    error = (noisy - x).detach()
    assert error.abs().max() <= 0.5
    assert abs(float(error.mean())) < 0.015, f"seed {seed}"
    assert float(error.var()) == pytest.approx(1 / 12, rel=0.05), f"seed {seed}"
    assert torch.equal(noisy, quantise.noise(x, seeded(seed)))
    assert torch.equal(torch.autograd.grad(noisy.sum(), x)[0], torch.ones_like(x))


def test_universal_rounds_on_one_shifted_grid_and_can_be_coded(values: Tensor, seed: int) -> None:
    x = values.clone().requires_grad_()
    found = quantise.universal(x, seeded(seed))
    offset = quantise.dither(x, seeded(seed))
    assert offset.shape == ()
    symbols = quantise.symbols(x - offset)
    assert torch.equal(symbols + offset, found), f"seed {seed}"
    assert torch.equal(torch.autograd.grad(found.sum(), x)[0], torch.ones_like(x))


def test_the_error_of_universal_is_uniform_whatever_the_value(seed: int) -> None:
    generator, x = seeded(seed), torch.full((1,), 0.3, dtype=torch.float64)
    errors = torch.cat([quantise.universal(x, generator) - x for _ in range(4000)])
    assert errors.abs().max() <= 0.5
    share, _ = np.histogram(errors.numpy(), bins=10, range=(-0.5, 0.5))
    assert share.min() > 300, f"seed {seed}: {share}"


@pytest.mark.parametrize("alpha", ALPHAS)
def test_soft_rounding_follows_its_formula(values: Tensor, alpha: float, seed: int) -> None:
    x = values.numpy()
    r = x - np.floor(x) - 0.5
    wanted = np.floor(x) + 0.5 + np.tanh(alpha * r) / (2 * np.tanh(alpha / 2))
    np.testing.assert_allclose(quantise.soft_round(values, alpha).numpy(), wanted, atol=1e-12, err_msg=f"seed {seed}")


@pytest.mark.parametrize("alpha", ALPHAS)
def test_soft_rounding_can_be_undone_and_has_true_gradients(values: Tensor, alpha: float, seed: int) -> None:
    back = quantise.soft_round_inverse(quantise.soft_round(values, alpha), alpha)
    assert float((back - values).abs().max()) < 1e-6, f"seed {seed}"
    x = values[:40].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: quantise.soft_round(x, alpha), x)
    assert torch.autograd.gradcheck(lambda x: quantise.soft_round_inverse(x, min(alpha, 5.0)), x)


def test_soft_rounding_begins_as_the_identity_and_ends_as_rounding(values: Tensor, seed: int) -> None:
    away = values[(values - values.floor() - 0.5).abs() > 0.01]
    for alpha in (0.0, 1e-4, 2e-3):
        assert float((quantise.soft_round(values, alpha) - values).abs().max()) < 1e-6, f"seed {seed}"
    for alpha in (999.0, 1e6, math.inf):
        assert torch.allclose(quantise.soft_round(away, alpha), torch.floor(away + 0.5), atol=1e-6), f"seed {seed}"


@pytest.mark.parametrize("alpha", ALPHAS)
def test_the_conditional_mean_is_that_of_the_values_that_could_have_been(alpha: float) -> None:
    x = torch.linspace(-3.0, 3.0, 600_001, dtype=torch.float64)
    soft = quantise.soft_round(x, alpha)
    for y in (-0.7, 0.0, 0.31, 0.5, 1.2):
        mean = float(x[(soft - y).abs() <= 0.5].mean())
        assert float(quantise.soft_round_mean(torch.tensor(y, dtype=torch.float64), alpha)) == pytest.approx(
            mean, abs=1e-4
        )


def test_soft_noise_goes_from_noise_to_rounding(values: Tensor, seed: int) -> None:
    assert torch.allclose(quantise.soft_noise(values, 0.0, seeded(seed)), quantise.noise(values, seeded(seed)))
    hard = quantise.soft_noise(values, math.inf, seeded(seed))
    assert torch.equal(hard, torch.floor(values + 0.5)), f"seed {seed}"
    spread = [float((quantise.soft_noise(values, alpha) - torch.floor(values + 0.5)).abs().mean()) for alpha in ALPHAS]
    assert spread == sorted(spread, reverse=True), f"seed {seed}: {spread}"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_soft_rounding_and_its_gradients_stay_finite_at_every_alpha(values: Tensor, dtype: torch.dtype) -> None:
    points = torch.cat([values, torch.arange(-4.0, 4.0, 0.5, dtype=torch.float64)]).to(dtype)
    for alpha in (0.0, 1e-3, 1.0, 20.0, 100.0, 1e3, 1e4, math.inf):
        for function in (quantise.soft_round, quantise.soft_round_inverse, quantise.soft_round_mean):
            x = points.clone().requires_grad_()
            y = function(x, alpha)
            (grad,) = torch.autograd.grad(y.sum(), x)
            assert y.isfinite().all()
            assert grad.isfinite().all()
            assert float((y - x).detach().abs().max()) <= 0.5 + 1e-5


def test_annealing_goes_from_first_to_last_by_a_constant_factor() -> None:
    alphas = [quantise.annealed(step / 4, 1.0, 16.0) for step in range(5)]
    assert alphas == pytest.approx([1.0, 2.0, 4.0, 8.0, 16.0])


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        (lambda x: quantise.soft_round(x, -1.0), "alpha"),
        (lambda x: quantise.soft_round(x, math.nan), "alpha"),
        (lambda x: quantise.soft_round_inverse(x, -1.0), "alpha"),
        (lambda x: quantise.annealed(1.5), "progress"),
        (lambda x: quantise.annealed(math.nan), "progress"),
        (lambda x: quantise.annealed(0.5, 0.0, 2.0), "alpha"),
        (lambda x: quantise.annealed(0.5, 1.0, math.inf), "alpha"),
    ],
)
def test_arguments_that_cannot_be_meant_are_refused(wrong: Callable[[Tensor], object], named: str) -> None:
    with pytest.raises(ArgumentError, match=named):
        wrong(torch.zeros(3))
