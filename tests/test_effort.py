"""More effort makes better latents, costs the decoder nothing, and changes nothing where a model has no part for it."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import intaglio
from golden_files import Corpus
from intaglio import codec, container, images, metrics
from intaglio.bundle import Model, load_model
from intaglio.effort import MOST
from intaglio.errors import ArgumentError
from intaglio.quality import quality_to_rate, rate_to_lmbda

EXAMPLES = sorted((Path(__file__).resolve().parent.parent / "examples").glob("*.webp"))
QUALITIES = 25, 50, 75


@pytest.fixture(scope="module")
def photo() -> Model:
    return load_model("photo", 2)


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    """The middle of each example."""
    whole = [images.to_rgb(images.load(path).pixels) for path in EXAMPLES]
    return [np.ascontiguousarray(each[64:384, 64:448]) for each in whole]


def _cost(pixels: np.ndarray, data: bytes, quality: float, model: Model) -> float:
    """Bits per pixel, plus lambda times the squared error."""
    error = 255.0**2 / 10.0 ** (metrics.psnr(pixels, intaglio.decode(data, model=model)) / 10.0)
    bits = 8.0 * len(data) / (pixels.shape[0] * pixels.shape[1])
    low, high = model.file.config["lmbdas"]
    return bits + rate_to_lmbda(quality_to_rate(quality), (low, high)) * error


@pytest.mark.parametrize("quality", QUALITIES)
def test_each_step_of_effort_lowers_what_is_minimised(pictures: list[np.ndarray], photo: Model, quality: float) -> None:
    costs = []
    for effort in (0, 1, 3):
        coded = [intaglio.encode(each, quality, model=photo, effort=effort) for each in pictures]
        pairs = zip(pictures, coded, strict=True)
        costs.append(sum(_cost(each, data, quality, photo) for each, data in pairs))
    assert costs[0] > costs[1] > costs[2], f"R + lambda D at efforts 0, 1, 3: {costs}"


@pytest.mark.parametrize("effort", [0, 1, 4])
def test_what_is_estimated_is_written(pictures: list[np.ndarray], photo: Model, effort: int) -> None:
    written = 8 * len(intaglio.encode(pictures[0], 40, model=photo, effort=effort))
    estimated = codec.estimate(pictures[0], 40, model=photo, effort=effort)
    assert 0 < written - estimated < 0.0005 * written + 8 * 40


def test_tiles_are_refined_as_the_whole_is(
    pictures: list[np.ndarray], photo: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(container, "choose_tile", lambda *_: 3)  # blocks
    costs = []
    for effort in (1, 3):
        data = intaglio.encode(pictures[0], 50, model=photo, effort=effort)
        assert codec.info(data).tiles == 4
        costs.append(_cost(pictures[0], data, 50, photo))
    assert costs[1] < costs[0]


def test_a_model_without_that_part_has_two_efforts_at_most() -> None:
    corpus = Corpus("v1")
    model, source = corpus.model(), corpus.source("odd")
    assert not model.has_feedback
    plain = intaglio.encode(source, 50, model=model)
    assert all(intaglio.encode(source, 50, model=model, effort=effort) == plain for effort in range(1, MOST + 1))


@pytest.mark.parametrize("wrong", [-1, 10, 2.5, "3", True, None])
def test_a_wrong_effort_is_refused_before_the_work(pictures: list[np.ndarray], wrong: Any) -> None:
    calls = partial(intaglio.encode, model="no such model"), partial(codec.estimate, model="no such model")
    for call in calls:
        with pytest.raises(ArgumentError, match=r"effort is .*; it must be a whole number from 0 to 9"):
            call(pictures[0], 50, effort=wrong)
