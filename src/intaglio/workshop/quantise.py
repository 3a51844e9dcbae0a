"""Quantising latents: rounding for the coder, and what stands for it while training.

All are functions of a tensor of any shape, floating, already less its mean; all round halves up, as the codec does.

    symbols            int32, for `intaglio.rans`
    straight_through   rounds; the gradient is the identity's (Theis et al. 2017, arXiv 1703.00395)
    noise              adds U(-1/2, 1/2) to every value (Ballé et al. 2017, arXiv 1611.01704)
    universal          rounds on a grid that one random offset shifts; differs from its input by U(-1/2, 1/2), as with
                       noise, but can be coded (Ziv 1985; Agustsson and Theis 2020, arXiv 2006.09952)
    soft_round         between the identity and rounding, with true gradients (Agustsson and Theis 2020)
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from intaglio.errors import ArgumentError
from intaglio.workshop.bounds import round_ste

straight_through = round_ste
_STRAIGHT = 1e-3  # a lower alpha changes nothing that float32 could show
_HARD = 1e3  # and a higher one rounds


def symbols(x: Tensor) -> Tensor:
    """`floor(x + 1/2)` as int32, detached. Raises ArgumentError if a value is not finite or not an int32."""
    rounded = torch.floor(x.detach() + 0.5)
    wrong = int((~(rounded.abs() < 2.0**31)).sum())
    if wrong:
        raise ArgumentError(f"x of shape {tuple(x.shape)}: {wrong} values cannot be an int32; give finite latents")
    return rounded.to(torch.int32)


def noise(x: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """`x + U(-1/2, 1/2)`, drawn for every value; the generator must be on x's device."""
    return x + (torch.rand(x.shape, generator=generator, dtype=x.dtype, device=x.device) - 0.5)


def dither(x: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """The offset of `universal`: one draw of U(-1/2, 1/2), shape (), with x's dtype and device.

    Encoder and decoder draw the same one from generators of the same seed: code `symbols(x - offset)`, decode to
    `symbols + offset`.
    """
    return torch.rand((), generator=generator, dtype=x.dtype, device=x.device) - 0.5


def universal(x: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """`round(x - u) + u` with one offset u from `dither`, the gradient straight through."""
    offset = dither(x, generator)
    return straight_through(x - offset) + offset


def soft_round(x: Tensor, alpha: float) -> Tensor:
    """`floor(x) + 1/2 + tanh(alpha r) / (2 tanh(alpha / 2))`, where r = x - floor(x) - 1/2.

    alpha 0 gives x, infinity gives rounding. Agustsson and Theis 2020, section 4.1. Raises ArgumentError if alpha is
    negative or NaN.
    """
    _check(alpha)
    if alpha < _STRAIGHT:
        return x
    middle = torch.floor(x) + 0.5
    if alpha > _HARD:
        return torch.floor(x + 0.5) + 0.0 * (x - middle)  # a gradient of zero, not none
    return middle + torch.tanh(alpha * (x - middle)) / (2.0 * math.tanh(0.5 * alpha))


def soft_round_inverse(y: Tensor, alpha: float) -> Tensor:
    """The x whose `soft_round` is y. At large alpha float32 cannot tell the x of one step apart: see `soft_round`."""
    _check(alpha)
    if alpha < _STRAIGHT:
        return y
    middle = torch.floor(y) + 0.5
    if alpha > _HARD:
        return middle + 0.0 * (y - middle)
    most = 1.0 - torch.finfo(y.dtype).eps
    steep = (2.0 * math.tanh(0.5 * alpha) * (y - middle)).clamp(-most, most)
    return middle + (torch.atanh(steep) / alpha).clamp(-0.5, 0.5)


def soft_round_mean(y: Tensor, alpha: float) -> Tensor:
    """The mean of x given that `soft_round(x) + U(-1/2, 1/2)` is y, for x spread evenly: `inverse(y - 1/2) + 1/2`.

    Agustsson and Theis 2020, section 4.2.
    """
    return soft_round_inverse(y - 0.5, alpha) + 0.5


def soft_noise(x: Tensor, alpha: float, generator: torch.Generator | None = None) -> Tensor:
    """What a decoder is trained on in place of rounded latents: `soft_round_mean(soft_round(x) + U(-1/2, 1/2))`.

    alpha 0 gives `noise`, infinity gives rounding. Agustsson and Theis 2020, section 4.3.
    """
    return soft_round_mean(noise(soft_round(x, alpha), generator), alpha)


def annealed(progress: float, first: float = 1.0, last: float = 16.0) -> float:
    """alpha at a share `progress` of training, from `first` to `last` by a constant factor per step.

    Raises ArgumentError unless progress is from 0 to 1 and both ends are finite and above zero.
    """
    if not 0.0 <= progress <= 1.0:
        raise ArgumentError(f"progress is {progress}; it must be from 0 to 1")
    if not (0.0 < first < math.inf and 0.0 < last < math.inf):
        raise ArgumentError(f"alpha goes from {first} to {last}; both must be finite and above zero")
    return first * (last / first) ** progress


def _check(alpha: float) -> None:
    if not alpha >= 0.0:
        raise ArgumentError(f"alpha is {alpha}; it must be a number, 0 or more")
