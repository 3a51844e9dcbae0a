"""Folders of results for the tests of the report: real photographs, really coded, by Pillow and by Intaglio."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import intaglio
from intaglio import allocation, bdrate, images, latents, metrics, results
from intaglio.results import Row

Pixels = np.ndarray
LABELS = {"intaglio": "Intaglio", "jpeg": "JPEG 4:2:0", "webp": "WebP", "avif": "AVIF"}
PUBLISHED = {
    "jpeg": [(0.2, 23.0, 0.75), (0.6, 28.0, 0.93), (1.2, 31.5, 0.97)],
    "vtm": [(0.1, 27.0, 0.9), (1.0, 36.0, 0.985)],
}


def pillow(kind: str, quality: int) -> Callable[[Pixels], bytes]:
    """An encoder of Pillow's at one quality."""

    def encode(pixels: Pixels) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, kind, quality=quality)
        return buffer.getvalue()

    return encode


def coded(picture: str, pixels: Pixels, codec: str, setting: str) -> tuple[Row, Pixels]:
    """One picture coded once: its row, and what came back."""
    quality = int(setting)
    ours = codec == "intaglio"
    encode = (lambda source: intaglio.encode(source, quality)) if ours else pillow(codec.upper(), quality)
    start = time.perf_counter()
    data = encode(pixels)
    middle = time.perf_counter()
    decoded = intaglio.decode(data) if ours else images.load(data).pixels
    end = time.perf_counter()
    luma, chroma = metrics.psnr_luma_chroma(pixels, decoded)
    height, width = pixels.shape[:2]
    similarity = metrics.ms_ssim(pixels, decoded)
    row = Row(
        picture=picture,
        width=width,
        height=height,
        codec=codec,
        setting=setting,
        bytes=len(data),
        bpp=metrics.bits_per_pixel(len(data), width, height),
        psnr=metrics.psnr(pixels, decoded),
        psnr_y=luma,
        psnr_c=chroma,
        ms_ssim=similarity,
        ms_ssim_db=metrics.ms_ssim_db(similarity),
        encode_s=middle - start,
        decode_s=end - middle,
    )
    return row, decoded


def keep(folder: Path, picture: str, pixels: Pixels, codec: str = results.ORIGINAL, setting: str = "") -> Path:
    """Keeps a picture as an evaluation does, and returns where."""
    path = results.kept_path(folder, picture, codec, setting)
    path.parent.mkdir(parents=True, exist_ok=True)
    images.save(path, pixels)
    return path


def measured(
    folder: Path, pictures: Mapping[str, Pixels], settings: Mapping[str, Sequence[int]], kept: Mapping[str, int]
) -> list[Row]:
    """Codes every picture with every codec and setting, keeps those of `kept` (setting by codec) and the original."""
    rows = []
    for name, pixels in pictures.items():
        keep(folder, name, pixels)
        for codec, setting in ((codec, setting) for codec, each in settings.items() for setting in each):
            row, decoded = coded(name, pixels, codec, str(setting))
            rows.append(row)
            if kept.get(codec) == setting:
                path = keep(folder, name, decoded, codec, str(setting))
                if codec == "intaglio":
                    allocation.save(allocation.beside(path), latents.measure(pixels, setting).allocation)
    return rows


def summarised(rows: Sequence[Row]) -> dict[str, Any]:
    """A summary.json of these rows."""
    options = bdrate.Options(resamples=50)
    return {
        "kind": "evaluate",
        "date": "2026-11-22T10:30:00+00:00",
        "command": ["intaglio", "evaluate", "examples", "--out", "results"],
        "environment": {"python": "3.11", "machine": "two cores"},
        "threads": 1,
        "timing": "best of 1, warm, one thread",
        "codecs": {
            key: {"label": LABELS[key], "about": "as installed"}
            for key in dict.fromkeys(row.codec for row in rows if row.codec)
        },
        "published": {
            method: [{"bpp": bpp, "psnr": psnr, "ms_ssim": similarity} for bpp, psnr, similarity in points]
            for method, points in PUBLISHED.items()
        },
        "bd_rate": {metric: bdrate.matrix(rows, metric, options) for metric in ("psnr", "ms_ssim_db")},
    }


def write_folder(folder: Path, rows: Sequence[Row], summary: Mapping[str, Any] | None = None) -> Path:
    """rows.csv, and summary.json if there is one."""
    folder.mkdir(parents=True, exist_ok=True)
    results.write_rows(folder / results.ROWS, rows)
    if summary is not None:
        results.write_summary(folder, summary)
    return folder


def photographs(root: Path, box: tuple[int, int, int, int] | None = None) -> Iterator[tuple[str, Pixels]]:
    """The pictures of examples/ by file name, or the same part of each."""
    for path in sorted((root / "examples").glob("*.webp")):
        with Image.open(path) as picture:
            found = picture.convert("RGB")
            yield path.name, np.asarray(found.crop(box) if box else found)
