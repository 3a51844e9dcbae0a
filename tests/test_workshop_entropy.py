"""Entropy models: what training charges is what the coder writes, and a model finds its way back from anywhere."""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor

from intaglio import rans
from intaglio.errors import ArgumentError
from intaglio.scales import index_to_scale
from intaglio.scales import scale_grid as default_grid
from intaglio.workshop.entropy import (
    Conditional,
    DeepFactorized,
    EntropyModel,
    Factorized,
    Mixture,
    ParametricFactorized,
    ScaleFamily,
    scale_grid,
)

FAMILIES = ["gaussian", "laplace", "logistic"]
Shaken = TypeVar("Shaken", bound=Factorized)
REACH = 1 << 13  # symbols beyond are not drawn


def shaken(model: Shaken, amount: float) -> Shaken:
    """The model with random parameters, as training might leave them."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(amount * torch.randn_like(parameter))
    return model


def mixture(family: str) -> Mixture:
    weights = torch.softmax(torch.randn(16, 3), 1)
    return Mixture(weights, 5.0 * torch.randn(16, 3), torch.exp(torch.randn(16, 3)), family)


MODELS: dict[str, Callable[[], EntropyModel]] = {
    **{f"{family} scales": lambda family=family: ScaleFamily(family) for family in FAMILIES},
    "64 scales to 64": lambda: ScaleFamily("gaussian", scale_grid()),
    "16 laplace scales": lambda: ScaleFamily("laplace", scale_grid(16)),
    **{f"{family} mixture": lambda family=family: mixture(family) for family in FAMILIES},
    **{
        f"{family} channels": lambda family=family: shaken(ParametricFactorized(16, family), 0.5) for family in FAMILIES
    },
    "mixed channels": lambda: shaken(ParametricFactorized(16, "laplace", 3), 0.5),
    "deep channels": lambda: DeepFactorized(16),
    "shaken deep channels": lambda: shaken(DeepFactorized(16), 0.3),
    "shallow channels": lambda: DeepFactorized(16, (), 3.0),
}
EVERY = pytest.mark.parametrize("name", MODELS)
FACTORIZED = pytest.mark.parametrize("name", [name for name in MODELS if "channels" in name])


def made(name: str, seed: int) -> EntropyModel:
    torch.manual_seed(seed)
    return MODELS[name]()


def estimated(model: EntropyModel, symbols: NDArray[np.int32], rows: NDArray[np.uint8]) -> NDArray[np.float64]:
    """What the model charges for symbols (n, N) of rows 0..N-1, side by side."""
    with torch.no_grad():
        value = torch.from_numpy(symbols).float()
        if isinstance(model, Factorized):
            return model.bits(value + model.loc()).double().numpy()
        assert isinstance(model, Conditional)
        return model.bits(value, torch.from_numpy(rows.astype(np.float32))).double().numpy()


def drawn(model: EntropyModel, count: int, rng: np.random.Generator) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    """`count` symbols of every row from the model's own probabilities, and their rows, (count, N)."""
    line = np.arange(-REACH, REACH + 1, dtype=np.int32)
    every = np.broadcast_to(np.arange(model.rows, dtype=np.uint8), (len(line), model.rows))
    cells = np.exp2(-estimated(model, np.repeat(line[:, None], model.rows, 1), every))
    np.testing.assert_allclose(cells.sum(0), 1.0, atol=2e-4)
    symbols = np.stack([rng.choice(line, count, p=cell / cell.sum()) for cell in cells.T], 1)
    return symbols, np.ascontiguousarray(np.broadcast_to(every[0], symbols.shape))


@EVERY
def test_estimated_bits_are_written_bits_to_a_thousandth(name: str, rng: np.random.Generator, seed: int) -> None:
    model = made(name, seed)
    tables = model.freeze()
    assert len(tables) == model.rows
    symbols, rows = drawn(model, 400_000 // model.rows, rng)
    data = rans.encode(symbols, rows, tables)
    assert np.array_equal(rans.decode(data, rows, tables), symbols)
    charge = estimated(model, symbols, rows).sum()
    assert 8 * len(data) == pytest.approx(charge, rel=1e-3), f"seed {seed}: {8 * len(data) / charge - 1:+.5f}"


@EVERY
def test_tables_do_not_depend_on_the_models_precision(name: str, seed: int) -> None:
    model = made(name, seed)
    tables, again = model.freeze(), copy.deepcopy(model).double().freeze()
    assert all(
        np.array_equal(a, b) for a, b in zip(tables.to_arrays().values(), again.to_arrays().values(), strict=True)
    )


@FACTORIZED
def test_a_saved_model_freezes_to_the_same_tables(name: str, seed: int) -> None:
    model, other = made(name, seed), made(name, seed + 1)
    other.load_state_dict(model.state_dict())
    tables, again = model.freeze().to_arrays(), other.freeze().to_arrays()
    assert all(np.array_equal(tables[key], again[key]) for key in tables), f"seed {seed}"


@FACTORIZED
def test_loc_is_the_median_in_sixteenths(name: str, seed: int) -> None:
    model = made(name, seed)
    assert isinstance(model, Factorized)
    loc = model.loc()
    assert loc.shape == (model.rows,)
    assert loc.dtype == torch.float32
    assert torch.equal(loc * 16, torch.floor(loc * 16))
    line = torch.arange(-20_000.0, 0.0)[:, None] + 0.5  # cells side by side under a point: its distribution function
    deep = model.double()
    low, high = (torch.exp2(-deep.bits((line + loc).double() + off)).sum(0) for off in (-1.0 / 32.0, 1.0 / 32.0))
    assert (low <= 0.5 + 1e-6).all(), f"seed {seed}: {low}"
    assert (high >= 0.5 - 1e-6).all(), f"seed {seed}: {high}"


@pytest.mark.parametrize("family", FAMILIES)
def test_a_scale_family_charges_as_scipy_does(family: str) -> None:
    model = ScaleFamily(family)
    d = {"gaussian": stats.norm, "laplace": stats.laplace, "logistic": stats.logistic}[family]
    value, index = torch.linspace(-9.0, 9.0, 37).double(), torch.tensor([[20.0], [33.4], [62.9]]).double()
    scale = index_to_scale(index.numpy())
    edge = np.abs(value.numpy())
    wanted = -np.log2(d.sf((edge - 0.5) / scale) - d.sf((edge + 0.5) / scale))
    np.testing.assert_allclose(model.bits(value.expand(3, 37), index), wanted, rtol=1e-6)


def test_gaussian_tables_are_those_of_the_codec() -> None:
    wanted = rans.Tables.from_gaussian_scales(default_grid()).to_arrays()
    found = ScaleFamily().freeze().to_arrays()
    assert all(np.array_equal(found[key], wanted[key]) for key in wanted)


@pytest.mark.parametrize(
    ("rounding", "wanted"), [("up", [3, 4, 4, 4, 4]), ("down", [3, 3, 3, 3, 3]), ("nearest", [3, 3, 3, 4, 4])]
)
def test_a_row_is_rounded_as_asked_and_the_nearest_is_so_in_the_logarithm(rounding: str, wanted: list[int]) -> None:
    model = ScaleFamily("gaussian", scale_grid(64), rounding)
    low, high = model.scales[3], model.scales[4]
    middle = math.sqrt(low * high)
    scales = torch.tensor([low, low * 1.003, middle * 0.999, middle * 1.001, high * 0.99])
    assert model.row(model.position(scales)).tolist() == wanted
    ends = model.position(torch.tensor([-1.0, 0.0, 1e-9, 1e9]))
    assert model.row(ends).tolist() == [0, 0, 0, 63]
    on_the_grid = model.position(torch.tensor(model.scales, dtype=torch.float32))
    assert model.row(on_the_grid).tolist() == list(range(64))


def test_a_position_and_its_scale_undo_each_other_and_gradients_come_back_from_outside() -> None:
    model = ScaleFamily("laplace", scale_grid(32, 0.2, 100.0))
    index = torch.linspace(0.0, 31.0, 97)
    assert torch.allclose(model.position(model.scale(index)), index, atol=1e-4)
    scale = torch.tensor([-3.0, 0.1, 500.0], requires_grad=True)
    inwards, outwards = torch.tensor([-1.0, -1.0, 1.0]), torch.tensor([1.0, 1.0, -1.0])
    assert (torch.autograd.grad(model.position(scale), scale, inwards)[0] != 0).all()
    assert (torch.autograd.grad(model.position(scale), scale, outwards)[0] == 0).all()


def test_without_hidden_layers_the_deep_model_is_the_logistic() -> None:
    torch.manual_seed(1)
    model = DeepFactorized(4, (), 2.5).double()
    scale, loc = 2.5, (-2.5 * model.biases[0][:, 0, 0]).tolist()
    value = torch.linspace(-60.0, 60.0, 400).double()[:, None].expand(-1, 4)
    found = model.bits(value).detach().numpy()
    for channel, middle in enumerate(loc):
        distance = np.abs(value[:, 0].numpy() - middle)
        wanted = stats.logistic.sf((distance - 0.5) / scale) - stats.logistic.sf((distance + 0.5) / scale)
        there = wanted > 1e-12
        np.testing.assert_allclose(np.exp2(-found[there, channel]), wanted[there], rtol=1e-6)


def test_the_deep_model_follows_its_formula(rng: np.random.Generator, seed: int) -> None:
    torch.manual_seed(seed)
    model = shaken(DeepFactorized(5), 0.3).double()
    x = rng.normal(0, 15, (40, 5))

    def distribution(x: NDArray[np.float64]) -> NDArray[np.float64]:
        h = x.T[:, None]
        for number, (matrix, bias) in enumerate(zip(model.matrices, model.biases, strict=True)):
            h = np.log1p(np.exp(matrix.detach().numpy())) @ h + bias.detach().numpy()
            if number < 3:
                h = h + np.tanh(model.factors[number].detach().numpy()) * np.tanh(h)
        return 1 / (1 + np.exp(-h[:, 0].T))

    wanted = distribution(x + 0.5) - distribution(x - 0.5)
    found = torch.exp2(-model.bits(torch.tensor(x))).detach().numpy()
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-14, err_msg=f"seed {seed}")


@EVERY
def test_gradients_agree_with_differences(name: str, seed: int) -> None:
    model = made(name, seed).double()
    value = torch.linspace(-41.3, 47.1, 3 * model.rows).double().view(3, model.rows).requires_grad_()
    if isinstance(model, Factorized):
        assert torch.autograd.gradcheck(model.bits, value), f"seed {seed}"
    elif isinstance(model, Mixture):
        rows = torch.arange(model.rows)
        assert torch.autograd.gradcheck(lambda value: model.bits(value, rows), value), f"seed {seed}"
    else:
        assert isinstance(model, ScaleFamily)
        index = torch.linspace(0.4 * model.rows, model.rows, model.rows).double().requires_grad_()
        assert torch.autograd.gradcheck(model.bits, (value, index)), f"seed {seed}"
    for parameter in model.parameters():
        inputs = value.detach()[:1]
        rows = torch.arange(model.rows)

        def charge(_: Tensor, inputs: Tensor = inputs, rows: Tensor = rows) -> Tensor:
            return (model.bits(inputs) if isinstance(model, Factorized) else model.bits(inputs, rows)).sum()  # type: ignore

        assert torch.autograd.gradcheck(charge, parameter, fast_mode=True), f"seed {seed}"


@EVERY
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_fifty_deviations_out_gradients_are_finite_and_point_inwards(name: str, dtype: torch.dtype, seed: int) -> None:
    model = made(name, seed).to(dtype)
    line = torch.arange(-2000.0, 2001.0)[:, None]
    rows = torch.arange(float(model.rows))
    if isinstance(model, ScaleFamily):
        far = 50.0 * torch.tensor(model.scales) * 2.0  # no family's deviation is above twice its scale
    else:
        with torch.no_grad():
            p = torch.exp2(-_bits(model, (line + 0 * rows).to(dtype), rows))
        p, mean = p / p.sum(0), (p * line).sum(0)
        far = mean.abs() + 50.0 * ((p * (line - mean).square()).sum(0)).sqrt()
    value = torch.stack([-far, far]).to(dtype).requires_grad_()
    cost = _bits(model, value, rows)
    (grad,) = torch.autograd.grad(cost.sum(), value)
    assert cost.isfinite().all(), f"seed {seed}"
    assert grad.isfinite().all(), f"seed {seed}"
    assert (grad * value.detach().sign() > 0).all(), f"seed {seed}"


def _bits(model: EntropyModel, value: Tensor, rows: Tensor) -> Tensor:
    if isinstance(model, Factorized):
        return model.bits(value)
    assert isinstance(model, Conditional)
    return model.bits(value, rows)


@pytest.mark.parametrize("make", [lambda: DeepFactorized(2), lambda: ParametricFactorized(2, "gaussian", 2, 1.0)])
def test_training_reaches_data_far_outside_the_first_guess(make: Callable[[], Factorized], seed: int) -> None:
    torch.manual_seed(seed)
    model = make()
    data = torch.tensor([500.0, -300.0]) + 2.0 * torch.randn(512, 2)
    optimiser = torch.optim.Adam(model.parameters(), 0.1)
    first = model.bits(data).mean().item()
    for _ in range(600):
        optimiser.zero_grad()
        model.bits(data + torch.rand_like(data) - 0.5).mean().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
    last = model.bits(torch.floor(data - model.loc() + 0.5) + model.loc()).mean().item()
    assert first > 40.0, f"seed {seed}: it began near, at {first:.1f} bits"
    assert last < 12.0, f"seed {seed}: {last:.2f} bits; the data's entropy is 3.05"


def test_charges_are_computed_in_full_precision_under_autocast() -> None:
    torch.manual_seed(0)
    model, value = DeepFactorized(3), torch.linspace(-20.0, 20.0, 30).view(2, 3, 5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = model.bits(value)
    assert torch.equal(found, model.bits(value))


def test_a_mixture_charges_by_row_whatever_the_shape() -> None:
    model = Mixture(torch.tensor([[0.5, 0.5], [1.0, 0.0]]), torch.zeros(2, 2), torch.tensor([[1.0, 3.0], [2.0, 9.0]]))
    value, index = torch.randn(2, 3, 4, 5), torch.tensor([0, 1, 1], dtype=torch.uint8)[:, None, None]
    found = model.bits(value, index)
    for channel, row in enumerate([0, 1, 1]):
        one = model.bits(value[:, channel], torch.tensor(row))
        assert torch.equal(found[:, channel], one)


def test_scales_of_zero_and_below_count_as_the_smallest_of_the_grid() -> None:
    """Networks predict them while they train, and the gradient leads back; what is not finite leads nowhere."""
    scale = torch.tensor([0.0, -0.0, -1.0, -1e30], requires_grad=True)
    position = ScaleFamily().position(scale)
    assert position.tolist() == [0.0] * 4
    (grad,) = torch.autograd.grad((1.0 - position).sum(), scale)
    assert (grad < 0).all()
    assert grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.float32])
def test_a_mixtures_rows_are_its_indexes(dtype: torch.dtype) -> None:
    halves = torch.full((2, 2), 0.5)
    assert Mixture(halves, halves, halves).row(torch.tensor([1, 0, 1], dtype=dtype)).tolist() == [1, 0, 1]


def test_a_table_that_training_ruined_or_never_narrowed_is_refused() -> None:
    model = DeepFactorized(3)
    with torch.no_grad():
        model.biases[0][1] = math.nan
    with pytest.raises(ArgumentError, match=r"row 1 of 3.*not finite"):
        model.freeze()
    for wide in (DeepFactorized(2, initial_scale=1e6), ParametricFactorized(2, initial_scale=1e6)):
        with pytest.raises(ArgumentError, match="row 0 of 2 spreads over"):
            wide.freeze()


def test_the_examples_of_the_document_run(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (root / "docs" / "entropy-models.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 3
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, "docs/entropy-models.md", "exec"), names)
    assert "bits" in capsys.readouterr().out
