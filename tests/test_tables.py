"""What the frequency tables and the scale grid promise."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import reference_rans as reference
from intaglio import rans
from intaglio.errors import ArgumentError
from intaglio.rans import Tables, decode, encode
from intaglio.scales import LOG_STEP, SCALE_MAX, SCALE_MIN, SCALES, index_to_scale, scale_grid, scale_to_index

SEED = 20261
INT32 = np.iinfo(np.int32)
GAUSSIAN = Tables.from_gaussian_scales(scale_grid())


def arrays(first: list[int], sizes: list[int], frequencies: list[int]) -> tuple[Any, Any, Any]:
    return np.array(first, np.int32), np.array(sizes, np.int32), np.array(frequencies, np.uint16)


WRONG_TABLES = [
    arrays([], [], []),
    arrays([0], [1], [32768]),
    arrays([0], [2], [32767, 2]),
    arrays([0], [2], [32767, 0]),
    arrays([0], [3], [32768, 65535, 1]),
    arrays([0], [3], [1, 32767]),
    arrays([0], [-2], [1, 32767]),
    arrays([0, 0], [2], [1, 32767]),
    arrays([0, 0], [2, 2], [1, 32767, 1, 32766]),
    arrays([INT32.max], [3], [1, 1, 32766]),
    arrays([0] * 257, [2] * 257, [1, 32767] * 257),
]


@pytest.mark.parametrize("wrong", WRONG_TABLES)
def test_arrays_that_are_no_tables_are_refused_on_both_sides(wrong: tuple[Any, Any, Any]) -> None:
    from intaglio import _native

    for construct in (Tables, _native.Tables):
        with pytest.raises(ArgumentError):
            construct(*wrong)


def test_tables_survive_arrays_and_pickle_and_cannot_be_changed() -> None:
    symbols = np.arange(-50, 50, dtype=np.int32)
    indexes = np.full(100, 40, dtype=np.uint8)
    data = encode(symbols, indexes, GAUSSIAN)
    for copy in (Tables.from_arrays(GAUSSIAN.to_arrays()), pickle.loads(pickle.dumps(GAUSSIAN))):
        assert encode(symbols, indexes, copy) == data
        with pytest.raises(ValueError, match="read-only"):
            copy.frequencies[0] = 9
    with pytest.raises(ArgumentError, match="sizes"):
        Tables.from_arrays({"first": GAUSSIAN.first, "frequencies": GAUSSIAN.frequencies})
    with pytest.raises(ArgumentError, match="int32"):
        Tables(GAUSSIAN.first.astype(np.int64), GAUSSIAN.sizes, GAUSSIAN.frequencies)  # pyright: ignore[reportArgumentType]


def test_gaussian_tables_are_symmetric_and_lose_less_than_a_three_hundredth_bit() -> None:
    for row, (first, frequencies) in enumerate(reference.rows_of(GAUSSIAN)):
        cells = frequencies[:-1]
        assert cells == cells[::-1]
        assert 2 * first == 1 - len(cells)
        unit = 1 / (scale_grid()[row] * math.sqrt(2))
        reach = 2 * len(cells) + 4
        symbols = np.arange(-reach, reach + 1, dtype=np.int32)
        edges = [(abs(y) - 0.5) * unit for y in symbols.tolist()]
        p = np.array([math.erfc(edge) - math.erfc(edge + unit) for edge in edges]) / 2
        assert p.sum() == pytest.approx(1, abs=1e-9)
        entropy = -(p[p > 0] * np.log2(p[p > 0])).sum()
        coded = (p * GAUSSIAN.bits(symbols, np.full(symbols.shape, row, np.uint8))).sum()
        assert 0 <= coded - entropy < 0.003


PALINDROMES = [[0.2, 0.3, 0.2], [0.2, 0.2], [1.0], [1e-9], [1e-9, 0.5, 1e-9], [1 / 32767] * 32767]


@pytest.mark.parametrize("pmf", PALINDROMES)
def test_a_palindrome_stays_one_and_every_cell_has_a_slot(pmf: Any) -> None:
    ((_, frequencies),) = reference.rows_of(Tables.from_pmfs([(0, pmf)]))
    assert frequencies[:-1] == frequencies[-2::-1]
    assert min(frequencies) >= 1
    assert sum(frequencies) == 32768


@pytest.mark.parametrize(
    "construct",
    [
        lambda: Tables.from_pmfs([]),
        lambda: Tables.from_pmfs([(0, [0.5])] * 257),
        lambda: Tables.from_pmfs([(0, [0.6, 0.6])]),
        lambda: Tables.from_pmfs([(0, [-0.1, 0.6])]),
        lambda: Tables.from_pmfs([(0, [math.nan])]),
        lambda: Tables.from_pmfs([(0, [0.0, 0.0])]),
        lambda: Tables.from_pmfs([(2**31, [0.5])]),
        lambda: Tables.from_pmfs([(0, np.full(40000, 1 / 40000))]),
        lambda: Tables.from_gaussian_scales([0.0]),
        lambda: Tables.from_gaussian_scales([1.0, math.inf]),
        lambda: Tables.from_gaussian_scales([math.nan]),
        lambda: scale_to_index([1.0, 0.0]),
        lambda: scale_to_index([1.0, math.inf]),
        lambda: scale_to_index(math.nan),
    ],
)
def test_impossible_probabilities_and_scales_are_refused(construct: Callable[[], object]) -> None:
    with pytest.raises(ArgumentError):
        construct()


def test_the_widest_gaussian_table_still_codes() -> None:
    tables = Tables.from_gaussian_scales([1e-300, rans.MAX_GAUSSIAN_SCALE])
    symbols = np.rint(np.random.default_rng(SEED).normal(size=2000) * 4096).astype(np.int32)
    indexes = np.ones(2000, dtype=np.uint8)
    assert np.array_equal(decode(encode(symbols, indexes, tables), indexes, tables), symbols), SEED


def test_the_scale_grid_is_logarithmic_and_its_edges_are_geometric_means() -> None:
    grid = scale_grid()
    assert grid.shape == (SCALES,)
    assert grid[0] == SCALE_MIN
    assert grid[-1] == pytest.approx(SCALE_MAX)
    assert np.diff(np.log(grid)) == pytest.approx(LOG_STEP)
    assert scale_to_index(grid) == pytest.approx(np.arange(SCALES), abs=1e-9)
    edges = np.sqrt(grid[:-1] * grid[1:])
    assert np.array_equal(np.rint(scale_to_index(edges * 0.999)), np.arange(SCALES - 1))
    assert np.array_equal(np.rint(scale_to_index(edges * 1.001)), np.arange(1, SCALES))
    assert index_to_scale(0.5) == pytest.approx(edges[0])
