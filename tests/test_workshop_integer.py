"""Networks trained as integers are frozen as they are, come back from what was frozen, and learn with every weight."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from intaglio.errors import ArgumentError
from intaglio.integer import HYPER, LOC_STEPS, Network, Reference, step_names
from intaglio.quality import RATES
from intaglio.traversal import Layout, latents
from intaglio.workshop import models
from intaglio.workshop.coders import Hard, Mixed
from intaglio.workshop.hyper import ContextStep, HyperSynthesis
from intaglio.workshop.integer import IntegerConv, Placed, freeze, thaw
from intaglio.workshop.layers import RateTable
from intaglio.workshop.models.base import Model
from small_photo import WIDTHS, randomised

pytestmark = pytest.mark.usefixtures("one_thread")
Part = HyperSynthesis | ContextStep
NETWORKS = (HYPER, *step_names(Layout(WIDTHS["latent"])))


def placed(model: Model) -> Iterator[tuple[str, Placed]]:
    """Every layer with its name."""
    for name, part in model.networks().items():
        for key, layer in part.placed().items():
            yield f"{name}.{key}", layer


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("grid", [(1, 1), (2, 3)], ids=str)
@torch.no_grad()
def test_what_is_trained_is_what_is_frozen(name: str, grid: tuple[int, int], seed: int) -> None:
    model, rng = randomised(seed % 1000), np.random.default_rng(seed)
    part, height, width = model.networks()[name], 4 * grid[0], 4 * grid[1]
    network: Network = part.frozen()
    reference = Reference(network)
    for rate in (0, 50, 100, 198):
        step, message = torch.tensor([rate]), f"{name}, rate {rate}, seed {seed}"
        unit = model.hyper_synthesis.scales(step)[-1].exp2().numpy()
        if isinstance(part, HyperSynthesis):
            z_hat = rng.integers(-140, 140, (1, WIDTHS["hyper"], *grid)).astype(np.float32)
            found = part(torch.from_numpy(z_hat), step).numpy() * unit
            assert np.array_equal(found, reference.hyper_synthesis(z_hat, rate)), message
            assert np.ptp(found) > 0, message
            continue
        side = rng.integers(0, 256, (1, WIDTHS["side"], height, width)).astype(np.float32)
        y_hat = (rng.integers(-3000, 3000, (1, model.config.latent, height, width)) / LOC_STEPS).astype(np.float32)
        loc, index = part(torch.from_numpy(side / unit), torch.from_numpy(y_hat), step)
        wanted_loc, wanted_index = reference.step(side, y_hat, rate)
        assert np.array_equal(loc.numpy(), wanted_loc), message
        assert np.array_equal(np.floor(index.numpy() + np.float32(0.5)), wanted_index), message
        assert np.ptp(wanted_loc) > 0, message


@torch.no_grad()
def test_integer_networks_stay_in_float32_whatever_the_caller_asks_for() -> None:
    model, rate = randomised(4), torch.tensor([120])
    z_hat = torch.randint(-20, 20, (1, WIDTHS["hyper"], 2, 2)).float()
    y_hat = torch.randint(-900, 900, (1, WIDTHS["latent"], 8, 8)) / LOC_STEPS
    wanted = model.hyper_synthesis(z_hat, rate)
    first = model.hyper_analysis_net.get_submodule("layers.0")
    with torch.autocast("cpu", torch.bfloat16):
        side = model.hyper_synthesis(z_hat, rate)
        assert torch.equal(side, wanted)
        low = [step(side, y_hat, rate) for step in model.context_steps]
        assert first(y_hat).dtype == torch.bfloat16  # so the caller did ask
    for step, found in zip(model.context_steps, low, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(step(side, y_hat, rate), found, strict=True))


def test_freezing_what_was_thawed_gives_the_same_weights_and_shifts(seed: int) -> None:
    model, other = randomised(seed % 1000), randomised(seed % 1000 + 1)
    first = model.arrays()
    for (name, source), (_, target) in zip(placed(model), placed(other), strict=True):
        layer = freeze(source)
        thaw(layer, target)
        again = freeze(target)
        assert np.array_equal(again.weight, layer.weight), f"{name}, seed {seed}"
        assert np.array_equal(again.shift, layer.shift), f"{name}, seed {seed}"
        assert np.abs(again.bias.astype(np.int64) - layer.bias).max() <= 1, f"{name}, seed {seed}"
    second = other.arrays()
    assert any(not np.array_equal(first[name], array) for name, array in second.items() if name.endswith(".bias"))


def wide_channel(conv: IntegerConv, spread: float) -> None:
    with torch.no_grad():
        conv.weight.uniform_(-spread, spread)


@pytest.mark.parametrize("spread", [1e-3, 0.1, 3.0, 100.0])
def test_weights_are_whole_numbers_of_8_bits_and_their_sums_leave_room(spread: float, seed: int) -> None:
    torch.manual_seed(seed)
    conv = IntegerConv(96, 32, 3, WIDTHS["anchors"])
    wide_channel(conv, spread)
    k = conv.exponents()
    weights = conv.integers(k).detach()
    assert torch.equal(weights, weights.round()), f"seed {seed}"
    assert 32 <= float(weights.abs().amax()) <= 127, f"seed {seed}"
    assert float(weights.abs().sum((1, 2, 3)).max()) * 255 < 0.81 * 2**23, f"seed {seed}"
    wanted = conv.weight.detach() * torch.exp2(k)[:, None, None, None]
    assert float((weights - wanted).abs().max()) <= 0.501, f"seed {seed}"


def test_a_model_whose_weights_have_hardly_begun_can_be_frozen() -> None:
    model = models.build("photo", **WIDTHS)
    for spread in (0.0, 1e-6, 1e-3):
        with torch.no_grad():
            for _, layer in placed(model):
                layer.conv.weight.uniform_(-spread, spread)
        assert model.arrays()["context_0.head_0.weight"].dtype == np.int8


def test_tables_over_the_rate_come_out_alike_on_every_machine(rng: np.random.Generator, seed: int) -> None:
    anchors = rng.normal(size=(12, 96)).astype(np.float32)
    table, position = RateTable(torch.from_numpy(anchors)), np.arange(RATES, dtype=np.float32) / np.float32(198)
    position = position * np.float32(11)
    below = np.minimum(position.astype(int), 10)
    share = (position - below.astype(np.float32))[:, None]
    wanted = anchors[below] * (np.float32(1) - share) + anchors[below + 1] * share  # each operation rounds once
    assert np.array_equal(table.rows().detach().numpy(), wanted), f"seed {seed}"
    for rate in (0, 17, 18, 100, 197, 198):
        row = table(torch.tensor([rate])).detach().numpy()[0, :, 0, 0]
        assert np.array_equal(row, wanted[rate]), f"rate {rate}, seed {seed}"
    assert np.array_equal(wanted[[0, 18, 198]], anchors[[0, 1, 11]])
    assert RateTable(torch.ones(1, 3)).rows().shape == (RATES, 3)


@pytest.mark.parametrize("coder", [Mixed, Hard])
def test_gradients_reach_every_parameter(coder: type[Mixed] | type[Hard]) -> None:
    model = randomised(7).train()
    x, rate = torch.rand(4, 3, 128, 128), torch.tensor([3, 70, 130, 195])
    seen = coder(model.layout)
    y_hat = latents(model, x, rate, seen)  # type: ignore[arg-type]
    assert isinstance(seen.bits, torch.Tensor)
    (seen.bits.sum() / 4096 + 100 * (model.synthesis(y_hat, rate) - x).square().sum()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert bool(torch.isfinite(parameter.grad).all()), name
        assert bool(parameter.grad.any()), name


def test_quantised_weights_follow_the_optimiser(seed: int) -> None:
    model = randomised(seed % 1000).train()
    before = {name: layer.conv.integers(layer.conv.exponents()).detach() for name, layer in placed(model)}
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    for number in range(3):
        x, rate = torch.rand(2, 3, 64, 64), torch.tensor([40 + number, 150])
        coder = Mixed(model.layout)
        latents(model, x, rate, coder)  # type: ignore[arg-type]
        assert isinstance(coder.bits, torch.Tensor)
        optimiser.zero_grad()
        (coder.bits.mean() / 4096).backward()
        optimiser.step()
    for name, layer in placed(model):
        weights = layer.conv.integers(layer.conv.exponents()).detach()
        assert bool((weights == weights.round()).all()), f"{name}, seed {seed}"
        assert float(weights.abs().max()) <= 127, f"{name}, seed {seed}"
        assert not torch.equal(weights, before[name]), f"{name}, seed {seed}"


def test_a_bias_that_leaves_the_proof_is_named_by_its_channel() -> None:
    model = models.build("photo", **WIDTHS)
    for step in model.context_steps:
        for head in step.heads:
            assert isinstance(head, IntegerConv)
            torch.nn.init.normal_(head.weight, 0.0, 0.1)
    assert model.arrays()["context_1.head_2.shift"].shape == (RATES, WIDTHS["latent"] // 2)
    with torch.no_grad():
        model.context_steps[1].second.bias.anchors[5, 3] = 1e6
    with pytest.raises(ArgumentError, match=r"context_1 .*layer second, channel 3: sums may reach"):
        model.arrays()
