"""Whether this machine decodes exactly: the fast path beside the slow reference, and a digest to compare machines."""

from __future__ import annotations

import hashlib
import platform
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intaglio import codec, container, rans
from intaglio import given as known
from intaglio.bundle import Model, ReferenceModel
from intaglio.coders import Blind, Decode, Floats, Frozen
from intaglio.errors import FormatError
from intaglio.given import KINDS
from intaglio.quantiser import Quantiser
from intaglio.scales import LOC_STEPS
from intaglio.traversal import Layout, latents

# Rate, rows and columns of z. Never changed: digests of a model are compared between machines and versions.
SELFTEST = ((0, (3, 5)), (49, (1, 1)), (98, (6, 9)), (149, (1, 6)), (198, (3, 5)))
_NAMES = {"rows": "table rows", "loc": "means", "symbols": "symbols"}


@dataclass(frozen=True)
class Slice:
    """What one slice was decoded with: rows uint8, means float32 (None for z), symbols int32."""

    rows: NDArray[np.uint8]
    loc: NDArray[np.float32] | None
    symbols: NDArray[np.int32]

    def bytes(self) -> Iterator[bytes]:
        """Everything, little-endian; means as int32, in 1/16."""
        yield self.rows.tobytes()
        if self.loc is not None:
            yield np.rint(self.loc.astype(np.float64) * LOC_STEPS).astype("<i4").tobytes()
        yield self.symbols.astype("<i4").tobytes()


Show = Callable[[Slice], None]
MakeCoder = Callable[[Model, Show], Frozen]


@dataclass(frozen=True)
class Verification:
    """symbols: how many were looked at; differences: a sentence for each kind, none if the machine is exact; digest:
    SHA-256, hexadecimal, of every table row, mean (int32, in 1/16) and symbol (int32) of the fast path, little-endian,
    slice by slice. On exact machines a file has one digest.
    """

    symbols: int
    differences: tuple[str, ...]
    digest: str

    @property
    def exact(self) -> bool:
        """Whether fast path and reference agree."""
        return not self.differences


def verify(
    data: bytes,
    model: codec.ModelName | None = None,
    threads: int | None = None,
    progress: codec.Progress | None = None,
    given: known.Picture | None = None,
) -> Verification:
    """Decodes .itg bytes up to the symbols, with the fast path and with the reference, tile by tile.

    model, threads, given: as for `codec.decode`. progress: called with steps done and steps in all. Raises what
    `decode` raises; a FormatError only if the reference cannot decode the file either.
    """
    coded = container.read(data)
    runner = codec.decoder(coded.header, model, threads)
    seen = codec.planes_for(coded.header, runner, given)
    boxes = container.tile_grid(coded.header)
    comparison = _Comparison(runner, len(boxes), progress)
    for number, (box, payload) in enumerate(zip(boxes, coded.payloads, strict=True)):
        grid = -(-box.height // container.BLOCK), -(-box.width // container.BLOCK)
        make = partial(_Watched, payload=payload, grid=grid)
        comparison.run(f"tile {number}", coded.header.rate, make, codec.tile_of(seen, box))
    return comparison.result()


def selftest(model: Model, progress: codec.Progress | None = None) -> Verification:
    """The same on symbols that are made up, at several qualities: neither a picture nor a float network takes part."""
    comparison = _Comparison(model, len(SELFTEST), progress)
    for rate, grid in SELFTEST:
        comparison.run(f"rate step {rate}", rate, partial(_Made, grid=grid), _made_up(model, grid))
    return comparison.result()


def versions() -> dict[str, str]:
    """What a digest was made with: package versions, kind of machine, implementation of the entropy coder."""
    return {
        "onnxruntime": sys.modules["onnxruntime"].__version__,  # only `intaglio.runtimes` may import it
        "numpy": np.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "coder": rans.implementations()[0],
    }


def _made_up(model: Model, grid: tuple[int, int]) -> codec.Pixels | None:
    """Planes that are the same on every machine, for a model that is given any: uint8 (64 rows, 64 columns, G)."""
    if model.given is None:
        return None
    shape = (*(container.BLOCK * side for side in grid), KINDS[model.given])
    return (_hashed(np.arange(np.prod(shape), dtype=np.uint64)) % np.uint64(256)).astype(np.uint8).reshape(shape)


def _hashed(place: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """24 bits for each number, any shape, with SplitMix64's constants; whole numbers modulo 2^64."""
    hashed = place * np.uint64(0x9E3779B97F4A7C15)
    return ((hashed ^ (hashed >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)) >> np.uint64(40)


class _Shown(Frozen):
    """A coder whose slices are shown to somebody."""

    def __init__(self, show: Show, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._show, self._loc = show, None

    def gaussian(self, y: Floats | None, y_hat: Floats, params: tuple[Floats, Any], step: int) -> Floats:
        self._loc = params[0]
        return super().gaussian(y, y_hat, params, step)

    def _code(self, symbols: NDArray[np.int32] | None, rows: NDArray[np.uint8]) -> NDArray[np.int32]:
        return self._shown(rows, super()._code(symbols, rows))

    def _shown(self, rows: NDArray[np.uint8], found: NDArray[np.int32]) -> NDArray[np.int32]:
        self._show(Slice(rows, self._loc, found))
        return found


class _Invented(Blind):
    """Symbols that are the same on every machine: hashes of their positions, larger where the table is wider."""

    def __init__(self, layout: Layout, grid: tuple[int, int], quantiser: Quantiser) -> None:
        super().__init__(layout, grid, quantiser)
        self._count = 0

    def _code(self, symbols: NDArray[np.int32] | None, rows: NDArray[np.uint8]) -> NDArray[np.int32]:
        place = np.arange(self._count, self._count + rows.size, dtype=np.uint64).reshape(rows.shape)
        self._count += rows.size
        hashed = _hashed(place)
        reach = rows.astype(np.int64) ** 2 // 32
        found = hashed.astype(np.int64) % (2 * reach + 1) - reach
        found[hashed % np.uint64(61) == 0] <<= 6  # beyond the limits of the fine planes,
        found[hashed % np.uint64(4093) == 0] <<= 17  # and of every plane, and where float32 has no sixteenths
        return found.astype(np.int32)


class _Watched(_Shown, Decode):
    """Decodes a payload and shows it."""

    def __init__(self, model: Model, show: Show, payload: bytes, grid: tuple[int, int]) -> None:
        super().__init__(show, model.layout, model.tables, payload, grid, model.quantiser)

    def _follow(self, rows: NDArray[np.uint8]) -> NDArray[np.int32]:
        return self._shown(rows, super()._follow(rows))


class _Made(_Shown, _Invented):
    """Invents symbols and shows them."""

    def __init__(self, model: Model, show: Show, grid: tuple[int, int]) -> None:
        super().__init__(show, model.layout, grid, model.quantiser)


class _Comparison:
    """Walks a model's fast path and its reference in turn; keeps the slices of one tile, no more."""

    def __init__(self, model: Model, parts: int, progress: codec.Progress | None) -> None:
        self._model, self._reference = model, ReferenceModel(model)
        self._progress, self._done, self._total = progress, 0, 2 * parts
        self._digest, self._symbols = hashlib.sha256(), 0
        self._wrong: Counter[str] = Counter()
        self._first: dict[str, str] = {}
        self._faults: list[str] = []

    def run(self, part: str, rate: int, make: MakeCoder, given: codec.Pixels | None) -> None:
        """Compares one tile, or what stands for one, with its part of what is given.

        Raises FormatError if neither way can decode it.
        """
        kept: list[Slice] = []
        keep, compare = partial(self._keep, kept), partial(self._compare, part, iter(enumerate(kept)))
        fast, y_hat = self._walk(self._model, rate, make(self._model, keep), given)
        slow, wanted = self._walk(self._reference, rate, make(self._model, compare), given)
        if fast and slow:
            raise FormatError(slow)
        if y_hat is not None and wanted is not None and not np.array_equal(y_hat, wanted):
            self._faults.append(f"{int((y_hat != wanted).sum())} latents of {part} differ")
        for fault, who in ((fast, "fast path"), (slow, "reference")):
            if fault:
                self._faults.append(f"the {who} cannot decode {part} ({fault})")

    def result(self) -> Verification:
        """What was found."""
        counts = [
            f"{self._wrong[name]} {words} differ, first in {self._first[name]}"
            for name, words in _NAMES.items()
            if self._wrong[name]
        ]
        return Verification(self._symbols, (*counts, *self._faults), self._digest.hexdigest())

    def _walk(self, net: Any, rate: int, coder: Frozen, given: codec.Pixels | None) -> tuple[str, Floats | None]:
        """Why the walk failed, or nothing, and y_hat if it did not: after a wrong table the rest of a stream makes no
        sense.
        """
        fault, y_hat = "", None
        try:
            y_hat = latents(net, None, rate, coder, given)
            if isinstance(coder, Decode):
                coder.finish()
        except FormatError as error:
            fault = str(error)
        self._done += 1
        if self._progress:
            self._progress(self._done, self._total)
        return fault, y_hat

    def _keep(self, kept: list[Slice], found: Slice) -> None:
        for part in found.bytes():
            self._digest.update(part)
        self._symbols += found.symbols.size
        kept.append(found)

    def _compare(self, part: str, kept: Iterator[tuple[int, Slice]], found: Slice) -> None:
        number, wanted = next(kept, (0, found))  # nothing is left where the fast path broke off, which is said
        for name in _NAMES:
            ours, theirs = getattr(wanted, name), getattr(found, name)
            if ours is not None and (count := int((ours != theirs).sum())):
                self._wrong[name] += count
                self._first.setdefault(name, f"{part}, slice {number}")
