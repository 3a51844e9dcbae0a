"""Gains that travel in the side information: where y is coded more finely, and where more coarsely.

The last BANDS channels of side information tell one gain for each band of channels of y at each of its positions. Code
A, a whole number 0..255, times 2^shift, at most 256, makes a: y is multiplied by 2^((a - 128) / 64) before it is coded,
and y_hat by the inverse after. `shift` (199 rates) is what the side information has been coarsened by at that rate.
Each is one product of float32 with a number of a table, so every machine finds the same y_hat. Means and scales are
those of y with its gain.

A step that depends on what is around it is what measures of perceived quality ask for (contrast masking); steps told by
a hyperprior: Li et al. 2022 (DCVC-HEM, arXiv 2207.05894).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from intaglio.errors import ArgumentError
from intaglio.quality import RATES
from intaglio.traversal import GROUPS, Layout

Floats = NDArray[np.float32]

ARRAY = "gains.shift"  # of a model file; models that have it have gains
BANDS = 4
ENDS = 1 / 24, 1 / 6, 1 / 2, 1.0  # of the bands, within each group of channels: 4, 16, 48 and 96 of 96
MOST, NONE, OCTAVE = 256, 128, 64  # the largest a, the one that stands for 1, and how many double it
MAX_SHIFT = 7


def bands(layout: Layout) -> NDArray[np.int64]:
    """The band of each channel of y, (M,). Raises ArgumentError unless the layout is "quad"."""
    if layout.order != "quad":
        raise ArgumentError(f"gains are for latents of the order 'quad', not {layout.order!r}")
    size = layout.channels // GROUPS
    place = (np.arange(layout.channels) % size + 0.5) / size
    return np.searchsorted(np.array(ENDS), place).astype(np.int64)


def table() -> Floats:
    """(2,257): what each a multiplies y by, and y_hat."""
    powers = (np.arange(MOST + 1, dtype=np.float64) - NONE) / OCTAVE
    return np.exp2(np.stack([powers, -powers])).astype(np.float32)


class Gains:
    """The gains of a model."""

    def __init__(self, layout: Layout, shift: NDArray[np.int8]) -> None:
        """`shift`: int8 (199,), 0..7. Raises ArgumentError for another one, or unless the layout is "quad"."""
        if shift.dtype != np.int8 or shift.shape != (RATES,) or shift.min() < 0 or shift.max() > MAX_SHIFT:
            raise ArgumentError(f"{ARRAY} is not int8 ({RATES},), 0 to {MAX_SHIFT}")
        self._bands, self._table, self._shift = bands(layout), table(), shift

    def of(self, side: Floats, rate: int) -> tuple[Floats, Floats]:
        """From side information, whole numbers in float32 (1,S,h,w), to what y and y_hat are multiplied by,
        (1,M,h,w).
        """
        place = np.minimum(side[:, -BANDS:].astype(np.int64) << int(self._shift[rate]), MOST)
        both = self._table[:, place][:, :, self._bands]
        return both[0], both[1]
