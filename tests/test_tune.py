"""What files are tuned for: `encode --tune`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import intaglio
from command_line import Run, in_process
from intaglio import metrics
from intaglio.bundle import load_model
from intaglio.cli_shared import TUNES


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    return in_process(monkeypatch, capsys, tmp_path)


@pytest.fixture(scope="module")
def pixels(root: Path) -> np.ndarray:
    return np.asarray(Image.open(root / "examples" / "colosseum.webp").convert("RGB"))[200:520, 300:780]


@pytest.fixture
def picture(pixels: np.ndarray, tmp_path: Path) -> Path:
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    return tmp_path / "picture.png"


@pytest.mark.parametrize("tune", TUNES)
def test_a_tuned_file_is_that_of_its_model_and_decodes_without_a_word_about_it(
    run: Run, picture: Path, pixels: np.ndarray, tmp_path: Path, tune: str
) -> None:
    assert run("encode", picture, "a.itg", "-q", 30, "--tune", tune).code == 0
    data = (tmp_path / "a.itg").read_bytes()
    assert data == intaglio.encode(pixels, 30, model=TUNES[tune])
    assert intaglio.info(data).model == TUNES[tune]
    assert run("decode", "a.itg", "a.png").code == 0
    assert np.array_equal(np.asarray(Image.open(tmp_path / "a.png")), intaglio.decode(data))


def test_each_tuning_is_the_better_one_by_its_own_measure(pixels: np.ndarray) -> None:
    """At no more bytes than the other, among every second quality."""
    qualities = np.arange(20, 50, 2.0)
    tried = {
        model: [intaglio.encode(pixels, quality, model=load_model(model, 1)) for quality in qualities]
        for model in TUNES.values()
    }

    def best(model: str, most: float, measure: Callable[..., float]) -> float:
        return max(measure(pixels, intaglio.decode(data)) for data in tried[model] if len(data) <= most)

    most = 1.01 * len(intaglio.encode(pixels, 36))
    for own, (tune, other) in {metrics.psnr: ("psnr", "ms-ssim"), metrics.ms_ssim: ("ms-ssim", "psnr")}.items():
        assert best(TUNES[tune], most, own) > best(TUNES[other], most, own)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--tune", "vmaf"), "--tune is 'vmaf'; it must be psnr or ms-ssim"),
        (("--tune", "ms-ssim", "--model", "photo"), "--tune and --model both name the model"),
        (("--tune", "psnr", "--given", "picture.png"), "--tune and --given both name the model"),
    ],
)
def test_a_tuning_that_cannot_be_meant_is_told(
    run: Run, picture: Path, tmp_path: Path, options: tuple[Any, ...], said: str
) -> None:
    assert said in run("encode", picture, "a.itg", *options).fault()
    assert not (tmp_path / "a.itg").exists()
