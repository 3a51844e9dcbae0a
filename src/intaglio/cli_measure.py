"""The commands `intaglio evaluate` and `intaglio compare`; what they do is imported when they run."""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from intaglio.errors import ArgumentError

if TYPE_CHECKING:
    from rich.table import Table

    from intaglio.compare import Found
    from intaglio.results import Mean

_CODEC = typer.Option(
    "--codec", "-c", help="One of them, such as jpeg; may be repeated. Default: Intaglio and all peers but programs."
)
_MODEL = typer.Option("--model", "-m", help="A shipped model's name, or a .itgm file, for Intaglio; may be repeated.")
_QUALITIES = typer.Option(
    "--qualities",
    "-q",
    help="Settings, such as 10,50,90 for every codec or jpeg=10,50 for one; may be repeated. Default: twelve each.",
)
_THREADS = typer.Option("--threads", min=1, help="Threads for Intaglio's networks; the peers have one.")


@dataclass(frozen=True)
class Evaluate:
    """What `intaglio evaluate` is asked for."""

    pictures: Annotated[list[Path], typer.Argument(help="Folders of pictures, or picture files.")]
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the results; a run that stopped goes on there.")]
    codec: Annotated[list[str] | None, _CODEC] = None
    qualities: Annotated[list[str] | None, _QUALITIES] = None
    model: Annotated[list[str] | None, _MODEL] = None
    threads: Annotated[int, _THREADS] = 1
    jobs: Annotated[int, typer.Option(min=1, help="Pictures at a time; above 1 nothing is timed.")] = 1
    repeats: Annotated[int, typer.Option(min=1, help="Timed calls of which the best counts.")] = 1
    keep: Annotated[bool, typer.Option("--keep", help="Keep the decoded pictures, for the report.")] = False
    ssimulacra2: Annotated[
        bool | None, typer.Option(help="Measure it; the slowest measure. Default: where its package is installed.")
    ] = None
    published: Annotated[
        Path | None, typer.Option(help="CSV of published curves to show beside: method, bpp, psnr_rgb_db, ms_ssim.")
    ] = None


@dataclass(frozen=True)
class Compare:
    """What `intaglio compare` is asked for."""

    picture: Annotated[Path, typer.Argument(help="Picture file: JPEG, PNG, WebP, AVIF, TIFF, ...")]
    nbytes: Annotated[int | None, typer.Option("--bytes", "-b", help="Size that no file may exceed.")] = None
    bpp: Annotated[float | None, typer.Option(help="The same in bits per pixel; default 0.113.")] = None
    codec: Annotated[list[str] | None, _CODEC] = None
    model: Annotated[list[str] | None, _MODEL] = None
    threads: Annotated[int, _THREADS] = 1
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder for a report and the pictures.")] = None
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False


def register(app: typer.Typer) -> None:
    """Adds the commands to the command line."""
    app.command("evaluate")(command(Evaluate, evaluate, "Measure codecs on pictures: real files, rows, a report."))
    app.command("compare")(command(Compare, compare, "Compare codecs on a picture at one file size."))


def command(kind: type, work: Callable[[Any], None], told: str) -> Callable[..., None]:
    """A command whose options are the fields of a dataclass: Typer reads them from a signature."""

    def named(**values: Any) -> None:
        work(kind(**values))

    hints = get_type_hints(kind, include_extras=True)
    given = inspect.signature(kind).parameters.values()
    parameters = [each.replace(annotation=hints[each.name]) for each in given]
    named.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    named.__annotations__ = {each.name: each.annotation for each in parameters}
    named.__doc__ = told
    return named


def evaluate(asked: Evaluate) -> None:
    """Runs an evaluation, prints its means, writes its report. Exits with 1 if a row has an error."""
    from intaglio import evaluate as work
    from intaglio import results
    from intaglio.codecs import choose

    pictures = work.find_pictures(asked.pictures)
    chosen = choose(asked.codec or (), asked.model or (), asked.threads)
    for name, reason in chosen.missing.items():
        _tell(f"{name} is left out: {reason}")
    plan = work.Plan(
        pictures,
        tuple(chosen.codecs.values()),
        asked.out,
        _settings(asked.qualities or [], list(chosen.codecs)),
        threads=asked.threads,
        jobs=asked.jobs,
        repeats=asked.repeats,
        keep=asked.keep,
        ssimulacra2=asked.ssimulacra2,
        published=asked.published,
        command=("intaglio", *sys.argv[1:]),
    )
    with _Bar() as bar:
        rows = work.run(plan, bar, _tell)
    _console().print(_means_table(results.means(rows)))
    _report(asked.out)
    errors = sum(bool(row.error) for row in rows)
    said = "no errors" if not errors else "1 error" if errors == 1 else f"{errors} errors"
    typer.echo(f"{len(rows) - errors} rows, {said}: {asked.out / results.REPORT}")
    if errors:
        raise typer.Exit(1)


def compare(asked: Compare) -> None:
    """Runs a comparison, prints it, writes it where asked. Exits with 1 if no codec has a picture at that size."""
    from intaglio import compare as work
    from intaglio import images, results
    from intaglio.codecs import choose

    if asked.out is not None:
        results.check_name(asked.picture)
        work.check_folder(asked.out)
    chosen = choose(asked.codec or (), asked.model or (), asked.threads)
    for name, reason in chosen.missing.items():
        _tell(f"{name} is left out: {reason}")
    loaded = images.load(asked.picture)
    for notice in loaded.notices:
        _tell(f"{asked.picture}: {notice}")
    pixels = images.to_rgb(loaded.pixels)
    nbytes = work.target_bytes(pixels, asked.nbytes, asked.bpp)
    codecs, found = list(chosen.codecs.values()), []
    with _Bar() as bar:
        bar(0, len(codecs), "")
        for each in work.at_size(asked.picture.name, pixels, codecs, nbytes):
            found.append(each)
            bar(len(found), len(codecs), each.codec.label)
    if asked.out is not None:
        work.write(
            asked.out, asked.picture, pixels, found, work.Asked(nbytes, asked.threads, ("intaglio", *sys.argv[1:]))
        )
        _report(asked.out)
    if asked.as_json:
        rows = [results.plain(asdict(each.row)) for each in found]
        typer.echo(json.dumps({"picture": str(asked.picture), "bytes": nbytes, "rows": rows}))
    else:
        _console().print(_comparison_table(f"{asked.picture}: closest to, and not above, {nbytes:,} bytes", found))
        for each in found:
            if each.row.error:
                typer.echo(f"{each.codec.label}: {each.row.error}")
    if not any(each.decoded is not None for each in found):
        raise typer.Exit(1)


def _report(folder: Path) -> None:
    from intaglio import report

    with _Bar() as bar:
        report.write(folder, lambda done, total: bar(done, total, "report.html"))


def _tell(line: str) -> None:
    typer.echo(line, err=True)


def _settings(words: list[str], names: list[str]) -> dict[str, tuple[float, ...]]:
    """Settings by codec: of words such as "10,50" for all, or "jpeg=10,50" for one, which counts before."""
    for_all: tuple[float, ...] = ()
    for_one: dict[str, tuple[float, ...]] = {}
    for word in words:
        name, equals, numbers = word.rpartition("=")
        try:
            settings = tuple(dict.fromkeys(float(number) for number in numbers.split(",")))
        except ValueError:
            raise ArgumentError(f"--qualities {word}: numbers with commas between are needed, as in 10,50,90") from None
        if equals:
            for_one[name] = settings
        else:
            for_all = settings
    return (dict.fromkeys(names, for_all) if for_all else {}) | for_one


class _Bar:
    """A progress bar with the time left on stderr, if that is a terminal; called with steps done, in all, a text."""

    def __init__(self) -> None:
        from rich import progress
        from rich.console import Console

        columns = (
            progress.TextColumn("{task.description}"),
            progress.BarColumn(),
            progress.MofNCompleteColumn(),
            progress.TimeElapsedColumn(),
            progress.TimeRemainingColumn(),
        )
        self._bar = progress.Progress(*columns, console=Console(stderr=True), transient=True, disable=not _terminal())
        self._task = self._bar.add_task("starting")

    def __enter__(self) -> _Bar:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def __call__(self, done: int, total: int, text: str) -> None:
        self._bar.update(self._task, completed=done, total=total, description=text or "starting")


def _terminal() -> bool:
    return sys.stderr.isatty()


def _console() -> Any:
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 140)


def _table(title: str, headings: tuple[str, ...]) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    table.add_column("codec", no_wrap=True)
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _number(value: float, digits: int) -> str:
    return "" if value != value else f"{value:,.{digits}f}"


def _measures(each: Any) -> tuple[str, ...]:
    """PSNR of RGB, luma, chroma, MS-SSIM, SSIMULACRA2, seconds of a row or a mean."""
    decibels = (_number(value, 2) for value in (each.psnr, each.psnr_y, each.psnr_c))
    seconds = (_number(value, 3) for value in (each.encode_s, each.decode_s))
    return (*decibels, _number(each.ms_ssim, 4), _number(each.ssimulacra2, 1), *seconds)


_HEADINGS = ("bytes", "bpp", "PSNR", "luma", "chroma", "MS-SSIM", "SSIMU2", "enc s", "dec s")


def _means_table(means: list[Mean]) -> Table:
    table = _table("means over the pictures", ("setting", "pictures", *_HEADINGS))
    for mean in means:
        size = _number(mean.bytes, 0), _number(mean.bpp, 4)
        table.add_row(mean.codec, mean.setting, str(mean.pictures), *size, *_measures(mean))
    return table


def _comparison_table(title: str, found: list[Found]) -> Table:
    table = _table(title, ("setting", *_HEADINGS))
    for each in found:
        row = each.row
        size = () if row.error else (_number(row.bytes, 0), _number(row.bpp, 4))
        table.add_row(each.codec.label, row.setting, *size, *(() if row.error else _measures(row)))
    return table
