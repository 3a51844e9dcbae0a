"""The golden streams of tests/golden/rans: each decodes, with every implementation, to the symbols beside it."""

from __future__ import annotations

import runpy
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import reference_rans as reference
from intaglio.rans import Tables
from rans_cases import IMPLEMENTATIONS, lanes_of, read, reference_outcome, tables_of

FOLDER = Path(__file__).parent / "golden" / "rans"
FILES = sorted(FOLDER.glob("*.bin"))
each_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


@dataclass(frozen=True)
class Golden:
    """What a file holds."""

    tables: Tables
    indexes: list[np.ndarray]
    symbols: list[list[int]]
    stream: bytes


class Fields:
    """A file's numbers, one after the other."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, layout: str) -> tuple[Any, ...]:
        values = struct.unpack_from(f"<{layout}", self.data, self.at)
        self.at += struct.calcsize(f"<{layout}")
        return values


def load(path: Path) -> Golden:
    """Reads a file as README.md lays it out."""
    fields = Fields(path.read_bytes())
    (count,) = fields.take("I")
    heads = [fields.take("iI") for _ in range(count)]
    tables = tables_of(*[(first, fields.take(f"{size}H")) for first, size in heads])
    indexes: list[np.ndarray] = []
    symbols: list[list[int]] = []
    (count,) = fields.take("I")
    for _ in range(count):
        size, period = fields.take("II")
        places = np.arange(size) % max(period, 1)
        indexes.append(np.array(fields.take(f"{period}B"), np.uint8)[places])
        symbols.append(np.array(fields.take(f"{period}i"), np.int32)[places].tolist())
    (length,) = fields.take("I")
    (stream,) = fields.take(f"{length}s")
    assert fields.at == len(fields.data)
    return Golden(tables, indexes, symbols, stream)


@each_file
def test_a_golden_stream_is_decoded_by_every_implementation(path: Path) -> None:
    golden = load(path)
    for implementation in IMPLEMENTATIONS:
        assert read(golden.stream, golden.indexes, golden.tables, implementation) == golden.symbols, implementation


@each_file
def test_a_golden_stream_is_decoded_by_the_reference_coder(path: Path) -> None:
    golden = load(path)
    assert reference_outcome(golden.stream, golden.indexes, golden.tables) == golden.symbols


def test_there_is_a_small_golden_stream_of_each_kind() -> None:
    every = {path.stem: load(path) for path in FILES}
    assert {lanes_of(golden.stream) for golden in every.values()} >= {1, 4, 16, 64}
    assert {golden.stream[0] >> 3 for golden in every.values()} == {0, 1}
    assert max(len(golden.indexes) for golden in every.values()) > 2
    assert max(len(part) for golden in every.values() for part in golden.indexes) > 2 * reference.BLOCK
    assert all(path.stat().st_size < 10_000 for path in FILES)
    assert sum(path.stat().st_size for path in FILES) < 60_000
    listed = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert all(f"| `{name}` " in listed for name in every)


def test_the_script_makes_the_golden_streams_that_are_stored() -> None:
    made = {name: golden.file() for name, golden in runpy.run_path(str(FOLDER / "make.py"))["goldens"]().items()}
    assert made == {path.stem: path.read_bytes() for path in FILES}
