"""The models, one short file each, and the list of them."""

from __future__ import annotations

from typing import Any

from intaglio.errors import ArgumentError
from intaglio.workshop.models.photo import Photo, PhotoConfig

MODELS = {"photo": (Photo, PhotoConfig)}


def build(name: str, **config: Any) -> Photo:
    """The model called `name`, built from its configuration's fields. Raises ArgumentError on an unknown name or
    field.
    """
    if name not in MODELS:
        raise ArgumentError(f"model {name!r} is unknown; the models are: {', '.join(MODELS)}")
    model, make_config = MODELS[name]
    try:
        return model(make_config(**config))
    except TypeError as error:
        raise ArgumentError(f"configuration of model {name!r}: {error}") from None
