"""The training prior: bits that are right, gradients that never die."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from intaglio.scales import SCALES, index_to_scale
from intaglio.workshop.densities import bits
from intaglio.workshop.priors import gaussian_bits, log_tail

INDEXES = [0, 7, 21, 40, 55, 63]
LINEAR_FROM = 12.0  # standard deviations, of the cell's near edge; beyond, the cost is continued on purpose


def reference_bits(value: float, scale: float) -> float:
    """-log2 of the exact probability, in double precision: a difference of two upper tails."""
    near, far = (abs(value) - 0.5) / scale, (abs(value) + 0.5) / scale
    return -math.log2(0.5 * (math.erfc(near * math.sqrt(0.5)) - math.erfc(far * math.sqrt(0.5))))


def values_to_the_tails(scale: float) -> np.ndarray:
    """Values whose cell begins up to 12 standard deviations out, dense where the two formulas meet (at 5)."""
    sigmas = np.concatenate([np.linspace(-0.5 / scale, 4.9, 60), np.linspace(4.9, 5.1, 41), np.linspace(5.1, 12, 60)])
    return 0.5 + np.minimum(sigmas, LINEAR_FROM - 1e-3) * scale


@pytest.mark.parametrize("index", INDEXES)
def test_bits_agree_with_double_precision(index: int) -> None:
    scale = float(index_to_scale(index))
    values = values_to_the_tails(scale)
    wanted = np.array([reference_bits(value, scale) for value in values])
    for sign in (1.0, -1.0):
        bits = gaussian_bits(torch.tensor(sign * values, dtype=torch.float32), torch.full((len(values),), float(index)))
        # Most is lost where the series takes over: 0.0034 of 26 bits, 5 standard deviations out.
        np.testing.assert_allclose(bits.numpy(), wanted, rtol=1.5e-4, atol=1e-4)


@pytest.mark.parametrize("index", INDEXES)
def test_likely_values_cost_what_they_should_to_a_ten_thousandth_of_a_bit(index: int) -> None:
    scale = float(index_to_scale(index))
    values = np.linspace(-3.0, 3.0, 61) * max(scale, 0.5)
    bits = gaussian_bits(torch.tensor(values, dtype=torch.float32), torch.full((61,), float(index))).numpy()
    wanted = [reference_bits(value, scale) for value in values]
    near = (np.abs(values) - 0.5) / scale < 4.5
    assert near.sum() > 20
    assert np.abs(bits - wanted)[near].max() < 2e-4


@pytest.mark.parametrize("index", range(0, SCALES, 3))
def test_bits_rise_with_the_distance(index: int) -> None:
    distance = torch.cat([torch.linspace(0, 20, 4001), torch.logspace(math.log10(20.01), 4, 4000)]).double()
    bits = gaussian_bits(distance, torch.full_like(distance, index))
    assert (bits.diff() > 0).float().mean() > 0.9
    # The two formulas meet with a step down of a few thousandths of a bit at 25 bits, nowhere more.
    assert bits.diff().min() > -4e-3
    assert (bits.diff() < 0).sum() <= 1


def test_far_out_the_cost_grows_linearly() -> None:
    distance = torch.tensor([3000.0, 4000.0, 5000.0])
    for index in INDEXES:
        bits = gaussian_bits(distance, torch.full((3,), float(index)))
        slope = LINEAR_FROM / float(index_to_scale(index)) / math.log(2.0)
        assert torch.allclose(bits.diff() / 1000.0, torch.full((2,), slope), rtol=1e-3)


def test_the_gradient_is_finite_and_alive_everywhere() -> None:
    magnitude = torch.cat([torch.linspace(0.05, 30, 600), torch.logspace(1.5, 4, 200)])
    value = torch.cat([-magnitude, magnitude])[None].repeat(SCALES, 1).requires_grad_()
    index = torch.arange(float(SCALES))[:, None].repeat(1, value.shape[1]).requires_grad_()
    gaussian_bits(value, index).sum().backward()
    assert value.grad is not None
    assert index.grad is not None
    assert value.grad.isfinite().all()
    assert index.grad.isfinite().all()
    assert (value.grad * value.detach().sign() > 0).all()  # descending always leads towards the mean
    far = value.detach().abs() > 5.5 * torch.tensor(index_to_scale(np.arange(SCALES)))[:, None] + 0.5
    assert (index.grad[far] < 0).all()  # and there towards a wider scale
    assert (index.grad != 0).float().mean() > 0.999  # it crosses zero once in each row


def test_the_gradient_at_zero_is_finite() -> None:
    value = torch.zeros(SCALES, requires_grad=True)
    index = torch.arange(float(SCALES), requires_grad=True)
    gaussian_bits(value, index).sum().backward()
    assert value.grad is not None
    assert index.grad is not None
    assert value.grad.isfinite().all()
    assert index.grad.isfinite().all()


@pytest.mark.parametrize("index", INDEXES)
def test_the_gradient_agrees_with_differences(index: int) -> None:
    scale = float(index_to_scale(index))
    values = (np.linspace(0.05, 4.5, 40) * scale + 0.3).astype(np.float32)
    value = torch.tensor(values, requires_grad=True)
    position = torch.full((40,), float(index), requires_grad=True)
    gaussian_bits(value, position).sum().backward()
    h = 1e-4 * scale
    by_value = [(reference_bits(float(v) + h, scale) - reference_bits(float(v) - h, scale)) / (2 * h) for v in values]
    wider, narrower = (float(index_to_scale(index + step)) for step in (1e-3, -1e-3))
    by_index = [(reference_bits(float(v), wider) - reference_bits(float(v), narrower)) / 2e-3 for v in values]
    assert value.grad is not None
    assert position.grad is not None
    inside = np.abs((np.abs(values) - 0.5) / scale) < 4.5  # where the cell lies within 4.5 standard deviations
    assert inside.sum() >= 30 or scale < 0.5
    np.testing.assert_allclose(value.grad.numpy()[inside], np.array(by_value)[inside], rtol=2e-2, atol=2e-3 / scale)
    np.testing.assert_allclose(position.grad.numpy()[inside], np.array(by_index)[inside], rtol=2e-2, atol=2e-3)


def test_the_tail_series_agrees_with_the_tail() -> None:
    for a in (5.0, 7.5, 10.0, 12.0):
        wanted = math.log(0.5 * math.erfc(a * math.sqrt(0.5)))
        assert float(log_tail(torch.tensor(a, dtype=torch.float64))) == pytest.approx(wanted, abs=3e-4)


@pytest.mark.parametrize("index", INDEXES)
def test_bits_agree_with_the_exact_density(index: int) -> None:
    scale = float(index_to_scale(index))
    values = torch.tensor(values_to_the_tails(scale))
    exact = bits(values, torch.tensor(scale, dtype=torch.float64))
    assert torch.allclose(gaussian_bits(values, torch.full_like(values, index)), exact, rtol=1.5e-4, atol=1e-9)
