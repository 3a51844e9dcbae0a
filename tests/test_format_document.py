"""docs/format.md says what the code does: its example, quality table, decoding loop and networks are run here."""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import reference_rans as reference
from document import PAGE, DamagedError, block, documented_loop
from intaglio import codec, container, given
from intaglio.bundle import Model, ReferenceModel, load_model
from intaglio.container import Container, Header, read, write
from intaglio.integer import Reference, from_arrays
from intaglio.quality import RATES, quality_to_rate, rate_to_lmbda
from intaglio.rans import Encoder
from intaglio.traversal import Layout
from rans_cases import outcome, tables_of
from small_models import tiny

# Symbols of every kind (inside, at the edges, escapes up to the ends of int32, zeros and surprises of a certain
# table), in slices, as the coder wrote them.
TABLES = [
    (-1, [3000, 26768, 2990, 10]),
    (-2, [2000, 6000, 16000, 6000, 2000, 768]),
    (7, [32767, 1]),
    (-1, [3, 32760, 5]),
]
SYMBOLS = [[0, 1, -1, 0, 2, -3, 40, -300], [], [100000, -(2**31), 2**31 - 1, 7, 7, 0, 5, 6, 8, 0, -1, 0]]
INDEXES = [[0, 0, 0, 1, 1, 1, 1, 0], [], [0, 1, 2, 2, 2, 3, 3, 2, 2, 1, 3, 3]]
PAYLOAD = bytes.fromhex(
    "08 5d0a fe7f fdff ffff 0800 4025 0100 0d9e ffff ffe2 0000 0007 ffff ffe8 0000 0008 69f8 0004 ae00 3418 00eb 64f2"
)


SMALL = Path(__file__).parent / "golden" / "v1"


def documented_parts() -> Callable[[str, int, int, int], list[tuple[int, int, int, int, int]]]:
    names: dict[str, Any] = {}
    exec(block("python", "def parts("), names)
    return names["parts"]


def documented_networks() -> dict[str, Any]:
    names: dict[str, Any] = {"np": np}
    exec(block("python", "def context("), names)
    return names


def coded(symbols: Sequence[Sequence[int]], indexes: Sequence[Sequence[int]]) -> bytes:
    """What the coder makes of the slices with TABLES."""
    encoder = Encoder(tables_of(*TABLES))
    for part, rows in zip(symbols, indexes, strict=True):
        encoder.push(np.array(part, np.int32), np.array(rows, np.uint8))
    return encoder.finish()


def test_example_is_a_file() -> None:
    data = bytes.fromhex(" ".join(line[:26] for line in block("hex").splitlines()))
    header = Header(200, 64, 3, 8, quality_to_rate(50), b"\xde\xad\xbe\xef", tile=2)
    assert read(data) == Container(header, (b"xyz", b""), {"ICCP": b"ab"})
    assert write(read(data)) == data


def test_quality_table_is_the_codes() -> None:
    rows = re.findall(r"^\| (\d+) +\| (\d+) +\| (0\.\d{5}) \|$", PAGE, re.MULTILINE)
    assert [int(row[0]) for row in rows] == [1, 25, 50, 75, 100]
    for quality, rate, lmbda in rows:
        assert quality_to_rate(int(quality)) == int(rate)
        assert f"{rate_to_lmbda(int(rate)):.5f}" == lmbda


def test_documented_loop_decodes_a_payload() -> None:
    assert list(documented_loop()(PAYLOAD, TABLES, INDEXES)) == SYMBOLS


def test_coder_writes_that_payload() -> None:
    assert coded(SYMBOLS, INDEXES) == PAYLOAD


@pytest.mark.parametrize(("count", "lanes"), [(0, 1), (7, 1), (1_000, 2), (9_000, 16), (40_000, 64)])
def test_documented_loop_decodes_what_the_coder_writes(count: int, lanes: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = [0, 1, 3]
    indexes = np.array(rows, np.uint8)[rng.integers(0, 3, count)]
    symbols = np.where(indexes == 3, rng.random(count) < 0.001, np.rint(rng.standard_normal(count) * 2.0)).astype(int)
    parts = [slice(0, count // 3), slice(count // 3, count)]
    want, given = [symbols[part].tolist() for part in parts], [indexes[part].tolist() for part in parts]
    payload = coded(want, given)
    assert 1 << (payload[0] & 7) == lanes, f"seed {seed}"
    assert list(documented_loop()(payload, TABLES, given)) == want, f"seed {seed}"


@pytest.mark.parametrize("lanes", reference.LANES)
def test_documented_loop_decodes_every_number_of_lanes(lanes: int) -> None:
    slices = list(zip(SYMBOLS * 9, INDEXES * 9, strict=True))
    payload = reference.encode(slices, TABLES, lanes)
    assert list(documented_loop()(payload, TABLES, INDEXES * 9)) == SYMBOLS * 9


def refused(payload: bytes) -> bool:
    try:
        list(documented_loop()(payload, TABLES, INDEXES))
    except DamagedError:
        return True
    return False


def test_documented_loop_refuses_what_the_coder_refuses() -> None:
    parts, tables = [np.array(part, np.uint8) for part in INDEXES], tables_of(*TABLES)
    flipped = [bytearray(PAYLOAD) for _ in range(8 * len(PAYLOAD))]
    for bit, each in enumerate(flipped):
        each[bit // 8] ^= 1 << bit % 8
    longer = [PAYLOAD + b"\0", PAYLOAD[:1] + b"\0" + PAYLOAD[1:], PAYLOAD[:9] + b"\1\2" + PAYLOAD[9:]]
    verdicts = set()
    for bad in [*(PAYLOAD[:length] for length in range(len(PAYLOAD))), *map(bytes, flipped), *longer]:
        verdicts.add(refused(bad))
        assert refused(bad) == (outcome(bad, parts, tables, "portable") is None), bad.hex()
    assert verdicts == {False, True}


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model(SMALL / "small.itgm", 1)


def arrays_of(model: Model, network: str) -> dict[str, np.ndarray]:
    start = f"{network}."
    return {name.removeprefix(start): each for name, each in model.file.arrays.items() if name.startswith(start)}


def places(model: Model, k: int) -> list[tuple[int, int, int, int, int]]:
    """What the document says slice k of the model's y holds."""
    return documented_parts()(model.layout.order, model.layout.slices, model.layout.channels, k)


@pytest.mark.parametrize(
    "layout", [Layout(16), Layout(16, "checkerboard"), Layout(16, "channels"), Layout(15, "channels", 5)], ids=str
)
def test_documented_slices_are_the_layouts(layout: Layout) -> None:
    for k in range(layout.steps):
        found = [
            (slice(None), slice(first, last), slice(row, None, stride), slice(column, None, stride))
            for first, last, row, column, stride in documented_parts()(layout.order, layout.slices, layout.channels, k)
        ]
        y = np.arange(layout.channels * 16).reshape(1, layout.channels, 4, 4)
        wanted = layout.parts(k)
        assert len(found) == len(wanted)
        assert all(np.array_equal(y[one], y[other]) for one, other in zip(found, wanted, strict=True))


@pytest.mark.parametrize("grid", [(1, 1), (2, 3)])
def test_documented_networks_are_the_reference(grid: tuple[int, int], model: Model, seed: int) -> None:
    rng, slow, program = np.random.default_rng(seed), ReferenceModel(model), documented_networks()
    rate = int(rng.integers(RATES))
    z = rng.integers(-200, 200, (model.z_rows(0).shape[1], *grid))
    side = program["hyper_synthesis"](arrays_of(model, "hyper_synthesis"), rate, z)
    assert np.array_equal(slow.hyper_synthesis(z[None].astype(np.float32), rate)[0], side), f"seed {seed}"
    assert grid == (1, 1) or np.ptp(side) > 3  # a single place need not vary
    latent = model.layout.channels
    wide = rng.standard_normal((latent, *side.shape[1:])) * 2.0 ** rng.integers(0, 24, (latent, 1, 1))
    y = (np.rint(16 * wide) / 16).astype(np.float32)
    for k, step in enumerate(slow.context_steps):
        means, tables = program["context"](arrays_of(model, f"context_{k}"), places(model, k), rate, side, y)
        loc, index = step(side[None].astype(np.float32), y[None], rate)
        assert np.array_equal(16 * loc[0], means), f"seed {seed}"
        assert np.array_equal(index[0], tables), f"seed {seed}"


def test_documented_network_of_what_is_given_is_the_reference(seed: int) -> None:
    rng, program = np.random.default_rng(seed), documented_networks()
    for name, planes in (("colour", 1), ("reference", 3)):
        arrays = {key.removeprefix("given."): each for key, each in tiny(name, 1).arrays().items()}
        rate, x = int(rng.integers(RATES)), rng.integers(0, 256, (planes, 64, 128))
        found = program["given"](arrays, rate, x)
        network = from_arrays("given", {f"given.{key}": each for key, each in arrays.items()}, Layout(16))
        assert np.array_equal(Reference(network).given(x[None].astype(np.float32), rate)[0], found), f"seed {seed}"
        assert found.any(), f"seed {seed}"


def test_the_digest_of_a_given_picture_is_as_documented() -> None:
    assert "(299 R + 587 G + 114 B + 500) div 1000" in PAGE
    picture = np.arange(2 * 5 * 3, dtype=np.uint8).reshape(2, 5, 3)
    red, green, blue = (picture[:, :, plane].astype(int) for plane in range(3))
    luma = (299 * red + 587 * green + 114 * blue + 500) // 1000
    for kind, samples in (("luma", luma.ravel()), ("picture", picture.ravel())):
        wanted = hashlib.sha256(struct.pack("<II", 5, 2) + bytes(samples.tolist())).digest()[:4]
        assert given.digest(given.planes(picture, kind, (5, 2))) == wanted


@pytest.mark.parametrize("name", ["dot", "odd", "lowest", "highest"])
def test_the_document_alone_decodes_a_golden_file(name: str, model: Model) -> None:
    data = (SMALL / f"{name}.itg").read_bytes()
    assert np.array_equal(codec.decode_latents(data, model=model)[0], documented_latents(data, model))


def documented_latents(data: bytes, model: Model) -> np.ndarray:
    """The latents of a file of one tile, by nothing but what the page says."""
    coded, program, arrays = container.read(data), documented_networks(), model.file.arrays
    (payload,), rate = coded.payloads, coded.header.rate
    ends = np.cumsum(arrays["tables.sizes"])[:-1]
    tables = [
        (int(first), [int(each) for each in part])
        for first, part in zip(arrays["tables.first"], np.split(arrays["tables.frequencies"], ends), strict=True)
    ]
    height, width = (-(-side // 64) for side in (coded.header.height, coded.header.width))
    z_tables = np.repeat(arrays["z_rows"][rate], height * width)
    indexes: list[list[int]] = [z_tables.tolist()]
    symbols = documented_loop()(payload, tables, (indexes[-1] for _ in range(1 + model.layout.steps)))
    z = np.array(next(symbols)).reshape(-1, height, width)
    side = program["hyper_synthesis"](arrays_of(model, "hyper_synthesis"), rate, z)
    y = np.zeros((model.layout.channels, *side.shape[1:]), np.float32)
    for k in range(model.layout.steps):
        means, rows = program["context"](arrays_of(model, f"context_{k}"), places(model, k), rate, side, y)
        indexes.append(rows.ravel().tolist())
        found = np.array(next(symbols)).reshape(means.shape).astype(np.float32) + (means / 16).astype(np.float32)
        for first, last, row, column, stride in places(model, k):
            y[first:last, row::stride, column::stride], found = found[: last - first], found[last - first :]
    assert next(symbols, None) is None
    return y
