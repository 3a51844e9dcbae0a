"""`he2021-checkerboard`: as `mbt2018-mean`, with y coded in two steps, the second of which sees its neighbours.

He, Zheng, Sun, Wang and Qin, CVPR 2021 (arXiv 2103.15306).
"""

from __future__ import annotations

from intaglio.traversal import Layout
from intaglio.workshop.models.mbt2018_mean import Mbt2018MeanConfig
from intaglio.workshop.models.staged import GaussianModel


class He2021Checkerboard(GaussianModel):
    """The model."""

    def __init__(self, config: Mbt2018MeanConfig) -> None:
        super().__init__(config, config.plan(), Layout(config.latent, "checkerboard"))
