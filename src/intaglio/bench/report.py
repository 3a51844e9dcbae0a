"""The benchmark's figures as tables: for people on a terminal, and as Markdown for the documentation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from intaglio.bench.coder import Cold, Report, Row, Section, Times

_SPEED_HEADS = ("coder", "encode", "median", "decode", "median", "bits", "over ideal", "x encode", "x decode")
_COLD_HEADS = ("coder", "encode", "median", "decode", "median", "x encode", "x decode")
_WIDE = 112  # columns of a terminal that all of a table takes
_LEGEND = (
    "Encode, decode: millions of symbols a second, best and median of the rounds, one thread. Bits: coded bits per "
    "symbol. x encode, x decode: how many times as fast the fastest of ours is, best to best."
)
_COLD_LEGEND = "Cold caches: microseconds per call, best and median, each call after a walk through 64 MB."


@dataclass(frozen=True)
class _Sheet:
    """A table as text: its title and heads, and for each row its cells; a row that failed is a name and a fault."""

    title: str
    heads: tuple[str, ...]
    rows: list[tuple[str, ...]]


def show(report: Report, console: Console) -> None:
    """Prints the tables for people."""
    for sheet in _sheets(report):
        if console.width < _WIDE:
            sheet = _narrow(sheet)
        table = Table(title=sheet.title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
        for number, head in enumerate(sheet.heads):
            table.add_column(head, justify="right" if number else "left", no_wrap=True)
        faults = []
        for row in sheet.rows:
            if len(row) == len(sheet.heads):
                table.add_row(*row)
            else:
                faults.append(": ".join(row))
        console.print(table)
        for fault in faults:
            console.print(f"error: {fault}\n", markup=False, highlight=False)
    for line in (_LEGEND, _COLD_LEGEND, *_remarks(report)):
        console.print(line, markup=False, highlight=False)


def _narrow(sheet: _Sheet) -> _Sheet:
    """The sheet without the columns that a narrow terminal has no room for."""
    kept = [number for number, head in enumerate(sheet.heads) if head not in ("median", "bits")]
    rows = [tuple(row[number] for number in kept) if len(row) == len(sheet.heads) else row for row in sheet.rows]
    return _Sheet(sheet.title, tuple(sheet.heads[number] for number in kept), rows)


def markdown(report: Report) -> str:
    """The same tables in Markdown, with a line feed at the end."""
    blocks = []
    for sheet in _sheets(report):
        width = len(sheet.heads)
        lines = [_line(sheet.heads), _line(("---", *["---:"] * (width - 1)))]
        lines += [_line((*row, *[""] * (width - len(row)))) for row in sheet.rows]
        blocks.append(f"### {sheet.title}\n\n" + "\n".join(lines))
    remarks = "\n".join(f"* {line}" for line in (_LEGEND, _COLD_LEGEND, *_remarks(report)))
    return "\n\n".join([*blocks, remarks]) + "\n"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _sheets(report: Report) -> list[_Sheet]:
    sheets = [
        _Sheet(_title(each), _SPEED_HEADS, [_speed_cells(row, each) for row in each.rows]) for each in report.sections
    ]
    for name in dict.fromkeys(row.workload for row in report.cold):
        rows = [row for row in report.cold if row.workload == name]
        title = f"{name}, {rows[0].symbols:,} symbols, cold caches"
        sheets.append(_Sheet(title, _COLD_HEADS, [_cold_cells(row) for row in rows]))
    return sheets


def _title(section: Section) -> str:
    return f"{section.workload}, {section.symbols:,} symbols, ideal {section.ideal_bits:.5f} bits per symbol"


def _speed_cells(row: Row, section: Section) -> tuple[str, ...]:
    name = f"{row.coder}, {row.implementation}"
    if row.symbols < section.symbols:
        name += f" (first {row.symbols:,})"
    if row.encode is None or row.decode is None:
        return name, row.error or "no figures"
    return (
        name,
        *(_speed(value) for times in (row.encode, row.decode) for value in (times.best, times.median)),
        "" if row.bits is None else f"{row.bits:.5f}",
        "" if row.overhead is None else f"{row.overhead:+.3f} %",
        *_ratios(row),
    )


def _ratios(row: Row | Cold) -> tuple[str, str]:
    encode, decode = ("" if ratio is None else f"{ratio:.1f}" for ratio in (row.encode_ratio, row.decode_ratio))
    return encode, decode


def _cold_cells(row: Cold) -> tuple[str, ...]:
    name = f"{row.coder}, {row.implementation}"
    if row.encode is None or row.decode is None:
        return name, row.error or "no figures"
    return name, *_microseconds(row.encode), *_microseconds(row.decode), *_ratios(row)


def _speed(value: float) -> str:
    return f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def _microseconds(times: Times) -> tuple[str, str]:
    return f"{times.best:,.0f}", f"{times.median:,.0f}"


def _remarks(report: Report) -> list[str]:
    """What is to be known about the run, a line each."""
    about = dict.fromkeys(f"{each.workload}: {each.about}; ideal: {each.ideal}." for each in report.sections)
    versions = [f"{name} {version}" for name, version in report.peers.items()]
    run = [f"{report.rounds} rounds", f"Python {report.python}", f"NumPy {report.numpy}", *versions, report.machine]
    missing = [f"{name}: {reason}." for name, reason in report.missing.items()]
    notes = [f"{note[0].upper()}{note[1:]}." for note in report.notes]
    return [*about, ", ".join(run) + ".", *missing, *notes]
