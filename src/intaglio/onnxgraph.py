"""A look into ONNX bytes before they are run: known operators only, nothing stored outside the file.

Walks the protobuf wire format (protobuf.dev, "Encoding") over the few fields that matter, numbered as in onnx.proto.
"""

from __future__ import annotations

from collections.abc import Iterator

from intaglio.errors import ModelError

# What our models use, and a few that another version of the exporter may write instead; none runs code or reads files.
OPERATORS = frozenset(
    [
        "Abs",
        "Add",
        "Cast",
        "Clip",
        "Concat",
        "Constant",
        "Conv",
        "ConvTranspose",
        "DepthToSpace",
        "Div",
        "Exp",
        "Floor",
        "Gather",
        "GatherND",
        "LeakyRelu",
        "Log",
        "MatMul",
        "Mul",
        "Pad",
        "Relu",
        "Reshape",
        "Sigmoid",
        "Sign",
        "Slice",
        "Split",
        "Sqrt",
        "Sub",
        "Transpose",
        "Unsqueeze",
    ]
)
_MODEL_GRAPH, _MODEL_TRAINING, _MODEL_FUNCTIONS = 7, 20, 25
_GRAPH_NODE, _GRAPH_INITIALIZER, _GRAPH_SPARSE = 1, 5, 15
_NODE_OPERATOR, _NODE_ATTRIBUTE, _NODE_DOMAIN = 4, 5, 7
_ATTRIBUTE_TENSORS, _ATTRIBUTE_GRAPHS, _ATTRIBUTE_SPARSE = (5, 10), (6, 11), (22, 23)
_TENSOR_EXTERNAL, _TENSOR_LOCATION = 13, 14
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def check_graph(name: str, graph: bytes) -> None:
    """Raises ModelError unless `graph` is ONNX of the operators above, with all its data inside."""
    try:
        fault = _model_fault(memoryview(graph))
    except (IndexError, ValueError):
        fault = "it is not ONNX"
    if fault:
        raise ModelError(f"graph {name!r} of the model file is refused: {fault}")


def _model_fault(model: memoryview) -> str | None:
    graphs = [value for field, value in _fields(model) if field == _MODEL_GRAPH]
    if any(field in (_MODEL_FUNCTIONS, _MODEL_TRAINING) for field, _ in _fields(model)):
        return "it defines functions of its own"
    if len(graphs) != 1:
        return "it is not ONNX"
    for field, value in _fields(_message(graphs[0])):
        if field == _GRAPH_SPARSE:
            return "it holds sparse tensors"
        fault = None
        if field == _GRAPH_NODE:
            fault = _node_fault(_message(value))
        elif field == _GRAPH_INITIALIZER:
            fault = _tensor_fault(_message(value))
        if fault:
            return fault
    return None


def _node_fault(node: memoryview) -> str | None:
    for field, value in _fields(node):
        if field == _NODE_OPERATOR and (operator := bytes(_message(value)).decode("ascii", "replace")) not in OPERATORS:
            return f"operator {operator} is not one that our models use"
        if field == _NODE_DOMAIN and bytes(_message(value)) not in (b"", b"ai.onnx"):
            return "an operator comes from a foreign domain"
        if field == _NODE_ATTRIBUTE and (fault := _attribute_fault(_message(value))):
            return fault
    return None


def _attribute_fault(attribute: memoryview) -> str | None:
    for field, value in _fields(attribute):
        if field in _ATTRIBUTE_GRAPHS:
            return "a node holds a graph of its own"
        if field in _ATTRIBUTE_SPARSE:
            return "it holds sparse tensors"
        if field in _ATTRIBUTE_TENSORS and (fault := _tensor_fault(_message(value))):
            return fault
    return None


def _tensor_fault(tensor: memoryview) -> str | None:
    for field, value in _fields(tensor):
        if field == _TENSOR_EXTERNAL or (field == _TENSOR_LOCATION and value != 0):
            return "a tensor is stored outside the file"
    return None


def _message(value: memoryview | int) -> memoryview:
    if isinstance(value, int):
        raise ValueError("a number where a message belongs")
    return value


def _fields(data: memoryview) -> Iterator[tuple[int, memoryview | int]]:
    """(field number, value) pairs of one protobuf message; raises ValueError or IndexError if it is none."""
    position = 0
    while position < len(data):
        key, position = _varint(data, position)
        if key >> 32:  # other readers drop the upper bits and would see another field than we
            raise ValueError("a field number is too large")
        kind = key & 7
        if kind == _VARINT:
            value, position = _varint(data, position)
            yield key >> 3, value
            continue
        if kind == _BYTES:
            size, position = _varint(data, position)
        elif kind in (_FIXED32, _FIXED64):
            size = 4 if kind == _FIXED32 else 8
        else:
            raise ValueError("unknown wire type")
        if position + size > len(data):
            raise ValueError("a field does not fit")
        yield key >> 3, data[position : position + size]
        position += size


def _varint(data: memoryview, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = data[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position
    raise ValueError("a number is too long")
