"""`bls2017`: the first end-to-end optimised codec, Ballé, Laparra and Simoncelli, ICLR 2017 (arXiv 1611.01704).

Kernels of 9x9 with stride 4 and twice 5x5 with stride 2, GDN after each; the synthesis begins with its inverse and goes
up by transposed convolutions; one density for each channel. 192 channels are the paper's for colour.
"""

from __future__ import annotations

from dataclasses import dataclass

from intaglio.rans import MAX_TABLES
from intaglio.workshop.models.staged import FactorizedModel, Plan, Stage
from intaglio.workshop.models.widths import limited


@dataclass(frozen=True)
class Bls2017Config:
    """Widths, in channels."""

    channels: int = limited(192, most=MAX_TABLES)  # of every stage
    klt: bool = True  # whether training starts from the pictures' KLT

    def plan(self, shuffle: bool) -> Plan:
        """The stages."""
        width = self.channels
        stages = Stage(width, 9, 4), Stage(width, 5, 2), Stage(width, 5, 2)
        return Plan(stages, of_2017=True, shuffle=shuffle)


class Bls2017(FactorizedModel):
    """The model as published."""

    def __init__(self, config: Bls2017Config) -> None:
        super().__init__(config, config.plan(shuffle=False))
