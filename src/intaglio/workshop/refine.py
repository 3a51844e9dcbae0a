"""Latents found by descent for one picture, instead of by the analysis alone: slow, smaller files, the same decoder.

y and z are the parameters, `R + lambda D` the loss, and rounding is drawn ever more sharply: stochastic Gumbel
annealing, Yang, Bamler and Mandt 2020 (arXiv 2006.04240).
"""

from __future__ import annotations

import copy
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
from intaglio.quality import rate_to_lmbda
from intaglio.workshop import restore
from intaglio.workshop.coders import Gumbel
from intaglio.workshop.models.base import Model

Progress = Callable[[int, int], None]
Arrays = NDArray[np.float32]


@dataclass(frozen=True)
class Descent:
    """How latents are sought."""

    steps: int = 500
    learning_rate: float = 0.02  # quantisation steps that a latent moves in a step, at most
    temperatures: tuple[float, float] = (0.3, 0.05)  # of the rounding, at the beginning and at the end
    seed: int = 0

    def __post_init__(self) -> None:
        """Raises ArgumentError naming what cannot be meant."""
        if self.steps < 1:
            raise ArgumentError(f"steps is {self.steps}; it must be 1 or more")

    def temperature(self, step: int) -> float:
        """Of a step, falling by a constant factor."""
        first, last = self.temperatures
        return first * (last / first) ** (step / self.steps)

    def rate(self, step: int) -> float:
        """The learning rate of a step: constant for the first half, then falling to zero."""
        return self.learning_rate * min(1.0, 2.0 * (self.steps - step) / self.steps)


class _Free:
    """A model whose y and z do not come from a picture: `intaglio.traversal.Net`."""

    def __init__(self, model: Model, y: Tensor, z: Tensor) -> None:
        self._model, self._y, self._z = model, y, z

    def __getattr__(self, name: str) -> Any:
        """All other parts are the model's."""
        return getattr(self._model, name)

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
    net, lmbda = _Free(model, *free), rate_to_lmbda(rate, model.lmbdas)
    optimizer, coder = torch.optim.Adam(free, betas=(0.9, 0.99)), Gumbel(model.layout)
    for step in range(descent.steps):
        coder.bits, coder.temperature = 0.0, descent.temperature(step)
        with torch.autocast("cpu", torch.bfloat16):
            decoded = model.walk((x, None), rates, coder, net)
        assert isinstance(coder.bits, Tensor)
        error = 255.0**2 * (decoded.float() - x).square().mean()
        loss = coder.bits.sum() / (x.shape[2] * x.shape[3]) + lmbda * error
        optimizer.zero_grad()
        loss.backward()
        optimizer.param_groups[0]["lr"] = descent.rate(step)
        optimizer.step()
        if progress:
            progress(step + 1, descent.steps)
    y, z = (each.detach().numpy() for each in free)
    return y, z


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
    rate = codec.rate_for(quality, runner)
    header = codec.header_for(pixels, rate, runner)
    if len(tile_grid(header)) > 1:
        raise ArgumentError(f"the picture has {pixels.shape[1]} x {pixels.shape[0]} pixels; at most 2^22 are refined")
    padded = images.pad_to_multiple(images.to_rgb(pixels), codec.container.BLOCK)
    y, z = latents(restore.model(runner.file), padded, rate, descent, progress)
    ready = copy.copy(runner)
    ready.analysis, ready.hyper_analysis = lambda x, rate: y, lambda y, rate: z
    return codec.encode(pixels, quality, model=ready)
