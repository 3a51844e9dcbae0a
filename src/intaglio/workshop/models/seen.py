"""What a synthesis sees besides latents: pictures on the grid of the result, such as what its linear path decoded."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from intaglio.workshop.layers import conv3, down2

CELL = 4  # pixels: the finest grid of the networks is at 1/4


class PerCell(nn.Conv2d):
    """A convolution whose stride is its kernel: planes (B,P,16h,16w) to (B,O,4h,4w).

    It takes the planes' cells as `pixel_unshuffle` makes them, too, (B,16P,4h,4w): quicker where they come so.
    """

    def forward(self, input: Tensor) -> Tensor:
        if input.shape[1] == self.in_channels:
            return super().forward(input)
        return F.conv2d(input, self.weight.flatten(1)[:, :, None, None], self.bias)


class Seen(nn.Module):
    """Planes (B,P,16h,16w) about 0, what is given beside what the linear path decoded, as the synthesis sees them:
    features at 1/16, 1/8 and 1/4.
    """

    def __init__(self, planes: int, widths: tuple[int, int, int]) -> None:
        super().__init__()
        wide, eighth, quarter = widths
        self.quarter = nn.Sequential(
            PerCell(planes, quarter, CELL, stride=CELL), nn.LeakyReLU(0.1), conv3(quarter, quarter)
        )
        self.eighth = nn.Sequential(nn.LeakyReLU(0.1), down2(quarter, eighth))
        self.sixteenth = nn.Sequential(nn.LeakyReLU(0.1), down2(eighth, wide))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """`x`: planes, or their cells: see `PerCell`."""
        quarter = self.quarter(x)
        eighth = self.eighth(quarter)
        return self.sixteenth(eighth), eighth, quarter
