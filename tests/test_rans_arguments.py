"""Wrong calls of the entropy coder: an ArgumentError, and nothing is coded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from intaglio.errors import ArgumentError
from intaglio.rans import Decoder, Encoder, decode, encode, implementations
from rans_cases import GAUSSIAN, IMPLEMENTATIONS, TABLE_SETS, drawn

SYMBOLS, INDEXES = np.zeros(3, np.int32), np.zeros(3, np.uint8)
WRONG_PAIRS = [
    (SYMBOLS.astype(np.int64), INDEXES),
    (SYMBOLS.astype(np.uint16), INDEXES),
    (SYMBOLS.astype(">i4"), INDEXES),
    (SYMBOLS.astype(np.float32), INDEXES),
    ([0, 0, 0], INDEXES),
    (None, INDEXES),
    (SYMBOLS, INDEXES.astype(np.int32)),
    (SYMBOLS, INDEXES.astype(bool)),
    (SYMBOLS, [0, 0, 0]),
    (SYMBOLS, None),
    (SYMBOLS[:2], INDEXES),
    (SYMBOLS, INDEXES[:0]),
    (SYMBOLS.reshape(1, 3), INDEXES),
    (SYMBOLS, INDEXES + 64),
    (SYMBOLS, INDEXES + 255),
]


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize(("symbols", "indexes"), WRONG_PAIRS)
def test_wrong_arrays_are_refused_and_nothing_of_them_is_coded(symbols: Any, indexes: Any, implementation: str) -> None:
    good = drawn(40, np.random.default_rng(1))
    encoder = Encoder(GAUSSIAN, implementation=implementation)
    encoder.push(*good)
    for call in (encoder.push, lambda s, i: encode(s, i, GAUSSIAN, implementation), GAUSSIAN.bits):
        with pytest.raises(ArgumentError):
            call(symbols, indexes)
    assert encoder.finish() == encode(*good, GAUSSIAN)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("indexes", [INDEXES + 64, INDEXES.astype(np.int32), [0, 0, 0], None])
def test_wrong_indexes_are_refused_and_the_decoder_goes_on(indexes: Any, implementation: str) -> None:
    symbols, good = drawn(40, np.random.default_rng(1))
    decoder = Decoder(encode(symbols, good, GAUSSIAN), GAUSSIAN, implementation=implementation)
    with pytest.raises(ArgumentError):
        decoder.pull(indexes)
    assert np.array_equal(decoder.pull(good), symbols)
    decoder.finish()


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_an_index_too_large_is_found_wherever_it_is(implementation: str) -> None:
    for name, tables in TABLE_SETS.items():
        if len(tables) == 256:
            continue
        for count, at in ((1, 0), (300, 0), (300, 299), (300, 130), (9000, 8999)):
            symbols, indexes = np.zeros(count, np.int32), np.zeros(count, np.uint8)
            indexes[at] = len(tables)
            with pytest.raises(ArgumentError, match="index"):
                encode(symbols, indexes, tables, implementation)
            with pytest.raises(ArgumentError, match="index"):
                decode(bytes(4), indexes, tables, implementation)
        assert encode(SYMBOLS, INDEXES, tables, implementation), name


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_the_native_core_checks_for_itself(implementation: str) -> None:
    from intaglio import _native

    encoder = _native.Encoder(GAUSSIAN.native, implementation)
    encoder.push(np.array([1], np.int32), np.array([5], np.uint8))
    for symbols, indexes in (([1, 900], [0, 64]), ([1, 2], [0])):
        with pytest.raises(ArgumentError):
            encoder.push(np.array(symbols, np.int32), np.array(indexes, np.uint8))
    stream = encoder.finish()
    assert stream == encode(np.array([1], np.int32), np.array([5], np.uint8), GAUSSIAN)
    decoder = _native.Decoder(stream, GAUSSIAN.native, implementation)
    with pytest.raises(ArgumentError):
        decoder.pull(np.zeros(2, np.uint8), np.zeros(1, np.int32))
    with pytest.raises(ArgumentError):
        decoder.pull(np.full(1, 64, np.uint8), np.zeros(1, np.int32))


@pytest.mark.parametrize("data", ["text", bytearray(5), memoryview(bytes(5)), None])
def test_only_bytes_are_decoded(data: Any) -> None:
    with pytest.raises(ArgumentError):
        Decoder(data, GAUSSIAN)
    with pytest.raises(ArgumentError):
        decode(data, INDEXES, GAUSSIAN)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_a_finished_coder_stays_finished(implementation: str) -> None:
    symbols, indexes = drawn(300, np.random.default_rng(2))
    encoder = Encoder(GAUSSIAN, implementation=implementation)
    encoder.push(symbols, indexes)
    decoder = Decoder(encoder.finish(), GAUSSIAN, implementation=implementation)
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


def test_an_implementation_is_chosen_by_name_or_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert implementations()[-1] == "portable"
    assert set(implementations()) <= {"avx512", "avx2", "portable"}
    unknown: list[Callable[[str | None], object]] = [
        lambda name: encode(SYMBOLS, INDEXES, GAUSSIAN, implementation=name),
        lambda name: decode(bytes(4), INDEXES[:0], GAUSSIAN, implementation=name),
        lambda name: Encoder(GAUSSIAN, implementation=name),
        lambda name: Decoder(bytes(4), GAUSSIAN, implementation=name),
    ]
    for call in unknown:
        with pytest.raises(ArgumentError, match="neon"):
            call("neon")
    monkeypatch.setenv("INTAGLIO_CODER", "neon")
    for call in unknown:
        with pytest.raises(ArgumentError, match="neon"):
            call(None)
        for name in implementations():
            call(name)
    monkeypatch.setenv("INTAGLIO_CODER", "portable")
    for call in unknown:
        call(None)
