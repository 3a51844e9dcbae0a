"""The golden files of tests/golden/v1 decode, in every version and on every machine, to what they were made of."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from golden_files import SHARE, Corpus
from intaglio import codec, container, metrics, verify
from intaglio.bundle import Model

CORPUS = Corpus("v1")
FOLDER, TABLE, PICTURES, data = CORPUS.folder, CORPUS.table, CORPUS.pictures, CORPUS.data
KEPT = [name for name, entry in PICTURES.items() if entry["kept"]]
FROZEN = "ba5c55c6cfc2d657886e45b86138fb844897e520ebf776f72f7f8f1bdd980166"  # SHA-256 of table.json

each_picture = pytest.mark.parametrize("name", PICTURES)


@pytest.fixture(scope="module")
def model() -> Model:
    """The small model."""
    return CORPUS.model()


def stored(name: str) -> np.ndarray:
    """The pixels that were decoded when the corpus was made."""
    pixels = CORPUS.decoded(name)
    return pixels[:, :, 1] if PICTURES[name]["grey"] else pixels


def source(name: str) -> np.ndarray:
    """The pixels that were encoded."""
    pixels = CORPUS.source(name)
    return pixels[:, :, 1] if PICTURES[name]["grey"] else pixels


@each_picture
def test_the_fast_path_and_the_reference_still_find_the_same_tables_means_and_symbols(name: str, model: Model) -> None:
    found, entry = verify.verify(data(name), model), PICTURES[name]
    assert found.differences == ()
    assert (found.symbols, found.digest) == (entry["symbols"], entry["digest"])


@each_picture
def test_latents_are_what_they_were(name: str, model: Model) -> None:
    latents = codec.decode_latents(data(name), model=model)
    assert hashlib.sha256(latents.astype("<f4").tobytes()).hexdigest() == PICTURES[name]["latents"]


@each_picture
def test_a_picture_keeps_its_size_and_its_psnr(name: str, model: Model) -> None:
    entry, pixels = PICTURES[name], codec.decode(data(name), model=model)
    assert pixels.shape == source(name).shape
    assert metrics.psnr(source(name), pixels) == pytest.approx(entry["psnr"], abs=0.01)
    coded = container.read(data(name))
    assert (len(coded.payloads), len(data(name))) == (entry["tiles"], entry["bytes"])


def test_pixels_differ_by_one_level_at_most_and_hardly_ever(model: Model) -> None:
    pairs = [(codec.decode(data(name), model=model), stored(name)) for name in KEPT]
    assert all(ours.shape == theirs.shape for ours, theirs in pairs)
    apart = np.concatenate([np.abs(ours.astype(int) - theirs).ravel() for ours, theirs in pairs])
    assert apart.max() <= 1
    assert (apart != 0).mean() <= SHARE


def test_the_small_model_is_what_it_was(model: Model) -> None:
    assert model.file.decoding_hash().hex() == TABLE["model"]
    found = verify.selftest(model)
    assert found.differences == ()
    assert found.digest == TABLE["selftest"]


def test_nobody_made_the_corpus_again() -> None:
    assert hashlib.sha256((FOLDER / "table.json").read_bytes()).hexdigest() == FROZEN
    files = {path.name for path in FOLDER.iterdir() if path.suffix in (".itg", ".webp")}
    assert files == {f"{name}.itg" for name in PICTURES} | {f"{name}.webp" for name in KEPT}
    assert sum(path.stat().st_size for path in FOLDER.iterdir() if path.is_file()) < 400_000


def test_the_corpus_has_every_kind_of_picture() -> None:
    headers = [container.read_header(data(name)) for name in PICTURES]
    assert {header.channels for header in headers} == {1, 3}
    assert {header.rate for header in headers} >= {0, 198}
    assert len({header.rate for header in headers}) > 4
    assert any(header.width == header.height == 1 for header in headers)
    assert any(header.tile for header in headers)
