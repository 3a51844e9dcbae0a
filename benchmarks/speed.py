"""Speed of whole calls on a 2-megapixel picture beside AVIF, and of `intaglio decode` as a process.

    python benchmarks/speed.py [--quality 50] [--repeats 7] [--threads 2]

The ratios are worth more than the times: other work on the machine slows both.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

import intaglio
from intaglio import codecs, images
from intaglio.compare import closest_to_bytes

ROOT = Path(__file__).resolve().parent.parent
SIZE = (1088, 1920)
KODAK_SIZE = (512, 768)
MUST_REACH = {"encode": 2.0, "decode": 5.0}  # MP/s
MUST_REACH_PROCESS = 0.6  # seconds


def photograph(size: tuple[int, int]) -> np.ndarray:
    """uint8 (H,W,3) of that size from an example, continued by reflection its detail as fine as before."""
    pixels = images.to_rgb(images.load(ROOT / "examples" / "colosseum.webp").pixels)
    missing = [max(0, wanted - side) for wanted, side in zip(size, pixels.shape, strict=False)]
    return np.pad(pixels, [(0, missing[0]), (0, missing[1]), (0, 0)], mode="symmetric")[: size[0], : size[1]]


def timed(call: Callable[[], object], repeats: int) -> list[float]:
    """Seconds of every one of `repeats` calls, after one that is not counted."""
    call()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return seconds


def _process_seconds(quality: float, repeats: int) -> list[float]:
    """Seconds of `intaglio decode FILE.itg FILE.png` on a picture of Kodak's size, Python start included."""
    with tempfile.TemporaryDirectory() as folder:
        coded = Path(folder) / "picture.itg"
        coded.write_bytes(intaglio.encode(photograph(KODAK_SIZE), quality))
        script = Path(sys.executable).parent / "intaglio"
        command = [str(script)] if script.exists() else [sys.executable, "-m", "intaglio.cli"]
        call = partial(
            subprocess.run,
            [*command, "decode", str(coded), str(coded.with_suffix(".png"))],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        return timed(call, repeats)


def _line(name: str, seconds: list[float], megapixels: float) -> str:
    best, median = megapixels / min(seconds), megapixels / statistics.median(seconds)
    return f"{name:<18}{best:>9.2f}{median:>9.2f}"


def whole_calls(quality: float, repeats: int, threads: int) -> bool:
    """Prints MP/s of both codecs each way, and their ratio; whether ours are as fast as they must be."""
    pixels = photograph(SIZE)
    megapixels = pixels.shape[0] * pixels.shape[1] / 1e6
    coded = intaglio.encode(pixels, quality, threads=threads)
    avif = codecs.available().codecs["avif"]
    match = closest_to_bytes(avif, pixels, len(coded))
    calls = {
        "encode": (
            partial(intaglio.encode, pixels, quality, threads=threads),
            partial(avif.encode, pixels, match.quality),
        ),
        "decode": (partial(intaglio.decode, coded, threads=threads), partial(avif.decode, match.data)),
    }
    sizes = f"{len(coded):,} bytes; AVIF speed 6, one thread: {len(match.data):,} bytes"
    print(f"{SIZE[1]} x {SIZE[0]}, quality {quality:g}, {threads} threads: {sizes}")
    print(f"{'MP/s':<18}{'best':>9}{'median':>9}")
    reached = True
    for way, (ours, theirs) in calls.items():
        seconds, peer = timed(ours, repeats), timed(theirs, repeats)
        print(_line(f"Intaglio {way}", seconds, megapixels))
        print(_line(f"AVIF {way}", peer, megapixels))
        ratios = min(peer) / min(seconds), statistics.median(peer) / statistics.median(seconds)
        print(f"{'  times AVIF':<18}{ratios[0]:>9.3f}{ratios[1]:>9.3f}")
        reached &= megapixels / statistics.median(seconds) >= MUST_REACH[way]
    return reached


def main() -> int:
    """Prints both tables; exit code 1 when a speed that must be reached is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quality", type=float, default=50.0)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    reached = whole_calls(options.quality, options.repeats, options.threads)
    seconds = _process_seconds(options.quality, options.repeats)
    print(
        f"intaglio decode, {KODAK_SIZE[1]} x {KODAK_SIZE[0]}, as a process: best {min(seconds):.2f} s, "
        f"median {statistics.median(seconds):.2f} s (must be under {MUST_REACH_PROCESS} s)"
    )
    print(f"must reach {MUST_REACH['encode']:g} MP/s encoding, {MUST_REACH['decode']:g} MP/s decoding")
    return 0 if reached and statistics.median(seconds) < MUST_REACH_PROCESS else 1


if __name__ == "__main__":
    sys.exit(main())
