"""The integer networks that the models share: hyper-synthesis, and the steps that see what is already coded; and the
one that sees a given picture.

The layers and their order are those of `intaglio.integer`; means and tables come out exactly as in the codec.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from intaglio.gains import BANDS, NONE, OCTAVE
from intaglio.integer import CELL, GIVEN, HYPER, PLANE_LIMIT, Network, Planes, head_names, step_names
from intaglio.quality import MAX_RATE, RATES
from intaglio.scales import LOC_STEPS, LOG_STEP, SCALES
from intaglio.traversal import Layout
from intaglio.workshop.bounds import bounded, round_ste
from intaglio.workshop.integer import Exponents, IntegerConv, Placed, frozen, requantise

HYPER_EDGE = "replicate"  # at 1/64 a training crop is nearly all edge: zeros there would be learned as a rule
COARSE = 16  # of channels sorted by falling variance, so many are seen a second time in steps of 16
FINE_FROM = 64  # and from this one on, y is small: it is seen in halves
SIDE = (3.9, 7.9, 15.9)  # reach of the side information at the rates 10, 100, 190
SAMPLE = (0.99, 0.99, 0.99)  # and of the samples of a given picture: 256 steps make 1
_SEEN = 0.25  # of a plane, in the first layer: its whole reach then fits
GIVEN_WIDTHS = 48, 128  # of the network that sees it, at 1/4 and 1/16


@dataclass(frozen=True)
class Widths:
    """Layout of y and widths, in channels, of the integer networks of a model."""

    layout: Layout
    hyper: int  # z
    side: int  # side information
    context: int  # inside a context step
    anchors: int  # of the biases over the quality scale; 1 for a model of one quality
    falling: bool = False  # whether y's channels are sorted by falling variance
    means: bool = True  # whether the context steps predict means; otherwise they are 0
    planes: int = 0  # of the given picture, 1 or 3
    given: int = 0  # side information from it
    gains: bool = False  # whether the last side information is gains of y: see `intaglio.gains`


class HyperSynthesis(nn.Module):
    """z_hat (B,C,h/4,w/4), integers, to side information (B,S,h,w), not negative; an integer network."""

    def __init__(self, widths: Widths) -> None:
        super().__init__()
        self.layout = widths.layout
        wide, anchors = widths.hyper, widths.anchors
        self.first = IntegerConv(wide, wide, 3, anchors, HYPER_EDGE)
        self.to_half = IntegerConv(wide, 4 * wide, 3, anchors, HYPER_EDGE)
        self.to_full = IntegerConv(wide, 4 * widths.side, 3, anchors, HYPER_EDGE)
        self.scales = Exponents(z=None, first=(3.0, 7.5, 14.0), to_half=(5.0, 10.0, 15.9), side=SIDE)
        for placed in self.placed().values():
            placed.limit()

    @torch.no_grad()
    def without_gains(self) -> None:
        """Sets the gains that the last side information tells to 1, everywhere and at every rate."""
        channels = slice(len(self.to_full.weight) - 4 * BANDS, None)
        _clear(self.to_full, channels)
        self.to_full.bias.anchors[:, channels] = NONE / OCTAVE

    @torch.no_grad()
    def interpolate(self, channels: int, mark: Tensor) -> None:
        """Lets it begin with the first channels of z, each a value at one of 4x4 positions, interpolated between them:
        side information then ends with what is above 0 and what is below of each (in quarters, alternately), and with
        `mark` (anchors,) where those positions are, 0 elsewhere.
        """
        side, marked = self.to_full.weight.shape[0] // 4, self.first.weight.shape[0] - 1
        self.first.weight[:, :channels] = 0.0  # large as they are, they would drown what else there is
        for place, (channel, sign) in enumerate(product(range(channels), (1.0, -1.0))):
            hidden = marked - 1 - place
            _clear(self.first, hidden)
            self.first.weight[hidden, channel, 1, 1] = sign * _SEEN
            _upwards(self.to_half, hidden, hidden)
            _upwards(self.to_full, hidden, side - 2 - place)
        _clear(self.to_half, slice(4 * marked, 4 * marked + 4))
        self.to_half.bias.anchors[:, 4 * marked] = mark
        _clear(self.to_full, slice(4 * side - 4, 4 * side))
        self.to_full.weight[:, marked] = 0.0
        self.to_full.weight[4 * side - 4, marked, 1, 1] = 1.0

    def placed(self) -> dict[str, Placed]:
        """The layers by name, with their exponents."""
        z, first, half, side = self.scales.all()
        return {
            "first": Placed(self.first, z, first[:, None]),
            "to_half": Placed(self.to_half, first, half[:, None]),
            "to_full": Placed(self.to_full, half, side[:, None]),
        }

    def frozen(self) -> Network:
        """As integers. Raises ArgumentError."""
        return frozen(HYPER, self.placed(), self.layout)

    def forward(self, z_hat: Tensor, rate: Tensor) -> Tensor:
        z, first, half, side = self.scales(rate)
        h = requantise(self.first(z_hat.clamp(-PLANE_LIMIT, PLANE_LIMIT), rate, z), first)
        h = F.pixel_shuffle(requantise(self.to_half(h, rate, first), half), 2)
        return F.pixel_shuffle(requantise(self.to_full(h, rate, half), side), 2)


def _clear(layer: IntegerConv, outputs: int | slice) -> None:
    layer.weight[outputs] = 0.0
    layer.bias.anchors[:, outputs] = 0.0


def _upwards(layer: IntegerConv, source: int, target: int) -> None:
    """Of a 3x3 layer before a pixel shuffle of 2: the target alone sees the source, linear between its positions."""
    taps = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.5, 0.5]])
    _clear(layer, slice(4 * target, 4 * target + 4))
    layer.weight[:, source] = 0.0
    layer.weight[4 * target : 4 * target + 4, source] = torch.einsum("ai,bj->abij", taps, taps).flatten(0, 1)


class GivenSide(nn.Module):
    """Planes of the given picture (B,G,16h,16w), whole numbers 0..255, to side information (B,S,h,w), not negative; an
    integer network.
    """

    def __init__(self, widths: Widths) -> None:
        super().__init__()
        self.layout = widths.layout
        quarter, wide = GIVEN_WIDTHS
        self.first = IntegerConv(widths.planes * CELL**2, quarter, 3, widths.anchors, HYPER_EDGE)
        self.second = IntegerConv(quarter * CELL**2, wide, 1, widths.anchors)
        self.side = IntegerConv(wide, widths.given, 3, widths.anchors, HYPER_EDGE)
        self.scales = Exponents(sample=SAMPLE, first=(1.9, 1.9, 1.9), second=(3.9, 3.9, 3.9), side=SIDE)
        for placed in self.placed().values():
            placed.limit()

    def placed(self) -> dict[str, Placed]:
        """The layers by name, with their exponents."""
        sample, first, second, side = self.scales.all()
        return {
            "first": Placed(self.first, sample, first[:, None]),
            "second": Placed(self.second, first, second[:, None]),
            "side": Placed(self.side, second, side[:, None]),
        }

    def frozen(self) -> Network:
        """As integers. Raises ArgumentError."""
        return frozen(GIVEN, self.placed(), self.layout)

    def forward(self, given: Tensor, rate: Tensor) -> Tensor:
        sample, first, second, side = self.scales(rate)
        h = requantise(self.first(_cells(given / 256.0), rate, sample), first)
        h = requantise(self.second(_cells(h), rate, first), second)
        return requantise(self.side(h, rate, second), side)


def _cells(x: Tensor) -> Tensor:
    """Cells of CELL x CELL positions to channels: by row, column, channel before, as ONNX's SpaceToDepth does."""
    cells = F.pixel_unshuffle(x, CELL)
    return cells.unflatten(1, (x.shape[1], CELL**2)).transpose(1, 2).flatten(1, 2)


class ContextStep(nn.Module):
    """side (B,S,h,w), with what is given, and y_hat so far (B,M,h,w) to loc and index of the slice of y that step
    `number` codes; an integer network.
    """

    channel: Tensor
    base: Tensor

    def __init__(self, widths: Widths, number: int) -> None:
        super().__init__()
        self.number, self.layout, self.side = number, widths.layout, widths.side
        wide, anchors = widths.context, widths.anchors
        channel, base = _planes(self.layout.seen(number), widths.falling)
        self.register_buffer("channel", channel, persistent=False)
        self.register_buffer("base", base, persistent=False)
        reach = ((3.9, 11.0, 31.0), (7.9, 24.0, 60.0)) if len(base) else ((1.9, 3.0, 5.0), (7.0, 13.0, 20.0))
        self.scales = Exponents(side=SIDE, first=reach[0], second=reach[1])
        side = widths.side + widths.given
        self.first = IntegerConv(side + len(base), wide, 1, anchors)
        self.first.offset[side:] = base - self.scales.all()[0][MAX_RATE]
        self.second = IntegerConv(wide, wide, 3, anchors)
        heads = [IntegerConv(wide, 2 * part, 1, anchors) for part in self.layout.widths(number)]
        for head, part in zip(heads, self.layout.widths(number), strict=True):
            nn.init.zeros_(head.weight)
            head.gain[:part], head.gain[part:] = float(widths.means), 1.0 / LOG_STEP
            nn.init.constant_(head.bias.anchors[:, part:], SCALES / 2.0 * LOG_STEP)
        self.heads = nn.ModuleList(heads)
        for placed in self.placed().values():
            placed.limit()

    @torch.no_grad()
    def see_interpolated(self, channels: int) -> None:
        """Lets the step begin with means: of the first channels those that `HyperSynthesis.interpolate` left, certain
        where it marked them.
        """
        heads, wide, end = self._heads(), self.first.weight.shape[0], self.side
        for place in range(2 * channels + 1):
            hidden = wide - 1 - place
            _clear(self.first, hidden)
            _clear(self.second, hidden)
            self.first.weight[:, end - 1 - place] = 0.0
            self.second.weight[:, hidden] = 0.0
            for head in heads:
                head.weight[:, hidden] = 0.0
            self.first.weight[hidden, end - 1 - place] = 0.5
            self.second.weight[hidden, hidden, 1, 1] = 2.0
        half = heads[0].weight.shape[0] // 2
        for place, (channel, sign) in enumerate(product(range(channels), (1.0, -1.0))):
            heads[0].weight[channel, wide - 2 - place] = sign / _SEEN
            heads[0].weight[half + channel, wide - 1] = -1.0

    @torch.no_grad()
    def see_neighbours(self, channels: Sequence[int]) -> None:
        """Lets the step begin with means: of these channels of the layout "quad", of its first group, that of the
        positions beside and above that earlier steps have coded. The first step knows none.
        """
        if not self.number:
            return
        sides = [(1, 0), (1, 2)] if self.number % 2 else []  # of a 3x3 kernel
        sides += [(0, 1), (2, 1)] if self.number > 1 else []
        head, planes = self._heads()[0], self.first.weight.shape[1] - len(self.channel)
        for place, (channel, sign) in enumerate(product(channels, (1.0, -1.0))):
            hidden = self.first.weight.shape[0] - 1 - place  # one for what is above 0, one for what is below
            _clear(self.first, hidden)
            _clear(self.second, hidden)
            self.first.weight[hidden, planes + channel] = sign * _SEEN
            for row, column in sides:
                self.second.weight[hidden, hidden, row, column] = 2.0 / len(sides)
            head.weight[channel, hidden] = sign / (2.0 * _SEEN * float(head.gain[channel]))

    def placed(self) -> dict[str, Placed]:
        """The layers by name, with their exponents."""
        side, first, second = self.scales.all()
        layers = {
            "first": Placed(self.first, side, first[:, None]),
            "second": Placed(self.second, first, second[:, None]),
        }
        for name, head in zip(head_names(self.layout, self.number), self._heads(), strict=True):
            half = head.weight.shape[0] // 2
            out = side.new_tensor([math.log2(LOC_STEPS)] * half + [0.0] * half)
            layers[name] = Placed(head, second, out.expand(RATES, -1))
        return layers

    def _heads(self) -> list[IntegerConv]:
        return list(self.heads)  # type: ignore[arg-type]

    def frozen(self) -> Network:
        """As integers. Raises ArgumentError."""
        planes = None
        if len(self.channel):
            exponent = self.base[None] + self._finer()[:, None]
            planes = Planes(*(each.cpu().numpy() for each in (self.channel.int(), exponent.to(torch.int8))))
        return frozen(step_names(self.layout)[self.number], self.placed(), self.layout, planes)

    def _finer(self) -> Tensor:
        """Binary places that the planes gain at lower rates, as the side information does, (199,)."""
        side = self.scales.all()[0]
        return side - side[MAX_RATE]

    def planes(self, y_hat: Tensor, rate: Tensor) -> Tensor:
        """y_hat as signed planes of 8 bits, (B,P,h,w)."""
        scale = torch.exp2(self.base[None, :, None, None] + self._finer()[rate][:, None, None, None])
        return round_ste(bounded(y_hat[:, self.channel] * scale, -PLANE_LIMIT, PLANE_LIMIT)) / scale

    def forward(self, side: Tensor, y_hat: Tensor, rate: Tensor) -> tuple[Tensor, Tensor]:
        before, first, second = self.scales(rate)
        x = torch.cat([side, self.planes(y_hat, rate)], 1) if len(self.channel) else side
        h = requantise(self.first(x, rate, before), first)
        h = requantise(self.second(h, rate, first), second)
        with torch.autocast(side.device.type, enabled=False):
            parts = [
                head(h[:, :, rows, columns].float(), rate, second).chunk(2, 1)
                for head, (_, _, rows, columns) in zip(self._heads(), self.layout.parts(self.number), strict=True)
            ]
        loc = round_ste(torch.cat([part[0] for part in parts], 1) * LOC_STEPS) / LOC_STEPS
        return loc, bounded(torch.cat([part[1] for part in parts], 1), 0.0, SCALES - 1.0)


def _planes(seen: int, falling: bool) -> tuple[Tensor, Tensor]:
    """Channel and exponent at the highest rates of the planes that a context step sees: the first `seen` channels,
    whole numbers; where they are sorted, finer where y is small, and once more, coarsely, those that can be large."""
    base = torch.ones(seen) if falling else torch.zeros(seen)
    channel = torch.arange(seen)
    if falling:
        base[:FINE_FROM], base[:COARSE] = 0.0, -1.0
        coarse = min(COARSE, seen)
        channel, base = torch.cat([channel, torch.arange(coarse)]), torch.cat([base, torch.full((coarse,), -4.0)])
    return channel, base
