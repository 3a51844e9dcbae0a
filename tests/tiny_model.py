"""A model file of small graphs, whose tables and configuration are right, for tests that make it wrong."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper

from intaglio.modelfile import DECODING_GRAPHS, ENCODING_GRAPHS, ModelFile
from intaglio.rans import Tables


def onnx_of(nodes: list[onnx.NodeProto], outputs: list[str], weights: dict[str, np.ndarray] | None = None) -> bytes:
    initializers = [numpy_helper.from_array(array, name) for name, array in (weights or {}).items()]
    values = [helper.make_empty_tensor_value_info(name) for name in outputs]
    graph = helper.make_graph(nodes, "g", [], values, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return model.SerializeToString()


def returns(*arrays: np.ndarray) -> bytes:
    """A graph without inputs that returns these arrays."""
    names = [f"out{number}" for number in range(len(arrays))]
    nodes = [
        helper.make_node("Constant", [], [name], value=numpy_helper.from_array(array))
        for name, array in zip(names, arrays, strict=True)
    ]
    return onnx_of(nodes, names)


PLAIN = onnx_of([helper.make_node("Relu", ["w"], ["out"])], ["out"], {"w": np.ones(3, np.float32)})


def tiny_file() -> ModelFile:
    """A model file of small graphs, whose tables and configuration are right."""
    tables = {f"tables.{name}": array for name, array in Tables.from_gaussian_scales([0.2, 1.0]).to_arrays().items()}
    return ModelFile(
        name="tiny",
        graphs=dict.fromkeys(ENCODING_GRAPHS + DECODING_GRAPHS, PLAIN),
        arrays={**tables, "z_rows": np.zeros((199, 4), np.uint8)},
        config={"latent": 8, "halo": 2},
        record={"steps": 3},
    )
