"""The coders of the workshop: what stands for rounding while training, and rounding for validation; all sum bits.

One for each `[train] quantiser` of a configuration, and `Round`:

    coder   the rate sees                    the synthesis sees               quantiser
    Mixed   y + U(-1/2, 1/2)                 round(y), straight through       mixed
    Slope   round(y), where y itself feels   round(y), straight through       slope
            the mean cost of y + U(...)
    Noise   y + U(-1/2, 1/2)                 the same                         noise (Ballé et al. 2017, 2018)
    Hard    round(y), straight through       the same                         straight-through; last phase of all
    Dither  round(y - u) + u, one u          the same                         universal (Ziv 1985)
    Soft    soft_round(y) + U(-1/2, 1/2)     the mean of y given that         soft (Agustsson and Theis 2020)
    Round   round(y)                         the same

Where the model has dead zones, whatever is rounded there is 0 within them, as in the codec.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from intaglio.scales import dead_zones
from intaglio.traversal import Coder, Layout
from intaglio.workshop.priors import gaussian_bits
from intaglio.workshop.quantise import noise, soft_round, soft_round_mean, straight_through, universal

EDGE = 1e-6  # keeps logarithms finite


class Likelihood(Protocol):
    """What a slice is charged by, in place of the rows of Gaussian tables."""

    def bits(self, value: Tensor, /) -> Tensor:
        """Bits of a slice less its means, (B,C,H,W), of the same shape."""
        ...

    def rounded(self) -> Likelihood:
        """What the coder's tables will charge by: parameters rounded as its rows are."""
        ...


class Rows:
    """Rows of Gaussian tables, real while training: `index`, broadcastable to the slice, on the grid of scales."""

    def __init__(self, index: Tensor) -> None:
        self.index = index

    def bits(self, value: Tensor) -> Tensor:
        """As `Likelihood.bits`."""
        return gaussian_bits(value, self.index.expand_as(value))

    def rounded(self) -> Likelihood:
        """With whole rows."""
        return Rows(torch.floor(self.index + 0.5))


def closed_bits(value: Tensor) -> Tensor:
    """`max(0, log2 |value|)`, any shape: about the digits of a latent, without a density. No gradient below 1."""
    return torch.log2(value.abs().clamp_min(1.0))


class Summing(Coder[Tensor]):
    """Abstract. Sums as the traversal goes, (B,) each: `bits` by the densities, and with `apart` `closed`, which is y's
    `closed_bits`.

    With `apart`, no gradient of `bits` reaches y (if the net hides it from the other parts, too, as
    `intaglio.workshop.objective.Apart` does), and none of `closed` or of what is handed on reaches the means.
    """

    zoned: ClassVar[tuple[bool, bool]] = False, False  # whether what is charged, and handed on, is 0 in a dead zone

    def __init__(self, layout: Layout, apart: bool = False, error_cost: float = 0.0) -> None:
        """`layout`: what each step codes; `error_cost`: as of `intaglio.scales.dead_zones`, 0 for none."""
        self.layout, self.apart = layout, apart
        self.zones = torch.from_numpy(dead_zones(error_cost)) if error_cost else None
        self.bits: Tensor | float = 0.0
        self.closed: Tensor | float = 0.0

    @abstractmethod
    def _quantise(self, value: Tensor) -> tuple[Tensor, Tensor]:
        """A slice less its means as it is charged, and as it is handed on."""

    def _charge(self, charged: Tensor, likelihood: Likelihood, handed: Tensor) -> None:
        """Adds the bits of a slice, which is handed on as `handed`."""
        self.bits = self.bits + likelihood.bits(charged).sum((1, 2, 3))

    def factorized(self, z: Tensor | None, rows: Tensor | Likelihood) -> Tensor:
        """As `Coder.factorized`, with real rows or what stands for them."""
        assert z is not None
        charged, handed = self._quantise(z)
        self._charge(charged, _likelihood(rows), handed)
        return handed

    def empty_y(self, y: Tensor | None) -> Tensor:
        """As `Coder.empty_y`."""
        assert y is not None
        return torch.zeros_like(y, dtype=torch.float32)

    def gaussian(
        self, y: Tensor | None, y_hat: Tensor, params: tuple[Tensor, Tensor | Likelihood], step: int
    ) -> Tensor:
        """As `Coder.gaussian`, with real rows or what stands for them."""
        loc, index = params
        known = loc.detach() if self.apart else loc
        value = self._slice_of(y, step) - known
        charged, handed = self._zeroed(value, index, self._quantise(value))
        if self.apart:
            self.closed = self.closed + closed_bits(charged).sum((1, 2, 3))
            charged = charged.detach() + (known - loc)  # the same value, whose gradient goes to the mean alone
        self._charge(charged, _likelihood(index), handed)
        return self._placed(y_hat, handed + known, step)

    def _slice_of(self, y: Tensor | None, step: int) -> Tensor:
        assert y is not None
        return torch.cat([y[part] for part in self.layout.parts(step)], 1)

    def _placed(self, y_hat: Tensor, values: Tensor, step: int) -> Tensor:
        """y_hat with a step's slice."""
        y_hat, widths = y_hat.clone(), self.layout.widths(step)
        for part, each in zip(self.layout.parts(step), values.split(widths, 1), strict=True):
            y_hat[part] = each
        return y_hat

    def _zeroed(self, value: Tensor, rows: Tensor | Likelihood, both: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """What is charged and what is handed on, where `zoned` 0 within the zones, with the gradient of `value`."""
        if self.zones is None or not isinstance(rows, Tensor):
            return both
        inside = value.abs() < self.zones.to(value.device)[torch.floor(rows.detach() + 0.5).long()]
        zero = value - value.detach()
        charged, handed = (
            torch.where(inside, zero, each) if zoned else each for each, zoned in zip(both, self.zoned, strict=True)
        )
        return charged, handed


def _likelihood(rows: Tensor | Likelihood) -> Likelihood:
    return Rows(rows) if isinstance(rows, Tensor) else rows


class Mixed(Summing):
    """Charges the latent plus noise U(-1/2, 1/2); hands on the latent rounded straight through."""

    zoned = False, True

    def _quantise(self, value: Tensor) -> tuple[Tensor, Tensor]:
        return noise(value), straight_through(value)


class Slope(Summing):
    """Charges what it hands on, the latent rounded straight through; the latent itself feels the slope of what it would
    cost in the mean with noise U(-1/2, 1/2): the difference of the costs half a step above it and below.

    Tables are then fitted to what is coded, and no noise is in the gradient.
    """

    zoned = False, True

    def _quantise(self, value: Tensor) -> tuple[Tensor, Tensor]:
        return value, straight_through(value)

    def _charge(self, charged: Tensor, likelihood: Likelihood, handed: Tensor) -> None:
        bits = felt(charged, likelihood) + likelihood.bits(handed.detach())
        self.bits = self.bits + bits.sum((1, 2, 3))


def felt(value: Tensor, likelihood: Likelihood) -> Tensor:
    """Zero, with the slope of what a latent, any shape, would cost in the mean with noise U(-1/2, 1/2)."""
    held = value.detach()
    with torch.no_grad():
        slope = likelihood.bits(held + 0.5) - likelihood.bits(held - 0.5)
    return slope * (value - held)


class Noise(Summing):
    """Charges and hands on the latent plus noise U(-1/2, 1/2)."""

    def _quantise(self, value: Tensor) -> tuple[Tensor, Tensor]:
        noisy = noise(value)
        return noisy, noisy


class Hard(Summing):
    """Charges and hands on the latent rounded straight through: what the codec will do, for a frozen analysis."""

    zoned = True, True

    def _quantise(self, value: Tensor) -> tuple[Tensor, Tensor]:
        rounded = straight_through(value)
        return rounded, rounded


class Dither(Summing):
    """Charges and hands on the latent rounded on a grid that one draw shifts, for all latents of a slice alike."""

    def _quantise(self, value: Tensor) -> tuple[Tensor, Tensor]:
        shifted = universal(value)
        return shifted, shifted


class Soft(Summing):
    """Charges the latent softly rounded plus noise U(-1/2, 1/2); hands on what the latent was, in the mean."""

    alpha = 1.0  # hardness of the rounding: 0 is none

    def _quantise(self, value: Tensor) -> tuple[Tensor, Tensor]:
        noisy = noise(soft_round(value, self.alpha))
        return noisy, soft_round_mean(noisy, self.alpha)


class Gumbel(Summing):
    """Charges and hands on a mix of the whole numbers around each latent, by weights that are drawn: nearly one of them
    where the `temperature` is low. Stochastic Gumbel annealing: Yang, Bamler and Mandt 2020 (arXiv 2006.04240).
    """

    temperature = 0.5

    def _quantise(self, value: Tensor) -> tuple[Tensor, Tensor]:
        below = torch.floor(value)
        far = torch.stack([value - below, below + 1.0 - value], -1).clamp(EDGE, 1.0 - EDGE)
        drawn = -torch.log(-torch.log(torch.rand_like(far).clamp(EDGE, 1.0 - EDGE)))
        weights = torch.softmax((drawn - torch.atanh(far) / self.temperature) / self.temperature, -1)
        mixed = below + weights[..., 1]
        return mixed, mixed


class Round(Summing):
    """Rounds the latent and its table's row; charges what the tables will."""

    zoned = True, True

    def _quantise(self, value: Tensor) -> tuple[Tensor, Tensor]:
        rounded = torch.floor(value + 0.5)
        return rounded, rounded

    def _charge(self, charged: Tensor, likelihood: Likelihood, handed: Tensor) -> None:
        super()._charge(charged, likelihood.rounded(), handed)


QUANTISERS: dict[str, type[Mixed | Slope | Noise | Hard | Dither | Soft]] = {
    "mixed": Mixed,
    "slope": Slope,
    "noise": Noise,
    "straight-through": Hard,
    "universal": Dither,
    "soft": Soft,
}
