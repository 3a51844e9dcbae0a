"""Maps of where a picture's bits go, as files beside the decoded picture that they belong to."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from intaglio import images
from intaglio.errors import ArgumentError, ImageError

BLOCK = 16  # pixels that one sample of a map stands for, each way: the grid of the latents
_TOP = "max_bpp"


class Map(NamedTuple):
    """samples: uint8 (H,W), one for each block of 16 x 16 pixels from the upper left corner on. top: the bits per pixel
    that 255 stands for.
    """

    samples: NDArray[np.uint8]
    top: float


def beside(kept: str | os.PathLike[str]) -> Path:
    """Where the map of a kept picture lies: CODEC-SETTING.allocation.png beside CODEC-SETTING.webp."""
    path = Path(kept)
    return path.with_name(f"{path.stem}.allocation.png")


def save(path: str | os.PathLike[str], bits: NDArray[Any]) -> None:
    """Writes bits per block (H,W), such as `latents.Latents.allocation`, as an 8-bit grey PNG, whole or not at all.

    The text chunk "max_bpp" says how many bits per pixel 255 stands for. Raises ArgumentError for another shape, a
    value that is negative or not finite, or a path that cannot be written.
    """
    found = np.asarray(bits, dtype=np.float64)
    if found.ndim != 2 or not found.size or not np.isfinite(found).all() or found.min() < 0:
        raise ArgumentError(f"an allocation of shape {found.shape} is no map: it must be (H,W), finite, 0 or more")
    top = float(found.max()) / BLOCK**2
    scaled = np.rint(found * (255 / found.max())) if top else found
    about = PngImagePlugin.PngInfo()
    about.add_text(_TOP, f"{top:.6g}")
    buffer = io.BytesIO()
    Image.fromarray(scaled.astype(np.uint8)).save(buffer, "PNG", pnginfo=about)
    images.atomic_write(path, buffer.getvalue())


def load(path: str | os.PathLike[str]) -> Map:
    """The map in a file that `save` wrote. Raises ImageError for any other."""
    samples = images.load(path).pixels
    try:
        with Image.open(path) as picture:
            text = getattr(picture, "text", {}).get(_TOP, "none")
        top = float(text)
    except (OSError, ValueError):
        top = -1.0
    if samples.ndim != 2 or not 0 <= top < np.inf:
        raise ImageError(f"{os.fspath(path)}: not an allocation map (a grey PNG with the text {_TOP}); evaluate again")
    return Map(samples, top)
