"""Writes ONNX, as much as the integer networks need (protobuf.dev, "Encoding"; field numbers as in onnx.proto)."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

IR_VERSION, OPSET = 8, 17
_KINDS = {"float32": 1, "uint8": 2, "int8": 3, "int32": 6, "int64": 7}  # TensorProto.DataType
Attribute = int | float | str | Sequence[int]


class Graph:
    """An ONNX graph under construction: every value has a name, nodes and constants hand out new ones."""

    def __init__(self) -> None:
        self._nodes: list[bytes] = []
        self._constants: list[bytes] = []
        self._names = 0

    def constant(self, array: NDArray[Any]) -> str:
        """A constant's name; float32, uint8, int8, int32 or int64."""
        name = self._name()
        dims = b"".join(_number(1, side) for side in array.shape)
        data = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()
        self._constants.append(dims + _number(2, _KINDS[array.dtype.name]) + _text(8, name) + _bytes(9, data))
        return name

    def node(self, operator: str, *inputs: str, **attributes: Attribute) -> str:
        """The name of the output of a node of that operator."""
        return self._node(self._name(), operator, inputs, attributes)

    def output(self, name: str, value: str) -> None:
        """Makes a value known under the name of an output."""
        self._node(name, "Identity", (value,), {})

    def _node(self, name: str, operator: str, inputs: Sequence[str], attributes: dict[str, Attribute]) -> str:
        fields = [_text(1, each) for each in inputs] + [_text(2, name), _text(4, operator)]
        fields += [_bytes(5, _attribute(key, value)) for key, value in attributes.items()]
        self._nodes.append(b"".join(fields))
        return name

    def model(self, inputs: dict[str, tuple[str, int]], outputs: dict[str, tuple[str, int]]) -> bytes:
        """ONNX bytes; inputs and outputs are name -> (dtype, number of axes), all axes free."""
        graph = b"".join(
            [
                *(_bytes(1, node) for node in self._nodes),
                _text(2, "integer"),
                *(_bytes(5, constant) for constant in self._constants),
                *(_bytes(11, _value(name, *kind)) for name, kind in inputs.items()),
                *(_bytes(12, _value(name, *kind)) for name, kind in outputs.items()),
            ]
        )
        return _number(1, IR_VERSION) + _bytes(7, graph) + _bytes(8, _text(1, "") + _number(2, OPSET))

    def _name(self) -> str:
        self._names += 1
        return f"v{self._names}"


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1  # negative numbers are written as 64 bits
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _text(field: int, value: str) -> bytes:
    return _bytes(field, value.encode())


def _attribute(name: str, value: Attribute) -> bytes:
    if isinstance(value, int):
        body, kind = _number(3, value), 2
    elif isinstance(value, float):
        body, kind = _varint(2 << 3 | 5) + struct.pack("<f", value), 1
    elif isinstance(value, str):
        body, kind = _text(4, value), 3
    else:
        body, kind = b"".join(_number(8, each) for each in value), 7
    return _text(1, name) + body + _number(20, kind)


def _value(name: str, dtype: str, rank: int) -> bytes:
    shape = b"".join(_bytes(1, _text(2, f"{name}{axis}")) for axis in range(rank))
    tensor = _number(1, _KINDS[dtype]) + _bytes(2, shape)
    return _text(1, name) + _bytes(2, _bytes(1, tensor))
