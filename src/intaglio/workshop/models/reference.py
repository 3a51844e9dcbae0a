"""`reference`: a picture given another of the same size: an earlier version, a neighbouring frame.

Where nothing is coded, the given picture comes out. Trained on pairs made from single pictures: the given one is the
picture shifted, lit otherwise, blurred, and with a patch of it elsewhere, each now and then.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from intaglio.workshop.models.conditional import Conditional, ConditionalConfig, Kind

SHIFT = 8  # pixels, at most, either way
EXPOSURE = 0.2  # change of gain at most, and three times that of black, in eighths of the range


@dataclass(frozen=True)
class ReferenceConfig(ConditionalConfig):
    """Widths as those of `colour`, with less at the coarsest and the finest grid: three planes cost more."""

    synthesis: tuple[int, int, int] = (96, 64, 32)


def itself(given: Tensor) -> Tensor:
    """The given picture, (B,3,H,W), 0..1."""
    return given


class Reference(Conditional):
    """RGB given RGB."""

    given = "picture"
    kind = Kind(target=3, given=3, base=itself, lmbdas=Conditional.lmbdas)

    def target_of(self, pictures: Tensor) -> Tensor:
        return pictures / 255.0

    def made_given(self, pictures: Tensor) -> Tensor:
        return torch.stack([distorted(picture) for picture in pictures])


def distorted(picture: Tensor) -> Tensor:
    """Another version of a picture (3,H,W), 0..255, by PyTorch's random numbers: whole numbers 0..255."""
    shift, light, blur, edit = (torch.rand(4) < 0.5).tolist()
    x = picture[None]
    if shift:
        down, right = torch.randint(0, 2 * SHIFT + 1, (2,)).tolist()
        rows, columns = slice(down, down + picture.shape[1]), slice(right, right + picture.shape[2])
        x = F.pad(x, (SHIFT,) * 4, mode="replicate")[:, :, rows, columns]
    if light:
        gain, black = (1.0 + EXPOSURE * (2.0 * torch.rand(2) - 1.0)).tolist()
        x = x * gain + 96.0 * (black - 1.0)
    if blur:
        share = 0.9 * float(torch.rand(1))
        x = (1.0 - share) * x + share * F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1)
    if edit:
        x = _edited(x)
    return torch.floor(x[0].clamp(0.0, 255.0) + 0.5)


def _edited(x: Tensor) -> Tensor:
    """With a rectangle, sides up to half the picture's, overlaid by another part of it."""
    height, width = (int(side * (0.1 + 0.4 * float(torch.rand(1)))) for side in x.shape[2:])
    (top, to_top), (left, to_left) = (
        torch.randint(0, free + 1, (2,)).tolist() for free in (x.shape[2] - height, x.shape[3] - width)
    )
    x, part = x.clone(), x[:, :, top : top + height, left : left + width]
    x[:, :, to_top : to_top + height, to_left : to_left + width] = part
    return x
