"""How far two pictures are apart: uint8 arrays (H,W,3) or (H,W) of one shape. PSNR is in dB, MS-SSIM in 0..1."""

from __future__ import annotations

import importlib.util
import io
import math

import numpy as np
from PIL import Image

from intaglio.errors import ArgumentError

SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # Wang, Simoncelli, Bovik 2003, section 4
SSIM_C1, SSIM_C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
WINDOW_TAPS, WINDOW_SIGMA = 11, 1.5
SSIMULACRA2_MIN_SIDE = 8
NO_SSIMULACRA2 = "SSIMULACRA2 needs the package ssimulacra2: pip install 'intaglio[evaluate]'"
MS_SSIM_MIN_SIDE = (WINDOW_TAPS - 1) * 2 ** (len(SCALE_WEIGHTS) - 1) + 1


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB over all samples and channels, 10 log10(255^2 / MSE); inf if equal.

    Raises ArgumentError when the pictures differ in shape or are not uint8 (H,W,3) or (H,W).
    """
    _check_pair(a, b)
    # A difference of bytes fits int16, its square uint16, the sum of squares uint64: exact without floats.
    difference = np.abs(np.subtract(a, b, dtype=np.int16)).astype(np.uint16)
    total = int(np.square(difference).sum(dtype=np.uint64))
    return _decibels(total / a.size)


def psnr_luma_chroma(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """PSNR in dB of luma, and of chroma: 10 log10(255^2 / mean of the MSE of Cb and of Cr); inf when equal.

    YCbCr as in JFIF 1.02 (ITU-R BT.601 weights, full range), in floating point, not rounded. A grey picture
    has no chroma: inf. Raises ArgumentError as `psnr` does.
    """
    _check_pair(a, b)
    difference = np.subtract(a, b, dtype=np.int16).astype(np.float32)
    if a.ndim == 2:
        return _decibels(_mean_square(difference)), math.inf
    # The transform is linear, so the difference of the pictures is transformed and its offsets cancel.
    red, green, blue = difference[..., 0], difference[..., 1], difference[..., 2]
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    cb, cr = (blue - luma) / 1.772, (red - luma) / 1.402
    return _decibels(_mean_square(luma)), _decibels((_mean_square(cb) + _mean_square(cr)) / 2)


def ms_ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Multi-scale structural similarity, 0..1, computed for each channel (R, G, B) and averaged.

    Wang, Simoncelli, Bovik, "Multi-scale structural similarity for image quality assessment", 2003: five
    scales, Gaussian window of 11 taps and sigma 1.5 without padding, K = (0.01, 0.03), peak 255. Scales are
    halved by 2x2 means; an odd side first gets a row or column of zeros in front, as in the pytorch-msssim
    package, whose values these are. Raises ArgumentError as `psnr` does, and when a side is shorter than 161.
    """
    _check_pair(a, b)
    if min(a.shape[:2]) < MS_SSIM_MIN_SIDE:
        size = f"{a.shape[1]}x{a.shape[0]}"
        raise ArgumentError(f"MS-SSIM needs sides of {MS_SSIM_MIN_SIDE} pixels or more; the picture is {size}")
    planes = 1 if a.ndim == 2 else 3
    pairs = ((a.reshape(*a.shape[:2], planes)[..., c], b.reshape(*b.shape[:2], planes)[..., c]) for c in range(planes))
    return float(np.mean([_ms_ssim_plane(x.astype(np.float32), y.astype(np.float32)) for x, y in pairs]))


def ms_ssim_db(value: float) -> float:
    """MS-SSIM 0..1 on a logarithmic scale: -10 log10(1 - value) dB; inf for 1."""
    return math.inf if value >= 1.0 else -10.0 * math.log10(1.0 - value)


def has_ssimulacra2() -> bool:
    """Whether the package that `ssimulacra2` needs is installed."""
    return importlib.util.find_spec("ssimulacra2") is not None


def ssimulacra2(a: np.ndarray, b: np.ndarray) -> float:
    """SSIMULACRA2 of b beside the original a: 100 if equal, 90 hardly to be told apart, 70 high, 50 medium quality,
    below 0 very poor.

    J. Sneyers, Cloudinary, 2022 (multi-scale error maps of XYB), as the package `ssimulacra2` computes it. Raises
    ArgumentError as `psnr` does, when a side is shorter than 8, and without that package.
    """
    try:
        from ssimulacra2 import compute_ssimulacra2
    except ImportError:
        raise ArgumentError(NO_SSIMULACRA2) from None
    _check_pair(a, b)
    if min(a.shape[:2]) < SSIMULACRA2_MIN_SIDE:
        size = f"{a.shape[1]}x{a.shape[0]}"
        raise ArgumentError(f"SSIMULACRA2 needs sides of {SSIMULACRA2_MIN_SIDE} pixels or more; the picture is {size}")
    return float(compute_ssimulacra2(_bitmap(a), _bitmap(b)))


def _bitmap(pixels: np.ndarray) -> io.BytesIO:
    """A file in memory: the package takes nothing else that it can open."""
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(file, "BMP")
    return file


def bits_per_pixel(nbytes: int, width: int, height: int) -> float:
    """Bits of the whole file for each pixel. Raises ArgumentError for an empty picture."""
    if width < 1 or height < 1:
        raise ArgumentError(f"a picture of {width}x{height} has no bits per pixel")
    return 8.0 * nbytes / (width * height)


def _check_pair(a: np.ndarray, b: np.ndarray) -> None:
    for array in (a, b):
        if array.dtype != np.uint8 or array.size == 0 or not (array.ndim == 2 or array.shape[2:] == (3,)):
            got = f"{array.dtype} of shape {array.shape}"
            raise ArgumentError(f"a picture to compare is {got}; it must be uint8 (H,W,3) or (H,W)")
    if a.shape != b.shape:
        raise ArgumentError(f"the pictures to compare differ in shape: {a.shape} and {b.shape}")


def _mean_square(values: np.ndarray) -> float:
    return float(np.mean(np.square(values), dtype=np.float64))


def _decibels(mse: float) -> float:
    return math.inf if mse == 0 else 10.0 * math.log10(255.0**2 / mse)


def _ms_ssim_plane(x: np.ndarray, y: np.ndarray) -> float:
    """MS-SSIM of two float32 planes (H,W) on the 0..255 scale."""
    total, difference, result = x + y, x - y, 1.0
    for scale, weight in enumerate(SCALE_WEIGHTS):
        structure, similarity = _ssim(total, difference)
        last = scale == len(SCALE_WEIGHTS) - 1
        result *= max(similarity if last else structure, 0.0) ** weight
        if not last:
            total, difference = _halved(total), _halved(difference)
    return result


def _ssim(total: np.ndarray, difference: np.ndarray) -> tuple[float, float]:
    """Means over the plane of contrast-structure and of SSIM, from x + y and x - y.

    With s = x + y and d = x - y, both terms are one minus a ratio that vanishes when x = y, which keeps the
    precision that the textbook form loses there, and four filtered planes do instead of five:
    cs = 1 - var(d) / (var(x) + var(y) + C2), l = 1 - mean(d)^2 / (mean(x)^2 + mean(y)^2 + C1),
    var(x) + var(y) = (var(s) + var(d)) / 2, and the same for squared means.
    """
    centred = total - 255.0  # smaller squares, less cancellation in the variance
    mean_s, mean_d = _blurred(centred), _blurred(difference)
    var_s = _blurred(np.square(centred)) - np.square(mean_s)
    var_d = _blurred(np.square(difference)) - np.square(mean_d)
    structure = 1.0 - var_d / (0.5 * (var_s + var_d) + SSIM_C2)
    power_d = np.square(mean_d)
    luminance = 1.0 - power_d / (0.5 * (np.square(mean_s + 255.0) + power_d) + SSIM_C1)
    return float(structure.mean(dtype=np.float64)), float((luminance * structure).mean(dtype=np.float64))


def _blurred(plane: np.ndarray) -> np.ndarray:
    """Plane (H,W) filtered by the Gaussian window where it fits: (H-10,W-10)."""
    offsets = np.arange(WINDOW_TAPS) - WINDOW_TAPS // 2
    taps = np.exp(-(offsets**2) / (2 * WINDOW_SIGMA**2))
    weights = [float(tap) for tap in taps / taps.sum()]
    return _blurred_rows(_blurred_rows(plane, weights).T, weights).T


def _blurred_rows(plane: np.ndarray, weights: list[float]) -> np.ndarray:
    height = plane.shape[0] - WINDOW_TAPS + 1
    half = WINDOW_TAPS // 2
    result = weights[half] * plane[half : half + height]
    for tap in range(half):  # the window is symmetric: one product for two rows
        opposite = WINDOW_TAPS - 1 - tap
        result += weights[tap] * (plane[tap : tap + height] + plane[opposite : opposite + height])
    return result


def _halved(plane: np.ndarray) -> np.ndarray:
    plane = np.pad(plane, [(side % 2, 0) for side in plane.shape])
    return 0.25 * (plane[0::2, 0::2] + plane[1::2, 0::2] + plane[0::2, 1::2] + plane[1::2, 1::2])
