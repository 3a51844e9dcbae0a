"""How planes follow the detail of given planes, as colours follow luma.

Near each place the target is about `a * given + b`. A patch tells its mean and its slope a, and both are interpolated
between patches; what slope to expect is seen in the means of the patches around it. In quarters of patches the rest
follows once more. Coefficients are in the units of an orthonormal transform. Sources: guided filter, He et al. 2013;
chroma from luma in AV1, Trudeau et al. 2018.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

NOISE = 2.0 / 255.0  # detail of the given picture, per sample, about which nothing follows it
# Of expected slopes: what is added to the variance of the patches' means, a share of the variance within patches and
# that of noise; both were chosen on photographs.
WITHIN, FLOOR = 0.3, 20.0 / 255.0**2


class Blocks(nn.Module):
    """Sums over square blocks of planes, and planes of numbers for each block."""

    ones: Tensor

    def __init__(self, size: int, planes: int) -> None:
        """`size`: of a block, in pixels; at most so many `planes`."""
        super().__init__()
        self.size = size
        self.register_buffer("ones", torch.ones(planes, 1, size, size), persistent=False)

    def sums(self, x: Tensor) -> Tensor:
        """Of each block of planes (B,C,H,W), (B,C,H/size,W/size)."""
        return F.conv2d(x, self.ones[: x.shape[1]], stride=self.size, groups=x.shape[1])

    def spread(self, x: Tensor) -> Tensor:
        """Each number (B,C,h,w) over its block, (B,C,H,W)."""
        return F.conv_transpose2d(x, self.ones[: x.shape[1]], stride=self.size, groups=x.shape[1])

    def means(self, x: Tensor) -> Tensor:
        """Of each block of planes (B,C,H,W), (B,C,H/size,W/size)."""
        return self.sums(x) / self.size**2


class Surface(nn.Module):
    """Means and slopes of patches, interpolated: `a * given + b`. The given planes are about 0."""

    ramp: Tensor
    around: Tensor

    def __init__(self, size: int, target: int, given: int) -> None:
        """`size`: of a patch, in pixels; `target` planes follow the `given` ones in turn."""
        super().__init__()
        self.size, self.follows = size, [plane % given for plane in range(target)]
        self.patches = Blocks(size, max(target, given))
        ramp = 1.0 - (torch.arange(2 * size) + 0.5 - size).abs() / size
        self.register_buffer("ramp", (ramp[:, None] * ramp).expand(target, 1, -1, -1).contiguous(), persistent=False)
        self.register_buffer("around", torch.full((target, 1, 3, 3), 1.0 / 9.0), persistent=False)

    def coefficients(self, target: Tensor, given: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of the target's planes (B,T,H,W): means and slopes, (B,T,H/size,W/size) each, and what they leave."""
        seen, luma, norm, within = self._seen(given)
        means = self.patches.means(target)
        slopes = self.patches.sums(target * self._detail(seen, luma)) / (norm * norm)
        expected = self._expected(means, luma, within)
        return self.size * means, (slopes - expected) * norm, target - self._made(means, slopes, seen, luma)

    def forward(self, means: Tensor, slopes: Tensor, given: Tensor) -> Tensor:
        """What coefficients stand for, (B,T,H,W)."""
        seen, luma, norm, within = self._seen(given)
        means = means / self.size
        return self._made(means, self._expected(means, luma, within) + slopes / norm, seen, luma)

    def _seen(self, given: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The given planes that are followed; of each patch its mean, the norm of its detail, the detail's variance."""
        seen = given[:, self.follows]
        luma = self.patches.means(seen)
        detail = self._detail(seen, luma)
        within = self.patches.means(detail * detail)
        return seen, luma, self.size * torch.sqrt(within + NOISE**2), within

    def _detail(self, seen: Tensor, luma: Tensor) -> Tensor:
        """What differs from the patches' means; products of it lose nothing to large numbers that cancel."""
        return seen - self.patches.spread(luma)

    def _expected(self, means: Tensor, luma: Tensor, within: Tensor) -> Tensor:
        """Slopes by regression of the means of 3x3 patches on those of the given picture."""
        mine, other = self._mean(means), self._mean(luma)
        variance = self._mean(luma * luma) - other * other
        return (self._mean(luma * means) - mine * other) / (variance + WITHIN * self._mean(within) + FLOOR)

    def _mean(self, x: Tensor) -> Tensor:
        return F.conv2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), self.around, groups=x.shape[1])

    def _made(self, means: Tensor, slopes: Tensor, seen: Tensor, luma: Tensor) -> Tensor:
        return self._between(slopes) * seen + self._between(means - slopes * luma)

    def _between(self, x: Tensor) -> Tensor:
        """Numbers of patches (B,T,h,w), interpolated between their centres: (B,T,H,W)."""
        padded = F.pad(x, (1, 1, 1, 1), mode="replicate")
        edge = self.size + self.size // 2
        return F.conv_transpose2d(padded, self.ramp, stride=self.size, padding=edge, groups=x.shape[1])


class Quarters(nn.Module):
    """What follows the detail of each block along a basis function of norm 1, or less where there is little detail."""

    def __init__(self, size: int, target: int, given: int) -> None:
        """As of `Surface`, but `size` is that of these smaller blocks."""
        super().__init__()
        self.size, self.follows = size, [plane % given for plane in range(target)]
        self.blocks = Blocks(size, max(target, given))

    def basis(self, given: Tensor) -> Tensor:
        """Of given planes (B,G,H,W), sides whole blocks: (B,T,H,W)."""
        detail = given - self.blocks.spread(self.blocks.means(given))
        energy = self.blocks.sums(detail * detail) + (self.size * NOISE) ** 2
        return (detail / torch.sqrt(self.blocks.spread(energy)))[:, self.follows]


class Following(nn.Module):
    """A surface by patches, and quarters of them in what is left: 6 T coefficients for each patch of T planes."""

    four: Tensor

    def __init__(self, patch: int, target: int, given: int) -> None:
        super().__init__()
        self.surface, self.quarters = Surface(patch, target, given), Quarters(patch // 2, target, given)
        self.planes, self.channels = target, 6 * target
        one_each = torch.eye(4).view(4, 1, 2, 2).repeat(target, 1, 1, 1)  # a pixel unshuffle, as a convolution
        self.register_buffer("four", one_each, persistent=False)

    def coefficients(self, target: Tensor, given: Tensor) -> tuple[Tensor, Tensor]:
        """Of the target's planes (B,T,H,W) less their base, (B,6T,H/patch,W/patch): means, slopes, quarters; and what
        they leave, (B,T,H,W).
        """
        means, slopes, left = self.surface.coefficients(target, given)
        basis, blocks = self.quarters.basis(given), self.quarters.blocks
        quarters = blocks.sums(left * basis)
        left = left - blocks.spread(quarters) * basis
        four = F.conv2d(quarters, self.four, stride=2, groups=self.planes)
        return torch.cat([means, slopes, four], 1), left

    def forward(self, coefficients: Tensor, given: Tensor) -> Tensor:
        """What coefficients stand for, (B,T,H,W)."""
        means, slopes, quarters = coefficients.split([self.planes, self.planes, 4 * self.planes], 1)
        fine = self.quarters.blocks.spread(F.pixel_shuffle(quarters, 2)) * self.quarters.basis(given)
        return self.surface(means, slopes, given) + fine
