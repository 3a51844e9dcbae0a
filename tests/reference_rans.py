"""The entropy coder once more, slowly, in plain Python: the oracle for the native one.

Written from the description of the stream in native/rans.hpp, on unbounded integers and lists of steps.
"""

from __future__ import annotations

import struct

from intaglio.rans import Tables

TOTAL = 1 << 15
LOWER = 1 << 16


def rows_of(tables: Tables) -> list[tuple[int, list[int]]]:
    """First symbol and frequencies of every table, as Python numbers."""
    rows: list[tuple[int, list[int]]] = []
    at = 0
    for first, size in zip(tables.first.tolist(), tables.sizes.tolist(), strict=True):
        rows.append((first, tables.frequencies[at : at + size].tolist()))
        at += size
    return rows


def operations(symbol: int, first: int, frequencies: list[int]) -> list[tuple[int, int, int]]:
    """Steps (start, frequency, total) that code one symbol, in the decoder's order; raw bits are uniform
    steps."""
    regular = len(frequencies) - 1
    cell = symbol - first if first <= symbol < first + regular else regular
    steps = [(sum(frequencies[:cell]), frequencies[cell], TOTAL)]
    if cell < regular:
        return steps
    above = symbol >= first
    distance = symbol - (first + regular) + 1 if above else first - symbol
    exponent = distance.bit_length() - 1
    steps += [(int(above), 1, 2)] + [(0, 1, 2)] * exponent + [(1, 1, 2)]
    if exponent > 16:
        steps.append(((distance >> 16) - (1 << (exponent - 16)), 1, 1 << (exponent - 16)))
    low = min(exponent, 16)
    return [*steps, (distance % (1 << low), 1, 1 << low)]


def lanes_for(symbols: list[int], indexes: list[int], rows: list[tuple[int, list[int]]]) -> int:
    """1, 2 or 4: one lane per 32768 bits of a lower bound of the size."""
    bits = 0
    for symbol, index in zip(symbols, indexes, strict=True):
        _, frequency, _ = operations(symbol, *rows[index])[0]
        bits += 15 - frequency.bit_length()
    return 4 if bits >= 4 * 32768 else 2 if bits >= 2 * 32768 else 1


def encode(symbols: list[int], indexes: list[int], tables: Tables) -> bytes:
    """The stream of the symbols."""
    rows = rows_of(tables)
    steps = [operations(symbol, *rows[index]) for symbol, index in zip(symbols, indexes, strict=True)]
    return encode_steps(steps, lanes_for(symbols, indexes, rows))


def encode_steps(steps: list[list[tuple[int, int, int]]], lanes: int) -> bytes:
    """The stream of the steps (start, frequency, total) of each symbol, whether or not they make sense."""
    states = [LOWER] * lanes
    words: list[int] = []
    for position in range(len(steps) - 1, -1, -1):
        lane = position % lanes
        for start, frequency, total in reversed(steps[position]):
            if states[lane] * total >= frequency << 32:
                words.insert(0, states[lane] % 65536)
                states[lane] //= 65536
            states[lane] = states[lane] // frequency * total + start + states[lane] % frequency
    return struct.pack(f"<B{lanes}I{len(words)}H", lanes, *states, *words)


def decode(data: bytes, indexes: list[int], tables: Tables) -> list[int]:
    """The symbols of an undamaged stream."""
    rows = rows_of(tables)
    lanes = data[0]
    states = list(struct.unpack_from(f"<{lanes}I", data, 1))
    words = list(struct.unpack(f"<{(len(data) - 1 - 4 * lanes) // 2}H", data[1 + 4 * lanes :]))
    symbols: list[int] = []

    def advance(lane: int, start: int, frequency: int, total: int) -> None:
        states[lane] = states[lane] // total * frequency + states[lane] % total - start
        if states[lane] < LOWER:
            states[lane] = states[lane] * 65536 + words.pop(0)

    def bits(lane: int, count: int) -> int:
        value = states[lane] % (1 << count)
        advance(lane, value, 1, 1 << count)
        return value

    for position, index in enumerate(indexes):
        lane = position % lanes
        first, frequencies = rows[index]
        cell, start = 0, 0
        while start + frequencies[cell] <= states[lane] % TOTAL:
            start += frequencies[cell]
            cell += 1
        advance(lane, start, frequencies[cell], TOTAL)
        symbol = first + cell
        if cell == len(frequencies) - 1:
            above, exponent = bits(lane, 1), 0
            while not bits(lane, 1):
                exponent += 1
            distance = (1 << exponent) + (bits(lane, max(exponent - 16, 0)) << 16)
            distance += bits(lane, min(exponent, 16))
            symbol = first + cell - 1 + distance if above else first - distance
        symbols.append(symbol)
    assert (words, states) == ([], [LOWER] * lanes)
    return symbols
