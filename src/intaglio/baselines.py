"""The codecs people have today, through Pillow, and the search for their file of a given size."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from PIL import Image

from intaglio.errors import ArgumentError, ImageError
from intaglio.images import from_image, load

JPEG2000_STEPS = 1000
_JPEG2000_MAX_RATIO, _JPEG2000_MIN_RATIO = 1000.0, 1.5


class Codec(Protocol):
    """A codec with one integer setting; a higher quality is a larger file, nearly always."""

    @property
    def name(self) -> str:
        """Name for tables, such as "jpeg"."""
        ...

    @property
    def qualities(self) -> range:
        """The settings that `encode` takes, worst first."""
        ...

    def encode(self, pixels: np.ndarray, quality: int) -> bytes:
        """The file for uint8 (H,W,3) or (H,W). Raises ArgumentError, or ImageError if it cannot be coded."""
        ...

    def decode(self, data: bytes) -> np.ndarray:
        """uint8 (H,W,3) or (H,W). Raises ImageError for damaged data."""
        ...


class Match(NamedTuple):
    """A setting of a codec and the file it gives."""

    quality: int
    data: bytes


class Available(NamedTuple):
    """`codecs` that work here, by name, and `missing`: the reason for each that does not."""

    codecs: dict[str, Codec]
    missing: dict[str, str]


@dataclass(frozen=True)
class PillowCodec:
    """A codec that Pillow writes as `kind`, with the options that `options(quality, grey)` gives.

    WebP and AVIF have no grey pictures: there a grey one comes back as (H,W,3).
    """

    name: str
    kind: str
    qualities: range
    options: Callable[[int, bool], Mapping[str, Any]]

    def encode(self, pixels: np.ndarray, quality: int) -> bytes:
        """The whole file for uint8 (H,W,3) or (H,W) at `quality`, one of `qualities`.

        Raises ArgumentError for a wrong array or quality, ImageError when the format cannot hold the picture
        or this build of Pillow lacks it.
        """
        if quality not in self.qualities:
            limits = f"{self.qualities[0]} to {self.qualities[-1]}"
            raise ArgumentError(f"{self.name}: the quality is {quality!r}; it must be an integer from {limits}")
        image = Image.fromarray(np.ascontiguousarray(from_image(pixels).pixels))
        buffer = io.BytesIO()
        try:
            image.save(buffer, format=self.kind, **self.options(quality, image.mode == "L"))
        except (OSError, ValueError, KeyError) as error:
            size = f"{image.width}x{image.height}"
            raise ImageError(f"{self.name}: cannot code a picture of {size} ({error})") from error
        return buffer.getvalue()

    def decode(self, data: bytes) -> np.ndarray:
        """uint8 (H,W,3) or (H,W) from a whole file. Raises ImageError for damaged data."""
        return load(data).pixels


def jpeg2000_ratio(quality: int) -> float:
    """Compression ratio of JPEG 2000 at step 1..1000, falling evenly in logarithm from 1000 to 1.5."""
    part = (quality - 1) / (JPEG2000_STEPS - 1)
    return _JPEG2000_MAX_RATIO * (_JPEG2000_MIN_RATIO / _JPEG2000_MAX_RATIO) ** part


def _jpeg_options(quality: int, _grey: bool) -> Mapping[str, Any]:
    return {"quality": quality}


def _jpeg444_options(quality: int, _grey: bool) -> Mapping[str, Any]:
    return {"quality": quality, "subsampling": 0, "optimize": True}


def _jpeg2000_options(quality: int, grey: bool) -> Mapping[str, Any]:
    # A bare codestream: 85 bytes of boxes would count against it at low rates.
    ratio = {"quality_mode": "rates", "quality_layers": [jpeg2000_ratio(quality)]}
    return {**ratio, "irreversible": True, "mct": 0 if grey else 1, "no_jp2": True}


def _webp_options(quality: int, _grey: bool) -> Mapping[str, Any]:
    return {"quality": quality, "method": 6}


def _avif_options(quality: int, _grey: bool) -> Mapping[str, Any]:
    return {"quality": quality, "speed": 6, "subsampling": "4:4:4", "max_threads": 1}


_CODECS = (
    PillowCodec("jpeg", "JPEG", range(1, 101), _jpeg_options),
    PillowCodec("jpeg444", "JPEG", range(1, 101), _jpeg444_options),
    PillowCodec("jpeg2000", "JPEG2000", range(1, JPEG2000_STEPS + 1), _jpeg2000_options),
    PillowCodec("webp", "WEBP", range(101), _webp_options),
    PillowCodec("avif", "AVIF", range(101), _avif_options),
)


def available() -> Available:
    """The codecs of this build of Pillow, each tried once on a small picture.

    jpeg (4:2:0, Pillow's default), jpeg444 (4:4:4, optimised), jpeg2000 (irreversible, colour
    transform, steps of compression ratio), webp (method 6), avif (speed 6, 4:4:4, one thread).
    """
    reasons = {codec.name: _reason(codec) for codec in _CODECS}
    codecs: dict[str, Codec] = {codec.name: codec for codec in _CODECS if not reasons[codec.name]}
    return Available(codecs, {name: reason for name, reason in reasons.items() if reason})


@functools.cache
def _reason(codec: PillowCodec) -> str:
    """Why a codec cannot be used here; empty when it can."""
    probe = np.zeros((16, 16, 3), np.uint8)
    try:
        shape = codec.decode(codec.encode(probe, codec.qualities[-1])).shape
    except ImageError as error:
        return f"this build of Pillow does not write or read it: {error}"
    return "" if shape == probe.shape else f"it turns a picture of shape {probe.shape} into {shape}"


def closest_to_bytes(codec: Codec, pixels: np.ndarray, nbytes: int) -> Match:
    """The setting whose file is closest to `nbytes`, by absolute difference; of two, the smaller file.

    Bisection over `codec.qualities`, then the neighbours on both sides, because sizes do not rise strictly.
    Raises what `encode` raises.
    """
    qualities = codec.qualities
    files: dict[int, bytes] = {}

    def size(index: int) -> int:
        if index not in files:
            files[index] = codec.encode(pixels, qualities[index])
        return len(files[index])

    low, high = 0, len(qualities) - 1
    while low < high:
        middle = (low + high) // 2
        if size(middle) < nbytes:
            low = middle + 1
        else:
            high = middle
    for index in range(max(low - 2, 0), min(low + 2, len(qualities) - 1) + 1):
        size(index)
    best = min(files, key=lambda index: (abs(len(files[index]) - nbytes), len(files[index]), index))
    return Match(qualities[best], files[best])
