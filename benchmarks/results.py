"""Every figure of docs/results.md: codecs on Kodak, validation set and screens, a case study, published figures.

    python benchmarks/results.py [--data ../shared/data] [--jobs 2] [--only STEP]

Measured rows are kept in build/results, so that a run that was stopped goes on, and only what has changed is measured
again. Rows, pictures and pages are written to docs, the figures of the README's Results to the README. Seconds (steps
case and time) mean something only while nothing else runs. The exit code is 1 when a figure that must be reached is
missed.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

import agreement
import results_page
import results_tuned
import screens
from intaglio import compare, demo, evaluate, images, metrics, record, results
from intaglio.codecs import Codec, choose
from intaglio.results import Row
from results_goals import spanned
from results_page import OURS, Data
from results_plots import plot

ROOT = Path(__file__).resolve().parent.parent
CODECS = (OURS, "jpeg", "jpegopt", "jpeg444", "jpeg2000", "webp", "avif", "jpegxl")
CASE_PICTURES = ("kodim15", "kodim19", "kodim23")  # a face, a building, birds before a blurred background
TIMED_QUALITIES = (5.0, 12.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0)


def _evaluated(plan: evaluate.Plan, title: str) -> list[Row]:
    """The rows of a plan, with a progress bar where there is a terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(title)

        def report(done: int, total: int, text: str) -> None:
            bar.update(task, completed=done, total=total, description=f"{title} {text}")

        return evaluate.run(plan, report, lambda line: console.print(line, highlight=False))


def _measure(options: argparse.Namespace, codecs: tuple[Codec, ...]) -> None:
    """All sets of pictures, and Kodak at the publishers' settings, into docs/results."""
    drawn = options.build / "drawn"
    screens.write(drawn)
    folders = {"screens": drawn, "settings": options.data / "kodak"}
    for name, chosen in (*((each, codecs) for each in results_page.SETS), ("settings", agreement.publishers_codecs())):
        pictures = evaluate.find_pictures([folders.get(name, options.data / name)])
        scored = options.ssimulacra2 and name == "kodak"
        plan = evaluate.Plan(pictures, chosen, options.build / name, jobs=options.jobs, ssimulacra2=scored)
        results.write_rows(options.docs / "results" / f"{name}.csv", _evaluated(plan, name))
    _about(options, codecs)


def _span(options: argparse.Namespace, codecs: tuple[Codec, ...]) -> None:
    """Intaglio at every quality on Kodak: what rates are reached, and where PSNR does not rise."""
    pictures = evaluate.find_pictures([options.data / "kodak"])
    qualities = {OURS: tuple(float(quality) for quality in range(1, 101))}
    plan = evaluate.Plan(pictures, codecs[:1], options.build / "span", qualities, jobs=options.jobs, ssimulacra2=False)
    found = spanned(_evaluated(plan, "span"))
    images.atomic_write(options.docs / "results" / "span.json", (json.dumps(found) + "\n").encode())


def _tuned(options: argparse.Namespace, codecs: tuple[Codec, ...]) -> None:
    """The model tuned for MS-SSIM beside `photo` and some others on Kodak, by SSIMULACRA2, too."""
    pictures = evaluate.find_pictures([options.data / "kodak"])
    chosen = results_tuned.codecs(codecs)
    plan = evaluate.Plan(pictures, chosen, options.build / "tuned", jobs=options.jobs, ssimulacra2=True)
    results.write_rows(options.docs / "results" / "tuned.csv", _evaluated(plan, "tuned"))
    path = options.data / "kodak" / f"{results_tuned.PICTURE}.png"
    pixels = images.to_rgb(images.load(path).pixels)
    nbytes = compare.target_bytes(pixels, None, results_tuned.BPP)
    found = list(compare.at_size(path.name, pixels, chosen[:2], nbytes))
    _sheet(options.docs / results_tuned.SHEET, pixels, found, nbytes)


def _case_study(options: argparse.Namespace, codecs: tuple[Codec, ...]) -> None:
    """The codecs at 0.113 bits per pixel: rows, and for each picture a sheet of crops."""
    rows = []
    for stem in CASE_PICTURES:
        path = options.data / "kodak" / f"{stem}.png"
        if not path.exists():
            continue
        pixels = images.to_rgb(images.load(path).pixels)
        nbytes = compare.target_bytes(pixels, None, compare.LECTURE_BPP)
        found = list(compare.at_size(path.name, pixels, codecs, nbytes))
        rows += [each.row for each in found]
        _sheet(options.docs / f"case-{stem}.webp", pixels, found, nbytes)
    results.write_rows(options.docs / "results" / "case.csv", rows)


def _sheet(target: Path, pixels: np.ndarray, found: Sequence[compare.Found], nbytes: int) -> None:
    """The same crop of the original and of what the codecs made of it."""
    shown = [_labelled(each, pixels, nbytes) for each in found]
    sheet = io.BytesIO()
    Image.fromarray(demo.sheet([("original", pixels), *shown])).save(sheet, "WEBP", lossless=True, method=6)
    images.atomic_write(target, sheet.getvalue())


def _labelled(found: compare.Found, pixels: np.ndarray, nbytes: int) -> tuple[str, np.ndarray]:
    """A codec's picture for the sheet; or its smallest file, if that is above the size: the label says so."""
    label, row, decoded = found.codec.label, found.row, found.decoded
    if decoded is not None:
        return f"{label}  {row.bytes:,} bytes  {row.psnr:.2f} dB", decoded
    smallest = compare.largest_within(found.codec, pixels, nbytes).data
    decoded = found.codec.decode(smallest)
    return f"{label}, at least {len(smallest):,} bytes  {metrics.psnr(pixels, decoded):.2f} dB", decoded


def _published(options: argparse.Namespace, _codecs: tuple[Codec, ...]) -> None:
    """The published curves that the page uses, and no others."""
    found = results.read_published(options.data / "anchors" / "kodak_published.csv")
    lines = ["method,bpp,psnr_rgb_db,ms_ssim"]
    for method in results_page.PUBLISHED:
        # an MS-SSIM that was not given is an empty field
        lines += [f"{method},{p.bpp:g},{p.psnr:g},{p.ms_ssim:g}".replace("nan", "") for p in found[method]]
    images.atomic_write(options.docs / "results" / "published.csv", ("\n".join(lines) + "\n").encode())


def _whole_evaluation(options: argparse.Namespace, codecs: tuple[Codec, ...]) -> None:
    """Seconds of Intaglio's evaluation on Kodak at ten qualities from nothing."""
    pictures = evaluate.find_pictures([options.data / "kodak"])
    with tempfile.TemporaryDirectory() as folder:
        qualities = {OURS: TIMED_QUALITIES}
        plan = evaluate.Plan(pictures, codecs[:1], Path(folder), qualities, jobs=options.jobs, ssimulacra2=False)
        start = time.perf_counter()
        _evaluated(plan, "timing")
        seconds = time.perf_counter() - start
    whole = {"seconds": round(seconds, 1), "jobs": options.jobs, "pictures": len(pictures)}
    images.atomic_write(options.docs / "results" / "time.json", (json.dumps(whole) + "\n").encode())


def _about(options: argparse.Namespace, codecs: tuple[Codec, ...]) -> None:
    """When, with what and where it was measured."""
    environment = {name: value for name, value in record.environment().items() if value != "not installed"}
    about = {
        "date": date.today().isoformat(),
        "environment": environment,
        "codecs": {codec.name: {"label": codec.label, "about": codec.about} for codec in codecs},
    }
    images.atomic_write(options.docs / "results" / "about.json", (json.dumps(about, indent=2) + "\n").encode())


def _plots(data: Data) -> dict[str, bytes]:
    """The pictures of the page by file name."""
    beside = {label: data.published[method] for method, label in results_page.DRAWN.items()}
    drawn = {}
    for name, rows in data.sets.items():
        count = len({row.picture for row in rows})
        title = f"{results_page.SETS[name]}, mean of {count} pictures"
        means = results.means(rows)
        kodak = name == "kodak"
        drawn[f"rd-{name}.png"] = plot(title, "psnr", means, data.labels, beside if kodak else {})
        for metric, ending in results_page.MORE_PLOTS.items() if kodak else ():
            if metric in results_page.metrics_of(rows):
                drawn[f"rd-{name}-{ending}.png"] = plot(title, metric, means, data.labels, {})
    return drawn


def with_figures(readme: str, figures: str) -> str:
    """The README's text with these figures between its two marks."""
    before, _, rest = readme.partition(results_page.BEGIN)
    _, _, after = rest.partition(results_page.END)
    return before + figures + after


def _write_pages(options: argparse.Namespace) -> Data:
    data = results_page.load(options.docs / "results")
    for name, png in _plots(data).items():
        images.atomic_write(options.docs / name, png)
    images.atomic_write(options.docs / "results.md", results_page.page(data).encode())
    text = options.readme.read_text(encoding="utf-8") if options.readme else ""
    if results_page.BEGIN in text:
        images.atomic_write(options.readme, with_figures(text, results_page.readme(data)).encode())
    return data


STEPS: dict[str, Callable[[argparse.Namespace, tuple[Codec, ...]], None]] = {
    "measure": _measure,
    "span": _span,
    "tuned": _tuned,
    "case": _case_study,
    "published": _published,
    "time": _whole_evaluation,
}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shared = ROOT.parent / "shared" / "data"
    parser.add_argument("--data", type=Path, default=shared, help="folder with kodak, val and anchors")
    parser.add_argument("--build", type=Path, default=ROOT / "build" / "results", help="where measured rows are kept")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="where pages, pictures and rows are written")
    parser.add_argument("--jobs", type=int, default=2, help="pictures at a time")
    parser.add_argument("--ssimulacra2", action="store_true", help="on Kodak; it takes longer than all codecs together")
    parser.add_argument("--only", action="append", choices=[*STEPS, "pages"], help="this step, and the pages")
    options = parser.parse_args()
    options.readme = ROOT / "README.md" if options.docs.resolve() == ROOT / "docs" else None
    return options


def main() -> int:
    """Measures, writes, prints the verdict."""
    options = _arguments()
    steps = [step for name, step in STEPS.items() if not options.only or name in options.only]
    if steps:
        codecs = tuple(choose(CODECS).codecs.values())
        (options.docs / "results").mkdir(parents=True, exist_ok=True)
        for step in steps:
            step(options, codecs)
    needed = ("kodak.csv", "settings.csv", "case.csv", "published.csv", "about.json")
    if missing := [name for name in needed if not (options.docs / "results" / name).exists()]:
        print(f"no pages yet, {', '.join(missing)} missing: run all steps once, without --only")
        return 1
    text, reached = results_page.verdict(_write_pages(options))
    print(text)
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
