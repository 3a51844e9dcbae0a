"""How many bytes the entropy coder writes."""

from __future__ import annotations

import math

import numpy as np
import pytest

from intaglio.bench.workloads import SYNTHETIC, synthetic
from intaglio.rans import encode
from intaglio.scales import SCALE_MAX, SCALE_MIN, scale_to_index
from rans_cases import GAUSSIAN, INT32, TABLE_SETS, drawn, forged, lanes_of

NOTHING = np.zeros(0, np.int32), np.zeros(0, np.uint8)


def flush(lanes: int) -> int:
    """Bits that a stream may differ by from what its symbols cost: the kind, one state, a byte's fill; per further
    lane, its exponent and a little; the count of symbols before the tail."""
    return 40 if lanes == 1 else 68 + 6 * lanes


@pytest.mark.parametrize("spread", [0.05, 0.5, 3.0])
@pytest.mark.parametrize("count", [0, 10, 1000, 20_000, 200_000])
def test_written_size_is_the_estimate_to_a_thousandth_plus_the_flush(
    spread: float, count: int, rng: np.random.Generator, seed: int
) -> None:
    scales = np.clip(np.exp(rng.normal(math.log(spread), 1.0, count)), SCALE_MIN, SCALE_MAX)
    indexes = np.rint(scale_to_index(scales)).astype(np.uint8)
    symbols = np.rint(rng.normal(size=count) * scales).astype(np.int32)
    symbols[::5000] = 300
    stream = encode(symbols, indexes, GAUSSIAN)
    estimate = float(GAUSSIAN.bits(symbols, indexes).sum())
    allowed = 0.001 * estimate + flush(lanes_of(stream))
    assert abs(8 * len(stream) - estimate) <= allowed, f"seed {seed}: {8 * len(stream)} bits, not {estimate:.0f}"


def test_nothing_but_escapes_costs_what_is_estimated(rng: np.random.Generator, seed: int) -> None:
    symbols = rng.integers(INT32.min, INT32.max, 20_000, dtype=np.int32)
    indexes = np.full(20_000, 2, np.uint8)
    stream = encode(symbols, indexes, GAUSSIAN)
    estimate = float(GAUSSIAN.bits(symbols, indexes).sum())
    assert abs(8 * len(stream) - estimate) <= 0.001 * estimate + flush(lanes_of(stream)), f"seed {seed}"


def test_a_tiny_stream_pays_at_most_four_bytes_and_a_small_one_less_than_twelve(
    rng: np.random.Generator, seed: int
) -> None:
    assert encode(*NOTHING, GAUSSIAN) == bytes(4)
    zeros = np.zeros(100_000, np.int32), np.zeros(100_000, np.uint8)
    assert encode(*zeros, TABLE_SETS["certain only"]) == bytes(4)
    for count in range(0, 1537, 64):
        symbols, indexes = drawn(count, rng)
        overhead = len(encode(symbols, indexes, GAUSSIAN)) - float(GAUSSIAN.bits(symbols, indexes).sum()) / 8
        assert overhead < 12, f"seed {seed}, {count} symbols"


def test_lanes_cost_less_than_half_a_percent(rng: np.random.Generator, seed: int) -> None:
    for count in (1000, 3000, 10_000, 30_000):
        part = drawn(count, rng)
        stream = encode(*part, GAUSSIAN)
        assert lanes_of(stream) > 1
        assert len(stream) <= 1.005 * len(forged([part], GAUSSIAN, 1)) + 3, f"seed {seed}, {count}"


def test_surprises_cost_about_what_their_rarity_is_worth(rng: np.random.Generator, seed: int) -> None:
    symbols = np.zeros(1_000_000, np.int32)
    places = rng.choice(len(symbols), 100, replace=False)
    symbols[places] = rng.choice(np.array([-1, 1]), 100)
    stream = encode(symbols, np.zeros(len(symbols), np.uint8), TABLE_SETS["certain only"])
    ideal = 100 * (math.log2(10_000 * math.e) + 1)
    assert 8 * len(stream) <= 1.25 * ideal + 40, f"seed {seed}"


@pytest.mark.parametrize("name", SYNTHETIC)
@pytest.mark.parametrize(
    ("count", "turns", "percent"), [(100_000, 8, 0.6), pytest.param(2_000_000, 1, 0.15, marks=pytest.mark.slow)]
)
def test_synthetic_latents_come_close_to_the_ideal(
    name: str, count: int, turns: int, percent: float, seed: int
) -> None:
    bits = ideal = 0.0  # of several turns: luck alone makes 0.1 percent in 100,000 symbols
    for turn in range(turns):
        work = synthetic(name, count, seed + turn)
        bits += 8 * len(encode(work.symbols, work.indexes, work.tables))
        ideal += count * work.ideal_bits
    assert bits <= ideal * (1 + percent / 100), f"seed {seed}: {100 * (bits / ideal - 1):.3f} %"
