"""The simplified attention block of Cheng et al. 2020 (arXiv 2001.01568): convolutions weigh convolutions."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from intaglio.workshop.layers import conv3

REACH = 3  # positions to each side that the block looks at
_UNITS = 3  # on either branch
_SHUT = -3.0  # the gate starts nearly shut, whatever it sees: the block nearly as the identity


class ResidualUnit(nn.Module):
    """`relu(x + 1x1(relu(3x3(relu(1x1(x))))))`, half as wide inside; (B,C,H,W), shape kept."""

    def __init__(self, width: int) -> None:
        super().__init__()
        inner = max(1, width // 2)
        self.layers = nn.Sequential(
            nn.Conv2d(width, inner, 1), nn.ReLU(), conv3(inner, inner), nn.ReLU(), nn.Conv2d(inner, width, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.layers(x))


class Attention(nn.Module):
    """`x + trunk(x) sigmoid(gate(x))`, (B,C,H,W), shape kept; each branch three residual units."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.trunk = nn.Sequential(*(ResidualUnit(width) for _ in range(_UNITS)))
        last = nn.Conv2d(width, width, 1)
        assert last.bias is not None
        nn.init.zeros_(last.weight)
        nn.init.constant_(last.bias, _SHUT)
        self.gate = nn.Sequential(*(ResidualUnit(width) for _ in range(_UNITS)), last)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.trunk(x) * torch.sigmoid(self.gate(x))
