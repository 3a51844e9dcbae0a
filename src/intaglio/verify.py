"""Whether this machine decodes exactly: the fast path beside the slow reference, and a digest to compare machines."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intaglio import codec, container
from intaglio.bundle import Model, ReferenceModel
from intaglio.coders import Decode, Floats, Frozen
from intaglio.errors import FormatError
from intaglio.integer import LOC_STEPS
from intaglio.traversal import latents

SELFTEST_RATES = (0, 49, 99, 149, 198)
SELFTEST_GRID = (3, 5)  # of z, rows and columns


@dataclass(frozen=True)
class Slice:
    """What one slice was decoded with: rows uint8, means in 1/16 int32 (None for z), symbols int32."""

    rows: NDArray[np.uint8]
    loc: NDArray[np.int32] | None
    symbols: NDArray[np.int32]

    def bytes(self) -> Iterator[bytes]:
        """Everything, little-endian."""
        yield self.rows.tobytes()
        if self.loc is not None:
            yield self.loc.astype("<i4").tobytes()
        yield self.symbols.astype("<i4").tobytes()


@dataclass(frozen=True)
class Verification:
    """symbols: how many were looked at; differences: a sentence for each kind, none if the machine is exact; digest:
    SHA-256, hexadecimal, of every table row, mean and symbol. On exact machines a file has one digest.
    """

    symbols: int
    differences: tuple[str, ...]
    digest: str

    @property
    def exact(self) -> bool:
        """Whether fast path and reference agree."""
        return not self.differences


@dataclass
class _Log:
    slices: list[Slice] = field(default_factory=list)
    fault: str = ""


class _WatchedDecode(Decode):
    """Decodes and keeps what it was given."""

    def __init__(self, log: _Log, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._log, self._loc = log, None

    def gaussian(self, y: Floats | None, y_hat: Floats, params: tuple[Floats, Any], step: int) -> Floats:
        self._loc = params[0]
        return super().gaussian(y, y_hat, params, step)

    def _code(self, symbols: NDArray[np.int32] | None, rows: NDArray[np.uint8]) -> NDArray[np.int32]:
        found = super()._code(symbols, rows)
        self._log.slices.append(_slice(rows, self._loc, found))
        return found


class _Made(Frozen):
    """Symbols that are the same on every machine: hashes of their positions, larger where the table is wider."""

    def __init__(self, log: _Log, channels: int, grid: tuple[int, int]) -> None:
        super().__init__(channels)
        self._log, self._loc, self._grid = log, None, grid
        self._count = 0

    def _z_grid(self, z: Floats | None) -> tuple[int, int]:
        return self._grid

    def gaussian(self, y: Floats | None, y_hat: Floats, params: tuple[Floats, Any], step: int) -> Floats:
        self._loc = params[0]
        return super().gaussian(y, y_hat, params, step)

    def _code(self, symbols: NDArray[np.int32] | None, rows: NDArray[np.uint8]) -> NDArray[np.int32]:
        hashed = np.arange(self._count, self._count + rows.size, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        self._count += rows.size
        hashed = (hashed ^ (hashed >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9) >> np.uint64(40)
        reach = rows.reshape(-1).astype(np.int64) ** 2 // 32
        found = (hashed.astype(np.int64) % (2 * reach + 1) - reach).astype(np.int32).reshape(rows.shape)
        self._log.slices.append(_slice(rows, self._loc, found))
        return found


def _slice(rows: NDArray[np.uint8], loc: Floats | None, symbols: NDArray[np.int32]) -> Slice:
    fixed = None if loc is None else np.rint(loc.astype(np.float64) * LOC_STEPS).astype(np.int32)
    return Slice(rows.copy(), fixed, symbols.copy())


def verify(data: bytes, model: codec.ModelName | None = None, threads: int | None = None) -> Verification:
    """Decodes .itg bytes up to the symbols, with the fast path and with the reference.

    model, threads: as for `codec.decode`. Raises what that raises, if already the fast path fails.
    """
    coded = container.read(data)
    runner = codec.decoder(coded.header, model, threads)
    logs = _Log(), _Log()
    for box, payload in zip(container.tile_grid(coded.header), coded.payloads, strict=True):
        grid = tuple(-(-side // container.BLOCK) for side in (box.height, box.width))
        for log, net in zip(logs, (runner, ReferenceModel(runner)), strict=True):
            coder = _WatchedDecode(log, runner.latent, runner.tables, payload, grid)
            _walk(log, net, coded.header.rate, coder)
    return _compare(*logs)


def selftest(model: Model) -> Verification:
    """The same on symbols that are made up, at several qualities: no picture and no float network takes part."""
    logs = _Log(), _Log()
    for rate in SELFTEST_RATES:
        for log, net in zip(logs, (model, ReferenceModel(model)), strict=True):
            _walk(log, net, rate, _Made(log, model.latent, SELFTEST_GRID))
    return _compare(*logs)


def _walk(log: _Log, net: Any, rate: int, coder: Frozen) -> None:
    try:
        latents(net, None, rate, coder)
    except FormatError as error:  # after a difference the stream makes no sense
        log.fault = log.fault or str(error)


def _compare(fast: _Log, slow: _Log) -> Verification:
    if fast.fault:
        raise FormatError(fast.fault)
    differences = []
    names = {"rows": "table rows", "loc": "means", "symbols": "symbols"}
    for name, words in names.items():
        pairs = [(getattr(a, name), getattr(b, name)) for a, b in zip(fast.slices, slow.slices, strict=False)]
        wrong = sum(int((a != b).sum()) for a, b in pairs if a is not None)
        if wrong:
            differences.append(f"{wrong} {words} differ between the fast path and the reference")
    if slow.fault:
        differences.append(f"the reference cannot decode the file: {slow.fault}")
    digest = hashlib.sha256()
    for each in fast.slices:
        for part in each.bytes():
            digest.update(part)
    return Verification(sum(each.symbols.size for each in fast.slices), tuple(differences), digest.hexdigest())
