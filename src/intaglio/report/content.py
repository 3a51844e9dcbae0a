"""The figures of the page: rows, means, BD-rates and circumstances as one object that JSON can hold."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from intaglio import metrics, results
from intaglio.results import Row

MAX_POINTS = 60_000  # rows of single pictures on the page; about 6 MB of it
_DIGITS = 6
_COLUMNS = ("bytes", *results.MEASURES)
_LABELS = {
    "intaglio": "Intaglio",
    "jpeg": "JPEG 4:2:0",
    "jpeg444": "JPEG 4:4:4",
    "jpeg2000": "JPEG 2000",
    "webp": "WebP",
    "avif": "AVIF",
    "jpegxl": "JPEG XL",
    "bpg": "BPG",
    "vtm": "VTM",
    "hm": "HM",
}
_CIRCUMSTANCES = (
    "kind",
    "date",
    "finished",
    "command",
    "environment",
    "threads",
    "jobs",
    "repeats",
    "timing",
    "memory",
    "target",
)


def gather(rows: Sequence[Row], summary: Mapping[str, Any]) -> dict[str, Any]:
    """What the page shows but for its pictures, as JSON can hold it.

    columns: names of the measures, which points and means list in this order, null where not measured, "inf" where
    infinite. codecs: {key, label, about}; pictures are listed by `kept.Gallery`. points: one for each row without an
    error, [picture, codec, setting, *columns] with indices of picture and codec; none at all above MAX_POINTS, which
    `crowded` tells. means: [codec, setting, pictures, *columns], the setting
    empty for a comparison at one size. published: by method [bpp, psnr, ms_ssim_db].
    bd_rate: by metric. errors: {count, lines}.
    """
    codecs = {key: index for index, key in enumerate(dict.fromkeys(row.codec for row in rows if row.codec))}
    pictures = {name: index for index, name in enumerate(picture_names(rows))}
    good = [row for row in rows if not row.error and row.codec]
    known = summary.get("codecs")
    crowded = len(good) > MAX_POINTS
    points = [
        [pictures[row.picture], codecs[row.codec], row.setting, *_numbers(row)] for row in ([] if crowded else good)
    ]
    # The settings of a comparison at one size differ from picture to picture and say nothing of the mean.
    averaged = [replace(row, setting="") for row in good] if summary.get("kind") == "compare" else good
    circumstances = {name: summary[name] for name in _CIRCUMSTANCES if summary.get(name) not in (None, "", {}, [])}
    return results.plain(
        {
            **circumstances,
            "columns": _COLUMNS,
            "codecs": [_codec(key, known if isinstance(known, Mapping) else {}) for key in codecs],
            "points": points,
            "crowded": crowded,
            "means": [
                [codecs[mean.codec], mean.setting, mean.pictures, *_numbers(mean)] for mean in results.means(averaged)
            ],
            "published": _published(summary.get("published")),
            "bd_rate": _bd_rate(summary.get("bd_rate")),
            "errors": _errors(rows),
        }
    )


def picture_names(rows: Sequence[Row]) -> list[str]:
    """Each picture of the rows once, in their order."""
    return list(dict.fromkeys(row.picture for row in rows))


def _codec(key: str, known: Mapping[str, Any]) -> dict[str, str]:
    told = known.get(key)
    about: Mapping[str, Any] = told if isinstance(told, Mapping) else {}
    return {
        "key": key,
        "label": str(about.get("label") or _LABELS.get(key, key)),
        "about": str(about.get("about") or ""),
    }


def _numbers(source: object) -> list[float]:
    return [_rounded(float(getattr(source, name))) for name in _COLUMNS]


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) and value < 10**_DIGITS else value


def _published(curves: object) -> dict[str, list[list[float]]]:
    """[bpp, psnr, ms_ssim_db] of each point."""
    if not isinstance(curves, Mapping):
        return {}
    return {str(method): [_published_point(point) for point in points] for method, points in curves.items()}


def _published_point(point: Mapping[str, Any]) -> list[float]:
    bpp, psnr, ms_ssim = (_number(point.get(name)) for name in ("bpp", "psnr", "ms_ssim"))
    return [bpp, psnr, math.nan if math.isnan(ms_ssim) else metrics.ms_ssim_db(ms_ssim)]


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else math.nan


def _bd_rate(found: object) -> dict[str, Any]:
    """Matrices by metric, of one matrix or of several by metric."""
    if not isinstance(found, Mapping):
        return {}
    if "cells" in found:
        return {str(found.get("metric", "psnr")): found}
    return {str(metric): each for metric, each in found.items() if isinstance(each, Mapping) and "cells" in each}


def _errors(rows: Sequence[Row]) -> dict[str, Any]:
    lines = [
        ", ".join(filter(None, (row.picture, row.codec, row.setting and f"setting {row.setting}"))) + f": {row.error}"
        for row in rows
        if row.error
    ]
    return {"count": len(lines), "lines": lines}
