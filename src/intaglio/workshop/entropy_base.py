"""What entropy models share: rows of distributions, and how they become the coder's integers."""

from __future__ import annotations

import copy
import numbers
from abc import ABC, abstractmethod
from typing import cast

import torch
from torch import Tensor, nn

from intaglio.errors import ArgumentError
from intaglio.rans import MAX_TABLES, Tables
from intaglio.workshop.arguments import one_line
from intaglio.workshop.densities import check_tensor, full, to_bits

LOC_STEPS = 16  # per unit, of the medians of factorized models
_TAIL = 1e-6  # share of a distribution, on each side, in which no cell is worth a slot of the table
_WIDEST = 1 << 16  # cells to compute for a table; twice what it can have
_BLOCK = 4096  # cells to compute at once


class EntropyModel(nn.Module, ABC):
    """A table of distributions. Abstract: `Conditional` is told the row of each value, `Factorized` its channel."""

    def __init__(self, rows: int) -> None:
        """`rows`: N, how many distributions there are. Raises ArgumentError unless it is 1 to 256."""
        super().__init__()
        if not isinstance(rows, numbers.Integral) or isinstance(rows, bool) or not 1 <= rows <= MAX_TABLES:
            wanted = f"1 to {MAX_TABLES} are possible, a whole number"
            raise ArgumentError(f"an entropy model of {one_line(rows)} rows: {wanted}")
        self.rows = int(rows)

    @abstractmethod
    def _log_cells(self, x: Tensor) -> Tensor:
        """Natural log likelihood of the unit cells around x, (N,n), row by row."""

    @abstractmethod
    def _cdf(self, x: Tensor) -> Tensor:
        """Distribution functions at x, (N,n), row by row."""

    def _origin(self) -> Tensor:
        """What symbol 0 of each row stands for, (N,)."""
        return torch.zeros(self.rows, dtype=torch.float64)

    @torch.no_grad()
    def freeze(self) -> Tables:
        """The coder's tables, one per row, computed in float64 on the CPU.

        Outer cells worth less than 0.4 of a slot are left to the escape, see `Tables.from_pmfs`. Raises ArgumentError
        if a parameter is not finite or a row is too wide for a table.
        """
        model = self._double()
        origin = model._origin()
        low = torch.floor(model._quantile(_TAIL) - origin)
        spans = torch.ceil(model._quantile(1.0 - _TAIL) - origin) - low + 1.0
        widest = int(spans.argmax())
        if spans[widest] > _WIDEST:
            wanted = f"at most {_WIDEST} can be put into a table; train it, or start with a smaller scale"
            raise ArgumentError(
                f"row {widest} of {self.rows} spreads over {float(spans[widest]):.3g} symbols; {wanted}"
            )
        blocks = torch.arange(float(spans.max()), dtype=torch.float64).split(_BLOCK)
        cells = torch.cat([model._log_cells((origin + low)[:, None] + block) for block in blocks], 1).exp().numpy()
        return Tables.from_pmfs(
            [(int(first), row[: int(span)]) for first, span, row in zip(low, spans, cells, strict=True)]
        )

    def _double(self) -> EntropyModel:
        return copy.deepcopy(self).double().cpu()

    def _quantile(self, share: float) -> Tensor:
        """Where each distribution function reaches `share`, (N,); narrows a bracket down, 32 parts at a time."""
        low, high = -torch.ones(self.rows, 1, dtype=torch.float64), torch.ones(self.rows, 1, dtype=torch.float64)
        if not bool(self._cdf(low).isfinite().all()):
            row = int((~self._cdf(low).isfinite()).nonzero()[0, 0])
            raise ArgumentError(f"row {row} of {self.rows}: its parameters are not finite")
        for _ in range(32):
            below, above = self._cdf(low) > share, self._cdf(high) < share
            if not bool((below | above).any()):
                break
            low, high = torch.where(below, 4.0 * low, low), torch.where(above, 4.0 * high, high)
        parts = torch.linspace(0.0, 1.0, 33, dtype=torch.float64)
        for _ in range(12):
            points = low + (high - low) * parts
            above = (self._cdf(points) < share).sum(1, keepdim=True).clamp(1, 32)
            low, high = points.gather(1, above - 1), points.gather(1, above)
        return high[:, 0]


class Conditional(EntropyModel):
    """An entropy model that is told each value's row; abstract."""

    @abstractmethod
    def bits(self, value: Tensor, index: Tensor) -> Tensor:
        """Cost of `value` (a latent less its mean, any shape) in bits; `index` is broadcastable to it."""

    @abstractmethod
    def row(self, index: Tensor) -> Tensor:
        """The coder's row for an index, uint8, same shape. Raises ArgumentError for an index that has none."""


class Factorized(EntropyModel):
    """An entropy model whose row is the channel; abstract.

    Latents are quantised as `floor(y - loc + 1/2) + loc`; the tables code the whole numbers y_hat - loc.
    """

    def bits(self, value: Tensor) -> Tensor:
        """Cost of latents (B,C,...), as they are, in bits, same shape. Raises ArgumentError for another C."""
        check_tensor("value", value)
        if value.ndim < 2 or value.shape[1] != self.rows:
            raise ArgumentError(f"value of shape {tuple(value.shape)} must be (B, {self.rows}, ...)")
        turned = full(value).transpose(0, 1)
        with torch.autocast(value.device.type, enabled=False):
            flat = turned.reshape(self.rows, -1).to(next(self.parameters()).dtype)
            return to_bits(self._log_cells(flat)).reshape(turned.shape).transpose(0, 1)

    @torch.no_grad()
    def loc(self) -> Tensor:
        """The channels' medians, rounded to 1/16: float32 (C,), no gradient; searched for in float64 on the CPU."""
        found = cast("Factorized", self._double())._origin()
        return found.to(next(self.parameters()).device, torch.float32)

    def _origin(self) -> Tensor:
        return torch.floor(self._median() * LOC_STEPS + 0.5) / LOC_STEPS

    def _median(self) -> Tensor:
        return self._quantile(0.5)
