"""Codecs on pictures: a row for each picture, codec and setting, into a folder of results (see `intaglio.results`).

Seconds and memory are taken only when one picture is coded at a time. Then every codec has a process of its own that
does nothing but code: the first call is not counted, the measures are computed elsewhere while it waits, and its peak
memory is not that of another codec. With several jobs the pictures are shared out, and those columns stay empty.

Processes are started afresh ("spawn"): a script that calls `run` needs `if __name__ == "__main__":` around it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from intaglio import images, measuring, metrics, record, results
from intaglio.codecs import Codec, check_quality
from intaglio.errors import ArgumentError
from intaglio.measuring import How, Task, one_at_a_time, several_at_a_time
from intaglio.results import ROWS, Row

_SUFFIXES = frozenset(
    (".png", ".jpg", ".jpeg", ".webp", ".avif", ".jp2", ".j2k", ".tif", ".tiff", ".bmp", ".ppm", ".pgm", ".gif", ".qoi")
)
_SEVERAL = "not taken: several pictures were coded at a time"
_TIMING = (
    "wall clock of whole calls from pixels to bytes and back, the best of the repeats, one call at a time, after an "
    "uncounted first one; programs with their start, their files and the conversion of colours"
)
_MEMORY = (
    "peak resident memory (VmHWM, set back before) of a process that only codes with this codec, Python, libraries, "
    "model and picture included; not taken of programs"
)
Progress = Callable[[int, int, str], None]  # points done, points in all, what was last
Tell = Callable[[str], None]  # gets lines for a person


@dataclass(frozen=True)
class Plan:
    """What to evaluate. pictures: files; their names must differ. qualities: settings by a codec's name, where not its
    `usual` ones. threads: of Intaglio, for the summary. jobs: pictures at a time. repeats: timed calls, the best
    counts. keep: whether decoded pictures are kept. ssimulacra2: whether to measure it; None: where its package is
    installed. published: a file of other people's curves. command: the words that a person gave, for the summary.
    """

    pictures: tuple[Path, ...]
    codecs: tuple[Codec, ...]
    out: Path
    qualities: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    threads: int = 1
    jobs: int = 1
    repeats: int = 1
    keep: bool = False
    ssimulacra2: bool | None = None
    published: Path | None = None
    command: tuple[str, ...] = ()

    @property
    def scored(self) -> bool:
        """Whether SSIMULACRA2 is measured."""
        return metrics.has_ssimulacra2() if self.ssimulacra2 is None else self.ssimulacra2

    def settings(self, codec: Codec) -> tuple[float, ...]:
        """The settings of a codec in this evaluation."""
        return tuple(self.qualities.get(codec.name, codec.usual))


def find_pictures(paths: Iterable[Path]) -> tuple[Path, ...]:
    """The picture files of folders, by name, and the files that are named themselves; each file once.

    Raises ArgumentError for a path that does not exist, a folder without pictures, two pictures of one name, and a
    name that is not UTF-8 or has control characters.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(each for each in path.iterdir() if each.suffix.lower() in _SUFFIXES and each.is_file())
            if not inside:
                raise ArgumentError(f"{path}: holds no pictures; a folder with .png, .webp, .jpg or such is needed")
            found += inside
        elif path.exists():
            found.append(path)
        else:
            raise ArgumentError(f"{path}: there is no such file or folder")
    by_name: dict[str, Path] = {}
    for path in found:
        results.check_name(path)
        first = by_name.setdefault(path.name, path)
        if first.resolve() != path.resolve():
            raise ArgumentError(f"{first} and {path} have the same name; rename one")
    return tuple(by_name.values())


def run(plan: Plan, progress: Progress | None = None, tell: Tell | None = None) -> list[Row]:
    """Measures what the folder does not hold yet, and returns all its rows, those with an error too.

    A row is written as soon as it is there, so a run that was stopped goes on where it was; rows with an error are
    tried again, and so are those of a codec or a picture that has changed since. Raises ArgumentError for a wrong plan,
    a folder that was filled under other conditions, cannot be written or is being filled by another run, ImageError if
    a process breaks.
    """
    _check(plan)
    said = _Once(tell)
    with record.locked(plan.out):
        about = _record(plan)
        rows = _resumed(plan, about, said)
        record.write(plan.out, about, rows, finished=False)
        rows = _ordered([*rows, *_measured(plan, rows, progress or (lambda done, total, text: None), said)], plan)
        results.write_rows(plan.out / ROWS, rows)
        record.write(plan.out, about, rows)
    return rows


def _measured(plan: Plan, rows: Iterable[Row], report: Progress, tell: Tell) -> list[Row]:
    """What the plan has besides `rows`, added to the folder's file as it gets done."""
    keys = {row.key for row in rows}
    todo = [Task(codec, path, _missing(plan, codec, path, keys)) for codec in plan.codecs for path in plan.pictures]
    todo = [task for task in todo if task.settings]
    total, count, found = sum(len(task.settings) for task in todo), 0, list[Row]()
    report(count, total, "")
    how = How(plan.repeats, plan.scored, plan.out if plan.keep else None)
    # closed at once if this is left early: its processes must not work on
    with closing(one_at_a_time(todo, how) if plan.jobs == 1 else several_at_a_time(todo, how, plan.jobs)) as work:
        for done in work:
            count += done.count
            for notice in done.notices:
                tell(f"{done.task.path}: {notice}")
            for row in done.rows:
                if row.error:
                    where = f" with {row.codec} at {row.setting}" if row.codec else ""
                    tell(f"{done.task.path}{where}: {row.error}")
            results.append_rows(plan.out / ROWS, done.rows)
            found += done.rows
            report(count, total, f"{done.task.codec.name} {done.task.path.name}")
    return found


class _Once:
    """Passes each line on once."""

    def __init__(self, tell: Tell | None) -> None:
        self._tell, self._said = tell, set[str]()

    def __call__(self, line: str) -> None:
        if self._tell and line not in self._said:
            self._tell(line)
        self._said.add(line)


def _check(plan: Plan) -> None:
    names = [codec.name for codec in plan.codecs]
    if unknown := [name for name in plan.qualities if name not in names]:
        raise ArgumentError(f"qualities are given for {unknown[0]}, which is not evaluated; that is {', '.join(names)}")
    for codec in plan.codecs:
        for quality in plan.settings(codec):
            check_quality(codec.name, quality, codec.qualities)
    if plan.jobs < 1 or plan.repeats < 1 or (plan.jobs > 1 and plan.repeats > 1):
        raise ArgumentError("jobs and repeats must be 1 or more, and one of them 1: several jobs are never timed")
    if plan.scored and not metrics.has_ssimulacra2():
        raise ArgumentError(metrics.NO_SSIMULACRA2)
    images.make_folder(plan.out)


def _record(plan: Plan) -> record.Record:
    timed = plan.jobs == 1
    return record.Record(
        kind="evaluate",
        command=plan.command,
        conditions={
            "threads": plan.threads,
            "repeats": plan.repeats,
            "timed": timed,
            "ssimulacra2": plan.scored,
            **({"processor": record.environment()["processor"]} if timed else {}),
        },
        codecs={codec.name: {"label": codec.label, "about": codec.about} for codec in plan.codecs},
        digests={path.name: record.digest(path) for path in plan.pictures},
        published=results.read_published(plan.published) if plan.published else {},
        more={
            "jobs": plan.jobs,
            "timing": _TIMING if timed else _SEVERAL,
            "memory": _MEMORY if timed else _SEVERAL,
        },
    )


def _resumed(plan: Plan, about: record.Record, tell: Tell) -> list[Row]:
    """The folder's rows that stay good under this plan; its file holds just these afterwards, and nothing is kept of
    the others.
    """
    path = plan.out / ROWS
    old = _old_rows(path, tell)
    codecs, pictures = record.changed(plan.out, about, old, tell)
    rows = [row for row in old if not (row.error or row.codec in codecs or row.picture in pictures)]
    measuring.forget(plan.out, pictures, [row for row in old if row.codec in codecs])
    if path.exists():
        results.write_rows(path, rows)
    if rows:
        tell(f"{plan.out}: goes on with the {len(rows)} rows it holds")
    asked = {
        (path.name, each.name, f"{q:g}") for path in plan.pictures for each in plan.codecs for q in plan.settings(each)
    }
    if more := sum(row.key not in asked for row in rows):
        tell(f"{plan.out}: {more} of them are of pictures, codecs or settings not asked for now; they stay there")
    return rows


def _old_rows(path: Path, tell: Tell) -> list[Row]:
    """The rows of a file that may have been cut in a line, even the heading, or not be there."""
    if not path.exists():
        return []
    results.cut_unfinished(path)
    if not path.stat().st_size:
        tell(f"{path}: its heading was cut short, so it held no rows; it is begun anew")
        path.unlink()
        return []
    return results.read_rows(path)


def _missing(plan: Plan, codec: Codec, path: Path, keys: Collection[tuple[str, str, str]]) -> tuple[float, ...]:
    def there(setting: str) -> bool:
        kept = not plan.keep or results.kept_path(plan.out, path.name, codec.name, setting).exists()
        return (path.name, codec.name, setting) in keys and kept

    return tuple(quality for quality in plan.settings(codec) if not there(f"{quality:g}"))


def _ordered(rows: Iterable[Row], plan: Plan) -> list[Row]:
    """The last row of each key; codecs as in the plan, then others; by picture, then by rising size."""
    names = [codec.name for codec in plan.codecs]
    places = {name: place for place, name in enumerate(dict.fromkeys([*names, *(row.codec for row in rows)]))}
    last = {row.key: row for row in rows}
    return sorted(last.values(), key=lambda row: (places[row.codec], row.picture, row.bytes, row.setting))
