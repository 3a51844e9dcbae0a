"""Whether every runtime finds the same table rows, means and symbols, and how far apart their pixels are.

    python benchmarks/exactness.py [FOLDER ...] [--pictures N] [--side 768] [--processes 2]
    python benchmarks/exactness.py --integer-operators

Every picture is encoded by ONNX Runtime with one thread; every other runtime decodes the same symbols, and each row and
mean on the way is compared. The same is done with the unsafe version of the networks, in plain float without rounding
between the layers: it must fail somewhere, or the comparison shows nothing. Exit code 1 unless it does and all else
agrees.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

import integer_operators
import runtimes
from intaglio import images
from intaglio.bundle import Model, read_model_file
from intaglio.quality import quality_to_rate
from runtimes import Parts, TorchParts

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = [ROOT.parent / "shared" / "data" / name for name in ("kodak", "val")]
QUALITIES = (5.0, 25.0, 50.0, 75.0, 95.0)
BLOCK = 64
SUFFIXES = {".png", ".webp", ".ppm", ".bmp"}
MUST_PIXELS = 1, 0.001  # levels, share of the samples
OWN = "PyTorch encodes with transforms in bf16, ONNX Runtime decodes"


@dataclass(frozen=True)
class Found:
    """What one comparison of one picture at one quality gave.

    kind: "exact", "unsafe" or "pixels". values: how many rows, means and symbols, or samples, differ, of how many;
    first: symbols before the first difference of a row, or the largest difference of a sample; None if there is none.
    """

    kind: str
    runtime: str
    picture: str
    values: int
    of: int
    first: int | None


class Bench:
    """Every runtime, made once in a process."""

    def __init__(self, name: str) -> None:
        self.model, photo = runtimes.twins(read_model_file(name))
        self.layout = self.model.layout
        graphs, unsafe = runtimes.safe(self.model), runtimes.plain_float(self.model)
        self.exact = {name: Parts(self.model, run) for name, run in _runs(graphs)}
        self.unsafe = {name: Parts(self.model, run) for name, run in _runs(unsafe)}
        self.base = self.unsafe.pop("ONNX Runtime, 1 thread")
        self.exact.pop("ONNX Runtime, 1 thread")  # the model itself
        self.torch = {"PyTorch, 1 thread": TorchParts(photo), "PyTorch, 2 threads": TorchParts(photo, 2)}
        _, last = runtimes.twins(self.model.file)
        last = last.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.torch["PyTorch, channels_last"] = TorchParts(last)
        self.low = TorchParts(last, transforms=torch.bfloat16)
        if torch.cuda.is_available():
            self.torch["PyTorch on CUDA"] = TorchParts(runtimes.twins(self.model.file)[1].cuda())
        self.openvino = runtimes.on_openvino({"synthesis": self.model.file.graphs["synthesis"]})

    def measure(self, picture: str, pixels: NDArray[np.uint8], rate: int) -> Iterator[Found]:
        """All comparisons of one picture (sides multiples of 64) at one rate."""
        given = runtimes.encoded(self.model, pixels, rate, self.layout)
        slow = {"slow reference": runtimes.reference(self.model)}
        y_hat = np.zeros(0, np.float32)
        for name, net in (self.exact | self.torch | slow).items():
            slices, y_hat = runtimes.decoded(net, given, rate, self.layout)  # type: ignore[arg-type]
            yield self._compared("exact", name, picture, given, slices)
        own = runtimes.encoded(self.low, pixels, rate, self.layout)
        yield self._compared("exact", OWN, picture, own, runtimes.decoded(self.model, own, rate, self.layout)[0])
        given = runtimes.encoded(self.base, pixels, rate, self.layout)
        for name, net in self.unsafe.items():
            slices, _ = runtimes.decoded(net, given, rate, self.layout)  # type: ignore[arg-type]
            yield self._compared("unsafe", name, picture, given, slices)
        ours = self.model.synthesis(y_hat, rate)
        inputs = {"y_hat": y_hat, "rate": np.array([rate])}
        others = {
            "OpenVINO": self.openvino("synthesis", inputs)[0][0],
            "PyTorch": self.torch["PyTorch, 1 thread"].synthesis(y_hat, rate),
        }
        for name, other in others.items():
            apart = np.abs(ours.astype(np.int16) - other)
            yield Found("pixels", name, picture, int(np.count_nonzero(apart)), apart.size, int(apart.max()))

    def _compared(self, kind: str, name: str, picture: str, one: Any, other: Any) -> Found:
        count = sum(each.symbols.size for each in one)
        first = runtimes.first_difference(one, other)
        wrong = runtimes.differences(one, other) if kind == "exact" else first is not None
        return Found(kind, name, picture, int(wrong), count, first)


def _runs(graphs: runtimes.Graphs) -> Iterator[tuple[str, runtimes.Run]]:
    for threads in (1, 2):
        yield f"ONNX Runtime, {threads} thread{'s' * (threads > 1)}", runtimes.on_onnxruntime(graphs, threads)
    for level in ("off", "basic"):
        yield f"ONNX Runtime, optimisation {level}", runtimes.on_onnxruntime(graphs, 1, level)
    for threads in (1, 2):
        yield f"OpenVINO, {threads} thread{'s' * (threads > 1)}", runtimes.on_openvino(graphs, threads)


@cache
def _bench(model: str) -> Bench:
    return Bench(model)


def measure(model: str, path: Path, side: int) -> list[Found]:
    """All comparisons of one picture, its middle of at most `side` pixels each way."""
    pixels = images.to_rgb(images.load(path).pixels)
    cut = []
    for whole in pixels.shape[:2]:
        kept = min(whole, side) // BLOCK * BLOCK
        cut.append(slice((whole - kept) // 2, (whole + kept) // 2))
    middle = np.ascontiguousarray(pixels[tuple(cut)])
    return [
        found for quality in QUALITIES for found in _bench(model).measure(path.name, middle, quality_to_rate(quality))
    ]


def run_jobs(model: str, pictures: list[Path], side: int, processes: int) -> list[Found]:
    """Measures every picture, with a progress bar."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    found: list[Found] = []
    with (
        Progress(*columns, console=Console(stderr=True), transient=True) as progress,
        ProcessPoolExecutor(processes) as pool,
    ):
        task = progress.add_task("comparing", total=len(pictures))
        futures = [pool.submit(measure, model, picture, side) for picture in pictures]
        for future in as_completed(futures):
            found += future.result()
            progress.advance(task)
    return found


def report(found: list[Found], pictures: int) -> bool:
    """Prints the three tables; whether everything is as it must be."""
    console = Console()
    count = f"{pictures} pictures x {len(QUALITIES)} qualities"
    table = Table(title=f"Integer networks: {count}, against ONNX Runtime with 1 thread", title_justify="left")
    for name in ("runtime", "compared", "symbols", "rows, means, symbols that differ"):
        table.add_column(name, justify="left" if name == "runtime" else "right")
    exact = _grouped(found, "exact")
    for name, rows in exact.items():
        wrong, symbols = sum(row.values for row in rows), sum(row.of for row in rows)
        table.add_row(name, str(len(rows)), f"{symbols:,}", str(wrong))
    console.print(table)
    table = Table(title="The same in plain float, unsafe: what does not decode", title_justify="left")
    for name in ("runtime", "compared", "fail", "pictures", "first wrong symbol: earliest", "median"):
        table.add_column(name, justify="left" if name == "runtime" else "right")
    unsafe = _grouped(found, "unsafe")
    for name, rows in unsafe.items():
        places = [row.first for row in rows if row.first is not None]
        failed = len({row.picture for row in rows if row.first is not None})
        where = (f"{min(places):,}", f"{statistics.median(places):,.0f}") if places else ("-", "-")
        table.add_row(name, str(len(rows)), str(len(places)), f"{failed} of {pictures}", *where)
    console.print(table)
    table = Table(title="Pixels of the synthesis, against ONNX Runtime", title_justify="left")
    for name in ("runtime", "compared", "largest difference", "samples that differ", "worst picture"):
        table.add_column(name, justify="left" if name == "runtime" else "right")
    close = True
    for name, rows in _grouped(found, "pixels").items():
        largest, worst = max(row.first or 0 for row in rows), max(row.values / row.of for row in rows)
        share = sum(row.values for row in rows) / sum(row.of for row in rows)
        table.add_row(name, str(len(rows)), str(largest), f"{100 * share:.5f} %", f"{100 * worst:.5f} %")
        close &= largest <= MUST_PIXELS[0] and worst <= MUST_PIXELS[1]
    console.print(table)
    same = not any(row.values for rows in exact.values() for row in rows)
    return same and close and any(row.values for rows in unsafe.values() for row in rows)


def _grouped(found: list[Found], kind: str) -> dict[str, list[Found]]:
    groups: dict[str, list[Found]] = {}
    for each in found:
        if each.kind == kind:
            groups.setdefault(each.runtime, []).append(each)
    return groups


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="*", default=FOLDERS, help="pictures (default: Kodak, validation)")
    parser.add_argument("--model", default="photo", help="a shipped model or a .itgm file")
    parser.add_argument("--pictures", type=int, help="so many of each folder (default: all)")
    parser.add_argument("--side", type=int, default=768, help="of larger pictures, the middle of so many pixels")
    parser.add_argument("--processes", type=int, default=1, help="pictures at a time")
    parser.add_argument("--integer-operators", action="store_true", help="time true integer operators instead")
    return parser.parse_args()


def main() -> int:
    """Compares, prints; exit code 1 when something differs that must not, or nothing does that must."""
    options = _arguments()
    if options.integer_operators:
        integer_operators.report(Model(read_model_file(options.model)))
        return 0
    pictures: list[Path] = []
    for folder in options.folders:
        inside = sorted(path for path in folder.glob("*") if path.suffix.lower() in SUFFIXES)
        if not inside:
            sys.exit(f"{folder} holds no PNG, WebP, PPM or BMP pictures; name a folder that does")
        pictures += inside[: options.pictures]
    found = run_jobs(options.model, pictures, options.side, options.processes)
    return 0 if report(found, len(pictures)) else 1


if __name__ == "__main__":
    sys.exit(main())
