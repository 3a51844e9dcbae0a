"""Models of a picture given another: what the given one shows need not be coded.

Both ends have the given picture x, the target y is coded: `min E |z(y|x)| + lambda D(y, y~(x, z(y|x)))`. All parts see
x: the analysis beside the target, every context step as side information (an integer network), the synthesis at every
scale. What needs no bits is the base (grey, or x itself); the transforms work on the difference to it: how it follows
x (`intaglio.workshop.models.follow`), the KLT of what that leaves, and networks that correct both.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from intaglio.scales import LOG_STEP, SCALE_MIN, SCALES
from intaglio.traversal import HYPER_SCALE, Layout
from intaglio.workshop.bounds import bounded
from intaglio.workshop.data import at_least, patch_statistics, planes_of
from intaglio.workshop.hyper import Widths
from intaglio.workshop.integer import IntegerConv
from intaglio.workshop.layers import RateTable, Residual, conv3, down2, zero
from intaglio.workshop.models.base import Hyperprior, LearningRates, Pair, Transforms
from intaglio.workshop.models.follow import Following
from intaglio.workshop.models.photo import CORRECTION, PATCH, Z_UNIT, HyperAnalysis, unit_gain, usual_error
from intaglio.workshop.models.seen import CELL, Seen
from intaglio.workshop.models.widths import limited

SHARE = 5.0  # of the given picture's local detail, in the unit of what is added
FAINT = 0.01  # deviations of latents about it and below are not told from it
BLUR = 5  # cells: what the means of cells are compared with
Z_START = 1.0  # deviation of z at the highest rate, before training; at the lowest it is nearly always 0
FORESEEN = 0.4  # deviation of the first channels once their neighbours are known
CERTAIN = 0.4  # deviation, with training's noise, of what is known already
FEW = 8  # channels: means of three planes, above and below 0, and a mark need 7
BLIND = 128.0  # what a blind model is given


@dataclass(frozen=True)
class ConditionalConfig:
    """Widths, in channels; the defaults are those of the shipped `colour`."""

    latent: int = limited(128, least=32, most=2 * PATCH * PATCH)  # M, channels of y
    analysis: tuple[int, int, int] = (32, 64, 128)  # at 1/4, 1/8, 1/16
    synthesis: tuple[int, int, int] = (96, 64, 48)  # at 1/16, 1/8, 1/4
    hyper: int = limited(48, least=FEW)  # z, at 1/64
    side: int = limited(64, least=FEW)  # side information from z, at 1/16
    given: int = 64  # and from the given picture
    context: int = limited(96, least=FEW)
    anchors: int = 12  # of every table over the quality scale
    blind: bool = False  # whether the networks see a constant in place of the given picture, to compare with


@dataclass(frozen=True)
class Kind:
    """What a model is of. target, given: how many planes each has. base: from the given planes, 0..1, what the target
    is taken for where nothing is coded, broadcastable to it. lmbdas: of the rate steps 0 and 198.
    """

    target: int
    given: int
    base: Callable[[Tensor], Tensor | float]
    lmbdas: tuple[float, float]

    def gain(self, config: ConditionalConfig) -> Tensor:
        """Log of the gain on y at the start, (anchors, M)."""
        return unit_gain(config.anchors, self.target, self.lmbdas).expand(-1, config.latent)

    def error(self, config: ConditionalConfig) -> Tensor:
        """Log of the deviation of what the linear path leaves, at the start, (anchors, 1)."""
        return usual_error(config.anchors, self.lmbdas)


def arranged(linear: Tensor, following: Tensor) -> Tensor:
    """Channels of y about by falling variance: of T planes the means and slopes of `Following`, 2T of the fixed
    transform, the 4T of quarters, the rest. Along the first axis but batches, if there is one.
    """
    axis = 1 if linear.ndim == 4 else 0
    planes = following.shape[axis] // 6
    more, rest = linear.split([2 * planes, linear.shape[axis] - 2 * planes], axis)
    surface, quarters = following.split([2 * planes, 4 * planes], axis)
    return torch.cat([surface, more, quarters, rest], axis)


def parted(y: Tensor, planes: int) -> tuple[Tensor, Tensor]:
    """Inverse of `arranged`, of (B,M,h,w)."""
    surface, more, quarters, rest = y.split([2 * planes, 2 * planes, 4 * planes, y.shape[1] - 8 * planes], 1)
    return torch.cat([more, rest], 1), torch.cat([surface, quarters], 1)


class Analysis(nn.Module):
    """A pair to y (B,M,h,w): how the target less its base follows the given picture, the KLT of 16x16 patches of what
    that leaves, and a network that corrects both.
    """

    def __init__(self, config: ConditionalConfig, kind: Kind) -> None:
        super().__init__()
        quarter, eighth, wide = config.analysis
        self.base = kind.base
        self.following = Following(PATCH, kind.target, kind.given)
        fixed = config.latent - self.following.channels
        self.linear = nn.Conv2d(kind.target, fixed, PATCH, stride=PATCH, bias=False)
        self.stem = nn.Sequential(  # 1/4
            nn.Conv2d(kind.target + kind.given, quarter, CELL, stride=CELL),
            nn.LeakyReLU(0.1),
            conv3(quarter, quarter),
            nn.LeakyReLU(0.1),
        )
        self.eighth = nn.Sequential(down2(quarter, eighth), *(Residual(eighth) for _ in range(3)))
        self.sixteenth = nn.Sequential(down2(eighth, wide), Residual(wide), Residual(wide))
        self.last = zero(conv3(wide, config.latent))
        self.eighth_gain = RateTable(torch.zeros(config.anchors, eighth))
        self.wide_gain = RateTable(torch.zeros(config.anchors, wide))
        self.gain = RateTable(kind.gain(config))

    def forward(self, x: Pair, rate: Tensor) -> Tensor:
        given = x.given / 255.0
        difference = x.target - self.base(given)
        # chroma spans a tenth of what luma does: at one scale the network would look at luma alone
        h = self.stem(torch.cat([4.0 * difference, given - 0.5], 1))
        h = self.eighth(h) * torch.exp(self.eighth_gain(rate))
        h = self.last(F.leaky_relu(self.sixteenth(h) * torch.exp(self.wide_gain(rate)), 0.1))
        with torch.autocast(h.device.type, enabled=False):  # y is too large for half precision
            following, left = self.following.coefficients(difference.float(), given.float() - 0.5)
            linear = arranged(self.linear(left), following)
            return (linear + CORRECTION * h.float()) * torch.exp(self.gain(rate))


class Detail(nn.Module):
    """Given planes (B,G,4h,4w) about 0 to their local detail: each sample less the mean of its 4x4 cell, (B,16G,h,w),
    row by row of the cell; the cell's mean less that of 5x5 cells, (B,G,h,w); and the cell's samples as they are.
    """

    samples: Tensor
    fine: Tensor
    mean: Tensor
    less: Tensor

    def __init__(self, planes: int) -> None:
        super().__init__()
        self.planes = planes
        samples = torch.eye(CELL**2).view(CELL**2, 1, CELL, CELL)
        less = torch.full((1, 1, BLUR, BLUR), -1.0 / BLUR**2)
        less[0, 0, BLUR // 2, BLUR // 2] += 1.0
        mean = torch.full_like(samples, 1.0 / CELL**2)
        for name, weight in (("samples", samples), ("fine", samples - mean), ("mean", mean[:1]), ("less", less)):
            self.register_buffer(name, weight.repeat(planes, 1, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        samples, fine, means = (
            F.conv2d(x, each, stride=CELL, groups=self.planes) for each in (self.samples, self.fine, self.mean)
        )
        coarse = F.conv2d(F.pad(means, (BLUR // 2,) * 4, mode="replicate"), self.less, groups=self.planes)
        return fine, coarse, samples


class Synthesis(nn.Module):
    """y_hat (B,M,h,w) and the given planes (B,G,16h,16w), 0..255, to the target (B,T,16h,16w), about 0..1.

    The inverse of the analysis' linear path, and a network that sees what that decoded and what is given, and corrects:
    in each cell of 4x4 pixels it adds to every sample, and to every plane two shares of the given picture's local
    detail, as colours follow edges (He et al. 2013, guided filter).
    """

    def __init__(self, config: ConditionalConfig, kind: Kind) -> None:
        super().__init__()
        wide, eighth, quarter = config.synthesis
        self.base, self.kind = kind.base, kind
        self.following = Following(PATCH, kind.target, kind.given)
        self.linear = nn.Conv2d(config.latent - self.following.channels, kind.target * PATCH**2, 1, bias=False)
        self.seen = Seen(kind.given + kind.target, config.synthesis)
        self.detail = Detail(kind.given)
        self.spread = nn.Parameter(torch.ones(config.latent, 1, 1))
        self.first = conv3(config.latent, wide)
        self.sixteenth = nn.Sequential(Residual(wide), Residual(wide))
        self.to_eighth = conv3(wide, 4 * eighth)
        self.eighth = nn.Sequential(Residual(eighth), Residual(eighth))
        self.to_quarter = conv3(eighth, 4 * quarter)
        self.quarter = Residual(quarter)
        self.last = zero(conv3(quarter + kind.given * CELL**2, kind.target * (CELL**2 + 2)))
        self.gain = RateTable(-kind.gain(config))
        self.wide_gain = RateTable(torch.zeros(config.anchors, wide))
        self.eighth_gain = RateTable(torch.zeros(config.anchors, eighth))
        self.quarter_gain = RateTable(torch.zeros(config.anchors, quarter))
        self.error = RateTable(kind.error(config))

    def forward(self, y_hat: Tensor, rate: Tensor, given: Tensor) -> Tensor:
        given = given / 255.0
        with torch.autocast(given.device.type, enabled=False):
            y = y_hat * torch.exp(self.gain(rate))
            fixed, coefficients = parted(y, self.kind.target)
            linear = F.pixel_shuffle(F.pixel_shuffle(self.linear(fixed), CELL), CELL)
            linear = linear + self.following(coefficients, given - 0.5)
        at_sixteenth, at_eighth, at_quarter = self.seen(torch.cat([given - 0.5, 4.0 * linear], 1))
        seen = y * self.spread  # through a logarithm: where chroma is not small it is fifty times what it mostly is
        seen = torch.sign(seen) * torch.log1p(seen.abs())
        h = self.sixteenth(self.first(seen) + at_sixteenth) * torch.exp(self.wide_gain(rate))
        h = F.pixel_shuffle(self.to_eighth(F.leaky_relu(h, 0.1)), 2)
        h = self.eighth(h + at_eighth) * torch.exp(self.eighth_gain(rate))
        h = F.pixel_shuffle(self.to_quarter(F.leaky_relu(h, 0.1)), 2)
        h = self.quarter(h + at_quarter) * torch.exp(self.quarter_gain(rate))
        fine, coarse, samples = self.detail(given - 0.5)
        h = self.last(torch.cat([F.leaky_relu(h, 0.1), samples], 1)).float() * torch.exp(self.error(rate))
        return F.pixel_shuffle(self._cells(h, fine, coarse), CELL) + linear + self.base(given)

    def _cells(self, h: Tensor, fine: Tensor, coarse: Tensor) -> Tensor:
        """(B,16T,h,w): what is added to the samples of each cell."""
        planes, size, cells = self.kind.target, CELL**2, []
        for plane in range(planes):
            seen = plane % self.kind.given
            found = h[:, plane * size : (plane + 1) * size]
            for number, detail in enumerate((fine[:, seen * size : (seen + 1) * size], coarse[:, seen : seen + 1])):
                at = planes * (size + number) + plane
                found = found + SHARE * h[:, at : at + 1] * detail
            cells.append(found)
        return torch.cat(cells, 1)


class Means(nn.Module):
    """y (B,M,h,w) to z (B,C,h/4,w/4): a network; to its first channels the means of one in 4x4 patches are added, from
    which those between can be told.
    """

    which: Tensor

    def __init__(self, config: ConditionalConfig, planes: int) -> None:
        super().__init__()
        self.network = HyperAnalysis(config)
        which = torch.eye(planes, config.latent)[:, :, None, None]
        self.register_buffer("which", F.pad(which, (0, 0, 0, 0, 0, 0, 0, config.hyper - planes)), persistent=False)

    def forward(self, y: Tensor) -> Tensor:
        h = self.network(y)
        with torch.autocast(y.device.type, enabled=False):
            return h + F.conv2d(y.float(), self.which, stride=HYPER_SCALE)

    @torch.no_grad()
    def start(self, planes: int) -> None:
        """Lets the first channels be means alone."""
        last = self.network.layers[-1]
        assert isinstance(last, nn.Conv2d)
        assert last.bias is not None
        last.weight[:planes], last.bias[:planes] = 0.0, 0.0


class Conditional(Hyperprior):
    """A model of pictures given others. Abstract; `rate` is (B,) int64."""

    fixed = False
    halo = 14  # more than the reach of the analysis (9) and of the synthesis (12), in latents
    error_cost = 13.0  # theory (see `unit_gain`) has 8.7, but what is left out is missed as context, too
    kind: ClassVar[Kind]

    def __init__(self, config: ConditionalConfig) -> None:
        kind, layout = self.kind, Layout(config.latent)
        sizes = config.hyper, config.side, config.context, config.anchors
        widths = Widths(layout, *sizes, falling=True, planes=kind.given, given=config.given)
        transforms = Transforms(Analysis(config, kind), Synthesis(config, kind), Means(config, kind.target))
        super().__init__(config, widths, transforms)
        start = torch.linspace(0.0, math.log(Z_START / SCALE_MIN) / LOG_STEP, config.anchors)
        self.z_index = RateTable(start[:, None].repeat(1, config.hyper), Z_UNIT)

    @abstractmethod
    def target_of(self, pictures: Tensor) -> Tensor:
        """The target's planes (B,T,H,W), 0..1, of pictures (B,3,H,W), 0..255."""

    @abstractmethod
    def made_given(self, pictures: Tensor) -> Tensor:
        """A given picture for training, (B,G,H,W), whole numbers 0..255, of pictures (B,3,H,W), 0..255."""

    def pair(self, pictures: Tensor) -> Pair:
        """Target and given planes of training pictures uint8 (B,3,H,W)."""
        x = pictures.float()
        given = self.made_given(x)
        planes = self.target_of(x), torch.full_like(given, BLIND) if self.config.blind else given
        return Pair(*(each.contiguous(memory_format=torch.channels_last) for each in planes))

    def z_rows(self, rate: Tensor) -> Tensor:
        """(B,C,1,1) real position on the scale grid of each channel of z."""
        return bounded(self.z_index(rate), 0.0, SCALES - 1.0)

    def rates_of_learning(self, options: LearningRates) -> dict[str, float]:
        """The linear path learns slower, and the rest of the synthesis faster: what it adds is scaled down."""
        return {
            "analysis.linear.": options.linear_factor,
            "synthesis.linear.": options.linear_factor,
            "synthesis.seen.": 1.0,
            "synthesis.": options.synthesis_factor,
        }

    @torch.no_grad()
    def start(self, pictures: list[NDArray[np.uint8]]) -> None:
        """Sets the linear path to the KLT of what in pictures, uint8 (H,W,3), does not follow what is given, and what
        the integer networks begin with.
        """
        device = self.z_index.anchors.device
        analysis, synthesis, planes = self.analysis, self.synthesis, self.kind.target
        assert isinstance(analysis, Analysis)
        assert isinstance(synthesis, Synthesis)
        fixed, squares = len(analysis.linear.weight), []

        def left(picture: NDArray[np.uint8]) -> Tensor:
            coefficients, rest = analysis.following.coefficients(*self._difference(picture))
            squares.append(coefficients.square().mean((0, 2, 3)))
            return rest[0]

        basis, deviation = patch_statistics((left(each) for each in pictures), PATCH, fixed)
        deviation = arranged(deviation, torch.stack(squares).mean(0).sqrt()).to(device)
        basis = basis.to(device)
        analysis.linear.weight.copy_(basis.view(fixed, planes, PATCH, PATCH))
        # two pixel shuffles of 4: the first takes the coarse position, the second the fine one
        order = basis.view(fixed, planes, CELL, CELL, CELL, CELL).permute(0, 1, 3, 5, 2, 4)
        synthesis.linear.weight.copy_(order.reshape(fixed, -1).t()[:, :, None, None])
        synthesis.spread.copy_(1.0 / (FAINT + deviation)[:, None, None])
        self._start_scales(deviation)
        self.start_means(deviation)

    def _spread(self, deviation: Tensor) -> Tensor:
        """Deviations of y at each anchor, (anchors,M), from those of the KLT's coefficients, (M,)."""
        return deviation * torch.exp(self.kind.gain(self.config).to(deviation))

    def _start_scales(self, deviation: Tensor) -> None:
        """Lets the context steps begin with the deviations of y that the KLT's coefficients, (M,), have at each rate:
        at the lowest, y is nearly always 0, and what it costs to say more would be all that training saw for long.
        """
        start = torch.log(self._spread(deviation).clamp_min(SCALE_MIN) / SCALE_MIN)
        for number, step in enumerate(self.context_steps):
            for head, part in zip(step.heads, self.layout.parts(number), strict=True):
                assert isinstance(head, IntegerConv)
                head.bias.anchors[:, head.weight.shape[0] // 2 :] = start[:, part[1]]

    @torch.no_grad()
    def start_means(self, deviation: Tensor) -> None:
        """Lets the means of patches be foreseen from those of others: of one in 16, which z has, those halfway between
        them; from both the rest. `deviation`: as of `_spread`.
        """
        planes, hyper_analysis = self.kind.target, self.hyper_analysis_net
        assert isinstance(hyper_analysis, Means)
        spread = self._spread(deviation)[:, :planes]
        hyper_analysis.start(planes)
        self.z_index.anchors[:, :planes] = torch.log(spread.clamp_min(SCALE_MIN) / SCALE_MIN) / LOG_STEP / Z_UNIT
        foreseen = (FORESEEN * spread).clamp_min(SCALE_MIN)
        self.hyper_synthesis.interpolate(planes, torch.log(foreseen.amax(1) / CERTAIN).clamp_min(0.0))
        for number, step in enumerate(self.context_steps):
            first = step.heads[0]
            assert isinstance(first, IntegerConv)
            half = first.weight.shape[0] // 2
            first.bias.anchors[:, half : half + planes] = torch.log(foreseen / SCALE_MIN)
            if number:
                step.see_neighbours(range(planes))
            else:
                step.see_interpolated(planes)

    def _difference(self, picture: NDArray[np.uint8]) -> tuple[Tensor, Tensor]:
        """Target less base and given planes about 0, (1,T,H,W) and (1,G,H,W), of a picture cut to whole patches."""
        picture = at_least(picture, PATCH)
        height, width = (side // PATCH * PATCH for side in picture.shape[:2])
        target, given = self.pair(planes_of(picture[:height, :width])[None])
        return target - self.kind.base(given / 255.0), given / 255.0 - 0.5
