"""Bits of a Gaussian convolved with a unit box, in a form whose gradient survives the far tails."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from intaglio.scales import LOG_STEP, SCALE_MIN

_TAIL = 5.0  # in standard deviations: beyond it the exact difference of areas loses its gradient in float32
_LINEAR = 12.0  # beyond it the cost grows linearly, as an escape's does


def log_tail(a: Tensor) -> Tensor:
    """Natural log of the standard normal's tail `Q(a)` for a >= 2, by its asymptotic series (Abramowitz, Stegun
    26.2.12).
    """
    inverse = 1.0 / (a * a)
    series = 1.0 - inverse * (1.0 - inverse * (3.0 - 15.0 * inverse))
    return -0.5 * a * a - torch.log(a) - 0.5 * math.log(2.0 * math.pi) + torch.log(series)


def gaussian_bits(value: Tensor, index: Tensor) -> Tensor:
    """Bits of `value` (a latent minus its mean, any shape) under N(0, s) discretised to unit cells.

    `index` (same shape, real) is the position of s on the logarithmic grid of `intaglio.scales`. The cell's
    probability is the difference of two upper tails of |value|, which is stable (Ballé et al. 2018); from 5 standard
    deviations on its logarithm is taken from the tail's series, from 12 on it is continued linearly, so that the
    gradient neither dies nor explodes.
    """
    inverse_scale = torch.exp(-LOG_STEP * index) / SCALE_MIN
    distance = value.abs()
    near, far = (distance - 0.5) * inverse_scale, (distance + 0.5) * inverse_scale
    in_tail = near > _TAIL
    safe_near, safe_far = torch.where(in_tail, 0.0, near), torch.where(in_tail, inverse_scale, far)
    root = math.sqrt(0.5)
    cell = 0.5 * (torch.erfc(safe_near * root) - torch.erfc(safe_far * root))
    body = -torch.log(cell.clamp_min(1e-12))
    bent = near.clamp(_TAIL, _LINEAR)
    rise = inverse_scale * (bent + 1.0 / bent + 0.5 * inverse_scale)  # log Q(near) - log Q(far), nearly
    tail = -log_tail(bent) - torch.log(-torch.expm1(-rise)) + (near - bent).clamp_min(0.0) * _LINEAR
    return torch.where(in_tail, tail, body) / math.log(2.0)
