"""Model files (.itgm): bytes <-> graphs, arrays, configuration and training record; runs nothing.

Layout, little-endian: magic `8B 49 54 47 4D` (0x8B "ITGM"), version u8 (3), u32 length of a JSON header, the header,
the blobs it describes back to back, SHA-256 of everything before. Graphs are ONNX, checked by `intaglio.onnxgraph`.
Arrays that deflate makes a tenth smaller are zlib streams; their size in full stands in the header as `raw`.
"""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intaglio.errors import ArgumentError, ModelError
from intaglio.onnxgraph import check_graph
from intaglio.quality import LMBDAS

MAGIC = b"\x8bITGM"
VERSION, READ = 3, (1, 2, 3)  # what is written, and what is read: 1 had neither deflated arrays nor gains, 2 no trellis
MAX_BYTES = 1 << 28
WORTH = 0.9  # a blob is deflated if that leaves no more of it
MAX_HEADER_BYTES = 1 << 20  # JSON grows about thirtyfold when it is read
ENCODING_GRAPHS = ("analysis", "hyper_analysis")
DECODING_GRAPHS = ("synthesis",)
OPTIONAL_GRAPHS = ("feedback",)  # only encoders run them
WITHOUT_HYPERPRIOR = "y_rows"  # an array that only models without z have
MAX_LOC = 1 << 24  # entries of `y_loc` stay below it on either side of 0: so far float32 holds every whole number
DTYPES = ("int8", "uint8", "uint16", "int32", "float32")
ID_BYTES = 4
_PREFIX = struct.Struct("<5sBI")
_DIGEST = 32


@dataclass(frozen=True)
class ModelFile:
    """What a model file holds.

    name: the model's registry name. graphs: ONNX bytes by name, those of `graph_names`, and any of OPTIONAL_GRAPHS.
    arrays: integer tables and networks by name. config: what the codec must know of the network (JSON values). record:
    how it was trained (JSON values).
    """

    name: str
    graphs: Mapping[str, bytes]
    arrays: Mapping[str, NDArray[Any]]
    config: Mapping[str, Any]
    record: Mapping[str, Any]

    def decoding_hash(self) -> bytes:
        """SHA-256 of the decoding half (graphs, arrays, configuration): what a picture file names its model by.

        Hashed are the configuration as JSON, then each blob after a line with its name (for an array with dtype and
        shape) and size; docs/models.md spells it out.
        """
        digest = hashlib.sha256(json.dumps(self.config, sort_keys=True).encode())
        blobs = [(name, self.graphs[name]) for name in DECODING_GRAPHS]
        for name, array in sorted(self.arrays.items()):
            blobs.append((f"{name} {array.dtype.name} {list(array.shape)}", _array_bytes(array)))
        for name, blob in blobs:
            digest.update(f"\n{name} {len(blob)}\n".encode())
            digest.update(blob)
        return digest.digest()

    @property
    def lmbdas(self) -> tuple[float, float]:
        """Lambda at the rate steps 0 and 198."""
        low, high = self.config.get("lmbdas", LMBDAS)
        return low, high

    @property
    def distortion(self) -> str:
        """What the model was trained for: "mse", "l1" or "ms-ssim"."""
        return trained_for(self.record)

    @property
    def model_id(self) -> bytes:
        """The first 4 bytes of `decoding_hash`."""
        return self.decoding_hash()[:ID_BYTES]


def trained_for(record: Mapping[str, Any]) -> str:
    """What a model of this training record was trained for; squared error where nothing is said."""
    return record.get("train", {}).get("distortion", "mse")


def graph_names(arrays: Container[str]) -> set[str]:
    """The graphs that a model with these arrays must have."""
    graphs = {*ENCODING_GRAPHS, *DECODING_GRAPHS}
    return graphs - {"hyper_analysis"} if WITHOUT_HYPERPRIOR in arrays else graphs


def _array_bytes(array: NDArray[Any]) -> bytes:
    return np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()


def write(model: ModelFile) -> bytes:
    """The model file's bytes. Raises ArgumentError if a graph is missing, an array has a dtype files do not hold, or
    configuration and record are longer than a header may be.
    """
    wanted = graph_names(model.arrays)
    if set(model.graphs) - {*OPTIONAL_GRAPHS} != wanted:
        raise ArgumentError(f"a model file holds the graphs {', '.join(sorted(wanted))}; got {', '.join(model.graphs)}")
    blobs: list[tuple[str, bytes, dict[str, Any]]] = [(name, blob, {}) for name, blob in model.graphs.items()]
    for name, array in model.arrays.items():
        if array.dtype.name not in DTYPES:
            raise ArgumentError(f"array {name!r} is {array.dtype.name}; a model file holds {', '.join(DTYPES)}")
        kind = {"dtype": array.dtype.name, "shape": list(array.shape)}
        blob, packed = _packed(_array_bytes(array))
        blobs.append((name, blob, kind | packed))
    header = {
        "name": model.name,
        "config": model.config,
        "record": model.record,
        "blobs": [{"name": name, "size": len(blob), **more} for name, blob, more in blobs],
    }
    text = json.dumps(header, sort_keys=True).encode()
    if len(text) > MAX_HEADER_BYTES:
        raise ArgumentError(f"the model file's header has {len(text)} bytes; at most {MAX_HEADER_BYTES} are possible")
    body = b"".join([_PREFIX.pack(MAGIC, VERSION, len(text)), text, *(blob for _, blob, _ in blobs)])
    return body + hashlib.sha256(body).digest()


def _packed(raw: bytes) -> tuple[bytes, dict[str, int]]:
    """A blob as it is stored, and what its entry in the header says of that."""
    packed = zlib.compress(raw, 9)
    return (packed, {"raw": len(raw)}) if len(packed) <= WORTH * len(raw) else (raw, {})


def _unpacked(blob: memoryview, raw: int) -> bytes:
    """Inverse of `_packed`; never makes more than `raw` bytes. Raises ValueError for other streams."""
    inflate = zlib.decompressobj()
    try:
        found = inflate.decompress(blob, raw + 1)
    except zlib.error as error:
        raise ValueError(f"deflate: {error}") from None
    if len(found) != raw or not inflate.eof or inflate.unused_data:
        raise ValueError("deflate: not the size that the header says")
    return found


def read(data: bytes) -> ModelFile:
    """Inverse of `write`. Raises ModelError unless the bytes are a whole, undamaged model file of known graphs."""
    body = _checked_body(data)
    size = _PREFIX.unpack_from(body)[2]
    start = _PREFIX.size + size
    if start > len(body) or size > MAX_HEADER_BYTES:
        raise ModelError("the model file is damaged: its header does not fit")
    try:
        header = json.loads(bytes(body[_PREFIX.size : start]))
        graphs, arrays = _blobs(header["blobs"], body[start:])
        model = ModelFile(str(header["name"]), graphs, arrays, dict(header["config"]), dict(header["record"]))
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise ModelError(f"the model file is damaged: its header is wrong ({error})") from None
    missing = graph_names(arrays) ^ (set(graphs) - {*OPTIONAL_GRAPHS})
    if missing:
        raise ModelError(f"the model file is damaged: graphs missing or unknown: {', '.join(sorted(missing))}")
    for name, graph in graphs.items():
        check_graph(name, graph)
    return model


def _checked_body(data: bytes) -> memoryview:
    if len(data) > MAX_BYTES:
        raise ModelError(f"the model file has {len(data)} bytes; at most {MAX_BYTES} are read")
    if len(data) < _PREFIX.size + _DIGEST or data[: len(MAGIC)] != MAGIC:
        raise ModelError("this is not a model file (.itgm)")
    version = data[len(MAGIC)]
    if version not in READ:
        known = " and ".join(map(str, READ))
        raise ModelError(f"the model file has version {version}; this program reads versions {known}: update it")
    body = memoryview(data)[:-_DIGEST]
    if hashlib.sha256(body).digest() != data[-_DIGEST:]:
        raise ModelError("the model file is damaged: its checksum does not match")
    return body


def _blobs(entries: list[dict[str, Any]], data: memoryview) -> tuple[dict[str, bytes], dict[str, NDArray[Any]]]:
    graphs: dict[str, bytes] = {}
    arrays: dict[str, NDArray[Any]] = {}
    position = whole = 0
    for entry in entries:
        name, size = str(entry["name"]), int(entry["size"])
        raw = int(entry.get("raw", size))
        whole += raw
        if size < 0 or raw < 0 or position + size > len(data) or whole > MAX_BYTES or name in graphs or name in arrays:
            raise ValueError(f"blob {name!r}")
        stored = data[position : position + size]
        blob = _unpacked(stored, raw) if "raw" in entry else bytes(stored)
        position += size
        if "dtype" not in entry:
            graphs[name] = blob
        elif entry["dtype"] in DTYPES:
            dtype = np.dtype(entry["dtype"]).newbyteorder("<")
            arrays[name] = np.frombuffer(blob, dtype).reshape([int(side) for side in entry["shape"]])
        else:
            raise ValueError(f"dtype of {name!r}")
    if position != len(data):
        raise ValueError("bytes left over")
    return graphs, arrays
