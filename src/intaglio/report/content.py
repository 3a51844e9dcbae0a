"""The figures of the page: rows, means, BD-rates and circumstances as one object that JSON can hold."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from intaglio import metrics, results
from intaglio.errors import ArgumentError
from intaglio.results import Row

MAX_POINTS = 60_000  # rows of single pictures on the page; about 6 MB of it
_DIGITS = 6
_COLUMNS = ("bytes", *results.MEASURES)
_LABELS = {
    "intaglio": "Intaglio",
    "jpeg": "JPEG 4:2:0",
    "jpegopt": "JPEG 4:2:0 optimised",
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
_Shape = type | tuple[Any, ...] | list[Any] | dict[Any, Any]
_TEXT = (str, type(None))
_NUMBER = (int, float, str, type(None))  # an infinite one is a text
_CELL: _Shape = {"anchor": str, "test": str, "reason": _TEXT} | dict.fromkeys(
    ("rate", "interval_low", "interval_high", "low", "high", "pictures"), _NUMBER
)
_MATRIX: _Shape = {"metric": str, "codecs": [str], "cells": [_CELL], "notices": [str]}
_SHAPES: dict[str, _Shape] = {
    "codecs": {str: {"label": _TEXT, "about": _TEXT}},
    "pictures": [dict],
    "environment": dict,
    "target": {"bytes": _NUMBER, "bpp": _NUMBER},
    "published": {str: [dict.fromkeys(("bpp", "psnr", "ms_ssim"), _NUMBER)]},
}


def check(summary: Mapping[str, Any], where: str) -> None:
    """Raises ArgumentError, which begins with `where`, if a part of a summary that the page shows has another shape
    than `results` describes. What is missing or null passes.
    """
    rates = summary.get("bd_rate")
    shapes = _SHAPES | {"bd_rate": _MATRIX if isinstance(rates, Mapping) and "cells" in rates else {str: _MATRIX}}
    for name, shape in shapes.items():
        if summary.get(name) is not None and not _has_shape(summary[name], shape):
            raise ArgumentError(f"{where}: {name} is damaged; run the evaluation again")


def _has_shape(value: object, shape: _Shape) -> bool:
    """Shapes: types; [shape of each item]; {name: shape where it is there}; {str: shape of each value}."""
    if isinstance(shape, list):
        return isinstance(value, list) and all(_has_shape(each, shape[0]) for each in value)
    if isinstance(shape, dict):
        if not isinstance(value, Mapping):
            return False
        every = shape.get(str)
        return all(_has_shape(each, every or shape.get(name, object)) for name, each in value.items())
    return isinstance(value, shape)


def gather(rows: Sequence[Row], summary: Mapping[str, Any]) -> dict[str, Any]:
    """What the page shows but for its pictures, as JSON can hold it, of a summary that has passed `check`.

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
    known = summary.get("codecs") or {}
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
            "codecs": [_codec(key, known) for key in codecs],
            "points": points,
            "crowded": crowded,
            "means": [
                [codecs[mean.codec], mean.setting, mean.pictures, *_numbers(mean)] for mean in results.means(averaged)
            ],
            "published": _published(summary.get("published") or {}),
            "bd_rate": _bd_rate(summary.get("bd_rate") or {}),
            "errors": _errors(rows),
        }
    )


def picture_names(rows: Sequence[Row]) -> list[str]:
    """Each picture of the rows once, in their order."""
    return list(dict.fromkeys(row.picture for row in rows))


def _codec(key: str, known: Mapping[str, Any]) -> dict[str, str]:
    about = known.get(key, {})
    return {
        "key": key,
        "label": str(about.get("label") or _LABELS.get(key, key)),
        "about": str(about.get("about") or ""),
    }


def _numbers(source: object) -> list[float]:
    return [_rounded(float(getattr(source, name))) for name in _COLUMNS]


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) and value < 10**_DIGITS else value


def _published(curves: Mapping[str, Any]) -> dict[str, list[list[float]]]:
    """[bpp, psnr, ms_ssim_db] of each point."""
    return {method: [_published_point(point) for point in points] for method, points in curves.items()}


def _published_point(point: Mapping[str, Any]) -> list[float]:
    bpp, psnr, ms_ssim = (_number(point.get(name)) for name in ("bpp", "psnr", "ms_ssim"))
    return [bpp, psnr, math.nan if math.isnan(ms_ssim) else metrics.ms_ssim_db(ms_ssim)]


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else math.nan


def _bd_rate(found: Mapping[str, Any]) -> dict[str, Any]:
    """Matrices by metric, of one matrix or of several by metric."""
    by_metric = {found.get("metric", "psnr"): found} if "cells" in found else found
    return {metric: each for metric, each in by_metric.items() if {"cells", "codecs"} <= each.keys()}


def _errors(rows: Sequence[Row]) -> dict[str, Any]:
    """A line for each row without figures, and how many are more than a size that no setting reaches."""
    lines = [
        ", ".join(filter(None, (row.picture, row.codec, row.setting and f"setting {row.setting}"))) + f": {row.error}"
        for row in rows
        if row.error
    ]
    return {"count": sum(bool(row.error) and not row.unreached for row in rows), "lines": lines}
