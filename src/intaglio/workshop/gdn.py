"""Generalised divisive normalisation: the activation of the first learned codecs."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from intaglio.errors import ArgumentError
from intaglio.workshop.arguments import check_above_zero, check_whole
from intaglio.workshop.bounds import lower_bound

_OFFSET = 2.0**-18  # parameters are held as roots of `value + offset^2`: the gradient of a square never dies at zero


class GDN(nn.Module):
    """`x_i / sqrt(beta_i + sum_j gamma_ij x_j^2)` at every position, (B,C,H,W), shape kept; inverse: times that root.

    Source: Ballé, Laparra and Simoncelli, arXiv 1511.06281, with the exponents fixed as in arXiv 1611.01704. The
    simplified form is `x_i / (beta_i + sum_j gamma_ij |x_j|)`, of Johnston et al. 2019 (arXiv 1912.08771), who set
    alpha = epsilon = 1 and so need no root. beta stays at `least` or above and gamma at 0 or above: their roots are
    what is learned, held by the lower bound whose gradient leads back inside.
    """

    def __init__(
        self,
        channels: int,
        inverse: bool = False,
        simplified: bool = False,
        symmetric: bool = False,
        gamma: float = 0.1,
        least: float = 1e-6,
    ) -> None:
        """`symmetric`: gamma equals its transpose, as in arXiv 1611.01704; `gamma`: where its diagonal starts.

        Raises ArgumentError unless `channels` is a whole number, 1 or more, and `gamma` and `least` finite,
        `gamma` 0 or more and `least` above zero, and when called for another shape than (B,`channels`,H,W).
        """
        check_whole("channels", channels)
        check_above_zero("gamma", gamma, or_zero=True)
        check_above_zero("least", least)
        super().__init__()
        self.inverse, self.simplified, self.symmetric, self.least = inverse, simplified, symmetric, least
        self.root_beta = nn.Parameter(_root(torch.ones(channels)))
        self.root_gamma = nn.Parameter(_root(gamma * torch.eye(channels)))

    def beta(self) -> Tensor:
        """(C,), at least `least`."""
        return _squared(self.root_beta, self.least)

    def gamma(self) -> Tensor:
        """(C,C), row by row for each output, zero or more."""
        gamma = _squared(self.root_gamma, 0.0)
        return 0.5 * (gamma + gamma.t()) if self.symmetric else gamma

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim != 4 or x.shape[1] != len(self.root_beta):
            raise ArgumentError(f"x of shape {tuple(x.shape)} must be (B, {len(self.root_beta)}, H, W)")
        power = x.abs() if self.simplified else x * x
        pool = F.conv2d(power, self.gamma()[:, :, None, None], self.beta())
        pool = pool if self.simplified else torch.sqrt(pool)
        return x * pool if self.inverse else x / pool


def _root(value: Tensor) -> Tensor:
    return torch.sqrt(value + _OFFSET**2)


def _squared(root: Tensor, least: float) -> Tensor:
    """The value whose root is held, `least` or more."""
    bounded = lower_bound(root, (least + _OFFSET**2) ** 0.5)
    return bounded * bounded - _OFFSET**2
