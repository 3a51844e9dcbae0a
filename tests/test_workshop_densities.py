"""Likelihoods are right far out, their logarithms farther still, and gradients lead back from anywhere."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor

from intaglio.errors import ArgumentError
from intaglio.workshop import densities
from intaglio.workshop.densities import FAMILIES, bits, likelihood, log_likelihood, mixture_log_likelihood

SCIPY = {"gaussian": stats.norm, "laplace": stats.laplace, "logistic": stats.logistic}
SCALES = [0.05, 0.11, 0.5, 1.0, 3.0, 20.0, 128.0]
EVERY = pytest.mark.parametrize("family", FAMILIES)
FLOOR = 1e-9  # what the plain form is often kept above
WEIGHTS, MEANS, WIDTHS = [0.5, 0.3, 0.2], [-4.0, 0.25, 6.0], [0.7, 2.0, 1.0]


def exact(family: str, values: NDArray[np.float64], scale: float) -> NDArray[np.float64]:
    """Probability of each value's unit cell by SciPy, from whichever tail is the smaller."""
    near, far = (np.abs(values) - 0.5) / scale, (np.abs(values) + 0.5) / scale
    d = SCIPY[family]
    return np.where(near > 0, d.sf(near) - d.sf(far), d.cdf(far) - d.cdf(near))


def wide(scale: float) -> NDArray[np.float64]:
    """Values on both sides, from the middle to 45 scales out."""
    positive = np.concatenate([np.linspace(0, 2, 201), np.linspace(0, 45 * scale, 2001)])
    return np.concatenate([-positive, positive])


def mixture(value: Tensor, dtype: torch.dtype = torch.float64, family: str = "gaussian") -> Tensor:
    weights, means, widths = (torch.tensor(each, dtype=dtype) for each in (WEIGHTS, MEANS, WIDTHS))
    return mixture_log_likelihood(value, weights, means, widths, family)


@EVERY
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-6), (torch.float32, 2e-4)])
def test_likelihoods_agree_with_scipy_down_to_1e_12(
    family: str, scale: float, dtype: torch.dtype, tolerance: float
) -> None:
    values = wide(scale)
    wanted = exact(family, values, scale)
    there = wanted >= 1e-12
    assert wanted[there].min() < 1e-10 or scale < 0.1
    v, s = torch.tensor(values[there], dtype=dtype), torch.tensor(scale, dtype=dtype)
    assert likelihood(v, s, family).dtype == dtype
    np.testing.assert_allclose(likelihood(v, s, family).double(), wanted[there], rtol=tolerance)
    np.testing.assert_allclose(log_likelihood(v, s, family).double().exp(), wanted[there], rtol=tolerance)
    np.testing.assert_allclose(bits(v, s, family).double(), -np.log2(wanted[there]), atol=2 * tolerance)


@EVERY
def test_the_logarithm_is_right_where_the_likelihood_underflows(family: str) -> None:
    for scale in SCALES:
        values = np.array([60.0, 200.0, 1e4]) * max(scale, 0.5)
        # SciPy's own logarithm of the Laplace tail underflows.
        tail = SCIPY[family].logsf if family != "laplace" else lambda x: math.log(0.5) - x
        near, far = tail((values - 0.5) / scale), tail((values + 0.5) / scale)
        wanted = near + np.log(-np.expm1(np.minimum(far - near, -1e-300)))
        found = log_likelihood(torch.tensor(values), torch.tensor(scale, dtype=torch.float64), family)
        np.testing.assert_allclose(found, wanted, rtol=1e-6)
        single = log_likelihood(torch.tensor(values).float(), torch.tensor(scale), family)
        np.testing.assert_allclose(single, wanted, rtol=1e-4)


@EVERY
def test_the_cells_sum_to_one_and_are_symmetric(family: str) -> None:
    for scale in (0.11, 1.0, 20.0):
        for shift in (0.0, 0.3):
            cells = likelihood(torch.arange(-1500.0, 1501.0).double() + shift, torch.tensor(scale).double(), family)
            assert float(cells.sum()) == pytest.approx(1.0, abs=1e-12)
        x = torch.tensor(wide(scale))
        s = torch.tensor(scale)
        assert torch.equal(log_likelihood(x, s, family), log_likelihood(-x, s, family))


@EVERY
def test_gradients_agree_with_differences(family: str) -> None:
    values = torch.tensor([-30.2, -3.3, -0.49, -0.2, 0.1, 0.3, 0.499, 0.501, 0.9, 4.0, 17.3, 60.1]).double()
    for scale in (0.3, 1.0, 7.0):
        s = torch.full((12,), scale, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(lambda v, s: log_likelihood(v, s, family), (values.requires_grad_(), s))
        near = values.detach()[2:9].requires_grad_()
        assert torch.autograd.gradcheck(lambda v, s: likelihood(v, s, family), (near, s.detach()[2:9].requires_grad_()))


@EVERY
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_far_out_gradients_are_finite_and_point_inwards(family: str, dtype: torch.dtype) -> None:
    for scale in SCALES:
        for deviations in (6.0, 12.0, 50.0, 500.0):
            far = 0.5 + deviations * scale * FAMILIES[family].deviation
            value = torch.tensor([-far, far], dtype=dtype, requires_grad=True)
            s = torch.full((2,), scale, dtype=dtype, requires_grad=True)
            cost = bits(value, s, family)
            by_value, by_scale = torch.autograd.grad(cost.sum(), (value, s))
            assert cost.isfinite().all()
            assert by_value.isfinite().all()
            assert by_scale.isfinite().all()
            assert (by_value * value.detach().sign() > 0).all()  # descending leads towards the mean
            assert (by_scale < 0).all()  # and towards a wider scale


@EVERY
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_are_finite_everywhere(family: str, dtype: torch.dtype) -> None:
    for scale in (1e-3, *SCALES, 1e4):
        value = torch.tensor(np.append(wide(scale), [0.5, -0.5]), dtype=dtype, requires_grad=True)
        s = torch.full_like(value, scale, requires_grad=True)
        cost = bits(value, s, family)
        grads = torch.autograd.grad(cost.sum(), (value, s))
        assert cost.isfinite().all()
        assert all(grad.isfinite().all() for grad in grads)


@EVERY
def test_the_plain_form_with_a_floor_is_dead_where_ours_leads_back(family: str) -> None:
    def descend(cost: Callable[[Tensor], Tensor]) -> float:
        value = torch.tensor(50.0 * FAMILIES[family].deviation, requires_grad=True)
        for _ in range(400):
            (grad,) = torch.autograd.grad(cost(value), value)
            value.data -= grad.clamp(-1.0, 1.0)
        return value.item()

    start, one = 50.0 * FAMILIES[family].deviation, torch.tensor(1.0)
    assert descend(lambda value: -likelihood(value, one, family).clamp_min(FLOOR).log()) == pytest.approx(start)
    assert abs(descend(lambda value: -log_likelihood(value, one, family))) < 1.0


@EVERY
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-6), (torch.float32, 1e-4)])
def test_a_mixture_is_the_weighted_sum_of_its_components(family: str, dtype: torch.dtype, tolerance: float) -> None:
    values = np.linspace(-30.0, 30.0, 1201)
    parts = [w * exact(family, values - m, s) for w, m, s in zip(WEIGHTS, MEANS, WIDTHS, strict=True)]
    wanted = np.sum(parts, axis=0)
    there = wanted >= 1e-12
    found = mixture(torch.tensor(values[there], dtype=dtype), dtype, family).double().exp()
    np.testing.assert_allclose(found, wanted[there], rtol=tolerance)


@EVERY
def test_gradients_of_mixtures_agree_with_differences_and_survive(family: str) -> None:
    def cost(value: Tensor, logits: Tensor, means: Tensor, scales: Tensor) -> Tensor:
        return mixture_log_likelihood(value, torch.softmax(logits, -1), means, scales, family)

    logits, means, widths = (
        torch.tensor([each], dtype=torch.float64, requires_grad=True) for each in ([0.1, 0.5, -0.4], MEANS, WIDTHS)
    )
    value = torch.tensor([-40.0, -4.2, 0.3, 2.1, 33.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(cost, (value, logits, means, widths))
    for dtype in (torch.float32, torch.float64):
        far = torch.tensor([-400.0, 400.0], dtype=dtype, requires_grad=True)
        (grad,) = torch.autograd.grad(-mixture(far, dtype, family).sum(), far)
        assert grad.isfinite().all()
        assert (grad * far.detach().sign() > 0).all()


def test_a_component_of_no_weight_changes_nothing() -> None:
    weights = torch.tensor([1.0, 0.0], requires_grad=True)
    means, scales, value = torch.tensor([0.0, 5.0]), torch.tensor([1.0, 3.0]), torch.tensor([0.0, 5.0, 60.0])
    found = mixture_log_likelihood(value[:2], weights, means, scales)
    assert torch.allclose(found, log_likelihood(value[:2], scales[0]))
    (grad,) = torch.autograd.grad(mixture_log_likelihood(value, weights, means, scales).sum(), weights)
    assert grad.isfinite().all()


def test_a_cell_between_logits_is_that_of_the_logistic(seed: int, rng: np.random.Generator) -> None:
    values = torch.tensor(rng.normal(0, 200, 500))
    found = densities.logit_log_likelihood((values - 0.5) / 3.0, (values + 0.5) / 3.0)
    wanted = log_likelihood(values, torch.tensor(3.0).double(), "logistic")
    assert torch.allclose(found, wanted, rtol=1e-9), f"seed {seed}"


def test_low_precision_is_computed_in_float32() -> None:
    found = log_likelihood(torch.tensor([0.5, 20.0], dtype=torch.bfloat16), torch.tensor(1.0, dtype=torch.bfloat16))
    assert found.dtype == torch.float32
    assert torch.equal(found, log_likelihood(torch.tensor([0.5, 20.0]), torch.tensor(1.0)))


ONE = torch.ones(3)
HALVES = torch.full((2,), 0.5)
PAIRS = HALVES.expand(2, 2)
NONE = torch.ones(3, 0)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        *(
            (
                lambda bad=bad: likelihood(ONE, torch.tensor([1.0, bad, 1.0])),
                r"scale of shape \(3,\).*1 of them are not",
            )
            for bad in (0.0, -1.0, math.inf, math.nan)
        ),
        (lambda: log_likelihood(ONE, torch.ones(0)), r"scale of shape \(0,\).*there are none"),
        (lambda: bits(ONE, torch.ones(2)), r"value of shape \(3,\) and scale of shape \(2,\)"),
        (lambda: bits(ONE, 1.0), "scale is of type float; it must be a tensor"),  # type: ignore[arg-type]
        (lambda: likelihood(1.0, ONE), "value is of type float; it must be a tensor"),  # type: ignore[arg-type]
        (lambda: bits(ONE, ONE > 0), r"scale of shape \(3,\) must hold real numbers, not torch.bool"),
        (lambda: bits(ONE * 1j, ONE), r"value of shape \(3,\) must hold real numbers, not torch.complex64"),
        (lambda: bits(ONE, ONE, []), r"family is \[\]; it must be one of"),  # type: ignore[arg-type]
        (lambda: mixture_log_likelihood(ONE, [1.0], ONE, ONE), "weights is of type list"),  # type: ignore[arg-type]
        (lambda: mixture_log_likelihood(1.0, HALVES, HALVES, HALVES), "value is of type float"),  # type: ignore[arg-type]
        (lambda: bits(ONE, ONE, "cauchy"), "'cauchy'.*gaussian, laplace, logistic"),
        (lambda: mixture_log_likelihood(ONE, HALVES, HALVES, ONE), r"weights \(2,\), means \(2,\), scales \(3,\)"),
        (lambda: mixture_log_likelihood(ONE, HALVES * 1.1, HALVES, HALVES), r"weights of shape \(2,\) must sum to 1"),
        (lambda: mixture_log_likelihood(ONE, torch.tensor([1.5, -0.5]), HALVES, HALVES), "weights.*0 or more"),
        (lambda: mixture_log_likelihood(ONE, HALVES * math.nan, HALVES, HALVES), "weights.*finite"),
        (lambda: mixture_log_likelihood(ONE, HALVES, HALVES * math.inf, HALVES), "means.*finite"),
        (lambda: mixture_log_likelihood(ONE, HALVES, HALVES, 0 * HALVES), "scales.*above zero"),
        (lambda: mixture_log_likelihood(ONE, PAIRS, PAIRS, PAIRS), r"value of shape \(3,\)"),
        (lambda: mixture_log_likelihood(ONE, NONE, NONE, NONE), r"scales of shape \(3, 0\).*none"),
    ],
)
def test_arguments_that_cannot_be_are_named_with_their_shape(wrong: Callable[[], object], said: str) -> None:
    with pytest.raises(ArgumentError, match=said):
        wrong()
