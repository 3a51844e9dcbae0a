"""Speed of whole calls on a 2-megapixel picture beside AVIF, and of `intaglio decode` as a process.

    python benchmarks/speed.py [--quality 50] [--repeats 7] [--threads 2] [--compressai PYTHON]

PYTHON: an interpreter that has CompressAI, whose mbt2018-mean is then measured, too. Where OpenVINO is installed
(`pip install 'intaglio[openvino]'`) with it, too, and what its bfloat16 costs. The ratios are worth more than the
times: other work on the machine slows both.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

import intaglio
from intaglio import codecs, images, metrics
from intaglio.bundle import load_model
from intaglio.compare import closest_to_bytes
from intaglio.runtimes import EXACT, RUNTIMES
from timing import timed

ROOT = Path(__file__).resolve().parent.parent
SIZE = (1088, 1920)
KODAK_SIZE = (512, 768)
MUST_REACH = {"encode": 3.0, "decode": 6.0}  # MP/s
COST_QUALITIES = (10.0, 30.0, 50.0, 70.0, 90.0, 100.0)
MUST_REACH_PROCESS = 0.6  # seconds


def photograph(size: tuple[int, int]) -> np.ndarray:
    """uint8 (H,W,3) of that size from an example, continued by reflection its detail as fine as before."""
    pixels = images.to_rgb(images.load(ROOT / "examples" / "colosseum.webp").pixels)
    missing = [max(0, wanted - side) for wanted, side in zip(size, pixels.shape, strict=False)]
    return np.pad(pixels, [(0, missing[0]), (0, missing[1]), (0, 0)], mode="symmetric")[: size[0], : size[1]]


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
    return f"{name:<28}{best:>9.2f}{median:>9.2f}"


def runtimes() -> list[str]:
    """Those that are installed."""
    return [name for name in RUNTIMES if importlib.util.find_spec(name)]


def compressai(python: str, pixels: np.ndarray, repeats: int, threads: int) -> dict[str, list[float]]:
    """Seconds of its mbt2018-mean each way; none without an interpreter that has it."""
    if not python:
        return {}
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder) / "picture.png"
        Image.fromarray(pixels).save(picture)
        script = Path(__file__).with_name("compressai_speed.py")
        command = [python, str(script), str(picture), str(repeats), str(threads)]
        found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
    print(f"CompressAI {found['version']}, mbt2018-mean, its quality 5, untrained weights")
    return {way: found[way] for way in MUST_REACH}


def whole_calls(quality: float, repeats: int, threads: int, python: str) -> bool:
    """Prints MP/s of the codecs each way, and their ratios; whether ours are as fast as they must be."""
    pixels = photograph(SIZE)
    megapixels = pixels.shape[0] * pixels.shape[1] / 1e6
    models = {name: load_model("photo", threads, name) for name in runtimes()}
    coded = intaglio.encode(pixels, quality, model=models[EXACT])
    avif = codecs.available().codecs["avif"]
    match = closest_to_bytes(avif, pixels, len(coded))
    sizes = f"{len(coded):,} bytes; AVIF speed 6, one thread: {len(match.data):,} bytes"
    print(f"{SIZE[1]} x {SIZE[0]}, quality {quality:g}, {threads} threads: {sizes}")
    print(f"{'MP/s':<28}{'best':>9}{'median':>9}")
    reached = True
    peers = {"encode": partial(avif.encode, pixels, match.quality), "decode": partial(avif.decode, match.data)}
    learned = compressai(python, pixels, repeats, threads)
    for way, theirs in peers.items():
        others = {"AVIF": timed(theirs, repeats)} | ({"CompressAI": learned[way]} if learned else {})
        for name, peer in others.items():
            print(_line(f"{name} {way}", peer, megapixels))
        for name, model in models.items():
            call = partial(intaglio.encode, pixels, quality) if way == "encode" else partial(intaglio.decode, coded)
            seconds = timed(partial(call, model=model), repeats)
            print(_line(f"{name} {way}", seconds, megapixels))
            for other, peer in others.items():
                ratios = min(peer) / min(seconds), statistics.median(peer) / statistics.median(seconds)
                print(f"{f'  times {other}':<28}{ratios[0]:>9.3f}{ratios[1]:>9.3f}")
            reached &= megapixels / statistics.median(seconds) >= MUST_REACH[way]
    return reached


def costs(threads: int) -> None:
    """Prints what OpenVINO costs in bytes and PSNR beside ONNX Runtime, mean of the examples, encoder and decoder
    alike.
    """
    pictures = [images.to_rgb(images.load(path).pixels) for path in sorted((ROOT / "examples").glob("*.webp"))]
    exact, fast = (load_model("photo", threads, name) for name in RUNTIMES)
    print(f"{'quality':<10}{'bytes':>9}{'PSNR, dB':>10}   OpenVINO less ONNX Runtime")
    for quality in COST_QUALITIES:
        rows = []
        for pixels in pictures:
            sizes, psnrs = [], []
            for model in (exact, fast):
                coded = intaglio.encode(pixels, quality, model=model)
                sizes.append(len(coded))
                psnrs.append(metrics.psnr(pixels, intaglio.decode(coded, model=model)))
            rows.append((100.0 * (sizes[1] / sizes[0] - 1.0), psnrs[1] - psnrs[0]))
        size, psnr = np.mean(rows, axis=0)
        print(f"{quality:<10g}{size:>+8.2f}%{psnr:>+10.3f}")


def main() -> int:
    """Prints both tables; exit code 1 when a speed that must be reached is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quality", type=float, default=50.0)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--compressai", default="", metavar="PYTHON", help="an interpreter that has CompressAI")
    options = parser.parse_args()
    reached = whole_calls(options.quality, options.repeats, options.threads, options.compressai)
    if len(runtimes()) > 1:
        costs(options.threads)
    seconds = _process_seconds(options.quality, options.repeats)
    print(
        f"intaglio decode, {KODAK_SIZE[1]} x {KODAK_SIZE[0]}, as a process: best {min(seconds):.2f} s, "
        f"median {statistics.median(seconds):.2f} s (must be under {MUST_REACH_PROCESS} s)"
    )
    print(f"must reach {MUST_REACH['encode']:g} MP/s encoding, {MUST_REACH['decode']:g} MP/s decoding")
    return 0 if reached and statistics.median(seconds) < MUST_REACH_PROCESS else 1


if __name__ == "__main__":
    sys.exit(main())
