"""The rate-distortion loss."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from intaglio.metrics import SCALE_WEIGHTS, SSIM_C1, SSIM_C2, WINDOW_SIGMA, WINDOW_TAPS
from intaglio.quality import LMBDAS, MAX_RATE

L1_WEIGHT = 4.0  # times sqrt(lambda)
MS_SSIM_WEIGHT = 1280.0  # times lambda


@dataclass(frozen=True)
class RateDistortion:
    """What one batch cost; each field has shape (B,)."""

    bpp: Tensor  # bits per pixel, by the densities
    mse: Tensor  # mean squared error over all samples, 0..255 scale
    lmbda: Tensor  # weight of mse against bpp
    weighted: Tensor  # the distortion that is trained for, times its weight: in bits per pixel
    closed: Tensor  # bits per pixel of y by the closed approximation; zero where the densities train the transforms

    def loss(self) -> Tensor:
        """Scalar: mean of `(R + weight D) / sqrt(lambda)`; the root keeps the gradients of all qualities alike in
        size. R is `bpp`, plus `closed`.
        """
        return ((self.bpp + self.closed + self.weighted) / torch.sqrt(self.lmbda)).mean()


@dataclass(frozen=True)
class Criterion:
    """What is trained for.

    distortion: "mse", "l1" (mean absolute error, 0..255 scale) or "ms-ssim" (1 - MS-SSIM). lmbda: of every picture; 0
    for that of its rate step. It is the weight of mse, whatever the distortion: see `weight`. lmbdas: those of the rate
    steps 0 and 198.
    """

    distortion: str = "mse"
    lmbda: float = 0.0
    lmbdas: tuple[float, float] = LMBDAS

    def weight(self, lmbda: Tensor) -> Tensor:
        """What the distortion is multiplied by, (B,): bits per pixel for one unit of it.

        mse: lambda. l1: 4 sqrt(lambda): a quantiser whose step is best for mse, 5.1 / sqrt(lambda) at high rates,
        leaves an error of 1.5 / sqrt(lambda), 3/4 of it on average without its sign; there the two slopes agree.
        ms-ssim: 1280 lambda, the mean ratio of the pairs of lambdas that CompressAI publishes for its models.
        """
        if self.distortion == "l1":
            return L1_WEIGHT * torch.sqrt(lmbda)
        return MS_SSIM_WEIGHT * lmbda if self.distortion == "ms-ssim" else lmbda


def lmbda_of(rate: Tensor, lmbdas: tuple[float, float] = LMBDAS) -> Tensor:
    """Lambda (0..255 scale) of rate steps (B,); the formula of `intaglio.quality`, `lmbdas` the scale's ends."""
    low, high = lmbdas
    return low * (high / low) ** (rate.float() / MAX_RATE)


def rate_distortion(
    x: Tensor,
    decoded: Tensor,
    bits: Tensor,
    rate: Tensor,
    criterion: Criterion = Criterion(),
    closed: Tensor | float = 0.0,
) -> RateDistortion:
    """From pictures and decoded pictures (B,C,H,W), 0..1, and bits, closed bits and rate steps (B,).

    MS-SSIM needs sides of 161 pixels or more.
    """
    decoded, pixels = decoded.float(), x.shape[2] * x.shape[3]
    mse = ((decoded - x).square().mean((1, 2, 3))) * 255.0**2
    lmbda = torch.full_like(mse, criterion.lmbda) if criterion.lmbda else lmbda_of(rate, criterion.lmbdas)
    distortion = mse
    if criterion.distortion == "l1":
        distortion = (decoded - x).abs().mean((1, 2, 3)) * 255.0
    elif criterion.distortion == "ms-ssim":
        distortion = 1.0 - ms_ssim(x, decoded)
    weighted = criterion.weight(lmbda) * distortion
    return RateDistortion(bits / pixels, mse, lmbda, weighted, torch.zeros_like(mse) + closed / pixels)


def ms_ssim(a: Tensor, b: Tensor) -> Tensor:
    """MS-SSIM of pictures (B,C,H,W), 0..1, sides of 161 or more: (B,), of their dtype, mean over the channels.

    The values of `intaglio.metrics.ms_ssim`, with a gradient; for its sake a scale on which the pictures have nothing
    in common (similarity below 1e-6, negative even) counts as 1e-6 instead of 0.
    """
    total, difference = 255.0 * (a + b), 255.0 * (a - b)
    result = torch.ones(a.shape[:2], dtype=a.dtype, device=a.device)
    for scale, weight in enumerate(SCALE_WEIGHTS):
        structure, similarity = _ssim(total, difference)
        last = scale == len(SCALE_WEIGHTS) - 1
        result = result * (similarity if last else structure).clamp_min(1e-6) ** weight
        if not last:
            total, difference = _halved(total), _halved(difference)
    return result.mean(1)


def _ssim(total: Tensor, difference: Tensor) -> tuple[Tensor, Tensor]:
    """Means over each plane, (B,C), of contrast-structure and of SSIM, from x + y and x - y."""
    centred = total - 255.0
    mean_s, mean_d = _blurred(centred), _blurred(difference)
    var_s = _blurred(centred.square()) - mean_s.square()
    var_d = _blurred(difference.square()) - mean_d.square()
    structure = 1.0 - var_d / (0.5 * (var_s + var_d) + SSIM_C2)
    power_d = mean_d.square()
    luminance = 1.0 - power_d / (0.5 * ((mean_s + 255.0).square() + power_d) + SSIM_C1)
    return structure.mean((2, 3)), (luminance * structure).mean((2, 3))


def _blurred(planes: Tensor) -> Tensor:
    """Planes (B,C,H,W) filtered by the Gaussian window where it fits."""
    offsets = torch.arange(WINDOW_TAPS, dtype=planes.dtype, device=planes.device) - WINDOW_TAPS // 2
    taps = torch.exp(-offsets.square() / (2.0 * WINDOW_SIGMA**2))
    window = (taps / taps.sum()).expand(planes.shape[1], 1, 1, WINDOW_TAPS)
    rows = F.conv2d(planes, window.transpose(2, 3), groups=planes.shape[1])
    return F.conv2d(rows, window, groups=planes.shape[1])


def _halved(planes: Tensor) -> Tensor:
    """Means of 2x2; an odd side first gets zeros in front."""
    height, width = planes.shape[2:]
    return F.avg_pool2d(F.pad(planes, (width % 2, 0, height % 2, 0)), 2)
