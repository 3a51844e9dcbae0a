"""Integer networks: what chooses every coding table, exact on every machine.

A layer maps integers to integers:

    sum = bias[rate] + convolution(weight, input)          |sum| < 2^23, proved when the model is exported
    out = floor((sum + 1/2) 2^-shift[rate])                clamped to 0..255 unless it is the last

Weights are 8 bits wide, inputs 0..255 or -127..127; bias, int32, holds the half that makes floor a rounding. The
1/2 keeps every sum half a unit from where floor jumps, so that a float32 convolution, whose sums are exact below 2^24
in any order, gives the integer answer, and one that errs by less than that half does too.

A network is a few layers in a fixed arrangement, `hyper_synthesis`, one of `context_0`, `context_1`, .., a step of
the layout each, or `given`, for models that are given a picture; held as arrays `<network>.<layer>.weight | bias |
shift` in the model file. `to_onnx` makes the graph that runs it; `Reference` is the same in slow NumPy, on 64-bit
floats that are whole numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intaglio.errors import ModelError
from intaglio.onnxwriter import Graph
from intaglio.quality import RATES
from intaglio.scales import LOC_STEPS, SCALES
from intaglio.traversal import Index, Layout

LEVELS = 255  # of an activation
PLANE_LIMIT = 127  # of an input plane, either way
SUM_LIMIT = 1 << 23
MAX_WIDTH = 1 << 13  # channels of a layer, of any network of ours
MAX_SHIFT = 24  # more would leave nothing of any sum
PLANE_EXPONENTS = (-16, 4)
HYPER, GIVEN, _STEP = "hyper_synthesis", "given", "context_"
HYPER_LAYERS = ("first", "to_half", "to_full")
GIVEN_LAYERS = ("first", "second", "side")
CELL = 4  # a given picture goes down to the grid of y in two steps of 4

Ints = NDArray[np.float64]  # whole numbers
_FLOAT32, _UINT8, _INT64 = 1, 2, 7  # TensorProto.DataType


@dataclass(frozen=True)
class Layer:
    """One layer: weight int8 (O,I,k,k), k 1 or 3; bias int32 (RATES,O); shift int8 (RATES,O), 1..MAX_SHIFT."""

    weight: NDArray[np.int8]
    bias: NDArray[np.int32]
    shift: NDArray[np.int8]

    def largest_sum(self, inputs: NDArray[np.int64]) -> NDArray[np.int64]:
        """Bound of |sum| for each output channel, (O,), the 1/2 counted as 1; `inputs`: bound of each input, (I,)."""
        reach = np.einsum("oikl,i->o", np.abs(self.weight.astype(np.int64)), inputs)
        return reach + np.abs(self.bias.astype(np.int64)).max(0) + 1


@dataclass(frozen=True)
class Planes:
    """How a context step sees y_hat: plane p is channel[p] of it, `clamp(floor(y_hat 2^exponent[rate,p] + 1/2))`.

    channel: int32 (P,); exponent: int8 (RATES,P), within PLANE_EXPONENTS.
    """

    channel: NDArray[np.int32]
    exponent: NDArray[np.int8]


@dataclass(frozen=True)
class Network:
    """The layers of one network by name, for a context step that sees y_hat its planes, and the model's layout."""

    name: str
    layers: Mapping[str, Layer]
    planes: Planes | None
    layout: Layout

    @property
    def is_step(self) -> bool:
        """Whether it is a context step."""
        return self.name.startswith(_STEP)

    @property
    def step(self) -> int:
        """The number of a context step."""
        return int(self.name.removeprefix(_STEP))

    def heads(self) -> Iterator[tuple[str, Index, int]]:
        """For each head of a context step: its name, where its part of y lies, and how many channels that has."""
        return zip(
            head_names(self.layout, self.step), self.layout.parts(self.step), self.layout.widths(self.step), strict=True
        )


def step_names(layout: Layout) -> tuple[str, ...]:
    """Names of the context steps' networks, in order."""
    return tuple(f"{_STEP}{step}" for step in range(layout.steps))


def head_names(layout: Layout, step: int) -> tuple[str, ...]:
    """Names of a context step's last layers: one for each part of y that it codes."""
    return tuple(f"head_{part}" for part in range(len(layout.parts(step))))


def layer_names(network: str, layout: Layout) -> tuple[str, ...]:
    """Names of a network's layers, in order."""
    if network in (HYPER, GIVEN):
        return HYPER_LAYERS if network == HYPER else GIVEN_LAYERS
    return "first", "second", *head_names(layout, int(network.removeprefix(_STEP)))


def to_arrays(network: Network) -> dict[str, NDArray[Any]]:
    """The network as arrays by name, for a model file."""
    arrays: dict[str, NDArray[Any]] = {}
    for name, layer in network.layers.items():
        start = f"{network.name}.{name}"
        arrays |= {f"{start}.weight": layer.weight, f"{start}.bias": layer.bias, f"{start}.shift": layer.shift}
    if network.planes:
        arrays[f"{network.name}.planes.channel"] = network.planes.channel
        arrays[f"{network.name}.planes.exponent"] = network.planes.exponent
    return arrays


def from_arrays(name: str, arrays: Mapping[str, NDArray[Any]], layout: Layout) -> Network:
    """Inverse of `to_arrays`; checks everything that the guarantee rests on. Raises ModelError."""
    try:
        layers = {
            layer: Layer(*(arrays[f"{name}.{layer}.{part}"] for part in ("weight", "bias", "shift")))
            for layer in layer_names(name, layout)
        }
        planes = None
        if name.startswith(_STEP) and f"{name}.planes.channel" in arrays:
            planes = Planes(arrays[f"{name}.planes.channel"], arrays[f"{name}.planes.exponent"])
    except KeyError as error:
        raise ModelError(f"the model file has no {error}") from None
    network = Network(name, layers, planes, layout)
    if fault := _fault(network):
        raise ModelError(f"integer network {name} of the model file is refused: {fault}")
    return network


def _fault(network: Network) -> str | None:
    for name, layer in network.layers.items():
        if fault := _shape_fault(network, name, layer):
            return f"layer {name} {fault}"
        bounds = _input_bounds(network, name)
        if bounds is None or len(bounds) != layer.weight.shape[1]:
            return f"layer {name} does not fit the one before"
        worst = layer.largest_sum(bounds)
        channel = int(worst.argmax())
        if worst[channel] >= SUM_LIMIT:
            return f"layer {name}, channel {channel}: sums may reach {worst[channel]}, {SUM_LIMIT} is the limit"
    return _planes_fault(network) if network.planes else None


def _shape_fault(network: Network, name: str, layer: Layer) -> str | None:
    weight, shift = layer.weight, layer.shift
    if (weight.dtype, layer.bias.dtype, shift.dtype) != (np.int8, np.int32, np.int8) or weight.ndim != 4:
        return "has arrays of another kind"
    outputs, inputs, *kernel = weight.shape
    if kernel not in ([1, 1], [3, 3]) or not 0 < outputs <= MAX_WIDTH or not 0 < inputs <= MAX_WIDTH:
        return f"has weights of shape {weight.shape}"
    if not layer.bias.shape == shift.shape == (RATES, outputs) or shift.min() < 1 or shift.max() > MAX_SHIFT:
        return "does not fit its own tables"
    if (name in HYPER_LAYERS[1:] and outputs % 4) or outputs != _head_outputs(network).get(name, outputs):
        return f"has {outputs} outputs"
    return None


def _head_outputs(network: Network) -> dict[str, int]:
    """Outputs of each head: a mean and a table for every channel of its part."""
    if not network.is_step:
        return {}
    return {name: 2 * width for name, _, width in network.heads()}


def _planes_fault(network: Network) -> str | None:
    assert network.planes
    channel, exponent = network.planes.channel, network.planes.exponent
    kinds = channel.dtype, exponent.dtype, channel.shape, exponent.shape
    if not 0 < channel.size <= MAX_WIDTH or kinds != (np.int32, np.int8, (channel.size,), (RATES, channel.size)):
        return "its planes have arrays of another kind"
    if channel.min() < 0 or channel.max() >= network.layout.channels:
        return f"its planes show channels beyond the {network.layout.channels} that there are"
    if exponent.min() < PLANE_EXPONENTS[0] or exponent.max() > PLANE_EXPONENTS[1]:
        return "the exponents of its planes are beyond {} to {}".format(*PLANE_EXPONENTS)
    return None


def _input_bounds(network: Network, name: str) -> NDArray[np.int64] | None:
    """Bound of each input of a layer, or None if the arrangement makes no sense."""
    layers = network.layers
    if name == "first":
        width = layers["first"].weight.shape[1]
        if network.name == HYPER:
            return np.full(width, PLANE_LIMIT, np.int64)
        if network.name == GIVEN:
            return np.full(width // CELL**2 * CELL**2, LEVELS, np.int64)
        planes = network.planes.channel.size if network.planes else 0
        if planes >= width:
            return None
        return np.concatenate([np.full(width - planes, LEVELS), np.full(planes, PLANE_LIMIT)]).astype(np.int64)
    before = {"to_half": "first", "to_full": "to_half", "second": "first"}.get(name, "second")
    width = layers[before].weight.shape[0] // (4 if before == "to_half" else 1)
    cells = CELL**2 if network.name == GIVEN and name == "second" else 1
    return np.full(width * cells, LEVELS, np.int64)


class _Builder:
    """The arrangement of a network as ONNX."""

    def __init__(self, network: Network) -> None:
        self.graph, self.network = Graph(), network

    def layer(self, name: str, x: str, clamp: bool = True) -> str:
        """Output of a layer, named `x` its input; both whole numbers in float32."""
        layer, graph = self.network.layers[name], self.graph
        kernel = layer.weight.shape[2]
        if kernel == 3 and not self.network.is_step:
            x = graph.node("Pad", x, graph.constant(_whole(0, 0, 1, 1, 0, 0, 1, 1)), mode="edge")
        pads = (1, 1, 1, 1) if kernel == 3 and self.network.is_step else (0, 0, 0, 0)
        sums = graph.node("Conv", x, self.to_float(graph.constant(layer.weight)), pads=pads)
        sums = graph.node("Add", sums, self.plus_half(self.to_float(self.of_rate(layer.bias))))
        out = graph.node("Floor", graph.node("Mul", sums, self.power(-layer.shift, -MAX_SHIFT)))
        return self.clip(out, 0, LEVELS) if clamp else out

    def cell(self, x: str, down: slice, across: slice) -> str:
        """Some rows and columns of x."""
        if down.step is None:
            return x
        ends = ([down.start, across.start], [1 << 30, 1 << 30], [2, 3], [down.step, across.step])
        return self.graph.node("Slice", x, *(self.graph.constant(_whole(*each)) for each in ends))

    def clip(self, x: str, low: float, high: float) -> str:
        limits = (self.graph.constant(np.array(each, np.float32)) for each in (low, high))
        return self.graph.node("Clip", x, *limits)

    def of_rate(self, table: NDArray[Any]) -> str:
        """A row of a table (RATES,C), as (1,C,1,1)."""
        return self.graph.node("Gather", self.graph.constant(table[:, :, None, None]), "rate")

    def power(self, exponent: NDArray[np.int8], least: int) -> str:
        """2^exponent at the rate; exponents, (RATES,C), are at least `least`."""
        powers = np.ldexp(np.float32(1.0), np.arange(least, int(exponent.max()) + 1))
        at = self.graph.node("Cast", self.of_rate(exponent - np.int8(least)), to=_INT64)
        return self.graph.node("Gather", self.graph.constant(powers), at)

    def to_float(self, x: str) -> str:
        return self.graph.node("Cast", x, to=_FLOAT32)

    def plus_half(self, x: str) -> str:
        return self.graph.node("Add", x, self.graph.constant(np.array(0.5, np.float32)))

    def hyper(self) -> bytes:
        x = self.clip("z_hat", -PLANE_LIMIT, PLANE_LIMIT)
        x = self.shuffle(self.layer("to_half", self.layer("first", x)))
        self.graph.output("side", self.shuffle(self.layer("to_full", x)))
        return self.graph.model({"z_hat": ("float32", 4), "rate": ("int64", 1)}, {"side": ("float32", 4)})

    def given(self) -> bytes:
        x = self.layer("first", self.graph.node("SpaceToDepth", "given", blocksize=CELL))
        x = self.layer("second", self.graph.node("SpaceToDepth", x, blocksize=CELL))
        self.graph.output("side", self.layer("side", x))
        return self.graph.model({"given": ("float32", 4), "rate": ("int64", 1)}, {"side": ("float32", 4)})

    def shuffle(self, x: str) -> str:
        return self.graph.node("DepthToSpace", x, blocksize=2, mode="CRD")

    def step(self) -> bytes:
        x, planes = "side", self.network.planes
        if planes:
            seen = self.graph.node("Gather", "y_hat", self.graph.constant(planes.channel.astype(np.int64)), axis=1)
            seen = self.graph.node("Mul", seen, self.power(planes.exponent, PLANE_EXPONENTS[0]))
            seen = self.clip(self.graph.node("Floor", self.plus_half(seen)), -PLANE_LIMIT, PLANE_LIMIT)
            x = self.graph.node("Concat", "side", seen, axis=1)
        x = self.layer("second", self.layer("first", x))
        locs, rows = [], []
        for head, (_, _, down, across), half in self.network.heads():
            part = self.layer(head, self.cell(x, down, across), clamp=False)
            for found, start in ((locs, 0), (rows, half)):
                cut = (self.graph.constant(_whole(each)) for each in (start, start + half, 1))
                found.append(self.graph.node("Slice", part, *cut))
        loc = self.graph.node("Concat", *locs, axis=1)
        self.graph.output("loc", self.graph.node("Mul", loc, self.graph.constant(np.array(1 / LOC_STEPS, np.float32))))
        row = self.clip(self.graph.node("Concat", *rows, axis=1), 0, SCALES - 1)
        self.graph.output("index", self.graph.node("Cast", row, to=_UINT8))
        inputs = {"side": ("float32", 4), "rate": ("int64", 1)} | ({"y_hat": ("float32", 4)} if planes else {})
        return self.graph.model(inputs, {"loc": ("float32", 4), "index": ("uint8", 4)})


def _whole(*numbers: int) -> NDArray[np.int64]:
    return np.array(numbers, np.int64)


def to_onnx(network: Network) -> bytes:
    """The graph that runs the network on float32.

    hyper_synthesis: z_hat (1,C,h,w) and rate (1,) int64 to side (1,S,4h,4w), whole numbers. given: the planes
    (1,G,16h,16w), whole numbers 0..255, and rate to side (1,S,h,w). context_k: side, y_hat
    (1,M,h,w; only with planes), rate to loc, multiples of 1/16, and index, uint8, both of the shape of the step's slice
    of y.
    """
    builder = _Builder(network)
    if network.is_step:
        return builder.step()
    return builder.hyper() if network.name == HYPER else builder.given()


class Reference:
    """A network once more, slowly, in NumPy: the same arguments and results as the graph of `to_onnx`."""

    def __init__(self, network: Network) -> None:
        self.network = network

    def hyper_synthesis(self, z_hat: NDArray[np.float32], rate: int) -> NDArray[np.float32]:
        """z_hat (1,C,h,w) to side (1,S,4h,4w)."""
        x = np.clip(z_hat[0].astype(np.float64), -PLANE_LIMIT, PLANE_LIMIT)
        for name in HYPER_LAYERS:
            x = np.clip(self._layer(name, x, rate, "edge"), 0, LEVELS)
            x = x if name == "first" else _shuffle(x)
        return x[None].astype(np.float32)

    def given(self, given: NDArray[np.float32], rate: int) -> NDArray[np.float32]:
        """Planes (1,G,16h,16w), 0..255, to side (1,S,h,w)."""
        x = given[0].astype(np.float64)
        for name in GIVEN_LAYERS:
            x = x if name == "side" else _cells(x)
            x = np.clip(self._layer(name, x, rate, "edge"), 0, LEVELS)
        return x[None].astype(np.float32)

    def step(
        self, side: NDArray[np.float32], y_hat: NDArray[np.float32], rate: int
    ) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """side (1,S,h,w) and y_hat (1,M,h,w) to loc and index of the step's slice of y."""
        x, planes = side[0].astype(np.float64), self.network.planes
        if planes:
            scale = _power(planes.exponent[rate])[:, None, None]
            seen = np.floor(y_hat[0, planes.channel].astype(np.float64) * scale + 0.5)
            x = np.concatenate([x, np.clip(seen, -PLANE_LIMIT, PLANE_LIMIT)])
        for name in ("first", "second"):
            x = np.clip(self._layer(name, x, rate, "constant"), 0, LEVELS)
        locs, rows = [], []
        for head, (_, _, down, across), half in self.network.heads():
            out = self._layer(head, x[:, down, across], rate, "constant")
            locs.append(out[:half])
            rows.append(out[half:])
        loc = np.concatenate(locs) / LOC_STEPS
        index = np.clip(np.concatenate(rows), 0, SCALES - 1)
        return loc[None].astype(np.float32), index[None].astype(np.uint8)

    def _layer(self, name: str, x: Ints, rate: int, edge: Any) -> Ints:
        layer = self.network.layers[name]
        outputs, _, kernel, _ = layer.weight.shape
        height, width = x.shape[1:]
        if kernel == 3:
            x = np.pad(x, ((0, 0), (1, 1), (1, 1)), mode=edge)
        sums = np.zeros((outputs, height * width))
        for row, column in np.ndindex(kernel, kernel):
            seen = x[:, row : row + height, column : column + width].reshape(len(x), -1)
            sums += layer.weight[:, :, row, column].astype(np.float64) @ seen
        sums += layer.bias[rate].astype(np.float64)[:, None] + 0.5
        out = np.floor(sums * _power(-layer.shift[rate])[:, None])
        return out.reshape(outputs, height, width)


def _power(exponent: NDArray[np.int8]) -> NDArray[np.float64]:
    """2^exponent, exactly: `exp2` need not be."""
    return np.ldexp(1.0, exponent)


def _shuffle(x: Ints) -> Ints:
    """Four channels to one of twice the sides, as PyTorch's pixel shuffle does."""
    channels, height, width = x.shape[0] // 4, *x.shape[1:]
    return x.reshape(channels, 2, 2, height, width).transpose(0, 3, 1, 4, 2).reshape(channels, 2 * height, 2 * width)


def _cells(x: Ints) -> Ints:
    """Cells of CELL x CELL positions to channels: by row, column, channel before."""
    channels, height, width = x.shape
    x = x.reshape(channels, height // CELL, CELL, width // CELL, CELL).transpose(2, 4, 0, 1, 3)
    return x.reshape(channels * CELL**2, height // CELL, width // CELL)
