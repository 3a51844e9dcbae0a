"""A tiny configuration of every model, and models of that size with every weight random."""

from __future__ import annotations

from typing import Any

import torch

import small_photo
from intaglio.quality import lmbda_to_rate
from intaglio.workshop import models
from intaglio.workshop.models.base import Model

NAMES = [  # by hand: a model that is left out of the registry, or slips into it, is found by a test
    "photo",
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
