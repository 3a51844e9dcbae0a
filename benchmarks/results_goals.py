"""Parts of docs/results.md: what Intaglio is meant to reach, where it lies below others, each picture by itself."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

import agreement
from intaglio import bdrate, rdcurves
from intaglio.rdcurves import Curve
from intaglio.results import Row
from tables import table

OURS = "intaglio"
GOALS = {"jpeg": -50.0, "webp": -25.0, "jpeg2000": -10.0, "avif": -5.0}  # BD-rate, percent
CROSSING_RANGE = (0.1, 1.5)  # bits per pixel
SPAN = (0.06, 1.8)  # bits per pixel that the qualities must reach at least
BESIDE = ("jpeg", "avif", "jpegxl")  # in the tables of single pictures; sorted by the second
_QUICK = bdrate.Options(resamples=0)


def measured(rows: Iterable[Row], metric: str = "psnr") -> dict[str, Curve]:
    """The curves of those codecs that have one."""
    return {name: curve for name, curve in rdcurves.from_rows(rows, metric).items() if isinstance(curve, Curve)}


def percent(rate: float) -> str:
    """A BD-rate as it is written."""
    return "-" if math.isnan(rate) else f"{rate:+.1f} %"


def goals(rows: Sequence[Row], labels: Mapping[str, str], published: Sequence[tuple[str, float, float]]) -> str:
    """A table: BD-rate by PSNR of the mean curves, goal, what is missing, and the mean of the pictures' own BD-rates.

    `published`: label, BD-rate and goal of curves not of rows.
    """
    found = bdrate.matrix(rows, options=_QUICK)
    known = [name for name in GOALS if name in found.codecs]
    single = pictures_rates(rows, known)
    own = {name: float(np.mean([rates[name] for rates in single.values()])) for name in known}
    lines = [(labels[name], found.cell(name, OURS).rate, GOALS[name], own[name]) for name in known]
    return table(
        ["Intaglio against", "BD-rate", "goal", "missing", "mean of the pictures' own"],
        [
            [label, percent(rate), f"{goal:+.0f} %", _missing(rate, goal), percent(own)]
            for label, rate, goal, own in [*lines, *((*each, math.nan) for each in published)]
        ],
    )


def _missing(rate: float, goal: float) -> str:
    return "nothing" if rate <= goal else f"{rate - goal:.1f} points"


def pictures_rates(rows: Sequence[Row], codecs: Sequence[str]) -> dict[str, dict[str, float]]:
    """Our BD-rate by PSNR against each of the codecs, in percent, by picture; NaN where it cannot be told."""
    lines = {}
    for picture in dict.fromkeys(row.picture for row in rows):
        found = bdrate.matrix([row for row in rows if row.picture == picture], options=_QUICK)
        lines[picture] = {name: found.cell(name, OURS).rate if name in found.codecs else math.nan for name in codecs}
    return lines


def crossings(rows: Sequence[Row], labels: Mapping[str, str]) -> str:
    """A table: for each codec where, from 0.1 to 1.5 bits per pixel, our mean curve lies below its own."""
    curves = measured(rows)
    grid = np.geomspace(*CROSSING_RANGE, 200)
    ours, lines = agreement.at(curves[OURS].mean, grid), []
    for name, label in labels.items():
        if name == OURS or name not in curves:
            continue
        margin = ours - agreement.at(curves[name].mean, grid)
        both = ~np.isnan(margin)
        below = grid[both & (margin < 0.0)]
        where = f"{below[0]:.2f} to {below[-1]:.2f}" if len(below) else "nowhere"
        ends = f"{margin[both].min():+.2f} to {margin[both].max():+.2f}" if both.any() else "-"
        lines.append([label, f"{grid[both][0]:.2f} to {grid[both][-1]:.2f}" if both.any() else "-", ends, where])
    return table(["against", "both reach, bpp", "PSNR less its own (dB)", "below it at, bpp"], lines)


def spanned(rows: Sequence[Row]) -> dict[str, Any]:
    """What `span` tells, of the rows of Intaglio at many qualities: their ends and number, the mean rates at the ends,
    and where PSNR does not rise: picture, quality, decibels.
    """
    qualities = sorted({float(row.setting) for row in rows})
    ends = [[row.bpp for row in rows if float(row.setting) == quality] for quality in (qualities[0], qualities[-1])]
    falls = []
    for picture in dict.fromkeys(row.picture for row in rows):
        line = sorted((float(row.setting), row.psnr) for row in rows if row.picture == picture)
        steps = [(after[0], after[1] - before[1]) for before, after in pairwise(line)]
        falls += [[picture, quality, round(rise, 4)] for quality, rise in steps if rise <= 0.0]
    return {
        "qualities": [qualities[0], qualities[-1], len(qualities)],
        "bpp": [round(float(np.mean(each)), 4) for each in ends],
        "falls": falls,
    }


def span(found: Mapping[str, Any]) -> str:
    """A sentence: the rates that the qualities reach, and whether PSNR rises with quality on every picture."""
    first, last, count = found["qualities"]
    rises = "rises from each to the next on every picture"
    if falls := found["falls"]:
        picture, quality, drop = min(falls, key=lambda fall: fall[2])
        pictures = len({each for each, _, _ in falls})
        rises = (
            f"falls at {len(falls)} steps of quality on {pictures} pictures, most by {-drop:.3f} dB "
            f"({picture}, quality {quality:g})"
        )
    return (
        f"Qualities {first:g} to {last:g} reach from {found['bpp'][0]:.3f} to {found['bpp'][1]:.2f} bpp (asked: "
        f"{SPAN[0]:g} to {SPAN[1]:g}); over {count} of them PSNR {rises}."
    )


def by_picture(rows: Sequence[Row], labels: Mapping[str, str]) -> str:
    """A table: the BD-rates of every picture by itself, the worst against AVIF first."""
    lines = [*pictures_rates(rows, BESIDE).items()]
    against = {picture: rates[BESIDE[1]] for picture, rates in lines}
    lines.sort(key=lambda line: (not math.isnan(against[line[0]]), -against[line[0]]))
    shown = [name for name in BESIDE if name in labels]
    heading = ["picture", *(f"against {labels[name]}" for name in shown)]
    return table(heading, [[name, *(percent(rates[each]) for each in shown)] for name, rates in lines])
