"""The rate-distortion loss."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from intaglio.quality import MAX_LMBDA, MAX_RATE, MIN_LMBDA


@dataclass(frozen=True)
class RateDistortion:
    """What one batch cost; each field has shape (B,)."""

    bpp: Tensor  # bits per pixel
    mse: Tensor  # mean squared error over all samples, 0..255 scale
    lmbda: Tensor  # weight of mse against bpp

    def loss(self) -> Tensor:
        """Scalar: mean of `(R + lambda D) / sqrt(lambda)`; the root keeps the gradients of all qualities alike in
        size.
        """
        return ((self.bpp + self.lmbda * self.mse) / torch.sqrt(self.lmbda)).mean()


def lmbda_of(rate: Tensor) -> Tensor:
    """Lambda (0..255 scale) of rate steps (B,); the formula of `intaglio.quality`."""
    return MIN_LMBDA * (MAX_LMBDA / MIN_LMBDA) ** (rate.float() / MAX_RATE)


def rate_distortion(x: Tensor, decoded: Tensor, bits: Tensor, rate: Tensor) -> RateDistortion:
    """From pictures and decoded pictures (B,3,H,W), 0..1, and bits (B,)."""
    mse = ((decoded.float() - x).square().mean((1, 2, 3))) * 255.0**2
    return RateDistortion(bits / (x.shape[2] * x.shape[3]), mse, lmbda_of(rate))
