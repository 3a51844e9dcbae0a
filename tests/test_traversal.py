"""One traversal, four coders: they see the same slices in the same order, and what is decoded is what was encoded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

from intaglio.coders import Decode, Encode, Floats, Round, place, take
from intaglio.errors import ArgumentError, FormatError
from intaglio.quantiser import Rounding
from intaglio.rans import Tables
from intaglio.scales import SCALES, dead_zones, scale_grid
from intaglio.traversal import GROUPS, Layout, latents
from intaglio.workshop.coders import Mixed
from intaglio.workshop.coders import Round as TorchRound
from intaglio.workshop.densities import bits

LATENT, HYPER, PATCH = 16, 4, 16
QUAD = Layout(LATENT)


@pytest.fixture(scope="module")
def tables() -> Tables:
    return Tables.from_gaussian_scales(scale_grid())


@dataclass
class StandIn:
    """A small network in NumPy with random weights; its context looks at the neighbours that are known so far."""

    rng: np.random.Generator

    def __post_init__(self) -> None:
        self.forward = self.rng.normal(size=(LATENT, 3 * PATCH * PATCH)).astype(np.float32)
        self.forward *= np.geomspace(1.0, 0.01, LATENT, dtype=np.float32)[:, None]
        self.mix = (0.2 * self.rng.normal(size=(GROUPS, LATENT, LATENT + HYPER))).astype(np.float32)

    layout, has_hyper = QUAD, True

    def analysis(self, x: Floats, rate: int) -> Floats:
        _, _, height, width = x.shape
        cells = x.reshape(3, height // PATCH, PATCH, width // PATCH, PATCH).transpose(0, 2, 4, 1, 3)
        y = self.forward @ cells.reshape(-1, height // PATCH * (width // PATCH)) * np.float32(0.01 * (1 + rate))
        return y.reshape(1, LATENT, height // PATCH, width // PATCH)

    def hyper_analysis(self, y: Floats, rate: int) -> Floats:
        _, _, height, width = y.shape
        cells = np.abs(y).reshape(HYPER, LATENT // HYPER, height // 4, 4, width // 4, 4)
        return 3.0 * np.log1p(cells.mean((1, 3, 5)))[None]

    def z_rows(self, rate: int) -> Floats:
        return np.array([20, 25, 30, 35], np.float32)[None, :, None, None]

    def hyper_synthesis(self, z_hat: Floats, rate: int) -> Floats:
        return z_hat.repeat(4, 2).repeat(4, 3)

    def gains(self, side: Floats, rate: int) -> None:
        return None

    def given_side(self, side: Floats, given: None, rate: int) -> Floats:
        raise AssertionError("nothing is given")

    @property
    def context_steps(self) -> Sequence[Callable[[Floats, Floats, int], tuple[Floats, Floats]]]:
        return [self._step(number) for number in range(GROUPS)]

    def _step(self, number: int) -> Callable[[Floats, Floats, int], tuple[Floats, Floats]]:
        def step(side: Floats, y_hat: Floats, rate: int) -> tuple[Floats, Floats]:
            near = sum(np.roll(y_hat, shift, axis) for shift in (-1, 1) for axis in (2, 3))
            known = np.concatenate([np.tanh(near / np.float32(8)), side], 1)
            mixed = np.einsum("oc,bchw->bohw", self.mix[number], known)
            loc = np.floor(mixed * np.float32(16) + np.float32(0.5)) / np.float32(16)
            index = np.clip(np.floor(20 + 4 * side.sum(1, keepdims=True) - np.abs(mixed)), 0, SCALES - 1)
            return take(loc.astype(np.float32), QUAD, number), take(index, QUAD, number)

        return step


@pytest.fixture
def net(rng: np.random.Generator) -> StandIn:
    return StandIn(rng)


@pytest.fixture
def picture(rng: np.random.Generator) -> Floats:
    return rng.normal(size=(1, 3, 256, 384)).astype(np.float32)


LAYOUTS = [QUAD, Layout(16, "checkerboard"), Layout(16, "channels"), Layout(16, "channels", 4)]


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_the_steps_partition_y(layout: Layout) -> None:
    count = np.zeros((2, 16, 4, 8), int)
    for step in range(layout.steps):
        assert (count[:, : layout.seen(step)].any((0, 2, 3))).all()
        assert not count[:, layout.seen(step) :].any()
        seen = np.zeros_like(count)
        for part, width in zip(layout.parts(step), layout.widths(step), strict=True):
            seen[part] += 1
            assert seen[part].shape[1] == width
        assert seen.sum() * layout.steps == seen.size
        count += seen
    assert (count == 1).all()


def test_the_four_steps_code_every_group_once_in_every_place_of_a_cell() -> None:
    order = np.zeros((1, 16, 2, 2), int)
    for step in range(4):
        for part in QUAD.parts(step):
            order[part] = step
    assert order[0, ::4].reshape(4, 4).tolist() == [[0, 1, 2, 3], [1, 0, 3, 2], [2, 3, 0, 1], [3, 2, 1, 0]]


def test_a_checkerboards_first_step_codes_the_even_diagonal() -> None:
    order = np.zeros((1, 16, 4, 4), int)
    for part in Layout(16, "checkerboard").parts(1):
        order[part] = 1
    assert np.array_equal(order[0, 5], np.add.outer(np.arange(4), np.arange(4)) % 2)


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ((16, "spiral"), "order is 'spiral'"),
        ((18,), "18 latent channels"),
        ((16, "channels", 5), "16 latent channels"),
        ((0, "channels"), "0 latent channels"),
        ((16, "channels", 0), "slices is 0"),
        ((16, "quad", 4), "slices is 4"),
    ],
)
def test_a_layout_that_cannot_be_is_refused(arguments: tuple[Any, ...], fault: str) -> None:
    with pytest.raises(ArgumentError, match=fault):
        Layout(*arguments)


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_place_puts_back_what_take_took(layout: Layout, rng: np.random.Generator, seed: int) -> None:
    y = rng.normal(size=(2, 16, 6, 4)).astype(np.float32)
    copy = np.zeros_like(y)
    for step in range(layout.steps):
        place(copy, take(y, layout, step), layout, step)
    assert np.array_equal(copy, y), f"seed {seed}"


@pytest.mark.parametrize("error_cost", [0.0, 13.0])
@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_the_coders_of_both_worlds_agree(
    layout: Layout, error_cost: float, rng: np.random.Generator, tables: Tables, seed: int
) -> None:
    deviation = 1.0 if error_cost else 9.0
    y = rng.normal(0, deviation, size=(1, 16, 6, 4)).astype(np.float32)
    numpy_coder = Round(layout, tables, Rounding(dead_zones(error_cost) if error_cost else None))
    torch_coder = TorchRound(layout, error_cost=error_cost)
    numpy_hat, torch_hat = np.zeros_like(y), torch.zeros(y.shape)
    for step in range(layout.steps):
        shape = take(y, layout, step).shape
        loc = (np.round(rng.normal(size=shape) * 16) / 16).astype(np.float32)
        index = rng.integers(*((0, 20) if error_cost else (40, 50)), size=loc.shape).astype(np.float32)
        params = torch.from_numpy(loc), torch.from_numpy(index)
        numpy_hat = numpy_coder.gaussian(y, numpy_hat, (loc, index), step)
        torch_hat = torch_coder.gaussian(torch.from_numpy(y), torch_hat, params, step)
        assert np.array_equal(numpy_hat, torch_hat.numpy()), f"step {step}, seed {seed}"
    z = rng.normal(0, 5, size=(1, 8, 3, 2)).astype(np.float32)
    rows = rng.integers(35, 45, size=(1, 8, 1, 1)).astype(np.float32)
    z_hat = torch_coder.factorized(torch.from_numpy(z), torch.from_numpy(rows))
    assert np.array_equal(numpy_coder.factorized(z, rows), z_hat.numpy()), f"seed {seed}"
    if not error_cost:  # far out, rare symbols are charged their escape and not their density
        assert float(torch_coder.bits) == pytest.approx(numpy_coder.bits, rel=5e-3), f"seed {seed}"


def test_within_its_zone_a_latent_is_its_mean(tables: Tables, rng: np.random.Generator, seed: int) -> None:
    """And nothing is dearer than rounding would be, at what an error costs."""
    cost, rows = 13.0, rng.integers(0, 30, size=(1, 16, 12, 8)).astype(np.float32)
    y, loc = (rng.normal(0, each, size=(1, 16, 24, 16)).astype(np.float32) for each in (0.8, 2.0))
    loc, found, scale = take(loc, QUAD, 0), {}, torch.from_numpy(scale_grid()[rows.astype(int)])
    for name, zones in {"rounded": None, "zones": dead_zones(cost)}.items():
        coder = Round(QUAD, tables, Rounding(zones))
        y_hat = coder.gaussian(y, np.zeros_like(y), (loc, rows), 0)
        symbols = np.rint(take(y_hat, QUAD, 0) - loc).astype(np.int32)
        error = (take(y - y_hat, QUAD, 0)).astype(np.float64) ** 2
        found[name] = symbols, bits(torch.from_numpy(symbols).double(), scale).numpy() + cost * error
    (rounded, plain), (symbols, total) = found["rounded"], found["zones"]
    changed = rounded != symbols
    assert changed.any(), f"seed {seed}"
    assert not symbols[changed].any(), f"seed {seed}"
    assert (total <= plain + 1e-3).all(), f"seed {seed}"
    assert total.sum() < plain.sum(), f"seed {seed}"


def test_dead_zones_fall_from_wide_to_rounding() -> None:
    for cost in (1e-3, 8.7, 13.0, 1e5):
        zones = dead_zones(cost)
        assert zones.shape == (SCALES,)
        assert zones.dtype == np.float32
        assert 0.5 <= zones[-1] <= zones[0] <= 1.5
        assert np.all(np.diff(zones) <= 0)
    assert dead_zones(1e-3)[0] == 1.5
    assert dead_zones(1e5)[20] == pytest.approx(0.5, abs=1e-3)


def test_training_hands_on_rounded_latents_and_charges_noisy_ones(rng: np.random.Generator, seed: int) -> None:
    y = torch.from_numpy(rng.normal(0, 9, size=(2, 16, 6, 4)).astype(np.float32)).requires_grad_()
    noise, rounding = Mixed(QUAD), TorchRound(QUAD)
    params = torch.zeros(2, 16, 3, 2), torch.full((2, 16, 3, 2), 40.0)
    empty = noise.empty_y(y)
    y_hat = noise.gaussian(y, empty, params, 0)
    assert torch.equal(y_hat.detach(), rounding.gaussian(y, empty, params, 0).detach()), f"seed {seed}"
    assert not empty.any()
    assert isinstance(noise.bits, torch.Tensor)
    assert isinstance(rounding.bits, torch.Tensor)
    assert noise.bits.shape == (2,)
    assert not torch.equal(noise.bits, rounding.bits)
    y_hat.sum().backward()
    assert y.grad is not None
    assert int((y.grad == 1).sum()) == y.numel() // GROUPS  # straight through, and only where this step codes


@pytest.mark.parametrize("rate", [0, 60, 198])
def test_written_bytes_are_the_estimated_bits(
    rate: int, net: StandIn, picture: Floats, tables: Tables, seed: int
) -> None:
    estimate, encoder = Round(QUAD, tables), Encode(QUAD, tables)
    rounded, encoded = (latents(net, picture, rate, coder) for coder in (estimate, encoder))
    payload = encoder.finish()
    assert np.array_equal(rounded, encoded), f"seed {seed}"
    written = 8 * len(payload)
    assert estimate.bits > 1000, f"seed {seed}"
    flush = 8 + 32 * payload[0]  # the number of lanes, and a state for each
    luck = 0.2 * np.sqrt(encoded.size)  # rounding of the state is random; a picture's worth of symbols averages it out
    assert abs(written - estimate.bits) <= 1e-3 * estimate.bits + flush + luck, f"seed {seed}"


@pytest.mark.parametrize("rate", [0, 60, 198])
def test_what_is_decoded_is_what_was_encoded(
    rate: int, net: StandIn, picture: Floats, tables: Tables, seed: int
) -> None:
    encoder = Encode(QUAD, tables)
    encoded = latents(net, picture, rate, encoder)
    payload = encoder.finish()
    decoder = Decode(QUAD, tables, payload, (4, 6))
    decoded = latents(net, None, rate, decoder)
    decoder.finish()
    assert decoded.dtype == encoded.dtype == np.float32
    assert np.array_equal(decoded, encoded), f"seed {seed}"
    y = net.analysis(picture, rate)
    assert np.abs(decoded - y).max() <= 0.5 + 1e-4, f"seed {seed}"


def test_the_stand_ins_context_depends_on_what_was_decoded(
    net: StandIn, picture: Floats, tables: Tables, seed: int
) -> None:
    encoder = Encode(QUAD, tables)
    y_hat = latents(net, picture, 100, encoder)
    side = np.ones((1, HYPER, *y_hat.shape[2:]), np.float32)
    blind, seeing = (net.context_steps[1](side, known, 100) for known in (np.zeros_like(y_hat), y_hat))
    assert not np.array_equal(blind[0], seeing[0]), f"seed {seed}"
    assert not np.array_equal(blind[1], seeing[1]), f"seed {seed}"


def test_a_payload_of_another_length_is_refused(net: StandIn, picture: Floats, tables: Tables, seed: int) -> None:
    encoder = Encode(QUAD, tables)
    latents(net, picture, 60, encoder)
    payload = encoder.finish()

    def decode(data: bytes) -> None:
        decoder = Decode(QUAD, tables, data, (4, 6))
        latents(net, None, 60, decoder)
        decoder.finish()

    decode(payload)
    for wrong in (payload[:-4], payload[: len(payload) // 2], payload + b"\0\0\0\0"):
        with pytest.raises(FormatError):
            decode(wrong)
