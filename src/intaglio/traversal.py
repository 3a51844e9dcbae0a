"""The one traversal of every model.

Training, estimating, encoding and decoding walk a model through `latents`; only the coder differs:

    Mixed (workshop)   adds noise for the rate, rounds straight through for the synthesis; sums bits
    Round              rounds; sums the bits that the frozen tables charge
    Encode             rounds, collects the slices in order; `finish()` codes them
    Decode             ignores its input and pulls the same slices

Shapes: B pictures, M latent channels of y on a grid of H x W (1/16 scale, both multiples of 4), C channels of z on
H/4 x W/4.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from intaglio.errors import ArgumentError

Array = TypeVar("Array")
Index = tuple[slice, slice, slice, slice]

HYPER_SCALE = 4  # z lives at 1/4 of y's scale
GROUPS = 4  # channel groups of "quad", and as many positions in a 2x2 cell
ORDERS = ("quad", "checkerboard", "channels")


@dataclass(frozen=True)
class Layout:
    """Which part of y (B, M, H, W) each context step codes.

    quad: four channel groups, four steps; step k codes group g at the 2x2 position g XOR k (Li et al. 2023, DCVC-DC).
    checkerboard: two steps, the even diagonal of every 2x2 cell first (He et al. 2021).
    channels: `slices` steps, each a run of M / slices channels, everywhere (Minnen and Singh 2020); with one slice, the
    plain hyperprior or factorized model.
    """

    channels: int
    order: str = "quad"
    slices: int = 1  # of "channels" only

    def __post_init__(self) -> None:
        """Raises ArgumentError unless there is such an order, and the channels can be shared out."""
        if self.order not in ORDERS:
            raise ArgumentError(f"order is {self.order!r}; it must be one of {', '.join(ORDERS)}")
        groups = GROUPS if self.order == "quad" else self.slices
        if self.slices < 1 or (self.slices > 1 and self.order != "channels"):
            raise ArgumentError(f"slices is {self.slices}; it must be 1, or more with the order 'channels'")
        if self.channels < 1 or self.channels % groups:
            raise ArgumentError(f"{self.channels} latent channels do not make {groups} groups; give a multiple")

    @property
    def steps(self) -> int:
        """How many context steps there are."""
        return {"quad": GROUPS, "checkerboard": 2}.get(self.order, self.slices)

    def parts(self, step: int) -> list[Index]:
        """Where the parts of y that `step` codes lie; along the channels one after another, they are its slice."""
        if self.order == "quad":
            positions = [divmod(group ^ step, 2) for group in range(GROUPS)]
            return [self._cell(group, GROUPS, position) for group, position in enumerate(positions)]
        if self.order == "checkerboard":
            return [self._cell(0, 1, (row, row ^ step)) for row in range(2)]
        return [(slice(None), self._run(step, self.slices), slice(None), slice(None))]

    def widths(self, step: int) -> list[int]:
        """How many channels each of those parts has."""
        return [part[1].stop - part[1].start for part in self.parts(step)]

    def seen(self, step: int) -> int:
        """How many channels of y, from the first on, earlier steps have coded, at least in places."""
        return self.parts(step)[0][1].start if self.order == "channels" else self.channels if step else 0

    def _run(self, number: int, count: int) -> slice:
        size = self.channels // count
        return slice(number * size, (number + 1) * size)

    def _cell(self, number: int, count: int, position: tuple[int, int]) -> Index:
        row, column = position
        return slice(None), self._run(number, count), slice(row, None, 2), slice(column, None, 2)


class Step(Protocol[Array]):
    """One context step: from what is known so far to the mean and table row of its own subset of y."""

    def __call__(self, side: Any, y_hat: Array, rate: Any, /) -> tuple[Array, Any]:
        """Returns `loc` and `index` of the step's slice, (B, channels, H/2, W/2) or, where it codes every position,
        (B, channels, H, W); see `Layout.parts`. `index` is the row of the coder's table, or while training what
        stands for it.
        """
        ...


class Net(Protocol[Array]):
    """What the traversal asks of a model: PyTorch modules while training, ONNX Runtime sessions in the codec."""

    @property
    def layout(self) -> Layout:
        """What each context step codes."""
        ...

    @property
    def has_hyper(self) -> bool:
        """Whether there is a z; if not, the three parts that deal with it are never asked."""
        ...

    @property
    def context_steps(self) -> Sequence[Step[Array]]:
        """The context steps, in order; with neither z nor context, one that knows y's tables beforehand."""
        ...

    def analysis(self, x: Any, rate: Any, /) -> Array:
        """Picture to y, (B, M, H, W). What a picture is, and how what is given comes with it, is the net's affair."""
        ...

    def hyper_analysis(self, y: Array, rate: Any, /) -> Array:
        """y to z, (B, C, H/4, W/4)."""
        ...

    def z_rows(self, rate: Any, /) -> Any:
        """Row of the coder's table for each channel of z, broadcastable to z; while training what stands for it."""
        ...

    def hyper_synthesis(self, z_hat: Array, rate: Any, /) -> Array:
        """z_hat to side information on the grid of y."""
        ...

    def gains(self, side: Array, rate: Any, /) -> tuple[Array, Array] | None:
        """What y is multiplied by before it is coded, and y_hat after, both (B, M, H, W), from the side information of
        z; None for a net without gains. See `intaglio.gains`.
        """
        ...

    def given_side(self, side: Array, given: Any, rate: Any, /) -> Array:
        """Side information followed by what is known from the given picture; asked only where there is one."""
        ...


class Coder(ABC, Generic[Array]):
    """What to do with a latent. Abstract: `Round`, `Encode` and `Decode` are final, as are the workshop's."""

    @abstractmethod
    def factorized(self, z: Array | None, rows: Any) -> Array:
        """Handles z, whose table rows are known beforehand; returns z_hat."""

    @abstractmethod
    def empty_y(self, y: Array | None) -> Array:
        """y_hat before the first step: zeros, (B, M, H, W)."""

    @abstractmethod
    def gaussian(self, y: Array | None, y_hat: Array, params: tuple[Array, Any], step: int) -> Array:
        """Handles the subset of y that context step `step` codes; `params` are its loc and index; returns y_hat with
        it.
        """


def latents(net: Net[Array], x: Any, rate: Any, coder: Coder[Array], given: Any = None) -> Array:
    """Walks `net` and returns y_hat, (B, M, H, W). `x` is the picture, or None while decoding.

    `rate` is the step 0..198 of the quality scale; `given` is what both ends have, if the net asks for it. The picture
    is `net.synthesis(y_hat, rate)`, or `net.synthesis(y_hat, rate, given)`; encoding never needs it.
    """
    y = None if x is None else net.analysis(x, rate)
    side = gains = None
    if net.has_hyper:
        z = None if y is None else net.hyper_analysis(y, rate)
        z_hat = coder.factorized(z, net.z_rows(rate))
        side = net.hyper_synthesis(z_hat, rate)
        if (gains := net.gains(side, rate)) is not None and y is not None:
            y = y * gains[0]  # type: ignore[operator]
        side = side if given is None else net.given_side(side, given, rate)
    y_hat = coder.empty_y(y)
    for number, step in enumerate(net.context_steps):
        y_hat = coder.gaussian(y, y_hat, step(side, y_hat, rate), number)
    return y_hat if gains is None else y_hat * gains[1]  # type: ignore[operator]
