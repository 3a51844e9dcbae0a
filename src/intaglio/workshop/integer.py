"""Integer networks, trained with their quantisation in the loop.

Everything is a multiple of a power of two, so float32 computes it exactly, in natural units as well as in integers:

    activation  a = A 2^-e    A in 0..255 (or a signed input plane in -127..127); e may depend on the rate
    weight      w = W 2^-k    W in -127..127; k for each output channel
    sum         multiples of the unit 2^-(k + e), kept below 2^23 units
    bias        a multiple of the unit, from a table over the rates, plus half a unit: no sum lies on a rounding edge

While training, roundings pass gradients straight through.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from intaglio.errors import ArgumentError, ModelError
from intaglio.integer import LEVELS, SUM_LIMIT, Layer, Network, Planes, from_arrays, to_arrays
from intaglio.quality import MAX_RATE, RATES
from intaglio.traversal import Layout
from intaglio.workshop.bounds import bounded, round_ste
from intaglio.workshop.layers import Edge, RateTable

WEIGHT_LIMIT = 127.0
_SHARE = 0.8  # of the limit of sums, for the weights; the bias takes the rest
_FINEST_SHIFT = 14  # where weights are tiny: a bias of a whole activation, 255 << 14, is then half of the limit


class Exponents(nn.Module):
    """Exponents of activations, each a table over the rates: the finest with 255 steps over the activation's reach."""

    def __init__(self, **reach: tuple[float, float, float] | None) -> None:
        """`reach`: how far each activation goes at the rates 10, 100 and 190, its logarithm linear between; None for
        whole numbers."""
        super().__init__()
        self.names = tuple(reach)
        for name, ends in reach.items():
            self.register_buffer(name, torch.zeros(RATES) if ends is None else _table(ends), persistent=False)

    def all(self) -> list[Tensor]:
        """The tables, (199,) each, in order."""
        return [getattr(self, name) for name in self.names]

    def forward(self, rate: Tensor) -> list[Tensor]:
        """Rows of the tables: rate (B,) to (B,1,1,1) each."""
        return [table[rate][:, None, None, None] for table in self.all()]


def _table(reach: tuple[float, float, float]) -> Tensor:
    low, middle, high = (math.log2(each) for each in reach)
    rates = torch.arange(RATES, dtype=torch.float32)
    slope = torch.where(rates < 100, middle - low, high - middle) / 90.0
    return torch.floor(math.log2(LEVELS) - middle - slope * (rates - 100.0))


def requantise(x: Tensor, exponent: Tensor) -> Tensor:
    """Sums to activations: `clamp(floor(2^e x + 1/2), 0, 255) 2^-e`; exponent broadcasts to x."""
    scale = torch.exp2(exponent)
    return round_ste(bounded(F.relu(x.float() * scale), 0.0, LEVELS)) / scale


class IntegerConv(nn.Module):
    """A convolution of stride 1 that keeps the size, on integers: (B,I,H,W) -> sums (B,O,H,W), in natural units."""

    offset: Tensor
    gain: Tensor
    coarsest: Tensor
    finest: Tensor

    def __init__(self, inputs: int, outputs: int, kernel: int, anchors: int, edge: Edge = "zeros") -> None:
        """`kernel`: 1 or 3; `anchors`: of the bias over the rates."""
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs, kernel, kernel))
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5.0))
        self.bias = RateTable(torch.zeros(anchors, outputs))
        self.margin, self.mode = kernel // 2, "constant" if edge == "zeros" else edge
        # How much finer each input is than the layer's exponent says, and the unit of each output's parameters; an
        # output whose gain is 0 stays 0.
        self.register_buffer("offset", torch.zeros(inputs), persistent=False)
        self.register_buffer("gain", torch.ones(outputs), persistent=False)
        # Limits of k: what `Placed.limit` sets keeps the shift, at every rate, within what a network may have.
        self.register_buffer("coarsest", torch.full((outputs,), -16.0), persistent=False)
        self.register_buffer("finest", torch.full((outputs,), 20.0), persistent=False)

    def exponents(self) -> Tensor:
        """k of each output channel, (O,): the finest whose weights fit 8 bits and whose sums stay below the limit."""
        with torch.no_grad():
            scaled = self._scaled().abs().clamp_min(1e-12)
            most, whole = scaled.amax((1, 2, 3)), scaled.sum((1, 2, 3))
            fits = torch.minimum(WEIGHT_LIMIT / most, _SHARE * SUM_LIMIT / LEVELS / whole)
            return torch.maximum(torch.minimum(torch.floor(torch.log2(fits)), self.finest), self.coarsest)

    def integers(self, k: Tensor) -> Tensor:
        """The weights W, whole numbers; gradients pass."""
        return round_ste(bounded(self._scaled() * torch.exp2(k)[:, None, None, None], -WEIGHT_LIMIT, WEIGHT_LIMIT))

    def set_integers(self, weight: Tensor, k: Tensor) -> None:
        """Sets the parameters to what `integers` made `weight` of."""
        with torch.no_grad():
            unit = torch.where(self.gain == 0.0, 0.0, torch.exp2(-k) / self.gain)
            self.weight.copy_(weight * unit[:, None, None, None] * self._finer())

    def forward(self, x: Tensor, rate: Tensor, exponent: Tensor) -> Tensor:
        """`exponent`: (B,1,1,1), the input's."""
        k = self.exponents()
        weight = self.integers(k) * torch.exp2(-k)[:, None, None, None] * self._finer()
        unit = torch.exp2(-(k[None, :, None, None] + exponent))
        bias = round_ste(self.bias(rate) * self.gain[:, None, None] / unit) * unit + 0.5 * unit
        # Sums need float32; only a training step may have them in 16 bits, whose error is one more noise.
        allowed = torch.is_grad_enabled() and torch.is_autocast_enabled(x.device.type)
        with torch.autocast(x.device.type, enabled=allowed):
            return F.conv2d(F.pad(x, (self.margin,) * 4, mode=self.mode) if self.margin else x, weight) + bias

    def _scaled(self) -> Tensor:
        """Weights in units of the inputs' steps."""
        return self.weight.float() * self.gain[:, None, None, None] / self._finer()

    def bias_rows(self) -> Tensor:
        """The bias at every rate, (199,O)."""
        return self.bias.rows() * self.gain

    def _finer(self) -> Tensor:
        return torch.exp2(self.offset)[None, :, None, None]


@dataclass(frozen=True)
class Placed:
    """A layer with the exponents of its input, (199,), and of its output, (199,1) or (199,O)."""

    conv: IntegerConv
    before: Tensor
    after: Tensor

    def shift(self, k: Tensor) -> Tensor:
        """Binary places from the sums to the output, (199,O)."""
        return k[None] + self.before[:, None] - self.after

    def limit(self) -> None:
        """Tells the layer how coarse and how fine its weights may be."""
        gap = (self.before[:, None] - self.after).expand(-1, self.conv.weight.shape[0])
        self.conv.coarsest.copy_(1.0 - gap.amin(0))
        self.conv.finest.copy_(_FINEST_SHIFT - gap.amax(0))


def freeze(placed: Placed) -> Layer:
    """The layer as integers."""
    with torch.no_grad():
        k = placed.conv.exponents()
        shift, unit = placed.shift(k).double(), torch.exp2((k[None] + placed.before[:, None]).double())
        bias = torch.floor(placed.conv.bias_rows().double() * unit + 0.5) + torch.exp2(shift - 1.0)
        arrays = placed.conv.integers(k).to(torch.int8), torch.floor(bias + 0.5).to(torch.int32), shift.to(torch.int8)
    return Layer(*(array.cpu().numpy() for array in arrays))


def thaw(layer: Layer, placed: Placed) -> None:
    """Sets the layer's parameters to what was frozen, and holds its exponents until `Placed.limit` lets them go:
    rounded weights may fit finer ones, or only coarser ones.
    """
    shift = torch.from_numpy(layer.shift.astype(np.float32))
    k = (shift - placed.before[:, None] + placed.after)[0]
    placed.conv.coarsest.copy_(k)
    placed.conv.finest.copy_(k)
    placed.conv.set_integers(torch.from_numpy(layer.weight.astype(np.float32)), k)
    unit = torch.exp2((k[None] + placed.before[:, None]).double())
    rows = (torch.from_numpy(layer.bias.astype(np.float64)) - torch.exp2(shift.double() - 1.0)) / unit
    rows = torch.where(placed.conv.gain == 0.0, 0.0, rows / placed.conv.gain)
    anchors = placed.conv.bias.anchors
    at = torch.linspace(0, MAX_RATE, anchors.shape[0]).round().long()
    with torch.no_grad():
        anchors.copy_(rows[at])


def frozen(name: str, layers: dict[str, Placed], layout: Layout, planes: Planes | None = None) -> Network:
    """The network of these layers. Raises ArgumentError naming the channel for which exactness cannot be proved."""
    found = Network(name, {key: freeze(placed) for key, placed in layers.items()}, planes, layout)
    try:
        return from_arrays(name, to_arrays(found), layout)
    except ModelError as error:
        raise ArgumentError(str(error)) from None
