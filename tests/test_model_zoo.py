"""Every model of the registry, before any training: shapes, gradients, reach, start, widths, cost."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from intaglio.errors import ArgumentError
from intaglio.traversal import latents
from intaglio.workshop import models
from intaglio.workshop.coders import Noise, Round
from intaglio.workshop.complexity import macs_per_pixel
from intaglio.workshop.entropy import ParametricFactorized
from intaglio.workshop.loss import rate_distortion
from intaglio.workshop.models.base import Hyperprior, Model
from small_models import NAMES, RATE, TINY, tiny

pytestmark = pytest.mark.usefixtures("one_thread")


def test_the_list_of_models_is_the_registry() -> None:
    assert list(models.MODELS) == NAMES
    assert list(TINY) == NAMES


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_the_parts_have_the_declared_shapes(name: str) -> None:
    model, rate = tiny(name, 1), torch.tensor([RATE, RATE])
    channels = model.layout.channels
    y = model.analysis(torch.rand(2, 3, 128, 192), rate)
    assert y.shape == (2, channels, 8, 12)
    assert model.synthesis(y, rate).shape == (2, 3, 128, 192)
    side: Any = None
    assert model.has_hyper == isinstance(model, Hyperprior)
    if isinstance(model, Hyperprior):
        z = model.hyper_analysis(y, rate)
        assert z.shape == (2, TINY[name]["hyper"], 2, 3)
        side = model.hyper_synthesis(torch.floor(z), rate)
        assert side.shape == (2, TINY[name]["side"], 8, 12)
    assert len(model.context_steps) == model.layout.steps
    for number, step in enumerate(model.context_steps):
        loc, index = step(side, y, rate)
        if model.has_hyper:
            wanted = sum(y[part].numel() for part in model.layout.parts(number))
            assert loc.numel() == index.numel() == wanted
        else:
            assert loc.shape == (channels, 1, 1)
    if not model.fixed:
        return
    assert "anchors" not in TINY[name]  # a model of one quality has tables of one row
    assert all(len(value) == 1 for key, value in model.named_parameters() if key.endswith("anchors"))


@pytest.mark.parametrize("name", NAMES)
def test_every_weight_learns(name: str, seed: int) -> None:
    model, rate = tiny(name, 2).train(), torch.tensor([RATE, RATE])
    torch.manual_seed(seed)
    x, coder = torch.rand(2, 3, 128, 128), Noise(model.layout)
    y_hat = latents(model, x, rate, coder)  # type: ignore[arg-type]
    assert isinstance(coder.bits, Tensor)
    rate_distortion(x, model.synthesis(y_hat, rate), coder.bits, rate).loss().backward()
    still = [key for key, value in model.named_parameters() if value.grad is None or not value.grad.any()]
    assert not still, f"seed {seed}"
    assert all(bool(torch.isfinite(value.grad).all()) for value in model.parameters() if value.grad is not None)


def seen(part: nn.Module, x: Tensor, cut: slice) -> Tensor:
    """Rows and columns of x that this square of the part's output depends on."""
    x.requires_grad_()
    part(x, torch.tensor([RATE]))[:, :, cut, cut].sum().backward()
    assert x.grad is not None
    return torch.cat(x.grad.abs().sum((0, 1)).nonzero(as_tuple=True))


@pytest.mark.parametrize("name", NAMES)
def test_neither_transform_sees_farther_than_the_halo(name: str) -> None:
    model = tiny(name, 3)
    at, side = model.halo + 1, 2 * model.halo + 3  # the latent in the middle
    pixels = seen(model.analysis, torch.rand(1, 3, 16 * side, 16 * side), slice(at, at + 1))
    found = torch.div(pixels, 16, rounding_mode="floor")
    y_hat = 3.0 * torch.randn(1, model.layout.channels, side, side)
    found = torch.cat([found, seen(model.synthesis, y_hat, slice(16 * at, 16 * at + 16))])
    farthest = int((found - at).abs().max())
    assert model.halo - 3 <= farthest <= model.halo


@pytest.mark.parametrize("name", NAMES[1:])
@torch.no_grad()
def test_the_start_from_pictures_gives_a_transform_and_fitting_densities(
    name: str, photo: np.ndarray, seed: int
) -> None:
    torch.manual_seed(seed)
    model, rate = models.build(name, **TINY[name]).eval(), torch.tensor([RATE])
    model.start([photo, photo[:, ::-1], photo[:100, :90]])
    x, coder = torch.from_numpy(photo.transpose(2, 0, 1)[None].copy()).float() / 255.0, Round(model.layout)
    decoded = model.synthesis(latents(model, x, rate, coder), rate)  # type: ignore[arg-type]
    psnr = -10.0 * float(torch.log10((decoded.clamp(0.0, 1.0) - x).square().mean()))
    power = model.analysis(x, rate).square().mean((0, 2, 3)) + 1.0 / 12.0
    ideal = 16 * 16 * float(0.5 * torch.log2(2.0 * math.pi * math.e * power).sum())  # Gaussians of these deviations
    print(f"{name}: {psnr:.1f} dB, {float(coder.bits):.0f} bits, {ideal:.0f} for fitting Gaussians")
    assert psnr > 17.0, f"seed {seed}"
    assert 0.5 * ideal < float(coder.bits) < 1.25 * ideal, f"seed {seed}"


@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        ("bls2017", {"channels": 257}, "channels is 257; it must be from 1 to 256"),
        ("bls2017", {"channels": 0}, "channels is 0"),
        ("bls2017", {"latent": 8}, "has no 'latent'"),
        ("bmshj2018-factorized", {"latent": 320}, "latent is 320; it must be from 1 to 256"),
        ("bmshj2018-hyperprior", {"hyper": 193}, "hyper is 193; it must be from 1 to 192"),
        ("mbt2018-mean", {"blocks": -1}, "blocks is -1"),
        ("mbt2018-mean", {"attention": 1}, "attention is 1; it must be a bool"),
        ("mbt2018-mean", {"features": -4}, "features is -4"),
        ("minnen2020-channelwise", {"slices": 7}, "latent.*7 groups"),
        ("minnen2020-channelwise", {"slices": 0}, "slices is 0"),
    ],
)
def test_widths_that_cannot_be_are_named(name: str, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=r"\[model\].*" + message):
        models.build(name, **fields)


def _with_mean(mean: float) -> Model:
    """A model without hyperprior whose channel 3 has this mean."""
    model = tiny("bls2017", 5)
    model.prior = prior = ParametricFactorized(model.layout.channels)
    with torch.no_grad():
        prior.components.means[3] = mean
    return model


@pytest.mark.parametrize("mean", [2.0**20, -(2.0**20), 2.0**27, -1e9, 1e30])
def test_a_mean_that_no_model_file_holds_is_named_with_its_channel(mean: float) -> None:
    with pytest.raises(ArgumentError, match=r"loc of channel 3 of 8 is -?[0-9.e+]+; a model file holds means within"):
        _with_mean(mean).arrays()


@pytest.mark.parametrize("sixteenths", [2**24 - 1, 1 - 2**24])
def test_the_farthest_means_that_a_model_file_holds_are_exact(sixteenths: int) -> None:
    assert _with_mean(sixteenths / 16).arrays()["y_loc"].tolist() == [0, 0, 0, sixteenths, 0, 0, 0, 0]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_models_cost_what_the_documents_say(name: str, root: Path) -> None:
    model = models.build(name)
    counts = macs_per_pixel(model)
    weights = sum(each.numel() for each in model.parameters()) / 1e6
    encode = sum(counts[part] for part in ("analysis", "hyper_analysis", "hyper_synthesis", "context")) / 1000.0
    decode = sum(counts[part] for part in ("hyper_synthesis", "context", "synthesis")) / 1000.0
    row = f"| `{name}` | {weights:.2f} | {encode:.1f} | {decode:.1f} |"
    assert row in (root / "docs" / "model-zoo.md").read_text(encoding="utf-8"), row
