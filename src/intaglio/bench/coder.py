"""The race of the entropy coders: one process, all coders in turn, every round trip checked.

The coders alternate, so that whatever else the machine does slows all of them alike; every round begins with
another one. The first turn of each warms up and is not counted.
"""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from intaglio import rans
from intaglio.bench import peers
from intaglio.bench.peers import OURS, Coder, Task
from intaglio.bench.workloads import SYNTHETIC, Workload, picture, synthetic
from intaglio.errors import ArgumentError

SCHEMA = 1  # of `Report` as JSON; any change that could break a reader adds one
SYMBOLS = 2_000_000
HEAD = 100_000
SEED = 1
WARM_SECONDS = 0.03  # a core takes some 10 ms to settle at new work
COLD_TURNS = 3  # per round
COLD_BYTES = 64 << 20  # more than the caches that a core has for itself

Progress = Callable[[int, int], None]  # turns done, turns in all


@dataclass(frozen=True)
class Plan:
    """What to measure: symbols of the synthetic workloads, rounds (both 1 or more), the seed, a picture or None."""

    symbols: int = SYMBOLS
    rounds: int = 7
    seed: int = SEED
    picture: Path | None = None


@dataclass(frozen=True)
class Times:
    """Of all rounds, the best and the median: millions of symbols a second, or microseconds (see who holds it)."""

    best: float
    median: float


@dataclass(frozen=True)
class Row:
    """One coder on one workload.

    symbols: how many it was given; encode, decode: Msym/s; bits: coded bits per symbol; overhead: percent above the
    ideal of these symbols; encode_ratio, decode_ratio: how many times as fast our fastest is, best to best (None for
    ours, and for a coder that was given fewer symbols); error: what went wrong, in one line, without figures then.
    """

    coder: str
    implementation: str
    symbols: int
    encode: Times | None
    decode: Times | None
    bits: float | None
    overhead: float | None
    encode_ratio: float | None
    decode_ratio: float | None
    error: str | None


@dataclass(frozen=True)
class Section:
    """One workload: what it is, its number of symbols, its ideal bits per symbol and what that means, its rows."""

    workload: str
    about: str
    symbols: int
    ideal_bits: float
    ideal: str
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Cold:
    """One coder with cold caches: microseconds of one call, best and median; ratios as in `Row`."""

    workload: str
    coder: str
    implementation: str
    symbols: int
    encode: Times | None
    decode: Times | None
    encode_ratio: float | None
    decode_ratio: float | None
    error: str | None


@dataclass(frozen=True)
class Report:
    """All that was measured. implementations: ours, fastest first; peers: versions; missing: why a peer is; notes:
    what else was left out. `dataclasses.asdict` makes the JSON object of it.
    """

    schema: int
    machine: str
    python: str
    numpy: str
    rounds: int
    cold_turns: int
    seed: int
    implementations: tuple[str, ...]
    peers: dict[str, str]
    missing: dict[str, str]
    notes: tuple[str, ...]
    sections: tuple[Section, ...]
    cold: tuple[Cold, ...]


class _Racer:
    """One coder on one workload, with the seconds that its turns took."""

    def __init__(self, coder: Coder, workload: Workload) -> None:
        self.coder = coder
        self.workload = workload if coder.limit is None else workload.head(coder.limit)
        self.error: str | None = None
        self.bits = 0.0
        self._encode: list[float] = []
        self._decode: list[float] = []
        self._task: Task | None = None

    def turn(self, before: Callable[[], None] | None = None) -> None:
        """Codes there and back once; `before` runs ahead of either, untimed: without it, the same call does, again and
        again for a while, so that caches and clock are as this coder has them. A fault ends the coder's race.
        """
        if self.error:
            return
        try:
            self._turn(before)
        except Exception as error:  # a coder that fails is a line of the table; the others go on
            self.error = peers.one_line(error)

    def _turn(self, before: Callable[[], None] | None) -> None:
        self._task = task = self._task or self.coder.ready(self.workload)
        (before or partial(_warm, task.encode))()
        start = time.perf_counter()
        data = task.encode()
        self._encode.append(time.perf_counter() - start)
        (before or partial(_warm, partial(task.decode, data)))()
        start = time.perf_counter()
        decoded = task.decode(data)
        self._decode.append(time.perf_counter() - start)
        if not np.array_equal(task.restore(decoded), self.workload.symbols):
            self.error = "the decoded symbols are not those that were coded"
        self.bits = 8.0 * len(data) / len(self.workload.symbols)

    def speeds(self) -> tuple[Times, Times] | None:
        """Msym/s encoding and decoding without the first turn, or None after a fault."""
        millions = len(self.workload.symbols) / 1e6
        encode, decode = ([millions / seconds for seconds in turns[1:]] for turns in (self._encode, self._decode))
        return None if self.error else (_times(encode, max), _times(decode, max))

    def microseconds(self) -> tuple[Times, Times] | None:
        """Microseconds per call encoding and decoding without the first turn, or None after a fault."""
        encode, decode = ([1e6 * seconds for seconds in turns[1:]] for turns in (self._encode, self._decode))
        return None if self.error else (_times(encode, min), _times(decode, min))


def _warm(call: Callable[[], object]) -> None:
    """Calls once, and on until WARM_SECONDS have passed."""
    end = time.perf_counter() + WARM_SECONDS
    call()
    while time.perf_counter() < end:
        call()


def _times(values: list[float], best: Callable[[list[float]], float]) -> Times:
    return Times(best(values), statistics.median(values))


def measure(plan: Plan, progress: Progress | None = None) -> Report:
    """Measures every coder that works here on every workload.

    Without a picture in the plan it is the first of examples/*.webp under the current folder, if there is one.
    Raises ArgumentError for a wrong plan, ImageError for a picture that cannot be used.
    """
    if plan.symbols < 1 or plan.rounds < 1 or plan.seed < 0:
        raise ArgumentError("the benchmark needs 1 symbol, 1 round and seed 0 at least")
    workloads, heads, notes = _workloads(plan)
    found = peers.available()
    full = [coder for coder in found.coders if coder.limit is None]
    cold_turns = COLD_TURNS * plan.rounds
    total = (plan.rounds + 1) * len(workloads) * len(found.coders) + (cold_turns + 1) * len(heads) * len(full)
    step = _Counter(progress, total)
    sections = [_section(workload, found.coders, plan.rounds, step) for workload in workloads]
    cold = [row for head in heads for row in _cold(head, full, cold_turns, step)]
    return Report(
        schema=SCHEMA,
        machine=f"{_processor()}, {os.cpu_count()} cores",
        python=platform.python_version(),
        numpy=np.__version__,
        rounds=plan.rounds,
        cold_turns=cold_turns,
        seed=plan.seed,
        implementations=rans.implementations(),
        peers=found.versions,
        missing=found.missing,
        notes=notes,
        sections=tuple(sections),
        cold=tuple(cold),
    )


class _Counter:
    """Counts turns and reports them."""

    def __init__(self, report: Progress | None, total: int) -> None:
        self._report, self._done, self._total = report, 0, total

    def __call__(self) -> None:
        self._done += 1
        if self._report:
            self._report(self._done, self._total)


def _workloads(plan: Plan) -> tuple[list[Workload], list[Workload], tuple[str, ...]]:
    """All workloads, those of them for cold caches, and notes. The picture is read first: it can be wrong."""
    path = plan.picture or next(iter(sorted(Path("examples").glob("*.webp"))), None)
    pictures = [picture(path)] if path else []
    notes = () if path else ("no picture was measured: there is no examples/*.webp here; name a picture file",)
    long = [synthetic(name, plan.symbols, plan.seed) for name in SYNTHETIC]
    heads = [each.head(HEAD) for each in long]
    short = heads if plan.symbols > HEAD else []
    return [*long, *short, *pictures], heads, notes


def _race(racers: Sequence[_Racer], turns: int, step: _Counter, before: Callable[[], None] | None = None) -> None:
    """A turn that is not counted and `turns` that are, the coders alternating."""
    for turn in range(turns + 1):
        first = turn % len(racers)
        for racer in (*racers[first:], *racers[:first]):
            racer.turn(before)
            step()


def _section(workload: Workload, coders: Sequence[Coder], rounds: int, step: _Counter) -> Section:
    racers = [_Racer(coder, workload) for coder in coders]
    _race(racers, rounds, step)
    ours = [speeds for racer in racers if racer.coder.name == OURS and (speeds := racer.speeds())]
    fastest = tuple(max((speeds[way].best for speeds in ours), default=0.0) for way in (0, 1))
    return Section(
        workload=workload.name,
        about=workload.about,
        symbols=len(workload.symbols),
        ideal_bits=workload.ideal_bits,
        ideal=workload.ideal,
        rows=tuple(_row(racer, (fastest[0], fastest[1])) for racer in racers),
    )


def _row(racer: _Racer, fastest: tuple[float, float]) -> Row:
    speeds = racer.speeds()
    encode, decode = speeds or (None, None)
    whole = racer.coder.limit is None  # the first symbols of a workload may be dearer than the rest
    compared = speeds if racer.coder.name != OURS and whole and all(fastest) else None
    ideal = racer.workload.ideal_bits
    return Row(
        coder=racer.coder.name,
        implementation=racer.coder.implementation,
        symbols=len(racer.workload.symbols),
        encode=encode,
        decode=decode,
        bits=racer.bits if speeds else None,
        # A handful of symbols may cost nothing at all ideally: no percentage then.
        overhead=100.0 * (racer.bits / ideal - 1.0) if speeds and ideal > 0 else None,
        encode_ratio=fastest[0] / compared[0].best if compared else None,
        decode_ratio=fastest[1] / compared[1].best if compared else None,
        error=racer.error,
    )


def _cold(workload: Workload, coders: Sequence[Coder], turns: int, step: _Counter) -> list[Cold]:
    """Every coder with caches that hold something else: before each call, a walk through 64 MB."""
    filler = np.zeros(COLD_BYTES // 8, np.int64)

    def walk() -> None:
        np.add(filler, 1, out=filler)

    racers = [_Racer(coder, workload) for coder in coders]
    _race(racers, turns, step, walk)
    ours = [times for racer in racers if racer.coder.name == OURS and (times := racer.microseconds())]
    fastest = [min((times[way].best for times in ours), default=0.0) for way in (0, 1)]
    rows = []
    for racer in racers:
        times = racer.microseconds()
        compared = times if racer.coder.name != OURS and all(fastest) else None
        encode, decode = times or (None, None)
        row = Cold(
            workload=workload.name,
            coder=racer.coder.name,
            implementation=racer.coder.implementation,
            symbols=len(workload.symbols),
            encode=encode,
            decode=decode,
            encode_ratio=compared[0].best / fastest[0] if compared else None,
            decode_ratio=compared[1].best / fastest[1] if compared else None,
            error=racer.error,
        )
        rows.append(row)
    return rows


def _processor() -> str:
    """The processor's name, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()
