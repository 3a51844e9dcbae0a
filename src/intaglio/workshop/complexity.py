"""What a model costs: multiplications per pixel of the picture, counted on its convolutions."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from intaglio.workshop.coders import Round
from intaglio.workshop.gdn import GDN
from intaglio.workshop.integer import IntegerConv
from intaglio.workshop.models.base import Hyperprior, Model

# What runs where; the parts are the keys of `macs_per_pixel`.
ENCODING = ("analysis", "hyper_analysis", "hyper_synthesis", "given", "context")
DECODING = ("hyper_synthesis", "given", "context", "synthesis")
Layer = nn.Conv2d | nn.ConvTranspose2d | IntegerConv | GDN
LAYERS = (nn.Conv2d, nn.ConvTranspose2d, IntegerConv, GDN)
_SIDE = 256  # pixels; a multiple of 64, so that no padding is counted


@torch.no_grad()
def macs_per_pixel(model: Model) -> dict[str, float]:
    """Multiply-accumulates per pixel of the picture, by part: `analysis`, `hyper_analysis`, `hyper_synthesis`,
    `given` (what sees a given picture), `context` (its steps together) and `synthesis`.

    A k x k convolution from I to O channels in G groups costs k k I O / G for each position of its output, a transposed
    one for each of its input; GDN counts as the 1x1 convolution in it. Element-wise work, fixed
    filters that are no layers (one in a hundred of what models of given pictures do) and the tables over the quality
    scale, which are looked up once a picture, are left out. Runs the model on random numbers where it lies; its
    weights are left alone.
    """
    counts: dict[str, float] = dict.fromkeys((*ENCODING, *DECODING), 0.0)
    device = next(model.parameters()).device
    rate = torch.zeros(1, dtype=torch.int64, device=device)
    pictures = torch.randint(256, (1, 3, _SIDE, _SIDE), dtype=torch.uint8, device=device)
    hooks = []
    for part, module in _parts(model).items():
        for layer in module.modules():
            if isinstance(layer, LAYERS):
                hooks.append(layer.register_forward_hook(partial(_count, counts, part)))
    try:
        model.walk(model.pair(pictures), rate, Round(model.layout))
    finally:
        for hook in hooks:
            hook.remove()
    return {part: count / _SIDE**2 for part, count in counts.items()}


def _parts(model: Model) -> dict[str, nn.Module]:
    parts: dict[str, nn.Module] = {"analysis": model.analysis, "synthesis": model.synthesis}
    if isinstance(model, Hyperprior):
        parts |= {"hyper_analysis": model.hyper_analysis_net, "hyper_synthesis": model.hyper_synthesis}
        parts["context"] = model.context
        if model.given_net is not None:
            parts["given"] = model.given_net
    return parts


def _count(counts: dict[str, float], part: str, layer: Layer, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    positions = inputs[0] if isinstance(layer, nn.ConvTranspose2d) else output
    taps = len(layer.root_beta) if isinstance(layer, GDN) else layer.weight[0].numel()
    counts[part] += positions.numel() * taps
