"""Is a colour picture smaller as grey by `photo` and colours given that by `colour`, than by `photo` at once?

    python benchmarks/two_streams.py PICTURES [COUNT] [--colour colour.itgm]

For each quality of `photo` the picture's luma is coded as a grey picture, and its chroma given the decoded luma at the
quality where PSNR over R, G and B per byte is best: all pairs of qualities are tried, and the lower envelope is the
curve. So the comparison favours the two streams. Prints BD-rates of real files, picture by picture, and their mean.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from rich.progress import track

from intaglio import codec, metrics, ycbcr
from intaglio.bdrate import bd_rate
from intaglio.bundle import Model, load_model
from pictures import middle, pictures_of

Pixels = np.ndarray
SIDE = 512
QUALITIES = (5, 15, 30, 50, 70, 85)
OF_COLOUR = (10, 20, 30, 40, 50, 60, 70)


def at_once(photo: Model, pixels: Pixels) -> np.ndarray:
    """(n, 2) of bytes and PSNR in dB."""
    files = [codec.encode(pixels, quality, model=photo) for quality in QUALITIES]
    return np.array([(len(data), metrics.psnr(pixels, codec.decode(data, model=photo))) for data in files])


def in_two(photo: Model, colour: Model, pixels: Pixels) -> np.ndarray:
    """The same of grey and colour files together: what no other pair beats in both."""
    pairs = []
    for quality in QUALITIES:
        grey = codec.encode(ycbcr.luma(pixels), quality, model=photo)
        luma = codec.decode(grey, model=photo)
        for of_colour in OF_COLOUR:
            data = codec.encode(pixels, of_colour, model=colour, given=luma)
            decoded = codec.decode(data, model=colour, given=luma)
            pairs.append((len(grey) + len(data), metrics.psnr(pixels, decoded)))
    best: list[tuple[int, float]] = []
    for size, psnr in sorted(pairs):
        if not best or psnr > best[-1][1]:
            best.append((size, psnr))
    return np.array(best)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("count", type=int, nargs="?", default=8)
    parser.add_argument("--colour", default="colour")
    asked = parser.parse_args()
    photo, colour = load_model("photo", 1), load_model(asked.colour, 1)
    rates, pictures = [], list(pictures_of(asked.pictures).items())[: asked.count]
    for name, picture in track(pictures, "measuring"):
        pixels = middle(picture, SIDE)
        rates.append(bd_rate(at_once(photo, pixels), in_two(photo, colour, pixels)))
        print(f"{name}: {rates[-1]:+.1f} %")
    print(f"two streams against photo at once: {np.mean(rates):+.1f} % bytes at equal PSNR")


if __name__ == "__main__":
    main()
