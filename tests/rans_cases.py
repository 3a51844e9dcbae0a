"""What the coder's tests share: tables of every kind, symbols of every kind, and how a coder of any kind is called."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

import reference_rans as reference
from intaglio.errors import FormatError
from intaglio.rans import Decoder, Encoder, Tables, implementations
from intaglio.scales import scale_grid

INT32 = np.iinfo(np.int32)
IMPLEMENTATIONS = implementations()
GAUSSIAN = Tables.from_gaussian_scales(scale_grid())

Symbols = NDArray[np.int32]
Indexes = NDArray[np.uint8]
Part = tuple[Symbols, Indexes]  # a slice


def tables_of(*rows: tuple[int, Sequence[int]]) -> Tables:
    """Tables of these first symbols and frequencies."""
    return Tables(
        np.array([first for first, _ in rows], np.int32),
        np.array([len(frequencies) for _, frequencies in rows], np.int32),
        np.concatenate([frequencies for _, frequencies in rows]).astype(np.uint16),
    )


# From 8 slots beside zero downwards a table is certain; one with 9 is coded.
CERTAIN = (0, [32767, 1])
CERTAIN_AT_THE_BOUND = (-3, [1, 2, 1, 32760, 1, 2, 1])
CODED_AT_THE_BOUND = (-3, [1, 2, 1, 32759, 1, 3, 1])

TABLE_SETS = {
    "gaussian": GAUSSIAN,
    "lopsided": tables_of(
        (3, [20000, 3000, 9000, 700, 68]), (-7, [1, 32767]), (0, [1, 1, 32765, 1]), (-40, [*range(1, 255), 383])
    ),
    "far": tables_of(
        (INT32.min, [8000, 24000, 768]),
        (INT32.max - 1, [8000, 24000, 768]),
        (-32768, [16384, 16000, 384]),
        (32766, [16384, 16000, 384]),
        (-32767, [16384, 16000, 384]),
        (100_000, [300] * 109 + [68]),
        (-2, [5000, 6000, 9000, 6000, 5000, 1768]),
        CERTAIN_AT_THE_BOUND,
    ),
    "two cells": tables_of((0, [1, 32767]), (0, [16384, 16384]), (0, [32759, 9]), (5, [32767, 1]), CERTAIN),
    "wide": tables_of((-10_000, [1] * 19_999 + [12_769]), (-16_383, [1] * 32_767 + [1]), (0, [30000, 2768])),
    "certain": tables_of(
        CERTAIN,
        CERTAIN_AT_THE_BOUND,
        (-6, [1, 1, 1, 1, 1, 1, 32761, 1]),
        CODED_AT_THE_BOUND,
        (-1, [9000, 14000, 9000, 768]),
    ),
    "certain only": tables_of(CERTAIN, CERTAIN_AT_THE_BOUND),
    "256 tables": tables_of(*((-1, [1 + row, 32000 - row, 700, 67]) for row in range(256))),
}


def drawn(count: int, rng: np.random.Generator, tables: Tables = GAUSSIAN, far: float = 0.0) -> Part:
    """Symbols distributed as their tables say, the share `far` of them (and the escapes) anywhere in int32."""
    indexes = rng.integers(0, len(tables), count, dtype=np.uint8)
    symbols = rng.integers(INT32.min, INT32.max, count, dtype=np.int32, endpoint=True)
    slots, keep = rng.integers(0, 32768, count), rng.random(count) >= far
    for index, (first, frequencies) in enumerate(reference.rows_of(tables)):
        cells = np.searchsorted(np.cumsum(frequencies), slots, side="right")
        inside = (indexes == index) & (cells < len(frequencies) - 1) & keep
        symbols[inside] = first + cells[inside]
    return symbols, indexes


def cut(part: Part, edges: Sequence[int]) -> list[Part]:
    """The symbols in slices that end at each edge and at the end."""
    return [(part[0][a:b], part[1][a:b]) for a, b in pairwise([0, *edges, len(part[0])])]


def as_lists(parts: Sequence[Part]) -> list[reference.Slice]:
    """The slices as the reference coder takes them."""
    return [(symbols.tolist(), indexes.tolist()) for symbols, indexes in parts]


def joined(parts: Sequence[list[int]]) -> list[int]:
    """The symbols of all slices."""
    return [symbol for part in parts for symbol in part]


def lanes_of(stream: bytes) -> int:
    """How many lanes a stream has."""
    return 1 << (stream[0] & 7)


def write(parts: Sequence[Part], tables: Tables, implementation: str) -> bytes:
    """The stream of the slices."""
    encoder = Encoder(tables, implementation=implementation)
    for symbols, indexes in parts:
        encoder.push(symbols, indexes)
    return encoder.finish()


def read(stream: bytes, indexes: Sequence[Indexes], tables: Tables, implementation: str) -> list[list[int]]:
    """The symbols of each slice."""
    decoder = Decoder(stream, tables, implementation=implementation)
    symbols = [decoder.pull(part).tolist() for part in indexes]
    decoder.finish()
    return symbols


def outcome(stream: bytes, indexes: Sequence[Indexes], tables: Tables, implementation: str) -> list[list[int]] | None:
    """The symbols, or None if the stream is refused."""
    try:
        return read(stream, indexes, tables, implementation)
    except FormatError:
        return None


def refuses(decoder: Decoder, indexes: Indexes) -> bool:
    """Pulls a slice; returns whether that was a FormatError."""
    try:
        decoder.pull(indexes)
    except FormatError:
        return True
    return False


def reference_outcome(stream: bytes, indexes: Sequence[Indexes], tables: Tables) -> list[list[int]] | None:
    """The same from the reference coder."""
    try:
        return reference.decode(stream, [part.tolist() for part in indexes], reference.rows_of(tables))
    except reference.DamagedError:
        return None


def forged(parts: Sequence[Part], tables: Tables, lanes: int) -> bytes:
    """A stream of the slices with that many lanes, which the writer might not choose."""
    return reference.encode(as_lists(parts), reference.rows_of(tables), lanes)
