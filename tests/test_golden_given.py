"""The golden files of tests/golden/given decode, in every version and on every machine, to what they were made of."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from golden_files import SHARE, Corpus
from intaglio import codec, container, verify, ycbcr
from intaglio.bundle import Model
from intaglio.errors import ArgumentError, FormatError

CORPUS = Corpus("given")
TABLE, PICTURES, data = CORPUS.table, CORPUS.pictures, CORPUS.data

each_picture = pytest.mark.parametrize("name", PICTURES)


@pytest.fixture(scope="module")
def model() -> Model:
    """The small model."""
    return CORPUS.model()


def given(name: str) -> np.ndarray:
    """The luma of what was encoded."""
    return ycbcr.luma(CORPUS.source(name))


def test_the_model_is_what_it_was(model: Model) -> None:
    assert model.file.decoding_hash().hex() == TABLE["model"]


@each_picture
def test_tables_means_symbols_and_latents_are_what_they_were(name: str, model: Model) -> None:
    entry, found = PICTURES[name], verify.verify(data(name), model, given=given(name))
    assert found.differences == ()
    assert (found.symbols, found.digest) == (entry["symbols"], entry["digest"])
    latents = codec.decode_latents(data(name), model=model, given=given(name))
    assert hashlib.sha256(latents.astype("<f4").tobytes()).hexdigest() == entry["latents"]
    assert codec.info(data(name)).given == entry["given"]
    assert (len(container.read(data(name)).payloads), len(data(name))) == (entry["tiles"], entry["bytes"])


@each_picture
def test_pixels_differ_by_one_level_at_most_and_hardly_ever(name: str, model: Model) -> None:
    decoded = codec.decode(data(name), model=model, given=given(name)).astype(int)
    apart = np.abs(decoded - CORPUS.decoded(name))
    assert apart.max() <= 1
    assert np.mean(apart != 0) <= SHARE


@each_picture
def test_one_sample_less_is_another_picture(name: str, model: Model) -> None:
    other = given(name).copy()
    other[-1, -1] ^= 1
    with pytest.raises(ArgumentError, match=PICTURES[name]["given"]):
        codec.decode(data(name), model=model, given=other)


@pytest.mark.slow
def test_every_flipped_bit_and_every_prefix_is_noticed(model: Model) -> None:
    whole, seen = data("budgie"), given("budgie")
    for place in range(8 * len(whole)):
        forged = bytearray(whole)
        forged[place // 8] ^= 1 << place % 8
        with pytest.raises(FormatError):
            container.read(bytes(forged))
    for length in range(len(whole)):
        with pytest.raises(FormatError):
            codec.decode(whole[:length], model=model, given=seen)
