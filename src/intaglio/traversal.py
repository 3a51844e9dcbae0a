"""The one traversal of every model.

Training, estimating, encoding and decoding walk a model through `latents`; only the coder differs:

    Noise (workshop)   adds noise for the rate, rounds straight through for the synthesis; sums bits
    Round              rounds; sums the bits that the frozen tables charge
    Encode             rounds, collects the slices in order; `finish()` codes them
    Decode             ignores its input and pulls the same slices

Shapes: B pictures, M latent channels of y on a grid of H x W (1/16 scale, both even), C channels of z on H/4 x W/4.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Generic, Protocol, TypeVar

Array = TypeVar("Array")

GROUPS = 4  # channel groups, and as many positions in a 2x2 cell


class Step(Protocol[Array]):
    """One context step: from what is known so far to the mean and table row of its own subset of y."""

    def __call__(self, side: Array, y_hat: Array, rate: Any, /) -> tuple[Array, Any]:
        """Returns `loc` and `index`, each (B, M, H/2, W/2): the channels in order, each group at its position."""
        ...


class Net(Protocol[Array]):
    """What the traversal asks of a model: PyTorch modules while training, ONNX Runtime sessions in the codec."""

    @property
    def context_steps(self) -> Sequence[Step[Array]]:
        """The context steps, in order."""
        ...

    def analysis(self, x: Any, rate: Any, /) -> Array:
        """Picture to y, (B, M, H, W). What a picture is, is the net's affair."""
        ...

    def hyper_analysis(self, y: Array, rate: Any, /) -> Array:
        """y to z, (B, C, H/4, W/4)."""
        ...

    def z_rows(self, rate: Any, /) -> Array:
        """Row of the scale table for each channel of z, broadcastable to z."""
        ...

    def hyper_synthesis(self, z_hat: Array, rate: Any, /) -> Array:
        """z_hat to side information on the grid of y."""
        ...


class Coder(ABC, Generic[Array]):
    """What to do with a latent. Abstract: `Noise`, `Round`, `Encode` and `Decode` are final."""

    @abstractmethod
    def factorized(self, z: Array | None, rows: Array) -> Array:
        """Handles z, whose table rows are known beforehand; returns z_hat."""

    @abstractmethod
    def empty_y(self, side: Array) -> Array:
        """y_hat before the first step: zeros, (B, M, H, W)."""

    @abstractmethod
    def gaussian(self, y: Array | None, y_hat: Array, params: tuple[Array, Any], step: int) -> Array:
        """Handles the subset of y that context step `step` codes; `params` are its loc and index; returns y_hat with
        it.
        """


def latents(net: Net[Array], x: Any, rate: Any, coder: Coder[Array]) -> Array:
    """Walks `net` and returns y_hat, (B, M, H, W). `x` is the picture, or None while decoding.

    `rate` is the step 0..198 of the quality scale. The picture is `net.synthesis(y_hat, rate)`; encoding never needs
    it.
    """
    y = None if x is None else net.analysis(x, rate)
    z = None if y is None else net.hyper_analysis(y, rate)
    z_hat = coder.factorized(z, net.z_rows(rate))
    side = net.hyper_synthesis(z_hat, rate)
    y_hat = coder.empty_y(side)
    for number, step in enumerate(net.context_steps):
        y_hat = coder.gaussian(y, y_hat, step(side, y_hat, rate), number)
    return y_hat


def subset(channels: int, step: int) -> list[tuple[slice, slice, slice, slice]]:
    """Index of each channel group's part of y that `step` codes: group g at the 2x2 position g XOR step."""
    size = channels // GROUPS
    positions = [divmod(group ^ step, 2) for group in range(GROUPS)]
    return [
        (slice(None), slice(group * size, (group + 1) * size), slice(dy, None, 2), slice(dx, None, 2))
        for group, (dy, dx) in enumerate(positions)
    ]
