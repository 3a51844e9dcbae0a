"""`bmshj2018-factorized`: four stages of 5x5 with stride 2, GDN after all but the last, one density for each channel.

Ballé, Minnen, Singh, Hwang and Johnston, ICLR 2018 (arXiv 1802.01436): their model without a hyperprior.
"""

from __future__ import annotations

from dataclasses import dataclass

from intaglio.rans import MAX_TABLES
from intaglio.workshop.models.staged import FactorizedModel, Plan, Stage
from intaglio.workshop.models.widths import limited


@dataclass(frozen=True)
class Bmshj2018FactorizedConfig:
    """Widths, in channels; the paper's for lower rates."""

    features: int = 128  # N, of the stages but the last
    latent: int = limited(192, most=MAX_TABLES)  # M, of y
    klt: bool = True  # whether training starts from the pictures' KLT


class Bmshj2018Factorized(FactorizedModel):
    """The model."""

    def __init__(self, config: Bmshj2018FactorizedConfig) -> None:
        super().__init__(config, Plan((*[Stage(config.features, 5, 2)] * 3, Stage(config.latent, 5, 2))))
