"""What entropy models cannot be made of or asked is refused in one line that names it and says what was expected."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from intaglio.errors import ArgumentError
from intaglio.workshop.entropy import DeepFactorized, Mixture, ParametricFactorized, ScaleFamily, scale_grid

ROW = torch.full((1, 2), 0.5)
MANY = ROW.expand(257, 2)
TWO_ROWS = Mixture(ROW.expand(2, 2), ROW.expand(2, 2), ROW.expand(2, 2))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda: DeepFactorized(257), "257 rows: 1 to 256"),
        (lambda: ParametricFactorized(0), "0 rows: 1 to 256"),
        (lambda: DeepFactorized(2.5), "2.5 rows: 1 to 256 are possible, a whole number"),  # type: ignore[arg-type]
        (lambda: ParametricFactorized(True), "True rows"),
        (lambda: DeepFactorized(2, (3, 0)), r"widths \(3, 0\) is 0; it must be a whole number, 1 or more"),
        (lambda: DeepFactorized(2, (2.5,)), r"widths \(2.5,\) is 2.5"),  # type: ignore[arg-type]
        (lambda: DeepFactorized(2, 3), "widths is of type int; it must be a tuple"),  # type: ignore[arg-type]
        (lambda: DeepFactorized(2, initial_scale="a"), "initial_scale is 'a'"),  # type: ignore[arg-type]
        (lambda: DeepFactorized(2, initial_scale=0.0), "initial_scale is 0.0"),
        (lambda: ParametricFactorized(2, initial_scale=math.nan), "initial_scale is nan"),
        (lambda: ParametricFactorized(2, components=0), "components is 0"),
        (lambda: ParametricFactorized(2, components=1.5), "components is 1.5"),  # type: ignore[arg-type]
        (lambda: ParametricFactorized(2, "cauchy"), "'cauchy'"),
        (lambda: ScaleFamily("cauchy"), "'cauchy'"),
        (lambda: ScaleFamily(rounding="sideways"), "'sideways'.*up, down, nearest"),
        (lambda: ScaleFamily(rounding=[]), r"rounding is \[\].*up, down, nearest"),  # type: ignore[arg-type]
        (lambda: ScaleFamily(scales=["a", "b"]), "scales must be a list of numbers"),  # type: ignore[arg-type]
        (lambda: ScaleFamily(scales=[]), r"scales of shape \(0,\)"),
        (lambda: ScaleFamily(scales=np.geomspace(0.1, 9, 257)), r"scales of shape \(257,\)"),
        (lambda: ScaleFamily(scales=[[1.0, 2.0]]), r"scales of shape \(1, 2\)"),
        (lambda: ScaleFamily(scales=[0.0, 1.0]), r"scales of shape \(2,\) must lie above 0"),
        (lambda: ScaleFamily(scales=[-1.0, 1.0]), "above 0"),
        (lambda: ScaleFamily(scales=[1.0, math.inf]), "up to 4096"),
        (lambda: ScaleFamily(scales=[1.0, math.nan]), "up to 4096"),
        (lambda: ScaleFamily(scales=[1.0, 2.0, 3.0]), "constant factor"),
        (lambda: ScaleFamily(scales=[2.0, 1.0]), "rise"),
        (lambda: scale_grid(257), "257 scales"),
        (lambda: scale_grid(1), "1 scales"),
        (lambda: scale_grid(64.5), "64.5 scales.*give a whole number, 2 to 256"),  # type: ignore[arg-type]
        (lambda: scale_grid(4, "a"), "4 scales from 'a' to 64.0"),  # type: ignore[arg-type]
        (lambda: scale_grid(4, 1.0, math.inf), "4 scales from 1.0 to inf"),
        *(
            (
                lambda bad=bad: ScaleFamily().position(torch.tensor([1.0, bad])),
                r"scale of shape \(2,\) must be finite; 1",
            )
            for bad in (math.nan, math.inf, -math.inf)
        ),
        (lambda: ScaleFamily().position(1.0), "scale is of type float; it must be a tensor"),  # type: ignore[arg-type]
        (lambda: ScaleFamily().row(torch.tensor([math.nan])), r"index of shape \(1,\) must be finite"),
        (lambda: scale_grid(4, 2.0, 1.0), "4 scales from 2.0 to 1.0"),
        (lambda: scale_grid(4, math.nan, 1.0), "4 scales from nan"),
        (lambda: Mixture(1.2 * ROW, ROW, ROW), r"weights of shape \(1, 2\) must sum to 1"),
        (lambda: Mixture(ROW, ROW, 0 * ROW), r"scales of shape \(1, 2\)"),
        (lambda: Mixture(ROW, ROW, ROW[0]), r"weights \(1, 2\).*scales \(2,\)"),
        (lambda: Mixture(ROW[0], ROW[0], ROW[0]), r"weights of shape \(2,\) must be floating, \(N, K\)"),
        (lambda: Mixture(MANY, MANY, MANY), "257 rows"),
        (lambda: Mixture(ROW[:0], ROW[:0], ROW[:0]), "0 rows"),
        (lambda: Mixture(ROW, ROW, ROW).bits(ROW, torch.tensor(1)), r"index of shape \(\) must be rows, whole, 0 to 0"),
        (lambda: Mixture(ROW, ROW, ROW).bits(ROW, torch.tensor(-1)), "index"),
        *(
            (
                lambda bad=bad, use=use: use(torch.tensor([0.0, bad, 1.0])),
                r"index of shape \(3,\).*rows, whole, 0 to 1; 1 of",
            )
            for bad in (2.0, -1.0, 0.5, 300.0, math.nan, math.inf)
            for use in (TWO_ROWS.row, lambda index: TWO_ROWS.bits(torch.ones(3), index))
        ),
        (lambda: TWO_ROWS.row(2), "index is of type int; it must be a tensor"),  # type: ignore[arg-type]
        (lambda: ScaleFamily().bits(torch.ones(3), 1.0), "index is of type float"),  # type: ignore[arg-type]
        (lambda: DeepFactorized(3).bits(np.ones((1, 3))), "value is of type ndarray"),  # type: ignore[arg-type]
        (lambda: Mixture([[1.0]], ROW, ROW), "weights is of type list"),  # type: ignore[arg-type]
        (lambda: ScaleFamily().bits(torch.ones(3), torch.ones(2)), r"index of shape \(2,\).*value, of shape \(3,\)"),
        (lambda: ScaleFamily().bits(torch.ones(3), torch.ones(2, 3)), r"index of shape \(2, 3\)"),
        (
            lambda: DeepFactorized(3).bits(torch.ones(1, 4, 2, 2)),
            r"value of shape \(1, 4, 2, 2\) must be \(B, 3, ...\)",
        ),
        (lambda: DeepFactorized(3).bits(torch.ones(3)), r"value of shape \(3,\)"),
    ],
)
def test_arguments_that_cannot_be_are_named_with_what_was_expected(wrong: Callable[[], object], said: str) -> None:
    with pytest.raises(ArgumentError, match=said) as caught:
        wrong()
    assert "\n" not in str(caught.value)
