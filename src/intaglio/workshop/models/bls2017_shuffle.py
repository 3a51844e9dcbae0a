"""`bls2017-shuffle`: as `bls2017`, but the synthesis goes up by convolutions of stride 1 to 4 times the features, 16
times for the stride of 4, and a reshape (pixel shuffle, Shi et al. 2016, arXiv 1609.05158).

A 3x3 kernel on the coarse grid reaches as far as the transposed 5x5 (9x9) that it replaces, and a little farther for
some positions of the fine one: 36 taps (144) for 25 (81), and as many more multiplications.
"""

from __future__ import annotations

from intaglio.workshop.models.bls2017 import Bls2017Config
from intaglio.workshop.models.staged import FactorizedModel


class Bls2017Shuffle(FactorizedModel):
    """The variant."""

    def __init__(self, config: Bls2017Config) -> None:
        super().__init__(config, config.plan(shuffle=True))
