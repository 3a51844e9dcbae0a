"""Every model of the registry, before any training: shapes, gradients, reach, start, widths, cost."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from intaglio.errors import ArgumentError
from intaglio.workshop import models
from intaglio.workshop.coders import Noise, Round
from intaglio.workshop.complexity import DECODING, ENCODING, macs_per_pixel
from intaglio.workshop.entropy import ParametricFactorized
from intaglio.workshop.loss import rate_distortion
from intaglio.workshop.models.base import Hyperprior, Model
from small_models import NAMES, RATE, TINY, input_of, known, pair_of, tiny

FITTED = [name for name in NAMES if name not in ("photo", "reference")]  # `reference` starts from pairs made at random

pytestmark = pytest.mark.usefixtures("one_thread")


def test_the_list_of_models_is_the_registry() -> None:
    assert list(models.MODELS) == NAMES
    assert list(TINY) == NAMES


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_the_parts_have_the_declared_shapes(name: str) -> None:
    model, rate = tiny(name, 1), torch.tensor([RATE, RATE])
    channels = model.layout.channels
    pair = model.pair(torch.randint(256, (2, 3, 128, 192), dtype=torch.uint8))
    y = model.analysis(input_of(pair), rate)
    assert y.shape == (2, channels, 8, 12)
    assert model.synthesis(y, rate, *known(pair)).shape == pair[0].shape == (2, pair[0].shape[1], 128, 192)
    side: Any = None
    assert model.has_hyper == isinstance(model, Hyperprior)
    if isinstance(model, Hyperprior):
        z = model.hyper_analysis(y, rate)
        assert z.shape == (2, TINY[name]["hyper"], 2, 3)
        side = model.hyper_synthesis(torch.floor(z), rate)
        assert side.shape == (2, TINY[name]["side"], 8, 12)
        if pair[1] is not None:
            side = model.given_side(side, pair[1], rate)
            assert side.shape == (2, TINY[name]["side"] + TINY[name]["given"], 8, 12)
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
    pair, coder = model.pair(torch.randint(256, (2, 3, 128, 128), dtype=torch.uint8)), Noise(model.layout)
    decoded = model.walk(pair, rate, coder)
    assert isinstance(coder.bits, Tensor)
    rate_distortion(pair[0], decoded, coder.bits, rate).loss().backward()
    still = [key for key, value in model.named_parameters() if value.grad is None or not value.grad.any()]
    assert not still, f"seed {seed}"
    assert all(bool(torch.isfinite(value.grad).all()) for value in model.parameters() if value.grad is not None)


def seen(output: Tensor, inputs: list[Tensor], at: int) -> int:
    """How many latents around latent `at`, either way, this part of an output depends on; the inputs are pictures or
    latents.
    """
    output.sum().backward()
    farthest = 0
    for x in inputs:
        assert x.grad is not None
        places = torch.cat(x.grad.abs().sum((0, 1)).nonzero(as_tuple=True))
        size = x.shape[2] // (2 * at + 1)
        farthest = max(farthest, int((torch.div(places, size, rounding_mode="floor") - at).abs().max()))
    return farthest


@pytest.mark.parametrize("name", NAMES)
def test_neither_transform_sees_farther_than_the_halo(name: str) -> None:
    model = tiny(name, 3)
    at, side = model.halo + 1, 2 * model.halo + 3  # the latent in the middle
    rate, pair = torch.tensor([RATE]), model.pair(torch.randint(256, (1, 3, 16 * side, 16 * side), dtype=torch.uint8))
    pictures = [each.requires_grad_() for each in pair if each is not None]
    farthest = seen(model.analysis(input_of(pair), rate)[:, :, at, at], pictures, at)
    y_hat = (3.0 * torch.randn(1, model.layout.channels, side, side)).requires_grad_()
    pixels = slice(16 * at, 16 * at + 16)
    decoded = model.synthesis(y_hat, rate, *known(pair))[:, :, pixels, pixels]
    farthest = max(farthest, seen(decoded, [y_hat, *known(pair)], at))
    assert model.halo - 3 <= farthest <= model.halo


@pytest.mark.parametrize("name", FITTED)
@torch.no_grad()
def test_the_start_from_pictures_gives_a_transform_and_fitting_densities(
    name: str, photo: np.ndarray, seed: int
) -> None:
    torch.manual_seed(seed)
    model, rate = models.build(name, **TINY[name]).eval(), torch.tensor([RATE])
    model.start([photo, photo[:, ::-1], photo[:100, :90]])
    pair, coder = pair_of(model, photo), Round(model.layout)
    decoded = model.walk(pair, rate, coder)
    psnr = -10.0 * float(torch.log10((decoded.clamp(0.0, 1.0) - pair[0]).square().mean()))
    power = model.analysis(input_of(pair), rate).square().mean((0, 2, 3)) + 1.0 / 12.0
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
    encode = sum(counts[part] for part in ENCODING) / 1000.0
    decode = sum(counts[part] for part in DECODING) / 1000.0
    row = f"| `{name}` | {weights:.2f} | {encode:.1f} | {decode:.1f} |"
    assert row in (root / "docs" / "model-zoo.md").read_text(encoding="utf-8"), row
