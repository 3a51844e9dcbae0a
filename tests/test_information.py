"""What the information measures promise: identities, limits, exact values, and one clear line for wrong arguments."""

from __future__ import annotations

import doctest
import math
import warnings
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from intaglio import information
from intaglio.errors import ArgumentError
from intaglio.information import (
    Density,
    Gaussian,
    Laplace,
    Uniform,
    bins,
    conditional_entropy,
    cross_entropy,
    entropy,
    kl,
    mutual_information,
)

WEIGHTS = st.just(0.0) | st.floats(1e-200, 1.0)
FAMILIES = (Gaussian, Laplace, Uniform)


def tables(*shape: int) -> st.SearchStrategy[np.ndarray]:
    """Joint distributions of that shape, cells of every size among them and many that are 0."""
    weights = arrays(np.float64, shape, elements=WEIGHTS).filter(lambda a: a.sum() > 1e-3)
    return weights.map(lambda a: a / a.sum())


def densities() -> st.SearchStrategy[Density]:
    parts = st.sampled_from(FAMILIES), st.floats(-3.0, 3.0), st.floats(0.5, 3.0)
    return st.builds(lambda family, mean, scale: family(mean, scale), *parts)


def same(a: Any, b: Any, within: float = 1e-12) -> bool:
    """Equal to rounding error, infinities included."""
    return bool(np.allclose(a, b, rtol=within, atol=within))


def test_examples_of_the_module_run() -> None:
    assert doctest.testmod(information).failed == 0


def test_the_rounded_standard_normal_has_2_1048326541776676_bits() -> None:
    p = Gaussian(0.0, 1.0).bins(1.0, -40, 40)
    assert entropy(p) == pytest.approx(2.1048326541776676, abs=2e-15)
    assert entropy(p, unit="nats") == pytest.approx(2.1048326541776676 * math.log(2), abs=2e-15)


def test_known_values_are_exact() -> None:
    assert entropy([0.5, 0.25, 0.125, 0.125]) == 1.75
    assert cross_entropy([1.0, 0.0], [0.25, 0.75]) == 2.0
    assert kl([0.5, 0.5], [0.25, 0.75]) == pytest.approx(1 - 0.5 * math.log2(3), abs=1e-15)
    assert mutual_information([[0.5, 0.0], [0.0, 0.5]], 0, 1) == 1.0
    assert conditional_entropy([[0.5, 0.0], [0.0, 0.5]], 0, 1) == 0.0


def test_zero_probabilities_add_nothing_and_warn_of_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert math.copysign(1.0, entropy([1.0, 0.0])) == 1.0  # 0.0, not -0.0
        assert kl([1.0, 0.0], [0.5, 0.5]) == 1.0
        assert mutual_information([[1.0, 0.0], [0.0, 0.0]], 0, 1) == 0.0


def test_kl_is_not_below_zero_where_a_sum_is_a_hair_above_1() -> None:
    assert kl([0.5, 0.5], [0.5 + 4e-7, 0.5 + 4e-7]) == 0


def test_without_absolute_continuity_kl_and_cross_entropy_are_infinite() -> None:
    assert cross_entropy([0.5, 0.5], [1.0, 0.0]) == math.inf
    assert kl([0.5, 0.5], [1.0, 0.0]) == math.inf
    assert kl([[1.0, 0.0], [0.5, 0.5]], [[1.0, 0.0], [1.0, 0.0]], axis=1).tolist() == [0.0, math.inf]


@given(tables(7), tables(7))
def test_cross_entropy_is_entropy_plus_kl_and_kl_is_never_negative(p: np.ndarray, q: np.ndarray) -> None:
    assert 0 <= entropy(p) <= math.log2(7) + 1e-12
    assert kl(p, q) >= 0
    assert same(cross_entropy(p, q), entropy(p) + kl(p, q))
    assert kl(p, p) == 0


@given(tables(3, 4, 5))
def test_mutual_information_and_conditional_entropy_obey_the_chain_rule(joint: np.ndarray) -> None:
    x, y = joint.sum(axis=(1, 2)), joint.sum(axis=0)
    assert same(conditional_entropy(joint, 0, (1, 2)), entropy(joint) - entropy(y), 1e-9)
    information_ = mutual_information(joint, 0, (1, 2))
    assert same(information_, entropy(x) + entropy(y) - entropy(joint), 1e-9)
    assert same(information_, mutual_information(joint, (2, 1), 0))
    assert same(information_, entropy(x) - conditional_entropy(joint, 0, (-1, 1)), 1e-9)


@given(tables(4), tables(5))
def test_independent_variables_tell_nothing_of_each_other(p: np.ndarray, q: np.ndarray) -> None:
    joint = np.outer(p, q)
    assert mutual_information(joint, 0, 1) <= 1e-12
    assert same(conditional_entropy(joint, 0, 1), entropy(p))


@given(st.integers(0, 2), st.data())
def test_every_measure_works_along_any_axis(axis: int, data: st.DataObject) -> None:
    drawn = [np.array(data.draw(st.tuples(*[tables(4)] * 6))).reshape(2, 3, 4) for _ in range(2)]
    p, q = (np.moveaxis(each, 2, axis) for each in drawn)
    for measure in (cross_entropy, kl):
        found = measure(p, q, axis)
        pairs = zip(np.moveaxis(p, axis, -1).reshape(-1, 4), np.moveaxis(q, axis, -1).reshape(-1, 4), strict=True)
        assert found.shape == (2, 3)
        assert same(found.ravel(), [measure(a, b) for a, b in pairs])
    joints = np.moveaxis(drawn[0] / 3, 0, axis)
    for of_joint in (conditional_entropy, mutual_information):
        one, other = [each for each in range(3) if each != axis]
        assert same(of_joint(joints, one, other), [of_joint(each / 3, 0, 1) for each in drawn[0]])


@given(tables(6), tables(6))
def test_a_bit_is_ln_2_nats(p: np.ndarray, q: np.ndarray) -> None:
    for measure in (cross_entropy, kl):
        assert same(measure(p, q, unit="nats"), measure(p, q) * math.log(2))
    joint = p.reshape(2, 3)
    for measure in (conditional_entropy, mutual_information):
        assert same(measure(joint, 0, 1, unit="nats"), measure(joint, 0, 1) * math.log(2))
    one, other = Gaussian(0.0, 1.0), Laplace(1.0, 2.0)
    assert same(one.kl(other, unit="nats"), one.kl(other) * math.log(2))


def test_mutual_information_of_cells_too_small_to_square_is_finite() -> None:
    assert mutual_information([[1.0, 0.0], [0.0, 1e-200]], 0, 1) == pytest.approx(0.0, abs=1e-190)


@pytest.mark.parametrize("family", FAMILIES)
def test_entropy_of_bins_grows_like_minus_log2_of_their_width(family: type[Density]) -> None:
    density = family(0.0, 2.0)
    errors = [abs(entropy(density.bins(2.0**-k, -90, 90)) - k - density.entropy()) for k in (2, 6, 12)]
    assert errors[-1] < (2.0**-12 if family is Uniform else 1e-6)  # the bins at its ends are half full
    assert errors == sorted(errors, reverse=True)


@pytest.mark.parametrize("p", [Gaussian(0.3, 1.0), Laplace(-0.2, 1.3), Uniform(0.5, 3.0)])
@pytest.mark.parametrize("q", [Gaussian(0.0, 2.0), Laplace(0.5, 1.0), Uniform(0.0, 8.0)])
def test_kl_of_bins_goes_to_the_kl_of_the_densities_as_they_narrow(p: Density, q: Density) -> None:
    found = [kl(p.bins(1 / n, -35, 35), q.bins(1 / n, -35, 35)) for n in (1, 9, 9 * 111)]
    want = p.kl(q)
    assert np.isinf(found).all() if want == math.inf else want - 1e-3 < found[-1] < want + 1e-9
    assert found == sorted(found)  # bins that split others keep more of the difference


@given(densities(), densities())
def test_differential_kl_is_never_negative_and_0_of_a_density_and_itself(p: Density, q: Density) -> None:
    assert p.kl(q) >= 0
    assert p.kl(p) == 0
    assert same(p.cross_entropy(q), p.entropy() + p.kl(q))


@pytest.mark.parametrize("family", FAMILIES)
def test_halving_the_unit_takes_one_bit_of_differential_entropy(family: type[Density]) -> None:
    assert family(0.0, 1.5).entropy() - family(0.0, 0.75).entropy() == pytest.approx(1.0, abs=1e-15)
    same_bins = family(0.0, 1.5).bins(0.5, -40, 40), family(0.0, 0.75).bins(0.25, -20, 20)
    assert np.array_equal(*same_bins)  # but bins that shrink with it hold what they held


def test_closed_forms_of_differential_entropy() -> None:
    assert Gaussian(5.0, 3.0).entropy(unit="nats") == pytest.approx(0.5 * math.log(2 * math.pi * math.e * 9))
    assert Laplace(5.0, 3.0).entropy(unit="nats") == pytest.approx(1 + math.log(6))
    assert Uniform(5.0, 8.0).entropy() == 3.0
    scales = np.array([[1.0, 2.0], [4.0, 8.0]])
    assert same(Uniform([0.0, 9.0], scales).entropy(), [[0, 1], [2, 3]])


def test_a_uniform_density_explains_only_what_lies_within() -> None:
    assert Uniform(0.25, 0.5).kl(Uniform(0.0, 1.0)) == 1.0
    assert Uniform(0.3, 0.5).kl(Uniform(0.0, 1.0)) == math.inf
    assert Uniform(0.05, 0.1).kl(Uniform(0.15, 0.3)) == pytest.approx(math.log2(3))  # a common end, rounded
    assert Gaussian(0.0, 0.01).kl(Uniform(0.0, 1.0)) == math.inf


def test_bins_are_precise_in_both_tails_and_sum_to_one() -> None:
    p = Gaussian(0.0, 1.0).bins(1.0, -30, 30)
    assert p.sum() == pytest.approx(1.0, abs=2e-16)
    assert np.array_equal(p, p[::-1])
    far = 0.5 * (math.erfc(19.5 * math.sqrt(0.5)) - math.erfc(20.5 * math.sqrt(0.5)))
    assert p[50] == pytest.approx(far, rel=1e-12)
    assert Gaussian([0.0, 4.0], [[1.0], [2.0], [3.0]]).bins(0.5, -9, 9).shape == (3, 2, 37)


def test_the_outer_bins_take_the_tails() -> None:
    assert Gaussian(0.0, 1.0).bins(1.0, -1, 1)[0] == pytest.approx(0.5 * math.erfc(0.5 * math.sqrt(0.5)), abs=1e-16)
    assert Gaussian(0.0, 1.0).bins(1.0, 7, 7).tolist() == [1.0]


def test_any_cdf_can_be_cut_into_bins() -> None:
    def logistic(x: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-x))

    plain = bins(logistic, 0.01, -30, 30)
    both = bins(logistic, 0.01, -30, 30, survival=lambda x: logistic(-x))
    assert same(plain, both)
    assert np.array_equal(both, both[::-1])
    assert entropy(both) + math.log2(0.01) == pytest.approx(2 / math.log(2), abs=1e-4)  # h of a logistic: 2 nats


def test_closed_forms_agree_with_scipy() -> None:
    stats, integrate = pytest.importorskip("scipy.stats"), pytest.importorskip("scipy.integrate")
    theirs = stats.norm(0.5, 1.3), stats.laplace(-0.3, 0.8), stats.uniform(-0.75, 1.5)
    ours = Gaussian(0.5, 1.3), Laplace(-0.3, 0.8), Uniform(0.0, 1.5)
    x = np.linspace(-9, 9, 101)
    for their_p, p in zip(theirs, ours, strict=True):
        assert p.entropy(unit="nats") == pytest.approx(float(their_p.entropy()), rel=1e-12)
        assert same(p.cdf(x), their_p.cdf(x))
        assert same(p.survival(x), their_p.sf(x))
        low, high = their_p.ppf(1e-15), their_p.ppf(1 - 1e-15)
        for their_q, q in zip(theirs[:2], ours[:2], strict=True):
            points = [each for each in (-0.3, 0.0) if low < each < high]
            cross, _ = integrate.quad(
                lambda v, p=their_p, q=their_q: -p.pdf(v) * q.logpdf(v), low, high, points=points, epsabs=1e-11
            )
            assert p.cross_entropy(q, unit="nats") == pytest.approx(cross, rel=1e-8)


HALF = [0.5, 0.5]
WRONG: list[tuple[Callable[[], object], str]] = [
    (lambda: entropy([0.5, 0.4]), r"p, of shape \(2,\).* sum to 1; there is a sum of 0.9"),
    (lambda: entropy([[0.5, 0.5], [0.5, 0.6]], axis=1), r"p, of shape \(2, 2\).*axis 1.*sum of 1.1"),
    (lambda: entropy([1.5, -0.5]), r"p, of shape \(2,\).* >= 0; there is -0.5"),
    (lambda: entropy([1.0, math.nan]), r"p, of shape \(2,\).* there is NaN"),
    (lambda: entropy([math.inf, 0.0]), r"p, of shape \(2,\).* sum of inf"),
    (lambda: entropy([]), r"p, of shape \(0,\).* empty"),
    (lambda: entropy(np.zeros((3, 0)), axis=1), r"p, of shape \(3, 0\).* empty"),
    (lambda: entropy(1.0), "p is a single number"),
    (lambda: entropy([0.5, 0.5j]), r"p, of shape \(2,\).*complex"),
    (lambda: entropy(["a", "b"]), r"p, of shape \(2,\).*real numbers"),
    (lambda: entropy([[0.5], [0.5, 0.0]]), "p must be an array of numbers"),
    (lambda: entropy(HALF, axis=1), r"axis is 1; an array of shape \(2,\)"),
    (lambda: entropy([HALF, HALF], axis=(0, -2)), r"axis is \(0, -2\)"),
    (lambda: entropy(HALF, axis=0.5), "axis is 0.5; it must be a whole number"),  # type: ignore[arg-type]
    (lambda: entropy(HALF, unit="bytes"), "unit is 'bytes'; it must be 'bits' or 'nats'"),  # type: ignore[arg-type]
    (lambda: Gaussian(0, 1).entropy(unit="bytes"), "unit is 'bytes'"),  # type: ignore[arg-type]
    (lambda: entropy(HALF, unit=[]), "unit is of type list; it must be 'bits' or 'nats'"),  # type: ignore[arg-type]
    (lambda: Laplace(0, 1).kl(Gaussian(0, 1), unit={}), "unit is of type dict"),  # type: ignore[arg-type]
    (lambda: kl(HALF, [0.5, 0.4]), r"q, of shape \(2,\).* sum of 0.9"),
    (lambda: cross_entropy(HALF, [0.5, 0.25, 0.25]), r"q has shape \(3,\); it must have that of p, \(2,\)"),
    (lambda: conditional_entropy([HALF, HALF], 0, 1), r"joint, of shape \(2, 2\).* sum of 2"),
    (lambda: conditional_entropy([HALF, HALF], 0, 2), r"given is 2; an array of shape \(2, 2\)"),
    (lambda: mutual_information([HALF, HALF], 0, (1, 0)), "axis is 0 and other is"),
    (lambda: Gaussian(0.0, 0.0), r"scale, of shape \(\).*above 0"),
    (lambda: Laplace(0.0, [1.0, -1.0]), r"scale, of shape \(2,\).*above 0"),
    (lambda: Uniform(0.0, math.inf), r"scale, of shape \(\).*finite"),
    (lambda: Gaussian(0.0, math.nan), r"scale, of shape \(\)"),
    (lambda: Gaussian(math.inf, 1.0), r"mean, of shape \(\).*finite"),
    (lambda: Gaussian([0.0, 1.0, 2.0], [1.0, 1.0]), r"scale, of shape \(2,\), must go with mean, of shape \(3,\)"),
    (lambda: Gaussian([0.0, 1.0], 1.0).kl(Laplace([0.0] * 3, 1.0)), r"other, of shape \(3,\).*\(2,\)"),
    (lambda: Gaussian([0.0, 1.0], 1.0).cdf([0.0] * 3), r"x, of shape \(3,\).*\(2,\)"),
    (lambda: Gaussian(0.0, 1.0).kl(HALF), "other must be a density, not list"),  # type: ignore[arg-type]
    (lambda: Gaussian(0.0, 1.0).bins(0.0, -1, 1), "width is 0.0; it must be a number above 0"),
    (lambda: Gaussian(0.0, 1.0).bins(math.nan, -1, 1), "width is nan"),
    (lambda: Gaussian(0.0, 1.0).bins("1", -1, 1), "width is '1'; it must be a single number"),  # type: ignore[arg-type]
    (lambda: Gaussian(0.0, 1.0).bins(None, -1, 1), "width is of type NoneType"),  # type: ignore[arg-type]
    (lambda: Gaussian(0.0, 1.0).bins(True, -1, 1), "width is True; it must be a single number"),
    (lambda: Gaussian(0.0, 1.0).bins([1.0, 2.0], -1, 1), "width is of type list"),  # type: ignore[arg-type]
    (lambda: Gaussian(0, 1).bins(np.ones(2), -1, 1), r"width is .*shape \(2,\); .*single number"),  # type: ignore[arg-type]
    (lambda: Gaussian(0, 1).bins(np.ones((1, 1)), -1, 1), r"width is .*shape \(1, 1\)"),  # type: ignore[arg-type]
    (lambda: Gaussian(0.0, 1.0).bins(10**400, -1, 1), "width is inf; it must be a number above 0"),
    (lambda: Gaussian(0.0, 1.0).bins(1.0, None, 1), "low is of type NoneType"),  # type: ignore[arg-type]
    (lambda: Gaussian(0.0, 1.0).bins(1.0, -1, "1"), "high is '1'"),  # type: ignore[arg-type]
    (lambda: bins(3, 1.0, -1, 1), "cdf is of type int; it must be a function"),  # type: ignore[arg-type]
    (lambda: bins(Gaussian(0, 1).cdf, 1.0, -1, 1, [0.5]), "survival is of type list"),  # type: ignore[arg-type]
    (lambda: Gaussian(0.0, 1.0).bins(1.0, 2, -2), "low and high are 2.0 and -2.0"),
    (lambda: Gaussian(0.0, 1.0).bins(1.0, -math.inf, 2), "low and high are -inf and 2.0"),
    (lambda: Gaussian(0.0, 1.0).bins(1e-9, -1, 1), "too many bins of 1e-09"),
    (lambda: Gaussian(0.0, 1.0).bins(1e-300, 1e300, 1e300), "too many bins"),
    (lambda: bins(lambda x: x, 1.0, -3, 3), "cdf must give numbers from 0 to 1 for 6 edges"),
    (lambda: bins(lambda x: 0.5, 1.0, -3, 3), r"cdf must give .* it gave shape \(\)"),
    (lambda: bins(lambda x: 0.5 - x / 9, 1.0, -3, 3), "cdf: it falls"),
    (lambda: bins(lambda x: 0.5 + x / 9, 1.0, -3, 3, lambda x: 0.5 + x / 9), "survival: it must be 1 - cdf"),
]


def test_a_width_may_be_a_number_of_any_kind() -> None:
    wanted = Gaussian(0.0, 1.0).bins(2.0, -4, 4)
    for width in (2, np.float32(2.0), np.int8(2), np.array(2.0), Fraction(2)):
        assert np.array_equal(Gaussian(0.0, 1.0).bins(width, -4, 4), wanted)  # type: ignore[arg-type]


@pytest.mark.parametrize(("call", "said"), WRONG)
def test_wrong_arguments_are_named_with_their_shape_and_what_was_expected(
    call: Callable[[], object], said: str
) -> None:
    with pytest.raises(ArgumentError, match=said) as caught:
        call()
    assert "\n" not in str(caught.value)
