"""Frequency tables and the entropy coder (indexed rANS), for anybody's latents.

Every symbol comes with an index that names the table it is coded with. Tables are integers, frozen once and
stored with the model: nothing here computes a probability at decode time. A symbol outside its table costs
an escape, not an error.

    tables = Tables.from_gaussian_scales(scale_grid())
    data = encode(symbols, indexes, tables)
    symbols = decode(data, indexes, tables)

`Encoder` and `Decoder` do the same in steps: the decoder may use what it has pulled to find the next
slice's indexes.

Method: J. Duda, "Asymmetric numeral systems", arXiv:1311.2540. The stream is described in `native/rans.hpp`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from intaglio.errors import ArgumentError

if TYPE_CHECKING:
    from intaglio import _native

PRECISION = 15
TOTAL = 1 << PRECISION  # the frequencies of a table sum to this
MAX_TABLES = 256  # what a uint8 index can name
MAX_GAUSSIAN_SCALE = 4096.0  # wider ones have no cell worth having beside the escape
CUT = 0.4  # an outer cell that deserves less of a slot becomes an escape: least cost over scale_grid()


@dataclass(frozen=True, eq=False)
class Tables:
    """Immutable frequency tables, 1 to 256 of them; row i codes the symbols whose index is i.

    first: int32 (N,), symbol of each table's first cell.
    sizes: int32 (N,), cells of each table, 2 to 32768, the escape cell (the last one) included.
    frequencies: uint16 (sum of sizes,), all tables after one another; each >= 1, each table sums to 32768.

    Raises ArgumentError if the arrays are not such tables. The arrays are copied and made read-only.
    """

    first: NDArray[np.int32]
    sizes: NDArray[np.int32]
    frequencies: NDArray[np.uint16]

    def __post_init__(self) -> None:
        for name, dtype in (("first", np.int32), ("sizes", np.int32), ("frequencies", np.uint16)):
            array = getattr(self, name)
            if not isinstance(array, np.ndarray) or array.dtype != dtype or array.ndim != 1:
                raise ArgumentError(f"tables: {name} must be one-dimensional {np.dtype(dtype).name}")
            copy = array.copy()
            copy.setflags(write=False)
            object.__setattr__(self, name, copy)
        _check_tables(self)

    def __len__(self) -> int:
        return len(self.first)

    def __reduce__(self) -> tuple[Any, ...]:
        return Tables, (self.first, self.sizes, self.frequencies)  # the native copy stays behind

    @staticmethod
    def from_pmfs(pmfs: Sequence[tuple[int, ArrayLike]]) -> Tables:
        """Quantises one (first, probabilities) per table; probabilities[k] is that of symbol first + k.

        Outer cells worth less than 0.4 of a slot are cut; what the kept ones lack to 1 goes to the escape.
        Rounding minimises the Kullback-Leibler divergence, every cell >= 1; a palindrome stays one. Raises
        ArgumentError for probabilities that are negative, not finite, sum to more than 1 (beyond rounding)
        or all zero, or when more than 32767 cells remain.
        """
        if not 1 <= len(pmfs) <= MAX_TABLES:
            raise ArgumentError(f"tables: {len(pmfs)} were asked for, 1 to {MAX_TABLES} are possible")
        rows = [_quantise(first, np.asarray(pmf, dtype=np.float64)) for first, pmf in pmfs]
        firsts = [first for first, _ in rows]
        if not all(-(2**31) <= first < 2**31 for first in firsts):
            raise ArgumentError("tables: a first symbol is not an int32")
        return Tables(
            np.array(firsts, dtype=np.int32),
            np.array([len(cells) for _, cells in rows], dtype=np.int32),
            np.concatenate([cells for _, cells in rows]).astype(np.uint16),
        )

    @staticmethod
    def from_gaussian_scales(scales: ArrayLike) -> Tables:
        """One table per scale (standard deviation, 0 < scale <= 4096): N(0, scale) rounded to integers.

        P(y) is the difference of two upper tail areas taken at |y|, which keeps full relative precision far
        out, where a difference of two distribution functions near 1 has none. Raises ArgumentError for
        other scales.
        """
        values = np.atleast_1d(np.asarray(scales, dtype=np.float64))
        if values.ndim != 1 or not np.all((values > 0) & (values <= MAX_GAUSSIAN_SCALE)):
            raise ArgumentError(f"tables: Gaussian scales must lie above 0 and up to {MAX_GAUSSIAN_SCALE:g}")
        return Tables.from_pmfs([_gaussian(float(scale)) for scale in values])

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """The three arrays by name, for a model file."""
        return {"first": self.first, "sizes": self.sizes, "frequencies": self.frequencies}

    @staticmethod
    def from_arrays(arrays: Mapping[str, NDArray[Any]]) -> Tables:
        """Inverse of `to_arrays`. Raises ArgumentError if an array is missing or wrong."""
        missing = {"first", "sizes", "frequencies"} - set(arrays)
        if missing:
            raise ArgumentError(f"tables: {', '.join(sorted(missing))} missing")
        return Tables(arrays["first"], arrays["sizes"], arrays["frequencies"])

    def bits(self, symbols: NDArray[Any], indexes: NDArray[np.uint8]) -> NDArray[np.float64]:
        """What each symbol costs under these tables, in bits, the raw bits of an escape included.

        symbols: int32 or int16, any shape; indexes: uint8, same shape. Returns float64, same shape. The
        coded size is their sum plus the flush (40 bits for small streams, 32 more per further lane). Raises
        ArgumentError.
        """
        _check_symbols(symbols, indexes, self)
        rows = indexes.reshape(-1)
        regular = self.sizes[rows].astype(np.int64) - 1
        offset = symbols.reshape(-1) - self.first[rows].astype(np.int64)
        inside = (offset >= 0) & (offset < regular)
        cost = self._costs[self._bases[rows] + np.where(inside, offset, regular)]
        beyond = np.where(offset < 0, -offset, offset - regular + 1)[~inside]
        exponent = np.frexp(beyond.astype(np.float64))[1] - 1  # exact: beyond < 2^53
        cost[~inside] += 2.0 + 2.0 * exponent
        return cost.reshape(indexes.shape)

    @cached_property
    def _costs(self) -> NDArray[np.float64]:
        return PRECISION - np.log2(self.frequencies.astype(np.float64))

    @cached_property
    def _bases(self) -> NDArray[np.int64]:
        return np.cumsum(self.sizes, dtype=np.int64) - self.sizes

    @cached_property
    def native(self) -> _native.Tables:
        """The native core's copy of these tables, built once."""
        # Imported late: a plain checkout without the compiled core can still estimate bits, and so train.
        from intaglio import _native

        return _native.Tables(self.first, self.sizes, self.frequencies)


class Encoder:
    """Codes slices of symbols into one stream: push them in the order in which they will be pulled, then
    finish."""

    def __init__(self, tables: Tables) -> None:
        from intaglio import _native

        self._tables = tables
        self._native = _native.Encoder(tables.native)

    def push(self, symbols: NDArray[Any], indexes: NDArray[np.uint8]) -> None:
        """Adds a slice. symbols: int32 or int16, any shape; indexes: uint8, same shape, each below
        len(tables).

        Raises ArgumentError, and then has added nothing.
        """
        _check_symbols(symbols, indexes, self._tables)
        self._native.push(_flat(symbols), _flat(indexes))

    def finish(self) -> bytes:
        """The coded stream of all slices. Ends the encoder: any later call raises ArgumentError."""
        return self._native.finish()


class Decoder:
    """Gives back, slice by slice, what an Encoder with the same tables was given."""

    def __init__(self, data: bytes, tables: Tables) -> None:
        """Raises FormatError if `data` cannot begin a stream, ArgumentError if it is not bytes."""
        from intaglio import _native

        if not isinstance(data, bytes):
            raise ArgumentError(f"coded symbols must be bytes, not {type(data).__name__}")
        self._tables = tables
        self._native = _native.Decoder(data, tables.native)

    def pull(self, indexes: NDArray[np.uint8]) -> NDArray[np.int32]:
        """The next symbols, int32 in the shape of `indexes` (uint8, each below len(tables)).

        Slices may be cut differently from those pushed. Raises ArgumentError, and FormatError for damaged
        data; most damage shows, but only a checksum around the stream shows all of it.
        """
        _check_indexes(indexes, self._tables)
        symbols = np.empty(indexes.shape, dtype=np.int32)
        self._native.pull(_flat(indexes), symbols.reshape(-1))
        return symbols

    def finish(self) -> None:
        """Checks that the stream ends here; raises FormatError if not. Ends the decoder."""
        self._native.finish()


def encode(symbols: NDArray[Any], indexes: NDArray[np.uint8], tables: Tables) -> bytes:
    """One slice as a stream of its own; arguments and errors as in `Encoder.push`."""
    encoder = Encoder(tables)
    encoder.push(symbols, indexes)
    return encoder.finish()


def decode(data: bytes, indexes: NDArray[np.uint8], tables: Tables) -> NDArray[np.int32]:
    """Inverse of `encode`: int32 in the shape of `indexes`; errors as in `Decoder`."""
    decoder = Decoder(data, tables)
    symbols = decoder.pull(indexes)
    decoder.finish()
    return symbols


def _flat(array: NDArray[Any]) -> NDArray[Any]:
    """The array as the native core takes it: one-dimensional and contiguous; a copy only where it must be."""
    return np.ascontiguousarray(array).reshape(-1)


def _check_indexes(indexes: NDArray[np.uint8], tables: Tables) -> None:
    if not isinstance(indexes, np.ndarray) or indexes.dtype != np.uint8:
        raise ArgumentError("indexes must be an array of uint8")
    if indexes.size and int(indexes.max()) >= len(tables):
        raise ArgumentError(f"index {int(indexes.max())} is too large: there are {len(tables)} tables")


def _check_symbols(symbols: NDArray[Any], indexes: NDArray[np.uint8], tables: Tables) -> None:
    _check_indexes(indexes, tables)
    if not isinstance(symbols, np.ndarray) or symbols.dtype not in (np.int32, np.int16):
        raise ArgumentError("symbols must be an array of int32 or int16")
    if symbols.shape != indexes.shape:
        raise ArgumentError(f"symbols of shape {symbols.shape} and indexes of shape {indexes.shape} differ")


def _check_tables(tables: Tables) -> None:
    first, sizes, frequencies = tables.first, tables.sizes.astype(np.int64), tables.frequencies
    if not 1 <= len(first) <= MAX_TABLES or len(sizes) != len(first):
        raise ArgumentError(f"tables: 1 to {MAX_TABLES} are possible, each with a first symbol and a size")
    if np.any((sizes < 2) | (sizes > TOTAL)) or sizes.sum() != len(frequencies):
        raise ArgumentError(f"tables: sizes must be 2 to {TOTAL} and sum to the number of frequencies")
    if np.any(first + sizes - 2 > np.iinfo(np.int32).max):
        raise ArgumentError("tables: symbols leave the range of int32")
    sums = np.add.reduceat(frequencies, np.cumsum(sizes) - sizes, dtype=np.int64)
    if np.any(frequencies == 0) or np.any(sums != TOTAL):
        raise ArgumentError(f"tables: frequencies must be 1 or more and sum to {TOTAL} in each table")


def _gaussian(scale: float) -> tuple[int, NDArray[np.float64]]:
    """Probabilities of the integers -reach..reach under N(0, scale), where reach is beyond the last cell
    worth a slot."""
    unit = 1.0 / (scale * math.sqrt(2.0))
    half: list[float] = []
    while not half or half[-1] * TOTAL >= CUT:
        y = len(half)
        half.append(0.5 * (math.erfc((y - 0.5) * unit) - math.erfc((y + 0.5) * unit)))
    return 1 - len(half), np.array(half[:0:-1] + half)


def _quantise(first: int, probabilities: NDArray[np.float64]) -> tuple[int, NDArray[np.int64]]:
    """First symbol and frequencies (escape last) of one table; see `Tables.from_pmfs`."""
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
    while (excess := int((f * copies).sum()) - TOTAL) > 0:
        with np.errstate(divide="ignore", invalid="ignore"):
            loss = np.where(f > 1, p * np.log(f / (f - 1)), np.inf)
        f[loss.argmin()] -= 1
    while excess < 0:
        gain = np.where(copies <= -excess, p * np.log1p(1 / f), -1.0)
        best = int(gain.argmax())
        f[best] += 1
        excess += int(copies[best])
    return f[:-1], int(f[-1])
