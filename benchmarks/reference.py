"""What a picture costs where an earlier version of it is there: `reference` against `photo`, at equal PSNR.

    python benchmarks/reference.py PICTURES reference.itgm [COUNT]

Each picture is cut to its middle, SIDE pixels a side; the earlier version is made by one kind of change at a time. Real
files of both models at the qualities of QUALITIES; a Markdown table of mean BD-rates (PCHIP), and of the bytes of the
smallest quality. The weights of both are given; how much more training a model had shows in this, too.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from rich.progress import track

from intaglio import codec, metrics
from intaglio.bdrate import bd_rate
from intaglio.bundle import Model, load_model
from intaglio.errors import ArgumentError
from pictures import middle, pictures_of

Pixels = np.ndarray
SIDE = 512
QUALITIES = (5, 20, 40, 60, 80)


def brighter(pixels: Pixels) -> Pixels:
    """Lit otherwise: 10 % more gain, 8 darker."""
    return _whole(1.1 * pixels.astype(np.float64) - 8.0)


def blurred(pixels: Pixels) -> Pixels:
    """Half way to the mean of 3x3."""
    wide = np.pad(pixels.astype(np.float64), ((1, 1), (1, 1), (0, 0)), mode="edge")
    height, width = pixels.shape[:2]
    mean = sum(wide[down : down + height, right : right + width] for down in range(3) for right in range(3)) / 9.0
    return _whole(0.5 * pixels + 0.5 * mean)


def edited(pixels: Pixels) -> Pixels:
    """A sixteenth of the picture replaced by another part of it."""
    side = SIDE // 4
    changed = pixels.copy()
    changed[side : 2 * side, side : 2 * side] = pixels[2 * side : 3 * side, 2 * side : 3 * side]
    return changed


def shifted(pixels: Pixels) -> Pixels:
    """Moved by 3 pixels right and 2 down."""
    return np.pad(pixels, ((2, 0), (3, 0), (0, 0)), mode="edge")[: len(pixels), : pixels.shape[1]]


CHANGES: dict[str, Callable[[Pixels], Pixels]] = {
    "a sixteenth edited": edited,
    "gain and black": brighter,
    "half blurred": blurred,
    "moved by (3, 2) pixels": shifted,
}


def _whole(values: Pixels) -> Pixels:
    return np.floor(values.clip(0.0, 255.0) + 0.5).astype(np.uint8)


def points(model: Model, pixels: Pixels, given: Pixels | None) -> np.ndarray:
    """(n, 2) of bytes and PSNR in dB of real files."""
    rows = []
    for quality in QUALITIES:
        data = codec.encode(pixels, quality, model=model, given=given)
        rows.append((len(data), metrics.psnr(pixels, codec.decode(data, model=model, given=given))))
    return np.array(rows)


def main(folder: Path, model: str, count: int) -> None:
    """Measures and prints."""
    photo, reference = load_model("photo", 1), load_model(model, 1)
    pictures = [middle(each, SIDE) for each in pictures_of(folder).values()][:count]
    alone = [points(photo, each, None) for each in track(pictures, "photo")]
    print("| earlier version | its PSNR | bytes at equal PSNR | pictures | at quality 5: bytes, PSNR |")
    print("|---|---|---|---|---|")
    for name, change in CHANGES.items():
        rates, smallest, before = [], [], []
        for pixels, anchor in zip(track(pictures, name), alone, strict=True):
            given = change(pixels)
            curve = points(reference, pixels, given)
            smallest.append(curve[0])
            before.append(metrics.psnr(pixels, given))
            try:
                rates.append(bd_rate(anchor, curve))
            except ArgumentError:
                continue  # no common range
        size, psnr = np.mean(smallest, 0)
        saved = f"{np.mean(rates):+.0f} %" if rates else "no common range"
        print(f"| {name} | {np.mean(before):.1f} dB | {saved} | {len(rates)} | {size:.0f}, {psnr:.1f} dB |")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 8)
