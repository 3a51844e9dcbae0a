"""The coders that are measured: every implementation of ours, and those of other projects that are installed.

None of the peers is a dependency: each is looked for when the benchmark runs. Every coder gets what it wants to
have made ready beforehand (lists, tables, standard deviations); what is timed is coding alone, unless its row
says otherwise.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module, metadata
from importlib.machinery import PathFinder
from importlib.util import find_spec, module_from_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intaglio import rans
from intaglio.bench.workloads import Workload, upper_tails

OURS = "Intaglio"
TORCHAC_SYMBOLS = 20_000  # it wants a whole CDF for every symbol: more would fill the memory
_TAIL_MASS = 1e-9  # CompressAI's default; a table reaches to where the Gaussian leaves half of it on each side
_TAIL_REACH = 6.109410205869398  # of the standard deviation: its upper tail there is _TAIL_MASS / 2


@dataclass(frozen=True)
class Task:
    """A coder made ready for one workload.

    encode: gives the coded bytes; decode: takes them, gives the symbols as the coder has them; restore: makes int32
    (n,) of those, outside the timed part.
    """

    encode: Callable[[], bytes]
    decode: Callable[[bytes], Any]
    restore: Callable[[Any], NDArray[Any]] = np.asarray


@dataclass(frozen=True)
class Coder:
    """A way of calling a coder. `limit`: how many symbols it is given at most; None is all."""

    name: str
    implementation: str
    ready: Callable[[Workload], Task]
    limit: int | None = None


@dataclass(frozen=True)
class Available:
    """The coders that work here, the versions of the peers among them, and why each of the others does not."""

    coders: tuple[Coder, ...]
    versions: dict[str, str]
    missing: dict[str, str]


@dataclass(frozen=True)
class _Peer:
    """A project: its name for people, its package, what to give `pip install`, and what loads its coders.

    CompressAI's coder needs none of its package's dependencies, which hold NumPy below 2.
    """

    name: str
    package: str
    install: str
    load: Callable[[], list[Coder]]


def available() -> Available:
    """Our implementations, fastest first, then the coders of each peer that can be loaded."""
    coders = [Coder(OURS, each, partial(_ours, each)) for each in rans.implementations()]
    versions, missing = {}, {}
    for peer in _PEERS:
        if find_spec(peer.package) is None:
            missing[peer.name] = f"not installed (pip install {peer.install})"
            continue
        try:
            coders += peer.load()
            versions[peer.name] = metadata.version(peer.package)
        except Exception as error:  # whatever is wrong with a peer's installation, the others are measured
            missing[peer.name] = f"cannot be loaded (pip install {peer.install}): {one_line(error)}"
    return Available(tuple(coders), versions, missing)


def one_line(error: Exception) -> str:
    """The error's kind and the beginning of its text, on one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__


def _ours(implementation: str, workload: Workload) -> Task:
    symbols, indexes, tables = workload.symbols, workload.indexes, workload.tables
    return Task(
        partial(rans.encode, symbols, indexes, tables, implementation=implementation),
        lambda data: rans.decode(data, indexes, tables, implementation=implementation),
    )


def _compressai() -> list[Coder]:
    ans, core = (_compressai_module(name) for name in ("ans", "_CXX"))
    ready = partial(_compressai_task, ans, core.pmf_to_quantized_cdf)
    return [
        Coder("CompressAI", "lists ready", partial(ready, False)),
        Coder("CompressAI", "NumPy in and out", partial(ready, True)),
    ]


def _compressai_module(name: str) -> Any:
    """One of CompressAI's compiled modules, without the package around it, which takes PyTorch and seconds."""
    package = find_spec("compressai")
    folders = package.submodule_search_locations if package else None
    spec = PathFinder.find_spec(f"compressai.{name}", folders)
    if spec is None or spec.loader is None:
        raise ImportError(f"the package has no module {name}")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _compressai_task(ans: Any, quantised: Callable[..., list[int]], convert: bool, workload: Workload) -> Task:
    """The Python API takes and gives lists; with `convert`, making them from arrays and back is part of the time."""
    cdfs, offsets = [], []
    for scale in workload.scales:
        reach = int(np.ceil(scale * _TAIL_REACH))
        tails = upper_tails(float(scale), np.arange(-reach, reach + 2) - 0.5)
        cdfs.append(list(quantised([*(-np.diff(tails)).tolist(), 2.0 * float(tails[-1])], 16)))
        offsets.append(-reach)
    tables = cdfs, [len(cdf) for cdf in cdfs], offsets
    encoder, decoder = ans.RansEncoder(), ans.RansDecoder()
    symbols, indexes = workload.symbols, workload.indexes
    if convert:
        return Task(
            lambda: encoder.encode_with_indexes(symbols.tolist(), indexes.tolist(), *tables),
            lambda data: np.array(decoder.decode_with_indexes(data, indexes.tolist(), *tables), np.int32),
        )
    symbol_list, index_list = symbols.tolist(), indexes.tolist()
    return Task(
        lambda: encoder.encode_with_indexes(symbol_list, index_list, *tables),
        lambda data: decoder.decode_with_indexes(data, index_list, *tables),
    )


def _constriction() -> list[Coder]:
    return [Coder("constriction", "Gaussian", partial(_constriction_task, import_module("constriction").stream))]


def _constriction_task(stream: Any, workload: Workload) -> Task:
    family = stream.model.QuantizedGaussian(-workload.reach, workload.reach)
    deviations = workload.scales[workload.indexes]
    means = np.zeros(len(deviations))

    def encode() -> bytes:
        coder = stream.stack.AnsCoder()
        coder.encode_reverse(workload.symbols, family, means, deviations)
        return coder.get_compressed().tobytes()

    def decode(data: bytes) -> Any:
        return stream.stack.AnsCoder(np.frombuffer(data, np.uint32)).decode(family, means, deviations)

    return Task(encode, decode)


def _torchac() -> list[Coder]:
    with _silence():  # it compiles itself when it is first imported, and tells of that on stdout
        coder = import_module("torchac")
    torch = import_module("torch")
    torch.set_num_threads(1)  # as many as all the others have
    return [
        Coder("torchac", "int16 CDF", partial(_torchac_task, torch, coder, False), TORCHAC_SYMBOLS),
        Coder("torchac", "float CDF", partial(_torchac_task, torch, coder, True), TORCHAC_SYMBOLS),
    ]


@contextmanager
def _silence() -> Iterator[None]:
    """Sends what this process and its children write to stdout and stderr to nowhere."""
    kept = [os.dup(stream) for stream in (1, 2)]
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        for stream in (1, 2):
            os.dup2(nowhere, stream)
        yield
    finally:
        os.close(nowhere)
        for stream, copy in zip((1, 2), kept, strict=True):
            os.dup2(copy, stream)
            os.close(copy)


def _torchac_task(torch: Any, coder: Any, floating: bool, workload: Workload) -> Task:
    """Every symbol's CDF is laid out beforehand. The float ones are made integers within the timed part, by torchac."""
    reach = workload.reach
    edges = np.arange(-reach, reach + 2) - 0.5
    edges[0], edges[-1] = -np.inf, np.inf
    rows = 1.0 - np.array([upper_tails(float(scale), edges) for scale in workload.scales])
    symbols = torch.from_numpy((workload.symbols + reach).astype(np.int16))
    if floating:
        kind, cdfs = "float", rows.astype(np.float32)
    else:  # 16 bits, one of them at least for every cell; the last edge, 65536, wraps to 0 as torchac has it
        steps = np.arange(len(edges))
        kind = "int16_normalized"
        cdfs = (np.rint(rows * (65536 - steps[-1])).astype(np.int64) + steps).astype(np.uint16).view(np.int16)
    laid_out = torch.from_numpy(cdfs[workload.indexes])
    encode, decode = getattr(coder, f"encode_{kind}_cdf"), getattr(coder, f"decode_{kind}_cdf")
    return Task(
        partial(encode, laid_out, symbols), partial(decode, laid_out), lambda out: np.asarray(out, np.int32) - reach
    )


_PEERS = (
    _Peer("CompressAI", "compressai", "--no-deps compressai", _compressai),
    _Peer("constriction", "constriction", "constriction", _constriction),
    _Peer("torchac", "torchac", "torchac torch ninja", _torchac),
)
