"""`colour`: the colours of a photograph whose luma both ends have, from a few tens of bytes on.

The target is chroma (Cb, Cr; BT.601, full range), the given picture is luma, rounded to 8 bits. Decoding takes about 16
kMAC for each pixel.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from intaglio import ycbcr
from intaglio.workshop.models.conditional import Conditional, Kind

# Most photographs have been 4:2:0 once. A model that has only seen chroma as sharp as luma expects what is not there.
SUBSAMPLED = 0.6


def grey(given: Tensor) -> float:
    """The chroma of grey, 0..1, for any luma (B,1,H,W)."""
    return ycbcr.NEUTRAL / 255.0


class Colour(Conditional):
    """Chroma given luma."""

    given = "luma"
    lmbdas = 0.00002, 0.1
    kind = Kind(target=2, given=1, base=grey, lmbdas=lmbdas)

    def target_of(self, pictures: Tensor) -> Tensor:
        """While training, with the chroma of some pictures as 4:2:0 has it."""
        chroma = _mixed(pictures, ycbcr.CHROMA)
        if self.training:
            coarse = F.interpolate(F.avg_pool2d(chroma, 2), scale_factor=2, mode="bilinear")
            chroma = torch.where(torch.rand(len(chroma), 1, 1, 1, device=chroma.device) < SUBSAMPLED, coarse, chroma)
        return (chroma + ycbcr.NEUTRAL) / 255.0

    def made_given(self, pictures: Tensor) -> Tensor:
        return torch.floor(_mixed(pictures, (ycbcr.WEIGHTS,)) + 0.5)


def _mixed(pictures: Tensor, rows: tuple[tuple[float, ...], ...]) -> Tensor:
    weight = torch.tensor(rows, device=pictures.device)[:, :, None, None]
    return F.conv2d(pictures, weight)
