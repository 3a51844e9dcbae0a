"""The models, one short file each, and the list of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from intaglio.errors import ArgumentError
from intaglio.workshop.config import section
from intaglio.workshop.models.base import Model
from intaglio.workshop.models.bls2017 import Bls2017, Bls2017Config
from intaglio.workshop.models.bls2017_shuffle import Bls2017Shuffle
from intaglio.workshop.models.bmshj2018_factorized import Bmshj2018Factorized, Bmshj2018FactorizedConfig
from intaglio.workshop.models.bmshj2018_hyperprior import Bmshj2018Hyperprior
from intaglio.workshop.models.colour import Colour
from intaglio.workshop.models.conditional import ConditionalConfig
from intaglio.workshop.models.he2021_checkerboard import He2021Checkerboard
from intaglio.workshop.models.mbt2018_mean import Mbt2018Mean, Mbt2018MeanConfig
from intaglio.workshop.models.minnen2020_channelwise import Minnen2020Channelwise, Minnen2020ChannelwiseConfig
from intaglio.workshop.models.photo import Photo, PhotoConfig
from intaglio.workshop.models.reference import Reference, ReferenceConfig
from intaglio.workshop.models.widths import check_widths

MODELS: dict[str, tuple[Callable[[Any], Model], type]] = {
    "photo": (Photo, PhotoConfig),
    "colour": (Colour, ConditionalConfig),
    "reference": (Reference, ReferenceConfig),
    "bls2017": (Bls2017, Bls2017Config),
    "bls2017-shuffle": (Bls2017Shuffle, Bls2017Config),
    "bmshj2018-factorized": (Bmshj2018Factorized, Bmshj2018FactorizedConfig),
    "bmshj2018-hyperprior": (Bmshj2018Hyperprior, Mbt2018MeanConfig),
    "mbt2018-mean": (Mbt2018Mean, Mbt2018MeanConfig),
    "he2021-checkerboard": (He2021Checkerboard, Mbt2018MeanConfig),
    "minnen2020-channelwise": (Minnen2020Channelwise, Minnen2020ChannelwiseConfig),
}


def build(name: str, **config: Any) -> Model:
    """The model called `name`, built from its configuration's fields.

    Raises ArgumentError on an unknown name or field, and on a width that cannot be.
    """
    if name not in MODELS:
        raise ArgumentError(f"configuration: [model] name is {name!r}; the models are: {', '.join(MODELS)}")
    model, make_config = MODELS[name]
    checked: Any = section(make_config, "model", config)
    check_widths(checked)
    try:
        return model(checked)
    except ArgumentError as error:  # a layout that cannot be
        raise ArgumentError(f"configuration: [model]: {error}") from None
