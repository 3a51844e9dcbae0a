"""What the models of 2017 to 2021 share: analysis and synthesis in stages, from pixels to 1/16 and back.

A stage is a convolution down and GDN; the synthesis mirrors it. Where a model has these options, residual blocks follow
every stage but the last, and attention blocks (Cheng et al. 2020) the second and the last.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from intaglio.scales import LOG_STEP, SCALE_MAX, SCALE_MIN
from intaglio.traversal import Layout
from intaglio.workshop import attention
from intaglio.workshop.attention import Attention
from intaglio.workshop.entropy import DeepFactorized
from intaglio.workshop.gdn import GDN
from intaglio.workshop.hyper import HYPER_EDGE, Widths
from intaglio.workshop.integer import IntegerConv
from intaglio.workshop.layers import Residual, Shuffled, strided, transposed
from intaglio.workshop.models.base import Hyperprior, LearningRates, Model, Transforms, Unconditional
from intaglio.workshop.models.klt import start_linear

LATENT_GAIN = 10.0  # of random weights, so that y spans a few quantisation steps
PICTURE_GAIN = 0.1  # of random weights, so that the first pictures are nearly grey
KLT_GAIN = 5.0  # of the KLT: 255 sqrt(lambda) / 5.1, for lambda 0.01
LATENT_GAMMA = 1e-4  # where GDN of y itself starts: y spans tens of steps, and must not be squeezed
RESIDUAL_REACH = 2  # of a residual block: two 3x3 convolutions
PRIOR_FACTOR = 10.0  # densities learn that much faster than the rest: their parameters have a long way to go
HYPER_GAIN = math.sqrt(2.0)  # keeps the power through rectifiers (He et al. 2015)
Y_SCALE, Z_SCALE = 10.0, 4.0  # about how far the densities of y and z reach at first


class Stage(NamedTuple):
    """One stage of an analysis: channels that leave it, size of the kernel, stride."""

    width: int
    kernel: int
    stride: int


class Stages(nn.Module):
    """Stages one after another, (B,C,H,W); the last in full precision: y reaches several hundred."""

    def __init__(self, stages: list[nn.Module], shift: tuple[float, float]) -> None:
        """`shift`: what is added before and after."""
        super().__init__()
        self.stages, self.shift = nn.ModuleList(stages), shift

    def forward(self, x: Tensor, rate: Tensor) -> Tensor:
        before, after = self.shift
        *others, last = self.stages
        x = x + before
        for stage in others:
            x = stage(x)
        with torch.autocast(x.device.type, enabled=False):
            return last(x.float()) + after


@dataclass(frozen=True)
class Plan:
    """Analysis and synthesis of a model; the strides of its stages make 16."""

    stages: tuple[Stage, ...]
    of_2017: bool = False  # y goes through GDN, too, and every gamma is symmetric
    shuffle: bool = False  # steps up by pixel shuffle; otherwise transposed convolutions
    simplified: bool = False  # GDN without its root
    blocks: int = 0
    attention: bool = False

    def analysis(self) -> Stages:
        """Picture to y."""
        stages = []
        for number, stage in enumerate(self.stages):
            inputs = self.stages[number - 1].width if number else 3
            layers: list[nn.Module] = [strided(inputs, *stage, gain=LATENT_GAIN if self._last(number) else 1.0)]
            stages.append(nn.Sequential(*layers, *self._gdn(number), *self._extras(number)))
        return Stages(stages, (-0.5, 0.0))

    def synthesis(self) -> Stages:
        """y_hat to the picture: the stages mirrored."""
        stages = []
        for number, (width, kernel, stride) in reversed([*enumerate(self.stages)]):
            outputs = self.stages[number - 1].width if number else 3
            gain = 1.0 / LATENT_GAIN if self._last(number) else 1.0 if number else PICTURE_GAIN
            up: Callable[..., nn.Module] = Shuffled if self.shuffle else transposed
            step = up(width, outputs, 3 if self.shuffle else kernel, stride, gain)
            stages.append(nn.Sequential(*self._extras(number), *self._gdn(number, inverse=True), step))
        return Stages(stages, (0.0, 0.5))

    def reach(self) -> int:
        """How many latents to each side analysis and synthesis look at, at most."""
        pixels, scale = 0, 1
        for number, (_, kernel, stride) in enumerate(self.stages):
            pixels += max(kernel // 2, stride if self.shuffle else 0) * scale
            scale *= stride
            pixels += scale * (RESIDUAL_REACH * self._blocks(number) + attention.REACH * self._attends(number))
        return math.ceil(pixels / scale)

    def _last(self, number: int) -> bool:
        return number == len(self.stages) - 1

    def _blocks(self, number: int) -> int:
        return 0 if self._last(number) else self.blocks

    def _attends(self, number: int) -> bool:
        return self.attention and (number == 1 or self._last(number))

    def _gdn(self, number: int, inverse: bool = False) -> list[nn.Module]:
        """What normalises the end of a stage, or undoes it."""
        if self._last(number) and not self.of_2017:
            return []
        gamma = LATENT_GAMMA if self._last(number) else 0.1
        return [GDN(self.stages[number].width, inverse, self.simplified, self.of_2017, gamma)]

    def _extras(self, number: int) -> list[nn.Module]:
        width = self.stages[number].width
        blocks: list[nn.Module] = [Residual(width) for _ in range(self._blocks(number))]
        return [*blocks, Attention(width)] if self._attends(number) else blocks


class Staged(Model):
    """A model whose transforms follow a plan. Abstract; `config.klt`: whether it starts from the pictures' KLT."""

    prior_name: ClassVar[str]  # of its densities

    def rates_of_learning(self, options: LearningRates) -> dict[str, float]:
        return {self.prior_name: PRIOR_FACTOR}

    def start(self, pictures: list[NDArray[np.uint8]]) -> None:
        if self.config.klt:
            downs = [each[0] for each in _stages(self.analysis)]
            ups = [each[-1] for each in reversed(_stages(self.synthesis))]
            self.spread(start_linear(downs, ups, pictures, KLT_GAIN))  # type: ignore[arg-type]

    def spread(self, deviation: Tensor) -> None:
        """Is told the deviation of each of y's channels at the start, (M,)."""


class FactorizedModel(Staged, Unconditional):
    """A staged model with one density for each channel of y. Abstract."""

    prior_name = "prior."

    def __init__(self, config: Any, plan: Plan) -> None:
        transforms = Transforms(plan.analysis(), plan.synthesis())
        super().__init__(config, transforms, DeepFactorized(plan.stages[-1].width, initial_scale=Y_SCALE))
        self.halo = plan.reach()

    @torch.no_grad()
    def spread(self, deviation: Tensor) -> None:
        """The densities start as wide as their channels, noise included: a logistic of scale s deviates by 1.8 s."""
        assert isinstance(self.prior, DeepFactorized)
        scale = (deviation.square() + 1.0 / 12.0).sqrt() * math.sqrt(3.0) / math.pi
        self.prior.shrink(Y_SCALE / scale)


class HyperAnalysis(nn.Module):
    """y (B,M,h,w) to z (B,C,h/4,w/4), by a 3x3 and two 5x5 convolutions of stride 2 (Ballé et al. 2018)."""

    def __init__(self, latent: int, hyper: int, absolute: bool) -> None:
        """`absolute`: sees |y|: scales are all that z is to tell."""
        super().__init__()
        self.absolute = absolute
        self.layers = nn.Sequential(
            strided(latent, hyper, 3, 1, HYPER_GAIN, HYPER_EDGE),
            nn.LeakyReLU(0.1),
            strided(hyper, hyper, 5, 2, HYPER_GAIN, HYPER_EDGE),
            nn.LeakyReLU(0.1),
            strided(hyper, hyper, 5, 2, HYPER_GAIN, HYPER_EDGE),
        )

    def forward(self, y: Tensor) -> Tensor:
        return self.layers(y.abs() if self.absolute else y).float()


class GaussianModel(Staged, Hyperprior):
    """A staged model whose y is Gaussian. Abstract."""

    prior_name = "z_prior."

    def __init__(self, config: Any, plan: Plan, layout: Layout, means: bool = True) -> None:
        """`config` has the widths hyper, side and context; without `means`, z tells scales alone, and sees |y|."""
        widths = Widths(layout, config.hyper, config.side, config.context, anchors=1, means=means)
        hyper_analysis = HyperAnalysis(layout.channels, config.hyper, absolute=not means)
        transforms = Transforms(plan.analysis(), plan.synthesis(), hyper_analysis)
        super().__init__(config, widths, transforms, DeepFactorized(config.hyper, initial_scale=Z_SCALE))
        self.halo = plan.reach()

    @torch.no_grad()
    def spread(self, deviation: Tensor) -> None:
        """Whatever z says, scales start at what their channels have: the second halves of the heads' biases."""
        rows = torch.log(deviation.clamp(SCALE_MIN, SCALE_MAX) / SCALE_MIN) / LOG_STEP
        for number, step in enumerate(self.context_steps):
            for head, part in zip(step.heads, self.layout.parts(number), strict=True):
                assert isinstance(head, IntegerConv)
                own = rows[part[1]].to(head.weight.device)
                head.bias.anchors[:, len(own) :] = own / head.gain[len(own) :]


def _stages(transform: nn.Module) -> list[nn.Sequential]:
    assert isinstance(transform, Stages)
    return list(transform.stages)  # type: ignore[arg-type]
