"""`make demo`: photographs through Intaglio, and through JPEG, JPEG 2000, WebP and AVIF at the same size."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, TypeVar

import numpy as np
import typer
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

import intaglio
from intaglio import codecs, images, metrics
from intaglio.compare import closest_to_bytes
from intaglio.errors import ArgumentError, IntaglioError

Pixels = NDArray[np.uint8]
T = TypeVar("T")

CROP = 256  # side of the compared crop, in pixels of the picture
ZOOM = 2
GAP = 8
LABEL = 40
COLUMNS = 3
PEERS = {"jpeg": "JPEG", "jpeg2000": "JPEG 2000", "webp": "WebP", "avif": "AVIF"}


@dataclass(frozen=True)
class Result:
    """What one codec made of one picture: its file, the picture decoded, seconds each way, measures.

    PSNR is in dB (RGB, luma, chroma), MS-SSIM from 0 to 1 (NaN for a picture too small for it), `bpp` in bits
    of the file per pixel.
    """

    codec: str
    data: bytes
    decoded: Pixels
    seconds: tuple[float, float]
    bpp: float
    psnr: float
    psnr_luma: float
    psnr_chroma: float
    ms_ssim: float

    @property
    def slug(self) -> str:
        """The codec's name as part of a file name."""
        return self.codec.lower().replace(" ", "")


def _timed(call: Callable[[], T]) -> tuple[T, float]:
    start = time.perf_counter()
    value = call()
    return value, time.perf_counter() - start


def measure(name: str, pixels: Pixels, encode: Callable[[], bytes], decode: Callable[[bytes], Pixels]) -> Result:
    """Codes `pixels`, uint8 (H,W,3), there and back; takes the time of each way and measures the outcome."""
    data, encode_seconds = _timed(encode)
    decoded, decode_seconds = _timed(lambda: decode(data))
    luma, chroma = metrics.psnr_luma_chroma(pixels, decoded)
    height, width = pixels.shape[:2]
    small = min(height, width) < metrics.MS_SSIM_MIN_SIDE
    return Result(
        codec=name,
        data=data,
        decoded=decoded,
        seconds=(encode_seconds, decode_seconds),
        bpp=metrics.bits_per_pixel(len(data), width, height),
        psnr=metrics.psnr(pixels, decoded),
        psnr_luma=luma,
        psnr_chroma=chroma,
        ms_ssim=math.nan if small else metrics.ms_ssim(pixels, decoded),
    )


def compare(pixels: Pixels, quality: float) -> Iterator[Result]:
    """Intaglio at `quality` 1..100, then the peers, as close to its size as can be. `pixels`: uint8 (H,W,3).

    Raises ArgumentError for a wrong quality and whatever `intaglio.encode` raises.
    """
    ours = measure("Intaglio", pixels, partial(intaglio.encode, pixels, quality), intaglio.decode)
    yield ours
    found = codecs.available().codecs
    for key, name in PEERS.items():
        if codec := found.get(key):
            match = closest_to_bytes(codec, pixels, len(ours.data))
            yield measure(name, pixels, partial(codec.encode, pixels, match.quality), codec.decode)


def busiest_crop(pixels: Pixels, side: int = CROP) -> tuple[int, int, int, int]:
    """Box (left, top, right, bottom) of the window, at most `side` pixels each way, that has the most detail.

    Detail is the sum of absolute differences between neighbouring pixels of the green channel.
    """
    green = pixels[:, :, 1].astype(np.int32)
    detail = np.zeros_like(green)
    detail[:, 1:] += np.abs(np.diff(green, axis=1))
    detail[1:] += np.abs(np.diff(green, axis=0))
    total = np.pad(detail.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    height, width = min(side, green.shape[0]), min(side, green.shape[1])
    sums = total[height:, width:] - total[:-height, width:] - total[height:, :-width] + total[:-height, :-width]
    top, left = (int(i) for i in np.unravel_index(np.argmax(sums), sums.shape))
    return left, top, left + width, top + height


def side_by_side(pixels: Pixels, results: list[Result]) -> Pixels:
    """One sheet, uint8 (H,W,3): the same crop of the original and of every result, enlarged and labelled."""
    coded = [(f"{each.codec}  {len(each.data):,} bytes  {each.psnr:.2f} dB", each.decoded) for each in results]
    return sheet([("original", pixels), *coded])


def sheet(pictures: Sequence[tuple[str, Pixels]]) -> Pixels:
    """Labelled pictures, uint8 (H,W,3) of one size, as the same enlarged crop of each: where the first has most detail.

    Returns uint8 (H,W,3).
    """
    box = busiest_crop(pictures[0][1])
    side = CROP * ZOOM
    rows = -(-len(pictures) // COLUMNS)
    cell = (side + GAP, side + LABEL + GAP)
    whole = Image.new("RGB", (COLUMNS * cell[0] + GAP, rows * cell[1] + GAP), "white")
    draw, font = ImageDraw.Draw(whole), ImageFont.load_default(24)
    for number, (label, shown) in enumerate(pictures):
        left, top = GAP + number % COLUMNS * cell[0], GAP + number // COLUMNS * cell[1]
        crop = Image.fromarray(np.ascontiguousarray(shown)).crop(box)
        draw.text((left, top + LABEL // 2), label, "black", font=font, anchor="lm")
        whole.paste(
            crop.resize((crop.width * ZOOM, crop.height * ZOOM), Image.Resampling.NEAREST),
            (left, top + LABEL),
        )
    return np.asarray(whole)


def _table(title: str, results: list[Result]) -> Table:
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    table.add_column("codec", no_wrap=True)
    for heading in ("bytes", "bpp", "PSNR", "luma", "chroma", "MS-SSIM", "enc s", "dec s"):
        table.add_column(heading, justify="right", no_wrap=True)
    for each in results:
        quality = (
            f"{each.psnr:.2f}",
            f"{each.psnr_luma:.2f}",
            f"{each.psnr_chroma:.2f}",
            f"{each.ms_ssim:.4f}",
        )
        seconds = (f"{value:.3f}" for value in each.seconds)
        table.add_row(each.codec, f"{len(each.data):,}", f"{each.bpp:.3f}", *quality, *seconds)
    return table


def _write(folder: Path, name: str, pixels: Pixels, results: list[Result]) -> None:
    images.atomic_write(folder / f"{name}.itg", results[0].data)
    for each in results:
        images.save(folder / f"{name}-{each.slug}.png", each.decoded)
    images.save(folder / f"{name}-side-by-side.png", side_by_side(pixels, results))


def _pictures(paths: list[Path]) -> list[Path]:
    found = paths or sorted(Path("examples").glob("*.webp"))
    if not found:
        raise ArgumentError(
            "no pictures: there is no examples/*.webp here; name picture files or run from the checkout"
        )
    return found


def run(paths: list[Path], quality: float, out: Path, console: Console) -> None:
    """Compares the codecs on every picture, prints a table for each, writes the decoded pictures under `out`.

    Raises the errors of `intaglio.encode`, and ArgumentError without a picture or a usable `out`.
    """
    pictures = _pictures(paths)
    images.make_folder(out)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("loading the model", total=len(pictures) * (len(PEERS) + 1))
        # The first call loads the networks; it must not be counted as coding time.
        intaglio.decode(intaglio.encode(images.to_rgb(images.load(pictures[0]).pixels)[:CROP, :CROP], quality))
        for path in pictures:
            pixels = images.to_rgb(images.load(path).pixels)
            results = []
            progress.update(task, description=path.stem)
            for each in compare(pixels, quality):
                results.append(each)
                progress.advance(task)
            _write(out, path.stem, pixels, results)
            height, width = pixels.shape[:2]
            progress.console.print(_table(f"{path.stem}, {width} x {height}, quality {quality:g}", results))
    missing = codecs.available().missing
    for reason in (missing[key] for key in PEERS if key in missing):
        console.print(f"Left out: {reason}")
    console.print(
        "PSNR in dB over RGB, then of luma and chroma; times of one whole call in seconds. "
        f"Decoded pictures and the crops side by side: {out}{'/' if str(out) != '.' else ''}"
    )


def main(
    pictures: Annotated[list[Path] | None, typer.Argument(help="Pictures; examples/*.webp without any.")] = None,
    quality: Annotated[float, typer.Option("--quality", "-q", help="Intaglio's quality, 1 to 100.")] = 30.0,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the decoded pictures.")] = Path("demo-out"),
) -> None:
    """Compare Intaglio with JPEG, JPEG 2000, WebP and AVIF at the same number of bytes."""
    try:
        run(pictures or [], quality, out, Console())
    except IntaglioError as error:
        typer.echo(f"demo: {error}", err=True)
        raise typer.Exit(1) from None


if __name__ == "__main__":
    typer.run(main)
