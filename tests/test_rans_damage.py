"""Damaged streams: a FormatError or symbols, nothing else, and the same from every implementation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

import reference_rans as reference
from intaglio.errors import FormatError
from intaglio.rans import Decoder, Tables, decode, encode
from rans_cases import (
    GAUSSIAN,
    IMPLEMENTATIONS,
    INT32,
    TABLE_SETS,
    Indexes,
    as_lists,
    cut,
    drawn,
    forged,
    outcome,
    reference_outcome,
    refuses,
    tables_of,
)

ONE = np.zeros(1, np.uint8)


@dataclass(frozen=True)
class Sample:
    """A small stream and what it is read with."""

    stream: bytes
    tables: Tables
    indexes: list[Indexes]
    extras: bool  # whether there are escapes or surprises

    def judge(self, stream: bytes, about: object) -> bool:
        """Reads `stream` instead with every implementation; all must say what the reference says, and that is
        whether it gives symbols."""
        want = reference_outcome(stream, self.indexes, self.tables)
        for implementation in IMPLEMENTATIONS:
            got = outcome(stream, self.indexes, self.tables, implementation)
            assert got == want, f"{implementation}, {about}: {stream.hex()}"
        return want is not None


def sample(lanes: int, count: int, name: str, far: float = 0.0) -> Sample:
    tables = TABLE_SETS[name]
    parts = cut(drawn(count, np.random.default_rng(20260), tables, far), [count // 3, count // 2])
    return Sample(forged(parts, tables, lanes), tables, [indexes for _, indexes in parts], far > 0)


SAMPLES = {
    "1 lane": sample(1, 60, "gaussian"),
    "1 lane, escapes": sample(1, 20, "gaussian", far=0.3),
    "4 lanes, tail": sample(4, 60, "gaussian"),
    "4 lanes, only a tail": sample(4, 3, "gaussian"),
    "2 lanes, surprises": sample(2, 60, "certain", far=0.1),
    "8 lanes, escapes": sample(8, 40, "gaussian", far=0.1),
    "16 lanes": sample(16, 120, "gaussian"),
    "16 lanes, far tables": sample(16, 60, "far", far=0.1),
    "certain only": sample(1, 50, "certain only", far=0.1),
}
each_sample = pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES)


@each_sample
def test_every_prefix_is_refused(sample: Sample) -> None:
    assert sample.judge(sample.stream, "whole")
    for length in range(len(sample.stream)):
        assert not sample.judge(sample.stream[:length], length)


@each_sample
def test_every_flipped_bit_ends_in_an_error_or_in_symbols(sample: Sample) -> None:
    survived = 0
    for bit in range(8 * len(sample.stream)):
        damaged = bytearray(sample.stream)
        damaged[bit // 8] ^= 1 << bit % 8
        survived += sample.judge(bytes(damaged), bit)
    # most bits of escapes and surprises may be other ones; all others are checked in the end
    assert survived <= (0.5 if sample.extras else 0.05) * 8 * len(sample.stream)


@each_sample
def test_bytes_too_many_or_out_of_place_are_refused(sample: Sample) -> None:
    stream = sample.stream
    for extra in (b"\0", b"\0\0", b"\xff" * 4):
        for at in range(1, len(stream) + 1):
            sample.judge(stream[:at] + extra + stream[at:], (extra, at))
    assert not sample.judge(stream + b"\0\0", "at the end")


@each_sample
def test_noise_ends_in_an_error_or_in_symbols(sample: Sample, rng: np.random.Generator, seed: int) -> None:
    kinds = [*range(7), *range(8, 15)]
    for trial in range(150):
        noise = rng.bytes(int(rng.integers(0, 300)))
        if trial % 3 == 0:  # the high bits of the exponents are zero, so that words are needed at once
            noise = noise + bytes(40)
        sample.judge(bytes([kinds[trial % 14]]) + noise, f"seed {seed}, {trial}")


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_other_kinds_of_stream_are_refused(implementation: str) -> None:
    body = b"\xff" * 400  # states, count and gap as they may be
    for kind in range(256):
        if kind % 8 == 7 or kind >= 16:
            with pytest.raises(FormatError, match="unknown"):
                Decoder(bytes([kind]) + body, GAUSSIAN, implementation)
        else:
            Decoder(bytes([kind]) + body, GAUSSIAN, implementation)


def test_a_stream_that_ends_before_its_states_is_refused_at_once() -> None:
    for stream, message in ((b"", "empty"), (b"\0", "cut short"), (b"\6" + bytes(100), "cut short")):
        with pytest.raises(FormatError, match=message):
            Decoder(stream, GAUSSIAN)


@pytest.mark.parametrize("lanes", reference.LANES)
def test_the_wrong_number_of_symbols_is_noticed(lanes: int, rng: np.random.Generator, seed: int) -> None:
    symbols, indexes = drawn(300, rng)
    indexes = np.maximum(indexes, 30)
    stream = forged([(symbols, indexes)], GAUSSIAN, lanes)
    for implementation in IMPLEMENTATIONS:
        for wrong in (indexes[:-1], indexes[:10], indexes[:0], np.append(indexes, np.full(3, 40, np.uint8))):
            assert outcome(stream, [wrong], GAUSSIAN, implementation) is None, f"seed {seed}"


def stream_of_one_escape(zeros: int, mantissa: int = 0, above: int = 1) -> bytes:
    """One lane whose only symbol is an escape of table 0 of TOP, with a gamma code of so many zeros."""
    state, _ = reference.put(reference.LOWER, 30000, 2768)
    bits = reference.BitList()
    bits.put(state.bit_length() - 17, 4)
    bits.put_mantissa(state)
    bits.put(above, 1)
    bits.bits += [0] * zeros + [1]
    bits.put(mantissa, zeros)
    return reference.assemble(0, [], bits)


TOP = tables_of((INT32.max - 4, [30000, 2768]))
BOTTOM = tables_of((INT32.min + 4, [30000, 2768]))


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_a_number_longer_than_any_int32_needs_is_refused(implementation: str) -> None:
    assert decode(stream_of_one_escape(31, above=0), ONE, TOP, implementation) == INT32.max - 4 - 2**31
    for zeros in (32, 33, 5000):
        with pytest.raises(FormatError, match="too long"):
            decode(stream_of_one_escape(zeros), ONE, TOP, implementation)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_a_symbol_beyond_int32_is_refused(implementation: str) -> None:
    assert decode(stream_of_one_escape(2), ONE, TOP, implementation) == INT32.max
    assert decode(stream_of_one_escape(2, above=0), ONE, BOTTOM, implementation) == INT32.min
    for stream, tables in ((stream_of_one_escape(2, 1), TOP), (stream_of_one_escape(2, 1, 0), BOTTOM)):
        with pytest.raises(FormatError, match="range of int32"):
            decode(stream, ONE, tables, implementation)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_a_gap_beyond_all_symbols_is_refused_by_finish(implementation: str) -> None:
    tables = TABLE_SETS["certain only"]
    for zeros, message in ((20, "left over"), (52, "left over"), (53, "too long"), (4000, "too long")):
        bits = reference.BitList()
        bits.put(0, 4 + 16)
        bits.bits += [0] * zeros + [1]
        bits.put(2**63 - 1, zeros + 11)
        with pytest.raises(FormatError, match=message):
            decode(reference.assemble(8, [], bits), np.zeros(30_000, np.uint8), tables, implementation)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_a_count_beyond_all_symbols_is_refused_by_finish(implementation: str) -> None:
    bits = reference.BitList()
    for _ in range(4):
        bits.put(0, 4 + 16)
    bits.put(63, 6)
    bits.put(2**62 - 1, 62)
    for count in (0, 1, 9):
        with pytest.raises(FormatError):
            decode(reference.assemble(2, [], bits), np.full(count, 5, np.uint8), GAUSSIAN, implementation)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("lanes", [1, 8, 16])
def test_no_word_is_read_once_bits_were_taken_from_the_words(implementation: str, lanes: int) -> None:
    tables = tables_of((0, [1] * 16384 + [2] * 8192))
    symbols, indexes = np.arange(40 * lanes, dtype=np.int32), np.zeros(40 * lanes, np.uint8)
    symbols[5] = INT32.min  # 64 bits, the last ones to be taken
    parts = cut((symbols, indexes), [20 * lanes])
    kind, words, bits = reference.encode_parts(as_lists(parts), reference.rows_of(tables), lanes)
    del bits.bits[-64:]
    begun = 0
    for count in range(len(words) * 11 // 20):  # about as many as the first slice takes
        decoder = Decoder(reference.assemble(kind, words[:count], bits), tables, implementation)
        outcomes = [refuses(decoder, part) for part in [parts[0][1], *[parts[1][1][:10]] * lanes]]
        assert outcomes[-1], count
        begun += not outcomes[0]
    assert begun > 0


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_a_decoder_that_failed_stays_failed(implementation: str) -> None:
    symbols, indexes = drawn(300, np.random.default_rng(5))
    decoder = Decoder(encode(symbols, indexes, GAUSSIAN)[:21], GAUSSIAN, implementation)
    with pytest.raises(FormatError, match="cut short or damaged"):
        decoder.pull(indexes)
    for call in (lambda: decoder.pull(indexes[:1]), lambda: decoder.pull(indexes[:0]), decoder.finish):
        with pytest.raises(FormatError, match="failed before"):
            call()


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_a_finish_that_failed_stays_failed(implementation: str) -> None:
    symbols, indexes = drawn(300, np.random.default_rng(5))
    decoder = Decoder(encode(symbols, indexes, GAUSSIAN), GAUSSIAN, implementation)
    decoder.pull(indexes[:100])
    with pytest.raises(FormatError):
        decoder.finish()
    for call in (lambda: decoder.pull(indexes[100:]), decoder.finish):
        with pytest.raises(FormatError, match="failed before"):
            call()
