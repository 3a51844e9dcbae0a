"""One traversal, four coders: they see the same slices in the same order, and what is decoded is what was encoded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from intaglio.coders import Decode, Encode, Floats, Round, place, take
from intaglio.errors import FormatError
from intaglio.rans import Tables
from intaglio.scales import SCALES, scale_grid
from intaglio.traversal import GROUPS, latents, subset
from intaglio.workshop.coders import Noise
from intaglio.workshop.coders import Round as TorchRound

LATENT, HYPER, PATCH = 16, 4, 16


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
            return take(loc.astype(np.float32), number), take(index, number)

        return step


@pytest.fixture
def net(rng: np.random.Generator) -> StandIn:
    return StandIn(rng)


@pytest.fixture
def picture(rng: np.random.Generator) -> Floats:
    return rng.normal(size=(1, 3, 256, 384)).astype(np.float32)


@pytest.mark.parametrize("shape", [(1, 4, 2, 2), (2, 16, 4, 6), (1, 320, 8, 4)])
def test_the_four_steps_partition_y(shape: tuple[int, int, int, int]) -> None:
    count = np.zeros(shape, int)
    for step in range(GROUPS):
        seen = np.zeros(shape, int)
        for part in subset(shape[1], step):
            seen[part] += 1
        assert seen.sum() * GROUPS == seen.size
        assert (seen.reshape(shape[0], GROUPS, -1).sum(2) * GROUPS == seen[0, : shape[1] // GROUPS].size).all()
        count += seen
    assert (count == 1).all()


def test_place_puts_back_what_take_took(rng: np.random.Generator, seed: int) -> None:
    y = rng.normal(size=(2, 16, 6, 4)).astype(np.float32)
    copy = np.zeros_like(y)
    for step in range(GROUPS):
        part = take(y, step)
        assert part.shape == (2, 16, 3, 2)
        place(copy, part, step)
    assert np.array_equal(copy, y), f"seed {seed}"


def test_the_coders_of_both_worlds_agree(rng: np.random.Generator, tables: Tables, seed: int) -> None:
    y = rng.normal(0, 9, size=(1, 16, 6, 4)).astype(np.float32)
    numpy_coder, torch_coder = Round(16, tables), TorchRound(16)
    numpy_hat, torch_hat = np.zeros_like(y), torch.zeros(y.shape)
    for step in range(GROUPS):
        loc = (np.round(rng.normal(size=(1, 16, 3, 2)) * 16) / 16).astype(np.float32)
        index = rng.integers(40, 50, size=loc.shape).astype(np.float32)
        params = torch.from_numpy(loc), torch.from_numpy(index)
        numpy_hat = numpy_coder.gaussian(y, numpy_hat, (loc, index), step)
        torch_hat = torch_coder.gaussian(torch.from_numpy(y), torch_hat, params, step)
        assert np.array_equal(numpy_hat, torch_hat.numpy()), f"step {step}, seed {seed}"
    z = rng.normal(0, 5, size=(1, 8, 3, 2)).astype(np.float32)
    rows = rng.integers(35, 45, size=(1, 8, 1, 1)).astype(np.float32)
    z_hat = torch_coder.factorized(torch.from_numpy(z), torch.from_numpy(rows))
    assert np.array_equal(numpy_coder.factorized(z, rows), z_hat.numpy()), f"seed {seed}"
    assert float(torch_coder.bits) == pytest.approx(numpy_coder.bits, rel=5e-3), f"seed {seed}"


def test_training_hands_on_rounded_latents_and_charges_noisy_ones(rng: np.random.Generator, seed: int) -> None:
    y = torch.from_numpy(rng.normal(0, 9, size=(2, 16, 6, 4)).astype(np.float32)).requires_grad_()
    noise, rounding = Noise(16), TorchRound(16)
    params = torch.zeros(2, 16, 3, 2), torch.full((2, 16, 3, 2), 40.0)
    empty = noise.empty_y(torch.zeros(2, 5, 6, 4))
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
    estimate, encoder = Round(LATENT, tables), Encode(LATENT, tables)
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
    encoder = Encode(LATENT, tables)
    encoded = latents(net, picture, rate, encoder)
    payload = encoder.finish()
    decoder = Decode(LATENT, tables, payload, (4, 6))
    decoded = latents(net, None, rate, decoder)
    decoder.finish()
    assert decoded.dtype == encoded.dtype == np.float32
    assert np.array_equal(decoded, encoded), f"seed {seed}"
    y = net.analysis(picture, rate)
    assert np.abs(decoded - y).max() <= 0.5 + 1e-4, f"seed {seed}"


def test_the_stand_ins_context_depends_on_what_was_decoded(
    net: StandIn, picture: Floats, tables: Tables, seed: int
) -> None:
    encoder = Encode(LATENT, tables)
    y_hat = latents(net, picture, 100, encoder)
    side = np.ones((1, HYPER, *y_hat.shape[2:]), np.float32)
    blind, seeing = (net.context_steps[1](side, known, 100) for known in (np.zeros_like(y_hat), y_hat))
    assert not np.array_equal(blind[0], seeing[0]), f"seed {seed}"
    assert not np.array_equal(blind[1], seeing[1]), f"seed {seed}"


def test_a_payload_of_another_length_is_refused(net: StandIn, picture: Floats, tables: Tables, seed: int) -> None:
    encoder = Encode(LATENT, tables)
    latents(net, picture, 60, encoder)
    payload = encoder.finish()

    def decode(data: bytes) -> None:
        decoder = Decode(LATENT, tables, data, (4, 6))
        latents(net, None, 60, decoder)
        decoder.finish()

    decode(payload)
    for wrong in (payload[:-4], payload[: len(payload) // 2], payload + b"\0\0\0\0"):
        with pytest.raises(FormatError):
            decode(wrong)
