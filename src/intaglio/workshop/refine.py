"""Latents found by descent for one picture, instead of by the analysis alone: slow, smaller files, the same decoder.

y and z are the parameters, `R + lambda D` the loss. Two ways through the rounding:

    slope    rounds straight through, the rate felt by its exact slope (`intaglio.workshop.coders.Slope`); some 40 steps
    gumbel   draws one of the whole numbers around each latent, ever more sharply; hundreds of steps (stochastic Gumbel
             annealing: Yang, Bamler and Mandt 2020, arXiv 2006.04240)

What is coded in the end is the best that was seen with everything rounded, the analysis' own latents among it.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from intaglio import codec, images
from intaglio.bundle import load_model
from intaglio.container import tile_grid
from intaglio.errors import ArgumentError
from intaglio.workshop import restore
from intaglio.workshop.coders import Gumbel, Round, Slope
from intaglio.workshop.loss import Criterion, rate_distortion
from intaglio.workshop.models.base import Model
from intaglio.workshop.quantise import annealed

Progress = Callable[[int, int], None]
Arrays = NDArray[np.float32]


@dataclass(frozen=True)
class Descent:
    """How latents are sought. kind: "slope" or "gumbel". steps: 0 for 40 of the first, 400 of the second."""

    steps: int = 0
    kind: str = "slope"
    temperatures: tuple[float, float] = (0.3, 0.05)  # of "gumbel", at the beginning and at the end
    seed: int = 0

    def __post_init__(self) -> None:
        """Raises ArgumentError naming what cannot be meant."""
        if self.kind not in _KINDS:
            raise ArgumentError(f"kind is {self.kind!r}; it must be one of {', '.join(_KINDS)}")
        if self.steps < 0:
            raise ArgumentError(f"steps is {self.steps}; it must be 1 or more, or 0 for as many as usual")

    @property
    def count(self) -> int:
        """Of steps."""
        return self.steps or _KINDS[self.kind].steps

    def coder(self, model: Model, step: int) -> Slope | Gumbel:
        """What rounds at a step."""
        if self.kind == "slope":
            return model.sloped()
        coder = Gumbel(model.layout)
        coder.temperature = annealed(step / self.count, *self.temperatures)
        return coder

    def optimizer(self, free: list[Tensor], pixels: int) -> torch.optim.Optimizer:
        """Adam; for "slope" with so large an epsilon that weak gradients hardly move latents off their numbers."""
        usual = _KINDS[self.kind]
        return torch.optim.Adam(free, usual.learning_rate, usual.betas, eps=max(1e-8, usual.bits / pixels))

    def rate(self, step: int) -> float:
        """The learning rate of a step: constant for the first half, then falling to zero."""
        return _KINDS[self.kind].learning_rate * min(1.0, 2.0 * (self.count - step) / self.count)


@dataclass(frozen=True)
class _Usual:
    steps: int
    learning_rate: float
    betas: tuple[float, float]
    bits: float  # for a quantisation step: gradients below it are weak


_KINDS = {"slope": _Usual(40, 0.2, (0.5, 0.999), 170.0), "gumbel": _Usual(400, 0.02, (0.9, 0.99), 0.0)}
_SEEN_EVERY = 4  # steps: how often what has been found is rounded and measured


class _Free:
    """A model whose y and z do not come from a picture: `intaglio.traversal.Net`."""

    def __init__(self, model: Model, y: Tensor, z: Tensor) -> None:
        self.model, self._y, self._z = model, y, z

    def __getattr__(self, name: str) -> Any:
        """All other parts are the model's."""
        return getattr(self.model, name)

    def analysis(self, x: Tensor, rate: Tensor) -> Tensor:
        return self._y

    def hyper_analysis(self, y: Tensor, rate: Tensor) -> Tensor:
        return self._z


def latents(
    model: Model, pixels: NDArray[np.uint8], rate: int, descent: Descent = Descent(), progress: Progress | None = None
) -> tuple[Arrays, Arrays]:
    """y (1,M,h,w) and z (1,C,h/4,w/4), float32, for a picture uint8 (16h,16w,3), sides multiples of 64.

    progress: called with the steps done and the steps in all.
    """
    torch.manual_seed(descent.seed)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    x, rates = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 255.0, torch.tensor([rate])
    start = model.analysis(x, rates).float()
    free = [start.clone(), model.hyper_analysis(start, rates).float().clone()]  # type: ignore[operator]
    for each in free:
        each.requires_grad_()
    net = _Free(model, *free)
    optimizer = descent.optimizer(free, x.shape[2] * x.shape[3])
    lowest, best = math.inf, [each.detach().clone() for each in free]
    for step in range(descent.count + 1):
        if step % _SEEN_EVERY == 0 or step == descent.count:
            with torch.no_grad():
                cost = float(_loss(net, x, rates, model.rounding()))
            if cost < lowest:
                lowest, best = cost, [each.detach().clone() for each in free]
        if step < descent.count:
            optimizer.zero_grad()
            _loss(net, x, rates, descent.coder(model, step)).backward()  # type: ignore[no-untyped-call]
            optimizer.param_groups[0]["lr"] = descent.rate(step)
            optimizer.step()
        if progress and step:
            progress(step, descent.count)
    y, z = (each.numpy() for each in best)
    return y, z


def _loss(net: _Free, x: Tensor, rates: Tensor, coder: Slope | Gumbel | Round) -> Tensor:
    """R + lambda D, bits per pixel."""
    with torch.autocast("cpu", torch.bfloat16):
        decoded = net.model.walk((x, None), rates, coder, net)
    assert isinstance(coder.bits, Tensor)
    found = rate_distortion(x, decoded, coder.bits, rates, Criterion(lmbdas=net.model.lmbdas))
    return (found.bpp + found.weighted).sum()


def encode(
    image: Image.Image | NDArray[np.uint8],
    quality: float | None = None,
    model: str = "photo",
    descent: Descent = Descent(),
    progress: Progress | None = None,
) -> bytes:
    """The picture as .itg bytes; image, quality and errors as for `intaglio.encode`, model a name or a .itgm file.

    Takes about 2 kB of memory a pixel. Raises ArgumentError for a picture of several tiles, and for a model that is
    given a picture or has no hyperprior.
    """
    pixels, runner = images.from_image(image).pixels, load_model(model)
    if runner.given or not runner.has_hyper:
        raise ArgumentError(f"model {runner.name!r} cannot be refined: it must have a hyperprior, and take no picture")
    if descent.kind != "slope" and runner.quantiser.follows:
        raise ArgumentError(f"model {runner.name!r} has a trellis, where {descent.kind!r} finds nothing: take 'slope'")
    if (trained := runner.file.distortion) != "mse":
        wanted = "refinement lowers the squared error: take a model that was trained for that"
        raise ArgumentError(f"model {runner.name!r} cannot be refined: it was trained for {trained}; {wanted}")
    rate = codec.rate_for(quality, runner)
    header = codec.header_for(pixels, rate, runner)
    if len(tile_grid(header)) > 1:
        size = f"{pixels.shape[1]} x {pixels.shape[0]} pixels"
        raise ArgumentError(f"the picture has {size}; at most 2^22 are refined, sides rounded up to 64")
    padded = images.pad_to_multiple(images.to_rgb(pixels), codec.container.BLOCK)
    y, z = latents(restore.model(runner.file), padded, rate, descent, progress)
    ready = copy.copy(runner)
    ready.analysis, ready.hyper_analysis = lambda x, rate: y, lambda y, rate: z
    return codec.encode(pixels, quality, model=ready)
