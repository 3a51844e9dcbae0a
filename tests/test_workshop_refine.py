"""Refined latents cost less than those of the analysis, any decoder reads them, and what cannot be refined is said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import intaglio
from intaglio import images, metrics, modelfile
from intaglio.bundle import read_model_file
from intaglio.errors import ArgumentError
from intaglio.quality import LMBDAS, quality_to_rate, rate_to_lmbda
from intaglio.workshop import restore
from intaglio.workshop.export import model_file
from intaglio.workshop.refine import Descent, encode
from small_photo import randomised

ROOT = Path(__file__).resolve().parent.parent
QUALITY = 35.0
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    """Part of an example, its sides no multiples of anything."""
    return np.ascontiguousarray(
        images.to_rgb(images.load(ROOT / "examples" / "colosseum.webp").pixels)[100:290, 150:341]
    )


def _lmbda() -> float:
    low, high = read_model_file("photo").config["lmbdas"]
    return rate_to_lmbda(quality_to_rate(QUALITY), (low, high))


def _cost(picture: np.ndarray, data: bytes) -> float:
    """Bits per pixel, plus lambda times the squared error, of what an ordinary decoder makes of the file."""
    error = 255.0**2 / 10.0 ** (metrics.psnr(picture, intaglio.decode(data)) / 10.0)
    return 8.0 * len(data) / (picture.size / 3) + _lmbda() * error


@pytest.mark.slow
def test_descent_finds_better_latents_than_the_analysis(picture: np.ndarray) -> None:
    seen: list[tuple[int, int]] = []
    refined = encode(picture, QUALITY, descent=Descent(), progress=lambda *done: seen.append(done))
    usual = min(_cost(picture, intaglio.encode(picture, QUALITY, effort=effort)) for effort in (0, 1, 3))
    assert _cost(picture, refined) < usual
    assert seen == [(step, 40) for step in range(1, 41)]


def test_a_few_steps_leave_a_whole_file_and_the_same_one_each_time(picture: np.ndarray) -> None:
    first, again = (encode(picture, QUALITY, descent=Descent(3)) for _ in range(2))
    assert first == again
    assert metrics.psnr(picture, intaglio.decode(first)) > 25.0


def test_a_model_without_a_trellis_is_refined_by_draws_too(picture: np.ndarray, tmp_path: Path) -> None:
    model = tmp_path / "rounded.itgm"
    model.write_bytes(modelfile.write(model_file(randomised(3), "photo", {})))
    first, again = (encode(picture, QUALITY, str(model), Descent(3, "gumbel")) for _ in range(2))
    assert first == again
    assert intaglio.decode(first, model=model).shape == picture.shape


def test_a_grey_picture_is_refined_as_grey(picture: np.ndarray) -> None:
    grey = picture[:, :, 1]
    assert intaglio.decode(encode(grey, QUALITY, descent=Descent(2))).shape == grey.shape


def test_the_model_of_a_file_comes_back_with_its_scale_of_lambda_and_its_dead_zones() -> None:
    file = read_model_file("photo")
    changed = replace(file, config={**file.config, "lmbdas": [0.001, 0.2], "error_cost": 5.0})
    assert (restore.model(changed).lmbdas, restore.model(changed).error_cost) == ((0.001, 0.2), 5.0)
    plain = {key: value for key, value in file.config.items() if key not in ("lmbdas", "error_cost")}
    older = restore.model(replace(file, config=plain))
    assert (older.lmbdas, older.error_cost) == (LMBDAS, 0.0)


def test_the_model_of_a_file_comes_back_with_its_weights() -> None:
    file = read_model_file("photo")
    model = restore.model(file)
    assert not model.training
    arrays = model.arrays()
    weights = [name for name in arrays if name.endswith("weight")]
    assert len(weights) > 10
    assert all(np.array_equal(arrays[name], file.arrays[name]) for name in weights)


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        ({"model": "colour"}, "must have a hyperprior, and take no picture"),
        ({"quality": 0.0}, "quality"),
        ({"model": "no such model"}, "no such model"),
    ],
)
def test_what_cannot_be_refined_is_said_in_one_line(picture: np.ndarray, wrong: dict[str, Any], what: str) -> None:
    with pytest.raises(intaglio.IntaglioError, match=what):
        encode(picture, **{"quality": QUALITY, **wrong})


def test_no_step_and_too_many_pixels_are_refused() -> None:
    with pytest.raises(ArgumentError, match="steps is -1"):
        Descent(-1)
    with pytest.raises(ArgumentError, match="kind is 'sga'"):
        Descent(kind="sga")
    with pytest.raises(ArgumentError, match=r"4096 x 2048 pixels; at most 2\^22 are refined"):
        encode(np.zeros((2048, 4096, 3), np.uint8), QUALITY)
