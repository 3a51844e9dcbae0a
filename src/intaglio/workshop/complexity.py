"""What a model costs: multiplications per pixel of the picture, counted on its convolutions."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from intaglio.workshop.integer import IntegerConv
from intaglio.workshop.models.photo import Photo

# What runs where; the parts are the keys of `macs_per_pixel`.
ENCODING = ("analysis", "hyper_analysis", "hyper_synthesis", "context")
DECODING = ("hyper_synthesis", "context", "synthesis")
_SIDE = 256  # pixels; a multiple of 64, so that no padding is counted


@torch.no_grad()
def macs_per_pixel(model: Photo) -> dict[str, float]:
    """Multiply-accumulates per pixel of the picture, by part: `analysis`, `hyper_analysis`, `hyper_synthesis`,
    `context` (its four steps together) and `synthesis`.

    A k x k convolution from I to O channels in G groups costs k k I O / G for each position of its output. Element-wise
    work and the tables over the quality scale, which are looked up once a picture, are left out. Runs the model on
    random numbers where it lies; its weights are left alone.
    """
    counts: dict[str, float] = dict.fromkeys((*ENCODING, *DECODING), 0.0)
    device = next(model.parameters()).device
    rate = torch.zeros(1, dtype=torch.int64, device=device)
    pictures = torch.rand(1, 3, _SIDE, _SIDE, device=device)
    hooks = []
    for part, module in _parts(model).items():
        for layer in module.modules():
            if isinstance(layer, (nn.Conv2d, IntegerConv)):
                hooks.append(layer.register_forward_hook(partial(_count, counts, part)))
    try:
        y = model.analysis(pictures, rate)
        side = model.hyper_synthesis(model.hyper_analysis(y, rate), rate)
        for step in model.context_steps:
            step(side, y, rate)
        model.synthesis(y, rate)
    finally:
        for hook in hooks:
            hook.remove()
    return {part: count / _SIDE**2 for part, count in counts.items()}


def _parts(model: Photo) -> dict[str, nn.Module]:
    return {
        "analysis": model.analysis,
        "hyper_analysis": model.hyper_analysis_net,
        "hyper_synthesis": model.hyper_synthesis,
        "context": model.context,
        "synthesis": model.synthesis,
    }


def _count(counts: dict[str, float], part: str, layer: nn.Conv2d | IntegerConv, inputs: Any, output: Tensor) -> None:
    counts[part] += output.numel() * layer.weight[0].numel()
