"""The integer networks in every runtime at hand, and what each of them makes of a picture.

A runtime is a function `run(network, inputs)` for the networks `hyper_synthesis` and `context_0` .. `context_3`, with
the inputs and outputs of the graphs of `intaglio.integer.to_onnx`. `plain_float` makes the unsafe graphs of the same
networks, without any rounding between the layers, as other codecs have them.

    python benchmarks/runtimes.py MODEL SYMBOLS.npz

prints the digest of what PyTorch finds for these symbols, for tests that limit its instruction set by environment.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from intaglio.bundle import Model, ReferenceModel, Window, read_model_file
from intaglio.coders import Floats, Frozen
from intaglio.integer import HYPER, step_names, to_onnx
from intaglio.modelfile import ModelFile
from intaglio.quantiser import first_of_z
from intaglio.traversal import HYPER_SCALE, Layout, Net, latents
from intaglio.workshop import restore
from intaglio.workshop.models.base import Hyperprior

Run = Callable[[str, dict[str, NDArray[Any]]], Sequence[NDArray[Any]]]
Graphs = Mapping[str, bytes]
LEVELS = {
    "off": onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "basic": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "all": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
}


@dataclass(frozen=True)
class Slice:
    """One slice as the coder sees it: rows uint8, means float32 (None for z), symbols int32."""

    rows: NDArray[np.uint8]
    loc: Floats | None
    symbols: NDArray[np.int32]


class Watched(Frozen):
    """Codes nothing but keeps the slices; symbols are rounded latents, or those of `given`, as if decoded."""

    def __init__(self, layout: Layout, given: Sequence[Slice] | None = None) -> None:
        super().__init__(layout)
        self.slices: list[Slice] = []
        self._given, self._loc = given, None

    def _z_grid(self, z: Floats | None) -> tuple[int, int]:
        grid = self._given[0].symbols if z is None and self._given else z
        assert grid is not None
        return grid.shape[2], grid.shape[3]

    def empty_y(self, y: Floats | None) -> Floats:
        height, width = (HYPER_SCALE * side for side in self._z_grid(None)) if y is None else y.shape[2:]
        return np.zeros((1, self.layout.channels, height, width), np.float32)

    def gaussian(self, y: Floats | None, y_hat: Floats, params: tuple[Floats, Any], step: int) -> Floats:
        self._loc = params[0]
        return super().gaussian(y, y_hat, params, step)

    def _code(self, symbols: NDArray[np.int32] | None, rows: NDArray[np.uint8]) -> NDArray[np.int32]:
        if self._given:
            symbols = self._given[len(self.slices)].symbols
        assert symbols is not None
        self.slices.append(Slice(rows.copy(), None if self._loc is None else self._loc.copy(), symbols.copy()))
        return symbols


class Parts:
    """A model whose integer networks run elsewhere; what does not choose tables stays with ONNX Runtime."""

    def __init__(self, model: Model, run: Run) -> None:
        self.analysis, self.hyper_analysis, self.z_rows = model.analysis, model.hyper_analysis, model.z_rows
        self.synthesis, self._run = model.synthesis, run
        self.layout, self.has_hyper, self.gains = model.layout, model.has_hyper, model.gains

    def hyper_synthesis(self, z_hat: Floats, rate: int) -> Floats:
        """As `Model.hyper_synthesis`."""
        return self._run(HYPER, {"z_hat": z_hat, "rate": np.array([rate])})[0]

    def given_side(self, side: Floats, given: None, rate: int) -> Floats:
        """Never asked: the models that are compared here are given nothing."""
        raise NotImplementedError

    @property
    def context_steps(self) -> Sequence[Callable[[Floats, Floats, int], tuple[Floats, Any]]]:
        """As `Model.context_steps`."""
        return [self._step(name) for name in step_names(self.layout)]

    def _step(self, name: str) -> Callable[[Floats, Floats, int], tuple[Floats, Any]]:
        def step(side: Floats, y_hat: Floats, rate: int) -> tuple[Floats, Any]:
            loc, index = self._run(name, {"side": side, "y_hat": y_hat, "rate": np.array([rate])})
            return loc, index

        return step


class TorchParts:
    """A model of the workshop as the traversal wants it, with arrays in and out.

    `transforms`: the dtype in which analysis, hyper-analysis and synthesis run; the integer networks run in float32
    even where the caller asks for less by autocast.
    """

    def __init__(self, model: Hyperprior, threads: int = 1, transforms: torch.dtype = torch.float32) -> None:
        self.model, self.threads, self.transforms = model, threads, transforms
        self.device = next(model.parameters()).device
        self.layout, self.has_hyper = model.layout, model.has_hyper

    def _call(self, part: Callable[..., Any], *inputs: Floats, rate: int) -> Any:
        torch.set_num_threads(self.threads)
        tensors = [torch.from_numpy(np.ascontiguousarray(each)).to(self.device) for each in inputs]
        low = self.transforms != torch.float32
        with torch.no_grad(), torch.autocast(self.device.type, self.transforms) if low else nullcontext():
            found = part(*tensors, torch.tensor([rate], device=self.device))
        return [each.float().cpu().numpy() for each in (found if isinstance(found, tuple) else (found,))]

    def analysis(self, x: Window, rate: int) -> Floats:
        """As `Model.analysis`, of a window that is kept as a whole."""
        pixels = x.pixels.transpose(2, 0, 1)[None].astype(np.float32) / np.float32(255)
        return self._call(self.model.analysis, pixels, rate=rate)[0]

    def hyper_analysis(self, y: Floats, rate: int) -> Floats:
        """As `Model.hyper_analysis`."""
        return self._call(self.model.hyper_analysis, y, rate=rate)[0]

    def z_rows(self, rate: int) -> Floats:
        """As `Model.z_rows`."""
        with torch.no_grad():
            rows = self.model.z_rows(torch.tensor([rate], device=self.device))
        assert isinstance(rows, torch.Tensor)  # a table over the rates, as `photo` has it
        return np.floor(rows.cpu().numpy() + np.float32(0.5)) + first_of_z(self.model.trellis)

    def hyper_synthesis(self, z_hat: Floats, rate: int) -> Floats:
        """As `Model.hyper_synthesis`, but in natural units."""
        return self._call(self.model.hyper_synthesis, z_hat, rate=rate)[0]

    def gains(self, side: Floats, rate: int) -> tuple[Floats, Floats] | None:
        """As `Model.gains`."""
        if self.model.bands is None:
            return None
        up, down = self._call(self.model.gains, side, rate=rate)
        return up, down

    def given_side(self, side: Floats, given: None, rate: int) -> Floats:
        """Never asked: the models that are compared here are given nothing."""
        raise NotImplementedError

    @property
    def context_steps(self) -> Sequence[Callable[[Floats, Floats, int], tuple[Floats, Any]]]:
        """As `Model.context_steps`."""
        return [self._step(part) for part in self.model.context_steps]

    def _step(self, part: Callable[..., Any]) -> Callable[[Floats, Floats, int], tuple[Floats, Any]]:
        def step(side: Floats, y_hat: Floats, rate: int) -> tuple[Floats, Any]:
            loc, index = self._call(part, side, y_hat, rate=rate)
            return loc, np.floor(index + np.float32(0.5))

        return step

    def synthesis(self, y_hat: Floats, rate: int) -> NDArray[np.uint8]:
        """As `Model.synthesis`."""
        decoded = self._call(self.model.synthesis, y_hat, rate=rate)[0][0].transpose(1, 2, 0)
        return np.floor(np.clip(decoded, 0, 1) * np.float32(255) + np.float32(0.5)).astype(np.uint8)


def safe(model: Model) -> dict[str, bytes]:
    """The graphs of the integer networks, as the codec runs them."""
    return {name: to_onnx(model.network(name)) for name in (HYPER, *step_names(model.layout))}


def plain_float(model: Model) -> dict[str, bytes]:
    """The same networks without rounding: activations, means and what the context sees stay real numbers, and only the
    row of the table is rounded in the end. Each floor of a value plus 1/2 becomes that value.
    """
    return {name: _unrounded(data) for name, data in safe(model).items()}


def _unrounded(data: bytes) -> bytes:
    model = onnx.load_from_string(data)
    half = numpy_helper.from_array(np.array(0.5, np.float32), "half")
    model.graph.initializer.append(half)
    nodes = []
    casts = [node for node in model.graph.node if node.op_type == "Cast"]
    rows = {node.input[0] for node in casts if helper.get_node_attr_value(node, "to") == TensorProto.UINT8}
    for node in model.graph.node:
        if node.op_type == "Floor":
            nodes.append(helper.make_node("Sub", [node.input[0], "half"], node.output))
        elif node.output[0] in rows:  # the clipped row: the cast that follows drops what is behind the point
            nodes.append(helper.make_node("Add", [node.input[0], "half"], [node.output[0] + ".up"]))
            nodes.append(helper.make_node("Clip", [node.output[0] + ".up", *node.input[1:]], node.output))
        else:
            nodes.append(node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model.SerializeToString()


def on_onnxruntime(graphs: Graphs, threads: int = 1, level: str = "all") -> Run:
    """ONNX Runtime on the CPU; `level`: of its graph optimisation, a key of LEVELS."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.graph_optimization_level = threads, LEVELS[level]
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    made = {
        name: onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        for name, data in graphs.items()
    }
    wanted = {name: {item.name for item in session.get_inputs()} for name, session in made.items()}

    def run(name: str, inputs: dict[str, NDArray[Any]]) -> list[NDArray[Any]]:
        inputs = {key: value for key, value in inputs.items() if key in wanted[name]}
        return [np.asarray(each) for each in made[name].run(None, inputs)]

    return run


def on_openvino(graphs: Graphs, threads: int = 1, precision: str = "f32") -> Run:
    """OpenVINO on the CPU. Raises ModuleNotFoundError where it is not installed."""
    import openvino

    core = openvino.Core()
    settings = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": threads}
    made = {
        name: core.compile_model(core.read_model(model=data), "CPU", settings)  # type: ignore[call-overload]
        for name, data in graphs.items()
    }

    def run(name: str, inputs: dict[str, NDArray[Any]]) -> list[NDArray[Any]]:
        known = {item.any_name for item in made[name].inputs}
        found = made[name]({key: value for key, value in inputs.items() if key in known})
        return [found[number].copy() for number in range(len(found))]

    return run


def twins(file: ModelFile) -> tuple[Model, Hyperprior]:
    """A model in ONNX Runtime and the same in PyTorch.

    The file's own weights, but for a unit in the biases, which PyTorch interpolates between anchors: both have those.
    """
    model = restore.model(file)
    assert isinstance(model, Hyperprior)
    arrays = {**file.arrays, **model.arrays()}
    return Model(replace(file, arrays=arrays), threads=1), model


def encoded(net: Any, pixels: NDArray[np.uint8], rate: int, layout: Layout) -> list[Slice]:
    """Slices of a picture, uint8 (H,W,3), sides multiples of 64."""
    coder = Watched(layout)
    latents(net, Window(pixels, (0, 0, pixels.shape[0] // 16, pixels.shape[1] // 16)), rate, coder)
    return coder.slices


def decoded(net: Net[Floats], given: Sequence[Slice], rate: int, layout: Layout) -> tuple[list[Slice], Floats]:
    """What a net finds for these symbols, and y_hat."""
    coder = Watched(layout, given)
    y_hat = latents(net, None, rate, coder)
    return coder.slices, y_hat


def first_difference(slices: Sequence[Slice], others: Sequence[Slice]) -> int | None:
    """Number of symbols that decode before the first one whose table row differs, None if all agree. A mean that
    differs moves no symbol; it counts where it has changed a row."""
    before = 0
    for one, other in zip(slices, others, strict=True):
        wrong = np.flatnonzero(one.rows != other.rows)
        if wrong.size:
            return before + int(wrong[0])
        before += one.rows.size
    return None


def differences(slices: Sequence[Slice], others: Sequence[Slice]) -> int:
    """How many rows, means and symbols differ."""
    count = 0
    for one, other in zip(slices, others, strict=True):
        count += int((one.rows != other.rows).sum()) + int((one.symbols != other.symbols).sum())
        if one.loc is not None and other.loc is not None:
            count += int((one.loc != other.loc).sum())
    return count


def digest(slices: Sequence[Slice]) -> str:
    """SHA-256 of rows, means and symbols, hexadecimal."""
    found = hashlib.sha256()
    for each in slices:
        found.update(each.rows.tobytes() + (b"" if each.loc is None else (each.loc + 0.0).tobytes()))
        found.update(each.symbols.tobytes())
    return found.hexdigest()


def main(model: str, symbols: str) -> None:
    """Prints PyTorch's digest of symbols: arrays `slice0` .. `slice4` and `rate` of an .npz file."""
    with np.load(symbols) as arrays:
        rows, rate = np.zeros(0, np.uint8), int(arrays["rate"])
        given = [Slice(rows, None, arrays[f"slice{number}"]) for number in range(len(arrays) - 1)]
    _, photo = twins(read_model_file(model))
    print(torch.backends.cpu.get_cpu_capability(), digest(decoded(TorchParts(photo), given, rate, photo.layout)[0]))


def reference(model: Model) -> ReferenceModel:
    """The slow reference in NumPy."""
    return ReferenceModel(model)


if __name__ == "__main__":
    main(*sys.argv[1:])
