"""What a folder of results says about itself: summary.json, and whether its rows still stand."""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from intaglio import bdrate, results
from intaglio.errors import ArgumentError
from intaglio.results import Row

_PACKAGES = ("intaglio", "numpy", "pillow", "onnxruntime", "pillow-jxl-plugin", "ssimulacra2")
_BD_METRICS = ("psnr", "ms_ssim_db")
# What is built upon in a summary of an earlier run, and what it must be there.
_KINDS = {"codecs": dict, "pictures": list, "published": dict, "environment": dict}


@dataclass(frozen=True)
class Record:
    """What a summary has besides its rows; `intaglio.results` says what the keys mean.

    conditions: what all rows have in common, such as threads. codecs: label and about by name. digests: SHA-256 of
    the pictures' files by name, hexadecimal; empty where unreadable. more: keys of one kind of run.
    """

    kind: str
    command: Sequence[str]
    conditions: Mapping[str, Any]
    codecs: Mapping[str, Mapping[str, str]]
    digests: Mapping[str, str]
    published: Mapping[str, Sequence[results.PublishedPoint]] = field(default_factory=dict)
    more: Mapping[str, Any] = field(default_factory=dict)


def package_version(package: str) -> str:
    """The version of an installed package, or that it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def environment() -> dict[str, str]:
    """Versions and the machine, as texts."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        **{package: package_version(package) for package in _PACKAGES},
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": str(cores),
    }


def digest(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file, hexadecimal; empty where it cannot be read."""
    with suppress(OSError):
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    return ""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keeps other runs out of a folder, where the system has such locks (all but Windows).

    They leave no file and end with the process. Raises ArgumentError if another run has the folder.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # a network's file system may have no locks
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ArgumentError(f"{folder}: another run is writing there; wait for it or name another") from None
        yield
    finally:
        os.close(handle)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())


def write(folder: Path, record: Record, rows: Sequence[Row], finished: bool = True) -> None:
    """Writes summary.json; codecs and pictures of earlier runs stay in it while they have rows, those of the record are
    in it from the start, so that the next run knows what made the rows of one that was stopped.

    BD-rates are left out until the run is finished. Raises ArgumentError if the file cannot be written, or the one
    that is there is damaged.
    """
    old = _earlier(folder)
    codecs: dict[str, Any] = {**old.get("codecs", {}), **record.codecs}
    settings = {name: list(dict.fromkeys(row.setting for row in rows if row.codec == name)) for name in codecs}
    known = {each["picture"]: each.get("sha256", "") for each in old.get("pictures", ())} | dict(record.digests)
    sizes = dict.fromkeys(record.digests, (0, 0)) | {row.picture: (row.width, row.height) for row in reversed(rows)}
    errors = [row for row in rows if row.error and not row.unreached]
    compared = finished and record.kind == "evaluate"
    summary = {
        "kind": record.kind,
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "finished": finished,
        "command": list(record.command),
        "environment": environment(),
        **record.conditions,
        **record.more,
        "codecs": {
            name: {**codecs[name], "settings": settings[name]}
            for name in codecs
            if settings[name] or name in record.codecs
        },
        "pictures": [
            {"picture": name, "width": width, "height": height, "sha256": known.get(name, "")}
            for name, (width, height) in sorted(sizes.items())
        ],
        "means": results.means(rows),
        "errors": {
            "count": len(errors),
            "unreadable": sum(not row.codec for row in errors),
            "lines": [_line(row) for row in errors],
            "unreached": [_line(row) for row in rows if row.unreached],
        },
        "published": results.published_json(record.published) or old.get("published", {}),
        "bd_rate": {metric: bdrate.matrix(rows, metric) for metric in _BD_METRICS} if compared else {},
    }
    results.write_summary(folder, summary)


def _line(row: Row) -> str:
    return " ".join(filter(None, (row.picture, row.codec, row.setting))) + f": {row.error}"


def _earlier(folder: Path) -> dict[str, Any]:
    """The summary that is there, empty without one. Raises ArgumentError if it is damaged."""
    path = folder / results.SUMMARY
    if not path.exists():
        return {}
    old = results.read_summary(folder)
    sound = all(isinstance(old.get(name, kind()), kind) for name, kind in _KINDS.items())
    sound = sound and all(isinstance(each, dict) for each in old.get("codecs", {}).values())
    if not sound or not all(isinstance(each, dict) and "picture" in each for each in old.get("pictures", ())):
        raise ArgumentError(f"{path}: damaged; delete the folder or name another, and measure again")
    return old


def changed(
    folder: Path, record: Record, rows: Sequence[Row], tell: Callable[[str], None]
) -> tuple[set[str], set[str]]:
    """Codecs and pictures of the record that are not, or that nothing says to be, those that the folder was filled
    with; each that has rows is told in a line.

    Raises ArgumentError if the rows were made under other conditions, or nothing says under which.
    """
    old = _earlier(folder)
    if not old:
        if rows:
            raise ArgumentError(f"{folder}: has rows.csv but no summary.json to say how it was made; name another")
        return set(), set()
    for name, value in record.conditions.items() if rows else ():
        was = old.get(name, old.get("environment", {}).get(name))
        if was != value:
            told = f"{name} was {was}, now it is {value}"
            raise ArgumentError(f"{folder}: its rows were made under other conditions ({told}); name another folder")
    made = {name: each.get("about") for name, each in old.get("codecs", {}).items()}
    codecs = {name for name, each in record.codecs.items() if made.get(name) != each["about"]}
    digests = {each["picture"]: each.get("sha256") for each in old.get("pictures", ())}
    pictures = {name for name, found in record.digests.items() if digests.get(name) != found}
    for name in sorted(codecs & {row.codec for row in rows}):
        now = record.codecs[name]["about"]
        why = f"it was {made[name]}, now it is {now}" if made.get(name) else "nothing says what made its rows"
        tell(f"{folder}: {name} is measured again: {why}")
    for name in sorted(pictures & {row.picture for row in rows}):
        why = "the picture has changed" if digests.get(name) else "nothing says which picture its rows are of"
        tell(f"{folder}: {name} is measured again: {why}")
    return codecs, pictures
