"""SOAP is Adam in a turned basis: Adam where there is nothing to turn, and it goes on from what a file holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from intaglio.errors import ArgumentError, ModelError
from intaglio.workshop import checkpoint
from intaglio.workshop.data import Batches
from intaglio.workshop.soap import Soap
from intaglio.workshop.trainer import Trainer
from small_runs import configure, make_pictures

pytestmark = pytest.mark.usefixtures("one_thread")
SHAPES = ((6, 5, 3, 3), (7, 3, 4, 4), (12, 4), (9,), (1, 8), (4, 1, 2, 2))


def parameters(shapes: tuple[tuple[int, ...], ...] = SHAPES) -> list[Tensor]:
    """Random ones, as a network in the layout channels_last has them."""
    generator = torch.Generator().manual_seed(5)
    made = [torch.randn(shape, generator=generator) for shape in shapes]
    made = [each.contiguous(memory_format=torch.channels_last) if each.ndim == 4 else each for each in made]
    return [each.requires_grad_() for each in made]


def soap(values: list[Tensor], rate: float = 0.01) -> Soap:
    return Soap([{"params": values}], rate, every=4)


def adam(values: list[Tensor], rate: float = 0.01) -> torch.optim.Adam:
    return torch.optim.Adam([{"params": values}], lr=rate, betas=(0.9, 0.99))


def steps(values: list[Tensor], optimizer: torch.optim.Optimizer, count: int, seed: int = 1) -> None:
    """With random gradients."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(count):
        for value in values:
            value.grad = torch.randn(value.shape, generator=generator)
        optimizer.step()


def valley(optimizer: Callable[[list[Tensor]], torch.optim.Optimizer]) -> float:
    """What is left, after 200 steps, of a sum of squares whose axes lie across the coordinates."""
    generator = torch.Generator().manual_seed(3)
    across = torch.linalg.qr(torch.randn(16, 16, generator=generator))[0]
    slopes = across @ torch.diag(torch.logspace(0.0, -3.0, 16)) @ across.t()
    value = torch.randn(8, 16, generator=generator).requires_grad_()
    using = optimizer([value])
    for _ in range(200):
        loss = 0.5 * ((value @ slopes) * value).sum()
        using.zero_grad()
        loss.backward()
        using.step()
    return float(((value @ slopes) * value).detach().sum())


def test_what_has_no_matrix_is_updated_as_adam_does_whatever_the_products() -> None:
    shapes: tuple[tuple[int, ...], ...] = ((9,), (1, 8), (), (1, 1), (1, 1, 1, 1))
    mine, theirs = parameters(shapes), parameters(shapes)
    steps(mine, Soap([{"params": mine}], 0.01, dtype=torch.bfloat16), 5)
    steps(theirs, adam(theirs), 5)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(mine, theirs, strict=True))


def test_gradients_are_left_as_they_were() -> None:
    values = parameters()
    for value in values:
        value.grad = torch.full_like(value, 3.0)
    soap(values).step()
    assert all(value.grad is not None and bool((value.grad == 3.0).all()) for value in values)


def test_axes_that_lie_across_the_coordinates_are_found() -> None:
    left, right = valley(lambda values: soap(values, 0.03)), valley(lambda values: adam(values, 0.03))
    assert left < 0.5 * right, f"{left} left by SOAP, {right} by Adam"


def test_each_basis_stays_orthonormal() -> None:
    values = parameters()
    optimizer = soap(values)
    steps(values, optimizer, 30)
    bases = [state[side] for state in optimizer.state.values() for side in ("left", "right") if side in state]
    assert len(bases) == 8
    assert all(torch.allclose(basis.t() @ basis, torch.eye(len(basis)), atol=1e-5) for basis in bases)


def test_it_goes_on_from_what_a_checkpoint_holds() -> None:
    values = parameters()
    optimizer = soap(values)
    steps(values, optimizer, 6)
    copies = [value.detach().clone().requires_grad_() for value in values]
    again = soap(copies)
    checkpoint.restore_optimizer(again, {name: value.clone() for name, value in _flat(optimizer).items()})
    for each, using in ((values, optimizer), (copies, again)):
        steps(each, using, 6, seed=2)
    assert all(torch.equal(a, b) for a, b in zip(values, copies, strict=True))


@pytest.mark.parametrize("shape", [(6, 4, 3, 3), (7, 5, 3, 3), (6, 5, 3)])
def test_the_state_of_another_parameter_is_refused(shape: tuple[int, ...]) -> None:
    values, others = parameters(((6, 5, 3, 3),)), parameters((shape,))
    optimizer = soap(values)
    steps(values, optimizer, 2)
    with pytest.raises(ModelError, match=r"has the shape .*; is it of another version"):
        checkpoint.restore_optimizer(soap(others), _flat(optimizer))


def _flat(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    return checkpoint.flatten_optimizer(optimizer)


def test_a_run_by_soap_learns_and_resumes_unchanged(tmp_path: Path) -> None:
    config = configure(make_pictures(tmp_path), tmp_path / "run")
    config = replace(config, train=replace(config.train, optimizer="soap"))
    trainer, batches = Trainer(config), Batches(config.data, seed=0)
    trainer.start_from_pictures(batches)
    for number in range(6):
        trainer.update(batches.batch(number, 64, 2))
    trainer.save()
    trainer.update(batches.batch(6, 64, 2))
    torch.manual_seed(99)
    resumed = Trainer(config)
    resumed.resume()
    resumed.update(batches.batch(6, 64, 2))
    other = Trainer(replace(config, train=replace(config.train, optimizer="adam")))
    with pytest.raises(ArgumentError, match="began with 'soap'"):
        other.resume()
    mine, theirs = trainer.model.state_dict(), resumed.model.state_dict()
    assert not [name for name, value in mine.items() if not torch.equal(value, theirs[name])]
