"""`colour`: the colours of a photograph whose luma both ends have, from a few tens of bytes on.

The target is chroma (Cb, Cr; BT.601, full range), the given picture is luma, rounded to 8 bits. Decoding takes about 16
kMAC for each pixel.
"""

from __future__ import annotations

import torch
from torch import Tensor

from intaglio import ycbcr
from intaglio.workshop.models.base import Pair
from intaglio.workshop.models.conditional import Conditional, Kind
from intaglio.workshop.subsampling import mixed, subsampled


def grey(given: Tensor) -> float:
    """The chroma of grey, 0..1, for any luma (B,1,H,W)."""
    return ycbcr.NEUTRAL / 255.0


class Colour(Conditional):
    """Chroma given luma."""

    given = "luma"
    lmbdas = 0.00002, 0.1
    kind = Kind(target=2, given=1, base=grey, lmbdas=lmbdas)

    def pair(self, pictures: Tensor) -> Pair:
        """As of `Conditional`; while training, with some pictures' chroma as 4:2:0 has it."""
        return super().pair(subsampled(pictures.float()) if self.training else pictures)

    def target_of(self, pictures: Tensor) -> Tensor:
        return (mixed(pictures, ycbcr.CHROMA) + ycbcr.NEUTRAL) / 255.0

    def made_given(self, pictures: Tensor) -> Tensor:
        return torch.floor(mixed(pictures, (ycbcr.WEIGHTS,)) + 0.5)
