"""Writes the golden streams beside this file; README.md says what they are and how they are laid out."""

from __future__ import annotations

import struct
import sys
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent))

import reference_rans as reference  # noqa: E402  (found through the line above)


class Generator:
    """The linear congruential generator x -> (1664525 x + 1013904223) mod 2^32."""

    def __init__(self, seed: int) -> None:
        self.x = seed

    def below(self, limit: int) -> int:
        """A number 0..limit-1, limit at most 2^16."""
        self.x = (1664525 * self.x + 1013904223) % 2**32
        return (self.x >> 16) * limit >> 16

    def symbol(self, row: reference.Row) -> int:
        """A symbol of the table, as often as its frequency says; the first one for the escape."""
        first, frequencies = row
        slot = self.below(2**15)
        cell = next(i for i, end in enumerate(accumulate(frequencies)) if slot < end)
        return first if cell == len(frequencies) - 1 else first + cell


@dataclass
class Golden:
    """What a file holds: tables, slices as (how many symbols, those that repeat), and how many lanes to write."""

    rows: list[reference.Row]
    slices: list[tuple[int, reference.Slice]]
    lanes: int

    def file(self) -> bytes:
        """The file's bytes."""
        sizes = [(first, len(frequencies)) for first, frequencies in self.rows]
        data = struct.pack("<I", len(sizes)) + b"".join(struct.pack("<iI", *each) for each in sizes)
        data += b"".join(struct.pack(f"<{len(row[1])}H", *row[1]) for row in self.rows)
        data += struct.pack("<I", len(self.slices))
        whole: list[reference.Slice] = []
        for count, (symbols, indexes) in self.slices:
            period = len(symbols)
            data += struct.pack(f"<II{period}B{period}i", count, period, *indexes, *symbols)
            whole.append(([symbols[i % period] for i in range(count)], [indexes[i % period] for i in range(count)]))
        stream = reference.encode(whole, self.rows, self.lanes)
        return data + struct.pack("<I", len(stream)) + stream


NARROW = (-1, [2000, 28000, 2000, 768])
MIDDLE = (-4, [500, 1500, 4000, 6500, 8000, 6500, 4000, 1500, 268])
LOPSIDED = (3, [20000, 3000, 9000, 700, 68])
CERTAIN = (0, [32767, 1])
ALMOST = (-2, [2, 2, 32760, 2, 1, 1])
ENDS = [2**31 - 1, -(2**31), -5, 5, 4, -6, 32767, -32768, 65536, -65537, 1_000_000, -(2**30)]


def random_slice(generator: Generator, rows: list[reference.Row], period: int) -> reference.Slice:
    """Tables at random, and symbols as these say."""
    indexes = [generator.below(len(rows)) for _ in range(period)]
    return [generator.symbol(rows[index]) for index in indexes], indexes


def plain(seed: int, rows: list[reference.Row], count: int, lanes: int) -> Golden:
    """One slice."""
    return Golden(rows, [(count, random_slice(Generator(seed), rows, count))], lanes)


def escapes() -> Golden:
    """Every third symbol is outside its table."""
    golden = plain(5, [NARROW, MIDDLE, LOPSIDED], 120, 8)
    symbols = golden.slices[0][1][0]
    symbols[::3] = [ENDS[i % len(ENDS)] - i // len(ENDS) * (1 if ENDS[i % len(ENDS)] > 0 else -1) for i in range(40)]
    return golden


def surprises() -> Golden:
    """Some at a few places of a pattern that repeats through several blocks."""
    rows = [CERTAIN, ALMOST, NARROW]
    near, far = random_slice(Generator(6), rows, 100), random_slice(Generator(7), [CERTAIN, ALMOST], 701)
    for place, symbol in ((3, 1), (4, -1), (5, 2**31 - 1), (50, -(2**31)), (51, 7), (99, -300)):
        near[0][place], near[1][place] = symbol, place % 2
    far[0][:] = [0] * 701
    far[0][600] = -2
    return Golden(rows, [(100, near), (17_000, far), (100, near)], 2)


def slices() -> Golden:
    """Empty ones, one of a single symbol, one longer than a block."""
    rows = [NARROW, MIDDLE, CERTAIN, LOPSIDED]
    generator = Generator(8)
    parts = [(count, random_slice(generator, rows, period)) for count, period in ((0, 0), (1, 1), (300, 300), (0, 0))]
    long = random_slice(generator, [NARROW, ALMOST], 331)
    long[1][:] = [2 * index for index in long[1]]
    long[0][17], long[0][40:42] = 1000, [-1000, 0]
    return Golden(rows, [*parts, (8193, long), (1, ([0], [1]))], 32)


def far_tables() -> Golden:
    """Beyond 16 bits, at both ends of 32 bits, and at those of 16."""
    rows = [
        (-(2**31), [8000, 24000, 768]),
        (2**31 - 2, [8000, 24000, 768]),
        (-32768, [16384, 16000, 384]),
        (32766, [16384, 16000, 384]),
        (100_000, [300] * 109 + [68]),
        MIDDLE,
        ALMOST,
    ]
    golden = plain(9, rows, 500, 16)
    golden.slices[0][1][0][::10] = [ENDS[i % len(ENDS)] for i in range(50)]
    return golden


def wide_tables() -> Golden:
    """Cells of a few slots."""
    rows = [(-300, [1 + i % 7 for i in range(599)] + [30378]), (-300, [54] * 599 + [422])]
    return plain(10, rows, 400, 16)


def goldens() -> dict[str, Golden]:
    """All of them, by name."""
    return {
        "empty": Golden([NARROW], [], 1),
        "lanes-1": plain(1, [NARROW, MIDDLE], 60, 1),
        "lanes-4": plain(2, [NARROW, MIDDLE, LOPSIDED], 200, 4),
        "lanes-16": plain(3, [NARROW, MIDDLE, LOPSIDED], 500, 16),
        "lanes-64": plain(4, [NARROW, MIDDLE, LOPSIDED, CERTAIN], 1400, 64),
        "tail-only": plain(11, [NARROW, MIDDLE], 8, 4),
        "escapes": escapes(),
        "surprises": surprises(),
        "all-certain": Golden([CERTAIN, ALMOST], [(20_000, ([0, 0, 0], [0, 1, 1]))], 1),
        "slices": slices(),
        "far-tables": far_tables(),
        "wide-tables": wide_tables(),
    }


def main() -> None:
    """Writes every file."""
    for name, golden in goldens().items():
        (HERE / f"{name}.bin").write_bytes(golden.file())


if __name__ == "__main__":
    main()
