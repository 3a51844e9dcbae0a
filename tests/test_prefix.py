"""What prefix-free codes promise: the bounds of source coding, words that come back, and one clear line otherwise."""

from __future__ import annotations

import doctest
import math
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from intaglio import prefix
from intaglio.errors import ArgumentError, FormatError
from intaglio.information import Gaussian, cross_entropy, distribution, entropy, kl
from intaglio.prefix import MAX_LENGTH, MAX_SYMBOLS, PrefixCode

CONSTRUCTIONS = [PrefixCode.shannon, PrefixCode.huffman]
Construct = Callable[[np.ndarray], PrefixCode]
both = pytest.mark.parametrize("construct", CONSTRUCTIONS)


@st.composite
def probabilities(draw: st.DrawFn) -> np.ndarray:
    """1 to 40 probabilities: zeros, powers of two, equal ones and very small ones among them."""
    few = st.sampled_from([0.0, 1.0, 0.5, 0.25, 2.0**-30, 1e-9])
    weights = np.array(draw(st.lists(few | st.floats(1e-12, 1.0) | st.floats(1e-90, 1e-80), min_size=1, max_size=40)))
    assume(weights.max() > 1e-3)
    return weights / weights.sum()


@st.composite
def messages(draw: st.DrawFn) -> tuple[PrefixCode, np.ndarray]:
    """A code of either kind and symbols that have a word in it."""
    p = draw(probabilities())
    code = draw(st.sampled_from(CONSTRUCTIONS))(p)
    return code, np.array(draw(st.lists(st.sampled_from(np.flatnonzero(p).tolist()), max_size=60)), dtype=np.int64)


def read(code: PrefixCode, data: bytes, bits: int, count: int) -> list[int] | None:
    """The symbols, or None if they are refused."""
    try:
        return code.decode(data, bits, count).tolist()
    except FormatError:
        return None


def cut(data: bytes, bits: int) -> bytes:
    """The first bits of a stream, as a stream of their own."""
    kept = np.unpackbits(np.frombuffer(data, np.uint8))[:bits]
    return np.packbits(kept).tobytes()


def test_examples_of_the_module_run() -> None:
    assert doctest.testmod(prefix).failed == 0


@both
@given(probabilities())
def test_no_word_begins_another_and_the_kraft_sum_is_at_most_1(construct: Construct, p: np.ndarray) -> None:
    code = construct(p)
    words = sorted(word for word in code.words if word is not None)
    assert not any(after.startswith(word) for word, after in pairwise(words))
    assert [word is None for word in code.words] == (p == 0).tolist()
    assert code.kraft_sum == sum(Fraction(1, 2 ** len(word)) for word in words) <= 1
    if construct is PrefixCode.huffman:
        assert code.kraft_sum == 1


@both
@given(probabilities())
def test_expected_length_is_less_than_a_bit_above_entropy(construct: Construct, p: np.ndarray) -> None:
    length = construct(p).expected_length(p)
    assert entropy(p) - 1e-9 <= length < entropy(p) + 1 + 1e-9


@both
@given(probabilities())
def test_expected_length_is_cross_entropy_with_the_implied_distribution(construct: Construct, p: np.ndarray) -> None:
    code = construct(p)
    implied = np.append(code.implied, float(1 - code.kraft_sum))  # what is left is of words that are not used
    assert code.expected_length(p) == pytest.approx(cross_entropy(np.append(p, 0.0), implied), abs=1e-9)
    assert code.expected_length(p) - entropy(p) == pytest.approx(kl(np.append(p, 0.0), implied), abs=1e-9)


@given(probabilities())
def test_huffman_needs_no_more_than_shannon(p: np.ndarray) -> None:
    assert PrefixCode.huffman(p).expected_length(p) <= PrefixCode.shannon(p).expected_length(p) + 1e-12


@given(st.lists(st.integers(1, 6), min_size=2, max_size=5).filter(lambda ls: sum(2.0**-n for n in ls) <= 1), st.data())
def test_no_code_is_better_than_huffman(lengths: list[int], data: st.DataObject) -> None:
    weights = data.draw(st.lists(st.floats(0.001, 1.0), min_size=len(lengths), max_size=len(lengths)))
    p = np.array(weights) / sum(weights)
    other = PrefixCode.canonical(lengths)
    assert PrefixCode.huffman(p).expected_length(p) <= other.expected_length(p) + 1e-12


@given(probabilities())
def test_shannon_lengths_are_the_rounded_ideal_ones(p: np.ndarray) -> None:
    possible = p > 0
    lengths = PrefixCode.shannon(p).lengths[possible]
    ideal = -np.log2(p[possible])
    assert np.all(lengths >= ideal - 1e-9)
    assert np.all(lengths < ideal + 1 + 1e-9)


def test_the_shannon_code_takes_the_first_free_word_by_falling_probability() -> None:
    assert PrefixCode.shannon([0.1, 0.4, 0.0, 0.2, 0.3]).words == ("1010", "00", None, "100", "01")
    assert PrefixCode.shannon([0.25, 0.5, 0.25]).words == ("10", "0", "11")


def test_powers_of_two_cost_exactly_their_entropy() -> None:
    p = np.array([2.0**-k for k in (1, 2, 3, 4, 5, 5)])
    for construct in CONSTRUCTIONS:
        assert construct(p).expected_length(p) == entropy(p) == 1.9375
        assert np.array_equal(construct(p).implied, p)


def test_probabilities_that_sum_to_a_hair_more_than_1_have_a_code() -> None:
    for p in ([0.5, 0.5, 1e-17], [0.5, 0.5, 1e-7], [2.0**-20] * (2**20 + 1)):
        assert PrefixCode.shannon(p).kraft_sum <= 1


def test_canonical_words_count_upwards_and_depend_on_the_lengths_alone() -> None:
    code = PrefixCode.canonical([2, 3, 1, -1, 3])
    assert code.words == ("10", "110", "0", None, "111")
    swapped = PrefixCode(("01", "001", "1", None, "000"))
    assert PrefixCode.canonical(swapped.lengths) == code
    assert swapped != code


def test_a_single_symbol_takes_no_bits() -> None:
    for construct in CONSTRUCTIONS:
        code = construct(np.array([0.0, 1.0]))
        assert code.words == (None, "")
        assert code.encode([1, 1, 1]) == (b"", 0)
        assert code.decode(b"", 0, 3).tolist() == [1, 1, 1]
        assert code.expected_length([0.0, 1.0]) == 0
        with pytest.raises(FormatError, match="takes none"):
            code.decode(b"\0", 1, 3)


@given(messages())
def test_symbols_come_back_from_as_many_bits_as_their_words_have(message: tuple[PrefixCode, np.ndarray]) -> None:
    code, symbols = message
    data, bits = code.encode(symbols)
    assert bits == code.lengths[symbols].sum()
    assert len(data) == math.ceil(bits / 8)
    assert (
        "".join(code.words[each] or "" for each in symbols) == f"{int.from_bytes(data, 'big'):0{8 * len(data)}b}"[:bits]
    )
    assert code.decode(data, bits, symbols.shape).tolist() == symbols.tolist()


@pytest.mark.parametrize("code", [PrefixCode(("",)), PrefixCode(("0", "1"))])
def test_no_symbols_are_no_bits(code: PrefixCode) -> None:
    for nothing in ([], np.zeros((3, 0)), np.zeros(0, np.uint8)):
        assert code.encode(nothing) == (b"", 0)
    for shape in (0, (0,), (2, 0, 3)):
        assert np.array_equal(code.decode(b"", 0, shape), np.zeros(shape, np.int64))


def test_a_count_that_no_data_bounds_costs_no_memory() -> None:
    """Words of no bits stand for any number of symbols: a number that is too large is refused ahead of any work."""
    single = PrefixCode(("",))
    for shape in (10**12, (10**6, 10**6), 10**30, (0, 10**30)):
        with pytest.raises(ArgumentError, match=f"takes at most {MAX_SYMBOLS} symbols at once"):
            single.decode(b"", 0, shape)
    with pytest.raises(ArgumentError, match=f"symbols have shape .*at most {MAX_SYMBOLS}"):
        single.encode(np.broadcast_to(np.uint8(0), (1 << 15, 1 << 14)))
    assert single.decode(b"", 0, (1000, 1000)).shape == (1000, 1000)


def test_the_longest_words_that_float64_probabilities_need_come_back() -> None:
    """Neighbours that grow like Fibonacci's numbers make the deepest tree: each joins all that came before it."""
    p = [2.0**-1074]
    while len(p) < 2000 and sum(p) < 0.5:
        p.append(2.0**-1074 if len(p) < 2 else (p[-1] + p[-2]) * (1 + 2.0**-40))  # a hair more: no ties
    p.append(1.0 - math.fsum(p))
    code = PrefixCode.huffman(p)
    assert 1500 < code.lengths.max() <= MAX_LENGTH
    symbols = np.arange(len(p))
    assert np.array_equal(code.decode(*code.encode(symbols), len(p)), symbols)


def test_the_longest_word_allowed_comes_back() -> None:
    code = PrefixCode.canonical([1, MAX_LENGTH, 2])
    assert code.decode(*code.encode([1, 0, 2, 1]), 4).tolist() == [1, 0, 2, 1]


@given(messages())
def test_every_prefix_of_a_stream_is_refused(message: tuple[PrefixCode, np.ndarray]) -> None:
    code, symbols = message
    data, bits = code.encode(symbols)
    for kept in range(bits):
        assert read(code, cut(data, kept), kept, len(symbols)) is None
    for kept in range(len(data)):
        assert read(code, data[:kept], bits, len(symbols)) is None


@given(messages(), st.data())
def test_a_flipped_bit_is_refused_or_gives_other_symbols(
    message: tuple[PrefixCode, np.ndarray], data: st.DataObject
) -> None:
    code, symbols = message
    stream, bits = code.encode(symbols)
    assume(stream)
    place = data.draw(st.integers(0, 8 * len(stream) - 1))
    flipped = bytearray(stream)
    flipped[place // 8] ^= 128 >> place % 8
    found = read(code, bytes(flipped), bits, len(symbols))
    assert found != symbols.tolist()
    if place >= bits:
        assert found is None


@given(messages(), st.binary(max_size=40), st.integers(0, 400), st.integers(0, 60))
def test_any_bytes_are_refused_or_are_what_their_symbols_are_coded_as(
    message: tuple[PrefixCode, np.ndarray], data: bytes, bits: int, count: int
) -> None:
    code, _ = message
    found = read(code, data, bits, count)
    assert found is None or (len(found) == count and code.encode(np.array(found, np.int64)) == (data, bits))


def test_words_longer_than_the_decoders_table_come_back() -> None:
    p = distribution([2.0**-k for k in range(1, 400)] + [2.0**-399])
    symbols = np.array([0, 17, 399, 398, 15, 16, 1, 250], dtype=np.uint16)
    for construct in CONSTRUCTIONS:
        code = construct(p)
        assert code.lengths.max() == 399
        data, bits = code.encode(symbols.reshape(2, 4))
        assert np.array_equal(code.decode(data, bits, (2, 4)), symbols.reshape(2, 4))
        with pytest.raises(FormatError):
            code.decode(cut(data, bits - 1), bits - 1, 8)


def test_a_code_with_free_words_refuses_them() -> None:
    code = PrefixCode(("00", "01"))
    assert code.kraft_sum == Fraction(1, 2)
    with pytest.raises(FormatError, match="no word begins at bit 2"):
        code.decode(b"\x20", 4, 2)


@both
def test_a_million_symbols_come_back_from_their_expected_length(
    construct: Construct, rng: np.random.Generator, seed: int
) -> None:
    p = Gaussian(0.0, 3.0).bins(1.0, -40, 40)
    symbols = rng.choice(len(p), 1_000_000, p=p)
    code = construct(p)
    data, bits = code.encode(symbols)
    assert np.array_equal(code.decode(data, bits, symbols.shape), symbols), f"seed {seed}"
    assert bits / 1e6 == pytest.approx(code.expected_length(p), abs=0.01), f"seed {seed}"


HALVES = PrefixCode.huffman([0.5, 0.5, 0.0])
WRONG: list[tuple[Callable[[], object], str]] = [
    (lambda: PrefixCode.shannon([0.5, 0.4]), r"probabilities, of shape \(2,\).* sum to 1"),
    (lambda: PrefixCode.huffman([0.5, math.nan]), r"probabilities, of shape \(2,\).* NaN"),
    (lambda: PrefixCode.huffman([-0.5, 1.5]), r"probabilities, of shape \(2,\).* -0.5"),
    (lambda: PrefixCode.huffman([]), r"probabilities, of shape \(0,\).* empty"),
    (lambda: PrefixCode.huffman([[0.5, 0.5]]), r"probabilities have shape \(1, 2\)"),
    (lambda: PrefixCode.canonical([1, 1, 1]), "Kraft sum is 1.5"),
    (lambda: PrefixCode.canonical([1.0, 1.0]), r"lengths, of shape \(2,\), must be whole numbers"),
    (lambda: PrefixCode.canonical([1, -2]), "lengths, of shape"),
    (lambda: PrefixCode.canonical([0, 1]), "Kraft sum is 1.5"),
    (lambda: PrefixCode.canonical([0, 0]), "Kraft sum is 2"),
    (lambda: PrefixCode.canonical([1, 10**9]), "lengths: the longest has 1000000000 bits; a word may have up to 2048"),
    (lambda: PrefixCode.canonical(np.array([2**64 - 1], np.uint64)), "lengths: the longest has 18446744073709551615"),
    (lambda: PrefixCode.canonical([[1], [1, 2]]), "lengths must be an array of whole numbers"),
    (lambda: PrefixCode(("0", "1" * 2049)), "words: the longest has 2049 bits; a word may have up to 2048"),
    (lambda: PrefixCode((0, 1)), "words: one is of type int; each must be a str"),  # type: ignore[arg-type]
    (lambda: PrefixCode(("", "0")), "'' is the beginning of '0'"),
    (lambda: PrefixCode("01"), "words is of type str; it must be a tuple"),  # type: ignore[arg-type]
    (lambda: PrefixCode.canonical([-1]), "none of the 1 symbols has a word"),
    (lambda: PrefixCode(()), "none of the 0 symbols has a word"),
    (lambda: PrefixCode(("0", "01")), "'0' is the beginning of '01'"),
    (lambda: PrefixCode(("10", "10")), "'10' is the beginning of '10'"),
    (lambda: PrefixCode(("0", "1x")), "'1x' is no string of zeros and ones"),
    (lambda: HALVES.encode([0, 2]), "symbols: 2 has no word in this code of 3"),
    (lambda: HALVES.encode([0, 3]), "symbols: 3 has no word"),
    (lambda: HALVES.encode([-1]), "symbols: -1 has no word"),
    (lambda: HALVES.encode([0.0]), r"symbols, of shape \(1,\), must be whole numbers, not float64"),
    (lambda: HALVES.encode([[0], [1, 0]]), "symbols must be an array of whole numbers"),
    (lambda: HALVES.decode(b"", 0, -1), "shape is -1; it must be a whole number, 0 or more"),
    (lambda: PrefixCode(("",)).decode(b"", 0, -1), "shape is -1"),
    (lambda: HALVES.decode(b"", 0, (-1, -1)), "shape is -1"),
    (lambda: HALVES.decode(b"", 0, 0.5), "shape is 0.5"),  # type: ignore[arg-type]
    (lambda: HALVES.decode(b"", -1, 0), "bits is -1; it must be a whole number, 0 or more"),
    (lambda: HALVES.decode(b"", None, 0), "bits is None"),  # type: ignore[arg-type]
    (lambda: HALVES.decode("", 0, 0), "data is of type str; it must be bytes"),  # type: ignore[arg-type]
    (lambda: HALVES.expected_length([0.5, 0.5]), r"shape \(2,\); the code has 3 symbols"),
]


@pytest.mark.parametrize(("call", "said"), WRONG)
def test_wrong_calls_are_refused_in_one_line(call: Callable[[], object], said: str) -> None:
    with pytest.raises(ArgumentError, match=said) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_a_symbol_that_can_occur_without_a_word_costs_without_end() -> None:
    assert HALVES.expected_length([0.5, 0.25, 0.25]) == math.inf
