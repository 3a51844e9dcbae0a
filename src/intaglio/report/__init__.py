"""The report: one HTML page that shows a folder of results, made of rows.csv, summary.json and kept/.

The page needs no network and no other file. `content` gathers the figures, `kept` the pictures, `page` puts both into
the files of assets/, where Chart.js draws the curves. docs/report.md tells what a reader can do with it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from intaglio import images, results
from intaglio.errors import ArgumentError
from intaglio.report import content, kept, page

__all__ = ["LIMIT", "write"]

LIMIT = 14_000_000  # bytes of the page, at most: attachments and previews commonly end at 15 MB


def write(
    folder: str | os.PathLike[str], progress: Callable[[int, int], None] | None = None, limit: int = LIMIT
) -> Path:
    """Writes report.html into a folder of results, whole or not at all, and returns its path.

    The folder has rows.csv; summary.json and kept/ may be missing (`results` says what they hold). Pictures are put in
    whole where the page stays below `limit` bytes, else as centre crops. progress: called with pictures prepared and
    how many there are. Raises ArgumentError for rows or a summary that are missing, damaged or empty, ImageError for a
    kept picture that cannot be read.
    """
    place = Path(folder)
    rows = results.read_rows(place / results.ROWS)
    if not rows:
        raise ArgumentError(f"{place / results.ROWS}: holds no rows; run `intaglio evaluate` or `intaglio compare`")
    summary = results.read_summary(place) if (place / results.SUMMARY).exists() else {}
    content.check(summary, str(place / results.SUMMARY))
    found = content.gather(rows, summary)
    gallery = kept.Gallery(place, rows, progress)
    found["pictures"] = gallery.thumbnails()
    room = limit - len(page.build(found, []))
    found["pictures"], embedded = gallery.embed(room)
    data = page.build(found, embedded)
    if len(data) > limit:
        raise ArgumentError(f"{place}: the report would have {len(data)} bytes of {limit}; evaluate fewer pictures")
    target = place / results.REPORT
    images.atomic_write(target, data)
    return target
