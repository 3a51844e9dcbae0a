"""Tables of a trellis, fitted to the symbols that it chooses: they are not those of a rounded Gaussian."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import cast

import numpy as np
from numpy.typing import NDArray

from intaglio import codec
from intaglio.bundle import Model
from intaglio.coders import ROUNDING, Round
from intaglio.modelfile import ModelFile
from intaglio.pmf import TOTAL, gaussian
from intaglio.quality import MAX_RATE
from intaglio.quantiser import MOST_CERTAIN, TRELLIS_TABLES, Quantiser, cells, settled
from intaglio.rans import Tables
from intaglio.scales import SCALES, scale_grid
from intaglio.traversal import Layout

ROUNDS = 3  # each codes with the tables of the one before
RATES = (10, 45, 80, 115, 150, 188)
KNOWN = 200.0  # symbols that the unfitted table counts as, beside those that were seen
REACH = 1024  # symbols beyond it keep the unfitted probabilities

Progress = Callable[[int, int], None]


class _Counted(Round):
    """Counts the symbols of each table of y."""

    def __init__(self, layout: Layout, tables: Tables, quantiser: Quantiser = ROUNDING) -> None:
        super().__init__(layout, tables, quantiser)
        self.found = np.zeros((TRELLIS_TABLES, 2 * REACH + 1))

    def _code(self, symbols: NDArray[np.int32] | None, rows: NDArray[np.uint8]) -> NDArray[np.int32]:
        assert symbols is not None
        seen = (rows < TRELLIS_TABLES) & (np.abs(symbols) <= REACH)
        cell = rows[seen].astype(np.int64) * (2 * REACH + 1) + symbols[seen] + REACH
        self.found += np.bincount(cell, minlength=self.found.size).reshape(self.found.shape)
        return symbols


def fitted(file: ModelFile, pictures: Sequence[NDArray[np.uint8]], progress: Progress | None = None) -> ModelFile:
    """The model file with tables fitted to pictures, uint8 (H,W,3), that it codes; it must have a trellis.

    progress: called with the pictures coded and those to be coded in all. Raises ModelError, ImageError.
    """
    done, total = 0, ROUNDS * len(pictures)
    for _ in range(ROUNDS):
        model, counts = Model(file), np.zeros((TRELLIS_TABLES, 2 * REACH + 1))
        rates = RATES if model.fixed_rate is None else (model.fixed_rate,)
        for pixels in pictures:
            for rate in rates:
                header = codec.header_for(pixels, min(rate, MAX_RATE), model)
                for coder in codec.walk_tiles(pixels, header, model, _Counted):
                    counts += cast(_Counted, coder).found
            done += 1
            if progress:
                progress(done, total)
        arrays = {f"tables.{name}": each for name, each in _tables(counts, file.config["trellis"]).to_arrays().items()}
        file = replace(file, arrays=dict(file.arrays) | arrays)
    return file


def _tables(counts: NDArray[np.float64], size: int) -> Tables:
    """As `first_tables`, with what was counted, (128, 2 REACH + 1); symbols as likely above 0 as below it."""
    found = []
    for row, seen in enumerate(counts):
        first, before = cells(size, float(scale_grid()[row % SCALES]), row >= SCALES)
        seen = 0.5 * (seen + seen[::-1])[max(0, REACH + first) : REACH - first + 1]
        both = KNOWN * before
        margin = (len(both) - len(seen)) // 2
        both[margin : len(both) - margin] += seen
        both /= both.sum()
        centre = len(both) // 2
        for side in (centre - 1, centre + 1) if row >= SCALES else ():
            both[side] = max(both[side], MOST_CERTAIN / TOTAL)
        found.append(settled(first, both / both.sum()))
    return Tables.from_pmfs([*found, *(gaussian(float(scale)) for scale in scale_grid())])
