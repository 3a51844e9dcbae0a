"""`photo`: colour or grey photographs at every quality, from one network that decodes with about 12 kMAC per pixel.

Each pixel counts once per multiplication: a k x k convolution from I to O channels on a grid at 1/s of the picture's
scale costs k k I O / s^2. Papers: the linear path and its start, Goyal 2001 (transform coding; KLT); hyperprior and
mean, Ballé et al. 2018 and Minnen et al. 2018; four-step context over channel groups and 2x2 positions, Li et al.
2023 (DCVC-DC); asymmetric transforms with a light synthesis, Yang and Mandt 2023 (shallow-NTC).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from intaglio.integer import CONTEXT, HEADS, HYPER, LOC_STEPS, PLANE_LIMIT, Network, Planes
from intaglio.quality import MAX_RATE, RATES, rate_to_lmbda
from intaglio.scales import LOG_STEP, SCALE_MIN, SCALES
from intaglio.traversal import GROUPS, subset
from intaglio.workshop.bounds import bounded, round_ste
from intaglio.workshop.integer import Exponents, IntegerConv, Placed, frozen, requantise
from intaglio.workshop.layers import RateTable, Residual, conv3, down2, zero

PATCH = 16  # y lives at 1/16 of the picture's scale
HYPER_EDGE = "replicate"  # at 1/64 a training crop is nearly all edge: zeros there would be learned as a rule
COARSE = 16  # channels that the context sees a second time in steps of 16
FINE_FROM = 64  # from this channel on, y is small: the context sees it in halves
SIDE = (3.9, 7.9, 15.9)  # reach of the side information at the rates 10, 100, 190
CORRECTION = 0.1  # unit of what the networks add to the linear path: one Adam step stays below a quantisation step


@dataclass(frozen=True)
class PhotoConfig:
    """Widths, in channels; the defaults are the shipped model's."""

    latent: int = 320  # M, channels of y; the top quality needs that many
    analysis: tuple[int, int, int] = (48, 96, 192)  # at 1/4, 1/8, 1/16
    synthesis: tuple[int, int, int] = (128, 64, 24)  # at 1/16, 1/8, 1/4
    hyper: int = 96  # z, at 1/64
    side: int = 128  # side information, at 1/16
    context: int = 96
    anchors: int = 12  # of every table over the quality scale


def unit_gain(anchors: int) -> Tensor:
    """(anchors, 1): log of the gain on y that theory asks for, `255 sqrt(lmbda) / 5.1`, for an orthonormal transform
    of 0..1.
    """
    rates = torch.linspace(0.0, MAX_RATE, anchors).tolist()
    return torch.tensor([[0.5 * math.log(rate_to_lmbda(rate)) + math.log(255.0 / 5.1)] for rate in rates])


class Analysis(nn.Module):
    """Picture (B,3,16h,16w), 0..1, to y (B,M,h,w): the KLT of 16x16 patches plus a network that corrects it."""

    def __init__(self, config: PhotoConfig) -> None:
        super().__init__()
        quarter, eighth, wide = config.analysis
        self.linear = nn.Conv2d(3, config.latent, PATCH, stride=PATCH, bias=False)
        self.stem = nn.Sequential(  # 1/4
            nn.Conv2d(3, quarter, 4, stride=4), nn.LeakyReLU(0.1), conv3(quarter, quarter), nn.LeakyReLU(0.1)
        )
        self.eighth = nn.Sequential(down2(quarter, eighth), *(Residual(eighth) for _ in range(3)))
        self.sixteenth = nn.Sequential(down2(eighth, wide), Residual(wide), Residual(wide))
        self.last = zero(conv3(wide, config.latent))
        self.eighth_gain = RateTable(torch.zeros(config.anchors, eighth))
        self.wide_gain = RateTable(torch.zeros(config.anchors, wide))
        self.gain = RateTable(unit_gain(config.anchors).expand(-1, config.latent))

    def forward(self, x: Tensor, rate: Tensor) -> Tensor:
        x = x - 0.5
        h = self.eighth(self.stem(x)) * torch.exp(self.eighth_gain(rate))
        h = self.last(F.leaky_relu(self.sixteenth(h) * torch.exp(self.wide_gain(rate)), 0.1))
        with torch.autocast(x.device.type, enabled=False):  # y reaches several hundred: half precision would round it
            return (self.linear(x.float()) + CORRECTION * h.float()) * torch.exp(self.gain(rate))


class Synthesis(nn.Module):
    """y_hat (B,M,h,w) to the picture (B,3,16h,16w), about 0..1: the KLT's transpose plus a network that corrects it."""

    def __init__(self, config: PhotoConfig) -> None:
        super().__init__()
        wide, eighth, quarter = config.synthesis
        self.linear = nn.Conv2d(config.latent, 3 * PATCH * PATCH, 1, bias=False)
        self.first = conv3(config.latent, wide)
        self.sixteenth = nn.Sequential(Residual(wide), Residual(wide))
        self.to_eighth = conv3(wide, 4 * eighth)
        self.eighth = nn.Sequential(Residual(eighth), Residual(eighth))
        self.to_quarter = conv3(eighth, 4 * quarter)
        self.last = zero(conv3(quarter, 48))
        self.gain = RateTable(-unit_gain(config.anchors).expand(-1, config.latent))
        self.wide_gain = RateTable(torch.zeros(config.anchors, wide))
        self.eighth_gain = RateTable(torch.zeros(config.anchors, eighth))

    def forward(self, y_hat: Tensor, rate: Tensor) -> Tensor:
        with torch.autocast(y_hat.device.type, enabled=False):
            y = y_hat * torch.exp(self.gain(rate))
            linear = F.pixel_shuffle(self.linear(y), 4)
        h = self.sixteenth(self.first(y)) * torch.exp(self.wide_gain(rate))
        h = F.pixel_shuffle(self.to_eighth(F.leaky_relu(h, 0.1)), 2)
        h = self.eighth(h) * torch.exp(self.eighth_gain(rate))
        h = F.leaky_relu(F.pixel_shuffle(self.to_quarter(F.leaky_relu(h, 0.1)), 2), 0.1)
        return F.pixel_shuffle(linear + CORRECTION * self.last(h).float(), 4) + 0.5


class HyperAnalysis(nn.Module):
    """y (B,M,h,w) to z (B,C,h/4,w/4); sees y through a logarithm, for its range is wide."""

    def __init__(self, config: PhotoConfig) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            conv3(config.latent, config.hyper, HYPER_EDGE),
            nn.LeakyReLU(0.1),
            down2(config.hyper, config.hyper, HYPER_EDGE),
            nn.LeakyReLU(0.1),
            down2(config.hyper, config.hyper, HYPER_EDGE),
        )

    def forward(self, y: Tensor) -> Tensor:
        return self.layers(torch.sign(y) * torch.log1p(y.abs())).float() * 4.0


class HyperSynthesis(nn.Module):
    """z_hat (B,C,h/4,w/4), integers, to side information (B,S,h,w), not negative; an integer network."""

    def __init__(self, config: PhotoConfig) -> None:
        super().__init__()
        wide, anchors = config.hyper, config.anchors
        self.first = IntegerConv(wide, wide, 3, anchors, HYPER_EDGE)
        self.to_half = IntegerConv(wide, 4 * wide, 3, anchors, HYPER_EDGE)
        self.to_full = IntegerConv(wide, 4 * config.side, 3, anchors, HYPER_EDGE)
        self.scales = Exponents(z=None, first=(3.0, 7.5, 14.0), to_half=(5.0, 10.0, 15.9), side=SIDE)
        for placed in self.placed().values():
            placed.limit()

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
        return frozen(HYPER, self.placed())

    def forward(self, z_hat: Tensor, rate: Tensor) -> Tensor:
        z, first, half, side = self.scales(rate)
        h = requantise(self.first(z_hat.clamp(-PLANE_LIMIT, PLANE_LIMIT), rate, z), first)
        h = F.pixel_shuffle(requantise(self.to_half(h, rate, first), half), 2)
        return F.pixel_shuffle(requantise(self.to_full(h, rate, half), side), 2)


class ContextStep(nn.Module):
    """side (B,S,h,w) and y_hat so far (B,M,h,w) to loc and index (B,M,h/2,w/2) of the subset of step `number`; an
    integer network.
    """

    channel: Tensor
    base: Tensor

    def __init__(self, config: PhotoConfig, number: int) -> None:
        super().__init__()
        self.number, self.latent = number, config.latent
        part, wide, anchors = config.latent // GROUPS, config.context, config.anchors
        channel, base = _planes(config.latent if number else 0)
        self.register_buffer("channel", channel, persistent=False)
        self.register_buffer("base", base, persistent=False)
        reach = ((3.9, 11.0, 31.0), (7.9, 24.0, 60.0)) if number else ((1.9, 3.0, 5.0), (7.0, 13.0, 20.0))
        self.scales = Exponents(side=SIDE, first=reach[0], second=reach[1])
        self.first = IntegerConv(config.side + len(base), wide, 1, anchors)
        self.first.offset[config.side :] = base - self.scales.all()[0][MAX_RATE]
        self.second = IntegerConv(wide, wide, 3, anchors)
        heads = [IntegerConv(wide, 2 * part, 1, anchors) for _ in range(GROUPS)]
        for head in heads:
            nn.init.zeros_(head.weight)
            head.gain[part:] = 1.0 / LOG_STEP
            nn.init.constant_(head.bias.anchors[:, part:], SCALES / 2.0)
        self.heads = nn.ModuleList(heads)
        for placed in self.placed().values():
            placed.limit()

    def placed(self) -> dict[str, Placed]:
        """The layers by name, with their exponents."""
        side, first, second = self.scales.all()
        part = self.latent // GROUPS
        out = side.new_tensor([math.log2(LOC_STEPS)] * part + [0.0] * part).expand(RATES, -1)
        layers = {
            "first": Placed(self.first, side, first[:, None]),
            "second": Placed(self.second, first, second[:, None]),
        }
        return layers | {name: Placed(head, second, out) for name, head in zip(HEADS, self._heads(), strict=True)}

    def _heads(self) -> list[IntegerConv]:
        return list(self.heads)  # type: ignore[arg-type]

    def frozen(self) -> Network:
        """As integers. Raises ArgumentError."""
        planes = None
        if self.number:
            exponent = self.base[None] + self._finer()[:, None]
            planes = Planes(*(each.cpu().numpy() for each in (self.channel.int(), exponent.to(torch.int8))))
        return frozen(CONTEXT[self.number], self.placed(), planes)

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
        x = torch.cat([side, self.planes(y_hat, rate)], 1) if self.number else side
        h = requantise(self.first(x, rate, before), first)
        h = requantise(self.second(h, rate, first), second)
        with torch.autocast(side.device.type, enabled=False):
            parts = [
                head(h[:, :, rows, columns].float(), rate, second).chunk(2, 1)
                for head, (_, _, rows, columns) in zip(self._heads(), subset(self.latent, self.number), strict=True)
            ]
        loc = round_ste(torch.cat([part[0] for part in parts], 1) * LOC_STEPS) / LOC_STEPS
        return loc, bounded(torch.cat([part[1] for part in parts], 1), 0.0, SCALES - 1.0)


def _planes(latent: int) -> tuple[Tensor, Tensor]:
    """Channel and exponent at the highest rates of the planes that a context step sees: all channels, finer where y is
    small, and once more, coarsely, those that can be large."""
    base = torch.ones(latent)
    base[:FINE_FROM], base[:COARSE] = 0.0, -1.0
    coarse = min(COARSE, latent)
    return torch.cat([torch.arange(latent), torch.arange(coarse)]), torch.cat([base, torch.full((coarse,), -4.0)])


class Photo(nn.Module):
    """The parts of `photo`, as `intaglio.traversal.Net` names them; `rate` is (B,) int64."""

    def __init__(self, config: PhotoConfig) -> None:
        super().__init__()
        self.config = config
        self.analysis = Analysis(config)
        self.hyper_analysis_net = HyperAnalysis(config)
        self.hyper_synthesis = HyperSynthesis(config)
        self.context = nn.ModuleList(ContextStep(config, number) for number in range(GROUPS))
        self.synthesis = Synthesis(config)
        self.z_index = RateTable(torch.full((config.anchors, config.hyper), math.log(2.0 / SCALE_MIN) / LOG_STEP))

    @property
    def context_steps(self) -> list[ContextStep]:
        """The context steps in order."""
        return list(self.context)  # type: ignore[arg-type]

    def hyper_analysis(self, y: Tensor, rate: Tensor) -> Tensor:
        """y to z; the rate is already in y's gain."""
        return self.hyper_analysis_net(y)

    def z_rows(self, rate: Tensor) -> Tensor:
        """(B,C,1,1) real position on the scale grid of each channel of z."""
        return bounded(self.z_index(rate), 0.0, SCALES - 1.0)

    @torch.no_grad()
    def start_from_klt(self, basis: Tensor, deviation: Tensor) -> None:
        """Sets the linear path to the KLT.

        `basis`: (M, 768) orthonormal rows over (colour, row, column) of a 16x16 patch, 0..1; `deviation`: (M,) standard
        deviation of each coefficient.
        """
        latent, patch = self.config.latent, PATCH
        self.analysis.linear.weight.copy_(basis.view(latent, 3, patch, patch))
        # two pixel shuffles of 4: the first takes the coarse position, the second the fine one
        order = basis.view(latent, 3, 4, 4, 4, 4).permute(0, 1, 3, 5, 2, 4)
        self.synthesis.linear.weight.copy_(order.reshape(latent, 3 * patch * patch).t()[:, :, None, None])
        self.synthesis.first.weight *= (1.0 / torch.sqrt(0.02 + deviation))[None, :, None, None] * 0.5
