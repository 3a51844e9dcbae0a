"""What each effort of the encoder is worth: BD-rate against effort 1, and seconds.

    python benchmarks/effort.py PICTURES [--model photo] [--efforts 0 1 2 3 5 9]

PICTURES: a folder; the middle 512 x 512 of each are coded, in one thread.
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

QUALITIES = (10.0, 25.0, 40.0, 55.0, 70.0, 85.0)
SIDE = 512
Curve = list[tuple[float, float]]


def middle(path: Path) -> np.ndarray:
    """uint8 (H,W,3), sides at most SIDE."""
    pixels = images.to_rgb(images.load(path).pixels)
    top, left = (max(0, side - SIDE) // 2 for side in pixels.shape[:2])
    return np.ascontiguousarray(pixels[top : top + SIDE, left : left + SIDE])


def curve(pixels: np.ndarray, model: Model, effort: int) -> tuple[Curve, float]:
    """(bits per pixel, PSNR in dB) at QUALITIES, and the seconds that encoding took."""
    points, seconds = [], 0.0
    for quality in QUALITIES:
        start = time.perf_counter()
        data = intaglio.encode(pixels, quality, model=model, effort=effort)
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
    options = parser.parse_args()
    model = load_model(options.model, 1)
    efforts = sorted({*options.efforts, DEFAULT})
    rates: dict[int, list[float]] = {effort: [] for effort in efforts}
    seconds = dict.fromkeys(efforts, 0.0)
    found = evaluate.find_pictures([options.pictures])
    for path in track(found, "coding", transient=True):
        pixels = middle(Path(path))
        curves = {effort: curve(pixels, model, effort) for effort in efforts}
        for effort, (points, spent) in curves.items():
            rates[effort].append(bd_rate(np.array(curves[DEFAULT][0]), np.array(points)))
            seconds[effort] += spent
    print("| effort | " + " | ".join(map(str, efforts)) + " |")
    print("|---|" + "---:|" * len(efforts))
    print("| BD-rate | " + " | ".join(f"{np.mean(rates[effort]):+.1f} %" for effort in efforts) + " |")
    times = (f"{seconds[effort] / seconds[DEFAULT]:.1f}" for effort in efforts)
    print("| time, of that of effort 1 | " + " | ".join(times) + " |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
