"""`photo`: colour or grey photographs at every quality, from one network that decodes with 17 kMAC per pixel.

Each pixel counts once per multiplication: a k x k convolution from I to O channels on a grid at 1/s of the picture's
scale costs k k I O / s^2. Papers: the linear path and its start, Goyal 2001 (transform coding; KLT); hyperprior and
mean, Ballé et al. 2018 and Minnen et al. 2018; four-step context over channel groups and 2x2 positions, Li et al.
2023 (DCVC-DC); asymmetric transforms with a light synthesis, Yang and Mandt 2023 (shallow-NTC).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from intaglio.errors import ArgumentError
from intaglio.gains import BANDS
from intaglio.quality import LMBDAS, MAX_RATE, rate_to_lmbda
from intaglio.quantiser import MOST_STEP, Trellis, first_tables
from intaglio.scales import LOG_STEP, SCALE_MIN, SCALES
from intaglio.traversal import Layout
from intaglio.workshop.bounds import bounded
from intaglio.workshop.data import at_least, patch_statistics, planes_of
from intaglio.workshop.hyper import HYPER_EDGE, Widths
from intaglio.workshop.layers import RateTable, Residual, conv3, down2, zero
from intaglio.workshop.models.base import Hyperprior, LearningRates, Transforms
from intaglio.workshop.models.seen import CELL, Seen
from intaglio.workshop.models.widths import limited
from intaglio.workshop.subsampling import subsampled

PATCH = 16  # y lives at 1/16 of the picture's scale
ENDS = 0.0003, 0.25  # lambda at the rate steps 0 and 198: from 0.03 bits per pixel on Kodak to 2.3
Z_UNIT = 32.0  # rows of the scale table: an optimiser that moves all parameters alike would need 2,500 steps for one
ERROR, POWER = 0.0036, 0.23  # see `usual_error`; the unit of what the synthesis adds to the linear path
TRELLIS_COST = 12.0  # `error_cost` of models with a trellis, whose zeros are fewer
CORRECTION = 0.1  # unit of what the networks add to the linear path: one Adam step stays below a quantisation step


@dataclass(frozen=True)
class PhotoConfig:
    """Widths, in channels; the defaults are the shipped model's."""

    latent: int = limited(384, most=3 * PATCH * PATCH)  # M, channels of y; the top qualities need that many
    analysis: tuple[int, int, int] = (48, 96, 192)  # at 1/4, 1/8, 1/16
    inner: int = 1  # channels within its residual blocks, times their width
    synthesis: tuple[int, int, int] = (128, 64, 32)  # at 1/16, 1/8, 1/4
    hyper: int = 96  # z, at 1/64
    side: int = 128  # side information, at 1/16
    context: int = 112
    anchors: int = 12  # of every table over the quality scale
    trellis: int = limited(0, least=0, most=MOST_STEP)  # sixteenths of a step of `intaglio.quantiser`; 0: rounding
    gains: bool = False  # whether z tells how finely y is coded at each place: see `intaglio.gains`


def unit_gain(anchors: int, samples: int = 3, lmbdas: tuple[float, float] = LMBDAS) -> Tensor:
    """(anchors, 1): log of the gain on y that theory asks for, of an orthonormal transform of 0..1 with so many samples
    for each pixel.

    At high rates a step of S costs S^2 / 12 in squared error and gives log2(1 / S) bits; that the two slopes agree
    makes S = sqrt(6 samples / (lmbda ln 2)): 5.1 / sqrt(lmbda) for three.
    """
    rates = torch.linspace(0.0, MAX_RATE, anchors).tolist()
    step = round(math.sqrt(6.0 * samples / math.log(2.0)), 1)
    return torch.tensor([[0.5 * math.log(rate_to_lmbda(rate, lmbdas)) + math.log(255.0 / step)] for rate in rates])


def usual_error(anchors: int, lmbdas: tuple[float, float] = LMBDAS) -> Tensor:
    """(anchors, 1): log of the deviation, 0..1, of what the linear path leaves: about ERROR / lmbda^POWER."""
    first, last = (math.log(ERROR) - POWER * math.log(each) for each in lmbdas)
    return torch.linspace(first, last, anchors)[:, None]


class Analysis(nn.Module):
    """Picture (B,3,16h,16w), 0..1, to y (B,M,h,w): the KLT of 16x16 patches plus a network that corrects it."""

    def __init__(self, config: PhotoConfig) -> None:
        super().__init__()
        quarter, eighth, wide = config.analysis
        self.linear = nn.Conv2d(3, config.latent, PATCH, stride=PATCH, bias=False)
        self.stem = nn.Sequential(  # 1/4
            nn.Conv2d(3, quarter, 4, stride=4), nn.LeakyReLU(0.1), conv3(quarter, quarter), nn.LeakyReLU(0.1)
        )
        self.eighth = nn.Sequential(
            down2(quarter, eighth), *(Residual(eighth, config.inner * eighth) for _ in range(3))
        )
        self.sixteenth = nn.Sequential(down2(eighth, wide), *(Residual(wide, config.inner * wide) for _ in range(2)))
        self.last = zero(conv3(wide, config.latent))
        self.eighth_gain = RateTable(torch.zeros(config.anchors, eighth))
        self.wide_gain = RateTable(torch.zeros(config.anchors, wide))
        self.gain = RateTable(unit_gain(config.anchors, lmbdas=ENDS).expand(-1, config.latent))

    def forward(self, x: Tensor, rate: Tensor) -> Tensor:
        x = x - 0.5
        h = self.eighth(self.stem(x)) * torch.exp(self.eighth_gain(rate))
        h = self.last(F.leaky_relu(self.sixteenth(h) * torch.exp(self.wide_gain(rate)), 0.1))
        with torch.autocast(x.device.type, enabled=False):  # y reaches several hundred: half precision would round it
            return (self.linear(x.float()) + CORRECTION * h.float()) * torch.exp(self.gain(rate))


class Feedback(nn.Module):
    """An error of the decoded picture (B,3,16h,16w), 0..1, in units of y (B,M,h,w): the linear path of an analysis."""

    def __init__(self, analysis: Analysis) -> None:
        super().__init__()
        self.linear, self.gain = analysis.linear, analysis.gain

    def forward(self, error: Tensor, rate: Tensor) -> Tensor:
        return self.linear(error) * torch.exp(self.gain(rate))


class Synthesis(nn.Module):
    """y_hat (B,M,h,w) to the picture (B,3,16h,16w), about 0..1: the KLT's transpose, and a network that sees y_hat and
    what the KLT made of it, and corrects that.
    """

    def __init__(self, config: PhotoConfig) -> None:
        super().__init__()
        wide, eighth, quarter = config.synthesis
        self.linear = nn.Conv2d(config.latent, 3 * PATCH * PATCH, 1, bias=False)
        self.first = conv3(config.latent, wide)
        self.sixteenth = nn.Sequential(Residual(wide), Residual(wide))
        self.to_eighth = conv3(wide, 4 * eighth)
        self.eighth = nn.Sequential(Residual(eighth), Residual(eighth))
        self.to_quarter = conv3(eighth, 4 * quarter)
        self.quarter = Residual(quarter)
        self.seen = Seen(3, config.synthesis)
        self.last = zero(conv3(quarter, 48))
        self.gain = RateTable(-unit_gain(config.anchors, lmbdas=ENDS).expand(-1, config.latent))
        self.wide_gain = RateTable(torch.zeros(config.anchors, wide))
        self.eighth_gain = RateTable(torch.zeros(config.anchors, eighth))
        self.quarter_gain = RateTable(torch.zeros(config.anchors, quarter))
        self.error = RateTable(usual_error(config.anchors, ENDS))

    def forward(self, y_hat: Tensor, rate: Tensor) -> Tensor:
        return F.pixel_shuffle(self.cells(y_hat, rate), CELL)

    def cells(self, y_hat: Tensor, rate: Tensor) -> Tensor:
        """The picture before its cells of 4x4 pixels are put in their places, (B,48,4h,4w), about 0..1."""
        with torch.autocast(y_hat.device.type, enabled=False):
            y = y_hat * torch.exp(self.gain(rate))
            linear = F.pixel_shuffle(self.linear(y), CELL)
        at_sixteenth, at_eighth, at_quarter = self.seen(linear)
        h = self.sixteenth(self.first(y) + at_sixteenth) * torch.exp(self.wide_gain(rate))
        h = F.pixel_shuffle(self.to_eighth(F.leaky_relu(h, 0.1)), 2)
        h = self.eighth(h + at_eighth) * torch.exp(self.eighth_gain(rate))
        h = F.pixel_shuffle(self.to_quarter(F.leaky_relu(h, 0.1)), 2)
        h = self.quarter(h + at_quarter) * torch.exp(self.quarter_gain(rate))
        h = self.last(F.leaky_relu(h, 0.1)).float() * torch.exp(self.error(rate))
        return h + linear + 0.5


class HyperWidths(Protocol):
    """The widths that the hyper-analysis has."""

    @property
    def latent(self) -> int:
        """M, channels of y."""
        ...

    @property
    def hyper(self) -> int:
        """C, channels of z."""
        ...


class HyperAnalysis(nn.Module):
    """y (B,M,h,w) to z (B,C,h/4,w/4); sees y through a logarithm, for its range is wide."""

    def __init__(self, config: HyperWidths) -> None:
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


class Photo(Hyperprior):
    """The parts of `photo`; `rate` is (B,) int64."""

    fixed = False
    lmbdas = ENDS
    error_cost = 16.0  # theory (see `unit_gain`) has 8.7, but what is left out is missed as context, too
    halo = 12  # more than the reach of the analysis (9.6) and of the synthesis (8.8)

    def __init__(self, config: PhotoConfig) -> None:
        layout = Layout(config.latent)
        if config.gains and config.side < BANDS:
            raise ArgumentError(f"configuration: [model] side is {config.side}; gains need {BANDS} or more")
        widths = Widths(
            layout, config.hyper, config.side, config.context, config.anchors, falling=True, gains=config.gains
        )
        super().__init__(config, widths, Transforms(Analysis(config), Synthesis(config), HyperAnalysis(config)))
        if config.trellis:
            self.error_cost = TRELLIS_COST
            self.trellis = Trellis(first_tables(config.trellis), config.trellis, TRELLIS_COST)
        if config.gains:
            self.hyper_synthesis.without_gains()
        start = math.log(2.0 / SCALE_MIN) / LOG_STEP
        self.z_index = RateTable(torch.full((config.anchors, config.hyper), start), Z_UNIT)

    def pair(self, pictures: Tensor) -> tuple[Tensor, None]:
        """The pictures, 0..1, and nothing; while training, with some pictures' chroma as 4:2:0 has it."""
        x = subsampled(pictures.float()) if self.training else pictures.float()
        return x.div(255.0).contiguous(memory_format=torch.channels_last), None

    def z_rows(self, rate: Tensor) -> Tensor:
        """(B,C,1,1) real position on the scale grid of each channel of z."""
        return bounded(self.z_index(rate), 0.0, SCALES - 1.0)

    def feedback(self) -> Feedback:
        assert isinstance(self.analysis, Analysis)
        return Feedback(self.analysis)

    def rates_of_learning(self, options: LearningRates) -> dict[str, float]:
        """The linear path learns slower, and the rest of the synthesis faster: what it adds is scaled down."""
        return {
            "analysis.linear.": options.linear_factor,
            "synthesis.linear.": options.linear_factor,
            "synthesis.": options.synthesis_factor,
        }

    def start(self, pictures: list[NDArray[np.uint8]]) -> None:
        """Sets the linear path to the KLT of the pictures."""
        planes = (planes_of(at_least(each, PATCH)).float() / 255.0 - 0.5 for each in pictures)
        basis, deviation = patch_statistics(planes, PATCH, self.layout.channels)
        device = self.z_index.anchors.device
        self.start_from_klt(basis.to(device), deviation.to(device))

    @torch.no_grad()
    def start_from_klt(self, basis: Tensor, deviation: Tensor) -> None:
        """Sets the linear path to the KLT.

        `basis`: (M, 768) orthonormal rows over (colour, row, column) of a 16x16 patch, 0..1; `deviation`: (M,) standard
        deviation of each coefficient.
        """
        latent, patch, analysis, synthesis = self.layout.channels, PATCH, self.analysis, self.synthesis
        assert isinstance(analysis, Analysis)
        assert isinstance(synthesis, Synthesis)
        analysis.linear.weight.copy_(basis.view(latent, 3, patch, patch))
        # two pixel shuffles of 4: the first takes the coarse position, the second the fine one
        order = basis.view(latent, 3, 4, 4, 4, 4).permute(0, 1, 3, 5, 2, 4)
        synthesis.linear.weight.copy_(order.reshape(latent, 3 * patch * patch).t()[:, :, None, None])
        synthesis.first.weight *= (1.0 / torch.sqrt(0.02 + deviation))[None, :, None, None] * 0.5
