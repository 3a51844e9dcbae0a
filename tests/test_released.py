"""What a released model coded decodes in every later version, and no model need be named."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from golden_files import ROOT, Corpus
from intaglio import codec, metrics, verify
from intaglio.bundle import load_model, shipped_models

CORPUS = Corpus("released")

each_model = pytest.mark.parametrize("name", CORPUS.pictures)


def given(name: str) -> np.ndarray | None:
    """The picture that the model was given, if any."""
    return CORPUS.source(name) if CORPUS.pictures[name]["given"] else None


@each_model
def test_a_released_models_file_decodes_to_its_latents(name: str) -> None:
    entry, data = CORPUS.pictures[name], CORPUS.data(name)
    assert (codec.info(data).model_id, len(data)) == (name, entry["bytes"])
    latents = codec.decode_latents(data, given=given(name))
    assert hashlib.sha256(latents.astype("<f4").tobytes()).hexdigest() == entry["latents"]
    pixels = codec.decode(data, given=given(name))
    assert metrics.psnr(CORPUS.source(name), pixels) == pytest.approx(entry["psnr"], abs=0.01)


@each_model
def test_fast_path_and_reference_find_what_they_found(name: str) -> None:
    entry, found = CORPUS.pictures[name], verify.verify(CORPUS.data(name), given=given(name))
    assert found.differences == ()
    assert (found.symbols, found.digest) == (entry["symbols"], entry["digest"])


def test_every_shipped_model_is_here() -> None:
    shipped = {load_model(name, 1).model_id.hex() for name in shipped_models()}
    assert shipped == set(CORPUS.pictures), "run tests/golden/released/make.py; a released model stays in the package"


def test_every_release_has_its_models() -> None:
    of = {(entry["release"], entry["model"]) for entry in CORPUS.pictures.values()}
    assert of >= {("1.0.0", name) for name in ("photo", "photo-ms-ssim", "colour")}
    assert {path.stem for path in CORPUS.folder.glob("*.itg")} == set(CORPUS.pictures)


def test_the_documents_name_every_released_model() -> None:
    told = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    for name, entry in CORPUS.pictures.items():
        assert f"| `{name}` | `{entry['model']}` | {entry['release']} |" in told
