"""What each effort of the encoder is worth, and refinement of latents: BD-rate against effort 1, and seconds.

    python benchmarks/effort.py PICTURES [--model photo] [--side 512] [--efforts 0 1 2 3 5 9] [--refine slope gumbel]

PICTURES: a folder; the middle `side` x `side` of each are coded, in one thread. With `--refine` (needs intaglio[train])
also by `intaglio refine`, which takes a minute for each of six qualities of a picture of 512 x 512.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
from rich.progress import track

import intaglio
from intaglio import evaluate, images, metrics
from intaglio.bdrate import bd_rate
from intaglio.bundle import Model, load_model
from intaglio.effort import DEFAULT, MOST
from pictures import middle

QUALITIES = (10.0, 25.0, 40.0, 55.0, 70.0, 85.0)
Curve = list[tuple[float, float]]


def encoded(pixels: np.ndarray, quality: float, model: Model, way: int | str) -> bytes:
    """By an effort of the codec, or a kind of `intaglio.workshop.refine.Descent`."""
    if isinstance(way, int):
        return intaglio.encode(pixels, quality, model=model, effort=way)
    from intaglio.workshop.refine import Descent, encode

    return encode(pixels, quality, model.name, Descent(kind=way))


def curve(pixels: np.ndarray, model: Model, way: int | str) -> tuple[Curve, float]:
    """(bits per pixel, PSNR in dB) at QUALITIES, and the seconds that encoding took."""
    points, seconds = [], 0.0
    for quality in QUALITIES:
        start = time.perf_counter()
        data = encoded(pixels, quality, model, way)
        seconds += time.perf_counter() - start
        bpp = 8.0 * len(data) / (pixels.shape[0] * pixels.shape[1])
        points.append((bpp, metrics.psnr(pixels, intaglio.decode(data, model=model))))
    return points, seconds


def main() -> int:
    """Prints a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--model", default="photo")
    parser.add_argument("--efforts", type=int, nargs="+", default=[0, 1, 2, 3, 5, MOST])
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--refine", nargs="+", default=[])
    options = parser.parse_args()
    model = load_model(options.model, 1)
    ways = [*sorted({*options.efforts, DEFAULT}), *options.refine]
    rates: dict[int | str, list[float]] = {way: [] for way in ways}
    seconds = dict.fromkeys(ways, 0.0)
    found = evaluate.find_pictures([options.pictures])
    for path in track(found, "coding", transient=True):
        pixels = middle(images.to_rgb(images.load(path).pixels), options.side)
        curves = {way: curve(pixels, model, way) for way in ways}
        for way, (points, spent) in curves.items():
            rates[way].append(bd_rate(np.array(curves[DEFAULT][0]), np.array(points)))
            seconds[way] += spent
    print("| effort | " + " | ".join(map(str, ways)) + " |")
    print("|---|" + "---:|" * len(ways))
    print("| BD-rate | " + " | ".join(f"{np.mean(rates[way]):+.1f} %" for way in ways) + " |")
    print(
        "| time, of that of effort 1 | " + " | ".join(f"{seconds[way] / seconds[DEFAULT]:.1f}" for way in ways) + " |"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
