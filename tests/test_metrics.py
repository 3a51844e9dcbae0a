"""Metrics agree with their definitions and with published implementations."""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable

import numpy as np
import pytest

from intaglio import metrics
from intaglio.errors import ArgumentError

# Two curves of (bits per pixel, dB) with different numbers of points and partly overlapping ranges.
ANCHOR = np.array([[0.2212, 23.85], [0.5083, 29.14], [0.9055, 32.17], [1.8565, 36.46], [3.8101, 41.35]])
TEST = np.array([[0.1196, 26.86], [0.3421, 30.48], [0.9982, 35.98], [2.1797, 41.47]])


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


def test_bd_rate_agrees_with_the_bjontegaard_package() -> None:
    """The values are those of the PyPI package bjontegaard, method "pchip"."""
    pytest.importorskip("scipy")
    assert metrics.bd_rate(ANCHOR, TEST) == pytest.approx(-46.64958503906843, abs=1e-6)
    assert metrics.bd_rate(TEST, ANCHOR) == pytest.approx(87.43996663049359, abs=1e-6)


def test_bd_rate_of_a_scaled_curve_is_the_scale() -> None:
    pytest.importorskip("scipy")
    assert metrics.bd_rate(ANCHOR, ANCHOR * [0.8, 1.0]) == pytest.approx(-20.0)
    assert metrics.bd_rate(ANCHOR, ANCHOR[::-1]) == pytest.approx(0.0)


@pytest.mark.parametrize(
    ("curve", "what"),
    [
        (ANCHOR + np.array([0.0, 50.0]), "share no quality"),
        (ANCHOR * [-1.0, 1.0], "not positive"),
        (ANCHOR * [1.0, math.nan], "not finite"),
        (np.repeat(ANCHOR, 2, axis=0), "same quality"),
        (ANCHOR[:1], "shape"),
        (ANCHOR.T, "shape"),
    ],
)
def test_bd_rate_of_unusable_curves_is_refused(curve: np.ndarray, what: str) -> None:
    pytest.importorskip("scipy")
    with pytest.raises(ArgumentError, match=what):
        metrics.bd_rate(ANCHOR, curve)


def test_bd_rate_without_scipy_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without_scipy(name: str, *args: object, **kwargs: object) -> object:
        if name.startswith("scipy"):
            raise ImportError(name)
        return real(name, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", without_scipy)
    with pytest.raises(ArgumentError, match=r"intaglio\[evaluate\]"):
        metrics.bd_rate(ANCHOR, TEST)
