"""What a synthesis sees besides latents: pictures on the grid of the result, such as what its linear path decoded."""

from __future__ import annotations

from torch import Tensor, nn

from intaglio.workshop.layers import conv3, down2

CELL = 4  # pixels: the finest grid of the networks is at 1/4


class Seen(nn.Module):
    """Planes (B,P,16h,16w) about 0, what is given beside what the linear path decoded, as the synthesis sees them:
    features at 1/16, 1/8 and 1/4.
    """

    def __init__(self, planes: int, widths: tuple[int, int, int]) -> None:
        super().__init__()
        wide, eighth, quarter = widths
        self.quarter = nn.Sequential(
            nn.Conv2d(planes, quarter, CELL, stride=CELL), nn.LeakyReLU(0.1), conv3(quarter, quarter)
        )
        self.eighth = nn.Sequential(nn.LeakyReLU(0.1), down2(quarter, eighth))
        self.sixteenth = nn.Sequential(nn.LeakyReLU(0.1), down2(eighth, wide))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        quarter = self.quarter(x)
        eighth = self.eighth(quarter)
        return self.sixteenth(eighth), eighth, quarter
