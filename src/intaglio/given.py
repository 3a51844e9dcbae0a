"""Pictures that both ends have: what a model wants of them, and the digest by which a file knows its own.

A model says which kind it takes: "luma" (8 bits; a colour picture gives its own) or "picture" (RGB).
"""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from intaglio import images, ycbcr
from intaglio.errors import ArgumentError, IntaglioError

Pixels = NDArray[np.uint8]

KINDS = {"luma": 1, "picture": 3}  # planes of each
DIGEST_BYTES = 4
_WORDS = {"luma": "the grey picture", "picture": "the other picture"}


@dataclass(frozen=True, eq=False)
class Given:
    """A picture that is given: a PIL image, or uint8 (H,W,3) or (H,W). force: to decode with it even if the file was
    coded with another.
    """

    picture: Image.Image | Pixels
    force: bool = False


Picture = Image.Image | Pixels | Given


def check(kind: str | None, present: bool, model: str) -> None:
    """Raises ArgumentError unless a picture is given to just the model that takes one; kind: None if it takes none."""
    if kind is None and present:
        raise ArgumentError(f"model {model!r} takes no given picture: leave it out, or encode by one that takes one")
    if kind is not None and not present:
        missing = f"{_WORDS[kind]} that both ends have, which is missing"
        raise ArgumentError(f"model {model!r} needs {missing}: give it (given=..., on the command line --given FILE)")


def check_alone(kind: str | None, model: str) -> None:
    """Raises ArgumentError if the model needs a given picture, where none can be given."""
    if kind is not None:
        raise ArgumentError(f"model {model!r} needs {_WORDS[kind]} that both ends have; here pictures are coded alone")


def planes(given: Picture, kind: str, size: tuple[int, int]) -> Pixels:
    """The planes that a model of this kind sees, uint8 (H,W,G), of a picture of this width and height.

    What has to be converted first is said by a UserWarning. Raises ArgumentError if it has another size, ImageError and
    ArgumentError as `images.from_image` does.
    """
    try:
        loaded = images.from_image(given.picture if isinstance(given, Given) else given)
    except IntaglioError as error:
        raise type(error)(f"the given picture: {error}") from None
    for notice in loaded.notices:
        warnings.warn(f"the given picture: {notice}", stacklevel=4)
    pixels = loaded.pixels
    if (pixels.shape[1], pixels.shape[0]) != size:
        found, wanted = f"{pixels.shape[1]} x {pixels.shape[0]}", f"{size[0]} x {size[1]}"
        raise ArgumentError(f"the given picture has {found} pixels, the coded one {wanted}: the sizes must agree")
    return ycbcr.luma(pixels)[:, :, None] if kind == "luma" else images.to_rgb(pixels)


def digest(seen: Pixels) -> bytes:
    """The first 4 bytes of the SHA-256 of width and height, u32 little-endian, and the planes (H,W,G), row by row, the
    samples of a pixel side by side.
    """
    height, width = seen.shape[:2]
    sizes = width.to_bytes(4, "little") + height.to_bytes(4, "little")
    return hashlib.sha256(sizes + np.ascontiguousarray(seen).tobytes()).digest()[:DIGEST_BYTES]
