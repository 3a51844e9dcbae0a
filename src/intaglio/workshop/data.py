"""Pictures for training: decoded once into memory, cropped at random by threads that stay a few batches ahead."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from rich.progress import track
from torch import Tensor

from intaglio import images
from intaglio.errors import ArgumentError
from intaglio.workshop.config import DataConfig

Pixels = NDArray[np.uint8]
SMALLEST_SCALE = 0.6
_SUFFIXES = {".avif", ".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"}


def picture_files(folder: str | Path, key: str) -> list[Path]:
    """The picture files of a folder and its sub-folders, by name; `key` says where the folder's name comes from.

    Raises ArgumentError naming both if there is no such folder, or no picture in it.
    """
    root = Path(folder)
    if not root.is_dir():
        raise ArgumentError(f"configuration: {key}: there is no folder {root}; name a folder of pictures")
    files = sorted(path for path in root.rglob("*") if path.suffix.lower() in _SUFFIXES and path.is_file())
    if not files:
        kinds = ", ".join(sorted(_SUFFIXES))
        raise ArgumentError(f"configuration: {key}: no pictures in {root}; name a folder that holds some ({kinds})")
    return files


def manifest_hash(files: list[Path]) -> str:
    """SHA-256 over the names and sizes of the files, in hexadecimal."""
    text = "\n".join(f"{path.name} {path.stat().st_size}" for path in files)
    return hashlib.sha256(text.encode()).hexdigest()


def load_pictures(files: list[Path], label: str = "decoding pictures", quiet: bool = False) -> list[Pixels]:
    """The files as uint8 (H,W,3) arrays, upright, in sRGB. Raises ImageError naming the first that cannot be read."""
    # One after another: `images.load` holds a lock. A tile of 512x512 takes 10 ms, so threads of our own would save
    # seconds, once a run, and bring a second way to read a picture.
    return [images.to_rgb(images.load(path).pixels) for path in track(files, label, transient=True, disable=quiet)]


def at_least(picture: Pixels, size: int) -> Pixels:
    """The picture (H,W,3), continued by its mirror image below and to the right until both sides are `size` or more.

    Mirrored rather than enlarged: enlarged pictures would teach the model blur.
    """
    below, right = (max(0, size - side) for side in picture.shape[:2])
    return np.pad(picture, ((0, below), (0, right), (0, 0)), mode="symmetric") if below or right else picture


@dataclass(frozen=True)
class Crop:
    """Which square of a picture to take, `side` pixels from `top`, `left`, and whether to turn it over."""

    top: int
    left: int
    side: int
    mirrored: bool
    transposed: bool


def draw_crop(shape: tuple[int, ...], size: int, rng: np.random.Generator) -> Crop:
    """A random crop of a picture (H,W,3), half of the time larger than `size` by up to 1 / 0.6, to be scaled down.

    Always draws the same way, so that of several processes each can draw what the others cut.
    """
    height, width = (max(side, size) for side in shape[:2])
    scale = rng.uniform(SMALLEST_SCALE, 1.0) if rng.random() < 0.5 else 1.0
    side = min(round(size / scale), height, width)
    top, left = (int(rng.integers(0, free - side + 1)) for free in (height, width))
    return Crop(top, left, side, rng.random() < 0.5, rng.random() < 0.25)


def cut(picture: Pixels, size: int, crop: Crop) -> Pixels:
    """The crop (size, size, 3); smaller pictures are continued by `at_least`."""
    rows, columns = slice(crop.top, crop.top + crop.side), slice(crop.left, crop.left + crop.side)
    part = at_least(picture, size)[rows, columns]
    if crop.side != size:
        part = np.asarray(Image.fromarray(part).resize((size, size), Image.Resampling.BICUBIC))
    if crop.mirrored:
        part = part[:, ::-1]
    return part.transpose(1, 0, 2) if crop.transposed else part


class Batches:
    """Batches of random crops, (B,3,size,size) uint8 tensors; the n-th depends on the seed and n alone.

    `part`: which of how many equal parts of every batch this process takes; together they are the batch that one
    process would draw.
    """

    def __init__(self, config: DataConfig, seed: int, part: tuple[int, int] = (0, 1)) -> None:
        files = picture_files(config.train, "[data] train")
        self.manifest = manifest_hash(files)
        self.pictures = load_pictures(files, quiet=part[0] > 0)
        repeats = [config.repeat if path.name.startswith(config.repeat_prefix) else 1 for path in files]
        self.order = np.repeat(np.arange(len(files)), repeats)
        self.seed, self.part = seed, part

    def batch(self, number: int, size: int, count: int) -> Tensor:
        """This process's part, `count` crops, of batch `number`."""
        rng = np.random.default_rng((self.seed, number))
        rank, parts = self.part
        chosen = [self.pictures[i] for i in rng.choice(self.order, count * parts)]
        drawn = [(picture, draw_crop(picture.shape, size, rng)) for picture in chosen]
        crops = np.stack([cut(picture, size, crop) for picture, crop in drawn[rank * count : (rank + 1) * count]])
        return torch.from_numpy(crops).permute(0, 3, 1, 2)

    def ahead(self, start: int, shapes: Iterator[tuple[int, int]], depth: int = 4) -> Iterator[Tensor]:
        """Batches from `start` on, of the (size, count) that `shapes` yields; a thread keeps `depth` of them ready."""
        with ThreadPoolExecutor(1) as pool:
            waiting = []
            for number, (size, count) in enumerate(shapes, start):
                waiting.append(pool.submit(self.batch, number, size, count))
                if len(waiting) >= depth:
                    yield waiting.pop(0).result()
            for future in waiting:
                yield future.result()


def patch_statistics(planes: Iterable[Tensor], patch: int, keep: int) -> tuple[Tensor, Tensor]:
    """The KLT of patches: eigenvectors (keep, C*patch*patch) and standard deviations (keep,), by falling variance.

    planes: (C,H,W) float, around 0, sides of at least `patch`. Patches lie on a grid and run over (plane, row, column).
    The second moment is taken about zero, as the transform has no bias.
    """
    total, count = torch.zeros(()), 0
    for each in planes:
        height, width = (side // patch * patch for side in each.shape[1:])
        patches = torch.nn.functional.unfold(each[None, :, :height, :width], patch, stride=patch)[0]
        total = total + (patches @ patches.t()).double()
        count += patches.shape[1]
    values, vectors = torch.linalg.eigh(total / count)
    kept = vectors.flip(1)[:, :keep].t().float()
    return kept.contiguous(), values.flip(0)[:keep].clamp_min(0.0).sqrt().float()


def planes_of(picture: Pixels) -> Tensor:
    """The picture (H,W,3) as uint8 (3,H,W)."""
    return torch.from_numpy(picture.copy()).permute(2, 0, 1)
