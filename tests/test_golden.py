"""The golden files of tests/golden decode, in every version and on every machine, to what they were made of."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from golden_files import SHARE, Corpus
from intaglio import codec, container, metrics, verify
from intaglio.bundle import Model

FROZEN = {  # SHA-256 of table.json
    "v1": "ba5c55c6cfc2d657886e45b86138fb844897e520ebf776f72f7f8f1bdd980166",
    "trellis": "c74e1a9937fe39b3894e9df2d84c73ca83eed4d6669dc3e8e894a94c5a77496e",
}
CORPORA = {name: Corpus(name) for name in FROZEN}
MODELS: dict[str, Model] = {}

each_corpus = pytest.mark.parametrize("corpus", CORPORA.values(), ids=CORPORA)
each_picture = pytest.mark.parametrize(
    ("corpus", "name"),
    [pytest.param(corpus, name, id=f"{key}-{name}") for key, corpus in CORPORA.items() for name in corpus.pictures],
)


def model_of(corpus: Corpus) -> Model:
    """The small model, loaded once."""
    return MODELS.setdefault(corpus.folder.name, corpus.model())


def kept(corpus: Corpus) -> list[str]:
    return [name for name, entry in corpus.pictures.items() if entry["kept"]]


def stored(corpus: Corpus, name: str) -> np.ndarray:
    """The pixels that were decoded when the corpus was made."""
    pixels = corpus.decoded(name)
    return pixels[:, :, 1] if corpus.pictures[name]["grey"] else pixels


def source(corpus: Corpus, name: str) -> np.ndarray:
    """The pixels that were encoded."""
    pixels = corpus.source(name)
    return pixels[:, :, 1] if corpus.pictures[name]["grey"] else pixels


@each_picture
def test_the_fast_path_and_the_reference_still_find_the_same_tables_means_and_symbols(
    corpus: Corpus, name: str
) -> None:
    data, model = corpus.data, model_of(corpus)
    found, entry = verify.verify(data(name), model), corpus.pictures[name]
    assert found.differences == ()
    assert (found.symbols, found.digest) == (entry["symbols"], entry["digest"])


@each_picture
def test_latents_are_what_they_were(corpus: Corpus, name: str) -> None:
    data, model = corpus.data, model_of(corpus)
    latents = codec.decode_latents(data(name), model=model)
    assert hashlib.sha256(latents.astype("<f4").tobytes()).hexdigest() == corpus.pictures[name]["latents"]


@each_picture
def test_a_picture_keeps_its_size_and_its_psnr(corpus: Corpus, name: str) -> None:
    data, model = corpus.data, model_of(corpus)
    entry, pixels = corpus.pictures[name], codec.decode(data(name), model=model)
    assert pixels.shape == source(corpus, name).shape
    assert metrics.psnr(source(corpus, name), pixels) == pytest.approx(entry["psnr"], abs=0.01)
    coded = container.read(data(name))
    assert (len(coded.payloads), len(data(name))) == (entry["tiles"], entry["bytes"])


@each_corpus
def test_pixels_differ_by_one_level_at_most_and_hardly_ever(corpus: Corpus) -> None:
    data, model = corpus.data, model_of(corpus)
    pairs = [(codec.decode(data(name), model=model), stored(corpus, name)) for name in kept(corpus)]
    assert all(ours.shape == theirs.shape for ours, theirs in pairs)
    apart = np.concatenate([np.abs(ours.astype(int) - theirs).ravel() for ours, theirs in pairs])
    assert apart.max() <= 1
    assert (apart != 0).mean() <= SHARE


@each_corpus
def test_the_small_model_is_what_it_was(corpus: Corpus) -> None:
    model = model_of(corpus)
    assert model.file.decoding_hash().hex() == corpus.table["model"]
    found = verify.selftest(model)
    assert found.differences == ()
    assert found.digest == corpus.table["selftest"]


@each_corpus
def test_nobody_made_the_corpus_again(corpus: Corpus) -> None:
    assert hashlib.sha256((corpus.folder / "table.json").read_bytes()).hexdigest() == FROZEN[corpus.folder.name]
    files = {path.name for path in corpus.folder.iterdir() if path.suffix in (".itg", ".webp")}
    assert files == {f"{name}.itg" for name in corpus.pictures} | {f"{name}.webp" for name in kept(corpus)}
    assert sum(path.stat().st_size for path in corpus.folder.iterdir() if path.is_file()) < 400_000


@each_corpus
def test_the_corpus_has_every_kind_of_picture(corpus: Corpus) -> None:
    headers = [container.read_header(corpus.data(name)) for name in corpus.pictures]
    assert {header.channels for header in headers} == {1, 3}
    assert {header.rate for header in headers} >= {0, 198}
    assert len({header.rate for header in headers}) > 4
    assert any(header.width == header.height == 1 for header in headers)
    assert any(header.tile for header in headers)
