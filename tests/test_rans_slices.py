"""Slices are part of the stream: a reader cuts as the writer did."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from intaglio.rans import Decoder, Encoder, encode
from rans_cases import (
    GAUSSIAN,
    IMPLEMENTATIONS,
    TABLE_SETS,
    as_lists,
    cut,
    drawn,
    forged,
    joined,
    outcome,
    read,
    refuses,
    write,
)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_slices_come_back_one_by_one_in_their_shapes(implementation: str, rng: np.random.Generator, seed: int) -> None:
    for _ in range(20):
        parts = cut(drawn(600, rng, GAUSSIAN, far=0.01), sorted(rng.integers(0, 601, 5).tolist()))
        stream = write(parts, GAUSSIAN, implementation)
        decoder = Decoder(stream, GAUSSIAN, implementation=implementation)
        for symbols, indexes in parts:
            back = decoder.pull(indexes.reshape(-1, 1))
            assert back.shape == (len(indexes), 1)
            assert np.array_equal(back[:, 0], symbols), f"seed {seed}"
        decoder.finish()


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_one_call_is_one_slice_and_empty_slices_change_nothing(implementation: str, rng: np.random.Generator) -> None:
    part = drawn(20_000, rng)
    nothing = (part[0][:0], part[1][:0])
    stream = encode(*part, GAUSSIAN, implementation)
    assert write([part], GAUSSIAN, implementation) == stream
    assert write([nothing, part, nothing, nothing], GAUSSIAN, implementation) == stream
    back = read(stream, [part[1][:0], part[1][:0], part[1], part[1][:0]], GAUSSIAN, implementation)
    assert back == [[], [], part[0].tolist(), []]


@pytest.mark.parametrize("name", ["gaussian", "far", "certain"])
def test_a_cut_at_a_block_changes_nothing_and_another_cut_is_noticed(
    name: str, rng: np.random.Generator, seed: int
) -> None:
    tables = TABLE_SETS[name]
    symbols, indexes = drawn(20_000, rng, tables)
    for implementation in IMPLEMENTATIONS:
        stream = write([(symbols, indexes)], tables, implementation)
        at_blocks = [indexes[:8192], indexes[8192:16384], indexes[16384:]]
        assert np.concatenate(read(stream, at_blocks, tables, implementation)).tolist() == symbols.tolist()
        cuts = [[indexes[:edge], indexes[edge:]] for edge in (50, 8191, 8193, 10_001)]
        outcomes = [outcome(stream, each, tables, implementation) for each in cuts]
        assert None in outcomes, f"seed {seed}"  # not always: a cut may happen to lead to the same lanes
        assert all(each is None or joined(each) == symbols.tolist() for each in outcomes), f"seed {seed}"


def test_another_cut_of_a_small_stream_is_noticed_or_harmless_and_all_implementations_say_the_same(
    rng: np.random.Generator, seed: int
) -> None:
    for lanes in (1, 4, 16):
        for far in (0.0, 0.05):
            symbols, indexes = drawn(300, rng, GAUSSIAN, far)
            indexes = np.maximum(indexes, 0 if far else 2)  # from 2 on, no table is certain
            stream = forged(cut((symbols, indexes), [100]), GAUSSIAN, lanes)
            for edge in (0, 50, 99, 101, 300):
                cuts = [indexes[:edge], indexes[edge:]]
                outcomes = [outcome(stream, cuts, GAUSSIAN, implementation) for implementation in IMPLEMENTATIONS]
                assert all(each == outcomes[0] for each in outcomes), f"seed {seed}, {lanes}, {edge}"
                if far == 0.0 and (lanes == 1 or outcomes[0] is not None):  # one lane without surprises knows no slices
                    assert outcomes[0] is not None, f"seed {seed}, {edge}"
                    assert joined(outcomes[0]) == symbols.tolist(), f"seed {seed}, {lanes}, {edge}"


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_the_next_indexes_may_depend_on_what_was_pulled(
    implementation: str, rng: np.random.Generator, seed: int
) -> None:
    first, indexes = drawn(500, rng)
    after = np.clip(np.abs(first), 0, 63).astype(np.uint8)
    second = rng.integers(-9, 10, 500).astype(np.int32)
    decoder = Decoder(write([(first, indexes), (second, after)], GAUSSIAN, implementation), GAUSSIAN, implementation)
    pulled = decoder.pull(indexes)
    assert np.array_equal(decoder.pull(np.clip(np.abs(pulled), 0, 63).astype(np.uint8)), second), f"seed {seed}"
    decoder.finish()


def test_int16_and_int32_slices_mix(rng: np.random.Generator, seed: int) -> None:
    parts = cut(drawn(900, rng), [300, 600])
    parts = [(np.clip(symbols, -32768, 32767), indexes) for symbols, indexes in parts]
    encoder = Encoder(GAUSSIAN)
    for at, (symbols, indexes) in enumerate(parts):
        encoder.push(symbols.astype(np.int16) if at % 2 else symbols, indexes)
    stream = encoder.finish()
    assert all(write(parts, GAUSSIAN, implementation) == stream for implementation in IMPLEMENTATIONS), f"seed {seed}"


def test_what_was_pushed_may_be_overwritten(rng: np.random.Generator, seed: int) -> None:
    symbols, indexes = drawn(900, rng)
    stream = encode(symbols, indexes, GAUSSIAN)
    encoder = Encoder(GAUSSIAN)
    encoder.push(symbols, indexes)
    symbols[:], indexes[:] = 7, 7
    assert encoder.finish() == stream, f"seed {seed}"


def test_threads_may_share_an_encoder() -> None:
    encoder = Encoder(GAUSSIAN)
    part = np.full(50_000, 3, np.int32), np.full(50_000, 40, np.uint8)
    threads = [threading.Thread(target=encoder.push, args=part) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert encoder.finish() == write([part] * 4, GAUSSIAN, "portable")


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_every_cut_of_the_writer_is_written_as_the_reference_coder_does(
    implementation: str, rng: np.random.Generator, seed: int
) -> None:
    tables = TABLE_SETS["certain"]
    part = drawn(60, rng, tables, far=0.1)
    for edge in range(61):
        parts = cut(part, [edge])
        stream = write(parts, tables, implementation)
        assert stream == forged(parts, tables, 1), f"seed {seed}, {edge}"
        assert read(stream, [indexes for _, indexes in parts], tables, implementation) == [
            symbols for symbols, _ in as_lists(parts)
        ]


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_pulling_past_the_end_is_soon_refused(implementation: str, rng: np.random.Generator, seed: int) -> None:
    symbols, indexes = drawn(300, rng)
    decoder = Decoder(encode(symbols, indexes, GAUSSIAN, implementation), GAUSSIAN, implementation)
    assert np.array_equal(decoder.pull(indexes), symbols), f"seed {seed}"
    outcomes = [refuses(decoder, np.full(100, 40, np.uint8)) for _ in range(100)]
    assert outcomes[-1], f"seed {seed}"
    assert outcomes == sorted(outcomes), f"seed {seed}"
