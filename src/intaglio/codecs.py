"""Every codec behind two methods, `encode(pixels, quality) -> bytes` and `decode(bytes) -> pixels`.

JPEG, JPEG 2000, WebP and AVIF come with Pillow, JPEG XL with a plugin for it, Intaglio with any model file, and
others as programs (see `intaglio.externals`). The peers run on one thread.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import AvifImagePlugin, Image, features

from intaglio import bundle, codec, externals, given, latents
from intaglio.errors import ArgumentError, ImageError, IntaglioError
from intaglio.images import from_image, load
from intaglio.quality import RATES, rate_to_quality
from intaglio.record import digest, package_version

JPEG2000_STEPS = 1000
_JPEG2000_MAX_RATIO, _JPEG2000_MIN_RATIO = 1000.0, 1.5
_JPEGXL_PACKAGE = "pillow-jxl-plugin"  # of the plugins that exist, the one released this year, with wheels
OURS = "intaglio"


class Codec(Protocol):
    """A codec with one setting; a later one of `qualities` is a larger file, nearly always. Can be pickled."""

    @property
    def name(self) -> str:
        """Key for tables and files, such as "jpeg"."""
        ...

    @property
    def label(self) -> str:
        """Name for people, such as "JPEG 4:2:0"."""
        ...

    @property
    def about(self) -> str:
        """Who codes and how: versions, options, threads; two equal texts mean equal files."""
        ...

    @property
    def qualities(self) -> Sequence[float]:
        """The settings that `encode` takes, worst first."""
        ...

    @property
    def usual(self) -> Sequence[float]:
        """A dozen of them, from 0.05 to 2.5 bits per pixel of a photograph or as near as it comes, worst first."""
        ...

    @property
    def in_process(self) -> bool:
        """Whether it runs in this process, so that a first call can warm it and its memory is this process's."""
        ...

    def encode(self, pixels: np.ndarray, quality: float) -> bytes:
        """The file for uint8 (H,W,3) or (H,W). Raises ArgumentError, or ImageError if it cannot be coded."""
        ...

    def decode(self, data: bytes) -> np.ndarray:
        """uint8 (H,W,3) or (H,W). Raises ImageError for damaged data."""
        ...


class Available(NamedTuple):
    """`codecs` that work here, by name, and `missing`: the reason for each that does not."""

    codecs: dict[str, Codec]
    missing: dict[str, str]


def check_quality(name: str, quality: float, qualities: Sequence[float]) -> None:
    """Raises ArgumentError unless the codec of this name has this setting."""
    if quality not in qualities:
        ends = sorted((qualities[0], qualities[-1]))
        steps = "an integer" if isinstance(qualities, range) else "a multiple of 0.5"
        wanted = f"{steps} from {ends[0]:g} to {ends[1]:g}" if len(qualities) > 1 else f"{ends[0]:g}, its only one"
        raise ArgumentError(f"{name}: the quality is {quality!r}; it must be {wanted}")


@dataclass(frozen=True)
class PillowCodec:
    """A codec that Pillow writes as `kind`, with the options that `options(quality, grey)` gives.

    WebP and AVIF have no grey pictures: there a grey one comes back as (H,W,3). `library`: Pillow's name for it.
    """

    name: str
    label: str
    kind: str
    library: str
    qualities: range
    usual: tuple[int, ...]
    options: Callable[[int, bool], Mapping[str, Any]]
    in_process: bool = True

    @property
    def about(self) -> str:
        """Pillow's and the library's version, and the options at the first of `usual`."""
        options = ", ".join(f"{key} {value}" for key, value in self.options(self.usual[0], False).items())
        return f"Pillow {PIL.__version__}, {self.library} {features.version(self.library)}; such as {options}; 1 thread"

    def encode(self, pixels: np.ndarray, quality: float) -> bytes:
        """The whole file for uint8 (H,W,3) or (H,W) at `quality`, one of `qualities`.

        Raises ArgumentError for a wrong array or quality, ImageError when the format cannot hold the picture
        or this build of Pillow lacks it.
        """
        check_quality(self.name, quality, self.qualities)
        image = Image.fromarray(np.ascontiguousarray(from_image(pixels).pixels))
        return _saved(image, self.name, self.kind, self.options(int(quality), image.mode == "L"))

    def decode(self, data: bytes) -> np.ndarray:
        """uint8 (H,W,3) or (H,W) from a whole file. Raises ImageError for damaged data."""
        threads, AvifImagePlugin.DEFAULT_MAX_THREADS = AvifImagePlugin.DEFAULT_MAX_THREADS, 1
        try:
            return load(data).pixels
        finally:
            AvifImagePlugin.DEFAULT_MAX_THREADS = threads


def _saved(image: Image.Image, name: str, kind: str, options: Mapping[str, Any]) -> bytes:
    buffer = io.BytesIO()
    try:
        image.save(buffer, format=kind, **options)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        size = f"{image.width}x{image.height}"
        raise ImageError(f"{name}: cannot code a picture of {size} ({error})") from error
    return buffer.getvalue()


@dataclass(frozen=True)
class JpegXl:
    """JPEG XL by libjxl, through a plugin for Pillow; quality 0 (distance 25) to 99."""

    name: str = "jpegxl"
    label: str = "JPEG XL"
    qualities: range = range(100)
    usual: tuple[int, ...] = (0, 3, 8, 15, 25, 40, 55, 68, 78, 85, 90, 94)
    in_process: bool = True

    @property
    def about(self) -> str:
        """The versions of Pillow and its plugin, and the options."""
        return f"Pillow {PIL.__version__}, {_JPEGXL_PACKAGE} {package_version(_JPEGXL_PACKAGE)}; effort 7; 1 thread"

    def encode(self, pixels: np.ndarray, quality: float) -> bytes:
        """As `PillowCodec.encode`."""
        _jpegxl_plugin()
        check_quality(self.name, quality, self.qualities)
        image = Image.fromarray(np.ascontiguousarray(from_image(pixels).pixels))
        # to the library 0 threads are none beside the caller's
        return _saved(image, self.name, "JXL", {"quality": int(quality), "effort": 7, "num_threads": 0})

    def decode(self, data: bytes) -> np.ndarray:
        """As `PillowCodec.decode`."""
        plugin = _jpegxl_plugin()
        threads, plugin.DECODE_THREADS = plugin.DECODE_THREADS, 0
        try:
            with Image.open(io.BytesIO(data), formats=("JXL",)) as image:
                return np.array(image)
        except Exception as error:  # the plugin raises what its library's binding does
            raise ImageError(f"{self.name}: the file is damaged ({' '.join(str(error).split())})") from error
        finally:
            plugin.DECODE_THREADS = threads


def _jpegxl_plugin() -> Any:
    try:
        from pillow_jxl import JpegXLImagePlugin
    except ImportError:
        raise ImageError(f"JPEG XL needs {_JPEGXL_PACKAGE}: pip install 'intaglio[evaluate]'") from None
    return JpegXLImagePlugin


@dataclass(frozen=True)
class Intaglio:
    """Intaglio with a shipped model's name or a .itgm file, the networks on `threads` threads.

    Every method raises ModelError if the model cannot be used.
    """

    model: str = "photo"
    threads: int = 1
    name: str = OURS
    in_process: bool = True

    @property
    def label(self) -> str:
        """Intaglio, and the model where that is not the shipped one."""
        return "Intaglio" if self.name == OURS else f"Intaglio ({Path(self.model).stem})"

    @property
    def about(self) -> str:
        """Intaglio's version; the model's name, its id, which is that of the decoding half, and what the digest of its
        whole file begins with; ONNX Runtime's version, and the threads.
        """
        model = _model(self.model, self.threads)
        versions = f"Intaglio {package_version('intaglio')}, ONNX Runtime {package_version('onnxruntime')}"
        file = _model_digest(self.model)
        return f"model {model.name} {model.model_id.hex()} (file {file}), {versions}; threads: {model.threads}"

    def check(self) -> None:
        """Loads the model. Raises ModelError if it cannot be used, ArgumentError if it needs a given picture."""
        given.check_alone(_model(self.model, self.threads).given, self.model)

    @property
    def qualities(self) -> Sequence[float]:
        """1 to 100 by halves, or the one that the model was trained for."""
        rate = _model(self.model, self.threads).fixed_rate
        return tuple(map(rate_to_quality, range(RATES))) if rate is None else (rate_to_quality(rate),)

    @property
    def usual(self) -> Sequence[float]:
        """Twelve, or the only one."""
        several = len(self.qualities) > 1
        return (1, 5, 12, 20, 30, 40, 50, 60, 70, 80, 90, 97) if several else self.qualities

    def encode(self, pixels: np.ndarray, quality: float) -> bytes:
        """As `intaglio.encode`."""
        return codec.encode(pixels, quality, model=_model(self.model, self.threads))

    def decode(self, data: bytes) -> np.ndarray:
        """As `intaglio.decode`."""
        return codec.decode(data, model=_model(self.model, self.threads))

    def allocation(self, pixels: np.ndarray, quality: float) -> NDArray[np.float64]:
        """Bits that the tables charge for each 16 x 16 pixels of the picture padded to whole blocks of 64, (H,W)."""
        return latents.measure(pixels, quality, model=_model(self.model, self.threads)).allocation


@functools.cache
def _model(name: str, threads: int) -> bundle.Model:
    """A model stays loaded: each process of an evaluation loads it once."""
    return bundle.load_model(name, threads)


@functools.cache
def _model_digest(name: str) -> str:
    """What the SHA-256 of a model's file begins with."""
    return digest(bundle.shipped_models().get(name) or Path(name))[:8]


def jpeg2000_ratio(quality: int) -> float:
    """Compression ratio of JPEG 2000 at step 1..1000, falling evenly in logarithm from 1000 to 1.5."""
    part = (quality - 1) / (JPEG2000_STEPS - 1)
    return _JPEG2000_MAX_RATIO * (_JPEG2000_MIN_RATIO / _JPEG2000_MAX_RATIO) ** part


def _jpeg_options(quality: int, _grey: bool) -> Mapping[str, Any]:
    return {"quality": quality}


def _jpegopt_options(quality: int, _grey: bool) -> Mapping[str, Any]:
    return {"quality": quality, "optimize": True}


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


_JPEG_USUAL = (1, 3, 5, 8, 12, 20, 35, 50, 65, 75, 85, 92)
_JPEG2000_USUAL = (114, 170, 220, 283, 355, 410, 460, 515, 575, 635, 675, 714)
_WEBP_USUAL = (0, 2, 5, 10, 18, 30, 45, 60, 75, 83, 89, 93)
_AVIF_USUAL = (1, 5, 10, 18, 26, 34, 42, 50, 60, 70, 80, 88)
_CODECS: tuple[Codec, ...] = (
    PillowCodec("jpeg", "JPEG 4:2:0", "JPEG", "libjpeg_turbo", range(1, 101), _JPEG_USUAL, _jpeg_options),
    PillowCodec(
        "jpegopt", "JPEG 4:2:0 optimised", "JPEG", "libjpeg_turbo", range(1, 101), _JPEG_USUAL, _jpegopt_options
    ),
    PillowCodec("jpeg444", "JPEG 4:4:4", "JPEG", "libjpeg_turbo", range(1, 101), _JPEG_USUAL, _jpeg444_options),
    PillowCodec(
        "jpeg2000",
        "JPEG 2000",
        "JPEG2000",
        "jpg_2000",
        range(1, JPEG2000_STEPS + 1),
        _JPEG2000_USUAL,
        _jpeg2000_options,
    ),
    PillowCodec("webp", "WebP", "WEBP", "webp", range(101), _WEBP_USUAL, _webp_options),
    PillowCodec("avif", "AVIF", "AVIF", "avif", range(101), _AVIF_USUAL, _avif_options),
    JpegXl(),
)


def available() -> Available:
    """The peers that are installed, those of a Python package each tried once on a small picture.

    jpeg (4:2:0, Pillow's default), jpegopt (the same with optimised Huffman tables), jpeg444 (4:4:4, optimised),
    jpeg2000 (irreversible, colour transform, steps of compression ratio), webp (method 6), avif (speed 6, 4:4:4, one
    thread), jpegxl (effort 7), and the programs of `intaglio.externals`.
    """
    reasons = {each.name: _reason(each) for each in _CODECS}
    found: dict[str, Codec] = {each.name: each for each in _CODECS if not reasons[each.name]}
    for program in externals.PROGRAMS:
        try:
            found[program.name] = externals.installed(program)
        except ArgumentError as error:
            reasons[program.name] = str(error)
    return Available(found, {name: reason for name, reason in reasons.items() if reason})


@functools.cache
def _reason(candidate: Codec) -> str:
    """Why a codec cannot be used here; empty when it can."""
    probe = np.zeros((16, 16, 3), np.uint8)
    try:
        shape = candidate.decode(candidate.encode(probe, candidate.qualities[-1])).shape
    except IntaglioError as error:
        needed = isinstance(candidate, JpegXl)
        return str(error) if needed else f"this build of Pillow does not write or read it: {error}"
    return "" if shape == probe.shape else f"it turns a picture of shape {probe.shape} into {shape}"


def choose(names: Iterable[str] = (), models: Sequence[str] = (), threads: int = 1) -> Available:
    """The codecs of these names, in this order; without any Intaglio and all peers but programs.

    models: shipped names or .itgm files for Intaglio, default photo; the names of several are intaglio-MODEL.
    `missing` is filled only without names. Raises ArgumentError for a name that is unknown or not installed (it says
    what to install) or twice, and ModelError for a model that cannot be used.
    """
    found, missing = available()
    several = len(models) > 1
    ours = [Intaglio(each, threads, f"{OURS}-{Path(each).stem}" if several else OURS) for each in models or ["photo"]]
    wanted = list(names) or [OURS, *(name for name, each in found.items() if each.in_process)]
    chosen: dict[str, Codec] = {}
    for name in wanted:
        if name in missing:
            raise ArgumentError(f"codec {name} cannot be used: {missing[name]}")
        if name != OURS and name not in found:
            raise ArgumentError(f"there is no codec {name!r}; known are {', '.join([OURS, *found, *missing])}")
        for each in ours if name == OURS else [found[name]]:
            if each.name in chosen:
                raise ArgumentError(f"codec {each.name} is named twice")
            chosen[each.name] = each
    for each in ours if OURS in wanted else []:
        each.check()  # a wrong model is told before there is work
    programs = {program.name for program in externals.PROGRAMS}
    absent = {} if names else {name: reason for name, reason in missing.items() if name not in programs}
    return Available(chosen, absent)
