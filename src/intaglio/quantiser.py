"""Latents to symbols and back: rounding, or a trellis; what a model file's configuration says of it.

A trellis has two quantisers. That of the even states has whole numbers of double steps, that of the odd ones 0 and the
odd numbers of steps, and every symbol moves the state, so that a decoder knows which of the two comes next
(docs/format.md, "Trellis"). The encoder searches for the cheapest path. Together they err as much as rounding to steps
half as wide again, and need fewer bits: Marcellin and Fischer 1990 (trellis-coded quantisation), Schwarz et al. 2019
(dependent quantisation, in VVC).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from intaglio.pmf import TOTAL, gaussian
from intaglio.rans import SURPRISES, Tables
from intaglio.scales import LOC_STEPS, SCALES, dead_zones, scale_grid

if TYPE_CHECKING:
    from intaglio import _native

Floats = NDArray[np.float32]
Symbols = NDArray[np.int32]
Rows = NDArray[np.uint8]

MOST_STEP = 64  # sixteenths of y
MIN_COST, MAX_COST = 1e-3, 1e6  # bits that an error of one unit may be worth, of a trellis at least: beyond any use
MOST_CERTAIN = 0.75 * SURPRISES  # of each of the symbols beside 0, so that their table is never certain
TRELLIS_TABLES = 2 * SCALES  # of even states, then of odd ones


def first_of_z(trellis: Trellis | int | None) -> int:
    """Which table is the first of z's: with a trellis y has its own, otherwise both share the Gaussian ones."""
    return TRELLIS_TABLES if trellis else 0


def rounded(values: Floats) -> Symbols:
    """`floor(v + 1/2)` as int32."""
    return np.floor(values + np.float32(0.5)).astype(np.int32)


class Rounding:
    """To whole numbers; an encoder may have dead zones. Final."""

    follows = False

    def __init__(self, zones: Floats | None = None) -> None:
        """`zones`: float32 (SCALES,), by row of the Gaussian tables, see `intaglio.scales.dead_zones`."""
        self.zones = zones

    def plain(self) -> Rounding:
        """The same without a look at bits."""
        return Rounding()

    def quantise(self, values: Floats, rows: Rows) -> tuple[Symbols, Rows, Symbols]:
        """Latents less their means, and the rows of their tables, both of one shape, to symbols, the tables that these
        are coded with, and steps, all of that shape.
        """
        symbols = rounded(values)
        if self.zones is not None:
            symbols[np.abs(values) < self.zones[rows]] = 0
        return symbols, rows, symbols

    def offsets(self, steps: Symbols) -> Floats:
        """What steps stand for, float32 of their shape."""
        return steps.astype(np.float32)

    def values(self, tables: Tables) -> NDArray[np.float64]:
        """What the cells of all tables stand for, escapes as the symbol after the last, one table after the other."""
        return _symbols(tables).astype(np.float64)


@dataclass(frozen=True, eq=False)
class Trellis:
    """To whole numbers of steps, along the cheapest path. Final.

    tables: the first 128 are those of y, 64 for even states and 64 for odd ones. size: of a step, in sixteenths of y.
    error_cost: bits that a squared error of 1 is worth to the encoder.
    """

    tables: Tables
    size: int
    error_cost: float

    follows = True

    @property
    def step(self) -> np.float32:
        """The size of a step."""
        return np.float32(self.size / LOC_STEPS)

    @cached_property
    def _native(self) -> _native.Trellis:
        from intaglio import _native  # late, as in intaglio.rans

        return _native.Trellis(self.tables.native, float(self.error_cost * self.step**2))

    def plain(self) -> Trellis:
        """As `Rounding.plain`."""
        return Trellis(self.tables, self.size, MAX_COST)

    def quantise(self, values: Floats, rows: Rows) -> tuple[Symbols, Rows, Symbols]:
        """As `Rounding.quantise`; a slice in the order in which it is coded."""
        symbols, steps = np.empty(values.shape, np.int32), np.empty(values.shape, np.int32)
        used = np.empty(values.shape, np.uint8)
        latents, places = np.ascontiguousarray(values / self.step, np.float32), np.ascontiguousarray(rows)
        out = symbols.reshape(-1), used.reshape(-1), steps.reshape(-1)
        self._native.quantise(latents.reshape(-1), places.reshape(-1), *out)
        return symbols, used, steps

    def offsets(self, steps: Symbols) -> Floats:
        """As `Rounding.offsets`."""
        return steps.astype(np.float32) * self.step

    def values(self, tables: Tables) -> NDArray[np.float64]:
        """As `Rounding.values`; of tables that are not of y, the symbols."""
        symbols = _symbols(tables).astype(np.float64)
        row = np.repeat(np.arange(len(tables)), tables.sizes)
        steps = 2.0 * symbols - np.where(row < SCALES, 0.0, np.sign(symbols))
        return np.where(row < TRELLIS_TABLES, steps * self.step, symbols)


Quantiser = Rounding | Trellis


def _symbols(tables: Tables) -> NDArray[np.int64]:
    starts = np.cumsum(tables.sizes, dtype=np.int64) - tables.sizes
    return np.arange(int(tables.sizes.sum())) - np.repeat(starts - tables.first, tables.sizes)


def of_config(config: Mapping[str, Any], tables: Tables, gaussian: bool) -> Quantiser:
    """The quantiser of a model file. Raises ValueError for what cannot be.

    gaussian: whether y is coded with tables by scale.
    """
    cost, size = config.get("error_cost", 0.0), config.get("trellis", 0)
    if isinstance(cost, bool) or not isinstance(cost, int | float) or not 0.0 <= cost < MAX_COST:
        raise ValueError(f"error_cost is {cost!r}, not a number from 0 to below {MAX_COST:g}")
    if (cost or size) and not gaussian:
        name = "trellis" if size else "error_cost"
        raise ValueError(f"{name} is {config[name]!r}, for a model whose latents have no Gaussian tables")
    if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= MOST_STEP:
        raise ValueError(f"trellis is {size!r}, not a whole number from 0 to {MOST_STEP}")
    if not size:
        return Rounding(dead_zones(cost) if cost else None)
    if cost < MIN_COST:
        raise ValueError(f"error_cost is {cost!r}; a trellis needs {MIN_COST:g} or more")
    _check_twins(tables)
    return Trellis(tables, size, float(cost))


def _check_twins(tables: Tables) -> None:
    """Raises ValueError unless the tables are what a trellis needs: see docs/format.md."""
    if len(tables) < TRELLIS_TABLES:
        raise ValueError(f"a trellis needs {TRELLIS_TABLES} tables, there are {len(tables)}")
    ends = tables.first.astype(np.int64) + tables.sizes - 1
    if tables.first.min() <= -(2**15) or ends.max() >= 2**15:
        raise ValueError("a trellis needs tables that end within -32767 and 32767, the escape one more symbol")
    certain = tables.certain()
    if np.any(certain[SCALES:TRELLIS_TABLES] & ~certain[:SCALES]):
        raise ValueError("a table of odd states is certain where that of even ones is not")


@lru_cache(maxsize=4)
def first_tables(size: int) -> Tables:
    """The tables of a trellis with steps of `size` sixteenths before any are fitted to what it codes: those of y, even
    states first, then the scale grid's, for z. Cells are bounded midway between their neighbours.
    """
    grid = scale_grid()
    even, odd = ([settled(*cells(size, float(scale), each)) for scale in grid] for each in (False, True))
    return Tables.from_pmfs([*even, *odd, *(gaussian(float(scale)) for scale in grid)])


def settled(first: int, probabilities: NDArray[np.float64]) -> tuple[int, NDArray[np.float64]]:
    """A table that will be certain, with 0 alone: what another symbol costs beside the stream is then estimated as an
    escape, which is close. Any other as it is.
    """
    if probabilities[-first] >= 1.0 - SURPRISES / TOTAL:
        return 0, np.ones(1)
    return first, probabilities


def cells(size: int, scale: float, odd: bool) -> tuple[int, NDArray[np.float64]]:
    """First symbol and probabilities of a table of `first_tables`."""
    reach = max(1, math.ceil(9.0 * scale * LOC_STEPS / (2 * size)))
    symbols = np.arange(reach + 1)
    points = (2 * symbols - odd * np.sign(symbols)) * (size / LOC_STEPS)
    edges = 0.5 * (points[1:] + points[:-1])
    tails = np.array([0.5 * math.erfc(edge / (scale * math.sqrt(2.0))) for edge in edges])
    half = np.append(tails[:-1] - tails[1:], tails[-1])
    if odd:  # lest it be certain where the even one is not
        half[0] = max(half[0], MOST_CERTAIN / TOTAL)
    return -reach, np.concatenate([half[::-1], [1.0 - 2.0 * half.sum()], half])
