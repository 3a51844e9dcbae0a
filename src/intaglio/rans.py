"""Frequency tables and the entropy coder (indexed rANS), for anybody's latents.

Every symbol comes with an index that names the table it is coded with. Tables are integers, frozen once and
stored with the model: nothing here computes a probability at decode time. A symbol outside its table costs
an escape, not an error.

>>> import numpy as np
>>> tables = Tables.from_gaussian_scales([0.5, 2.0, 8.0])  # standard deviations
>>> indexes = np.array([[0, 0, 1], [1, 2, 2]], dtype=np.uint8)
>>> symbols = np.array([[0, 1, -3], [2, 70, -5]], dtype=np.int32)
>>> data = encode(symbols, indexes, tables)
>>> len(data)
9
>>> decode(data, indexes, tables)
array([[ 0,  1, -3],
       [ 2, 70, -5]], dtype=int32)
>>> print(f"{tables.bits(symbols, indexes).sum():.1f} bits")
40.8 bits

`Encoder` and `Decoder` do the same slice by slice. The decoder may use what it has pulled to find the next
slice's indexes, as context models do; slices are part of the stream, so pull those that were pushed.

>>> left, right = np.array([0, 1, -9, 0], dtype=np.int32), np.array([0, 2, -7, 1], dtype=np.int32)
>>> start = np.zeros(4, dtype=np.uint8)
>>> def next_to(symbols):
...     return np.where(np.abs(symbols) > 1, 2, 0).astype(np.uint8)
>>> encoder = Encoder(tables)
>>> encoder.push(left, start)
>>> encoder.push(right, next_to(left))
>>> data = encoder.finish()
>>> decoder = Decoder(data, tables)
>>> first = decoder.pull(start)
>>> decoder.pull(next_to(first))
array([ 0,  2, -7,  1], dtype=int32)
>>> decoder.finish()  # raises FormatError unless the stream ends here

Symbols and indexes may be NumPy arrays or whatever NumPy can look at without a copy, such as a PyTorch
tensor on the CPU; results are NumPy arrays (`torch.from_numpy` takes them as they are). Lists are refused:
converting them takes longer than coding.

Three implementations write and read the same bytes: "avx512", "avx2" and "portable". The fastest that the
machine can run is used; the argument `implementation` or the environment variable INTAGLIO_CODER names
another.

Method: J. Duda, "Asymmetric numeral systems", arXiv:1311.2540. The stream is defined in docs/format.md.
"""

from __future__ import annotations

import operator
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from intaglio.errors import ArgumentError
from intaglio.pmf import PRECISION, TOTAL, gaussian, quantise

if TYPE_CHECKING:
    from intaglio import _native

Array = Any  # a NumPy array, or what NumPy can look at: a buffer, a PyTorch tensor on the CPU

IMPLEMENTATION_VARIABLE = "INTAGLIO_CODER"  # names the implementation to use where no argument does
MAX_TABLES = 256  # what a uint8 index can name
SURPRISES = 8  # a table that leaves no more than this to other symbols means 0
MAX_GAUSSIAN_SCALE = 4096.0  # wider ones have no cell worth having beside the escape


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

        >>> tables = Tables.from_pmfs([(0, [0.5, 0.25, 0.25]), (-1, [0.1, 0.8, 0.1])])
        >>> tables.first, tables.sizes
        (array([ 0, -1], dtype=int32), array([4, 4], dtype=int32))
        >>> tables.frequencies[:4]  # of 32768; the last one is the escape's
        array([16383,  8192,  8192,     1], dtype=uint16)
        """
        try:
            given = [(operator.index(first), np.asarray(pmf, dtype=np.float64)) for first, pmf in pmfs]
        except (TypeError, ValueError, RuntimeError) as error:
            wanted = "tables: give pairs of a first symbol, an int, and an array of probabilities"
            raise ArgumentError(f"{wanted} ({' '.join(str(error).split())})") from None
        if not 1 <= len(given) <= MAX_TABLES:
            raise ArgumentError(f"tables: {len(given)} were asked for, 1 to {MAX_TABLES} are possible")
        rows = [quantise(first, pmf) for first, pmf in given]
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
        other scales. Choose the row of a predicted scale by rounding its logarithm, see `intaglio.scales`.

        >>> from intaglio.scales import scale_grid
        >>> len(Tables.from_gaussian_scales(scale_grid()))
        64
        """
        try:
            values = np.atleast_1d(np.asarray(scales, dtype=np.float64))
        except (TypeError, ValueError, RuntimeError) as error:
            raise ArgumentError(f"tables: scales must be numbers ({' '.join(str(error).split())})") from None
        if values.ndim != 1 or not np.all((values > 0) & (values <= MAX_GAUSSIAN_SCALE)):
            raise ArgumentError(f"tables: Gaussian scales must lie above 0 and up to {MAX_GAUSSIAN_SCALE:g}")
        return Tables.from_pmfs([gaussian(float(scale)) for scale in values])

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

    def certain(self) -> NDArray[np.bool_]:
        """Which tables code nothing, for their symbols are all but always 0, (N,); see docs/format.md, "Tables"."""
        inside = (self.first <= 0) & (self.first.astype(np.int64) + self.sizes - 1 > 0)
        place = np.where(inside, self._bases - self.first, 0)
        return inside & (self.frequencies[place] >= TOTAL - SURPRISES)

    def bits(self, symbols: NDArray[Any], indexes: NDArray[np.uint8]) -> NDArray[np.float64]:
        """What each symbol costs under these tables, in bits, the raw bits of an escape included.

        symbols: int32 or int16, any shape; indexes: uint8, same shape. Returns float64, same shape. The
        coded size is their sum plus the flush: about 3 bytes for a small stream, and half a byte for each
        lane of a large one (its bits / 1100, up to 64). A symbol other than 0 from a table that all but
        excludes it (see docs/format.md, "certain") really costs about 15 bits and twice its logarithm.
        Raises ArgumentError.
        """
        symbols, indexes = _pair(symbols, indexes)
        if indexes.size and int(indexes.max()) >= len(self):
            raise ArgumentError(f"index {int(indexes.max())} is too large: there are {len(self)} tables")
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

    def __init__(self, tables: Tables, implementation: str | None = None) -> None:
        """`implementation`: one of `implementations()`, the fastest by default. Raises ArgumentError."""
        from intaglio import _native

        self._native = _native.Encoder(tables.native, _chosen(implementation))

    def push(self, symbols: Array, indexes: Array) -> None:
        """Adds a slice. symbols: int32 or int16, any shape; indexes: uint8, same shape, each below
        len(tables).

        Raises ArgumentError, and then has added nothing.
        """
        symbols, indexes = _pair(symbols, indexes)
        self._native.push(_flat(symbols), _flat(indexes))

    def finish(self) -> bytes:
        """The coded stream of all slices. Ends the encoder: any later call raises ArgumentError."""
        return self._native.finish()


class Decoder:
    """Gives back, slice by slice, what an Encoder with the same tables was given."""

    def __init__(self, data: bytes, tables: Tables, implementation: str | None = None) -> None:
        """`implementation` as in `Encoder`. Raises FormatError if `data` cannot begin a stream, ArgumentError
        if it is not bytes."""
        from intaglio import _native

        if not isinstance(data, bytes):
            raise ArgumentError(f"coded symbols must be bytes, not {type(data).__name__}")
        self._native = _native.Decoder(data, tables.native, _chosen(implementation))

    def pull(self, indexes: Array) -> NDArray[np.int32]:
        """The next slice's symbols, int32 in the shape of `indexes` (uint8, each below len(tables)).

        Raises ArgumentError, and FormatError for damaged data; most damage shows, but only a checksum around
        the stream shows all of it.
        """
        indexes = _indexes(indexes)
        symbols = np.empty(indexes.shape, dtype=np.int32)
        self._native.pull(_flat(indexes), symbols.reshape(-1))
        return symbols

    def follow(self, indexes: Array) -> NDArray[np.int32]:
        """The next slice's steps, if it was quantised by a trellis (`intaglio.quantiser.Trellis`), int32 in the shape
        of `indexes`: uint8, rows of even states, below 64. Raises as `pull` does.
        """
        indexes = _indexes(indexes)
        steps = np.empty(indexes.shape, dtype=np.int32)
        self._native.follow(_flat(indexes), steps.reshape(-1))
        return steps

    def finish(self) -> None:
        """Checks that the stream ends here; raises FormatError if not. Ends the decoder."""
        self._native.finish()


def encode(symbols: Array, indexes: Array, tables: Tables, implementation: str | None = None) -> bytes:
    """One slice as a stream of its own; arguments and errors as in `Encoder`."""
    from intaglio import _native

    symbols, indexes = _pair(symbols, indexes)
    return _native.encode(_flat(symbols), _flat(indexes), tables.native, _chosen(implementation))


def decode(data: bytes, indexes: Array, tables: Tables, implementation: str | None = None) -> NDArray[np.int32]:
    """Inverse of `encode`: int32 in the shape of `indexes`; errors as in `Decoder`."""
    decoder = Decoder(data, tables, implementation)
    symbols = decoder.pull(indexes)
    decoder.finish()
    return symbols


def implementations() -> tuple[str, ...]:
    """Names of the implementations that this machine can run, fastest first: of "avx512", "avx2", "portable".

    All of them read and write the same streams.
    """
    from intaglio import _native

    return tuple(_native.implementations())


def _chosen(implementation: str | None) -> str:
    """The implementation asked for by argument or environment; empty for the fastest."""
    name = os.environ.get(IMPLEMENTATION_VARIABLE, "") if implementation is None else implementation
    if name and name not in implementations():
        raise ArgumentError(
            f"coder implementation {name!r} cannot run here; choose one of {', '.join(implementations())}"
        )
    return name


def _flat(array: NDArray[Any]) -> NDArray[Any]:
    """The array as the native core takes it: one-dimensional, contiguous, aligned; a copy only where it must be."""
    return np.require(array, requirements=["C_CONTIGUOUS", "ALIGNED"]).reshape(-1)


def _array(value: Array, name: str, *dtypes: type[np.integer]) -> NDArray[Any]:
    """`value` as NumPy sees it, without a copy. Raises ArgumentError if it is not an array of one of `dtypes`."""
    wanted = f"{name} must be an array of {' or '.join(np.dtype(dtype).name for dtype in dtypes)}"
    if isinstance(value, np.ma.MaskedArray):
        raise ArgumentError(f"{wanted} without a mask: fill it first")
    if type(value) is not np.ndarray:
        if isinstance(value, (list, tuple, int, float, str, bytes, type(None))):
            raise ArgumentError(f"{wanted}, not {type(value).__name__}")
        try:
            value = np.asarray(value)
        except (TypeError, ValueError, RuntimeError) as error:  # a tensor on a GPU, or one that wants a gradient
            raise ArgumentError(f"{wanted} in the memory of the CPU: {' '.join(str(error).split())}") from None
    if value.dtype not in dtypes:  # a foreign byte order is another dtype
        raise ArgumentError(f"{wanted}, not {value.dtype}")
    return value


def _indexes(indexes: Array) -> NDArray[np.uint8]:
    return _array(indexes, "indexes", np.uint8)


def _pair(symbols: Array, indexes: Array) -> tuple[NDArray[Any], NDArray[np.uint8]]:
    """Both as arrays of the same shape; the native core checks that the indexes are small enough."""
    symbols, indexes = _array(symbols, "symbols", np.int32, np.int16), _indexes(indexes)
    if symbols.shape != indexes.shape:
        raise ArgumentError(f"symbols of shape {symbols.shape} and indexes of shape {indexes.shape} differ")
    return symbols, indexes


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
