"""The coders of a model whose y goes through a trellis (`intaglio.quantiser`), while training and in validation.

The path is the encoder's own, found by the native core; what it charges are its tables.
"""

from __future__ import annotations

from abc import abstractmethod
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from intaglio.quantiser import TRELLIS_TABLES, Trellis
from intaglio.scales import SCALES
from intaglio.traversal import Layout
from intaglio.workshop.coders import Likelihood, Round, Rows, Slope, Summing, felt

REACH = 512  # symbols beyond it are charged as it is


class _Followed(Summing):
    """A coder whose y goes along the path. Abstract."""

    def __init__(self, layout: Layout, trellis: Trellis) -> None:
        """`layout`: what each step codes; `trellis`: what y goes through."""
        super().__init__(layout)
        self.trellis = trellis

    @abstractmethod
    def _followed(self, value: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
        """A slice less its means (B,C,H,W) and its real rows, of that shape, to what is handed on, and its bits."""

    def gaussian(
        self, y: Tensor | None, y_hat: Tensor, params: tuple[Tensor, Tensor | Likelihood], step: int
    ) -> Tensor:
        """As `intaglio.traversal.Coder.gaussian`."""
        loc, index = params
        assert isinstance(index, Tensor)
        handed, bits = self._followed(self._slice_of(y, step) - loc, index)
        self.bits = self.bits + bits.sum((1, 2, 3))
        return self._placed(y_hat, handed + loc, step)


class FollowedSlope(_Followed, Slope):
    """As `Slope`: charges the path's symbols and hands them on, straight through; a latent feels what it would cost in
    the mean with noise. Rows of tables feel the difference to the next row.
    """

    def _followed(self, value: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
        handed, bits = along(self.trellis, value, index)
        return value + (handed - value).detach(), bits + felt(value, Rows(index))


class FollowedRound(_Followed, Round):
    """As `Round`, along the path."""

    def _followed(self, value: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
        return along(self.trellis, value, torch.floor(index + 0.5))


def along(trellis: Trellis, value: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    """A slice less its means (B,C,H,W) and its real rows, of that shape, to what the path makes of it, and its bits,
    whose gradient goes to the rows. What is not finite counts as 0 on the way.
    """
    known = torch.nan_to_num(index.detach()).clamp(0, SCALES - 1)  # a step that is lost is skipped later, not here
    rows = torch.floor(known + 0.5).to(torch.uint8).cpu().numpy()
    finite = torch.nan_to_num(value.detach().float(), posinf=0.0, neginf=0.0)
    symbols, used, steps = trellis.quantise(finite.cpu().numpy(), rows)
    odd = torch.from_numpy(used >= SCALES).to(value.device)
    place = torch.from_numpy(symbols.clip(-REACH, REACH) + REACH).to(value.device)
    below = known.floor().clamp(max=SCALES - 2).long()
    share = index - below
    table = _bits(trellis).to(value.device)
    near, far = (table[(below + odd * SCALES + more), place] for more in (0, 1))
    return torch.from_numpy(trellis.offsets(steps)).to(value.device), near + (far - near) * share


@lru_cache(maxsize=4)
def _bits(trellis: Trellis) -> Tensor:
    """What each symbol -REACH..REACH costs, float32 (128, 2 REACH + 1)."""
    symbols = np.arange(-REACH, REACH + 1, dtype=np.int32)[None].repeat(TRELLIS_TABLES, 0)
    rows = np.arange(TRELLIS_TABLES, dtype=np.uint8)[:, None].repeat(symbols.shape[1], 1)
    return torch.from_numpy(trellis.tables.bits(symbols, rows).astype(np.float32))
