"""What `intaglio bdrate` says: two curves beside each other, or a table of all codecs of an evaluation."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import NamedTuple

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from intaglio import bdrate, rdcurves, results
from intaglio.errors import ArgumentError


@dataclass(frozen=True)
class Question:
    """What is asked: one or two files, up to two names of curves in them, the rest as `bdrate` has it."""

    files: Sequence[Path]
    names: Sequence[str]
    metric: str
    min_overlap: float
    pictures: bool


class Said(NamedTuple):
    """The answer, and lines on what was left out."""

    answer: str
    notices: tuple[str, ...]


def told(question: Question, as_json: bool) -> Said:
    """The answer for people, or as one JSON object. Raises ArgumentError for what cannot be compared."""
    files, names = question.files, question.names
    if len(files) > 2 or len(names) > 2:
        raise ArgumentError("a BD-rate is between two curves; give one or two files and at most two --codec")
    if len(files) == 1 and len(names) == 1:
        raise ArgumentError("one file and one --codec are one curve; name a second codec or file")
    options = bdrate.Options(min_overlap=question.min_overlap)
    if len(files) == 1 and not names:
        return _matrix(bdrate.matrix(results.read_rows(_rows(files[0])), question.metric, options), as_json)
    found = bdrate.compare(*_curves(question), options)
    if as_json:
        how = {"resamples": options.resamples, "seed": options.seed, "min_overlap": options.min_overlap}
        return Said(json.dumps(results.plain({**asdict(found), **how}), allow_nan=False), found.notices)
    return Said("\n".join(_lines(found, options, question.pictures)), found.notices)


def _rows(path: Path) -> Path:
    return path / results.ROWS if path.is_dir() else path


def _curves(question: Question) -> tuple[rdcurves.Curve, rdcurves.Curve]:
    """The anchor and the test; where both have one name, they carry the file's too."""
    paths = [_rows(question.files[0]), _rows(question.files[-1])]
    chosen = [question.names[0], question.names[-1]] if question.names else [None, None]
    if len(question.names) == 1:
        named = [rdcurves.has_names(path) for path in paths]
        # beside one curve without a name, the name is for the table
        chosen = [name if has or not any(named) else None for name, has in zip(chosen, named, strict=True)]
    anchor, test = (rdcurves.read(path, question.metric, name) for path, name in zip(paths, chosen, strict=True))
    if anchor.name == test.name and paths[0] != paths[1]:
        anchor = replace(anchor, name=f"{anchor.name} of {paths[0]}")
        test = replace(test, name=f"{test.name} of {paths[1]}")
    return anchor, test


def _lines(found: bdrate.Comparison, options: bdrate.Options, pictures: bool) -> list[str]:
    unit = rdcurves.unit(found.metric)
    count = f"mean of {found.pictures} pictures" if found.pictures else "mean curves"
    lines = [f"{found.test} against {found.anchor}, {found.metric}, {count}"]
    interval = f"no interval ({bdrate.MIN_PICTURES} pictures or more are needed)"
    if found.left_out:
        interval = f"no interval ({found.left_out} of {options.resamples} resamples have no BD-rate)"
    if found.interval:
        low, high = found.interval
        drawn = f"{options.resamples} resamples of the pictures, seed {options.seed}"
        drawn += f", {found.left_out} left out" if found.left_out else ""
        interval = f"95 % interval {low:+.2f} to {high:+.2f} % ({drawn})"
    lines.append(f"BD-rate {found.rate:+.2f} %, {interval}")
    same = "the curves share no rate" if math.isnan(found.quality) else f"at the same rate {found.quality:+.3f} {unit}"
    lines.append(f"{same}; BD-rate by the classical cubic {found.cubic:+.2f} %")
    shares = f"{found.share_anchor:.0%} of {found.anchor}'s range, {found.share_test:.0%} of {found.test}'s"
    lines.append(f"compared from {found.low:.2f} to {found.high:.2f} {unit}: {shares}")
    if own := found.per_picture:
        missing = f"; {own.undefined} without, for want of overlap" if own.undefined else ""
        lines.append(f"BD-rates of single pictures: mean {own.mean:+.2f} %, median {own.median:+.2f} %{missing}")
        if pictures:
            lines += [f"  {_percent(rate, 2):>10}  {name}" for name, rate in own.rates.items()]
    return lines


def _percent(value: float, digits: int = 1) -> str:
    return "-" if math.isnan(value) else f"{value:+.{digits}f} %"


def _matrix(found: bdrate.Matrix, as_json: bool) -> Said:
    if len(found.codecs) < 2:
        raise ArgumentError("the file has fewer than two codecs, so there is nothing to compare; name a second file")
    reasons = list(dict.fromkeys(cell.reason for cell in found.cells if cell.reason))
    if all(cell.reason for cell in found.cells):
        raise ArgumentError("; ".join(reasons))
    notices = (*found.notices, *reasons)
    if as_json:
        return Said(json.dumps(results.plain(found), allow_nan=False), notices)
    table = Table(
        title=f"BD-rate of the row against the column by {found.metric}; 95 % interval",
        title_justify="left",
        box=SIMPLE_HEAD,
    )
    table.add_column("", no_wrap=True)
    for name in found.codecs:
        table.add_column(name, justify="right", no_wrap=True)
    for test in found.codecs:
        cells = [found.cell(anchor, test) if test != anchor else None for anchor in found.codecs]
        table.add_row(test, *("" if cell is None else _cell(cell) for cell in cells))
    out = io.StringIO()
    Console(file=out, width=len(found.codecs) * 20 + 20).print(table)
    return Said("\n".join(line.rstrip() for line in out.getvalue().strip("\n").splitlines()), notices)


def _cell(cell: bdrate.Cell) -> str:
    if math.isnan(cell.interval_low):
        return _percent(cell.rate)
    return f"{_percent(cell.rate)}\n{cell.interval_low:+.1f} to {cell.interval_high:+.1f}"
