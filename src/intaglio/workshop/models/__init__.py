"""The models, one short file each, and the list of them."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from intaglio.errors import ArgumentError
from intaglio.traversal import GROUPS
from intaglio.workshop.config import section
from intaglio.workshop.models.photo import PATCH, Photo, PhotoConfig

MODELS = {"photo": (Photo, PhotoConfig)}


def build(name: str, **config: Any) -> Photo:
    """The model called `name`, built from its configuration's fields.

    Raises ArgumentError on an unknown name or field, and on a width that cannot be.
    """
    if name not in MODELS:
        raise ArgumentError(f"configuration: [model] name is {name!r}; the models are: {', '.join(MODELS)}")
    model, make_config = MODELS[name]
    checked = section(make_config, "model", config)
    _check_widths(checked)
    return model(checked)


def _check_widths(config: PhotoConfig) -> None:
    for item in fields(config):
        value, default = getattr(config, item.name), item.default
        widths = value if isinstance(value, tuple) else (value,)
        if isinstance(default, tuple) and len(widths) != len(default):
            raise ArgumentError(f"configuration: [model] {item.name} has {len(widths)} widths; it needs {len(default)}")
        if min(widths) < 1:
            raise ArgumentError(f"configuration: [model] {item.name} is {value}; it must be 1 or more")
    most = 3 * PATCH * PATCH
    if config.latent % GROUPS or config.latent > most:
        wanted = f"a multiple of {GROUPS}, at most {most}"
        raise ArgumentError(f"configuration: [model] latent is {config.latent}; it must be {wanted}")
