"""The scale grid: which standard deviation each Gaussian table stands for.

A table's row is a rounded logarithm: row = round(log(scale / SCALE_MIN) / LOG_STEP), clipped to
0..SCALES-1, so the edge between two rows is the geometric mean of their scales. The formulas need nothing
but these constants; code that works on other arrays than NumPy's repeats them.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from intaglio.errors import ArgumentError

SCALE_MIN = 0.11  # below it a rounded Gaussian is zero but once in 180,000 times: nothing left to save
SCALE_MAX = 128.0  # the low channels at the top quality
SCALES = 64
LOC_STEPS = 16  # means are multiples of 1/16, and so are the steps of a trellis
LOG_STEP = math.log(SCALE_MAX / SCALE_MIN) / (SCALES - 1)  # log ratio of neighbouring scales


def scale_grid() -> NDArray[np.float64]:
    """Scales of all rows: float64 (SCALES,), log-spaced from SCALE_MIN to SCALE_MAX."""
    return index_to_scale(np.arange(SCALES))


def index_to_scale(index: ArrayLike) -> NDArray[np.float64]:
    """Scale at a position of the grid, SCALE_MIN * exp(index * LOG_STEP): float64, same shape; whole
    numbers are rows."""
    return np.asarray(SCALE_MIN * np.exp(np.asarray(index, dtype=np.float64) * LOG_STEP))


def scale_to_index(scale: ArrayLike) -> NDArray[np.float64]:
    """Position of a scale on the grid, log(scale / SCALE_MIN) / LOG_STEP: float64, same shape, neither
    rounded nor clipped.

    Raises ArgumentError if a scale is not finite and above zero.
    """
    scale = np.asarray(scale, dtype=np.float64)
    if not np.all((scale > 0) & (scale < math.inf)):
        raise ArgumentError(f"scale, of shape {scale.shape}: every one must be a finite number above zero")
    return np.asarray(np.log(scale / SCALE_MIN) / LOG_STEP)


def dead_zones(error_cost: float) -> NDArray[np.float32]:
    """How far from its mean a latent may be, in quantisation steps, for an encoder to take it for the mean: float32
    (SCALES,), for each row, 0.5 (which is rounding) to 1.5.

    `error_cost`: bits that a squared error of one step is worth, above 0. Of v between 0 and 1.5, 0 is then better than
    1 where `bits(1) - bits(0) > error_cost (v^2 - (1 - v)^2)`; bits by the discretised Gaussian of the row's scale.
    Source: rate-distortion optimised quantisation, Sullivan and Wiegand 1998.
    """
    zones = []
    for scale in scale_grid():
        beyond, far = (math.erfc(edge / (scale * math.sqrt(2.0))) for edge in (0.5, 1.5))
        bits = math.log2(1.0 - beyond) - math.log2(0.5 * (beyond - far))
        zones.append(0.5 + bits / (2.0 * error_cost))
    return np.clip(np.array(zones, np.float32), 0.5, 1.5)
