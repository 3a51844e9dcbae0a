"""Pictures to .itg bytes and back: where image, model and container meet.

A picture is cut into tiles (one, up to about 4 megapixels); each tile's latents are coded on their own. Analysis and
synthesis go block by block, in the tiles that the writer makes, and see a halo around each, so no seam shows.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypedDict, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from intaglio import container, images
from intaglio import effort as efforts
from intaglio import given as known
from intaglio.bundle import LATENT_SCALE, Model, Window, load_model, model_for, shipped_models
from intaglio.coders import Decode, Encode, Floats, Round
from intaglio.container import Container, Header, TileBox
from intaglio.errors import ArgumentError, FormatError, ImageError, ModelError
from intaglio.quality import DEFAULT_QUALITY, quality_to_rate, rate_to_quality
from intaglio.traversal import HYPER_SCALE, latents

if TYPE_CHECKING:
    from typing_extensions import Unpack

Pixels = NDArray[np.uint8]
ModelName = str | os.PathLike[str] | Model
Progress = Callable[[int, int], None]  # steps done, steps in all
Kind = TypeVar("Kind", Encode, Round)


class Running(TypedDict, total=False):
    """How the work is done; changes nothing of the result."""

    threads: int | None  # for the networks, default all cores; a loaded model has its own
    progress: Progress | None  # called as the work on several tiles goes on, never for a single one


@dataclass(frozen=True)
class Info:
    """What the header of an .itg file says.

    width, height in pixels; channels 1 (grey) or 3 (RGB); depth in bits per sample; quality 1..100; model_id: 8
    hexadecimal digits; model: the shipped model of that id, or None; tiles: their number; size: bytes of the file;
    bpp: bits per pixel; given: digest, 8 hexadecimal digits, of the given picture without which the file cannot be
    decoded, or None.
    """

    version: int
    width: int
    height: int
    channels: int
    depth: int
    quality: float
    model_id: str
    model: str | None
    tiles: int
    size: int
    bpp: float
    given: str | None = None


def encode(
    image: Image.Image | Pixels,
    quality: float | None = None,
    *,
    model: ModelName | None = None,
    given: known.Picture | None = None,
    effort: int = efforts.DEFAULT,
    **run: Unpack[Running],
) -> bytes:
    """The picture as .itg bytes.

    image: a PIL image, or uint8 (H,W,3) RGB or (H,W) grey; what has to be converted first is said by a UserWarning.
    quality: 1..100, rounded to halves; by default 50, or the one that a model was trained for. model: a shipped model's
    name, the path of a .itgm file, or a loaded model; by default "photo", or "colour" if a picture is given. given: a
    picture of the same size that the decoder will have, too, if the model takes one. effort: 0 (fastest) to 9 (best),
    see `intaglio.effort`. run: see `Running`. Raises ArgumentError, ImageError, ModelError.
    """
    efforts.checked(effort)
    if quality is not None:
        quality_to_rate(quality)  # a wrong one is told before there is work
    picture = images.from_image(image)
    for notice in picture.notices:
        warnings.warn(notice, stacklevel=2)
    pixels = picture.pixels
    runner = _model(_default(given) if model is None else model, run.get("threads"))
    seen = _planes(given, pixels.shape[1], pixels.shape[0], runner)
    header = header_for(pixels, rate_for(quality, runner), runner, seen)
    tiles = len(container.tile_grid(header))
    step = _Steps(run.get("progress") if tiles > 1 else None, tiles)
    payloads = []
    for coder in walk_tiles(pixels, header, efforts.prepared(runner, effort), Encode, seen):
        payloads.append(coder.finish())
        step()
    return container.write(Container(header, tuple(payloads)))


def estimate(
    image: Image.Image | Pixels,
    quality: float | None = None,
    *,
    model: ModelName | None = None,
    given: known.Picture | None = None,
    effort: int = efforts.DEFAULT,
) -> float:
    """Bits that the frozen tables charge for the picture's latents; arguments and errors as for `encode`."""
    efforts.checked(effort)
    pixels = images.from_image(image).pixels
    runner = _model(_default(given) if model is None else model, None)
    seen = _planes(given, pixels.shape[1], pixels.shape[0], runner)
    header = header_for(pixels, rate_for(quality, runner), runner, seen)
    return sum(coder.bits for coder in walk_tiles(pixels, header, efforts.prepared(runner, effort), Round, seen))


def decode(
    data: bytes,
    *,
    model: ModelName | None = None,
    threads: int | None = None,
    max_pixels: int = container.DEFAULT_MAX_PIXELS,
    given: known.Picture | None = None,
    progress: Progress | None = None,
) -> Pixels:
    """The picture of .itg bytes, uint8 (H,W,3) RGB or (H,W) grey.

    model: by default the shipped model that the file names. given: the picture that was given to `encode`, if one was;
    another is refused, unless it comes as `Given(picture, force=True)`: then with a UserWarning. threads, progress: as
    for `encode`. Raises FormatError for damaged data or more than `max_pixels`, ModelError if the model is missing or
    another one, ArgumentError for a wrong argument.
    """
    coded = container.read(data, max_pixels)
    header = coded.header
    runner = decoder(header, model, threads)
    seen = planes_for(header, runner, given)
    known_luma = header.channels == 1 and runner.given == "luma"  # grey of that luma is that luma
    boxes, blocks = container.tile_grid(header), () if known_luma else _blocks(header)
    several = len(boxes) > 1 or len(blocks) > 1
    step = _Steps(progress if several else None, len(boxes) + len(blocks))
    plane = _decode_latents(coded, boxes, runner, step, seen)
    if known_luma:
        assert seen is not None
        return np.ascontiguousarray(seen[: header.height, : header.width, 0])
    pixels = np.empty((header.height, header.width, 3), np.uint8)
    for block in blocks:
        part = pixels[block.y : block.y + block.height, block.x : block.x + block.width]
        part[:] = _synthesise(plane, block, header.rate, runner, seen)
        step()
    return _grey(pixels) if header.channels == 1 else pixels


def decode_latents(
    data: bytes, *, model: ModelName | None = None, given: known.Picture | None = None, threads: int | None = None
) -> Floats:
    """y_hat of .itg bytes, float32 (1,M,h,w) on the padded picture's grid; arguments and errors as for `decode`."""
    coded = container.read(data)
    runner = decoder(coded.header, model, threads)
    boxes = container.tile_grid(coded.header)
    seen = planes_for(coded.header, runner, given)
    return _decode_latents(coded, boxes, runner, _Steps(None, len(boxes)), seen)


def info(data: bytes) -> Info:
    """What the header says, however large the picture; the whole file is checked. Raises FormatError."""
    coded = container.read(data, container.MAX_VARINT**2)
    header = coded.header
    name = next((name for name in shipped_models() if load_model(name).model_id == header.model_id), None)
    return Info(
        version=container.VERSION,
        width=header.width,
        height=header.height,
        channels=header.channels,
        depth=header.depth,
        quality=rate_to_quality(header.rate),
        model_id=header.model_id.hex(),
        model=name,
        tiles=len(coded.payloads),
        size=len(data),
        bpp=8.0 * len(data) / (header.width * header.height),
        given=None if header.given is None else header.given.hex(),
    )


def _default(given: known.Picture | None) -> str:
    return "photo" if given is None else "colour"


def _planes(given: known.Picture | None, width: int, height: int, model: Model) -> Pixels | None:
    """The given planes as the model sees them; raises as `given.check` and `given.planes` do."""
    known.check(model.given, given is not None, model.name)
    if given is None or model.given is None:
        return None
    return known.planes(given, model.given, (width, height))


def planes_for(header: Header, model: Model, given: known.Picture | None) -> Pixels | None:
    """The planes of the picture given to decode a file, uint8 (H,W,G), padded; None if its model takes none.

    Warns if they are not what the file was coded with, and the picture comes as `Given(picture, force=True)`. Raises
    ArgumentError if not forced, if it is missing, or where none is wanted; FormatError if file and model disagree.
    """
    if (header.given is None) != (model.given is None):
        says, takes = ("no", "one") if header.given is None else ("a", "none")
        raise FormatError(f"the file was coded with {says} given picture; its model {model.name!r} takes {takes}")
    seen = _planes(given, header.width, header.height, model)
    if seen is not None and header.given is not None and known.digest(seen) != header.given:
        found = f"its digest is {known.digest(seen).hex()}, the file asks for {header.given.hex()}"
        wrong = f"the given picture is not the one that the file was coded with: {found}"
        if not (isinstance(given, known.Given) and given.force):
            raise ArgumentError(f"{wrong}; give that one (decoding can be forced: --force, Given(picture, force=True))")
        warnings.warn(wrong, stacklevel=3)
    return None if seen is None else _padded(seen)


def _model(model: ModelName, threads: int | None) -> Model:
    return model if isinstance(model, Model) else load_model(model, threads)


def decoder(header: Header, model: ModelName | None, threads: int | None) -> Model:
    """The model that a file names: the one asked for, or a shipped one.

    Raises ModelError if that is another or missing.
    """
    if model is None:
        return model_for(header.model_id, threads)
    named = _model(model, threads)
    if named.model_id != header.model_id:
        raise ModelError(
            f"the file needs model {header.model_id.hex()}; {named.name!r} is {named.model_id.hex()}: name the other"
        )
    return named


def rate_for(quality: float | None, model: Model) -> int:
    """The rate step of a quality 1..100, or of None: what the model was trained for, if that is one quality, else 50.

    Raises ArgumentError for what is no quality, or not the model's only one.
    """
    if model.fixed_rate is None:
        return quality_to_rate(DEFAULT_QUALITY if quality is None else quality)
    if quality is not None and quality_to_rate(quality) != model.fixed_rate:
        only = rate_to_quality(model.fixed_rate)
        raise ArgumentError(f"quality is {quality}; model {model.name!r} was trained for {only:g} alone: leave it out")
    return model.fixed_rate


def header_for(pixels: Pixels, rate: int, model: Model, seen: Pixels | None = None) -> Header:
    """The header of a file of these pixels, uint8 (H,W,3) or (H,W), and given planes uint8 (H,W,G).

    Raises ImageError if they are too many, ArgumentError if the model needs planes that are not there.
    """
    known.check(model.given, seen is not None, model.name)
    height, width = pixels.shape[:2]
    if max(width, container.BLOCK) * max(height, container.BLOCK) > container.DEFAULT_MAX_PIXELS:
        limit = f"{container.DEFAULT_MAX_PIXELS} (a side under {container.BLOCK} counts as {container.BLOCK})"
        raise ImageError(f"the picture has {width} x {height} pixels; at most {limit} are coded: cut it up")
    return Header(
        width=width,
        height=height,
        channels=1 if pixels.ndim == 2 else 3,
        depth=8,
        rate=rate,
        model_id=model.model_id,
        tile=container.choose_tile(width, height),
        given=None if seen is None else known.digest(seen),
    )


def _padded(pixels: Pixels) -> Pixels:
    """The picture continued by its edge to whole blocks of 64 x 64."""
    return images.pad_to_multiple(pixels, container.BLOCK)


def _latent_box(box: TileBox) -> tuple[int, int, int, int]:
    """top, left, height, width of a tile in latents, whole blocks."""
    block = container.BLOCK // LATENT_SCALE
    height, width = (-(-side // container.BLOCK) * block for side in (box.height, box.width))
    return box.y // LATENT_SCALE, box.x // LATENT_SCALE, height, width


def _around(box: tuple[int, int, int, int], halo: int, grid: tuple[int, int]) -> tuple[slice, slice, int, int]:
    """Rows and columns of a box with its halo, as far as the grid goes, and the box's own offset within them."""
    top, left, height, width = box
    first_row, first_column = max(0, top - halo), max(0, left - halo)
    rows = slice(first_row, min(grid[0], top + height + halo))
    columns = slice(first_column, min(grid[1], left + width + halo))
    return rows, columns, top - first_row, left - first_column


def walk_tiles(
    pixels: Pixels, header: Header, model: Model, kind: type[Kind], seen: Pixels | None = None
) -> Iterator[Kind]:
    """A coder of this kind for each tile in turn, after it has gone through the tile's latents.

    pixels: uint8 (H,W,3) or (H,W), seen: the given planes, as `header`, from `header_for`, says. Raises ModelError.
    """
    padded, given = _padded(images.to_rgb(pixels)), None if seen is None else _padded(seen)
    for box in container.tile_grid(header):
        coder = kind(model.layout, model.tables, model.quantiser)
        latents(model, _window(padded, given, box, model.halo), header.rate, coder, tile_of(given, box))
        yield coder


def _window(padded: Pixels, given: Pixels | None, box: TileBox, halo: int) -> Window:
    inner = _latent_box(box)
    grid = padded.shape[0] // LATENT_SCALE, padded.shape[1] // LATENT_SCALE
    rows, columns, top, left = _around(inner, halo, grid)
    part = _pixels_at(padded, rows, columns)
    return Window(part, (top, left, *inner[2:]), None if given is None else _pixels_at(given, rows, columns))


def _pixels_at(padded: Pixels, rows: slice, columns: slice) -> Pixels:
    """The pixels of these rows and columns of latents."""
    down, across = (slice(each.start * LATENT_SCALE, each.stop * LATENT_SCALE) for each in (rows, columns))
    return np.ascontiguousarray(padded[down, across])


def tile_of(given: Pixels | None, box: TileBox) -> Pixels | None:
    """A tile of the given planes (H,W,G), both padded to whole blocks; None of None."""
    if given is None:
        return None
    top, left, height, width = _latent_box(box)
    return _pixels_at(given, slice(top, top + height), slice(left, left + width))


def _blocks(header: Header) -> tuple[TileBox, ...]:
    """What the synthesis takes at a time: our writer's tiles, whatever the file's. A halo around each of many tiny
    tiles would cost fifty times the work, and one huge tile gigabytes.
    """
    return container.tile_grid(replace(header, tile=container.choose_tile(header.width, header.height)))


class _Steps:
    """Counts the steps of the work on several tiles and reports each, beginning with none done."""

    def __init__(self, report: Progress | None, total: int) -> None:
        self._report, self._done, self._total = report, -1, total
        self()

    def __call__(self) -> None:
        self._done += 1
        if self._report:
            self._report(self._done, self._total)


def _decode_latents(
    coded: Container, boxes: tuple[TileBox, ...], model: Model, step: _Steps, seen: Pixels | None
) -> Floats:
    """The tiles' latents side by side: entropy decoding looks into one tile at a time."""
    whole = TileBox(0, 0, coded.header.width, coded.header.height)
    plane = np.empty((1, model.layout.channels, *_latent_box(whole)[2:]), np.float32)
    for box, payload in zip(boxes, coded.payloads, strict=True):
        top, left, height, width = _latent_box(box)
        z_grid = height // HYPER_SCALE, width // HYPER_SCALE
        coder = Decode(model.layout, model.tables, payload, z_grid, model.quantiser)
        plane[:, :, top : top + height, left : left + width] = latents(
            model, None, coded.header.rate, coder, tile_of(seen, box)
        )
        coder.finish()
        step()
    return plane


def _synthesise(plane: Floats, block: TileBox, rate: int, model: Model, seen: Pixels | None) -> Pixels:
    rows, columns, top, left = _around(_latent_box(block), model.halo, (plane.shape[2], plane.shape[3]))
    given = () if seen is None else (_pixels_at(seen, rows, columns),)
    pixels = model.synthesis(np.ascontiguousarray(plane[:, :, rows, columns]), rate, *given)
    top, left = LATENT_SCALE * top, LATENT_SCALE * left
    return pixels[top : top + block.height, left : left + block.width]


def _grey(pixels: Pixels) -> Pixels:
    """The mean of the three decoded channels, rounded."""
    return ((pixels.sum(axis=2, dtype=np.uint16) + 1) // 3).astype(np.uint8)
