"""Codecs at one file size: for each the setting whose file comes closest to it, and what that picture is worth."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from intaglio import images, measuring, metrics, record, results
from intaglio.codecs import Codec
from intaglio.errors import ArgumentError, ImageError, IntaglioError
from intaglio.results import Row

LECTURE_BPP = 0.113  # of the example in Balle, Laparra, Simoncelli 2017 that lectures show
_TIMING = "wall clock of whole calls in one process, the better of two; of a program the only one, with its start"
_MEMORY = "not taken: all codecs run in one process"


class Match(NamedTuple):
    """A setting of a codec and the file it gives."""

    quality: float
    data: bytes


@dataclass(frozen=True, eq=False)
class Found:
    """A codec's row, and its picture, uint8 (H,W,3); None if the codec cannot reach the size or fails: the row says."""

    codec: Codec
    row: Row
    decoded: np.ndarray | None


@dataclass(frozen=True)
class Asked:
    """What a person asked for, for the summary: the size in bytes, threads of Intaglio, the words of the command."""

    nbytes: int
    threads: int = 1
    command: tuple[str, ...] = ()


def target_bytes(pixels: np.ndarray, nbytes: int | None, bpp: float | None) -> int:
    """The size to compare at: as given, or of so many bits per pixel, or by default of 0.113.

    Raises ArgumentError for both, and for a size that is not positive.
    """
    if nbytes is not None and bpp is not None:
        raise ArgumentError("both bytes and bits per pixel are given; choose one")
    if bpp is not None and not (math.isfinite(bpp) and bpp > 0):
        raise ArgumentError(f"bits per pixel are {bpp:g}; they must be above 0")
    height, width = pixels.shape[:2]
    size = int((LECTURE_BPP if bpp is None else bpp) * height * width / 8) if nbytes is None else nbytes
    if size < 1:
        raise ArgumentError(f"the size is {size} bytes; it must be 1 or more")
    return size


def at_size(
    picture: str, pixels: np.ndarray, codecs: Sequence[Codec], nbytes: int, scored: bool | None = None
) -> Iterator[Found]:
    """What each codec makes of uint8 (H,W,3) in at most `nbytes` bytes, in their order.

    picture: its name for the rows. scored: whether SSIMULACRA2 is measured; None: where its package is installed.
    """
    scored = metrics.has_ssimulacra2() if scored is None else scored
    height, width = pixels.shape[:2]
    for codec in codecs:
        failed = Row(picture, width, height, codec.name)
        try:
            match = largest_within(codec, pixels, nbytes)
            if len(match.data) > nbytes:
                raise ImageError(results.unreached(nbytes, match.quality, len(match.data)))
            coded = measuring.code(codec, pixels, match.quality, 2 if codec.in_process else 1)
            row = measuring.row_of(picture, pixels, codec, match.quality, coded, scored)
            # one process has the memory of all codecs
            yield Found(codec, replace(row, peak_mb=math.nan), coded.decoded)
        except IntaglioError as error:
            yield Found(codec, replace(failed, error=str(error)), None)


def check_folder(folder: Path) -> None:
    """Makes the folder for `write`. Raises ArgumentError if it cannot be made or holds an evaluation."""
    if (folder / results.ROWS).exists():
        made = results.read_summary(folder).get("kind") if (folder / results.SUMMARY).exists() else None
        if made != "compare":
            raise ArgumentError(f"{folder}: holds other results, which would be lost; name another folder")
    images.make_folder(folder)


def write(folder: Path, path: Path, pixels: np.ndarray, found: Sequence[Found], asked: Asked) -> None:
    """Writes rows.csv, summary.json and kept/ into a folder that `check_folder` has passed: all but the report. What
    an earlier comparison kept there is removed.

    path: the picture's file; pixels: uint8 (H,W,3). Raises ArgumentError if something cannot be written, or another
    run writes into the folder.
    """
    with record.locked(folder):
        _write(folder, path, pixels, found, asked)


def _write(folder: Path, path: Path, pixels: np.ndarray, found: Sequence[Found], asked: Asked) -> None:
    rows = [each.row for each in found]
    if (folder / results.ROWS).exists():  # else kept/ is not ours
        shutil.rmtree(folder / results.KEPT, ignore_errors=True)
    results.write_rows(folder / results.ROWS, rows)
    for each in found:
        if each.decoded is not None:
            measuring.keep(folder, each.row, pixels, each.decoded, each.codec)
    height, width = pixels.shape[:2]
    target = {"bytes": asked.nbytes, "bpp": metrics.bits_per_pixel(asked.nbytes, width, height)}
    about = record.Record(
        kind="compare",
        command=asked.command,
        conditions={"threads": asked.threads, "repeats": 1, "timed": True},
        codecs={each.codec.name: {"label": each.codec.label, "about": each.codec.about} for each in found},
        digests={path.name: record.digest(path)},
        more={"jobs": 1, "timing": _TIMING, "memory": _MEMORY, "target": target},
    )
    record.write(folder, about, rows)


def closest_to_bytes(codec: Codec, pixels: np.ndarray, nbytes: int) -> Match:
    """The setting whose file is closest to `nbytes`, by absolute difference, of those tried; of two, the smaller file.

    Tried are the steps of a bisection and their neighbours: enough where sizes rise but for small dents. Raises what
    `encode` raises.
    """
    files = _files_around(codec, pixels, nbytes)
    best = min(files, key=lambda index: (abs(len(files[index]) - nbytes), len(files[index]), index))
    return Match(codec.qualities[best], files[best])


def largest_within(codec: Codec, pixels: np.ndarray, nbytes: int) -> Match:
    """The setting whose file is closest to `nbytes` and not above, of those tried; of equal files the last; if all are
    larger, the smallest.

    Tried are the steps of a bisection and their neighbours: enough where sizes rise but for small dents. A codec whose
    sizes go far up and down may have a closer one elsewhere. Raises what `encode` raises.
    """
    files = _files_around(codec, pixels, nbytes)
    fitting = [index for index, data in files.items() if len(data) <= nbytes]
    if fitting:
        best = max(fitting, key=lambda index: (len(files[index]), index))
    else:
        best = min(files, key=lambda index: (len(files[index]), index))
    return Match(codec.qualities[best], files[best])


def _files_around(codec: Codec, pixels: np.ndarray, nbytes: int) -> dict[int, bytes]:
    """Files by the index of their setting: those of a bisection for `nbytes`, and two neighbours on either side of
    where it ends, because sizes do not rise strictly.
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
    return files
