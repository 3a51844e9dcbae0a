"""`bmshj2018-hyperprior`: Gaussian latents of mean 0, whose scales a hyperprior predicts; z is made from |y|.

Ballé, Minnen, Singh, Hwang and Johnston, ICLR 2018 (arXiv 1802.01436).
"""

from __future__ import annotations

from intaglio.traversal import Layout
from intaglio.workshop.models.mbt2018_mean import Mbt2018MeanConfig
from intaglio.workshop.models.staged import GaussianModel


class Bmshj2018Hyperprior(GaussianModel):
    """The model."""

    def __init__(self, config: Mbt2018MeanConfig) -> None:
        super().__init__(config, config.plan(), Layout(config.latent, "channels"), means=False)
