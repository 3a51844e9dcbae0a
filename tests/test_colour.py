"""The shipped model `colour`: small, exact, and better the more bytes it gets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import intaglio
from intaglio import metrics, verify, ycbcr
from intaglio.bundle import load_model, shipped_models

ROOT = Path(__file__).resolve().parent.parent
QUALITIES = (1, 10, 20, 30, 45, 60, 80, 100)
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module", params=["budgie", "colosseum", "taipei_night"])
def picture(request: pytest.FixtureRequest) -> np.ndarray:
    with Image.open(ROOT / "examples" / f"{request.param}.webp") as image:
        return np.asarray(image.convert("RGB"))[:384, :448]


def test_it_is_small_and_takes_luma() -> None:
    assert shipped_models()["colour"].stat().st_size < 15_000_000
    assert load_model("colour", 1).given == "luma"


def test_more_bytes_make_better_colours(picture: np.ndarray) -> None:
    grey = ycbcr.luma(picture)
    without = metrics.psnr_luma_chroma(picture, np.dstack([grey] * 3))[1]
    sizes, psnrs = [0], [without]
    for quality in QUALITIES:
        data = intaglio.encode(picture, quality, given=grey)
        sizes.append(len(data))
        psnrs.append(metrics.psnr_luma_chroma(picture, intaglio.decode(data, given=grey))[1])
    assert sizes == sorted(sizes)
    assert psnrs == sorted(psnrs)
    assert psnrs[-1] > 40.0


def test_the_decoded_picture_has_the_given_luma(picture: np.ndarray) -> None:
    grey = ycbcr.luma(picture)
    decoded = intaglio.decode(intaglio.encode(picture, 50, given=grey), given=grey)
    inside = np.all((decoded > 0) & (decoded < 255), axis=2)
    assert inside.mean() > 0.2  # a night is black in many places
    assert np.abs(ycbcr.luma(decoded).astype(int) - grey)[inside].max() <= 1


@pytest.mark.slow
@pytest.mark.parametrize("quality", [1, 50, 100])
def test_every_table_row_mean_and_symbol_is_that_of_the_reference(picture: np.ndarray, quality: int) -> None:
    part = np.ascontiguousarray(picture[:256, :192])
    found = verify.verify(intaglio.encode(part, quality, given=part), given=part)
    assert found.exact, found.differences
