"""A trellis: what it chooses is a path, the cheapest one, and comes back from every implementation and number of lanes,
as docs/format.md says; what cannot be is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
import pytest

import reference_rans as reference
from document import documented_loop
from intaglio.errors import ArgumentError, FormatError
from intaglio.quantiser import Rounding, Trellis, first_tables, of_config
from intaglio.rans import Decoder, Encoder, Tables
from intaglio.scales import SCALES, scale_grid
from rans_cases import IMPLEMENTATIONS

SIZE = 11
TABLES = first_tables(SIZE)
CERTAIN = TABLES.certain()[:SCALES]
NEXT = ((0, 2), (5, 7), (1, 3), (6, 4), (2, 0), (4, 6), (3, 1), (7, 5))  # by state, for an even symbol and an odd one
BLOCK = 8192

Drawn = tuple[np.ndarray, np.ndarray]


def drawn(count: int, seed: int, far: float = 0.01) -> Drawn:
    """Latents less their means and the rows of their tables; the share `far` of them where no table expects any."""
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, SCALES, count, dtype=np.uint8)
    values = rng.standard_normal(count) * scale_grid()[rows]
    wild = rng.random(count) < far
    values[wild] *= 10.0 ** rng.uniform(0.0, 4.0, int(wild.sum()))
    return values.astype(np.float32), rows


def trellis(cost: float = 12.0) -> Trellis:
    return Trellis(TABLES, SIZE, cost)


def chains(rows: np.ndarray) -> Iterator[list[int]]:
    """The places of each chain's symbols."""
    count = next(count for count in (64, 32, 16, 8, 4, 2, 1) if count == 1 or count * 2048 <= len(rows))
    found: list[list[int]] = [[] for _ in range(count)]
    for start in range(0, len(rows), BLOCK):
        places = [place for place in range(start, min(start + BLOCK, len(rows))) if not CERTAIN[rows[place]]]
        for number, place in enumerate(places):
            found[number % count].append(place)
    yield from found


def parity(symbol: int, table: int) -> int:
    """Of a symbol; of an escape, that of the symbol after the table's last."""
    first, end = int(TABLES.first[table]), int(TABLES.first[table] + TABLES.sizes[table]) - 1
    return (symbol if first <= symbol < end else end) % 2


@pytest.mark.parametrize("count", [0, 1, 63, 5_000, 20_000, 140_000])
def test_what_is_chosen_is_a_path_near_the_latents(count: int, seed: int) -> None:
    values, rows = drawn(count, seed)
    symbols, used, steps = trellis().quantise(values, rows)
    for chain in chains(rows):
        state = 0
        for place in chain:
            odd = state % 2
            assert used[place] == rows[place] + SCALES * odd, f"seed {seed}"
            assert steps[place] == 2 * symbols[place] - odd * np.sign(symbols[place])
            state = NEXT[state][parity(int(symbols[place]), int(used[place]))]
    sure = CERTAIN[rows]
    assert np.array_equal(used[sure], rows[sure])
    assert np.array_equal(steps[sure], 2 * symbols[sure])
    error = np.abs(trellis(1e5).offsets(trellis(1e5).quantise(values, rows)[2]) - values)[~sure]
    assert count < 100 or np.sqrt(np.mean(error**2)) < 0.75 * SIZE / 16


def test_no_path_is_cheaper(seed: int) -> None:
    cost = 9.0
    for number in range(6):
        values, rows = drawn(4, seed + number, far=0.0)
        rows = (8 + rows % 16).astype(np.uint8)  # none of them certain
        values = np.clip(values, -2.5, 2.5)
        symbols, used, steps = trellis(cost).quantise(values, rows)
        found = TABLES.bits(symbols, used) + cost * (steps * SIZE / 16 - values) ** 2
        lowest = min(_cost(path, values, rows, cost) for path in product(range(-3, 4), repeat=4))
        assert found.sum() == pytest.approx(lowest, rel=1e-5), f"seed {seed}"


def _cost(path: tuple[int, ...], values: np.ndarray, rows: np.ndarray, cost: float) -> float:
    total, state = 0.0, 0
    for symbol, value, row in zip(path, values, rows, strict=True):
        table = row + SCALES * (state % 2)
        place = (2 * symbol - state % 2 * np.sign(symbol)) * SIZE / 16
        total += _bits(symbol, int(table)) + cost * (place - value) ** 2
        state = NEXT[state][parity(symbol, int(table))]
    return total


_KNOWN: dict[tuple[int, int], float] = {}


def _bits(symbol: int, table: int) -> float:
    if (symbol, table) not in _KNOWN:
        found = TABLES.bits(np.array([symbol], np.int32), np.array([table], np.uint8))
        _KNOWN[symbol, table] = float(found[0])
    return _KNOWN[symbol, table]


def coded(parts: list[Drawn]) -> tuple[list[tuple[np.ndarray, np.ndarray]], list[np.ndarray]]:
    """What is pushed of each slice, and the steps; the first slice is plain, of z's tables."""
    pushed, steps = [], []
    for number, (values, rows) in enumerate(parts):
        if number == 0:
            table = (rows + 2 * SCALES).astype(np.uint8)
            symbols, used, found = Rounding().quantise(values, table)
        else:
            symbols, used, found = trellis().quantise(values, rows)
        pushed.append((symbols, used))
        steps.append(found)
    return pushed, steps


def read(stream: bytes, parts: list[Drawn], implementation: str) -> list[np.ndarray] | None:
    """The steps of each slice, or None where the stream is refused."""
    try:
        decoder = Decoder(stream, TABLES, implementation)
        found = [decoder.pull((parts[0][1] + 2 * SCALES).astype(np.uint8))]
        found += [decoder.follow(rows) for _, rows in parts[1:]]
        decoder.finish()
    except FormatError:
        return None
    return found


def read_as_documented(stream: bytes, parts: list[Drawn]) -> list[list[int]] | None:
    rows = [(parts[0][1] + 2 * SCALES).tolist(), *(each.tolist() for _, each in parts[1:])]
    try:
        return list(documented_loop()(stream, reference.rows_of(TABLES), rows, range(1, len(parts))))
    except ValueError:
        return None


def slices(counts: list[int], seed: int, far: float = 0.01) -> list[Drawn]:
    return [drawn(count, seed + number, far) for number, count in enumerate(counts)]


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize(
    "counts", [[5, 0, 1], [40, 700, 65], [300, 20_000, 9_000, 8_192], [9, 140_000, 70_000, 33_000]], ids=str
)
def test_steps_come_back(counts: list[int], implementation: str, seed: int) -> None:
    parts = slices(counts, seed)
    pushed, steps = coded(parts)
    encoder = Encoder(TABLES, implementation)
    for symbols, used in pushed:
        encoder.push(symbols, used)
    found = read(encoder.finish(), parts, implementation)
    assert found is not None
    assert all(np.array_equal(one, other) for one, other in zip(found, steps, strict=True)), f"seed {seed}"


@pytest.mark.parametrize("lanes", reference.LANES)
def test_every_number_of_lanes_is_read_as_documented(lanes: int, seed: int) -> None:
    parts = slices([20, 500, 130], seed, far=0.02)
    pushed, steps = coded(parts)
    lists = [(symbols.tolist(), used.tolist()) for symbols, used in pushed]
    stream = reference.encode(lists, reference.rows_of(TABLES), lanes)
    assert read_as_documented(stream, parts) == [each.tolist() for each in steps], f"seed {seed}"
    for implementation in IMPLEMENTATIONS:
        found = read(stream, parts, implementation)
        assert found is not None
        assert [each.tolist() for each in found] == [each.tolist() for each in steps], f"seed {seed}"


@pytest.mark.parametrize("lanes", [1, 8, 32])
def test_every_prefix_and_every_bit_flip_ends_alike_everywhere(lanes: int) -> None:
    parts = slices([3, 40, 30], 5, far=0.1)
    pushed, _ = coded(parts)
    lists = [(symbols.tolist(), used.tolist()) for symbols, used in pushed]
    stream = reference.encode(lists, reference.rows_of(TABLES), lanes)
    flipped = [bytearray(stream) for _ in range(8 * len(stream))]
    for bit, each in enumerate(flipped):
        each[bit // 8] ^= 1 << bit % 8
    for bad in [*(stream[:length] for length in range(len(stream))), *map(bytes, flipped)]:
        want = read_as_documented(bad, parts)
        assert len(bad) == len(stream) or want is None
        for implementation in IMPLEMENTATIONS:
            found = read(bad, parts, implementation)
            assert (None if found is None else [each.tolist() for each in found]) == want, bad.hex()


def test_wrong_calls_are_refused() -> None:
    values, rows = drawn(9, 1)
    decoder = Decoder(b"\0" * 9, TABLES)
    with pytest.raises(ArgumentError, match="index 64 is too large: a trellis has 64"):
        decoder.follow(np.full(3, SCALES, np.uint8))
    with pytest.raises(ArgumentError, match="index 64 is too large: a trellis has 64"):
        trellis().quantise(values, np.full(9, SCALES, np.uint8))
    with pytest.raises(ArgumentError, match="latents must be numbers"):
        trellis().quantise(np.where(np.arange(9) == 4, np.float32(np.nan), values), rows)
    _, _, steps = trellis().quantise(np.full(9, -1e20, np.float32), rows)
    assert np.all(np.abs(steps + 2.0**29) <= 1)
    few = Tables.from_gaussian_scales(scale_grid())
    with pytest.raises(ArgumentError, match="64 tables and their twins"):
        Decoder(b"\0" * 9, few).follow(rows)
    with pytest.raises(ArgumentError, match="64 tables and their twins"):
        Trellis(few, SIZE, 12.0).quantise(values, rows)


def swapped() -> Tables:
    """Certain tables for odd states where those of even ones are not."""
    found = reference.rows_of(TABLES)
    rows = [*found[SCALES : 2 * SCALES], *found[:SCALES], *found[2 * SCALES :]]
    return Tables(
        np.array([first for first, _ in rows], np.int32),
        np.array([len(cells) for _, cells in rows], np.int32),
        np.concatenate([cells for _, cells in rows]).astype(np.uint16),
    )


@pytest.mark.parametrize(
    ("config", "tables", "fault"),
    [
        ({"trellis": 11}, TABLES, "a trellis needs 0.001 or more"),
        ({"trellis": 11, "error_cost": 1e-46}, TABLES, "a trellis needs 0.001 or more"),
        ({"trellis": 65, "error_cost": 9.0}, TABLES, "trellis is 65, not a whole number from 0 to 64"),
        ({"trellis": True, "error_cost": 9.0}, TABLES, "trellis is True"),
        ({"trellis": "11", "error_cost": 9.0}, TABLES, "trellis is '11'"),
        ({"trellis": 11, "error_cost": 9.0}, Tables.from_gaussian_scales(scale_grid()), "128 tables, there are 64"),
        ({"trellis": 11, "error_cost": 9.0}, swapped(), "certain where that of even ones is not"),
        ({"trellis": 11, "error_cost": -1.0}, TABLES, "error_cost is -1.0"),
    ],
    ids=str,
)
def test_models_that_cannot_be_are_refused(config: dict[str, Any], tables: Tables, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        of_config(config, tables, True)
    assert isinstance(of_config({"trellis": 11, "error_cost": 9.0}, TABLES, True), Trellis)
    with pytest.raises(ValueError, match="no Gaussian tables"):
        of_config({"trellis": 11, "error_cost": 9.0}, TABLES, False)


def test_odd_tables_are_never_certain_where_even_ones_are_not() -> None:
    for size in (1, 8, 16, 64):
        certain = first_tables(size).certain()
        assert not np.any(certain[SCALES : 2 * SCALES] & ~certain[:SCALES])
