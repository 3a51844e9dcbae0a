"""What a batch costs: the traversal with the coder that a run asks for, and its loss; one module, for DDP to wrap."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

from intaglio.errors import ArgumentError
from intaglio.workshop.coders import QUANTISERS, Hard, Soft, Summing
from intaglio.workshop.config import TrainConfig
from intaglio.workshop.loss import Criterion, rate_distortion
from intaglio.workshop.models.base import Model
from intaglio.workshop.quantise import annealed


class Apart:
    """A model whose entropy model sees y without passing gradients back to it: `intaglio.traversal.Net`."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self.layout, self.has_hyper = model.layout, model.has_hyper
        self.analysis = model.analysis

    def __getattr__(self, name: str) -> Any:
        """`z_rows` and `hyper_synthesis`, which only models with a z have."""
        return getattr(self._model, name)

    def hyper_analysis(self, y: Tensor, rate: Tensor) -> Tensor:
        """As the model's, of y without its history."""
        return self._model.hyper_analysis(y.detach(), rate)  # type: ignore[operator]

    @property
    def context_steps(self) -> Sequence[Callable[..., Any]]:
        """As the model's, of y_hat without its history."""

        def detached(step: Callable[..., Any]) -> Callable[..., Any]:
            return lambda side, y_hat, rate: step(side, y_hat.detach(), rate)

        return [detached(step) for step in self._model.context_steps]


class Objective(nn.Module):
    """Pictures uint8 (B,3,H,W) and rate steps int64 (B,) to the fields of a `RateDistortion`, each (B,)."""

    def __init__(self, model: Model, options: TrainConfig, autocast: Callable[[], AbstractContextManager[Any]]) -> None:
        """`autocast`: what the networks run in; the loss is computed in full precision."""
        super().__init__()
        self.model, self.autocast = model, autocast
        self.criterion = Criterion(options.distortion, options.lmbda, model.lmbdas)
        self.apart = options.rate_term == "log2"
        if model.trellis and (self.apart or options.quantiser != "slope"):
            wanted = 'set quantiser = "slope" and rate_term = "density"'
            raise ArgumentError(f"configuration: [train] a model with a trellis is trained along its paths: {wanted}")
        self.quantiser, self.alphas = QUANTISERS[options.quantiser], options.soft_alpha

    def _coder(self, progress: float, hard: bool) -> Summing:
        if self.model.trellis:
            return self.model.sloped()
        coder = (Hard if hard else self.quantiser)(self.model.layout, self.apart, self.model.error_cost)
        if isinstance(coder, Soft):
            coder.alpha = annealed(progress, *self.alphas)
        return coder

    def forward(self, batch: Tensor, rate: Tensor, progress: float, hard: bool) -> tuple[Tensor, ...]:
        """`progress`: 0..1, how much of the run is done; `hard`: round the latents, as the codec will."""
        pair = self.model.pair(batch)
        coder = self._coder(progress, hard)
        net = Apart(self.model) if self.apart else None
        with self.autocast():
            decoded = self.model.walk(pair, rate, coder, net)
        assert isinstance(coder.bits, Tensor)
        with torch.autocast(batch.device.type, enabled=False):  # DDP's module runs in it from the beginning
            found = rate_distortion(pair[0], decoded, coder.bits, rate, self.criterion, coder.closed)
        return found.bpp, found.mse, found.lmbda, found.weighted, found.closed
