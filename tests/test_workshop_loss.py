"""The losses: each distortion and rate is what it says, and its gradient goes where it should."""

from __future__ import annotations

import math
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from intaglio import metrics
from intaglio.quality import rate_to_lmbda
from intaglio.traversal import Layout, latents
from intaglio.workshop import models
from intaglio.workshop.coders import QUANTISERS, Dither, Hard, Mixed, Noise, Round, Rows, Slope, Soft, closed_bits
from intaglio.workshop.config import CHOICES, TrainConfig
from intaglio.workshop.loss import Criterion, RateDistortion, ms_ssim, rate_distortion
from intaglio.workshop.objective import Objective
from intaglio.workshop.priors import gaussian_bits
from intaglio.workshop.quantise import soft_round_mean
from small_photo import randomised
from small_runs import SMALL_PLAIN

pytestmark = pytest.mark.usefixtures("one_thread")


def planes(picture: np.ndarray) -> Tensor:
    """uint8 (H,W,3) as (1,3,H,W), 0..1."""
    return torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float() / 255.0


@pytest.mark.parametrize("damage", ["noise", "blur", "darker", "none"])
@pytest.mark.parametrize("size", [(256, 256), (161, 203), (174, 190)])
def test_ms_ssim_is_that_of_the_measurements(
    photo: np.ndarray, damage: str, size: tuple[int, int], rng: np.random.Generator, seed: int
) -> None:
    a = photo[: size[0], : size[1]]
    small = Image.fromarray(a).resize((size[1] // 4, size[0] // 4))
    b = {
        "noise": np.clip(a + rng.normal(0, 25, a.shape), 0, 255).astype(np.uint8),
        "blur": np.asarray(small.resize((size[1], size[0]))),
        "darker": a // 2,
        "none": a,
    }[damage]
    assert float(ms_ssim(planes(a), planes(b))) == pytest.approx(metrics.ms_ssim(a, b), abs=1e-4), f"seed {seed}"


def test_the_gradient_of_ms_ssim_is_its_derivative(photo: np.ndarray) -> None:
    torch.manual_seed(3)
    a = planes(photo[:170, :165]).double()
    b = (a + 0.1 * torch.randn_like(a)).requires_grad_()
    direction = torch.randn_like(a)
    (gradient,) = torch.autograd.grad(ms_ssim(a, b).sum(), b)
    with torch.no_grad():
        rise = (ms_ssim(a, b + 1e-5 * direction) - ms_ssim(a, b - 1e-5 * direction)) / 2e-5
    assert float((gradient * direction).sum()) == pytest.approx(float(rise), rel=1e-5)


def test_ms_ssim_of_opposites_still_has_a_finite_gradient(photo: np.ndarray) -> None:
    a = planes(photo)
    b = (1.0 - a).requires_grad_()
    ms_ssim(a, b).sum().backward()
    assert b.grad is not None
    assert torch.isfinite(b.grad).all()


def test_the_loss_is_the_formula(photo: np.ndarray) -> None:
    x = planes(photo).expand(2, -1, -1, -1)
    decoded = (x + torch.tensor([4.0, -10.0])[:, None, None, None] / 255.0).contiguous()
    bits, rate = torch.tensor([1000.0, 2000.0]), torch.tensor([20, 150])
    pixels = photo.shape[0] * photo.shape[1]
    lmbda = np.array([rate_to_lmbda(20), rate_to_lmbda(150)])
    bpp = np.array([1000.0, 2000.0]) / pixels
    similar = np.array([float(ms_ssim(x[i : i + 1], decoded[i : i + 1])) for i in range(2)])
    weighted = {
        "mse": lmbda * np.array([16.0, 100.0]),
        "l1": 4.0 * np.sqrt(lmbda) * np.array([4.0, 10.0]),
        "ms-ssim": 1280.0 * lmbda * (1.0 - similar),
    }
    assert set(weighted) == set(CHOICES["distortion"])
    for distortion, wanted in weighted.items():
        found = rate_distortion(x, decoded, bits, rate, Criterion(distortion))
        assert found.mse.numpy() == pytest.approx([16.0, 100.0], rel=1e-4)
        assert found.weighted.numpy() == pytest.approx(wanted, rel=1e-4)
        assert float(found.loss()) == pytest.approx(float(np.mean((bpp + wanted) / np.sqrt(lmbda))), rel=1e-4)
    one = rate_distortion(x, decoded, bits, rate, Criterion(lmbda=0.01), closed=bits / 10)
    assert one.lmbda.tolist() == pytest.approx([0.01, 0.01])
    loss = np.mean((1.1 * bpp + 0.01 * np.array([16.0, 100.0])) / 0.1)
    assert float(one.loss()) == pytest.approx(float(loss), rel=1e-4)


def test_at_the_step_that_is_best_for_mse_l1_asks_for_the_same() -> None:
    """Along the errors' deviation the two have nearly the same slope: the premise of the weight of l1."""
    for lmbda in (0.001, 0.01, 0.1):
        deviation = 5.1 / math.sqrt(lmbda) / math.sqrt(12.0)
        mse_slope = lmbda * 2.0 * deviation
        l1_slope = float(Criterion("l1").weight(torch.tensor(lmbda))) * 0.75
        assert l1_slope == pytest.approx(mse_slope, rel=0.05)


def test_closed_bits_are_the_digits_of_the_latent() -> None:
    value = torch.tensor([0.0, 0.3, -1.0, 2.0, -5.0, 1024.0], requires_grad=True)
    bits = closed_bits(value)
    assert bits.tolist() == pytest.approx([0.0, 0.0, 0.0, 1.0, math.log2(5.0), 10.0])
    bits.sum().backward()
    assert value.grad is not None
    assert value.grad[:2].tolist() == [0.0, 0.0]
    assert value.grad[3:].tolist() == pytest.approx([1 / (v * math.log(2.0)) for v in (2.0, -5.0, 1024.0)])


class Spread:
    """Takes down what it is asked to charge."""

    def __init__(self) -> None:
        self.charged: list[Tensor] = []

    def bits(self, value: Tensor) -> Tensor:
        self.charged.append(value)
        return value.abs()

    def rounded(self) -> Spread:
        return self


@pytest.mark.parametrize("name", [*QUANTISERS, "round"])
def test_each_quantiser_charges_and_hands_on_what_its_table_says(name: str) -> None:
    torch.manual_seed(4)
    layout = Layout(4, "channels")
    kind = QUANTISERS.get(name, Round)
    y, loc = 5.0 * torch.randn(2, 4, 64, 64), torch.randn(2, 4, 64, 64)
    coder, density = kind(layout), Spread()
    if isinstance(coder, Soft):
        coder.alpha = 4.0
    y_hat = coder.gaussian(y, coder.empty_y(y), (loc, density), 0)
    charged = density.charged[-1]
    assert len(density.charged) == (3 if kind is Slope else 1)
    handed, rounded = y_hat - loc, torch.floor(y - loc + 0.5)
    noise = charged - (y - loc)
    if kind in (Mixed, Noise):
        assert float(noise.abs().max()) <= 0.5 + 1e-5
        assert float(noise.var()) == pytest.approx(1 / 12, rel=0.03)
    if kind in (Hard, Round):
        assert torch.equal(charged, rounded)
    if kind is Slope:
        assert torch.allclose(charged, rounded, atol=1e-5)
    if kind in (Mixed, Slope, Hard, Round):
        assert torch.allclose(handed, rounded, atol=1e-5)
    if kind is Dither:
        assert float(noise.abs().max()) <= 0.5 + 1e-5
        steps = charged - charged.reshape(-1)[0]
        assert torch.allclose(steps, torch.round(steps), atol=1e-4)  # one grid for all
        assert float((charged - rounded).abs().max()) > 1e-3
    if kind in (Noise, Dither):
        assert torch.allclose(handed, charged, atol=1e-5)
    if isinstance(coder, Soft):
        assert torch.allclose(handed, soft_round_mean(charged, 4.0), atol=1e-5)
        assert float((charged - rounded).abs().max()) <= 1.0  # nearer than noise alone would leave it
        assert float((charged - rounded).var()) < 0.8 / 6.0
    assert torch.equal(torch.as_tensor(coder.bits), charged.abs().sum((1, 2, 3)))


@pytest.mark.parametrize("zoned", [False, True])
def test_with_slopes_latents_feel_the_mean_cost_and_tables_what_is_coded(zoned: bool) -> None:
    generator = torch.Generator().manual_seed(5)
    y = (3.0 * torch.randn(1, 4, 8, 8, generator=generator)).requires_grad_()
    rows = (10.0 + 20.0 * torch.rand(1, 4, 8, 8, generator=generator)).requires_grad_()
    loc = torch.randn(1, 4, 8, 8, generator=generator)
    coder = Slope(Layout(4, "channels"), error_cost=16.0 if zoned else 0.0)
    y_hat = coder.gaussian(y, coder.empty_y(y), (loc, rows), 0)
    assert isinstance(coder.bits, Tensor)
    found = torch.autograd.grad(coder.bits.sum(), (y, rows))
    coded = (y_hat - loc).detach()
    assert torch.allclose(coded, torch.round(coded), atol=1e-5)
    assert zoned == bool((torch.round(coded) != torch.floor(y - loc + 0.5)).any())
    bits = gaussian_bits(coded, rows)
    assert coder.bits.item() == pytest.approx(bits.sum().item(), rel=1e-4)
    assert torch.allclose(found[1], torch.autograd.grad(bits.sum(), rows)[0], atol=1e-3)
    noise = (torch.arange(4000) + 0.5) / 4000 - 0.5
    values = (y - loc).detach()[..., None] + noise
    moved = values.requires_grad_()
    mean = gaussian_bits(moved, rows.detach()[..., None].expand_as(moved)).mean(-1).sum()
    wanted = torch.autograd.grad(mean, moved)[0].sum(-1)
    assert torch.allclose(found[0], wanted, atol=0.02, rtol=0.01)


def test_with_log2_the_entropy_model_and_the_transforms_are_trained_apart() -> None:
    model = randomised(1)
    options = TrainConfig(rate_term="log2", quantiser="noise")
    pictures = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(2))
    found = RateDistortion(*Objective(model, options, nullcontext)(pictures, torch.tensor([90, 180]), 0.5, False))
    assert found.closed.min().item() > 0.0
    entropy = [n for n, _ in model.named_parameters() if not n.startswith(("analysis.", "synthesis."))]
    named = dict(model.named_parameters())
    for cost, reaches in (
        (found.bpp, set(entropy)),
        (found.closed, {n for n in named if n.startswith("analysis.")}),
        (found.weighted, set(named) - set(entropy)),
    ):
        gradients = torch.autograd.grad(cost.sum(), list(named.values()), retain_graph=True, allow_unused=True)
        touched = {name for name, each in zip(named, gradients, strict=True) if each is not None and each.any()}
        assert touched
        assert touched <= reaches
    assert float(found.loss().detach()) > 0.0


def test_with_log2_the_bits_are_those_of_the_densities() -> None:
    model = randomised(1)
    pictures = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(2))
    bits = [
        Objective(model, TrainConfig(rate_term=term, quantiser="straight-through"), nullcontext)(
            pictures, torch.tensor([90, 180]), 0.5, False
        )[0].detach()
        for term in ("density", "log2")
    ]
    assert torch.allclose(*bits, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("quantiser", CHOICES["quantiser"])
@pytest.mark.parametrize("rate_term", CHOICES["rate_term"])
@pytest.mark.parametrize("distortion", CHOICES["distortion"])
def test_every_variant_learns(photo: np.ndarray, distortion: str, rate_term: str, quantiser: str) -> None:
    torch.manual_seed(0)
    options = TrainConfig(
        lmbda=0.02, distortion=distortion, rate_term=rate_term, quantiser=quantiser, stages=((1.0, 192, 1),)
    )
    model = models.build("bmshj2018-factorized", **SMALL_PLAIN)
    model.start([photo])
    objective = Objective(model, options, nullcontext)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    batch, rate = torch.from_numpy(photo[:192, :192].copy()).permute(2, 0, 1)[None], torch.tensor([100])
    losses = []
    for number in range(31):
        found = RateDistortion(*objective(batch, rate, number / 30, False))
        loss = found.loss()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert np.mean(losses[-3:]) < 0.95 * losses[0], losses


def test_rounding_on_the_tables_rows_is_what_the_coder_charges() -> None:
    model = randomised(3)
    x, rate = torch.rand(1, 3, 64, 64), torch.tensor([120])
    with torch.no_grad():
        coder = Round(model.layout)
        latents(model, x, rate, coder)  # type: ignore[arg-type]
        wholes = Rows(torch.tensor([3.4])).rounded()
    assert isinstance(wholes, Rows)
    assert wholes.index.tolist() == [3.0]
    assert float(torch.as_tensor(coder.bits)) > 0.0
