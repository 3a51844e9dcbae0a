"""What the entropy coder promises."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import reference_rans as reference
from intaglio.errors import ArgumentError, FormatError
from intaglio.rans import Decoder, Encoder, Tables, decode, encode
from intaglio.scales import SCALE_MAX, SCALE_MIN, scale_grid, scale_to_index

SEED = 20260
INT32 = np.iinfo(np.int32)
ANY_INT32 = st.integers(INT32.min, INT32.max)
GAUSSIAN = Tables.from_gaussian_scales(scale_grid())
# Lopsided, off-centre, at both ends of int32, and as small as a table can be.
ODD = Tables.from_pmfs(
    [
        (3, [0.5, 0.1, 0.2, 0.05]),
        (INT32.min, [0.25, 0.5]),
        (INT32.max - 1, [0.25, 0.5]),
        (-7, [0.001]),
        (0, np.full(20000, 1 / 20000)),
    ]
)


def sample(count: int, seed: int, tables: Tables = GAUSSIAN) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    """Symbols drawn from the tables' own Gaussians, one in 50 of them far outside."""
    rng = np.random.default_rng(seed)
    indexes = rng.integers(0, len(tables), count, dtype=np.uint8)
    symbols = np.rint(rng.normal(size=count) * scale_grid()[indexes]).astype(np.int32)
    far = rng.random(count) < 0.02
    symbols[far] = rng.integers(INT32.min, INT32.max, int(far.sum()), endpoint=True)
    return symbols, indexes


def split(count: int, rng: np.random.Generator) -> list[slice]:
    """A random cut of `count` symbols into slices, some of them empty."""
    edges = [0, *np.sort(rng.integers(0, count + 1, 5)).tolist(), count]
    return [slice(a, b) for a, b in pairwise(edges)]


@pytest.mark.parametrize("count", [*range(71), 1000, 30011])
def test_what_was_encoded_comes_back(count: int) -> None:
    symbols, indexes = sample(count, SEED + count)
    data = encode(symbols, indexes, GAUSSIAN)
    assert np.array_equal(decode(data, indexes, GAUSSIAN), symbols), SEED + count


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(ANY_INT32 | st.integers(-9, 9), st.integers(0, len(ODD) - 1))))
def test_any_int32_comes_back_from_any_table(pairs: list[tuple[int, int]]) -> None:
    symbols = np.array([symbol for symbol, _ in pairs], dtype=np.int32)
    indexes = np.array([index for _, index in pairs], dtype=np.uint8)
    data = encode(symbols, indexes, ODD)
    assert np.array_equal(decode(data, indexes, ODD), symbols)
    assert data == reference.encode(symbols.tolist(), indexes.tolist(), ODD)


def test_every_lane_count_gives_the_bytes_of_the_reference_coder_and_is_read_by_it() -> None:
    seen: set[int] = set()
    for count in (0, 1, 5, 900, 22000, 40000):
        symbols, indexes = sample(count, SEED + count)
        data = encode(symbols, indexes, GAUSSIAN)
        assert data == reference.encode(symbols.tolist(), indexes.tolist(), GAUSSIAN), SEED + count
        assert reference.decode(data, indexes.tolist(), GAUSSIAN) == symbols.tolist(), SEED + count
        seen.add(data[0])
    assert seen == {1, 2, 4}


def test_slices_of_the_encoder_and_of_the_decoder_are_cut_freely() -> None:
    rng = np.random.default_rng(SEED)
    for trial in range(20):
        symbols, indexes = sample(400, SEED + trial)
        encoder = Encoder(GAUSSIAN)
        for part in split(400, rng):
            encoder.push(symbols[part], indexes[part])
        data = encoder.finish()
        assert data == encode(symbols, indexes, GAUSSIAN), SEED + trial
        decoder = Decoder(data, GAUSSIAN)
        pulled = [decoder.pull(indexes[part]) for part in split(400, rng)]
        decoder.finish()
        assert np.array_equal(np.concatenate(pulled), symbols), SEED + trial


def test_shape_is_kept_and_neither_int16_nor_strides_nor_read_only_arrays_change_the_stream() -> None:
    symbols, indexes = sample(120, SEED)
    symbols = np.clip(symbols, -30000, 30000)
    data = encode(symbols, indexes, GAUSSIAN)
    assert encode(symbols.astype(np.int16), indexes, GAUSSIAN) == data
    block = np.ascontiguousarray(symbols.reshape(2, 3, 20).T).T
    assert not block.flags.c_contiguous
    block.setflags(write=False)
    shaped = np.repeat(indexes, 2).reshape(2, 3, 40)[:, :, ::2]
    assert encode(block, shaped, GAUSSIAN) == data
    assert np.array_equal(decode(data, shaped, GAUSSIAN), block)
    scalar, index = np.array(5, dtype=np.int32), np.array(1, dtype=np.uint8)
    assert decode(encode(scalar, index, GAUSSIAN), index, GAUSSIAN).shape == ()
    assert GAUSSIAN.bits(scalar, index).shape == ()


@pytest.mark.parametrize("value", [INT32.min, INT32.max, -1, 1, 65537, -65536])
@pytest.mark.parametrize("row", range(len(ODD)))
def test_escapes_reach_all_of_int32(value: int, row: int) -> None:
    symbols = np.full(9, value, dtype=np.int32)
    indexes = np.full(9, row, dtype=np.uint8)
    assert np.array_equal(decode(encode(symbols, indexes, ODD), indexes, ODD), symbols)


def test_a_stream_of_nothing_but_escapes_comes_back() -> None:
    symbols = np.random.default_rng(SEED).integers(INT32.min, INT32.max, 20000, dtype=np.int32)
    indexes = np.zeros(20000, dtype=np.uint8)
    data = encode(symbols, indexes, GAUSSIAN)
    assert np.array_equal(decode(data, indexes, GAUSSIAN), symbols), SEED
    expected = GAUSSIAN.bits(symbols, indexes).sum() / 8
    assert len(data) <= expected * 1.001 + 17, SEED


@pytest.mark.parametrize("spread", [0.05, 0.5, 3.0])
def test_written_size_is_the_estimate_to_a_thousandth_plus_the_flush(spread: float) -> None:
    rng = np.random.default_rng(SEED)
    scales = np.clip(np.exp(rng.normal(math.log(spread), 1.0, 200_000)), SCALE_MIN, SCALE_MAX)
    indexes = np.rint(scale_to_index(scales)).astype(np.uint8)
    symbols = np.rint(rng.normal(size=scales.shape) * scales).astype(np.int32)
    symbols[::5000] = 300
    data = encode(symbols, indexes, GAUSSIAN)
    estimate = float(GAUSSIAN.bits(symbols, indexes).sum())
    flush = 8 + 32 * data[0]
    assert estimate * 0.999 - flush <= 8 * len(data) <= estimate * 1.001 + flush, SEED


def test_bits_are_those_of_the_reference_coders_steps() -> None:
    rows = reference.rows_of(ODD)
    symbols = [3, 6, 7, 8, 100, 2, 1, -100, 2**20, INT32.min, INT32.max]
    for index, row in enumerate(rows):
        got = ODD.bits(np.array(symbols, dtype=np.int32), np.full(len(symbols), index, dtype=np.uint8))
        for symbol, value in zip(symbols, got.tolist(), strict=True):
            steps = reference.operations(symbol, *row)
            want = sum(math.log2(total / frequency) for _, frequency, total in steps)
            assert value == pytest.approx(want, abs=1e-9), (index, symbol)


def test_a_tiny_stream_pays_five_bytes_of_overhead() -> None:
    nothing = np.zeros(0, dtype=np.int32), np.zeros(0, dtype=np.uint8)
    assert encode(*nothing, GAUSSIAN) == b"\x01\x00\x00\x01\x00"
    zeros = np.zeros(1000, dtype=np.int32), np.zeros(1000, dtype=np.uint8)
    assert len(encode(*zeros, GAUSSIAN)) == 5


def outcome(data: bytes, indexes: NDArray[np.uint8]) -> str:
    try:
        decode(data, indexes, GAUSSIAN)
    except FormatError:
        return "error"
    return "symbols"


def test_every_prefix_of_a_stream_is_refused() -> None:
    symbols, indexes = sample(150, SEED)
    data = encode(symbols, indexes, GAUSSIAN)
    for length in range(len(data)):
        assert outcome(data[:length], indexes) == "error", (SEED, length)
    for tail in (b"\0", b"\0\0", b"\1\2\3\4"):
        assert outcome(data + tail, indexes) == "error", (SEED, tail)


def test_flipped_bits_and_noise_end_in_a_format_error_or_in_symbols() -> None:
    symbols, indexes = sample(150, SEED)
    data = encode(symbols, indexes, GAUSSIAN)
    caught = 0
    for bit in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        caught += outcome(bytes(damaged), indexes) == "error"
    assert caught > 0.9 * 8 * len(data), SEED  # raw bits of escapes carry no redundancy
    rng = np.random.default_rng(SEED)
    for trial in range(500):
        noise = bytes([1 << trial % 3]) + rng.bytes(int(rng.integers(0, 200)))
        outcome(noise, indexes)


def test_the_wrong_number_of_symbols_is_noticed() -> None:
    symbols, indexes = sample(300, SEED)
    symbols, indexes = symbols[indexes > 30], indexes[indexes > 30]
    data = encode(symbols, indexes, GAUSSIAN)
    for wrong in (indexes[:-1], np.append(indexes, np.uint8(40))):
        with pytest.raises(FormatError):
            decode(data, wrong, GAUSSIAN)


@pytest.mark.parametrize("zeros", [32, 33, 5000])
def test_an_escape_longer_than_any_int32_needs_is_refused(zeros: int) -> None:
    steps = reference.operations(INT32.max, *reference.rows_of(GAUSSIAN)[0])
    escape, sign = steps[:2]
    data = reference.encode_steps([[escape, sign, *[(0, 1, 2)] * zeros, (1, 1, 2)]], 1)
    with pytest.raises(FormatError, match="escape is too long"):
        decode(data, np.zeros(1, dtype=np.uint8), GAUSSIAN)


def test_an_escape_beyond_int32_is_refused() -> None:
    top = Tables.from_pmfs([(0, [0.9])])
    high = Tables.from_pmfs([(INT32.max - 3, [0.9])])
    for escape in (100, -(2**31)):
        symbol = np.array([escape], dtype=np.int32)
        index = np.zeros(1, dtype=np.uint8)
        data = encode(symbol, index, top)
        if escape > 0:
            with pytest.raises(FormatError, match="range of int32"):
                decode(data, index, high)
        else:
            with pytest.raises(FormatError, match="range of int32"):
                decode(data, index, Tables.from_pmfs([(INT32.min, [0.9])]))


def test_a_decoder_that_failed_stays_failed_and_a_finished_coder_stays_finished() -> None:
    symbols, indexes = sample(300, SEED)
    decoder = Decoder(encode(symbols, indexes, GAUSSIAN)[:21], GAUSSIAN)
    with pytest.raises(FormatError, match="no word left"):
        decoder.pull(indexes)
    with pytest.raises(FormatError, match="earlier slice"):
        decoder.pull(indexes[:1])
    with pytest.raises(FormatError, match="earlier slice"):
        decoder.finish()
    encoder = Encoder(GAUSSIAN)
    encoder.push(symbols, indexes)
    decoder = Decoder(encoder.finish(), GAUSSIAN)
    decoder.pull(indexes)
    decoder.finish()
    calls: list[tuple[Callable[..., object], list[Any]]] = [
        (encoder.push, [symbols, indexes]),
        (encoder.finish, []),
        (decoder.pull, [indexes]),
        (decoder.finish, []),
    ]
    for call, arguments in calls:
        with pytest.raises(ArgumentError, match="finished"):
            call(*arguments)


GOOD = np.zeros(3, dtype=np.int32), np.zeros(3, dtype=np.uint8)


@pytest.mark.parametrize(
    ("symbols", "indexes"),
    [
        (GOOD[0].astype(np.int64), GOOD[1]),
        (GOOD[0].astype(np.uint16), GOOD[1]),
        (GOOD[0].astype(">i4"), GOOD[1]),
        (GOOD[0].astype(np.float32), GOOD[1]),
        ([0, 0, 0], GOOD[1]),
        (GOOD[0], GOOD[1].astype(np.int32)),
        (GOOD[0], [0, 0, 0]),
        (GOOD[0][:2], GOOD[1]),
        (GOOD[0].reshape(1, 3), GOOD[1]),
        (GOOD[0], GOOD[1] + 64),
    ],
)
def test_wrong_arrays_are_refused_and_nothing_of_them_is_coded(symbols: Any, indexes: Any) -> None:
    encoder = Encoder(GAUSSIAN)
    with pytest.raises(ArgumentError):
        encoder.push(symbols, indexes)
    with pytest.raises(ArgumentError):
        GAUSSIAN.bits(symbols, indexes)
    assert len(encoder.finish()) == 5


def test_the_native_core_checks_for_itself() -> None:
    from intaglio import _native

    encoder = _native.Encoder(GAUSSIAN.native)
    encoder.push(np.array([1], dtype=np.int32), np.array([5], dtype=np.uint8))
    for symbols, indexes in (([1, 900], [0, 64]), ([1, 2], [0])):
        with pytest.raises(ArgumentError):
            encoder.push(np.array(symbols, dtype=np.int32), np.array(indexes, dtype=np.uint8))
    data = encoder.finish()
    assert data == encode(np.array([1], dtype=np.int32), np.array([5], dtype=np.uint8), GAUSSIAN)
    decoder = _native.Decoder(data, GAUSSIAN.native)
    with pytest.raises(ArgumentError):
        decoder.pull(np.zeros(2, dtype=np.uint8), np.zeros(1, dtype=np.int32))
    with pytest.raises(ArgumentError):
        decoder.pull(np.full(1, 64, dtype=np.uint8), np.zeros(1, dtype=np.int32))


@pytest.mark.parametrize("data", ["text", bytearray(5), None])
def test_only_bytes_are_decoded(data: Any) -> None:
    with pytest.raises(ArgumentError):
        Decoder(data, GAUSSIAN)


def test_threads_may_share_an_encoder() -> None:
    encoder = Encoder(GAUSSIAN)
    part = np.full(50_000, 3, dtype=np.int32), np.full(50_000, 40, dtype=np.uint8)
    threads = [threading.Thread(target=encoder.push, args=part) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert encoder.finish() == encode(np.tile(part[0], 4), np.tile(part[1], 4), GAUSSIAN)
