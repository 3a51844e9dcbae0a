"""Pictures whose chroma has been through 4:2:0, as that of most photographs has.

A model that has only seen chroma as sharp as luma expects what is not there.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from intaglio import ycbcr

SHARE = 0.6  # of training pictures
_SPREAD, _DRAWS = 7919.0, 997.0  # primes: a sum of samples times the first, modulo the second, is as good as random


def mixed(pictures: Tensor, rows: tuple[tuple[float, ...], ...]) -> Tensor:
    """Weighted sums of the channels of pictures (B,C,H,W), one for each row of C weights: (B,rows,H,W)."""
    weight = torch.tensor(rows, device=pictures.device)[:, :, None, None]
    return F.conv2d(pictures, weight)


def subsampled(pictures: Tensor) -> Tensor:
    """Pictures (B,3,H,W), 0..255, sides even; of about SHARE of them the chroma (BT.601) is means of 2x2 pixels,
    interpolated. Which ones depends on their samples alone, so that it is the same in every process. Their luma is the
    same, but for values that leave 0..255.
    """
    chroma = mixed(pictures, ycbcr.CHROMA)
    change = F.interpolate(F.avg_pool2d(chroma, 2), scale_factor=2, mode="bilinear") - chroma
    chance = pictures[:, :, ::4, ::4].double().sum((1, 2, 3)).mul(_SPREAD).remainder(_DRAWS)
    chosen = (chance < SHARE * _DRAWS)[:, None, None, None]
    return (pictures + mixed(change * chosen, ycbcr.FROM_CHROMA)).clamp(0.0, 255.0)
