"""What prefix codes cost on real latents, beside the range coder and the bound.

    python benchmarks/prefix_codes.py [PICTURE ...] [--qualities 10,30,50,70,90] [--write]

Every symbol that the model `photo` codes for a picture, y and z, is coded with the code of its table: one Shannon and
one Huffman code for each of the coder's tables, the escape a symbol like others, followed by the raw bits that the
coder would write (an Elias gamma code and a sign). The words are really written, read back and compared.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from intaglio import images, rans
from intaglio.bundle import Model, load_model
from intaglio.information import conditional_entropy, cross_entropy, entropy
from intaglio.latents import measure
from intaglio.pmf import TOTAL
from intaglio.prefix import PrefixCode
from intaglio.scales import SCALES, scale_grid
from tables import table

ROOT = Path(__file__).resolve().parent.parent
QUALITIES = "10,30,50,70,90"
CODES: dict[str, Callable[[NDArray[np.float64]], PrefixCode]] = {
    "Shannon": PrefixCode.shannon,
    "Huffman": PrefixCode.huffman,
}
CERTAIN = 0.1  # bits: a table below has one symbol that nearly always comes


@dataclass(frozen=True)
class Costs:
    """Bits of one picture's symbols, or of several pictures', at one quality.

    pixels, symbols: how many. bits: by name, "rANS" those of real streams, "bound" the cross-entropy under the tables,
    "own" the entropy of the symbols given their table (both with the raw bits of escapes), "z" the part of their
    difference that z makes alone. sure: symbols whose table has less than 0.1 bit of entropy. lost: bits that Huffman
    takes beyond the bound for those.
    """

    quality: float
    pixels: int
    symbols: int
    bits: dict[str, float]
    sure: int
    lost: float

    def bpp(self, name: str) -> float:
        """Bits per pixel."""
        return self.bits[name] / self.pixels

    def over(self, name: str) -> float:
        """Percent above the bound."""
        return 100 * (self.bits[name] / self.bits["bound"] - 1)


class Bench:
    """The model's tables as probabilities and as prefix codes."""

    def __init__(self, model: Model) -> None:
        self.model, self.tables = model, model.tables
        parts = np.split(self.tables.frequencies, np.cumsum(self.tables.sizes)[:-1])
        self.p = np.zeros((len(parts), max(map(len, parts))))  # rows of tables, the escape after the cells
        for row, part in enumerate(parts):
            self.p[row, : len(part)] = part / TOTAL
        self.codes = {name: [construct(p) for p in self.p] for name, construct in CODES.items()}
        self.entropies = entropy(self.p, axis=1)

    def lengths(self, name: str) -> NDArray[np.float64]:
        """Expected bits per symbol of each table's code."""
        return np.array([code.expected_length(p) for code, p in zip(self.codes[name], self.p, strict=True)])

    def measure(self, path: Path, quality: float) -> Costs:
        """Codes a picture's symbols in every way. Raises ImageError."""
        found = measure(images.load(path).pixels, quality, model=self.model)
        parts = [found] if found.z is None else [found.z, found]
        symbols = np.concatenate([part.symbols.ravel() for part in parts])
        rows = np.concatenate([part.rows.ravel() for part in parts])
        regular = self.tables.sizes[rows].astype(np.int64) - 1
        cells = symbols.astype(np.int64) - self.tables.first[rows]
        cells = np.where((cells < 0) | (cells >= regular), regular, cells)
        ideal, own = self._costs(rows, cells)
        raw = float(self.tables.bits(symbols, rows).sum() - ideal.sum())
        words = {name: _written(self.codes[name], rows, cells) for name in CODES}
        sure = self.entropies < CERTAIN
        bits = {name: float(each.sum()) + raw for name, each in words.items()}
        bits["rANS"] = 8.0 * len(rans.encode(symbols, rows, self.tables))
        bits["bound"] = float(ideal.sum()) + raw
        bits["own"] = own + raw
        hyper = 0 if found.z is None else found.z.symbols.size
        ideal_z, own_z = self._costs(rows[:hyper], cells[:hyper])
        bits["z"] = float(ideal_z.sum()) - own_z
        lost = float((words["Huffman"] - ideal)[sure].sum())
        return Costs(quality, found.size[0] * found.size[1], len(symbols), bits, int(sure[rows].sum()), lost)

    def _costs(self, rows: NDArray[np.uint8], cells: NDArray[np.int64]) -> tuple[NDArray[np.float64], float]:
        """Bits of the cross-entropy by table, and of the entropy of the cells given their table."""
        counts = np.zeros(self.p.shape)
        np.add.at(counts, (rows, cells), 1)
        uses = counts.sum(axis=1)
        used = uses > 0
        bits = np.zeros(len(counts))
        bits[used] = uses[used] * cross_entropy(counts[used] / uses[used, None], self.p[used], axis=1)
        own = float(conditional_entropy(counts / uses.sum(), 1, given=0)) * uses.sum() if len(rows) else 0.0
        return bits, own


def _written(codes: list[PrefixCode], rows: NDArray[np.uint8], cells: NDArray[np.int64]) -> NDArray[np.float64]:
    """Bits that the symbols of each table take as a bit string of their own, which is read back."""
    order = np.argsort(rows, kind="stable")
    parts = np.split(cells[order], np.cumsum(np.bincount(rows, minlength=len(codes)))[:-1])
    bits = np.zeros(len(codes))
    for row, (code, part) in enumerate(zip(codes, parts, strict=True)):
        data, count = code.encode(part)
        bits[row] = count
        if not np.array_equal(code.decode(data, count, part.shape), part):
            raise AssertionError(f"the symbols of table {row} came back changed")
    return bits


def total(costs: Iterable[Costs]) -> Costs:
    """The costs of several pictures at one quality together."""
    parts = list(costs)
    return Costs(
        parts[0].quality,
        sum(part.pixels for part in parts),
        sum(part.symbols for part in parts),
        {name: sum(part.bits[name] for part in parts) for name in parts[0].bits},
        sum(part.sure for part in parts),
        sum(part.lost for part in parts),
    )


def plot(bench: Bench, costs: list[Costs]) -> bytes:
    """The picture as PNG: bits per pixel over quality; bits per symbol over the standard deviation of a table."""
    figure = Figure(figsize=(11, 4.4), dpi=100, layout="constrained")
    left, right = figure.subplots(1, 2)
    styles = {"Shannon": "C3", "Huffman": "C1", "rANS": "C0"}
    for name, colour in styles.items():
        left.plot([each.quality for each in costs], [each.bpp(name) for each in costs], colour, marker="o", label=name)
    left.plot([each.quality for each in costs], [each.bpp("bound") for each in costs], "k:", label="cross-entropy")
    left.set(xlabel="quality", ylabel="bits per pixel", title="Real latents", ylim=0)
    for name in CODES:  # of the scale grid: a trellis has tables of its own before it
        right.plot(scale_grid(), bench.lengths(name)[-SCALES:], styles[name], label=f"{name}: E|z|")
    right.plot(scale_grid(), bench.entropies[-SCALES:], "k:", label="entropy")
    right.axhline(1.0, color="grey", linewidth=0.6)
    right.set(xscale="log", xlabel="standard deviation of the table", ylabel="bits per symbol", ylim=0)
    right.set_title("One symbol of each table")
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.legend()
    out = io.BytesIO()
    figure.savefig(out, format="png")
    return out.getvalue()


def report(bench: Bench, costs: list[Costs], pictures: list[Path]) -> str:
    """The page docs/prefix-codes.md."""
    rows = [
        (
            f"{each.quality:g}",
            f"{each.symbols / each.pixels:.2f}",
            *(f"{each.bpp(name):.4f}" for name in ("Shannon", "Huffman", "rANS", "bound", "own")),
            *(f"{each.over(name):+.1f} %" for name in ("Shannon", "Huffman")),
            f"{each.over('rANS'):+.2f} %",
            f"{100 * each.sure / each.symbols:.0f} %",
        )
        for each in costs
    ]
    heading = ("quality", "symbols per pixel", "Shannon", "Huffman", "rANS", "cross-entropy", "own entropy")
    heading += ("Shannon over", "Huffman over", "rANS over", "near-certain")
    names = ", ".join(path.name for path in pictures)
    return f"""# Prefix codes on real latents

Made by `python benchmarks/prefix_codes.py --write` from {names} together. Bits per
pixel of every symbol that the model `photo` codes for them, y and z, without file headers.

{table(heading, rows)}

* Shannon, Huffman: one code of that kind (`intaglio.prefix`) for each of the coder's {len(bench.p)} tables, made for
  the table's probabilities. The escape is a symbol like the others; after it come the raw bits that the coder would
  write. The words were really written, and read back.
* rANS: `intaglio.rans` on the same symbols and tables, real bytes.
* Cross-entropy: -log2 of each symbol's probability in its table, summed. "Over" is what lies above it.
* Own entropy: the entropy of each picture's symbols given their table. No code that has one list of words, or of
  probabilities, for each table could do with less on that picture. What cross-entropy lies above it is the divergence
  of the tables from the picture; better ones would first have to be told to the decoder.
* Near-certain: symbols whose table has less than {CERTAIN} bit of entropy.

![Bits per pixel over quality; bits per symbol over the tables](prefix-codes.png)

## What it shows

{_findings(bench, costs)}
"""


def _findings(bench: Bench, costs: list[Costs]) -> str:
    """What the page says of its figures."""
    low, high = costs[0], costs[-1]
    sure, share = int((bench.entropies < CERTAIN).sum()), 100 * low.sure / low.symbols
    part = 100 * low.lost / (low.bits["Huffman"] - low.bits["bound"])
    times = [each.bits["Huffman"] / each.bits["bound"] for each in (low, high)]
    huffman, shannon = (bench.lengths(name)[-1] - bench.entropies[-1] for name in ("Huffman", "Shannon"))
    rans_over = [each.over("rANS") for each in costs]
    misfit = 100 * low.bits["z"] / (low.bits["bound"] - low.bits["own"])
    return f"""**A prefix code loses most where one symbol is all but certain.** A word has at least one bit, however
little there is to say. {sure} of the tables have less than {CERTAIN} bit of entropy, and at quality {low.quality:g}
they code {share:.0f} % of the symbols; these alone make {part:.0f} % of what Huffman's code loses, which takes
{times[0]:.1f} times the bits of the bound. At quality {high.quality:g} each symbol says more, and Huffman's code takes
{times[1]:.2f} times the bound.

**Where symbols are spread widely, Huffman's code is good.** Of the widest table it takes {huffman:.3f} bit per symbol
more than the entropy. Shannon's code takes {shannon:.2f} bit more: it rounds every length up.

**A range coder does not round to whole bits.** rANS lies {min(rans_over):.2f} % to {max(rans_over):.2f} % above the
bound. Latents are mostly near-certain zeros; under a prefix code many of them would have to share a word (run lengths,
end of block), as JPEG does it.

**The tables fit.** At quality {low.quality:g} the cross-entropy is {low.bpp("bound"):.4f} bits per pixel and the own
entropy {low.bpp("own"):.4f}; z, whose tables are chosen by channel and quality alone, makes {misfit:.0f} % of the
difference. At quality {high.quality:g} the difference is {high.bpp("bound") - high.bpp("own"):.4f} bits per pixel,
z's part of it {high.bpp("z"):.4f}."""


def main() -> int:
    """Measures, prints, writes on request."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", type=Path, nargs="*", default=sorted((ROOT / "examples").glob("*.webp")))
    parser.add_argument("--qualities", default=QUALITIES, help=f"by comma (default: {QUALITIES})")
    parser.add_argument("--write", action="store_true", help="write docs/prefix-codes.md and docs/prefix-codes.png")
    options = parser.parse_args()
    bench = Bench(load_model("photo"))
    qualities = sorted(float(word) for word in options.qualities.split(","))
    jobs = [(path, quality) for quality in qualities for path in options.pictures]
    bar = track(jobs, "coding", console=Console(stderr=True), transient=True)
    found = [bench.measure(path, quality) for path, quality in bar]
    costs = [total(each for each in found if each.quality == quality) for quality in qualities]
    text = report(bench, costs, options.pictures)
    print(text)
    if options.write:
        images.atomic_write(ROOT / "docs" / "prefix-codes.md", text.encode())
        images.atomic_write(ROOT / "docs" / "prefix-codes.png", plot(bench, costs))
    return 0


if __name__ == "__main__":
    sys.exit(main())
