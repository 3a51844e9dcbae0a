"""Rate and distortion on a folder of pictures: Intaglio against JPEG, JPEG 2000, WebP and AVIF, real files.

    python benchmarks/kodak.py [FOLDER] [--qualities 5,30,60] [--processes 2] [--write]

The peers' results are kept in build/benchmarks, so that only Intaglio is measured again after a new model.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

import curves
import intaglio
from curves import FLOOR_RANGE, JPEG, OURS, Point
from intaglio import baselines, images, metrics

ROOT = Path(__file__).resolve().parent.parent
QUALITIES = (5.0, 12.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 97.0)
PEER_SETTINGS: dict[str, tuple[float, ...]] = {
    "jpeg": (5, 10, 20, 35, 50, 65, 75, 85, 92, 96),
    "jpeg2000": (250, 305, 355, 410, 460, 515, 575, 635, 695, 745),
    "webp": (1, 5, 15, 30, 50, 70, 80, 88, 94, 98),
    "avif": (10, 20, 30, 40, 50, 60, 70, 80, 88, 94),
}
PUBLISHED = {"bpg_444_x265_ycbcr": "BPG 4:4:4 (published)", "vtm": "VTM (published)"}
MUST_REACH = -35.0  # BD-rate against JPEG, percent


@dataclass(frozen=True)
class Job:
    """One picture through one codec at several settings."""

    codec: str
    picture: Path
    settings: tuple[float, ...]
    threads: int | None


def _coder(job: Job) -> tuple[Callable[[np.ndarray, float], bytes], Callable[[bytes], np.ndarray]]:
    if job.codec == OURS:
        return (
            lambda pixels, quality: intaglio.encode(pixels, quality, threads=job.threads),
            lambda data: intaglio.decode(data, threads=job.threads),
        )
    codec = baselines.available().codecs[job.codec]
    return lambda pixels, quality: codec.encode(pixels, int(quality)), codec.decode


def measure(job: Job) -> list[Point]:
    """The points of one job; every file is decoded from its bytes alone."""
    encode, decode = _coder(job)
    pixels = images.to_rgb(images.load(job.picture).pixels)
    height, width = pixels.shape[:2]
    points = []
    for setting in job.settings:
        start = time.perf_counter()
        data = encode(pixels, setting)
        middle = time.perf_counter()
        decoded = decode(data)
        end = time.perf_counter()
        luma, chroma = metrics.psnr_luma_chroma(pixels, decoded)
        points.append(
            Point(
                codec=job.codec,
                setting=setting,
                picture=job.picture.name,
                size=len(data),
                bpp=metrics.bits_per_pixel(len(data), width, height),
                psnr=metrics.psnr(pixels, decoded),
                psnr_luma=luma,
                psnr_chroma=chroma,
                ms_ssim=metrics.ms_ssim(pixels, decoded),
                encode_s=middle - start,
                decode_s=end - middle,
            )
        )
    return points


class PeerCache:
    """Peers' points of earlier runs over the same pictures with the same Pillow, in a CSV under build/."""

    def __init__(self, pictures: list[Path]) -> None:
        digest = hashlib.sha256(PIL.__version__.encode())
        for picture in pictures:
            digest.update(picture.name.encode() + picture.stat().st_size.to_bytes(8, "little"))
        self.path = ROOT / "build" / "benchmarks" / f"peers-{digest.hexdigest()[:12]}.csv"
        self.points = curves.read_points(self.path)

    def missing(self, codec: str, picture: Path, settings: tuple[float, ...]) -> tuple[float, ...]:
        """Those of `settings` that this codec has not been measured at on this picture."""
        known = {point.setting for point in self.points if (point.codec, point.picture) == (codec, picture.name)}
        return tuple(setting for setting in settings if setting not in known)

    def add(self, points: list[Point]) -> None:
        """Keeps the points for this run and for later ones."""
        self.points += points
        self.path.parent.mkdir(parents=True, exist_ok=True)
        images.atomic_write(self.path, curves.write_points(self.points).encode())


def _jobs(pictures: list[Path], qualities: tuple[float, ...], cache: PeerCache, threads: int | None) -> list[Job]:
    names = [name for name in PEER_SETTINGS if name in baselines.available().codecs]
    peers = [
        Job(name, picture, cache.missing(name, picture, PEER_SETTINGS[name]), None)
        for name in names
        for picture in pictures
    ]
    return [job for job in peers if job.settings] + [Job(OURS, picture, qualities, threads) for picture in pictures]


def run_jobs(jobs: list[Job], processes: int, cache: PeerCache) -> list[Point]:
    """Measures every job, `processes` at a time, with a progress bar; returns ours, keeps the peers'."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    ours = []
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("measuring", total=sum(len(job.settings) for job in jobs))

        def done(job: Job, points: list[Point]) -> None:
            if job.codec == OURS:
                ours.extend(points)
            else:
                cache.add(points)
            progress.update(task, advance=len(points), description=f"{job.codec} {job.picture.stem}")

        if processes == 1:
            for job in jobs:
                done(job, measure(job))
        else:
            with ProcessPoolExecutor(processes) as pool:
                futures = {pool.submit(measure, job): job for job in jobs}
                for future in as_completed(futures):
                    done(futures[future], future.result())
    return ours


def _verdict(found: dict[str, curves.Curve]) -> tuple[str, bool]:
    """One sentence each on the two figures that must be reached, and whether both are."""
    rate = curves.bd_rates(found).get(JPEG, (np.nan,))[0]
    margin, where = curves.margin_over_jpeg(found)
    low, high = FLOOR_RANGE
    never = f"Between {low} and {high} bpp it is at least {margin:.2f} dB above JPEG (closest at {where:.2f} bpp)"
    if np.isnan(margin):
        never = f"The curves do not both cover {low} to {high} bpp (missing at {where:.2f} bpp)"
    elif margin < 0:
        never = f"The curve falls {-margin:.2f} dB below JPEG's at {where:.2f} bpp"
    text = f"BD-rate against JPEG 4:2:0: {rate:+.1f} % (must reach {MUST_REACH:+.0f} %). {never}."
    return text, bool(rate <= MUST_REACH and margin >= 0)


def report(found: dict[str, curves.Curve], name: str, count: int, verdict: str) -> str:
    """The page docs/results.md."""
    return f"""# Rate and distortion: {name}

Made by `python benchmarks/kodak.py --write`; every point is in [results.csv](results.csv). Mean over {count}
pictures of the bits per pixel of real files, headers included, and of the PSNR over RGB; BD-rate by PCHIP
over the rate's logarithm on the whole range of PSNR that both curves cover. Settings: Intaglio's quality;
quality for JPEG (4:2:0, Pillow's default), WebP and AVIF; for JPEG 2000 the step of the compression ratio
(see `intaglio.baselines`). Published curves are as their authors gave them.

{verdict}

![Rate-distortion curves](rd-kodak.png)

{curves.bd_table(found)}

## Curves

{curves.curve_table(found)}
"""


def _write(text: str, plot: bytes, points: list[Point]) -> None:
    docs = ROOT / "docs"
    images.atomic_write(docs / "results.md", text.encode())
    images.atomic_write(docs / "rd-kodak.png", plot)
    images.atomic_write(docs / "results.csv", curves.write_points(points).encode())


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = ROOT.parent / "shared" / "data" / "kodak"
    parser.add_argument("folder", type=Path, nargs="?", default=default, help="pictures (default: Kodak)")
    parser.add_argument("--qualities", default=",".join(f"{q:g}" for q in QUALITIES), help="Intaglio's, by comma")
    parser.add_argument("--processes", type=int, default=1, help="pictures at a time (times are then not comparable)")
    parser.add_argument("--write", action="store_true", help="write docs/results.md, results.csv and rd-kodak.png")
    return parser.parse_args()


def main() -> int:
    """Measures, prints, writes on request; exit code 1 when a figure that must be reached is missed."""
    options = _arguments()
    suffixes = {".png", ".webp", ".ppm", ".bmp"}
    pictures = sorted(path for path in options.folder.glob("*") if path.suffix.lower() in suffixes)
    if not pictures:
        sys.exit(f"{options.folder} holds no PNG, WebP, PPM or BMP pictures; name a folder that does")
    qualities = tuple(float(word) for word in options.qualities.split(","))
    cache = PeerCache(pictures)
    jobs = _jobs(pictures, qualities, cache, 1 if options.processes > 1 else None)
    ours = run_jobs(jobs, options.processes, cache)
    order = {name: rank for rank, name in enumerate((OURS, *PEER_SETTINGS))}
    points = sorted([*ours, *cache.points], key=lambda p: (order[p.codec], p.setting, p.picture))
    found = curves.mean_curves(points)
    anchors = options.folder.resolve().parent / "anchors" / "kodak_published.csv"
    if options.folder.name == "kodak" and anchors.exists():
        found |= curves.published(anchors, PUBLISHED)
    verdict, reached = _verdict(found)
    text = report(found, options.folder.name, len(pictures), verdict)
    print(text)
    if options.write:
        _write(text, curves.plot(found, f"{options.folder.name}, mean of {len(pictures)} pictures"), points)
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
