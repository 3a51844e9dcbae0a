"""Building blocks the models share: steps down and up, residual block, tables over the quality scale."""

from __future__ import annotations

import math
from typing import Literal, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from intaglio.quality import MAX_RATE, RATES
from intaglio.workshop.arguments import check_odd, check_whole

Edge = Literal["zeros", "replicate"]
Layer = TypeVar("Layer", nn.Conv2d, nn.ConvTranspose2d)


def conv3(inputs: int, outputs: int, edge: Edge = "zeros") -> nn.Conv2d:
    """3x3 convolution that keeps the size: (B,inputs,H,W) -> (B,outputs,H,W); `edge`: "zeros" or "replicate"."""
    return nn.Conv2d(inputs, outputs, 3, padding=1, padding_mode=edge)


def down2(inputs: int, outputs: int, edge: Edge = "zeros") -> nn.Conv2d:
    """4x4 convolution of stride 2: (B,inputs,H,W) -> (B,outputs,H/2,W/2); `edge` as for `conv3`."""
    return nn.Conv2d(inputs, outputs, 4, stride=2, padding=1, padding_mode=edge)


def strided(inputs: int, outputs: int, kernel: int, stride: int, gain: float = 1.0, edge: Edge = "zeros") -> nn.Conv2d:
    """Convolution down, `kernel` odd: (B,inputs,H,W) -> (B,outputs,H/stride,W/stride), H and W multiples of `stride`.

    Starts with biases of zero, and random: independent inputs of variance 1 give a variance of `gain` squared. Raises
    ArgumentError for an even kernel, and for sizes that are not whole numbers above zero.
    """
    _check_step(inputs, outputs, kernel, stride)
    layer = nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2, padding_mode=edge)
    return _started(layer, gain / math.sqrt(inputs * kernel**2))


def transposed(inputs: int, outputs: int, kernel: int, stride: int, gain: float = 1.0) -> nn.ConvTranspose2d:
    """Transposed convolution up, `kernel` odd: (B,inputs,H,W) -> (B,outputs,stride H,stride W); starts as `strided`.

    Raises ArgumentError as `strided` does.
    """
    _check_step(inputs, outputs, kernel, stride)
    layer = nn.ConvTranspose2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2, output_padding=stride - 1)
    return _started(layer, gain * stride / math.sqrt(inputs * kernel**2))


class Shuffled(nn.Module):
    """Step up by a convolution of stride 1 to `stride`^2 times the features and a reshape: (B,inputs,H,W) ->
    (B,outputs,stride H,stride W); starts as `strided`. Source: Shi et al. 2016 (arXiv 1609.05158).
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, gain: float = 1.0) -> None:
        """`kernel`: odd, on the coarse grid. Raises ArgumentError as `strided` does."""
        _check_step(inputs, outputs, kernel, stride)
        super().__init__()
        self.conv, self.stride = strided(inputs, outputs * stride**2, kernel, 1, gain), stride

    def forward(self, x: Tensor) -> Tensor:
        return F.pixel_shuffle(self.conv(x), self.stride)


def _check_step(inputs: int, outputs: int, kernel: int, stride: int) -> None:
    check_odd("kernel", kernel)
    for name, value in (("inputs", inputs), ("outputs", outputs), ("stride", stride)):
        check_whole(name, value)


def _started(layer: Layer, deviation: float) -> Layer:
    nn.init.normal_(layer.weight, 0.0, deviation)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer


class Residual(nn.Module):
    """`x + conv3(act(conv3(x)))`, shape kept; starts as the identity."""

    def __init__(self, width: int, inner: int | None = None) -> None:
        """`inner`: channels between the two convolutions; `width` unless given."""
        super().__init__()
        inner = inner or width
        self.first, self.second = conv3(width, inner), conv3(inner, width)
        nn.init.zeros_(self.second.weight)
        assert self.second.bias is not None
        nn.init.zeros_(self.second.bias)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(F.leaky_relu(self.first(x), 0.1))


class RateTable(nn.Module):
    """A vector for every rate step, linear between a few learned anchors: rate (B,) int64 -> (B,width,1,1).

    Two products and their sum, which every machine rounds alike; a matrix product would round as its kernel likes, and
    the integer networks' biases are rounded from here.
    """

    below: Tensor
    above: Tensor
    share: Tensor

    def __init__(self, start: Tensor, unit: float = 1.0) -> None:
        """`start`: (anchors, width) float, the first values; the anchors lie evenly over rate 0..198. `unit`: of the
        parameters; an optimiser that moves all alike moves large values in no time if their unit is large.
        """
        super().__init__()
        anchors = start.shape[0]
        self.unit = unit
        self.anchors = nn.Parameter(start / unit)
        position = torch.arange(RATES, dtype=torch.float32) / MAX_RATE * (anchors - 1)
        below = position.long().clamp_max(max(0, anchors - 2))
        self.register_buffer("below", below, persistent=False)
        self.register_buffer("above", (below + 1).clamp_max(anchors - 1), persistent=False)
        self.register_buffer("share", (position - below)[:, None], persistent=False)

    def rows(self) -> Tensor:
        """All rows, (199, width)."""
        return self._between(self.below, self.above, self.share)

    def forward(self, rate: Tensor) -> Tensor:
        with torch.autocast(rate.device.type, enabled=False):
            return self._between(self.below[rate], self.above[rate], self.share[rate])[:, :, None, None]

    def _between(self, below: Tensor, above: Tensor, share: Tensor) -> Tensor:
        low, high = self.anchors.index_select(0, below), self.anchors.index_select(0, above)
        return (low * (1.0 - share) + high * share) * self.unit


def zero(layer: nn.Conv2d) -> nn.Conv2d:
    """The same layer with weights and bias set to zero."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
