"""The coders that need no PyTorch: estimate, encode and decode on frozen tables, in NumPy.

Latents are float32 arrays (1, M, H, W); they travel as int32 symbols with the uint8 row of their table.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intaglio.quantiser import Quantiser, Rounding, rounded
from intaglio.rans import Decoder, Encoder, Tables
from intaglio.traversal import HYPER_SCALE, Coder, Layout

Floats = NDArray[np.float32]
ROUNDING = Rounding()


def take(y: Floats, layout: Layout, step: int) -> Floats:
    """The slice of y (B, M, H, W) that `step` codes."""
    return np.concatenate([y[part] for part in layout.parts(step)], axis=1)


def place(y_hat: Floats, values: Floats, layout: Layout, step: int) -> Floats:
    """Writes `values` to where `take` found them, in place; returns y_hat."""
    start = 0
    for part, width in zip(layout.parts(step), layout.widths(step), strict=True):
        y_hat[part] = values[:, start : start + width]
        start += width
    return y_hat


class Frozen(Coder[Floats]):
    """What the coders on frozen tables share; abstract."""

    def __init__(self, layout: Layout, quantiser: Quantiser = ROUNDING) -> None:
        """`layout`: what each step codes; `quantiser`: of y."""
        self.layout, self.quantiser = layout, quantiser

    @abstractmethod
    def _code(self, symbols: NDArray[np.int32] | None, rows: NDArray[np.uint8]) -> NDArray[np.int32]:
        """Handles one slice; returns the symbols, decoded where they were not given."""

    def _follow(self, rows: NDArray[np.uint8]) -> NDArray[np.int32]:
        """The steps of a slice that a trellis has quantised; only of coders that decode."""
        return self._code(None, rows)

    @abstractmethod
    def _z_grid(self, z: Floats | None) -> tuple[int, int]:
        """Height and width of z."""

    def factorized(self, z: Floats | None, rows: Any) -> Floats:
        height, width = self._z_grid(z)
        full = np.broadcast_to(rows.astype(np.uint8), (1, rows.shape[1], height, width))
        symbols = None if z is None else rounded(z)
        return self._code(symbols, np.ascontiguousarray(full)).astype(np.float32)

    @abstractmethod
    def empty_y(self, y: Floats | None) -> Floats: ...

    def gaussian(self, y: Floats | None, y_hat: Floats, params: tuple[Floats, Any], step: int) -> Floats:
        loc, index = params
        rows = index.astype(np.uint8)
        if y is not None:
            symbols, used, steps = self.quantiser.quantise(take(y, self.layout, step) - loc, rows)
            self._code(symbols, used)
        else:
            steps = self._follow(rows) if self.quantiser.follows else self._code(None, rows)
        return place(y_hat, self.quantiser.offsets(steps) + loc, self.layout, step)


class _Given(Frozen):
    """A coder that is given the latents."""

    def _z_grid(self, z: Floats | None) -> tuple[int, int]:
        assert z is not None
        return z.shape[2], z.shape[3]

    def empty_y(self, y: Floats | None) -> Floats:
        assert y is not None
        return np.zeros_like(y)


class Blind(Frozen):
    """A coder that knows the latents' grid instead of the latents; abstract."""

    def __init__(self, layout: Layout, z_grid: tuple[int, int], quantiser: Quantiser = ROUNDING) -> None:
        """`z_grid`: height and width of z, a quarter of y's, whether the model has a z or not."""
        super().__init__(layout, quantiser)
        self._grid = z_grid

    def _z_grid(self, z: Floats | None) -> tuple[int, int]:
        return self._grid

    def empty_y(self, y: Floats | None) -> Floats:
        height, width = (HYPER_SCALE * side for side in self._grid)
        return np.zeros((1, self.layout.channels, height, width), np.float32)


class Round(_Given):
    """Rounds, and sums the bits that the frozen tables charge (`bits`, a float)."""

    def __init__(self, layout: Layout, tables: Tables, quantiser: Quantiser = ROUNDING) -> None:
        super().__init__(layout, quantiser)
        self.tables, self.bits = tables, 0.0

    def _code(self, symbols: NDArray[np.int32] | None, rows: NDArray[np.uint8]) -> NDArray[np.int32]:
        assert symbols is not None
        self.bits += float(self.tables.bits(symbols, rows).sum())
        return symbols


class Encode(_Given):
    """Rounds and collects the slices; `finish()` returns the coded bytes (rANS is a stack: it codes backwards, at the
    end).
    """

    def __init__(self, layout: Layout, tables: Tables, quantiser: Quantiser = ROUNDING) -> None:
        super().__init__(layout, quantiser)
        self._encoder = Encoder(tables)

    def _code(self, symbols: NDArray[np.int32] | None, rows: NDArray[np.uint8]) -> NDArray[np.int32]:
        assert symbols is not None
        self._encoder.push(symbols, rows)
        return symbols

    def finish(self) -> bytes:
        """The tile's payload."""
        return self._encoder.finish()


class Decode(Blind):
    """Pulls the slices from a payload; `finish()` checks that it ended where and how it must (else FormatError)."""

    def __init__(
        self, layout: Layout, tables: Tables, payload: bytes, z_grid: tuple[int, int], quantiser: Quantiser = ROUNDING
    ) -> None:
        super().__init__(layout, z_grid, quantiser)
        self._decoder = Decoder(payload, tables)

    def _code(self, symbols: NDArray[np.int32] | None, rows: NDArray[np.uint8]) -> NDArray[np.int32]:
        return self._decoder.pull(rows)

    def _follow(self, rows: NDArray[np.uint8]) -> NDArray[np.int32]:
        return self._decoder.follow(rows)

    def finish(self) -> None:
        """Raises FormatError if the payload is longer than its symbols or ends wrongly."""
        self._decoder.finish()
