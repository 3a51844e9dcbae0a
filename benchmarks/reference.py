"""What a picture costs where an earlier version of it is there: `reference` against `photo`, at equal PSNR.

    python benchmarks/reference.py PICTURES reference.itgm [COUNT]

Each picture is cut to its middle, SIDE pixels a side; the earlier version is made by one kind of change at a time. Real
files of both models; a Markdown table of means over the pictures. Where `photo` never gets as good, its largest counts.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from rich.progress import track

from intaglio import codec, metrics
from intaglio.bundle import Model, load_model
from pictures import middle, pictures_of

Pixels = np.ndarray
SIDE = 512
QUALITIES = (5, 40, 75)
OF_PHOTO = (1, 5, 15, 30, 45, 60, 75, 90, 100)


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


def coded(model: Model, pixels: Pixels, quality: float, given: Pixels | None) -> tuple[int, float]:
    """Bytes and PSNR in dB of a real file."""
    data = codec.encode(pixels, quality, model=model, given=given)
    return len(data), metrics.psnr(pixels, codec.decode(data, model=model, given=given))


def bytes_for(curve: Pixels, psnr: float) -> float:
    """What `photo` needs for that PSNR, linear in the logarithm between its files; those of the ends beyond them."""
    return float(np.exp(np.interp(psnr, curve[:, 1], np.log(curve[:, 0]))))


def main(folder: Path, model: str, count: int) -> None:
    """Measures and prints."""
    photo, reference = load_model("photo", 1), load_model(model, 1)
    pictures = [middle(each, SIDE) for each in pictures_of(folder).values()][:count]
    curves = [np.array([coded(photo, each, q, None) for q in OF_PHOTO]) for each in track(pictures, "photo")]
    print("| earlier version | its PSNR | quality | bytes | PSNR | bytes of `photo` for that | saved |")
    print("|---|---|---|---|---|---|---|")
    for name, change in CHANGES.items():
        given = [change(each) for each in pictures]
        before = np.mean([metrics.psnr(*pair) for pair in zip(pictures, given, strict=True)])
        for quality in track(QUALITIES, name):
            files = [coded(reference, pair[0], quality, pair[1]) for pair in zip(pictures, given, strict=True)]
            alone = [bytes_for(curve, psnr) for curve, (_, psnr) in zip(curves, files, strict=True)]
            (size, psnr), needed = np.mean(files, 0), np.mean(alone)
            saved = 100.0 * np.mean([1.0 - size / other for (size, _), other in zip(files, alone, strict=True)])
            row = f"{before:.1f} dB | {quality} | {size:.0f} | {psnr:.1f} dB | {needed:.0f} | {saved:.0f} %"
            print(f"| {name} | {row} |")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 8)
