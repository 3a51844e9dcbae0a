"""Prefix-free codes: a word of whole bits for each symbol, none the beginning of another.

>>> code = PrefixCode.huffman([0.5, 0.25, 0.125, 0.125])
>>> code.words
('0', '10', '110', '111')
>>> data, bits = code.encode(np.array([0, 2, 0, 1]))
>>> f"{int.from_bytes(data, 'big') >> (8 * len(data) - bits):0{bits}b}"
'0110010'
>>> code.decode(data, bits, (2, 2))
array([[0, 2],
       [0, 1]])

A code with words z(y) needs E|z(Y)| bits per symbol, which is the cross-entropy H(P, P_z) with the distribution that
the code implies, P_z(y) = 2^-|z(y)|. No code needs less than H(P); both constructions here need less than H(P) + 1.
"""

from __future__ import annotations

import heapq
import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from intaglio.errors import ArgumentError, FormatError
from intaglio.information import Floats, distribution

Ints = NDArray[np.int64]
Bits = NDArray[np.uint8]  # zeros and ones

NO_WORD = -1  # the length of a word that is not there
MAX_LENGTH = 2048  # bits of a word; no code made from float64 probabilities needs more than about 1550
MAX_SYMBOLS = 1 << 28  # encoded or decoded at once: where the only word is empty, no data bounds how many there are
_WINDOW = 16  # bits that the decoder's table looks at; longer words are looked up one by one
_CHUNK = 1 << 16  # symbols encoded at a time, for the memory


@dataclass(frozen=True)
class PrefixCode:
    """words: for each symbol 0..n-1 its word, a string of "0" and "1", or None where it has none.

    The empty word is possible where it is the only one; none is longer than 2048 bits. Raises ArgumentError if the
    words are no prefix-free code.
    """

    words: tuple[str | None, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.words, tuple):
            raise ArgumentError(f"words is of type {type(self.words).__name__}; it must be a tuple")
        for word in self.words:
            if not isinstance(word, (str, type(None))):
                kind = type(word).__name__
                raise ArgumentError(f"words: one is of type {kind}; each must be a str of zeros and ones, or None")
        given = sorted(word for word in self.words if word is not None)
        if not given:
            raise ArgumentError(f"words: none of the {len(self.words)} symbols has a word; at least one must")
        _check_longest("words", max(map(len, given)))
        for word in given:
            if not {*word} <= {"0", "1"}:
                raise ArgumentError(f"words: {word!r} is no string of zeros and ones")
        for word, after in pairwise(given):  # sorted so, a word comes right before those that it begins
            if after.startswith(word):
                raise ArgumentError(f"words: {word!r} is the beginning of {after!r}; the code is not prefix-free")

    @staticmethod
    def shannon(probabilities: ArrayLike) -> PrefixCode:
        """The code of the source coding theorem: |z(y)| = ceil(-log2 P(y)); each word the first, in order of decreasing
        probability, that begins with no earlier one (Shannon 1948, section 9).

        probabilities: (n,), see `intaglio.information.distribution`; where one is 0 the symbol gets no word. Raises
        ArgumentError.
        """
        p = _probabilities(probabilities)
        lengths = _shannon_lengths(p)
        if _kraft_sum(lengths) > 1:  # the floats sum to a hair more than 1
            lengths = _shannon_lengths(p / (math.fsum(p) * (1 + 2**-50)))
        return _assign(lengths, np.argsort(-p, kind="stable"))

    @staticmethod
    def huffman(probabilities: ArrayLike) -> PrefixCode:
        """The code with the smallest expected length (Huffman 1952), in canonical form; arguments as for `shannon`."""
        p = _probabilities(probabilities)
        queue = [(float(p[symbol]), int(symbol)) for symbol in np.flatnonzero(p)]
        heapq.heapify(queue)
        parents: dict[int, int] = {}
        for node in range(len(p), len(p) + len(queue) - 1):
            low, high = heapq.heappop(queue), heapq.heappop(queue)
            parents[low[1]] = parents[high[1]] = node
            heapq.heappush(queue, (low[0] + high[0], node))
        depths = {queue[0][1]: 0}
        for node, parent in reversed(parents.items()):  # a node gets its parent after all below it got theirs
            depths[node] = depths[parent] + 1
        return PrefixCode.canonical([depths.get(symbol, NO_WORD) for symbol in range(len(p))])

    @staticmethod
    def canonical(lengths: ArrayLike) -> PrefixCode:
        """The code with words of these lengths, -1 for none, that counts upwards: shorter words first, then lower
        symbols (Schwartz and Kallick 1964). It is fully described by the lengths.

        lengths: whole numbers, (n,), at most 2048. Raises ArgumentError for others, and if no prefix-free code has them
        (Kraft).
        """
        array = _array(lengths, "lengths")
        if array.ndim != 1 or array.dtype.kind not in "iu" or not array.size or array.min() < NO_WORD:
            raise ArgumentError(f"lengths, of shape {array.shape}, must be whole numbers, -1 or more, in one dimension")
        _check_longest("lengths", int(array.max()))
        if (total := _kraft_sum(array)) > 1:
            raise ArgumentError(f"lengths: the Kraft sum is {float(total):.6g}; above 1 no code is prefix-free")
        return _assign(array, np.arange(len(array)))

    @cached_property
    def lengths(self) -> Ints:
        """Bits of each word, int64 (n,); -1 where there is none."""
        return np.array([NO_WORD if word is None else len(word) for word in self.words], dtype=np.int64)

    @property
    def kraft_sum(self) -> Fraction:
        """The sum of 2^-|z| over the words, exact: at most 1, and 1 if no word could be added (Kraft 1949)."""
        return _kraft_sum(self.lengths)

    @property
    def implied(self) -> Floats:
        """P_z(y) = 2^-|z(y)|, float64 (n,), 0 where there is no word: what the lengths are ideal for.

        The sum is `kraft_sum`; what that lacks to 1 belongs to words that are not used.
        """
        return np.where(self.lengths == NO_WORD, 0.0, np.exp2(-self.lengths.astype(np.float64)))

    def expected_length(self, probabilities: ArrayLike) -> float:
        """E|z(Y)| in bits for Y of these probabilities, (n,); inf if a symbol that can occur has no word.

        Raises ArgumentError for other arrays.
        """
        p = _probabilities(probabilities)
        if len(p) != len(self.words):
            raise ArgumentError(f"probabilities have shape {p.shape}; the code has {len(self.words)} symbols")
        possible = p > 0
        return math.inf if np.any(self.lengths[possible] == NO_WORD) else float(p[possible] @ self.lengths[possible])

    def encode(self, symbols: ArrayLike) -> tuple[bytes, int]:
        """The words of the symbols (whole numbers 0..n-1, any shape) in order: the bytes, and how many bits they hold.

        The first bit is the highest of the first byte; what is left of the last byte is 0. No symbols are no bits.
        Raises ArgumentError for a symbol without a word, and for more than 2^28 symbols.
        """
        array = _array(symbols, "symbols")
        _check_shape(array.shape, "symbols have shape")
        if not array.size:
            return b"", 0
        if array.dtype.kind not in "iu":
            raise ArgumentError(f"symbols, of shape {array.shape}, must be whole numbers, not {array.dtype}")
        flat = array.reshape(-1)
        inside = (flat >= 0) & (flat < len(self.words))
        possible = inside & (self.lengths[np.where(inside, flat, 0)] != NO_WORD)
        if not possible.all():
            wrong = int(flat[np.argmin(possible)])
            raise ArgumentError(f"symbols: {wrong} has no word in this code of {len(self.words)} symbols")
        flat = flat.astype(np.int64)
        bits = np.concatenate([self._gather(flat[start : start + _CHUNK]) for start in range(0, len(flat), _CHUNK)])
        return np.packbits(bits).tobytes(), len(bits)

    def decode(self, data: bytes, bits: int, shape: int | Sequence[int]) -> Ints:
        """Inverse of `encode`: int64 of that shape, from the first `bits` bits of `data`.

        Raises FormatError unless they are the words of exactly so many symbols, followed by nothing but the zeros that
        fill the last byte. Raises ArgumentError if `data` is not bytes, if `bits` and the sides of `shape` are not
        whole numbers, 0 or more, and for a shape of more than 2^28 symbols.
        """
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise ArgumentError(f"data is of type {type(data).__name__}; it must be bytes")
        bits = _whole(bits, "bits")
        sides = tuple(_whole(side, "shape") for side in (shape if isinstance(shape, Sequence) else (shape,)))
        _check_shape(sides, "shape is")
        if len(data) != -(-bits // 8):
            raise FormatError(f"coded symbols: {len(data)} bytes cannot hold {bits} bits and no more")
        stream = np.unpackbits(np.frombuffer(data, np.uint8))
        if stream[bits:].any():
            raise FormatError("coded symbols: the last byte is not filled with zeros")
        if "" in self.words:
            if bits:
                raise FormatError(f"coded symbols: {bits} bits, where the only symbol takes none")
            return np.full(sides, self.words.index(""), dtype=np.int64)
        return self._read(stream[:bits], math.prod(sides)).reshape(sides)

    @cached_property
    def _flat(self) -> tuple[Bits, Ints]:
        """The bits of all words after one another, and where each word begins."""
        ends = np.cumsum(self.lengths.clip(0))
        text = "".join(word or "" for word in self.words).encode()
        return np.frombuffer(text, np.uint8) - ord("0"), ends - self.lengths.clip(0)

    def _gather(self, symbols: Ints) -> Bits:
        bits, starts = self._flat
        lengths = self.lengths[symbols]
        ends = np.cumsum(lengths)
        within = np.arange(ends[-1]) - np.repeat(ends - lengths, lengths)
        return bits[np.repeat(starts[symbols], lengths) + within]

    @cached_property
    def _table(self) -> tuple[int, NDArray[np.int32], dict[int, dict[str, int]]]:
        """Bits to look at; for each value of theirs the symbol whose word they begin with, or -1; the longer words by
        length."""
        width = min(_WINDOW, int(self.lengths.max()))
        table = np.full(1 << width, -1, dtype=np.int32)
        longer: dict[int, dict[str, int]] = {}
        for symbol, word in enumerate(self.words):
            if word is not None and len(word) > width:
                longer.setdefault(len(word), {})[word] = symbol
            elif word is not None:
                rest = width - len(word)
                table[int(word, 2) << rest : (int(word, 2) + 1) << rest] = symbol
        return width, table, longer

    def _read(self, stream: Bits, count: int) -> Ints:
        """Looks up what would begin at every bit, all at once, then goes from word to word."""
        width, table, longer = self._table
        padded = np.pad(stream, (0, width))
        windows = np.zeros(len(stream), dtype=np.int32)
        for bit in range(width):
            windows = windows << 1 | padded[bit : bit + len(stream)]
        found = table[windows]
        steps = np.where(found < 0, 0, self.lengths[found]).astype(np.uint8).tobytes()
        text = (stream + ord("0")).tobytes().decode() if longer else ""
        places, extra, place, end = [], {}, 0, len(stream)
        while place < end and len(places) < count:
            step = steps[place]
            if not step:
                step = next((length for length, words in longer.items() if text[place : place + length] in words), 0)
                if not step:
                    raise FormatError(f"coded symbols: no word begins at bit {place}; the data is damaged or cut short")
                extra[len(places)] = longer[step][text[place : place + step]]
            places.append(place)
            place += step
        if place != end or len(places) != count:
            raise FormatError(f"coded symbols: {end} bits are not the words of {count} symbols; the data is damaged")
        symbols = found[places].astype(np.int64)
        symbols[[*extra]] = [*extra.values()]
        return symbols


def _array(values: ArrayLike, name: str) -> NDArray[Any]:
    try:
        return np.asarray(values)
    except (TypeError, ValueError, RuntimeError) as error:  # rows of unlike length, a tensor on a GPU
        raise ArgumentError(f"{name} must be an array of whole numbers: {' '.join(str(error).split())}") from None


def _whole(value: object, name: str) -> int:
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        number = -1
    if number < 0:
        raise ArgumentError(f"{name} is {' '.join(repr(value).split())}; it must be a whole number, 0 or more")
    return number


def _check_shape(shape: tuple[int, ...], what: str) -> None:
    if math.prod(max(1, side) for side in shape) > MAX_SYMBOLS:
        raise ArgumentError(f"{what} {shape}; a code takes at most {MAX_SYMBOLS} symbols at once")


def _check_longest(name: str, longest: int) -> None:
    if longest > MAX_LENGTH:
        raise ArgumentError(f"{name}: the longest has {longest} bits; a word may have up to {MAX_LENGTH}")


def _probabilities(probabilities: ArrayLike) -> Floats:
    p = distribution(probabilities, name="probabilities")
    if p.ndim != 1:
        raise ArgumentError(f"probabilities have shape {p.shape}; a code needs them in one dimension")
    return p


def _shannon_lengths(p: Floats) -> Ints:
    """ceil(-log2 p), exactly: p = m 2^e with 1/2 <= m < 1 lies from 2^(e-1) up to, but not at, 2^e."""
    return np.where(p > 0, 1 - np.frexp(p)[1].astype(np.int64), NO_WORD)


def _kraft_sum(lengths: NDArray[np.integer]) -> Fraction:
    counts = np.bincount(lengths[lengths >= 0]).tolist()
    return sum((Fraction(count, 2**length) for length, count in enumerate(counts) if count), Fraction(0))


def _assign(lengths: NDArray[np.integer], order: NDArray[np.integer]) -> PrefixCode:
    """Gives each symbol the next free word of its length: shorter words first, within a length in this order."""
    words: list[str | None] = [None] * len(lengths)
    free, before = 0, 0
    for symbol in order[np.argsort(lengths[order], kind="stable")].tolist():
        length = int(lengths[symbol])
        if length != NO_WORD:
            free <<= length - before
            words[symbol] = f"{free:0{length}b}" if length else ""
            free, before = free + 1, length
    return PrefixCode(tuple(words))
