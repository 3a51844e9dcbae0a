"""What colour costs where luma is known: `colour`, its blind twin, and the chroma share of JPEG and AVIF.

    python benchmarks/conditional.py KODAK --blind blind.itgm --show kodim03 --show kodim23 --out FOLDER

The chroma share of a peer is the size of its colour file less that of its grey one, at the same setting; chroma PSNR is
that of Cb and Cr (BT.601, full range, not rounded) of the decoded RGB picture, mean over the pictures. Writes
`conditional.csv` and `conditional.png` (the curves), `conditional-sizes.webp` (grey, original, decoded at the sizes of
SIZES), `conditional-200.webp` (each picture and what it is at 200 bytes); prints BD-rates and chroma PSNR there.
"""

from __future__ import annotations

import argparse
import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from rich.progress import track

from intaglio import codec, images, metrics, ycbcr
from intaglio.bdrate import bd_rate
from intaglio.bundle import Model, load_model
from intaglio.errors import ArgumentError
from pictures import pictures_of

Pixels = np.ndarray
QUALITIES = tuple(range(1, 101, 9))
SIZES = (50, 150, 500, 1500)  # bytes, of the first sheet
AT = 200  # bytes, of the second
ROUNDING = 58.9  # dB, of an error that is even over -1/2..1/2
COLUMNS = 4  # pairs of pictures in a row of it
PEERS = {"jpeg": range(5, 96, 10), "avif": range(5, 96, 10)}
SUBSAMPLING = {"jpeg": (0, 2), "avif": ("4:4:4", "4:2:0")}
SHEET_WIDTH = 240  # pixels of each picture


class Point(NamedTuple):
    """One file: whose, of which picture, setting, bytes, chroma PSNR in dB."""

    codec: str
    picture: str
    setting: float
    size: int
    psnr: float


def chroma_psnr(original: Pixels, decoded: Pixels) -> float:
    """PSNR over Cb and Cr, in dB, of uint8 (H,W,3); at most that of rounding."""
    return min(metrics.psnr_luma_chroma(original, decoded)[1], ROUNDING)


def ours(name: str, model: Model, picture: str, pixels: Pixels) -> Iterator[Point]:
    """The files of a conditional model."""
    for quality in QUALITIES:
        data = codec.encode(pixels, quality, model=model, given=pixels)
        decoded = codec.decode(data, model=model, given=pixels)
        yield Point(name, picture, quality, len(data), chroma_psnr(pixels, decoded))


def _saved(pixels: Pixels, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def peers(picture: str, pixels: Pixels) -> Iterator[Point]:
    """The chroma shares of the peers' files."""
    grey = ycbcr.luma(pixels)
    for kind, settings in PEERS.items():
        for subsampling, label in zip(SUBSAMPLING[kind], ("4:4:4", "4:2:0"), strict=True):
            for quality in settings:
                data = _saved(pixels, kind, quality=quality, subsampling=subsampling)
                decoded = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
                size = len(data) - len(_saved(grey, kind, quality=quality))
                if size > 0:  # a grey file may be larger, by luck
                    yield Point(f"{kind} {label}", picture, quality, size, chroma_psnr(pixels, decoded))


def within(model: Model, pixels: Pixels, most: int) -> tuple[bytes, Pixels]:
    """The best file of at most so many bytes, or the smallest that there is, and its picture."""
    low, high, best = 2, 200, codec.encode(pixels, 1, model=model, given=pixels)  # halves of the quality
    while low < high:
        middle = (low + high + 1) // 2
        data = codec.encode(pixels, middle / 2, model=model, given=pixels)
        low, high, best = (middle, high, data) if len(data) <= most else (low, middle - 1, best)
    return best, codec.decode(best, model=model, given=pixels)


def small(pixels: Pixels) -> Pixels:
    """For a sheet: of its width, in a cell as high as wide where the picture stands upright, else 2/3 of that."""
    image = Image.fromarray(pixels)
    image.thumbnail((SHEET_WIDTH, SHEET_WIDTH), Image.Resampling.LANCZOS)
    cell = Image.new("RGB", (SHEET_WIDTH + 4, max(image.height, SHEET_WIDTH * 2 // 3) + 4), "white")
    cell.paste(image, (2, 2))
    return np.asarray(cell)


def by_size(model: Model, pictures: list[Pixels]) -> Pixels:
    """Grey, original and decoded pictures, a row for each."""
    rows = []
    for pixels in pictures:
        shown = [images.to_rgb(ycbcr.luma(pixels)), pixels, *(within(model, pixels, each)[1] for each in SIZES)]
        rows.append(np.hstack([small(each) for each in shown]))
    return np.vstack(rows)


def in_pairs(pairs: list[tuple[Pixels, Pixels]]) -> Pixels:
    """Each picture beside what was decoded, COLUMNS such pairs in a row."""
    cells = [np.hstack([small(each) for each in pair]) for pair in pairs]
    height, (_, width, _) = max(len(each) for each in cells), cells[0].shape
    whole = np.full((-(-len(cells) // COLUMNS) * height, COLUMNS * width, 3), 255, np.uint8)
    for number, cell in enumerate(cells):
        top, left = number // COLUMNS * height, number % COLUMNS * width
        whole[top : top + len(cell), left : left + width] = cell
    return whole


def keep(pixels: Pixels, path: Path) -> None:
    """Writes a sheet, small enough for a page."""
    Image.fromarray(pixels).save(path, quality=88, method=6)


def curve(points: list[Point], name: str, picture: str) -> np.ndarray:
    """(n, 2) of bytes and PSNR."""
    return np.array([(each.size, each.psnr) for each in points if (each.codec, each.picture) == (name, picture)])


def saving(points: list[Point], anchor: str, test: str) -> str:
    """Mean BD-rate over the pictures whose curves overlap, as a line."""
    rates = []
    for picture in dict.fromkeys(each.picture for each in points):
        try:
            rates.append(bd_rate(curve(points, anchor, picture), curve(points, test, picture)))
        except ArgumentError:
            continue
    found = f"{np.mean(rates):+.1f} %" if rates else "no common range"
    return f"{test} against {anchor}: {found} bytes at equal chroma PSNR ({len(rates)} pictures)"


def draw(points: list[Point], path: Path) -> None:
    """Mean PSNR over mean bytes of each setting, as a picture."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5.5), layout="constrained")
    axes = figure.subplots()
    for name in dict.fromkeys(each.codec for each in points):
        groups: dict[float, list[Point]] = {}
        for each in points:
            if each.codec == name:
                groups.setdefault(each.setting, []).append(each)
        sizes, psnrs = (np.array([[p[k] for p in group] for group in groups.values()]).mean(1) for k in (3, 4))
        axes.plot(sizes, psnrs, ".-", label=name)
    axes.set(xlabel="bytes for colour", ylabel="chroma PSNR (dB)", xscale="log")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=110)


def main() -> None:
    """Measures, writes, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--colour", default="colour")
    parser.add_argument("--blind")
    parser.add_argument("--show", action="append", help="a picture of the first sheet; default the first three")
    parser.add_argument("--out", type=Path, default=Path("runs/conditional"))
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    models = {"colour": load_model(asked.colour, 1)} | ({"blind": load_model(asked.blind, 1)} if asked.blind else {})
    pictures = pictures_of(asked.pictures)
    points: list[Point] = []
    for picture, pixels in track(pictures.items(), "measuring"):
        for name, model in models.items():
            points += ours(name, model, picture, pixels)
        points += peers(picture, pixels)
    with (asked.out / "conditional.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(Point._fields)
        rows.writerows(points)
    draw(points, asked.out / "conditional.png")
    shown = [pictures[name] for name in asked.show or list(pictures)[:3]]
    keep(by_size(models["colour"], shown), asked.out / "conditional-sizes.webp")
    for name in dict.fromkeys(each.codec for each in points):
        if name != "colour":
            print(saving(points, name, "colour"))
    found = [within(models["colour"], pixels, AT) for pixels in track(pictures.values(), f"coding in {AT} bytes")]
    pairs = [(pixels, decoded) for pixels, (_, decoded) in zip(pictures.values(), found, strict=True)]
    keep(in_pairs(pairs), asked.out / f"conditional-{AT}.webp")
    psnrs = [chroma_psnr(*pair) for pair in pairs]
    size = np.mean([len(data) for data, _ in found])
    print(f"within {AT} bytes: {np.mean(psnrs):.2f} dB chroma, {size:.0f} bytes on average")


if __name__ == "__main__":
    main()
