"""How planes follow the detail of given planes: in each block the target's detail is taken for a multiple of the given
picture's, as colours follow luma. The multiple is a coefficient of an orthonormal basis that depends on what is given,
so it is coded beside those of a fixed transform. (The idea is that of chroma from luma in AV1: Trudeau et al. 2018.)
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

NOISE = 2.0 / 255.0  # detail of the given picture, per sample, about which nothing follows it


class Follow(nn.Module):
    """The basis functions of one size of block: of each target plane one, along a given plane's detail."""

    ones: Tensor

    def __init__(self, size: int, target: int, given: int) -> None:
        """`size`: of a block, in pixels; `target` planes follow the `given` ones in turn."""
        super().__init__()
        self.size, self.given = size, given
        self.follows = [plane % given for plane in range(target)]
        self.register_buffer("ones", torch.ones(max(target, given), 1, size, size), persistent=False)

    def basis(self, given: Tensor) -> Tensor:
        """Of given planes (B,G,H,W) about 0, sides whole blocks: (B,T,H,W), of norm 1 in each block, or less where
        there is little to follow.
        """
        detail = given - self.spread(self.sums(given)) / self.size**2
        energy = self.sums(detail * detail) + (self.size * NOISE) ** 2
        return (detail / torch.sqrt(self.spread(energy)))[:, self.follows]

    def sums(self, x: Tensor) -> Tensor:
        """Of each block of planes (B,C,H,W), (B,C,H/size,W/size)."""
        return F.conv2d(x, self.ones[: x.shape[1]], stride=self.size, groups=x.shape[1])

    def spread(self, x: Tensor) -> Tensor:
        """Each number (B,C,h,w) over its block, (B,C,H,W)."""
        return F.conv_transpose2d(x, self.ones[: x.shape[1]], stride=self.size, groups=x.shape[1])


class Following(nn.Module):
    """Two sizes of block: patches, and within them quarters of what is left."""

    def __init__(self, patch: int, target: int, given: int) -> None:
        super().__init__()
        self.whole, self.quarter = Follow(patch, target, given), Follow(patch // 2, target, given)
        self.channels = 5 * target

    def coefficients(self, target: Tensor, given: Tensor) -> tuple[Tensor, Tensor]:
        """Of the target's planes (B,T,H,W) less their base, (B,5T,H/patch,W/patch), and what they leave, (B,T,H,W)."""
        found = []
        for size in (self.whole, self.quarter):
            basis = size.basis(given)
            found.append(size.sums(target * basis))
            target = target - size.spread(found[-1]) * basis
        return torch.cat([found[0], F.pixel_unshuffle(found[1], 2)], 1), target

    def forward(self, coefficients: Tensor, given: Tensor) -> Tensor:
        """What the coefficients stand for, (B,T,H,W)."""
        planes = self.channels // 5
        whole = self.whole.spread(coefficients[:, :planes]) * self.whole.basis(given)
        quarters = F.pixel_shuffle(coefficients[:, planes:], 2)
        return whole + self.quarter.spread(quarters) * self.quarter.basis(given)
