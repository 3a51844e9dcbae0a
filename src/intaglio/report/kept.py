"""The pictures of the page: thumbnails, and the decoded pictures of kept/ as exact as they are, whole or cropped."""

from __future__ import annotations

import base64
import io
import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from intaglio import allocation, images, results
from intaglio.allocation import BLOCK
from intaglio.errors import ImageError
from intaglio.report.content import picture_names
from intaglio.results import Row

CROPS = (768, 640, 512, 448, 384, 320, 256, 192, 128)  # sides in pixels that are tried; all multiples of BLOCK
# What is tried in turn: rates in bits per pixel near which each codec's settings are shown (none: all of them), and the
# smallest crop (none: whole pictures only). Whole pictures are worth more than many rates, those more than large crops.
_ALL, _SOME, _ONE = (), (0.15, 0.4, 1.0), (0.25,)
_CHOICES = ((_ALL, None), (_SOME, None), (_ONE, None), (_SOME, 384), (_ONE, CROPS[-1]))
THUMBNAIL = 400
_THUMBNAIL_ROOM = 2_000_000
_MARKUP = 200  # bytes around one picture on the page, its entry in the data included
_GUESS = 1.15  # a crop takes more bytes for each of its pixels than the whole

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Version:
    """One file of a picture: the original (no codec) or what a codec made of it at `bpp` bits per pixel, and its
    allocation map if there is one.
    """

    path: Path
    codec: str = ""
    setting: str = ""
    bpp: float = 1.0
    bits: Path | None = None


@dataclass(frozen=True)
class Shown:
    """A picture as it goes on the page: its versions, the part that is shown, their files, and for each None or its map
    with the bits per pixel that 255 stands for.
    """

    versions: tuple[Version, ...]
    box: Box
    pictures: tuple[bytes, ...]
    maps: tuple[tuple[bytes, float] | None, ...]

    @property
    def size(self) -> int:
        """Bytes that this takes on the page."""
        files = [*self.pictures, *(found[0] for found in self.maps if found)]
        return sum(_size_on_page(len(data)) for data in files)


class Gallery:
    """The pictures of a folder of results."""

    def __init__(self, folder: Path, rows: Sequence[Row], progress: Callable[[int, int], None] | None = None) -> None:
        self._names = picture_names(rows)
        self._codecs = list(dict.fromkeys(row.codec for row in rows if row.codec))
        self._rows: dict[str, list[Row]] = {name: [] for name in self._names}
        for row in rows:
            self._rows[row.picture].append(row)
        self._versions = {name: _versions(folder, name, self._rows[name]) for name in self._names}
        self._progress = progress or (lambda done, total: None)
        self._thumbnails: dict[str, str] = {}

    def thumbnails(self) -> list[dict[str, Any]]:
        """{name, width, height, thumbnail, versions} of every picture, with a thumbnail while there is room."""
        room, kept = _THUMBNAIL_ROOM, [name for name in self._names if self._versions[name]]
        self._progress(0, 2 * len(kept))
        for done, name in enumerate(kept, 1):
            data = _thumbnail(self._versions[name][0].path)
            room -= len(data)
            if room < 0:
                break
            self._thumbnails[name] = _data_url(data)
            self._progress(done, 2 * len(kept))
        return [self._described(name, None, []) for name in self._names]

    def embed(self, room: int) -> tuple[list[dict[str, Any]], list[bytes]]:
        """The same with what the viewer shows, and the files that the versions number, in at most `room` bytes.

        Where not everything fits, only the settings nearest to some rates are shown (see _CHOICES). As many pictures as
        then fit are whole, from the first on, so that the others still fit as centre crops of one size: the largest
        that allows it.
        """
        shown, files = self._chosen(room), []
        return [self._described(name, shown.get(name), files) for name in self._names], files

    def _chosen(self, room: int) -> dict[str, Shown]:
        for rates, smallest in _CHOICES:
            kept = {name: _near(self._versions[name], rates) for name in self._names if self._versions[name]}
            cost = {name: _whole_size(versions) for name, versions in kept.items()}
            if sum(cost.values()) <= room:
                return {name: _cut(kept[name], None) for name in self._counted(list(kept))}
            area = {name: _area(versions[0].path) for name, versions in kept.items()}
            for side in (side for side in CROPS if smallest and side >= smallest):
                guess = sum(_GUESS * cost[name] * min(1.0, side**2 / area[name]) for name in kept)
                last = side == CROPS[-1]
                if guess > room and not last:
                    continue
                shown = {name: _cut(kept[name], side) for name in self._counted(list(kept))}
                if last or sum(each.size for each in shown.values()) <= room:
                    return _enlarged(shown, cost, room)
        return {}

    def _counted(self, names: list[str]) -> Iterator[str]:
        for done, name in enumerate(names, 1):
            yield name
            self._progress(len(names) + done, 2 * len(names))

    def _described(self, name: str, shown: Shown | None, files: list[bytes]) -> dict[str, Any]:
        rows = self._rows[name]
        about: dict[str, Any] = {
            "name": name,
            "width": max((row.width for row in rows), default=0),
            "height": max((row.height for row in rows), default=0),
            "thumbnail": self._thumbnails.get(name, ""),
            "kept": len(self._versions[name]),
            "versions": [],
        }
        if shown:
            about["box"] = shown.box
            for version, picture, bits in zip(shown.versions, shown.pictures, shown.maps, strict=True):
                codec = self._codecs.index(version.codec) if version.codec else -1
                entry: dict[str, Any] = {"codec": codec, "setting": version.setting, "file": len(files)}
                files.append(picture)
                if bits:
                    entry |= {"map": len(files), "max_bpp": bits[1]}
                    files.append(bits[0])
                about["versions"].append(entry)
        return about


def _enlarged(shown: dict[str, Shown], cost: dict[str, int], room: int) -> dict[str, Shown]:
    """The crops that fit, and whole pictures in their place while there is room."""
    fitting = {}
    for name, each in shown.items():
        if each.size <= room:
            fitting[name] = each
            room -= each.size
    for name, each in fitting.items():
        if cost[name] - each.size <= room:
            fitting[name] = _cut(each.versions, None)
            room -= fitting[name].size - each.size
    return fitting


def _whole_size(versions: tuple[Version, ...]) -> int:
    paths = [path for each in versions for path in (each.path, each.bits) if path]
    return sum(_size_on_page(path.stat().st_size) for path in paths)


def _cut(versions: tuple[Version, ...], side: int | None) -> Shown:
    box = _box(versions[0].path, side)
    return Shown(
        versions,
        box,
        tuple(_cropped(each.path, box, side is None) for each in versions),
        tuple(_map(each.bits, box) if each.bits else None for each in versions),
    )


def _near(versions: tuple[Version, ...], rates: tuple[float, ...]) -> tuple[Version, ...]:
    """Of each codec the versions nearest to these rates, by their ratio, and every original; all without rates."""
    if not rates:
        return versions
    codecs: dict[str, list[Version]] = {}
    for each in versions:
        codecs.setdefault(each.codec, []).append(each)
    near = {
        id(min(each, key=lambda version: abs(math.log(max(version.bpp, 1e-9) / rate))))
        for each in codecs.values()
        for rate in rates
    }
    return tuple(each for each in versions if id(each) in near)


def _versions(folder: Path, name: str, rows: list[Row]) -> tuple[Version, ...]:
    """The kept files of a picture, the original first."""
    inside = (folder / results.KEPT).resolve()
    found = []
    for row in (Row(name, bpp=1.0), *(row for row in rows if row.codec and not row.error)):
        path = results.kept_path(folder, name, row.codec or results.ORIGINAL, row.setting)
        # A name such as ../../secret comes from a file that somebody else may have written.
        if os.path.isfile(path) and path.resolve().is_relative_to(inside):
            bits = allocation.beside(path)
            found.append(Version(path, row.codec, row.setting, row.bpp, bits if bits.is_file() else None))
    return tuple(found)


def _size_on_page(length: int) -> int:
    """Bytes that a file of `length` bytes takes there: in base 64, with its markup."""
    return 4 * -(-length // 3) + _MARKUP


def _area(path: Path) -> int:
    left, top, right, bottom = _box(path, None)
    return (right - left) * (bottom - top)


def _box(path: Path, side: int | None) -> Box:
    """The centre of the picture, on the grid of the allocation map; all of it without a side."""
    try:
        with Image.open(path) as picture:
            width, height = picture.size
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise ImageError(f"{path}: the kept picture cannot be read; run the evaluation again") from error
    if side is None:
        return 0, 0, width, height
    spans = []
    for length in (width, height):
        start = max(length - side, 0) // 2 // BLOCK * BLOCK
        spans.append((start, min(start + side, length)))
    return spans[0][0], spans[1][0], spans[0][1], spans[1][1]


def _cropped(path: Path, box: Box, whole: bool) -> bytes:
    if whole:
        return path.read_bytes()
    left, top, right, bottom = box
    return _saved(images.load(path).pixels[top:bottom, left:right], "WEBP", lossless=True)


def _saved(pixels: np.ndarray, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, kind, **options)
    return buffer.getvalue()


def _thumbnail(path: Path) -> bytes:
    picture = Image.fromarray(images.to_rgb(images.load(path).pixels))
    picture.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
    return _saved(np.asarray(picture), "WEBP", quality=80)


def _data_url(data: bytes) -> str:
    return "data:image/webp;base64," + base64.b64encode(data).decode()


def _map(path: Path, box: Box) -> tuple[bytes, float]:
    """The part of an allocation map that lies over a box, as PNG, and the bits per pixel that 255 stands for."""
    left, top, right, bottom = box
    found = allocation.load(path)
    part = found.samples[top // BLOCK : -(-bottom // BLOCK), left // BLOCK : -(-right // BLOCK)]
    return _saved(part, "PNG"), found.top
