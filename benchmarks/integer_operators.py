"""The integer networks as true integer operators of ONNX, beside their float form: equal results, which speed?

Two forms, for one rate: ConvInteger (sums of 32 bits) with the rescaling in float behind it, and QLinearConv, which
rescales itself. It rounds halves to even, so its scale is 2^-shift (1 + 2^-22): halves then lie above the tie, as our
floor has them, and nothing else moves while shift <= 13. It has no wide results, so beside it the last layers stay Conv
on float32. On x86 without VNNI, 8-bit kernels may sum pairs of products in 16 bits, which saturate: exact here, not
everywhere.
All operands are unsigned: what has a sign gets 128 added and the bias makes up for it.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from rich.console import Console
from rich.table import Table

import runtimes
from intaglio.bundle import Model
from intaglio.integer import HYPER, LEVELS, LOC_STEPS, PLANE_LIMIT, Network, step_names
from intaglio.quality import quality_to_rate
from intaglio.scales import SCALES
from speed import SIZE, photograph

OFFSET = 128  # that makes signed operands unsigned
FORMS = ("ConvInteger", "QLinearConv")
ABOVE_TIES = 1.0 + 2.0**-22
REPEATS = 25


class Form:
    """One network at one rate, in one of FORMS."""

    def __init__(self, network: Network, rate: int, operator: str) -> None:
        self.network, self.rate, self.operator = network, rate, operator
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.names = 0

    def constant(self, value: Any, dtype: type[np.generic] = np.float32) -> str:
        """Name of a constant."""
        self.names += 1
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype), f"c{self.names}"))
        return f"c{self.names}"

    def node(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Name of a node's output."""
        self.names += 1
        self.nodes.append(helper.make_node(operator, inputs, [f"v{self.names}"], **attributes))
        return f"v{self.names}"

    def unsigned(self, x: str) -> str:
        """Whole numbers within the limit of planes, in float, as uint8 with the offset."""
        x = self.node("Clip", x, self.constant(-PLANE_LIMIT), self.constant(PLANE_LIMIT))
        return self.node("Cast", self.node("Add", x, self.constant(OFFSET)), to=TensorProto.UINT8)

    def layer(self, name: str, x: str, signed: slice | None = None, wide: bool = False) -> str:
        """Output of a layer, uint8 or, if `wide`, float; `signed`: the inputs with the offset."""
        layer, rate = self.network.layers[name], self.rate
        bias, shift = layer.bias[rate].astype(np.int64), layer.shift[rate].astype(np.int64)
        if signed:
            bias = bias - OFFSET * layer.weight[:, signed].astype(np.int64).sum((1, 2, 3))
        pads = [layer.weight.shape[2] // 2] * 4
        if self.network.name == HYPER:
            x = self.node("Pad", x, self.constant([0, 0, 1, 1, 0, 0, 1, 1], np.int64), mode="edge")
            pads = [0] * 4
        weight, zero = self.constant(layer.weight, np.int8), self.constant(0, np.uint8)
        if self.operator == "QLinearConv" and not wide:
            scale, one = self.constant(np.exp2(-shift) * ABOVE_TIES), self.constant(1)
            zeros = self.constant(np.zeros(len(shift)), np.int8)
            half = self.constant(bias - (1 << (shift - 1)), np.int32)
            return self.node("QLinearConv", x, one, zero, weight, scale, zeros, one, zero, half, pads=pads)
        if self.operator == "QLinearConv":
            sums = self.node("Conv", self.node("Cast", x, to=TensorProto.FLOAT), self.constant(layer.weight), pads=pads)
        else:
            sums = self.node("ConvInteger", x, weight, zero, self.constant(0, np.int8), pads=pads)
            sums = self.node("Cast", sums, to=TensorProto.FLOAT)
        sums = self.node("Add", sums, self.constant((bias + 0.5)[:, None, None]))
        out = self.node("Floor", self.node("Mul", sums, self.constant(np.exp2(-shift)[:, None, None])))
        if wide:
            return out
        out = self.node("Clip", out, self.constant(0), self.constant(LEVELS))
        return self.node("Cast", out, to=TensorProto.UINT8)

    def hyper(self) -> bytes:
        """z_hat, float32, to side, uint8."""
        x = self.layer("first", self.unsigned("z_hat"), slice(None))
        for name in ("to_half", "to_full"):
            x = self.node("DepthToSpace", self.layer(name, x), blocksize=2, mode="CRD")
        return self.model([("z_hat", TensorProto.FLOAT)], [(x, TensorProto.UINT8)])

    def step(self) -> bytes:
        """side, uint8, and y_hat, float32, to loc, float32, and index, uint8."""
        x, planes, signed = "side", self.network.planes, None
        inputs = [("side", TensorProto.UINT8)]
        if planes:
            seen = self.node("Gather", "y_hat", self.constant(planes.channel, np.int64), axis=1)
            scale = np.exp2(planes.exponent[self.rate].astype(np.float32))[:, None, None]
            seen = self.node("Add", self.node("Mul", seen, self.constant(scale)), self.constant(0.5))
            x = self.node("Concat", "side", self.unsigned(self.node("Floor", seen)), axis=1)
            signed = slice(-len(planes.channel), None)
            inputs.append(("y_hat", TensorProto.FLOAT))
        x = self.layer("second", self.layer("first", x, signed))
        means, rows = [], []
        for head, (_, _, down, across), half in self.network.heads():
            cut = ([down.start, across.start], [1 << 30] * 2, [2, 3], [2, 2])
            part = self.layer(head, self.node("Slice", x, *(self.constant(c, np.int64) for c in cut)), None, True)
            for found, start in ((means, 0), (rows, half)):
                ends = (self.constant([end], np.int64) for end in (start, start + half, 1))
                found.append(self.node("Slice", part, *ends))
        loc = self.node("Mul", self.node("Concat", *means, axis=1), self.constant(1 / LOC_STEPS))
        row = self.node("Clip", self.node("Concat", *rows, axis=1), self.constant(0), self.constant(SCALES - 1))
        index = self.node("Cast", row, to=TensorProto.UINT8)
        return self.model(inputs, [(loc, TensorProto.FLOAT), (index, TensorProto.UINT8)])

    def model(self, inputs: Sequence[tuple[str, int]], outputs: Sequence[tuple[str, int]]) -> bytes:
        """ONNX bytes."""
        given, made = (
            [helper.make_tensor_value_info(name, kind, [None] * 4) for name, kind in each] for each in (inputs, outputs)
        )
        graph = helper.make_graph(self.nodes, "integer", given, made, self.constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


def graphs(model: Model, rate: int, operator: str) -> dict[str, bytes]:
    """The five networks in that form."""
    made = {}
    for name in (HYPER, *step_names(model.layout)):
        form = Form(model.network(name), rate, operator)
        made[name] = form.hyper() if name == HYPER else form.step()
    return made


def _inputs(model: Model, rate: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """z_hat and y_hat of a picture of 2 megapixels."""
    given = runtimes.encoded(model, photograph(SIZE), rate, model.layout)
    _, y_hat = runtimes.decoded(model, given, rate, model.layout)
    return given[0].symbols.astype(np.float32), y_hat


def report(model: Model) -> None:
    """Prints milliseconds of the hyper-synthesis and the four steps together, and whether the results are equal."""
    rate = quality_to_rate(50)
    z_hat, y_hat = _inputs(model, rate)
    forms = {"Conv on float32": runtimes.safe(model), **{name: graphs(model, rate, name) for name in FORMS}}
    shifts = [
        network.layers[key].shift[rate]
        for network in map(model.network, (HYPER, *step_names(model.layout)))
        for key in network.layers
        if not key.startswith("head")
    ]
    title = f"{SIZE[1]} x {SIZE[0]}, hyper-synthesis and four steps; shifts up to {np.concatenate(shifts).max()}"
    table = Table(title=title, title_justify="left")
    for name in ("operators", "threads", "best ms", "median ms", "values that differ"):
        table.add_column(name, justify="left" if name == "operators" else "right")
    for threads in (1, 2):
        runs = {name: runtimes.on_onnxruntime(made, threads) for name, made in forms.items()}
        wanted = _all(runs["Conv on float32"], z_hat, y_hat, rate)
        wrong = {}
        for name, run in runs.items():
            found = _all(run, z_hat, y_hat, rate)
            wrong[name] = sum(int((a != b).sum()) for a, b in zip(wanted, found, strict=True))
        seconds: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(REPEATS):  # in turns: other work on the machine slows all alike
            for name, run in runs.items():
                start = time.perf_counter()
                _all(run, z_hat, y_hat, rate)
                seconds[name].append(time.perf_counter() - start)
        for name, times in seconds.items():
            best, median = 1e3 * min(times), 1e3 * statistics.median(times)
            table.add_row(name, str(threads), f"{best:.1f}", f"{median:.1f}", str(wrong[name]))
    Console().print(table)


def _all(run: runtimes.Run, z_hat: NDArray[Any], y_hat: NDArray[Any], rate: int) -> list[NDArray[Any]]:
    """Outputs of all five networks, of four steps."""
    found = [*run(HYPER, {"z_hat": z_hat, "rate": np.array([rate])})]
    for name in (f"context_{step}" for step in range(4)):
        found += run(name, {"side": found[0], "y_hat": y_hat, "rate": np.array([rate])})
    return found
