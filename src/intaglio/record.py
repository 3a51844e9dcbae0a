"""What a folder of results says about itself: summary.json, and whether its rows still stand."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping, Sequence
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


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())


def write(folder: Path, record: Record, rows: Sequence[Row], finished: bool = True) -> None:
    """Writes summary.json; codecs and pictures of earlier runs stay in it while they have rows.

    BD-rates are left out until the run is finished. Raises ArgumentError if the file cannot be written.
    """
    old = results.read_summary(folder) if (folder / results.SUMMARY).exists() else {}
    codecs: dict[str, Any] = {**old.get("codecs", {}), **record.codecs}
    settings = {name: list(dict.fromkeys(row.setting for row in rows if row.codec == name)) for name in codecs}
    known = {each["picture"]: each.get("sha256", "") for each in old.get("pictures", ())} | dict(record.digests)
    sizes = {row.picture: (row.width, row.height) for row in reversed(rows)}
    errors = [row for row in rows if row.error]
    compared = finished and record.kind == "evaluate"
    summary = {
        "kind": record.kind,
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "finished": finished,
        "command": list(record.command),
        "environment": environment(),
        **record.conditions,
        **record.more,
        "codecs": {name: {**codecs[name], "settings": settings[name]} for name in codecs if settings[name]},
        "pictures": [
            {"picture": name, "width": width, "height": height, "sha256": known.get(name, "")}
            for name, (width, height) in sorted(sizes.items())
        ],
        "means": results.means(rows),
        "errors": {
            "count": len(errors),
            "unreadable": sum(not row.codec for row in errors),
            "lines": [
                " ".join(filter(None, (row.picture, row.codec, row.setting))) + f": {row.error}" for row in errors
            ],
        },
        "published": results.published_json(record.published) or old.get("published", {}),
        "bd_rate": {metric: bdrate.matrix(rows, metric) for metric in _BD_METRICS} if compared else {},
    }
    results.write_summary(folder, summary)


def changed(folder: Path, record: Record, tell: Callable[[str], None]) -> tuple[set[str], set[str]]:
    """Codecs and pictures that are not those that the folder's rows were made with, each told in a line.

    Raises ArgumentError if the rows were made under other conditions, or nothing says under which.
    """
    if not (folder / results.SUMMARY).exists():
        raise ArgumentError(f"{folder}: has rows.csv but no summary.json to say how it was made; name another")
    old = results.read_summary(folder)
    for name, value in record.conditions.items():
        if old.get(name) != value:
            told = f"{name} was {old.get(name)}, now it is {value}"
            raise ArgumentError(f"{folder}: its rows were made under other conditions ({told}); name another folder")
    codecs = {
        name
        for name, each in record.codecs.items()
        if name in old.get("codecs", {}) and old["codecs"][name].get("about") != each["about"]
    }
    digests = {each.get("picture"): each.get("sha256") for each in old.get("pictures", ())}
    pictures = {name for name, digest in record.digests.items() if digests.get(name, digest) != digest}
    for name in sorted(codecs):
        was, now = old["codecs"][name].get("about"), record.codecs[name]["about"]
        tell(f"{folder}: {name} is measured again: it was {was}, now it is {now}")
    for name in sorted(pictures):
        tell(f"{folder}: {name} is measured again: the picture has changed")
    return codecs, pictures
