"""Does a bound on the scale matter for the normalised latents? A table for any models, and the pictures of the docs.

    python benchmarks/normalised_latents.py [MODEL ...] [--qualities 25,50,75] [--bounds 0.11,0.5,1]
        [--pictures FOLDER] [--write]

MODEL: shipped models' names or .itgm files; a model of one quality is measured at that one. With --write the table in
docs/latents.md and the pictures docs/latents-*.png are made anew, the pictures with the first model.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from intaglio import images, inspection, latents
from intaglio.bundle import Model, load_model
from intaglio.errors import IntaglioError
from intaglio.latents import Latents
from tables import table

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "latents.md"
BEGIN, END = "<!-- made by benchmarks/normalised_latents.py -->\n", "<!-- end -->"
SHOWN, SHOWN_BOUND = "colosseum.webp", 0.5  # what the pictures of the docs show, at the model's default quality
SUFFIXES = {".png", ".webp", ".ppm", ".bmp"}
HEADING = (
    "model, quality, bpp",
    "bound",
    "latents at or below",
    "their bits",
    "their spread",
    "all: variance (excess kurtosis)",
    "above: variance (excess kurtosis)",
    "largest correlation",
)


@dataclass(frozen=True)
class Row:
    """One model at one quality with one bound, all pictures together.

    low: of the latents whose scale lies at the bound or below, their share and that of their bits, 0..1, and the root
    mean square of y - mean. all, above: moments of the normalised latents, with the bound; of those above it.
    """

    model: str
    quality: float
    bpp: float
    bound: float
    low: tuple[float, float, float]
    all: latents.Moments
    above: latents.Moments
    correlation: float

    def cells(self) -> tuple[str, ...]:
        """As text for the table."""
        share, bits, spread = self.low
        return (
            f"{self.model}, {self.quality:g}, {self.bpp:.3f}",
            f"{self.bound:g}",
            f"{100 * share:.1f} %",
            f"{100 * bits:.2f} %",
            f"{spread:.3f}",
            *(f"{each.variance:.2f} ({each.kurtosis:.1f})" for each in (self.all, self.above)),
            f"{self.correlation:+.3f}",
        )


def row(model: str, found: list[Latents], bound: float) -> Row:
    """The figures of all pictures as if they were one; the correlation is their mean, weighted by bits."""
    active = np.concatenate([each.active(bound).ravel() for each in found])
    plain, bounded = (np.concatenate([each.normalised(b).ravel() for each in found]) for b in (None, bound))
    bits = np.concatenate([each.bits.ravel() for each in found])
    apart = np.concatenate([(each.y - each.means).ravel() for each in found])[active]
    matrices = [latents.spatial_correlation(each.normalised(bound), each.channel_bits) for each in found]
    matrix = np.average(matrices, axis=0, weights=[each.bits.sum() for each in found]).ravel()
    off = np.delete(matrix, matrix.size // 2)
    return Row(
        model=model,
        quality=found[0].quality,
        bpp=sum(each.total_bits for each in found) / sum(each.size[0] * each.size[1] for each in found),
        bound=bound,
        low=(
            float(active.mean()),
            float(bits[active].sum() / bits.sum()),
            float(np.sqrt(np.square(apart).mean())) if apart.size else np.nan,
        ),
        all=latents.moments(bounded),
        above=latents.moments(plain[~active]),
        correlation=float(off[np.abs(off).argmax()]),
    )


def measure(models: dict[str, Model], pictures: list[Path], qualities: list[float], bounds: list[float]) -> list[Row]:
    """A row for each model, quality and bound, with a progress bar."""
    jobs = [
        (name, quality)
        for name, model in models.items()
        for quality in (qualities if model.fixed_rate is None else [None])
    ]
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    rows: list[Row] = []
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("measuring", total=len(jobs) * len(pictures))
        for name, quality in jobs:
            progress.update(task, description=name)
            found: list[Latents] = []
            for path in pictures:
                found.append(latents.measure(images.load(path).pixels, quality, model=models[name]))
                progress.advance(task)
            rows += [row(name, found, bound) for bound in bounds]
    return rows


def write(text: str, model: Model) -> None:
    """Puts the table into docs/latents.md and makes the page's pictures."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    images.atomic_write(PAGE, f"{before}{BEGIN}\n{text}\n\n{END}{after}".encode())
    pixels = images.load(ROOT / "examples" / SHOWN).pixels
    found = replace(latents.measure(pixels, model=model), bound=SHOWN_BOUND)
    for name, png in inspection.draw(found, inspection.summary(found), pixels).items():
        images.atomic_write(PAGE.with_name(f"latents-{name}.png"), png)


def _numbers(text: str) -> list[float]:
    return [float(word) for word in text.split(",")]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=["photo"], help="shipped models or .itgm files (default: photo)")
    parser.add_argument("--qualities", type=_numbers, default=[25.0, 50.0, 75.0], help="by comma")
    parser.add_argument("--bounds", type=_numbers, default=[0.11, 0.5, 1.0], help="by comma")
    parser.add_argument("--pictures", type=Path, default=ROOT / "examples", help="folder (default: examples)")
    parser.add_argument("--write", action="store_true", help="write docs/latents.md and its pictures")
    return parser.parse_args()


def main() -> int:
    """Measures, prints, writes on request."""
    options = _arguments()
    pictures = sorted(path for path in options.pictures.glob("*") if path.suffix.lower() in SUFFIXES)
    if not pictures:
        sys.exit(f"{options.pictures} holds no PNG, WebP, PPM or BMP pictures; name a folder that does")
    try:
        models = {Path(name).stem: load_model(name) for name in options.models}
        rows = measure(models, pictures, options.qualities, options.bounds)
        text = table(HEADING, [each.cells() for each in rows])
        print(text)
        if options.write:
            write(text, next(iter(models.values())))
    except IntaglioError as error:
        sys.exit(str(error))
    return 0


if __name__ == "__main__":
    sys.exit(main())
