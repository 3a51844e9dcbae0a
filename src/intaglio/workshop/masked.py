"""Convolutions that see only what is already coded.

The models need none of them: the traversal hands each context step a y_hat whose uncoded positions are 0, and an
ordinary convolution over zeros is a masked convolution over the whole latent. They serve where the whole latent is
there at once, as in experiments with serial context, and to check the traversal (tests/test_workshop_layers.py).
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from intaglio.errors import ArgumentError
from intaglio.workshop.arguments import check_odd, check_whole, one_line

Mask = Literal["A", "B", "checkerboard"]


def mask(kind: Mask, kernel: int) -> Tensor:
    """Which taps of a kernel may see: float (kernel, kernel) of 0 and 1, `kernel` odd.

    A: what comes earlier in raster order. B: that and the position itself (both van den Oord et al. 2016, arXiv
    1606.05328). checkerboard: positions of the other colour (He et al. 2021, arXiv 2103.15306). Raises ArgumentError
    for another kind, and for an even kernel, which has no middle.
    """
    check_odd("kernel", kernel)
    if not isinstance(kind, str) or kind not in get_args(Mask):
        raise ArgumentError(f"kind is {one_line(kind)}; it must be one of {', '.join(get_args(Mask))}")
    if kind == "checkerboard":
        row, column = torch.meshgrid(torch.arange(kernel), torch.arange(kernel), indexing="ij")
        return ((row + column - 2 * (kernel // 2)) % 2).float()
    middle = kernel * kernel // 2
    before = torch.arange(kernel * kernel) < middle + (kind == "B")
    return before.float().view(kernel, kernel)


class MaskedConv2d(nn.Conv2d):
    """A convolution of stride 1 that keeps the size, (B,I,H,W) to (B,O,H,W), its kernel under a mask."""

    taps: Tensor

    def __init__(self, inputs: int, outputs: int, kernel: int, kind: Mask) -> None:
        """`kernel`: odd; `kind`: see `mask`. Raises ArgumentError for others, and channels that cannot be."""
        check_whole("inputs", inputs)
        check_whole("outputs", outputs)
        taps = mask(kind, kernel)
        super().__init__(inputs, outputs, kernel, padding=kernel // 2)
        self.register_buffer("taps", taps, persistent=False)

    def forward(self, input: Tensor) -> Tensor:
        return self._conv_forward(input, self.weight * self.taps, self.bias)
