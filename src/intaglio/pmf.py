"""Probabilities to integer frequencies: what the tables of `intaglio.rans` are made with. Never used at decode time."""

from __future__ import annotations

import heapq
import math

import numpy as np
from numpy.typing import NDArray

from intaglio.errors import ArgumentError

PRECISION = 15
TOTAL = 1 << PRECISION  # the frequencies of a table sum to this
CUT = 0.4  # an outer cell that deserves less of a slot becomes an escape: least cost over scales.scale_grid()


def gaussian(scale: float) -> tuple[int, NDArray[np.float64]]:
    """Probabilities of the integers -reach..reach under N(0, scale), where reach is beyond the last cell
    worth a slot."""
    unit = 1.0 / (scale * math.sqrt(2.0))
    half: list[float] = []
    while not half or half[-1] * TOTAL >= CUT:
        y = len(half)
        half.append(0.5 * (math.erfc((y - 0.5) * unit) - math.erfc((y + 0.5) * unit)))
    return 1 - len(half), np.array(half[:0:-1] + half)


def quantise(first: int, probabilities: NDArray[np.float64]) -> tuple[int, NDArray[np.int64]]:
    """First symbol and frequencies (escape last) of one table; see `rans.Tables.from_pmfs`. Raises ArgumentError."""
    p = probabilities
    if p.ndim != 1 or not np.all(np.isfinite(p)) or np.any(p < 0) or p.sum() > 1 + 1e-6 or not p.any():
        raise ArgumentError("tables: probabilities must be numbers >= 0 with a sum above 0 and at most 1")
    worthy = np.flatnonzero(p * TOTAL >= CUT)
    low, high = (int(worthy[0]), int(worthy[-1])) if len(worthy) else (int(p.argmax()), int(p.argmax()))
    p = p[low : high + 1]
    if len(p) >= TOTAL:
        raise ArgumentError(f"tables: {len(p)} cells are too many, {TOTAL - 1} are possible")
    escape = max(0.0, 1.0 - float(p.sum()))
    if np.array_equal(p, p[::-1]):  # quantise one half and mirror it
        half = (len(p) + 1) // 2
        copies = np.full(half, 2)
        copies[half - 1] = 2 - len(p) % 2
        cells, last = _round(p[:half], escape, copies)
        cells = np.concatenate([cells, cells[: len(p) - half][::-1]])
    else:
        cells, last = _round(p, escape, np.ones(len(p), dtype=np.int64))
    return int(first) + low, np.append(cells, last)


def _round(p: NDArray[np.float64], escape: float, copies: NDArray[np.int64]) -> tuple[NDArray[np.int64], int]:
    """Frequencies >= 1 of cells (each standing `copies` times, 1 or 2) and of the escape, together 32768.

    Starts from rounding down, then moves single slots where the cross-entropy, -sum p log f, gains most or
    loses least.
    """
    p, copies = np.append(p, escape), np.append(copies, 1)
    f = np.maximum(np.floor(p * TOTAL).astype(np.int64), 1)
    excess = int((f * copies).sum()) - TOTAL
    queue = _queue(_loss(p, f))
    while excess > 0:
        _, cell = heapq.heappop(queue)
        f[cell] -= 1
        excess -= int(copies[cell])
        heapq.heappush(queue, (_loss(p[cell, None], f[cell, None])[0], cell))
    queue = _queue(-p * np.log1p(1 / f))
    while excess < 0:
        _, cell = heapq.heappop(queue)
        if copies[cell] > -excess:  # too large a step, now and later
            continue
        f[cell] += 1
        excess += int(copies[cell])
        heapq.heappush(queue, ((-p[cell, None] * np.log1p(1 / f[cell, None]))[0], cell))
    return f[:-1], int(f[-1])


def _loss(p: NDArray[np.float64], f: NDArray[np.int64]) -> NDArray[np.float64]:
    """What taking a slot from a cell costs; the last one cannot be taken."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(f > 1, p * np.log(f / (f - 1)), np.inf)


def _queue(values: NDArray[np.float64]) -> list[tuple[float, int]]:
    queue = [(value, cell) for cell, value in enumerate(values.tolist())]
    heapq.heapify(queue)
    return queue
