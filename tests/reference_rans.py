"""The entropy coder once more, slowly, in plain Python: the oracle for the native one.

Written from docs/format.md, on unbounded integers, lists of bits and lists of words. It writes any number of lanes,
whatever the size of the stream.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from intaglio.rans import Tables

TOTAL = 1 << 15
LOWER = 1 << 16
BLOCK = 8192
LANES = (1, 2, 4, 8, 16, 32, 64)

Row = tuple[int, list[int]]  # a table: its first symbol and its frequencies
Slice = tuple[list[int], list[int]]  # symbols and indexes


class DamagedError(Exception):
    """The stream cannot be decoded."""


def rows_of(tables: Tables) -> list[Row]:
    """First symbol and frequencies of every table, as Python numbers."""
    ends = list(accumulate(tables.sizes.tolist()))
    starts = [0, *ends[:-1]]
    cells = tables.frequencies.tolist()
    return [(first, cells[a:b]) for first, a, b in zip(tables.first.tolist(), starts, ends, strict=True)]


def is_certain(row: Row) -> bool:
    """Whether symbols of the table count as 0."""
    first, frequencies = row
    regular = frequencies[:-1]
    return first <= 0 < first + len(regular) and regular[-first] >= TOTAL - 8


def cell_of(symbol: int, row: Row) -> int:
    """Number of the symbol's cell, or of the escape's."""
    first, frequencies = row
    return symbol - first if first <= symbol < first + len(frequencies) - 1 else len(frequencies) - 1


def is_escape(symbol: int, row: Row) -> bool:
    """Whether the table lacks the symbol."""
    return cell_of(symbol, row) == len(row[1]) - 1


def blocks(indexes: Sequence[Sequence[int]], rows: list[Row]) -> Iterator[tuple[int, list[int], list[int]]]:
    """For each block of each slice: the slice's number, the places of its coded and of its certain symbols."""
    for number, part in enumerate(indexes):
        for start in range(0, len(part), BLOCK):
            places = range(start, min(start + BLOCK, len(part)))
            certain = [place for place in places if is_certain(rows[part[place]])]
            yield number, sorted(set(places) - set(certain)), certain


class BitList:
    """Bits of the stream's end, in the order in which a reader takes them."""

    def __init__(self) -> None:
        self.bits: list[int] = []

    def put(self, value: int, count: int) -> None:
        """The `count` low bits of a number, lowest first."""
        self.bits += [value >> i & 1 for i in range(count)]

    def put_mantissa(self, value: int) -> None:
        """A number without its highest bit, which the reader knows the place of."""
        self.put(value, value.bit_length() - 1)

    def put_golomb(self, value: int, order: int) -> None:
        """A number of at least 2^order: zeros for what it is longer, a one, its mantissa."""
        self.bits += [0] * (value.bit_length() - 1 - order) + [1]
        self.put_mantissa(value)

    def put_outside(self, symbol: int, low: int, high: int) -> None:
        """A symbol above high or below low."""
        self.put(symbol > high, 1)
        self.put_golomb(symbol - high if symbol > high else low - symbol, 0)

    def to_bytes(self) -> bytes:
        """As they stand in the stream: backwards."""
        bits = self.bits + [0] * (-len(self.bits) % 8)
        return bytes(sum(bits[at + i] << i for i in range(8)) for at in range(0, len(bits), 8))[::-1]


def assemble(kind: int, words: Sequence[int], bits: BitList) -> bytes:
    """A stream of these parts, whether or not they make sense."""
    return bytes([kind]) + b"".join(word.to_bytes(2, "little") for word in words) + bits.to_bytes()


def put(state: int, start: int, frequency: int) -> tuple[int, list[int]]:
    """The state with one more cell in it, and the word that had to leave, if any."""
    words = []
    if state * TOTAL >= frequency << 32:
        words, state = [state % 65536], state // 65536
    return state // frequency * TOTAL + start + state % frequency, words


def code_tail(steps: list[tuple[int, int, int]], lanes: int) -> tuple[int, list[int]]:
    """How many of the steps (lane, start, frequency) are before the tail, and the start states."""
    if lanes == 1:
        return len(steps), [LOWER]
    state, words, left = LOWER, [], len(steps)
    while left > 0:
        _, start, frequency = steps[left - 1]
        after, leaving = put(state, start, frequency)
        if len(leaving) + len(words) > lanes - 2:
            break
        state, words, left = after, leaving + words, left - 1
    halves = [state % 65536, state // 65536, *words]
    return left, [LOWER + half for half in halves + [0] * (lanes - len(halves))]


def encode(slices: Sequence[Slice], rows: list[Row], lanes: int) -> bytes:
    """The stream of the slices, with that many lanes."""
    return assemble(*encode_parts(slices, rows, lanes))


def encode_parts(slices: Sequence[Slice], rows: list[Row], lanes: int) -> tuple[int, list[int], BitList]:
    """The parts of that stream: its kind, words and bits."""
    steps: list[tuple[int, int, int]] = []
    walk = list(blocks([indexes for _, indexes in slices], rows))
    for number, coded, _ in walk:
        symbols, indexes = slices[number]
        for j, place in enumerate(coded):
            frequencies = rows[indexes[place]][1]
            cell = cell_of(symbols[place], rows[indexes[place]])
            steps.append((j % lanes, sum(frequencies[:cell]), frequencies[cell]))
    left, states = code_tail(steps, lanes)
    words: list[int] = []
    for lane, start, frequency in reversed(steps[:left]):
        states[lane], leaving = put(states[lane], start, frequency)
        words += leaving
    bits = BitList()
    for state in states:
        bits.put(state.bit_length() - 17, 4)
        bits.put_mantissa(state)
    if lanes > 1:
        bits.put(left.bit_length(), 6)
        if left > 0:
            bits.put_mantissa(left)
    surprised = put_extras(bits, slices, walk, rows)
    return LANES.index(lanes) + 8 * surprised, words[::-1], bits


def put_extras(
    bits: BitList, slices: Sequence[Slice], walk: list[tuple[int, list[int], list[int]]], rows: list[Row]
) -> bool:
    """Writes what escapes and surprises are; returns whether there are surprises."""
    zeros = [slices[number][0][place] for number, _, certain in walk for place in certain]
    surprises = [at for at, symbol in enumerate(zeros) if symbol != 0]
    gaps = [b - a - 1 for a, b in zip([-1, *surprises], surprises, strict=False)]
    if gaps:
        bits.put_golomb(gaps.pop(0) + 2**11, 11)
    for number, coded, certain in walk:
        symbols, indexes = slices[number]
        for place in coded:
            first, frequencies = rows[indexes[place]]
            if is_escape(symbols[place], rows[indexes[place]]):
                bits.put_outside(symbols[place], first, first + len(frequencies) - 2)
        for place in certain:
            if symbols[place] != 0:
                bits.put_outside(symbols[place], 0, 0)
                bits.put(len(gaps) > 0, 1)
                if gaps:
                    bits.put_golomb(gaps.pop(0) + 2**11, 11)
    return bool(surprises)


class Parts:
    """A stream's bytes, taken from both ends."""

    def __init__(self, stream: bytes) -> None:
        self.rest = list(stream)
        self.open: list[int] = []  # bits of the byte being taken from

    def byte(self, end: int) -> int:
        """The first byte left (end 0) or the last (end -1)."""
        if not self.rest:
            raise DamagedError
        return self.rest.pop(end)

    def word(self) -> int:
        return self.byte(0) + 256 * self.byte(0)

    def bits(self, count: int) -> int:
        value = 0
        for i in range(count):
            if not self.open:
                byte = self.byte(-1)
                self.open = [byte >> j & 1 for j in range(8)]
            value += self.open.pop(0) << i
        return value

    def mantissa(self, exponent: int) -> int:
        return (1 << exponent) + self.bits(exponent)

    def golomb(self, order: int, most: int) -> int:
        exponent = order
        while not self.bits(1):
            exponent += 1
            if exponent > most:
                raise DamagedError
        return self.mantissa(exponent)

    def outside(self, low: int, high: int) -> int:
        above = self.bits(1)
        distance = self.golomb(0, 31)
        symbol = high + distance if above else low - distance
        if not -(2**31) <= symbol < 2**31:
            raise DamagedError
        return symbol

    def surprise(self, number: int) -> int:
        """The number of the next surprise among all certain symbols, where `number` could be one."""
        return number + self.golomb(11, 63) - 2**11

    def is_empty(self) -> bool:
        return not self.rest and not any(self.open)


class Lanes:
    """States, and where their words come from: first the stream, then the states themselves."""

    def __init__(self, parts: Parts, lanes: int) -> None:
        self.parts = parts
        self.states = [parts.mantissa(16 + parts.bits(4)) for _ in range(lanes)]
        self.tail: list[int] | None = None
        self.before_tail: int | None = None
        if lanes > 1:
            length = parts.bits(6)
            self.before_tail = parts.mantissa(length - 1) if length else 0

    def begin_tail(self) -> None:
        if any(state >> 16 != 1 for state in self.states):
            raise DamagedError
        low, high, *self.tail = [state % 65536 for state in self.states]
        if high == 0:
            raise DamagedError
        self.states = [low + (high << 16)]

    def take(self, j: int, frequencies: list[int]) -> int:
        """The cell of a block's coded symbol number j."""
        if self.before_tail == 0 and self.tail is None:
            self.begin_tail()
        if self.before_tail:
            self.before_tail -= 1
        lane = j % len(self.states)
        quotient, slot = divmod(self.states[lane], TOTAL)
        ends = list(accumulate(frequencies))
        cell = next(i for i, end in enumerate(ends) if slot < end)
        state = quotient * frequencies[cell] + slot - (ends[cell] - frequencies[cell])
        if state < LOWER:
            state = state << 16 | (self.parts.word() if self.tail is None else self.tail_word(self.tail))
        self.states[lane] = state
        return cell

    @staticmethod
    def tail_word(tail: list[int]) -> int:
        if not tail:
            raise DamagedError
        return tail.pop(0)

    def is_at_end(self) -> bool:
        if self.before_tail == 0 and self.tail is None:
            self.begin_tail()
        return not self.before_tail and self.states == [LOWER] and not any(self.tail or [])


def decode(stream: bytes, slices: Sequence[Sequence[int]], rows: list[Row]) -> list[list[int]]:
    """The symbols of each slice, of which the indexes are given. Raises DamagedError."""
    parts = Parts(stream)
    kind = parts.byte(0)
    if kind >= 16 or kind % 8 == 7:
        raise DamagedError
    lanes = Lanes(parts, LANES[kind % 8])
    surprise = parts.surprise(0) if kind & 8 else None
    seen = 0  # certain symbols of the blocks before
    decoded = [[0] * len(indexes) for indexes in slices]
    for number, coded, certain in blocks(slices, rows):
        indexes, symbols = slices[number], decoded[number]
        for j, place in enumerate(coded):
            first, frequencies = rows[indexes[place]]
            symbols[place] = first + lanes.take(j, frequencies)
        for place in coded:
            first, frequencies = rows[indexes[place]]
            if is_escape(symbols[place], rows[indexes[place]]):
                symbols[place] = parts.outside(first, first + len(frequencies) - 2)
        while surprise is not None and surprise - seen < len(certain):
            symbols[certain[surprise - seen]] = parts.outside(0, 0)
            surprise = parts.surprise(surprise + 1) if parts.bits(1) else None
        seen += len(certain)
    if surprise is not None or not lanes.is_at_end() or not parts.is_empty():
        raise DamagedError
    return decoded
