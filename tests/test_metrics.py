"""Metrics agree with their definitions and with published implementations."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from importlib.util import find_spec

import numpy as np
import pytest

from intaglio import metrics
from intaglio.errors import ArgumentError


def synthetic(height: int, width: int) -> np.ndarray:
    """Gradients that wrap around, with a checkerboard: integers only, so the same on every machine."""
    y, x = np.mgrid[0:height, 0:width]
    board = (x // 16 + y // 16) % 2 * 60
    planes = [(x * (2 + k) // 3 + y * (k + 1) // 2 + board) % 256 for k in range(3)]
    return np.stack(planes, axis=-1).astype(np.uint8)


def coarse(picture: np.ndarray, step: int) -> np.ndarray:
    return (picture // step * step).astype(np.uint8)


def test_psnr_is_the_definition(rng: np.random.Generator, seed: int) -> None:
    a, b = (rng.integers(0, 256, (40, 30, 3), np.uint8) for _ in range(2))
    expected = 10 * math.log10(255**2 / np.mean((a.astype(float) - b) ** 2))
    assert metrics.psnr(a, b) == pytest.approx(expected, abs=1e-9), f"seed {seed}"
    assert metrics.psnr(a, a) == math.inf


def test_psnr_of_opposites_is_zero() -> None:
    black = np.zeros((5, 7), np.uint8)
    assert metrics.psnr(black, 255 - black) == 0.0


def test_psnr_of_luma_and_chroma_is_that_of_unrounded_ycbcr(rng: np.random.Generator, seed: int) -> None:
    matrix = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])
    a, b = (rng.integers(0, 256, (40, 30, 3), np.uint8) for _ in range(2))
    mse = np.mean(((a.astype(float) - b) @ matrix.T) ** 2, axis=(0, 1))
    expected = [10 * math.log10(255**2 / value) for value in (mse[0], mse[1:].mean())]
    assert metrics.psnr_luma_chroma(a, b) == pytest.approx(expected, abs=1e-3), f"seed {seed}"


def test_grey_pictures_have_infinite_chroma_psnr() -> None:
    a = synthetic(32, 32)[..., 0]
    assert metrics.psnr_luma_chroma(a, coarse(a, 8)) == (
        pytest.approx(metrics.psnr(a, coarse(a, 8))),
        math.inf,
    )
    assert metrics.psnr_luma_chroma(a, a) == (math.inf, math.inf)


@pytest.mark.parametrize(
    ("shape", "step", "colour", "grey"),
    [
        ((176, 192), 8, 0.9980117340850233, 0.998328391596916),
        ((176, 192), 32, 0.9745847045177505, 0.9786311670523039),
        ((173, 211), 8, 0.9980656376878209, 0.9982198033497458),
        ((173, 211), 32, 0.9680824874175608, 0.9737710868587656),
    ],
)
def test_ms_ssim_agrees_with_pytorch_msssim(shape: tuple[int, int], step: int, colour: float, grey: float) -> None:
    """The values are those of pytorch-msssim 1.0.0 in double precision, for RGB and for its green channel."""
    a = synthetic(*shape)
    assert metrics.ms_ssim(a, coarse(a, step)) == pytest.approx(colour, abs=1e-5)
    green = a[..., 1]
    assert metrics.ms_ssim(green, coarse(green, step)) == pytest.approx(grey, abs=1e-5)


def test_ms_ssim_is_one_only_for_equal_pictures() -> None:
    a = synthetic(161, 170)
    b = a.copy()
    b[80, 80, 1] ^= 8
    assert metrics.ms_ssim(a, a) == 1.0
    assert 0.9999 < metrics.ms_ssim(a, b) < 1.0


def test_ms_ssim_of_a_negative_is_zero_and_finite() -> None:
    a = synthetic(161, 161)
    assert metrics.ms_ssim(a, 255 - a) == pytest.approx(0.0, abs=0.05)


@pytest.mark.parametrize("shape", [(160, 400, 3), (400, 160), (1, 1, 3)])
def test_ms_ssim_refuses_pictures_under_161_pixels(shape: tuple[int, ...]) -> None:
    a = np.zeros(shape, np.uint8)
    with pytest.raises(ArgumentError, match="161"):
        metrics.ms_ssim(a, a)


def test_ms_ssim_in_decibels() -> None:
    assert metrics.ms_ssim_db(0.99) == pytest.approx(20.0)
    assert metrics.ms_ssim_db(1.0) == math.inf


@pytest.mark.parametrize("metric", [metrics.psnr, metrics.psnr_luma_chroma, metrics.ms_ssim])
@pytest.mark.parametrize(
    ("a", "b"),
    [
        (np.zeros((200, 200, 3), np.uint8), np.zeros((200, 201, 3), np.uint8)),
        (np.zeros((200, 200, 3), np.uint8), np.zeros((200, 200), np.uint8)),
        (np.zeros((200, 200, 3), np.float32), np.zeros((200, 200, 3), np.float32)),
        (np.zeros((200, 200, 4), np.uint8), np.zeros((200, 200, 4), np.uint8)),
        (np.zeros((0, 200), np.uint8), np.zeros((0, 200), np.uint8)),
    ],
)
def test_pictures_that_cannot_be_compared_are_refused(
    metric: Callable[[np.ndarray, np.ndarray], object], a: np.ndarray, b: np.ndarray
) -> None:
    with pytest.raises(ArgumentError, match="compare"):
        metric(a, b)


def test_bits_per_pixel() -> None:
    assert metrics.bits_per_pixel(1000, 40, 50) == 4.0
    with pytest.raises(ArgumentError, match="0x5"):
        metrics.bits_per_pixel(10, 0, 5)


def test_ssimulacra2_is_100_for_equal_pictures_and_falls_with_damage(photo: np.ndarray) -> None:
    pytest.importorskip("ssimulacra2")
    scores = [metrics.ssimulacra2(photo, photo // step * step) for step in (1, 8, 32, 96)]
    assert scores[0] == pytest.approx(100.0)
    assert scores == sorted(scores, reverse=True)
    assert scores[1] > 60 > scores[3], scores


def test_ssimulacra2_refuses_small_pictures_and_names_a_missing_package(
    photo: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    if find_spec("ssimulacra2"):
        with pytest.raises(ArgumentError, match="sides of 8 pixels"):
            metrics.ssimulacra2(photo[:7], photo[:7])
        with pytest.raises(ArgumentError, match="differ in shape"):
            metrics.ssimulacra2(photo[:9], photo[:8])
    monkeypatch.setitem(sys.modules, "ssimulacra2", None)
    with pytest.raises(ArgumentError, match=r"pip install 'intaglio\[evaluate\]'"):
        metrics.ssimulacra2(photo, photo)
