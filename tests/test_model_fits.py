"""A model file whose tables, rows and configuration do not fit together is refused before anything runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from intaglio import modelfile
from intaglio.bundle import Model
from intaglio.errors import ModelError
from intaglio.modelfile import ModelFile
from tiny_model import tiny_file


@pytest.fixture
def tiny() -> ModelFile:
    return tiny_file()


def _with_array(name: str, array: np.ndarray | None) -> Callable[[ModelFile], ModelFile]:
    def edit(model: ModelFile) -> ModelFile:
        arrays = {key: value for key, value in model.arrays.items() if key != name}
        return replace(model, arrays=arrays if array is None else {**arrays, name: array})

    return edit


def _with_config(**values: Any) -> Callable[[ModelFile], ModelFile]:
    return lambda model: replace(model, config={**model.config, **values})


ARRAYS = {
    "tables.first": (None, np.zeros(1, np.int32), np.zeros(2, np.uint8), np.zeros((2, 1), np.int32)),
    "tables.sizes": (None, np.zeros(2, np.int32), np.full(2, 2**31 - 1, np.int32), np.zeros(0, np.int32)),
    "tables.frequencies": (None, np.ones(9, np.uint16), np.zeros(0, np.uint16), np.ones(9, np.float32)),
    "z_rows": (
        None,
        np.zeros((198, 4), np.uint8),
        np.zeros(199, np.uint8),
        np.zeros((199, 0), np.uint8),
        np.full((199, 4), 2, np.uint8),
        np.full((199, 4), -1, np.int32),
        np.zeros((199, 4), np.float32),
    ),
}
CONFIGS = [{"latent": value} for value in (None, "x", 0, -4, 6, 8.0, True, float("inf"), 10**9, [8])]
CONFIGS += [{"order": value} for value in (None, "x", "", 3)]
CONFIGS += [{"order": "channels", "slices": value} for value in (None, "x", 0, -1, 3, 2.0, 10**9)] + [{"slices": 2}]
CONFIGS += [{"rate": value} for value in (None, "x", -1, 199, 1.5, True)]
CONFIGS += [{"error_cost": value} for value in (None, "x", -1, 1e6, float("nan"), True)]
CONFIGS += [{"halo": value} for value in (None, "x", -1, 1.5, float("nan"), 10**9)]


@pytest.mark.parametrize(
    "edit",
    [_with_array(name, array) for name, arrays in ARRAYS.items() for array in arrays]
    + [_with_config(**values) for values in CONFIGS]
    + [lambda model: replace(model, config={})],
)
def test_tables_and_configuration_that_do_not_fit_are_refused(
    tiny: ModelFile, edit: Callable[[ModelFile], ModelFile]
) -> None:
    assert Model(tiny).layout.channels == 8
    wrong = edit(tiny)
    with pytest.raises(ModelError, match="does not fit together"):
        Model(modelfile.read(modelfile.write(wrong)))


LOC = [0, 1, -1, 2, 3, 1 - 2**24, 2**24 - 1, 7]  # in 1/16; float32 holds them all
WITHOUT_Z = {"y_rows": np.zeros(8, np.uint8), "y_loc": np.array(LOC, np.int32)}


@pytest.mark.parametrize(
    ("wrong", "config"),
    [
        ({"y_rows": np.zeros(7, np.uint8)}, {}),
        ({"y_rows": np.zeros(8, np.int32)}, {}),
        ({"y_rows": np.full(8, 2, np.uint8)}, {}),
        ({"y_rows": np.zeros((8, 1), np.uint8)}, {}),
        ({"y_loc": np.zeros(7, np.int32)}, {}),
        ({"y_loc": np.zeros(8, np.float32)}, {}),
        *(({"y_loc": np.array([0] * 7 + [loc], np.int32)}, {}) for loc in (2**24, -(2**24), 2**31 - 1, -(2**31))),
        ({}, {"order": "quad"}),
        ({}, {"slices": 2}),
    ],
)
def test_a_model_without_hyperprior_is_checked(
    wrong: dict[str, np.ndarray], config: dict[str, Any], tiny: ModelFile
) -> None:
    arrays = {name: array for name, array in tiny.arrays.items() if name != "z_rows"} | WITHOUT_Z
    graphs = {name: graph for name, graph in tiny.graphs.items() if name != "hyper_analysis"}
    right = replace(tiny, arrays=arrays, graphs=graphs, config={**tiny.config, "order": "channels"})
    model = Model(modelfile.read(modelfile.write(right)))
    assert not model.has_hyper
    loc, rows = model.context_steps[0](None, np.zeros((1, 8, 4, 4), np.float32), 0)
    assert np.array_equal(loc[0, :, 3, 3].astype(np.float64) * 16, LOC)
    assert rows.shape == loc.shape
    assert (loc.dtype, rows.dtype) == (np.float32, np.uint8)
    refused = replace(right, arrays={**arrays, **wrong}, config={**right.config, **config})
    with pytest.raises(ModelError, match="does not fit together"):
        Model(modelfile.read(modelfile.write(refused)))
