"""Picture files and Pillow images to 8-bit sRGB arrays and back.

What `load` and `from_image` promise: the pixels are what a viewer shows, upright and in sRGB, or there is an
ImageError. Whatever is lost or guessed on the way is said in `Picture.notices`, one line each:

* Exif (or XMP) orientation is applied; a colour profile other than sRGB is converted to sRGB; a profile that
  cannot be used is ignored with a notice;
* opaque alpha is dropped; real transparency is laid over white;
* 16-bit grey is scaled (white 65535 becomes 255, rounded); 16-bit colour keeps the upper byte, which is all
  that Pillow decodes;
* of an animation or a multi-page file the first picture is used;
* floating-point and 32-bit integer samples are refused: nothing says which value is white.
"""

from __future__ import annotations

import io
import logging
import os
import secrets
import stat
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageFile

from intaglio.colour import convert, one_line
from intaglio.errors import ArgumentError, ImageError

MAX_PIXELS = 2**28

# Formats with a reliable signature; EPS is left out because opening it would start another program. Those
# that Pillow has loaded anyway come first: it loads the rest, which takes a while, when it gets to them.
_FORMATS = ("JPEG", "PNG", "BMP", "GIF", "PPM", "AVIF", "JPEG2000", "QOI", "TIFF", "WEBP")
_READABLE = "AVIF, BMP, GIF, JPEG, JPEG 2000, PNG, PPM, QOI, TIFF or WebP"
_WRITABLE = ".png, .webp, .jpg, .tif, .bmp or .ppm"

_SAVERS: dict[str, tuple[str, dict[str, Any]]] = {
    ".png": ("PNG", {"compress_level": 3}),  # under half the usual time, files about as large
    ".webp": ("WEBP", {"lossless": True}),
    ".jpg": ("JPEG", {"quality": 95, "subsampling": 0}),
    ".jpeg": ("JPEG", {"quality": 95, "subsampling": 0}),
    ".tif": ("TIFF", {"compression": "tiff_adobe_deflate"}),
    ".tiff": ("TIFF", {"compression": "tiff_adobe_deflate"}),
    ".bmp": ("BMP", {}),
    ".ppm": ("PPM", {}),
    ".pgm": ("PPM", {}),
    ".pnm": ("PPM", {}),
}

_pillow_lock = threading.RLock()


@dataclass(frozen=True, eq=False)
class Picture:
    """`pixels`: uint8 (H,W,3), or (H,W) if grey, sRGB; `notices`: what was converted or dropped, in lines."""

    pixels: np.ndarray
    notices: tuple[str, ...] = ()


def load(source: str | os.PathLike[str] | bytes | bytearray | memoryview, max_pixels: int = MAX_PIXELS) -> Picture:
    """Picture in a file (a path) or in the bytes of one.

    Pictures of more than `max_pixels` pixels are refused before they are decoded. Raises ImageError, in one
    line that names the file, for a file that is missing, empty, not a picture, damaged, cut short, too large
    or of a refused kind; ArgumentError when `source` is neither a path nor bytes.
    """
    data, name = _read(source)
    notices: list[str] = []
    try:
        with _quiet_pillow(max_pixels):
            image = _decode(data, max_pixels, notices)
            pixels = convert(image, notices)
    except ImageError as error:
        raise ImageError(f"{name}: {error}") from error.__cause__
    return Picture(pixels, tuple(notices))


def from_image(image: Image.Image | np.ndarray) -> Picture:
    """Picture from a Pillow image, converted as a file would be, or from a uint8 array (H,W,3) or (H,W).

    The array is taken as sRGB and not copied. Raises ArgumentError for another type, dtype or shape,
    ImageError for a Pillow image that is empty, damaged, or of a refused mode.
    """
    if isinstance(image, np.ndarray):
        return Picture(np.asarray(_checked(image)))  # asarray: a subclass, such as np.matrix, indexes in its own way
    if not isinstance(image, Image.Image):
        wanted = "a Pillow image or a uint8 array (H,W,3) or (H,W)"
        raise ArgumentError(f"the picture is of type {type(image).__name__}; it must be {wanted}")
    notices: list[str] = []
    try:
        with _quiet_pillow(MAX_PIXELS):
            return Picture(convert(_loaded(image, notices), notices), tuple(notices))
    except ImageError as error:
        raise ImageError(f"the Pillow image: {error}") from error.__cause__


def to_rgb(pixels: np.ndarray) -> np.ndarray:
    """uint8 (H,W,3) from uint8 (H,W,3), returned as it is, or (H,W), repeated; ArgumentError otherwise."""
    _checked(pixels)
    return pixels if pixels.ndim == 3 else np.repeat(pixels[:, :, None], 3, axis=2)


def pad_to_multiple(array: np.ndarray, multiple: int) -> np.ndarray:
    """Array (H,W,C) of any dtype, last row and column repeated until both sides are multiples of `multiple`.

    Returned as it is when they already are. Raises ArgumentError for a wrong shape, an empty array or a
    `multiple` below 1.
    """
    if array.ndim != 3 or 0 in array.shape or multiple < 1:
        wanted = "it must be (H,W,C), not empty, and the multiple 1 or more"
        raise ArgumentError(f"cannot pad an array of shape {array.shape} to multiples of {multiple}; {wanted}")
    below, right = -array.shape[0] % multiple, -array.shape[1] % multiple
    return np.pad(array, ((0, below), (0, right), (0, 0)), mode="edge") if below or right else array


def save(path: str | os.PathLike[str], pixels: np.ndarray) -> None:
    """Writes uint8 (H,W,3) or (H,W) in the format its extension names, whole or not at all.

    .png, .webp, .tif, .bmp, .ppm are lossless; .jpg is quality 95, 4:4:4. Raises ArgumentError for another
    extension, a wrong array, a picture too large for the format, or a path that cannot be written.
    """
    check_target(path, picture=True)
    kind, options = _SAVERS[Path(path).suffix.lower()]
    buffer = io.BytesIO()
    image = Image.fromarray(np.ascontiguousarray(_checked(pixels)))
    try:
        image.save(buffer, kind, **options)
    except (OSError, ValueError) as error:
        reason = f"a picture of {image.width}x{image.height} cannot be written as {kind} ({one_line(error)})"
        raise ArgumentError(f"{_name(path)}: {reason}; try .png") from error
    atomic_write(path, buffer.getvalue())


def check_target(path: str | os.PathLike[str], *, picture: bool = False) -> None:
    """Raises ArgumentError if `path` is a folder or its folder does not exist; with `picture` also if its extension is
    none that `save` knows.

    For a look before long work: whether the file can really be written is known only when it is.
    """
    name = _name(path)
    suffix = Path(path).suffix.lower()
    if picture and suffix not in _SAVERS:
        what = f"files named {suffix!a}" if suffix else "a picture without a file extension"
        raise ArgumentError(f"{name}: cannot write {what}; use {_WRITABLE}")
    try:
        folder = os.path.dirname(os.path.realpath(path))
    except (OSError, ValueError) as error:
        raise ArgumentError(f"{name}: not a usable file name ({one_line(error)})") from error
    if os.path.isdir(path):
        raise ArgumentError(f"{name}: is a folder; give the name of a file")
    if not os.path.isdir(folder):
        raise ArgumentError(f"{name}: the folder {_name(folder)} does not exist; make it first")


def atomic_write(path: str | os.PathLike[str], data: bytes) -> None:
    """Writes `data` so that the file appears whole or not at all; on failure an existing file is untouched.

    A temporary file beside the target is renamed over it. What is no regular file (a pipe, /dev/stdout) is
    written to directly. Raises ArgumentError when the folder is missing or the path cannot be written.
    """
    check_target(path)
    try:
        mode = _existing_mode(path)
        if mode is not None and not stat.S_ISREG(mode):
            Path(path).write_bytes(data)
            return
        # A symbolic link stays a link: the file it points to is replaced.
        _replace(Path(os.path.realpath(path)), data, mode)
    except OSError as error:
        raise ArgumentError(f"{_name(path)}: cannot be written ({error.strerror or one_line(error)})") from error


def make_folder(path: str | os.PathLike[str]) -> None:
    """Makes a folder, and those it lies in, where they are not there. Raises ArgumentError if it cannot be made."""
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ArgumentError(f"{path}: the folder cannot be made ({reason}); name another") from None


def _existing_mode(path: str | os.PathLike[str]) -> int | None:
    try:
        return os.stat(path).st_mode
    except FileNotFoundError:
        return None


def _replace(target: Path, data: bytes, mode: int | None) -> None:
    temporary = target.parent / f".intaglio-{secrets.token_hex(8)}.tmp"
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if mode is not None:
            os.chmod(temporary, stat.S_IMODE(mode))
        os.replace(temporary, target)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def _read(source: object) -> tuple[bytes, str]:
    if isinstance(source, (bytes, bytearray, memoryview)):
        data, name = bytes(source), "picture data"
    elif isinstance(source, (str, os.PathLike)):
        name = _name(source)
        try:
            data = Path(source).read_bytes()
        except FileNotFoundError:
            raise ImageError(f"{name}: there is no such file") from None
        except IsADirectoryError:
            raise ImageError(f"{name}: is a folder, not a picture file") from None
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or one_line(error)
            raise ImageError(f"{name}: cannot be read ({reason})") from error
    else:
        raise ArgumentError(f"the source is of type {type(source).__name__}; it must be a path or bytes")
    if not data:
        raise ImageError(f"{name}: is empty (0 bytes)")
    return data, name


def _name(path: object) -> str:
    """The path as one printable line, whatever characters it has."""
    text = os.fsdecode(path) if isinstance(path, (str, bytes, os.PathLike)) else str(path)
    return text if text.isprintable() and text else ascii(text)


def _checked(pixels: np.ndarray) -> np.ndarray:
    if not isinstance(pixels, np.ndarray):
        raise ArgumentError(f"the picture is of type {type(pixels).__name__}; it must be a uint8 array")
    shape_fits = pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] == 3)
    if pixels.dtype != np.uint8 or not shape_fits or pixels.size == 0:
        got = f"an array of {pixels.dtype} and shape {pixels.shape}"
        raise ArgumentError(f"the picture is {got}; it must be uint8 of shape (H,W,3) or (H,W), not empty")
    return pixels


@contextmanager
def _quiet_pillow(max_pixels: int) -> Iterator[None]:
    """Pillow without warnings, without a log on stderr, strict about cut files, and with our size limit.

    All four are settings of the process, so they are put back on leaving and one thread at a time comes in.
    """
    logger, handler = logging.getLogger("PIL"), logging.NullHandler()
    with _pillow_lock, warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL(\..*)?$")
        limit, tolerant = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES
        Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = max(1, max_pixels), False
        logger.addHandler(handler)
        try:
            yield
        finally:
            logger.removeHandler(handler)
            Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = limit, tolerant


@contextmanager
def _silent_stderr() -> Iterator[None]:
    """Closes the process's stderr for a while: libtiff complains there, and Pillow cannot stop it."""
    try:
        saved = os.dup(2)
    except OSError:  # there is no stderr
        yield
        return
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)


def _decode(data: bytes, max_pixels: int, notices: list[str]) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(data), formats=_FORMATS)
        width, height = image.size
    except Image.DecompressionBombError as error:
        raise ImageError(f"has more than {max_pixels} pixels, the limit") from error
    except Image.UnidentifiedImageError:
        raise ImageError(f"not a picture file ({_READABLE}), or its header is damaged") from None
    except Exception as error:  # Pillow's readers raise nearly anything on damaged files
        raise ImageError(f"the picture is damaged or cut short ({one_line(error)})") from error
    if width * height > max_pixels:
        raise ImageError(f"{width}x{height} pixels are more than {max_pixels}, the limit")
    if image.format == "PNG":
        _check_png(data)
    if image.format in ("AVIF", "JPEG2000") and _is_deep(data):
        notices.append("more than 8 bits per sample reduced to 8")
    return _loaded(image, notices)


def _check_png(data: bytes) -> None:
    # Decoding alone does not look at the checksums of the pixel data.
    try:
        Image.open(io.BytesIO(data), formats=("PNG",)).verify()
    except Exception as error:
        raise ImageError(f"the picture is damaged or cut short ({one_line(error)})") from error


def _is_deep(data: bytes) -> bool:
    """Whether an AVIF or JPEG 2000 file has more than 8 bits per sample, which Pillow cuts to 8 silently."""
    box = data.find(b"av1C")
    if box >= 0:  # AV1 in ISO media, 2.3.3: high_bitdepth is bit 6 of the third byte
        return len(data) > box + 6 and bool(data[box + 6] & 0x40)
    start = data.find(b"\xff\x4f\xff\x51")  # JPEG 2000, A.5.1: Ssiz of the first component, depth - 1
    return start >= 0 and len(data) > start + 42 and (data[start + 42] & 0x7F) > 7


def _loaded(image: Image.Image, notices: list[str]) -> Image.Image:
    """The image decoded. Uses what is known only before decoding: the depth of the samples in the file."""
    try:
        frames = getattr(image, "n_frames", 1)
        raw = _raw_mode(image)
        with _silent_stderr() if image.format == "TIFF" else nullcontext():
            image.load()
    except Exception as error:
        raise ImageError(f"the picture is damaged or cut short ({one_line(error)})") from error
    if 0 in image.size:
        raise ImageError(f"the picture is empty ({image.width}x{image.height} pixels)")
    if frames > 1:
        used = f"number {image.tell() + 1}" if image.tell() else "the first"
        notices.append(f"holds {frames} pictures; only {used} is used")
    if "16" in raw and not image.mode.startswith("I"):
        notices.append("16 bits per sample reduced to 8 (the upper byte is kept)")
    key = image.info.get("transparency")
    if image.mode == "RGB" and isinstance(key, tuple) and "16" in raw:
        image.info["transparency"] = tuple(value >> 8 for value in key)
    if image.mode == "L" and isinstance(key, int) and raw in ("L;2", "L;4"):
        image.info["transparency"] = key * (85 if raw == "L;2" else 17)  # Pillow scales samples, not the key
    return image


def _raw_mode(image: Image.Image) -> str:
    """Pillow's name for the layout of the samples in the file, such as "RGB;16B"; empty when not known."""
    tiles = getattr(image, "tile", None)
    if not tiles:
        return ""
    args = tiles[0][3]
    first = args[0] if isinstance(args, tuple) and args else args
    return first if isinstance(first, str) else ""
