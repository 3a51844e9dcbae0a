"""A model's weights from a model file, to go on training from them."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor

from intaglio import modelfile
from intaglio.errors import ArgumentError, ModelError
from intaglio.integer import Network, from_arrays
from intaglio.modelfile import ModelFile
from intaglio.quality import MAX_RATE
from intaglio.quantiser import Trellis, first_of_z
from intaglio.rans import Tables
from intaglio.scales import LOC_STEPS
from intaglio.workshop import models
from intaglio.workshop.densities import bits
from intaglio.workshop.entropy import DeepFactorized
from intaglio.workshop.integer import Placed, thaw
from intaglio.workshop.layers import RateTable
from intaglio.workshop.models.base import Model

_NOT_IN_GRAPHS = ("hyper_synthesis.", "context.", "given_net.", "prior.", "z_prior.")
# From "hardly ever but 0" to wider than any table, in steps of an eighth; which one of them costs next to nothing.
SCALES_TRIED = np.geomspace(0.05, 5000.0, 98)
_PREFIXES = {"hyper_analysis": "hyper_analysis_net."}


def read(path: str | Path) -> ModelFile:
    """The model file at `path`. Raises ArgumentError if it cannot be read, ModelError if it is damaged."""
    try:
        return modelfile.read(Path(path).read_bytes())
    except OSError as error:
        raise ArgumentError(f"model {path} cannot be read: {error.strerror}") from None


def model(file: ModelFile) -> Model:
    """The file's model with its weights, in evaluation mode, its integer networks, scale of lambda and dead zones those
    of the file. Raises ArgumentError for a network that the workshop does not know, ModelError naming a fault.
    """
    network = str(file.config.get("network", file.name))
    known = {field.name for field in fields(models.MODELS[network][1])} if network in models.MODELS else set()
    made = models.build(network, **{key: value for key, value in file.config.items() if key in known})
    made.load_state_dict(weights(file, made, hold=True))
    made.lmbdas, made.error_cost = file.lmbdas, file.config.get("error_cost", 0.0)  # type: ignore[misc]
    if made.trellis:
        made.trellis = Trellis(_tables(file), made.trellis.size, made.error_cost)
    return made.eval()


def weights(file: ModelFile, model: Model, hold: bool = False) -> dict[str, Tensor]:
    """A state dictionary for `model`, whose integer networks are set on the way. Raises ModelError naming a fault.

    hold: leave the exponents of the integer networks as the file has them, instead of free for training.

    Weights come back as the file stores them, large ones rounded to 16 bits; the rows of z's tables to half a row. A
    factorized prior is in the file as tables only: it starts anew, close to them.
    """
    for name, part in model.networks().items():
        network = from_arrays(name, file.arrays, model.layout)
        _thaw(network, part.placed(), file.name)
        _check(network, part.frozen(), file.name)
        for placed in () if hold else part.placed().values():
            placed.limit()
    _start_prior(file, model)
    wanted = model.state_dict()
    found = {name: value.clone() for name, value in wanted.items() if name.startswith(_NOT_IN_GRAPHS)}
    for graph, data in file.graphs.items():
        prefix = _PREFIXES.get(graph, f"{graph}.")
        for tensor in onnx.load_from_string(data).graph.initializer:
            name = prefix + tensor.name.removesuffix(".half").removeprefix("part.")
            if name in wanted:
                found[name] = torch.from_numpy(numpy_helper.to_array(tensor).astype(np.float32))
    rows, table = file.arrays.get("z_rows"), getattr(model, "z_index", None)
    if rows is not None and isinstance(table, RateTable) and len(rows) > MAX_RATE:
        rates = np.round(np.linspace(0, MAX_RATE, len(table.anchors))).astype(int)
        before = first_of_z(file.config.get("trellis"))
        found["z_index.anchors"] = torch.from_numpy(rows[rates].astype(np.float32) - before) / table.unit
    for name, value in wanted.items():
        if name not in found or found[name].shape != value.shape:
            raise ModelError(
                f"model file {file.name!r} has no {name} of shape {tuple(value.shape)}; is it the same model?"
            )
    return found


def _start_prior(file: ModelFile, model: Model) -> None:
    """Sets each channel of a factorized prior to the logistic distribution that its table's symbols cost least under.

    Its median is what symbol 0 stands for: of z 0, of y the mean that the file gives.
    """
    prior = getattr(model, "z_prior" if model.has_hyper else "prior", None)
    if not isinstance(prior, DeepFactorized):
        return
    arrays, nothing = file.arrays, np.zeros(0)
    if model.has_hyper:
        rows, loc = arrays.get("z_rows", nothing[None])[0], np.zeros(prior.rows)
    else:
        rows, loc = arrays.get("y_rows", nothing), arrays.get("y_loc", nothing) / LOC_STEPS
    scales = _scales(_tables(file))
    if not len(rows) == len(loc) == prior.rows or int(rows.max()) >= len(scales):
        wanted = f"a table for each of {prior.rows} channels"
        raise ModelError(f"model file {file.name!r} does not have {wanted}; is it the same model?")
    fresh = DeepFactorized(prior.rows, initial_scale=1.0)
    fresh.shrink(1.0 / scales[torch.from_numpy(rows.astype(np.int64))])
    fresh.centre(torch.from_numpy(loc).float())
    prior.load_state_dict(fresh.state_dict())


def _tables(file: ModelFile) -> Tables:
    named = {name.removeprefix("tables."): each for name, each in file.arrays.items() if name.startswith("tables.")}
    return Tables.from_arrays(named)


def _scales(tables: Tables) -> Tensor:
    """For each table the scale, (N,), of those tried, of the logistic distribution around 0 that gives the smallest
    cross-entropy.
    """
    scales, ends = torch.from_numpy(SCALES_TRIED).float()[:, None], np.cumsum(tables.sizes)
    best = []
    for first, size, end in zip(tables.first, tables.sizes, ends, strict=True):
        share = torch.from_numpy(tables.frequencies[end - size : end - 1].astype(np.float32))  # without the escape
        symbols = first + torch.arange(size - 1, dtype=torch.float32)
        best.append(scales[(share * bits(symbols, scales, "logistic")).sum(1).argmin(), 0])
    return torch.stack(best)


def _thaw(network: Network, layers: dict[str, Placed], name: str) -> None:
    for key, placed in layers.items():
        layer = network.layers[key]
        if layer.weight.shape != tuple(placed.conv.weight.shape):
            shapes = f"{layer.weight.shape}, not {tuple(placed.conv.weight.shape)}"
            raise ModelError(f"model file {name!r}: {network.name}.{key} has the shape {shapes}; is it the same model?")
        thaw(layer, placed)


def _check(network: Network, again: Network, name: str) -> None:
    """Raises ModelError unless the weights came back as they were: other exponents may have no place for them."""
    same = [
        np.array_equal(layer.weight, again.layers[key].weight) and np.array_equal(layer.shift, again.layers[key].shift)
        for key, layer in network.layers.items()
    ]
    planes, other = network.planes, again.planes
    if planes and other:
        same += [np.array_equal(planes.channel, other.channel), np.array_equal(planes.exponent, other.exponent)]
    if not all(same) or (planes is None) != (other is None):
        raise ModelError(f"model file {name!r}: {network.name} was trained with other exponents; it cannot be restored")
