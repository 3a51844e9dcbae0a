"""A tiny configuration of every model, and models of that size with every weight random."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

import small_photo
from intaglio import given
from intaglio.quality import lmbda_to_rate
from intaglio.workshop import models
from intaglio.workshop.models.base import Model, Pair
from intaglio.workshop.models.conditional import Conditional

NAMES = [  # by hand: a model that is left out of the registry, or slips into it, is found by a test
    "photo",
    "colour",
    "reference",
    "bls2017",
    "bls2017-shuffle",
    "bmshj2018-factorized",
    "bmshj2018-hyperprior",
    "mbt2018-mean",
    "he2021-checkerboard",
    "minnen2020-channelwise",
]
LMBDA = 0.01
RATE = lmbda_to_rate(LMBDA)
_GAUSSIAN: dict[str, Any] = {"features": 8, "latent": 12, "hyper": 4, "side": 8, "context": 8}
TINY: dict[str, dict[str, Any]] = {
    "photo": small_photo.WIDTHS,
    "colour": small_photo.WIDTHS | {"given": 6, "latent": 32},
    "reference": small_photo.WIDTHS | {"given": 6, "latent": 32},
    "bls2017": {"channels": 8},
    "bls2017-shuffle": {"channels": 8},
    "bmshj2018-factorized": {"features": 8, "latent": 12},
    "bmshj2018-hyperprior": _GAUSSIAN,
    "mbt2018-mean": _GAUSSIAN | {"blocks": 1, "attention": True},
    "he2021-checkerboard": _GAUSSIAN | {"simplified": True},
    "minnen2020-channelwise": _GAUSSIAN | {"slices": 3},
}


def shake(model: Model, seed: int) -> None:
    """Moves every weight off its start, most of all those that begin at zero."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("anchors"):
                parameter.add_(0.2 * torch.randn_like(parameter))
            elif "root_" in name:
                parameter.add_(0.1 * torch.rand_like(parameter))
            elif not parameter.any():
                parameter.normal_(0.0, 0.1)
            elif "prior" not in name:
                parameter.add_(0.1 * parameter.std(correction=0) * torch.randn_like(parameter))


def tiny(name: str, seed: int) -> Model:
    """The model of that name and seed, shaken."""
    torch.manual_seed(seed)
    model = models.build(name, **TINY[name])
    shake(model, seed + 1)
    return model.eval()


def given_to(model: Any, pixels: np.ndarray) -> np.ndarray | None:
    """What the tests give, beside the picture uint8 (H,W,3) or (H,W), to a model, of the workshop or loaded, that takes
    one; None to others.
    """
    if model.given is None:
        return None
    return pixels if model.given == "luma" else pixels - pixels // 8


def seen_by(model: Any, pixels: np.ndarray) -> np.ndarray | None:
    """The planes, uint8 (H,W,G), of what `given_to` gives."""
    found = given_to(model, pixels)
    return None if found is None else given.planes(found, model.given, (pixels.shape[1], pixels.shape[0]))


def pair_of(model: Model, pixels: np.ndarray) -> Pair | tuple[Tensor, None]:
    """A picture uint8 (H,W,3) and what `given_to` gives, for the model's networks."""
    x, seen = (None if each is None else _planes(each) for each in (pixels, seen_by(model, pixels)))
    assert x is not None
    if seen is None:
        return x / 255.0, None
    assert isinstance(model, Conditional)
    return Pair(model.target_of(x), seen)


def input_of(pair: Pair | tuple[Tensor, None]) -> Any:
    """What an analysis takes."""
    return pair[0] if pair[1] is None else pair


def known(pair: Pair | tuple[Tensor, None]) -> tuple[Tensor, ...]:
    """What a synthesis takes at the end."""
    return () if pair[1] is None else (pair[1],)


def _planes(pixels: np.ndarray) -> Tensor:
    return torch.from_numpy(pixels.transpose(2, 0, 1)[None].copy()).float()
