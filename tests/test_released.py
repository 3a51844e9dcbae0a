"""What a released model coded decodes in every later version, and no model need be named."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest

from golden_files import ROOT, SHARE, Corpus
from intaglio import codec, metrics, verify
from intaglio.bundle import load_model, shipped_models

CORPUS = Corpus("released")
RELEASED = {  # first digits of SHA-256, of both files and of the entry; lines are added, none is changed
    "9cfed99a": ("af2f068890d2e7cd", "5316a7010f3dccce"),
    "11f42b13": ("6f9e4101d91d7bdd", "dcf9409cd5a34d29"),
    "8bd34914": ("96bc8aa663f6c1fe", "b0225873ecb4b99d"),
}

each_model = pytest.mark.parametrize("name", CORPUS.pictures)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def given(name: str) -> np.ndarray | None:
    """The picture that the model was given, if any."""
    return CORPUS.source(name) if CORPUS.pictures[name]["given"] else None


@each_model
def test_a_released_models_file_decodes_to_its_latents(name: str) -> None:
    entry, data = CORPUS.pictures[name], CORPUS.data(name)
    assert (codec.info(data).model_id, len(data)) == (name, entry["bytes"])
    latents = codec.decode_latents(data, given=given(name))
    assert hashlib.sha256(latents.astype("<f4").tobytes()).hexdigest() == entry["latents"]


@each_model
def test_pixels_are_those_of_the_release(name: str) -> None:
    pixels, before = codec.decode(CORPUS.data(name), given=given(name)), CORPUS.decoded(name)
    difference = np.abs(pixels.astype(int) - before)
    assert difference.max() <= 1
    assert (difference > 0).mean() <= SHARE
    assert metrics.psnr(CORPUS.source(name), before) == pytest.approx(CORPUS.pictures[name]["psnr"], abs=0.001)


@each_model
def test_fast_path_and_reference_find_what_they_found(name: str) -> None:
    entry, found = CORPUS.pictures[name], verify.verify(CORPUS.data(name), given=given(name))
    assert found.differences == ()
    assert (found.symbols, found.digest) == (entry["symbols"], entry["digest"])


def test_no_released_file_was_changed_or_taken_away() -> None:
    released = {name: entry for name, entry in CORPUS.pictures.items() if entry["release"]}
    found = {
        name: (
            digest(CORPUS.data(name) + (CORPUS.folder / f"{name}.webp").read_bytes()),
            digest(json.dumps(entry).encode()),
        )
        for name, entry in released.items()
    }
    assert found == RELEASED


def test_every_shipped_model_is_here() -> None:
    shipped = {load_model(name, 1).model_id.hex() for name in shipped_models()}
    assert shipped == set(CORPUS.pictures), "run tests/golden/released/make.py; a released model stays in the package"
    files = {path.name for path in CORPUS.folder.iterdir() if path.suffix in (".itg", ".webp")}
    assert files == {f"{name}{ending}" for name in CORPUS.pictures for ending in (".itg", ".webp")}


def test_the_documents_name_every_shipped_model() -> None:
    told = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    for name, entry in CORPUS.pictures.items():
        assert f"| `{name}` | `{entry['model']}` | {entry['release'] or 'not released'} |" in told
