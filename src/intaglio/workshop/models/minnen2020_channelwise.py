"""`minnen2020-channelwise`: as `mbt2018-mean`, with y coded in runs of channels, each of which sees those before.

Minnen and Singh, ICIP 2020 (arXiv 2007.08739), without their latent residual prediction.
"""

from __future__ import annotations

from dataclasses import dataclass

from intaglio.traversal import Layout
from intaglio.workshop.models.mbt2018_mean import Mbt2018MeanConfig
from intaglio.workshop.models.staged import GaussianModel


@dataclass(frozen=True)
class Minnen2020ChannelwiseConfig(Mbt2018MeanConfig):
    """Widths, in channels; the paper has 320 channels of y in 10 slices."""

    features: int = 192
    latent: int = 320
    slices: int = 10


class Minnen2020Channelwise(GaussianModel):
    """The model."""

    def __init__(self, config: Minnen2020ChannelwiseConfig) -> None:
        super().__init__(config, config.plan(), Layout(config.latent, "channels", config.slices))
