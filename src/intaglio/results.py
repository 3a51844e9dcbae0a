"""Results as files: one row for each picture, codec and setting in rows.csv, what they add up to in summary.json.

A folder of results holds

    rows.csv        long form, one line per picture, codec and setting: the columns of `Row`, in its order
    summary.json    one object, see below
    report.html     the same to look at
    kept/           decoded pictures and originals as lossless WebP, only where asked for: see `kept_path`

Numbers in rows.csv: an empty field was not measured (NaN in a `Row`), `inf` is infinite (the PSNR of equal pictures).
In summary.json the first is null, the second the text "inf".

summary.json has these keys (a reader takes what it knows and must bear more):

    kind         "evaluate" or "compare"
    date         of the last run, ISO 8601, UTC
    command      list of words
    environment  texts by name: versions of Intaglio, Python and packages, machine, processor, cores
    finished     false while a run goes on or after it was stopped: bd_rate is empty then
    threads      threads of Intaglio; jobs: pictures at a time; repeats: timed calls, the best counts
    timed        whether seconds were taken; timing: one sentence on how, or why not
    processor    where seconds were taken, by evaluate alone: rows of another are not mixed with them
    memory       one sentence: what peak_mb is
    ssimulacra2  whether it was measured; of evaluate alone
    codecs       by key: {"label": for people, "about": version and options, "settings": list of texts}
    pictures     list of {"picture", "width", "height" (0: not measured yet), "sha256" of the file}
    means        list of `Mean` as objects: one for each codec and setting
    errors       {"count": rows that have an error, "unreadable": rows of pictures, "lines": list of texts, "unreached":
                 such lines of codecs that cannot reach the size of compare, which do not count}
    published    by method: list of {"bpp", "psnr", "ms_ssim"}, from other people's files; {} without
    bd_rate      by metric, psnr and ms_ssim_db, the `Matrix` of `intaglio.bdrate`; {} of compare
    target       of compare alone: {"bytes", "bpp"}
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from intaglio import images
from intaglio.errors import ArgumentError

ROWS, SUMMARY, REPORT, KEPT = "rows.csv", "summary.json", "report.html", "kept"
_UNREACHED = "cannot reach"
ORIGINAL = "original"  # stands for the codec in the name of a kept original


@dataclass(frozen=True)
class Row:
    """One picture coded once.

    picture: file name. width, height: pixels. codec: key, such as jpeg. setting: what the codec was asked, a number as
    text. bytes: whole file, headers included; bpp: 8 bytes / pixels. psnr: dB over all RGB samples; psnr_y, psnr_c: of
    luma, and of Cb and Cr together (BT.601, full range, float). ms_ssim: 0..1, ms_ssim_db: -10 log10(1 - ms_ssim).
    ssimulacra2: 100 is equal. encode_s, decode_s: seconds. peak_mb: megabytes (10^6 bytes). NaN: not measured.
    error: empty, or one line (then the numbers are 0 and NaN).
    """

    picture: str
    width: int = 0
    height: int = 0
    codec: str = ""
    setting: str = ""
    bytes: int = 0
    bpp: float = math.nan
    psnr: float = math.nan
    psnr_y: float = math.nan
    psnr_c: float = math.nan
    ms_ssim: float = math.nan
    ms_ssim_db: float = math.nan
    ssimulacra2: float = math.nan
    encode_s: float = math.nan
    decode_s: float = math.nan
    peak_mb: float = math.nan
    error: str = ""

    @property
    def key(self) -> tuple[str, str, str]:
        """Picture, codec and setting: a file of rows has each once."""
        return self.picture, self.codec, self.setting

    @property
    def unreached(self) -> bool:
        """Whether its error is only that no setting of the codec gives a file so small (see `unreached`)."""
        return self.error.startswith(_UNREACHED)


def unreached(nbytes: int, quality: float, smallest: int) -> str:
    """The error of a codec that has no file of at most `nbytes` bytes."""
    return f"{_UNREACHED} {nbytes} bytes: its smallest file, at {quality:g}, has {smallest}"


@dataclass(frozen=True)
class Mean:
    """Arithmetic means of a codec's rows at one setting over `pictures` pictures, decibels too; units as in `Row`.

    A measure is averaged over the pictures that have it; NaN where none has.
    """

    codec: str
    setting: str
    pictures: int
    bytes: float
    bpp: float
    psnr: float
    psnr_y: float
    psnr_c: float
    ms_ssim: float
    ms_ssim_db: float
    ssimulacra2: float
    encode_s: float
    decode_s: float
    peak_mb: float


@dataclass(frozen=True)
class PublishedPoint:
    """A point of somebody else's mean curve: bits per pixel, PSNR over RGB in dB, MS-SSIM 0..1 (NaN: not given)."""

    bpp: float
    psnr: float = math.nan
    ms_ssim: float = math.nan


COLUMNS = tuple(field.name for field in fields(Row))
_WHOLE = {"width", "height", "bytes"}
_TEXT = {"picture", "codec", "setting", "error"}
MEASURES = tuple(name for name in COLUMNS if name not in _TEXT | _WHOLE)
_PUBLISHED_NAMES = {"psnr_rgb_db": "psnr", "ms-ssim": "ms_ssim"}


def to_csv(rows: Iterable[Row], heading: bool = True) -> str:
    """The rows as CSV, seven significant digits."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    if heading:
        writer.writerow(COLUMNS)
    one_line = (replace(row, error=" ".join(row.error.split())) for row in rows)
    writer.writerows([_field(getattr(row, name)) for name in COLUMNS] for row in one_line)
    return out.getvalue()


def _field(value: str | int | float) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.7g}"
    return str(value)


def check_name(path: Path) -> None:
    """Raises ArgumentError for a picture whose name cannot stand in a line of UTF-8: a table has to hold it."""
    # control characters, halves of a character (what is no UTF-8 comes so from the system), ends of lines
    if any(unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") for letter in path.name):
        raise ArgumentError(f"{str(path)!r}: the name is not UTF-8 or has control characters; rename it")


def write_rows(path: str | os.PathLike[str], rows: Iterable[Row]) -> None:
    """Writes the file anew, whole or not at all. Raises ArgumentError if it cannot be written."""
    images.atomic_write(path, to_csv(rows).encode())


def append_rows(path: str | os.PathLike[str], rows: Iterable[Row]) -> None:
    """Adds rows at the end, and the heading where the file is new. Raises ArgumentError if it cannot be written."""
    try:
        with open(path, "ab") as file:
            file.write(to_csv(rows, heading=file.tell() == 0).encode())
    except OSError as error:
        raise ArgumentError(f"{path}: cannot be written ({error.strerror or error})") from None


def cut_unfinished(path: str | os.PathLike[str]) -> None:
    """Cuts a last line without its end, which a run that was killed leaves. Raises ArgumentError as `write_rows`."""
    data = Path(path).read_bytes()
    if not data.endswith(b"\n"):
        images.atomic_write(path, data[: data.rfind(b"\n") + 1])


def read_rows(path: str | os.PathLike[str]) -> list[Row]:
    """The rows of a file that has the columns of `Row`, in any order; those it lacks are not measured.

    Raises ArgumentError, naming file and line, for a file that cannot be read, lacks picture, codec, setting or bpp, or
    holds what is no number.
    """
    lines = _lines(path, ("picture", "codec", "setting", "bpp"))
    return [Row(**{name: _value(name, line.get(name), where) for name in COLUMNS}) for where, line in lines]


def _value(name: str, text: str | None, where: str) -> Any:
    if name in _TEXT:
        return text or ""
    if not text:
        return 0 if name in _WHOLE else math.nan
    try:
        return int(text) if name in _WHOLE else float(text)
    except ValueError:
        kind = "whole number" if name in _WHOLE else "number"
        raise ArgumentError(f"{where}: {name} is {text!r}, which is no {kind}") from None


def _lines(path: str | os.PathLike[str], needed: Sequence[str]) -> list[tuple[str, dict[str, str]]]:
    """Where it stands, and the fields by name, of every line of a CSV file."""
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ArgumentError(f"{path}: cannot be read ({error.strerror or error})") from None
    except ValueError:
        raise ArgumentError(f"{path}: is no text in UTF-8, so no table of results") from None
    if not text:
        raise ArgumentError(f"{path}: is empty")
    reader = csv.reader(io.StringIO(text, newline=""))
    try:
        heading = [_PUBLISHED_NAMES.get(name.strip(), name.strip()) for name in next(reader, [])]
        if missing := [name for name in needed if name not in heading]:
            if "\n" not in text:
                raise ArgumentError(f"{path}: its heading is cut short, and no rows follow; delete it, measure again")
            raise ArgumentError(f"{path}: the column {missing[0]} is missing; needed are {', '.join(needed)}")
        found = []
        for fields_ in filter(None, reader):
            where = f"{path} line {reader.line_num}"
            if len(fields_) != len(heading):
                raise ArgumentError(f"{where}: {len(fields_)} fields under {len(heading)} columns")
            found.append((where, dict(zip(heading, fields_, strict=True))))
    except csv.Error as error:
        raise ArgumentError(f"{path} line {reader.line_num}: {error}") from None
    return found


def means(rows: Iterable[Row]) -> list[Mean]:
    """A `Mean` for each codec and setting; codecs in the order of the rows, settings by rising rate. Rows with an
    error do not count.
    """
    groups: dict[str, dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if not row.error:
            groups[row.codec][row.setting].append(row)
    found = []
    for settings in groups.values():
        found += sorted(map(_mean, settings.values()), key=lambda mean: mean.bpp)
    return found


def _mean(rows: list[Row]) -> Mean:
    measures = {}
    for name in ("bytes", *MEASURES):
        values = [value for value in (float(getattr(row, name)) for row in rows) if not math.isnan(value)]
        measures[name] = math.fsum(values) / len(values) if values else math.nan
    return Mean(rows[0].codec, rows[0].setting, len(rows), **measures)


def read_published(path: str | os.PathLike[str]) -> dict[str, list[PublishedPoint]]:
    """Published curves by method, each by rising rate. The CSV has columns method, bpp, psnr_rgb_db (or psnr), ms_ssim.

    A point may lack either measure (NaN); a line that has neither is left out. Raises ArgumentError, naming file and
    line, for what cannot be read, a rate that is not positive, a PSNR that is infinite, an MS-SSIM outside 0..1, and
    for a file without points.
    """
    curves: dict[str, list[PublishedPoint]] = defaultdict(list)
    for where, line in _lines(path, ("method", "bpp")):
        names = [field.name for field in fields(PublishedPoint)]
        point = PublishedPoint(**{name: _value(name, line.get(name), where) for name in names})
        sound = math.isfinite(point.bpp) and point.bpp > 0 and not math.isinf(point.psnr)
        if not line["method"] or not sound or not (math.isnan(point.ms_ssim) or 0 <= point.ms_ssim <= 1):
            raise ArgumentError(f"{where}: not a point: it needs a method, bpp above 0, PSNR in dB, MS-SSIM of 0 to 1")
        if not (math.isnan(point.psnr) and math.isnan(point.ms_ssim)):
            curves[line["method"]].append(point)
    if not curves:
        raise ArgumentError(f"{path}: holds no points")
    return {method: sorted(points, key=lambda point: point.bpp) for method, points in curves.items()}


def published_json(curves: Mapping[str, Sequence[PublishedPoint]]) -> dict[str, list[dict[str, float]]]:
    """The curves as `published` of summary.json has them."""
    return {method: [asdict(point) for point in points] for method, points in curves.items()}


def write_summary(folder: str | os.PathLike[str], summary: Mapping[str, Any]) -> None:
    """Writes summary.json into the folder, whole or not at all. Raises ArgumentError if it cannot be written."""
    text = json.dumps(plain(summary), indent=2, ensure_ascii=False, allow_nan=False)
    images.atomic_write(Path(folder) / SUMMARY, (text + "\n").encode())


def plain(value: Any) -> Any:
    """The value as JSON can hold it: NaN becomes null, an infinity "inf" or "-inf"; dataclasses become objects."""
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if hasattr(value, "__dataclass_fields__"):
        return plain(asdict(value))
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return value


def read_summary(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """summary.json of a folder as it is written. Raises ArgumentError if there is none or it is no such file."""
    path = Path(folder) / SUMMARY
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ArgumentError(f"{path}: cannot be read ({error.strerror or error})") from None
    except (ValueError, RecursionError):
        raise ArgumentError(f"{path}: damaged; delete the folder or name another, and measure again") from None
    if not isinstance(found, dict):
        raise ArgumentError(f"{path}: not a summary of results")
    return found


def kept_path(folder: str | os.PathLike[str], picture: str, codec: str = ORIGINAL, setting: str = "") -> Path:
    """Where a decoded picture is kept, kept/PICTURE/CODEC-SETTING.webp, or the original, kept/PICTURE/original.webp."""
    return Path(folder) / KEPT / picture / f"{'-'.join(filter(None, (codec, setting)))}.webp"
