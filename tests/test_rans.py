"""What goes into the entropy coder comes out, and every implementation writes the bytes of the reference coder."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import reference_rans as reference
from intaglio.rans import Tables, decode, encode
from rans_cases import (
    GAUSSIAN,
    IMPLEMENTATIONS,
    INT32,
    TABLE_SETS,
    Part,
    cut,
    drawn,
    forged,
    lanes_of,
    read,
    reference_outcome,
    tables_of,
    write,
)

Pair = tuple[int, int]


def pairs_of(tables: Tables) -> st.SearchStrategy[Pair]:
    """A symbol (any int32, a small one, or one at an edge of its table) and an index."""

    def symbols(index: int) -> st.SearchStrategy[Pair]:
        first, last = int(tables.first[index]), int(tables.first[index]) + int(tables.sizes[index]) - 2
        edges = [each for each in (first - 1, first, last, last + 1) if INT32.min <= each <= INT32.max]
        inside = st.integers(first, last)
        values = inside | st.integers(-9, 9) | st.sampled_from(edges) | st.integers(INT32.min, INT32.max)
        return values.map(lambda symbol: (symbol, index))

    return st.integers(0, len(tables) - 1).flatmap(symbols)


def slices_of(tables: Tables) -> st.SearchStrategy[list[Part]]:
    def arrays(pairs: list[Pair]) -> Part:
        return np.array([pair[0] for pair in pairs], np.int32), np.array([pair[1] for pair in pairs], np.uint8)

    return st.lists(st.lists(pairs_of(tables), max_size=40).map(arrays), max_size=4)


@pytest.mark.parametrize("name", TABLE_SETS)
@given(st.data())
def test_any_slices_come_back_with_the_bytes_of_the_reference_coder(name: str, data: st.DataObject) -> None:
    tables = TABLE_SETS[name]
    parts = data.draw(slices_of(tables))
    symbols, indexes = [part[0].tolist() for part in parts], [part[1] for part in parts]
    streams = {write(parts, tables, implementation) for implementation in IMPLEMENTATIONS}
    (stream,) = streams
    assert stream == forged(parts, tables, lanes_of(stream))
    assert reference_outcome(stream, indexes, tables) == symbols
    other = forged(parts, tables, data.draw(st.sampled_from(reference.LANES)))
    for implementation in IMPLEMENTATIONS:
        assert read(stream, indexes, tables, implementation) == symbols
        assert read(other, indexes, tables, implementation) == symbols


@pytest.mark.parametrize("name", TABLE_SETS)
@pytest.mark.parametrize("lanes", reference.LANES)
def test_every_number_of_lanes_is_read(name: str, lanes: int, rng: np.random.Generator, seed: int) -> None:
    tables = TABLE_SETS[name]
    parts = cut(drawn(1500, rng, tables, far=0.02), sorted(rng.integers(0, 1500, 3).tolist()))
    stream = forged(parts, tables, lanes)
    want = [symbols.tolist() for symbols, _ in parts]
    for implementation in IMPLEMENTATIONS:
        assert read(stream, [indexes for _, indexes in parts], tables, implementation) == want, f"seed {seed}"


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_the_writer_chooses_more_lanes_for_more_bits_but_few_for_a_small_stream(implementation: str) -> None:
    symbols, indexes = drawn(2**16, np.random.default_rng(1))
    sizes = [2**k for k in range(4, 17)]
    chosen = [lanes_of(encode(symbols[:n], indexes[:n], GAUSSIAN, implementation)) for n in sizes]
    assert set(chosen) == {1, 2, 4, 16, 32, 64}
    assert chosen == sorted(chosen)


@pytest.mark.parametrize("far", [0.0, 0.05])
def test_every_length_up_to_300_comes_back_with_any_lanes(far: float, rng: np.random.Generator, seed: int) -> None:
    for count in range(301):
        part = drawn(count, rng, GAUSSIAN, far)
        streams = {write([part], GAUSSIAN, implementation) for implementation in IMPLEMENTATIONS}
        (stream,) = streams
        other = forged([part], GAUSSIAN, reference.LANES[count % 7])
        for implementation in IMPLEMENTATIONS:
            for each in (stream, other):
                assert read(each, [part[1]], GAUSSIAN, implementation) == [part[0].tolist()], f"seed {seed}, {count}"


def wide(count: int, rng: np.random.Generator) -> tuple[Part, Tables]:
    """A normal distribution so wide that look-ups by bucket often miss."""
    tables = Tables.from_gaussian_scales([300.0, 1000.0, 4096.0])
    return drawn(count, rng, tables), tables


def escapes(count: int, rng: np.random.Generator) -> tuple[Part, Tables]:
    return (drawn(count, rng, GAUSSIAN, far=1.0)[0], rng.integers(2, 64, count, dtype=np.uint8)), GAUSSIAN


def all_certain(count: int, rng: np.random.Generator) -> tuple[Part, Tables]:
    tables = TABLE_SETS["certain only"]
    return (np.zeros(count, np.int32), drawn(count, rng, tables)[1]), tables


def surprises(count: int, rng: np.random.Generator) -> tuple[Part, Tables]:
    tables = TABLE_SETS["certain only"]
    return drawn(count, rng, tables, far=1.0), tables


def rare_surprises(count: int, rng: np.random.Generator) -> tuple[Part, Tables]:
    tables = TABLE_SETS["certain"]
    return drawn(count, rng, tables, far=0.001), tables


def limits(count: int, rng: np.random.Generator) -> tuple[Part, Tables]:
    """The ends of int32 and int16 and what is next to them."""
    values = [INT32.min, INT32.max, -32769, -32768, -32767, 32766, 32767, 32768, -1, 0, 1]
    tables = TABLE_SETS["far"]
    return (rng.choice(np.array(values, np.int32), count), drawn(count, rng, tables)[1]), tables


def mixed(count: int, rng: np.random.Generator) -> tuple[Part, Tables]:
    return drawn(count, rng, GAUSSIAN, far=0.01), GAUSSIAN


Kind = Callable[[int, np.random.Generator], tuple[Part, Tables]]
KINDS: list[Kind] = [wide, escapes, all_certain, surprises, rare_surprises, limits, mixed]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("count", [1, 64, 8191, 8192, 8193, 20_000])
def test_implementations_agree_on_every_kind_of_symbols(
    kind: Kind, count: int, rng: np.random.Generator, seed: int
) -> None:
    part, tables = kind(count, rng)
    for edges in ([], sorted(rng.integers(0, count + 1, 3).tolist())):
        parts = cut(part, edges)
        streams = {write(parts, tables, implementation) for implementation in IMPLEMENTATIONS}
        assert len(streams) == 1, f"seed {seed}, {edges}"
        (stream,) = streams
        for implementation in IMPLEMENTATIONS:
            back = read(stream, [indexes for _, indexes in parts], tables, implementation)
            assert back == [symbols.tolist() for symbols, _ in parts], f"seed {seed}, {edges}, {implementation}"


@pytest.mark.parametrize("name", TABLE_SETS)
def test_several_blocks_have_the_bytes_of_the_reference_coder(name: str, rng: np.random.Generator, seed: int) -> None:
    tables = TABLE_SETS[name]
    count = 9_000 if name == "wide" else 20_000
    parts = cut(drawn(count, rng, tables, far=0.01), [100, 100, count - 50])
    (stream,) = {write(parts, tables, implementation) for implementation in IMPLEMENTATIONS}
    assert stream == forged(parts, tables, lanes_of(stream)), f"seed {seed}"


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_every_frequency_is_divided_by_exactly(implementation: str, rng: np.random.Generator, seed: int) -> None:
    every = rng.permutation(np.arange(1, 32768))
    tables = [(0, [frequency, 32768 - frequency]) for frequency in every.tolist()]
    for start in range(0, len(tables), 256):
        few = tables_of(*tables[start : start + 256])
        indexes = rng.integers(0, len(few), 20_000, dtype=np.uint8)
        symbols = rng.integers(0, 2, 20_000, dtype=np.int32)  # a one is an escape, distance one
        stream = encode(symbols, indexes, few, implementation)
        assert lanes_of(stream) >= 16  # else the vectors would not be used
        assert stream == encode(symbols, indexes, few, "portable"), f"seed {seed}"
        assert np.array_equal(decode(stream, indexes, few, implementation), symbols), f"seed {seed}"


def test_bits_of_a_symbol_are_those_of_its_cell_and_of_its_distance() -> None:
    symbols = [3, 6, 7, 8, 100, 2, 1, -100, 2**20, INT32.min, INT32.max]
    tables = TABLE_SETS["lopsided"]
    for index, (first, frequencies) in enumerate(reference.rows_of(tables)):
        got = tables.bits(np.array(symbols, np.int32), np.full(len(symbols), index, np.uint8))
        for symbol, value in zip(symbols, got.tolist(), strict=True):
            want = 15 - math.log2(frequencies[reference.cell_of(symbol, (first, frequencies))])
            if reference.is_escape(symbol, (first, frequencies)):
                bits = reference.BitList()
                bits.put_outside(symbol, first, first + len(frequencies) - 2)
                want += len(bits.bits)
            assert value == pytest.approx(want, abs=1e-9), (index, symbol)


def test_shape_dtype_strides_and_read_only_arrays_leave_the_stream_as_it_is(
    rng: np.random.Generator, seed: int
) -> None:
    symbols, indexes = drawn(1200, rng)
    symbols = np.clip(symbols, -32768, 32767)
    for implementation in IMPLEMENTATIONS:
        stream = encode(symbols, indexes, GAUSSIAN, implementation)
        assert encode(symbols.astype(np.int16), indexes, GAUSSIAN, implementation) == stream, f"seed {seed}"
        block = np.ascontiguousarray(symbols.reshape(20, 3, 20).T).T
        shaped = np.repeat(indexes, 2).reshape(20, 3, 40)[:, :, ::2]
        assert not block.flags.c_contiguous
        assert not shaped.flags.c_contiguous
        block.setflags(write=False)
        shaped.setflags(write=False)
        assert encode(block, shaped, GAUSSIAN, implementation) == stream, f"seed {seed}"
        back = decode(stream, shaped, GAUSSIAN, implementation)
        assert back.dtype == np.int32
        assert np.array_equal(back, block), f"seed {seed}"


def test_a_single_symbol_may_have_no_dimensions() -> None:
    scalar, index = np.array(5, np.int32), np.array(10, np.uint8)
    back = decode(encode(scalar, index, GAUSSIAN), index, GAUSSIAN)
    assert back.shape == ()
    assert back == 5
    assert GAUSSIAN.bits(scalar, index).shape == ()


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_int16_symbols_reach_both_ends_of_int16(implementation: str) -> None:
    symbols = np.array([-32768, 32767, 0, 1, -1] * 2000, np.int16)
    indexes = np.arange(10_000).astype(np.uint8)
    for name in ("gaussian", "far", "certain only"):
        tables, rows = TABLE_SETS[name], indexes % np.uint8(len(TABLE_SETS[name]))
        stream = encode(symbols, rows, tables, implementation)
        assert stream == encode(symbols.astype(np.int32), rows, tables, implementation)
        assert np.array_equal(decode(stream, rows, tables, implementation), symbols)
