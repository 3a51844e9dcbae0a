"""From a checkpoint to a model file: float networks as ONNX with 16-bit weights, the rest as integer arrays."""

from __future__ import annotations

import inspect
import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from intaglio import modelfile
from intaglio.images import atomic_write
from intaglio.modelfile import ModelFile
from intaglio.quality import lmbda_to_rate
from intaglio.workshop import checkpoint, models
from intaglio.workshop.data import load_pictures, picture_files
from intaglio.workshop.fitting import Progress, fitted
from intaglio.workshop.models.base import Hyperprior, Model, Pair
from intaglio.workshop.models.conditional import Conditional
from intaglio.workshop.models.photo import Synthesis
from intaglio.workshop.models.seen import CELL

FITTED = 24  # pictures are enough to fit tables to
SMALL = 1024  # arrays with fewer elements keep 32 bits


class AnalysisGraph(nn.Module):
    """pixels uint8 (1,H,W,3) to y."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.part = model.analysis

    def forward(self, pixels: Tensor, rate: Tensor) -> Tensor:
        return self.part(pixels.permute(0, 3, 1, 2).float() / 255.0, rate)


class FeedbackGraph(nn.Module):
    """error float32 (1,H,W,3), 0..255, to what it is in y."""

    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        self.part = part

    def forward(self, error: Tensor, rate: Tensor) -> Tensor:
        return self.part(error.permute(0, 3, 1, 2) / 255.0, rate)


class SynthesisGraph(nn.Module):
    """y_hat to pixels uint8 (1,16h,16w,3)."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.part = model.synthesis

    def forward(self, y_hat: Tensor, rate: Tensor) -> Tensor:
        if not isinstance(self.part, Synthesis):
            return _pixels(self.part(y_hat, rate))
        # Bytes are quicker to put in their places than floats.
        return F.pixel_shuffle(_bytes(self.part.cells(y_hat, rate)), CELL).permute(0, 2, 3, 1)


class GivenAnalysisGraph(nn.Module):
    """pixels uint8 (1,H,W,3), given uint8 (1,H,W,G) to y."""

    def __init__(self, model: Conditional) -> None:
        super().__init__()
        self.part, self.target_of = model.analysis, model.target_of

    def forward(self, pixels: Tensor, given: Tensor, rate: Tensor) -> Tensor:
        return self.part(Pair(self.target_of(_planes(pixels)), _planes(given)), rate)


class GivenSynthesisGraph(nn.Module):
    """y_hat, given uint8 (1,16h,16w,G) to pixels uint8 (1,16h,16w,3), or chroma float32 (1,16h,16w,2), 0..255."""

    def __init__(self, model: Conditional) -> None:
        super().__init__()
        self.part, self.whole = model.synthesis, model.given == "picture"

    def forward(self, y_hat: Tensor, given: Tensor, rate: Tensor) -> Tensor:
        target = self.part(y_hat, rate, _planes(given))
        return _pixels(target) if self.whole else (target.clamp(0.0, 1.0) * 255.0).permute(0, 2, 3, 1)


def _planes(pixels: Tensor) -> Tensor:
    return pixels.float().permute(0, 3, 1, 2)  # in this order: the exporter stumbles over one transposed plane of bytes


def _pixels(planes: Tensor) -> Tensor:
    return _bytes(planes).permute(0, 2, 3, 1)


def _bytes(planes: Tensor) -> Tensor:
    return torch.floor(planes.clamp(0.0, 1.0) * 255.0 + 0.5).to(torch.uint8)


def graph_modules(model: Model) -> dict[str, tuple[nn.Module, dict[str, Tensor]]]:
    """Each graph's module and example inputs (without `rate`), by the names of `intaglio.modelfile`."""
    y, pixels = torch.zeros(1, model.layout.channels, 8, 12), torch.zeros(1, 128, 192, 3, dtype=torch.uint8)
    graphs: dict[str, tuple[nn.Module, dict[str, Tensor]]]
    if isinstance(model, Conditional):
        given = pixels[..., : model.kind.given]
        graphs = {
            "analysis": (GivenAnalysisGraph(model), {"pixels": pixels, "given": given}),
            "synthesis": (GivenSynthesisGraph(model), {"y_hat": y, "given": given}),
        }
    else:
        graphs = {
            "analysis": (AnalysisGraph(model), {"pixels": pixels}),
            "synthesis": (SynthesisGraph(model), {"y_hat": y}),
        }
    if (part := model.feedback()) is not None:
        graphs["feedback"] = FeedbackGraph(part), {"error": pixels.float()}
    if isinstance(model, Hyperprior):
        graphs["hyper_analysis"] = model.hyper_analysis_net, {"y": y}
    return graphs


def round_weights(model: nn.Module) -> None:
    """Rounds large parameters to 16 bits, in place, as the model file stores them."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.numel() >= SMALL:
                parameter.copy_(parameter.half().float())


def to_onnx(module: nn.Module, inputs: dict[str, Tensor]) -> bytes:
    """ONNX bytes of a module; the spatial axes of every input are free, large parameters are stored in 16 bits."""
    arguments = dict(inputs)
    if "rate" in inspect.signature(module.forward).parameters:
        arguments["rate"] = torch.tensor([0])
    free, spatial = torch.export.Dim.AUTO, {"pixels": (1, 2), "given": (1, 2), "error": (1, 2), "rate": ()}
    shapes = {name: dict.fromkeys(spatial.get(name, (2, 3)), free) for name in arguments}
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module.eval(), kwargs=arguments, dynamo=True, dynamic_shapes=shapes, verbose=False, external_data=False
        )
    assert program is not None
    graph = program.model_proto
    _strip(graph)
    _halve(graph, {name for name, _ in module.named_parameters()})
    _complete(graph, module)
    return graph.SerializeToString(deterministic=True)


def _strip(model: onnx.ModelProto) -> None:
    """Removes what the exporter notes for debugging: source paths, stack traces, inferred shapes."""
    del model.metadata_props[:], model.graph.metadata_props[:], model.graph.value_info[:]
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in (*model.graph.input, *model.graph.output):
        del value.metadata_props[:]
    for tensor in model.graph.initializer:
        del tensor.metadata_props[:]


def _halve(model: onnx.ModelProto, parameters: set[str]) -> None:
    """Stores large parameters in 16 bits and widens them by a Cast, folded when the graph is loaded.

    Other constants keep 32 bits: tables over the rate would no longer interpolate as PyTorch does.
    """
    casts = []
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if tensor.name not in parameters or values.size < SMALL:
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), name + ".half"))
        casts.append(helper.make_node("Cast", [name + ".half"], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _complete(model: onnx.ModelProto, module: nn.Module) -> None:
    """Adds the parameters that the exporter folded into other constants; no operator uses them, but `restore` does."""
    there = {tensor.name.removesuffix(".half") for tensor in model.graph.initializer}
    for name, parameter in module.named_parameters():
        if name not in there:
            values = parameter.detach().cpu().numpy()
            if values.size >= SMALL:
                values, name = values.astype(np.float16), name + ".half"
            model.graph.initializer.append(numpy_helper.from_array(values, name))


def model_file(model: Model, name: str, record: dict[str, Any], more: dict[str, Any] | None = None) -> ModelFile:
    """The model as a model file; rounds its weights to what the file stores.

    more: what its configuration has beside the network's: `rate`, the only rate step of a model that was trained for
    one lambda; `network`, if that has another name. Raises ArgumentError naming the channel for which exactness cannot
    be proved.
    """
    model = model.float().eval().to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    arrays = model.arrays()
    round_weights(model)
    modules = graph_modules(model)
    if modelfile.trained_for(record) != "mse":
        modules.pop("feedback", None)  # it lowers the squared error, at the cost of what was trained for
    graphs = {part: to_onnx(module, inputs) for part, (module, inputs) in modules.items()}
    return ModelFile(name, graphs, arrays, model.file_config() | (more or {}), record)


def export(
    source: str | Path,
    target: str | Path,
    name: str | None = None,
    pictures: Path | None = None,
    progress: Progress | None = None,
) -> ModelFile:
    """Writes the averaged weights of the checkpoint folder `source` as the model file `target`.

    name: what the model is called; that of its network unless given. pictures: a folder of those that the tables of a
    trellis are fitted to, training's unless given; progress: called as they are coded. Raises ArgumentError if there is
    no checkpoint, or no such picture, ModelError if it is damaged or of another version.
    """
    state, record = checkpoint.load(Path(source))
    config = record["config"]
    model = models.build(config["model"], **config["model_fields"])
    model.load_state_dict(checkpoint.under("average.", state))
    training = {
        "steps": record["step"],
        "minutes": round(record["seconds"] / 60.0, 1),
        "skipped_steps": record["skipped"],
        "data_manifest_sha256": record["manifest"],
        "commit": record.get("commit"),
        "train": config["train"],
        "torch": torch.__version__,
    }
    training["train"].pop("out", None)
    lmbda, network = config["train"].get("lmbda", 0.0), config["model"]
    more = {"rate": lmbda_to_rate(lmbda, model.lmbdas)} if lmbda else {}
    more |= {"network": network} if name not in (None, network) else {}
    file = model_file(model, name or network, training, more)
    if model.trellis:
        files = picture_files(pictures or config["data"]["train"], "pictures to fit tables to, --fit")
        some = load_pictures(files[:: max(1, len(files) // FITTED)], "decoding pictures to fit tables to")
        file = fitted(file, some, progress)
    atomic_write(target, modelfile.write(file))
    return file
