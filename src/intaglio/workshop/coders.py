"""The coders of the workshop: noise while training, rounding at its end and for validation; all sum bits."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from intaglio.traversal import GROUPS, Coder, subset
from intaglio.workshop.bounds import round_ste
from intaglio.workshop.priors import gaussian_bits


class _Summing(Coder[Tensor]):
    """Sums bits, (B,), as the traversal goes."""

    def __init__(self, channels: int) -> None:
        """`channels`: M, the number of channels of y."""
        self.channels = channels
        self.bits: Tensor | float = 0.0

    @abstractmethod
    def _code(self, value: Tensor, index: Tensor) -> Tensor:
        """Charges a latent minus its mean; returns it quantised."""

    def _charge(self, value: Tensor, index: Tensor) -> None:
        self.bits = self.bits + gaussian_bits(value, index.expand_as(value)).sum((1, 2, 3))

    def factorized(self, z: Tensor | None, rows: Tensor) -> Tensor:
        assert z is not None
        return self._code(z, rows)

    def empty_y(self, side: Tensor) -> Tensor:
        return side.new_zeros((side.shape[0], self.channels, *side.shape[2:]), dtype=torch.float32)

    def gaussian(self, y: Tensor | None, y_hat: Tensor, params: tuple[Tensor, Tensor], step: int) -> Tensor:
        assert y is not None
        loc, index = params
        parts = subset(self.channels, step)
        value = self._code(torch.cat([y[part] for part in parts], 1) - loc, index) + loc
        y_hat = y_hat.clone()
        size = self.channels // GROUPS
        for group, part in enumerate(parts):
            y_hat[part] = value[:, group * size : (group + 1) * size]
        return y_hat


class Noise(_Summing):
    """Charges the latent plus noise U(-1/2, 1/2); hands on the latent rounded straight through."""

    def _code(self, value: Tensor, index: Tensor) -> Tensor:
        self._charge(value + (torch.rand_like(value) - 0.5), index)
        return round_ste(value)


class Hard(_Summing):
    """Charges and hands on the latent rounded straight through: what the codec will do, for a frozen analysis."""

    def _code(self, value: Tensor, index: Tensor) -> Tensor:
        rounded = round_ste(value)
        self._charge(rounded, index)
        return rounded


class Round(_Summing):
    """Rounds the latent and its table's row; charges what is left of both."""

    def _code(self, value: Tensor, index: Tensor) -> Tensor:
        rounded = torch.floor(value + 0.5)
        self._charge(rounded, torch.floor(index + 0.5))
        return rounded
