"""docs/format.md says what the code does: its example, quality table and decoding loop are run here."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from intaglio.container import Container, Header, read, write
from intaglio.quality import quality_to_rate, rate_to_lmbda
from intaglio.rans import Tables, encode

PAGE = (Path(__file__).parent.parent / "docs" / "format.md").read_text(encoding="utf-8")

# Symbols of every kind (inside, at the edges, escapes up to the ends of int32), as the coder wrote them.
TABLES = [(-1, [3000, 26768, 2990, 10]), (-2, [2000, 6000, 16000, 6000, 2000, 768]), (7, [32767, 1])]
SYMBOLS = [0, 1, -1, 0, 2, -3, 40, -300, 100000, -(2**31), 2**31 - 1, 7, 7, 6, 8, 0]
INDEXES = [0, 0, 0, 1, 1, 1, 1, 0, 0, 1, 2, 2, 2, 2, 2, 1]
PAYLOAD = bytes.fromhex(
    "01 2f901b00 5a4c 4143 fcff 7085 011a 00fc ff7e 0080 0000 ff7f ff7f fd7f 0000 00e0 f8ff 2300 feff 0395"
)


class DamagedError(Exception):
    """What `require` of the document's loop raises."""


def require(condition: bool) -> None:
    if not condition:
        raise DamagedError


def block(language: str) -> str:
    found = re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    assert len(found) == 1
    return found[0]


def documented_loop() -> Callable[[bytes, Any, Sequence[int]], Iterator[int]]:
    names: dict[str, Any] = {"struct": struct, "require": require}
    exec(block("python"), names)
    return names["decode"]


def coded(symbols: Sequence[int], indexes: Sequence[int]) -> bytes:
    """What the coder makes of them with TABLES."""
    tables = Tables(
        np.array([first for first, _ in TABLES], np.int32),
        np.array([len(frequencies) for _, frequencies in TABLES], np.int32),
        np.concatenate([frequencies for _, frequencies in TABLES]).astype(np.uint16),
    )
    return encode(np.array(symbols, np.int32), np.array(indexes, np.uint8), tables)


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


@pytest.mark.parametrize(("count", "lanes"), [(0, 1), (7, 1), (6_000, 1), (25_000, 2), (60_000, 4)])
def test_documented_loop_decodes_what_the_coder_writes(count: int, lanes: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    indexes = rng.integers(0, 2, count).tolist()
    symbols = np.rint(rng.standard_normal(count) * 2.0).astype(int).tolist()
    payload = coded(symbols, indexes)
    assert payload[0] == lanes, f"seed {seed}"
    assert list(documented_loop()(payload, TABLES, indexes)) == symbols, f"seed {seed}"


@pytest.mark.parametrize("bad", [PAYLOAD[:-2], PAYLOAD[:-1], PAYLOAD + b"\0\0", b"\3" + PAYLOAD[1:], PAYLOAD[:4]])
def test_documented_loop_refuses_damage(bad: bytes) -> None:
    with pytest.raises((DamagedError, IndexError)):
        list(documented_loop()(bad, TABLES, INDEXES))
