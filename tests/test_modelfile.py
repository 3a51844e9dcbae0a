"""Model files come back as they were written; damaged or hostile ones end in ModelError, whatever they hold."""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import intaglio
from intaglio import container, modelfile
from intaglio.bundle import Model, Window, read_model_file, shipped_models
from intaglio.container import Container
from intaglio.errors import ArgumentError, ModelError
from intaglio.modelfile import DECODING_GRAPHS, ENCODING_GRAPHS, ModelFile
from intaglio.onnxgraph import check_graph
from tiny_model import PLAIN, onnx_of, returns, tiny_file

Edit = Callable[[onnx.ModelProto], Any]


def _refused(call: Callable[[], Any]) -> str:
    """The message of the ModelError that `call` raises; empty if it raises none."""
    try:
        call()
    except ModelError as error:
        return str(error)
    return ""


@pytest.fixture(scope="module")
def tiny() -> ModelFile:
    return tiny_file()


@pytest.fixture(scope="module")
def shipped() -> ModelFile:
    return read_model_file("photo")


@pytest.mark.parametrize("which", ["tiny", "shipped"])
def test_a_model_file_comes_back_as_it_was_written(which: str, request: pytest.FixtureRequest) -> None:
    model: ModelFile = request.getfixturevalue(which)
    data = modelfile.write(model)
    found = modelfile.read(data)
    assert (found.name, found.graphs, found.config, found.record) == (
        model.name,
        model.graphs,
        model.config,
        model.record,
    )
    assert found.arrays.keys() == model.arrays.keys()
    for name, array in model.arrays.items():
        assert found.arrays[name].dtype == array.dtype
        assert np.array_equal(found.arrays[name], array)
    assert found.model_id == model.model_id
    assert modelfile.write(found) == data


def test_every_shipped_model_is_whole_and_small() -> None:
    assert "photo" in shipped_models()
    for name, path in shipped_models().items():
        assert path.stat().st_size < 20e6
        assert Model(read_model_file(name)).name == name


def test_the_identity_depends_on_the_decoding_half_alone(tiny: ModelFile) -> None:
    for name in ENCODING_GRAPHS:
        assert replace(tiny, graphs={**tiny.graphs, name: b"other"}).model_id == tiny.model_id
    assert replace(tiny, name="other", record={}).model_id == tiny.model_id
    others = [replace(tiny, graphs={**tiny.graphs, name: b"other"}) for name in DECODING_GRAPHS]
    others += [replace(tiny, arrays={**tiny.arrays, name: array + 1}) for name, array in tiny.arrays.items()]
    others.append(replace(tiny, config={"latent": 8, "halo": 3}))
    rows = tiny.arrays["z_rows"]
    others += [replace(tiny, arrays={**tiny.arrays, "z_rows": same}) for same in (rows.T, rows.view(np.uint16))]
    assert len({other.model_id for other in (tiny, *others)}) == len(others) + 1


def test_what_cannot_be_written_is_refused(tiny: ModelFile) -> None:
    with pytest.raises(ArgumentError, match="synthesis"):
        modelfile.write(replace(tiny, graphs={"analysis": PLAIN}))
    with pytest.raises(ArgumentError, match="complex"):
        modelfile.write(replace(tiny, arrays={"z_rows": np.zeros(3, np.complex64)}))


def test_arrays_are_deflated_where_that_helps_and_the_identity_stays(tiny: ModelFile, rng: np.random.Generator) -> None:
    rows, plain = tiny.arrays["z_rows"], rng.integers(0, 256, 4096).astype(np.uint8)
    large = replace(tiny, arrays={**tiny.arrays, "rows": np.repeat(rows, 200, 0), "plain": plain})
    data = modelfile.write(large)
    found = modelfile.read(data)
    assert found.model_id == large.model_id
    assert np.array_equal(found.arrays["rows"], large.arrays["rows"])
    assert np.array_equal(found.arrays["plain"], plain)
    assert len(data) < len(modelfile.write(tiny)) + plain.nbytes + large.arrays["rows"].nbytes // 10
    assert plain.tobytes() in data


@pytest.mark.parametrize("raw", [-1, 0, 99, 101, 1 << 40, "many", None])
def test_a_deflated_array_that_is_not_what_its_entry_says_is_refused(raw: Any) -> None:
    blob = zlib.compress(bytes(100))
    entry = {"name": "rows", "size": len(blob), "dtype": "uint8", "shape": [100], "raw": raw}
    with pytest.raises(ModelError, match="header is wrong"):
        modelfile.read(_sealed(_header(entry), blob))


@pytest.mark.parametrize(
    "blob", [b"", b"not deflated", zlib.compress(bytes(100))[:-1], zlib.compress(bytes(100)) + b"!"]
)
def test_a_damaged_deflated_array_is_refused(blob: bytes) -> None:
    entry = {"name": "rows", "size": len(blob), "dtype": "uint8", "shape": [100], "raw": 100}
    with pytest.raises(ModelError, match="header is wrong"):
        modelfile.read(_sealed(_header(entry), blob))


def test_every_prefix_and_flipped_bit_is_refused(tiny: ModelFile, rng: np.random.Generator, seed: int) -> None:
    data = modelfile.write(tiny)
    for length in range(len(data)):
        with pytest.raises(ModelError):
            modelfile.read(data[:length])
    for at in range(len(data)):
        damaged = bytearray(data)
        damaged[at] ^= 1 << int(rng.integers(8))
        assert _refused(lambda: modelfile.read(bytes(damaged))), f"byte {at}, seed {seed}"  # noqa: B023


@pytest.mark.slow
def test_a_damaged_copy_of_the_shipped_model_is_refused(rng: np.random.Generator, seed: int) -> None:
    data = shipped_models()["photo"].read_bytes()
    for at in (int(place) for place in rng.integers(0, len(data), 8)):
        damaged = bytearray(data)
        damaged[at] ^= 1 << at % 8
        for wrong in (data[:at], bytes(damaged)):
            assert _refused(lambda: modelfile.read(wrong)), f"byte {at}, seed {seed}"  # noqa: B023


def test_a_damaged_model_is_named_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "cut.itgm"
    path.write_bytes(b"\x8bITGM\0")
    with pytest.raises(ModelError, match=r"cut\.itgm.*not a model file"):
        intaglio.load_model(path)


def _sealed(header: Any, blobs: bytes = b"", size: int | None = None) -> bytes:
    """A model file with a right checksum around any header (bytes as they are, or JSON of a value)."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    length = len(text) if size is None else size
    body = struct.pack("<5sBI", b"\x8bITGM", modelfile.VERSION, length) + text + blobs
    return body + hashlib.sha256(body).digest()


def _header(*blobs: Any, **more: Any) -> dict[str, Any]:
    return {"name": "n", "config": {}, "record": {}, "blobs": list(blobs), **more}


def _array(size: Any, shape: Any, dtype: Any = "uint8") -> dict[str, Any]:
    return {"name": "a", "size": size, "dtype": dtype, "shape": shape}


@pytest.mark.parametrize(
    "data",
    [
        _sealed(b""),
        _sealed(b"{"),
        _sealed(b"\xff\xfe"),
        _sealed(b"[" * 100_000),
        _sealed(b"1" * 10_000),
        _sealed({}, size=2**32 - 1),
        _sealed({}),
        _sealed([]),
        _sealed(None),
        _sealed(_header(blobs=None)),
        _sealed(_header(blobs=3)),
        _sealed(_header(None)),
        _sealed(_header(config=3)),
        _sealed(_header(record=[1])),
        _sealed(_header(record={"longer than": "x" * 2**20})),
        _sealed(_header({"name": "g"})),
        _sealed(_header({"name": "g", "size": -1})),
        _sealed(_header({"name": "g", "size": 5})),
        _sealed(_header({"name": "g", "size": 10**30})),
        _sealed(_header({"name": "g", "size": float("inf")})),
        _sealed(_header({"name": "g", "size": float("nan")})),
        _sealed(_header({"name": "g", "size": 1}, {"name": "g", "size": 1}), b"xx"),
        _sealed(_header(_array(4, [3])), b"abcd"),
        _sealed(_header(_array(4, [10**30])), b"abcd"),
        _sealed(_header(_array(4, "four")), b"abcd"),
        _sealed(_header(_array(4, None)), b"abcd"),
        _sealed(_header(_array(4, [4], "object")), b"abcd"),
        _sealed(_header(_array(4, [4], ["uint8"])), b"abcd"),
        _sealed(_header(_array(3, [1], "int32")), b"abc"),
        _sealed(_header(_array(0, [0]))),
        _sealed(_header(), b"left over"),
        _sealed(_header()),
        b"",
        b"\x8bITGM\0" + bytes(80),
        b"\x8bITGM\4" + bytes(80),
    ],
    ids=range(35),
)
def test_a_wrong_header_is_refused_although_the_checksum_is_right(data: bytes) -> None:
    with pytest.raises(ModelError) as caught:
        modelfile.read(data)
    assert "\n" not in str(caught.value)
    assert data[5:6] != bytes([modelfile.VERSION]) or "header" in str(caught.value) or "graphs" in str(caught.value)


def _external(tensor: TensorProto) -> None:
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")


def _external_attribute(model: onnx.ModelProto) -> None:
    tensor = numpy_helper.from_array(np.ones(3, np.float32))
    _external(tensor)
    model.graph.node.append(helper.make_node("Constant", [], ["c"], value=tensor))


def _sparse() -> onnx.SparseTensorProto:
    values = numpy_helper.from_array(np.ones(1, np.float32), "s")
    return helper.make_sparse_tensor(values, numpy_helper.from_array(np.zeros(1, np.int64)), [3])


def _nested(model: onnx.ModelProto) -> None:
    inner = helper.make_graph([helper.make_node("If", ["a"], ["b"])], "inner", [], [])
    model.graph.node[0].attribute.append(helper.make_attribute("body", inner))


HOSTILE: dict[str, Edit] = {
    "operator": lambda model: model.graph.node.append(helper.make_node("Loop", ["w"], ["x"])),
    "operator not ASCII": lambda model: model.graph.node.append(helper.make_node("Relü", ["w"], ["x"])),
    "domain": lambda model: model.graph.node.append(helper.make_node("Relu", ["w"], ["x"], domain="evil")),
    "external data": lambda model: _external(model.graph.initializer[0]),
    "external data in an attribute": _external_attribute,
    "nested graph": _nested,
    "functions": lambda model: model.functions.add(name="f"),
    "training": lambda model: model.training_info.add().algorithm.node.add(op_type="Loop"),
    "sparse initializer": lambda model: model.graph.sparse_initializer.append(_sparse()),
    "sparse attribute": lambda model: model.graph.node[0].attribute.append(helper.make_attribute("s", _sparse())),
    "no graph": lambda model: model.ClearField("graph"),
}


@pytest.mark.parametrize("edit", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_graph_is_refused_before_it_is_run(tiny: ModelFile, edit: Edit) -> None:
    model = onnx.load_from_string(PLAIN)
    edit(model)
    data = modelfile.write(replace(tiny, graphs={**tiny.graphs, "synthesis": model.SerializeToString()}))
    with pytest.raises(ModelError, match="graph 'synthesis' of the model file is refused"):
        modelfile.read(data)


def test_a_field_number_that_others_read_modulo_2_to_32_hides_nothing() -> None:
    node = helper.make_node("Loop", ["w"], ["x"]).SerializeToString()
    hidden = b"\x8a\x80\x80\x80\x10" + bytes([len(node)]) + node  # field 1 of 32 bits: a node
    graph = onnx.load_from_string(PLAIN).graph.SerializeToString() + hidden
    with pytest.raises(ModelError, match="not ONNX"):
        check_graph("synthesis", b"\x3a" + bytes([len(graph)]) + graph)
    check_graph("synthesis", PLAIN)


@pytest.mark.parametrize("graph", [b"", b"garbage", b"\x3a\x7f", b"\x3a\x00\x3a\x00", b"\xff" * 20], ids=range(5))
def test_what_is_no_onnx_is_refused(graph: bytes) -> None:
    with pytest.raises(ModelError, match="not ONNX"):
        check_graph("analysis", graph)


def test_damaged_onnx_is_refused_or_known_operators_only(rng: np.random.Generator, seed: int) -> None:
    refused = 0
    for _ in range(2000):
        damaged = bytearray(PLAIN)
        for at in rng.integers(0, len(PLAIN), 2):
            damaged[int(at)] = int(rng.integers(256))
        try:
            check_graph("analysis", bytes(damaged))
        except ModelError:
            refused += 1
    assert refused > 200, f"seed {seed}"


RIGHT = {  # what each graph of `tiny` returns for 64 x 64 pixels
    "analysis": np.zeros((1, 8, 4, 4), np.float32),
    "hyper_analysis": np.zeros((1, 4, 1, 1), np.float32),
    "synthesis": np.zeros((1, 64, 64, 3), np.uint8),
}


def _call(model: Model, graph: str) -> Any:
    window, y = Window(np.zeros((64, 64, 3), np.uint8), (0, 0, 4, 4)), np.zeros((1, 8, 4, 4), np.float32)
    return getattr(model, graph)(window if graph == "analysis" else y, 0)


WRONG: dict[str, Callable[[np.ndarray], list[np.ndarray]]] = {
    "dtype": lambda right: [right.astype(np.float64)],
    "shape": lambda right: [np.repeat(right, 2, axis=2)],
    "axes": lambda right: [right[0]],
    "none": lambda right: [np.zeros((*right.shape[:-1], 0), right.dtype)],
    "number": lambda right: [right, right, right],
}
NOT_FINITE = [float("nan"), float("inf"), -1e30]


@pytest.mark.parametrize("graph", ENCODING_GRAPHS + DECODING_GRAPHS)
def test_a_graph_that_returns_what_it_should_not_is_an_error(tiny: ModelFile, graph: str) -> None:
    right = RIGHT[graph]

    def model(*outputs: np.ndarray) -> Model:
        return Model(replace(tiny, graphs={**tiny.graphs, graph: returns(*outputs)}))

    assert _call(model(right), graph) is not None
    for kind, change in WRONG.items():
        wrong = model(*change(right))
        message = _refused(lambda: _call(wrong, graph))  # noqa: B023
        assert message.startswith(f"graph '{graph}' of model 'tiny' returned"), f"wrong {kind}: {message}"
    for value in NOT_FINITE if right.dtype == np.float32 else ():
        strange = right.copy()
        strange.flat[-1] = value
        with pytest.raises(ModelError, match=f"graph '{graph}' of model 'tiny' returned"):
            _call(model(strange), graph)


def test_decoding_with_a_hostile_model_ends_in_an_error(shipped: ModelFile) -> None:
    honest = container.read(intaglio.encode(np.full((5, 7, 3), 99, np.uint8), 10))
    unknown_input = onnx_of([helper.make_node("Relu", ["nothing"], ["out"])], ["out"])
    for graph in DECODING_GRAPHS:
        for bad in (PLAIN, unknown_input):
            model = Model(replace(shipped, graphs={**shipped.graphs, graph: bad}))
            data = container.write(Container(replace(honest.header, model_id=model.model_id), honest.payloads))
            with pytest.raises(ModelError) as caught:
                intaglio.decode(data, model=model)
            assert "\n" not in str(caught.value)
