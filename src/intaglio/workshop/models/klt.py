"""Starting a staged transform from the KLT: in each stage the principal components of what the one before keeps.

Stage by stage, patches of stride x stride positions are turned into their principal components, the first `width` of
them kept (Goyal 2001 on the KLT in transform coding); the synthesis gets the transpose. Without nonlinearities the two
make one orthonormal transform of 16 x 16 patches and its inverse on what is kept; GDN starts close to doing nothing.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from intaglio.workshop.data import at_least
from intaglio.workshop.layers import Shuffled

SIDE = 128  # pixels of the middle of each picture
REST = 0.02  # what the random weights beside the transform are scaled by
FAINT = 0.02  # deviations below it count as it where a stage evens out its channels

Up = nn.ConvTranspose2d | Shuffled


@torch.no_grad()
def start_linear(downs: list[nn.Conv2d], ups: list[Up], pictures: list[NDArray[np.uint8]], gain: float) -> Tensor:
    """Sets the convolutions of an analysis and, in the same order, those of the synthesis that undo them.

    Pictures uint8 (H,W,3); `gain`: of y over an orthonormal transform of 0..1. Between the stages each channel is
    divided by the root of its deviation, halfway to equal power. Returns the deviations of y's channels, (M,).
    """
    x, before = _middles(pictures), torch.ones(3)
    for number, (down, up) in enumerate(zip(downs, ups, strict=True)):
        stride = down.stride[0]
        basis, deviation = _components(x, stride, down.out_channels)
        last = number == len(downs) - 1
        after = torch.full_like(deviation, 1.0 / gain) if last else deviation.clamp_min(FAINT).sqrt()
        _set_down(down, basis * before[:, None, None] / after[:, None, None, None])
        _set_up(up, basis * after[:, None, None, None] / before[:, None, None])
        x, before = F.conv2d(x, basis, stride=stride), after
    spread = torch.zeros(downs[-1].out_channels)
    spread[: x.shape[1]] = gain * x.square().mean((0, 2, 3)).sqrt()
    return spread


def _middles(pictures: list[NDArray[np.uint8]]) -> Tensor:
    """(n,3,SIDE,SIDE), 0..1 less 1/2."""
    crops = []
    for picture in pictures:
        whole = at_least(picture, SIDE)
        top, left = (whole.shape[0] - SIDE) // 2, (whole.shape[1] - SIDE) // 2
        crops.append(whole[top : top + SIDE, left : left + SIDE])
    return torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).float() / 255.0 - 0.5


def _components(x: Tensor, stride: int, width: int) -> tuple[Tensor, Tensor]:
    """Principal components of the patches of x (n,C,h,w), (K,C,stride,stride), and their deviations (K,), falling."""
    patches = F.unfold(x, stride, stride=stride).transpose(0, 1).flatten(1)
    values, vectors = torch.linalg.eigh((patches @ patches.t() / patches.shape[1]).double())
    kept = vectors.flip(1)[:, :width].t().float()
    return kept.reshape(-1, x.shape[1], stride, stride), values.flip(0)[:width].clamp_min(0.0).sqrt().float()


def _block(kernel: int, patch: int) -> slice:
    """The taps that cover a position's own patch: output o of a strided convolution sees inputs from o stride on."""
    return slice(kernel // 2, kernel // 2 + patch)


def _set_down(layer: nn.Conv2d, wanted: Tensor) -> None:
    taps = _block(layer.kernel_size[0], wanted.shape[2])
    layer.weight.mul_(REST)
    layer.weight[: wanted.shape[0], : wanted.shape[1], taps, taps] = wanted.to(layer.weight.device)


def _set_up(layer: Up, wanted: Tensor) -> None:
    outputs, inputs, patch, _ = wanted.shape
    weight = layer.weight if isinstance(layer, nn.ConvTranspose2d) else layer.conv.weight
    weight.mul_(REST)
    wanted = wanted.to(weight.device)
    if isinstance(layer, nn.ConvTranspose2d):
        taps = _block(layer.kernel_size[0], patch)
        weight[:outputs, :inputs, taps, taps] = wanted
    else:  # outputs of the convolution run over (channel, row, column)
        middle = layer.conv.kernel_size[0] // 2
        weight[: inputs * patch**2, :outputs, middle, middle] = wanted.flatten(1).t()
