"""A small `photo` model for tests: every weight random, none at its start."""

from __future__ import annotations

from typing import Any

import torch

from intaglio.workshop import models
from intaglio.workshop.models.photo import Photo
from small_runs import SMALL_PHOTO

WIDTHS: dict[str, Any] = SMALL_PHOTO | {"anchors": 12}


def gained(seed: int) -> Photo:
    """The model of that seed with gains, which are random, too, and differ from place to place."""
    model = randomised(seed, gains=True)
    with torch.no_grad():
        model.hyper_synthesis.to_full.weight.normal_(0.0, 0.05)
    return model


def randomised(seed: int, **more: Any) -> Photo:
    """The model of that seed; the weights that begin at zero and the tables over the rate are random, too."""
    torch.manual_seed(seed)
    model = models.build("photo", **WIDTHS, **more)
    assert isinstance(model, Photo)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "index" in name:
                parameter.add_(0.25 * torch.randn_like(parameter))  # in units of many rows
            elif name.endswith("anchors"):
                parameter.add_(0.2 * torch.randn_like(parameter))
            elif not parameter.any():
                parameter.normal_(0.0, 0.1)
    return model.eval()
