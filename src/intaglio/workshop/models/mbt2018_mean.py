"""`mbt2018-mean`: Gaussian latents with means and scales from a hyperprior; no context.

Minnen, Ballé and Toderici, NeurIPS 2018 (arXiv 1809.02736), the model without their autoregressive context. Options:
residual blocks, the attention blocks of Cheng et al. 2020 (arXiv 2001.01568), simplified GDN.
"""

from __future__ import annotations

from dataclasses import dataclass

from intaglio.traversal import Layout
from intaglio.workshop.models.staged import GaussianModel, Plan, Stage
from intaglio.workshop.models.widths import MOST_HYPER, limited


@dataclass(frozen=True)
class Mbt2018MeanConfig:
    """Widths, in channels."""

    features: int = 128  # N, of the stages but the last
    latent: int = 192  # M, of y
    hyper: int = limited(128, most=MOST_HYPER)  # z
    side: int = 128  # side information
    context: int = 128  # inside the step from there to means and scales
    blocks: int = limited(0, least=0)  # residual blocks after each stage but the last
    attention: bool = False  # an attention block after the second and the last stage
    simplified: bool = False  # GDN without its root (Johnston et al. 2019)
    klt: bool = True  # whether training starts from the pictures' KLT

    def plan(self) -> Plan:
        """The stages."""
        stages = *[Stage(self.features, 5, 2)] * 3, Stage(self.latent, 5, 2)
        return Plan(stages, simplified=self.simplified, blocks=self.blocks, attention=self.attention)


class Mbt2018Mean(GaussianModel):
    """The model."""

    def __init__(self, config: Mbt2018MeanConfig) -> None:
        super().__init__(config, config.plan(), Layout(config.latent, "channels"))
