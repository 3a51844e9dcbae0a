"""The pictures of a folder, for the benchmarks beside this file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from intaglio import images


def pictures_of(folder: Path) -> dict[str, np.ndarray]:
    """Every PNG and WebP by its name without the suffix, sorted: uint8 (H,W,3)."""
    files = sorted(path for path in folder.iterdir() if path.suffix in {".png", ".webp"})
    return {path.stem: images.to_rgb(images.load(path).pixels) for path in files}


def middle(pixels: np.ndarray, side: int) -> np.ndarray:
    """At most so many pixels a side."""
    top, left = (max(0, length - side) // 2 for length in pixels.shape[:2])
    return np.ascontiguousarray(pixels[top : top + side, left : left + side])
