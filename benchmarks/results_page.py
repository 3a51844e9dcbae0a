"""docs/results.md and the README's Results, made of the measured rows in docs/results/ and of nothing else."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import agreement
import results_tuned
from intaglio import bdrate, rdcurves, results
from intaglio.bdrate import Cell
from intaglio.results import Mean, PublishedPoint, Row
from results_goals import CROSSING_RANGE, OURS, by_picture, crossings, goals, measured, percent, span
from tables import table

JPEG = "jpeg"
ANCHORS = (JPEG, "jpegopt")  # of the verdict; the first is what must be beaten
METRICS = dict(zip(map(str, rdcurves.METRICS), ("PSNR", "luma", "chroma", "MS-SSIM (dB)", "SSIMULACRA2"), strict=True))
SETS = {"kodak": "Kodak", "val": "the validation set", "screens": "screen captures"}
ONE_BY_ONE = ("val", "screens")  # sets whose pictures are listed
DRAWN = {
    "bpg_444_x265_ycbcr": "BPG 4:4:4",
    "vtm": "VTM",
    "paper-bmshj2018-hyperprior": "Ballé et al. 2018",
    "paper-elic2022_mse": "ELIC 2022",
}
MORE_PLOTS = {"ms_ssim_db": "ms-ssim", "ssimulacra2": "ssimulacra2"}  # metric -> end of the file's name
PUBLISHED = (*DRAWN, *agreement.COUNTERPARTS.values())
FLOOR_RANGE = (0.25, 1.5)  # bits per pixel between which the curve may not fall below JPEG's
MUST_REACH = -50.0  # BD-rate against JPEG, percent
BPG, BPG_GOAL = "bpg_444_x265_ycbcr", 0.0  # a published curve, and the BD-rate against it that is the goal
MOST_SECONDS = 180  # of the whole evaluation
README_QUALITIES = ("5", "20", "40", "60", "80", "97")
BEGIN, END = "<!-- made by benchmarks/results.py: begin -->", "<!-- made by benchmarks/results.py: end -->"


@dataclass(frozen=True)
class Data:
    """What was measured: rows by set of pictures, at the publishers' settings, of the case study; published curves;
    date, versions, machine and the codecs' labels.
    """

    sets: Mapping[str, list[Row]]
    settings: list[Row]
    case: list[Row]
    published: Mapping[str, Sequence[PublishedPoint]]
    about: Mapping[str, Any]
    tuned: list[Row] = field(default_factory=list)

    @property
    def labels(self) -> dict[str, str]:
        """Codecs' names for people, in their order."""
        return {name: each["label"] for name, each in self.about["codecs"].items()}


def load(folder: Path) -> Data:
    """What `benchmarks/results.py` left in docs/results."""
    about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
    if (folder / "time.json").exists():
        about["whole"] = json.loads((folder / "time.json").read_text(encoding="utf-8"))
    if (folder / "span.json").exists():
        about["span"] = json.loads((folder / "span.json").read_text(encoding="utf-8"))
    sets = {name: results.read_rows(folder / f"{name}.csv") for name in SETS if (folder / f"{name}.csv").exists()}
    settings = results.read_rows(folder / "settings.csv")
    case = results.read_rows(folder / "case.csv")
    tuned = results.read_rows(folder / "tuned.csv") if (folder / "tuned.csv").exists() else []
    return Data(sets, settings, case, results.read_published(folder / "published.csv"), about, tuned)


def metrics_of(rows: Iterable[Row]) -> list[str]:
    """The metrics that Intaglio was measured by."""
    every = list(rows)
    return [metric for metric in rdcurves.METRICS if OURS in measured(every, metric)]


def _interval(cell: Cell) -> str:
    return "-" if math.isnan(cell.interval_low) else f"{cell.interval_low:+.1f} to {cell.interval_high:+.1f}"


def _with_interval(cell: Cell) -> str:
    return percent(cell.rate) + ("" if math.isnan(cell.interval_low) else f" ({_interval(cell)})")


def _matrix(data: Data, rows: list[Row]) -> str:
    found, labels = bdrate.matrix(rows), data.labels
    lines = [
        [labels[test], *("" if test == anchor else _with_interval(found.cell(anchor, test)) for anchor in found.codecs)]
        for test in found.codecs
    ]
    return table(["", *(labels[name] for name in found.codecs)], lines)


def _by_metric(data: Data, rows: list[Row]) -> str:
    metrics = metrics_of(rows)
    found = {metric: bdrate.matrix(rows, metric) for metric in metrics}
    names = [name for name in data.labels if name != OURS]
    lines = [
        [data.labels[name], *(_with_interval(matrix.cell(name, OURS)) for matrix in found.values())] for name in names
    ]
    return table(["Intaglio against", *(METRICS[metric] for metric in metrics)], lines)


def _curves(data: Data, means: Sequence[Mean]) -> str:
    lines = [
        [
            data.labels[mean.codec],
            mean.setting,
            f"{mean.bpp:.4f}",
            *(f"{value:.2f}" for value in (mean.psnr, mean.psnr_y, mean.psnr_c)),
            f"{mean.ms_ssim:.4f}",
            *([] if math.isnan(mean.ssimulacra2) else [f"{mean.ssimulacra2:.1f}"]),
        ]
        for mean in means
    ]
    heading = ["codec", "setting", "bpp", "PSNR (dB)", "luma", "chroma", "MS-SSIM", "SSIMULACRA2"]
    return table(heading[: len(lines[0])], lines)


def margin_over_jpeg(rows: Iterable[Row]) -> tuple[float, float]:
    """Smallest PSNR margin over JPEG in dB between 0.25 and 1.5 bits per pixel, and the rate where it lies.

    The margin is NaN when either curve does not reach over that range.
    """
    curves = measured(rows)
    grid = np.geomspace(*FLOOR_RANGE, 200)
    margin = agreement.at(curves[OURS].mean, grid) - agreement.at(curves[JPEG].mean, grid)
    worst = int(np.argmin(margin)) if not np.isnan(margin).any() else int(np.argmax(np.isnan(margin)))
    return float(margin[worst]), float(grid[worst])


def verdict(data: Data) -> tuple[str, bool]:
    """A sentence on each figure that must be reached on Kodak, with what it was computed over, and whether all are; the
    seconds only where they were taken.
    """
    rows = data.sets["kodak"]
    found = bdrate.matrix(rows, options=bdrate.Options(resamples=0))
    cells = [found.cell(anchor, OURS) for anchor in ANCHORS]
    rates = [f"against {data.labels[cell.anchor]} {percent(cell.rate)} over {_range(cell)} dB" for cell in cells]
    margin, where = margin_over_jpeg(rows)
    low, high = FLOOR_RANGE
    never = (
        f"Between {low} and {high} bpp it lies at least {margin:.2f} dB above JPEG 4:2:0 (closest at {where:.2f} bpp)"
    )
    if math.isnan(margin):
        never = f"The curves do not both cover {low} to {high} bpp (missing at {where:.2f} bpp)"
    elif margin < 0:
        never = f"The curve falls {-margin:.2f} dB below JPEG's at {where:.2f} bpp"
    text = f"BD-rate {rates[0]} (must reach {MUST_REACH:+.0f} %), {rates[1]}. {never}."
    whole = data.about.get("whole")
    if whole:
        text += (
            f" The whole evaluation of Intaglio on {whole['pictures']} pictures at ten qualities, measures but "
            f"SSIMULACRA2 included, took {whole['seconds']:.0f} seconds in {whole['jobs']} jobs "
            f"(must be under {MOST_SECONDS})."
        )
    quick = not whole or whole["seconds"] < MOST_SECONDS
    return text, bool(cells[0].rate <= MUST_REACH and margin >= 0 and quick)


def _range(cell: Cell) -> str:
    """Qualities that a BD-rate was taken over."""
    return "-" if math.isnan(cell.low) else f"{cell.low:.1f} to {cell.high:.1f}"


def _beside(data: Data, method: str) -> bdrate.Comparison:
    """Intaglio against a published curve."""
    ours = measured(data.sets["kodak"])[OURS]
    return bdrate.compare(rdcurves.from_means(data.published[method], method), ours)


def _against_published(data: Data) -> list[list[str]]:
    lines = []
    for method, label in DRAWN.items():
        found = _beside(data, method)
        lines.append([f"{label} (published)", f"{found.rate:+.1f} %", f"{found.low:.1f} to {found.high:.1f}"])
    return lines


def _set_section(data: Data, name: str) -> str:
    rows = data.sets[name]
    means, count = results.means(rows), len({row.picture for row in rows})
    errors = [row for row in rows if row.error]
    failed = f"\n\n{len(errors)} rows have an error; the first: {errors[0].error}" if errors else ""
    pictures = f"![PSNR over bits per pixel](rd-{name}.png)"
    if name == "kodak":
        for metric in (each for each in MORE_PLOTS if each in metrics_of(rows)):
            pictures += f"\n\n![{METRICS[metric]} over bits per pixel](rd-kodak-{MORE_PLOTS[metric]}.png)"
        beside = table(["Intaglio against", "BD-rate", "over PSNR (dB)"], _against_published(data))
        pictures += f"\n\nPublished curves are as their authors gave them, means without intervals:\n\n{beside}"
    single = (
        f"\nBD-rates of each picture, the worst first:\n\n{by_picture(rows, data.labels)}\n"
        if name in ONE_BY_ONE
        else ""
    )
    return f"""## {SETS[name][0].upper()}{SETS[name][1:]}, {count} pictures

BD-rate by PSNR of the row's codec against the column's, in percent, with the 95 % interval; below zero the row's codec
needs fewer bits.{failed}

{_matrix(data, rows)}

By other measures:

{_by_metric(data, rows)}

{pictures}

<details><summary>Mean curves</summary>

{_curves(data, means)}

</details>
{single}"""


def _goals_section(data: Data) -> str:
    rows = data.sets["kodak"]
    published = [(f"{DRAWN[BPG]} (published)", _beside(data, BPG).rate, BPG_GOAL)]
    reach = f"{span(data.about['span'])}\n\n" if "span" in data.about else ""
    return f"""## Goals, on Kodak

{goals(rows, data.labels, published)}

A BD-rate is of the mean curves. Those depend on how a codec spreads bits over the pictures, too (JPEG 2000, asked for a
ratio, gives each the same rate, which favours the mean), and pictures that need many bits count for more. The mean of
the BD-rates that each picture has by itself does not depend on that.

{reach}Between {CROSSING_RANGE[0]} and {CROSSING_RANGE[1]} bpp the mean curve lies, against the others':

{crossings(rows, data.labels)}

What goes wrong on the worst pictures, and on screens: [limits](limits.md).
"""


def _tuned_section(data: Data) -> str:
    published = DRAWN[BPG], data.published.get(BPG, ())
    return results_tuned.section(data.tuned, data.labels, published) if data.tuned else ""


def _case_section(data: Data) -> str:
    parts = []
    for picture in dict.fromkeys(row.picture for row in data.case):
        rows = [row for row in data.case if row.picture == picture]
        lines = [
            [data.labels[row.codec], row.error, *[""] * 6]
            if row.error
            else [
                data.labels[row.codec],
                row.setting,
                f"{row.bytes:,}",
                f"{row.bpp:.4f}",
                f"{row.psnr:.2f}",
                f"{row.psnr_y:.2f} / {row.psnr_c:.2f}",
                f"{row.ms_ssim:.4f}",
                f"{row.encode_s:.3f} / {row.decode_s:.3f}",
            ]
            for row in rows
        ]
        heading = ["codec", "setting", "bytes", "bpp", "PSNR (dB)", "luma / chroma (dB)", "MS-SSIM", "seconds"]
        stem = Path(picture).stem
        parts.append(f"### {stem}\n\n{table(heading, lines)}\n\n![The same crop of every codec](case-{stem}.webp)")
    return f"""## At 0.113 bits per pixel

Ballé, Laparra and Simoncelli (2017) show a picture of 752 x 376 pixels at this rate: JPEG in 4283 bytes with
24.85 / 29.23 dB of luma / chroma and an MS-SSIM of 0.8079, JPEG 2000 in 4004 bytes with 26.61 / 33.88 dB and 0.8860,
their network in 3986 bytes with 27.01 / 34.16 dB and 0.9039. Here are three pictures of Kodak, each codec at the
setting whose file comes closest to 0.113 bits per pixel and not above (`intaglio compare PICTURE --bpp 0.113`). Where
a codec has no file that small, the sheet shows its smallest. Seconds are of one whole call each way, Intaglio on one
thread, with other work on the machine.

{chr(10).join(part + chr(10) for part in parts)}"""


def _agreement_section(data: Data) -> str:
    same = agreement.at_their_settings(data.settings, data.published)
    along = agreement.along_the_curves(measured(data.sets["kodak"]), data.published, data.labels)
    return f"""## Beside published figures

The published figures of JPEG, JPEG 2000, WebP and AV1 on Kodak are those that come with CompressAI. At the settings
that they were made with (qualities 5 to 95; ratios 10 to 190; WebP's method 4):

{table(["codec", "settings", "rates differ by at most", "our PSNR less theirs (dB)"], same)}

Where the PSNRs differ by more than rounding, these are the reasons that we know of:

* JPEG: libjpeg-turbo, which Pillow brings, and IJG's libjpeg 9 scale chroma in different ways.
* JPEG 2000: the rates have to agree, as the setting is the ratio; with which version of OpenJPEG and which options the
  published PSNRs were made is not known.

Along the curves, ours at the settings of the tables above (JPEG 4:2:0 as Pillow writes it; JPEG 2000 irreversible, with
the colour transform, without the file format's boxes; WebP's method 6; AVIF by libaom at speed 6, 4:4:4):

{table(["codec", "published", "mean difference (dB)", "least to most", "our BD-rate"], along)}

WebP's method 6 spends more time to save bits. AV1 there is libaom's own encoder; AVIF here is the same library, in
still-picture mode, at a faster preset, in a file whose headers weigh on small pictures.
"""


def page(data: Data) -> str:
    """The page docs/results.md."""
    about = data.about
    codecs = "\n".join(f"* {each['label']}: {each['about']}" for each in about["codecs"].values())
    versions = ", ".join(f"{name} {value}" for name, value in about["environment"].items())
    sections = "\n".join(_set_section(data, name) for name in data.sets)
    return f"""# Rate and distortion

Made by `python benchmarks/results.py` on {about["date"]}; every row is in [results](results). Versions and machine:
{versions}.

{verdict(data)[0]}

* Rates are those of real files, headers included. A codec's curve is the mean over the pictures at each setting: mean
  bits per pixel, mean decibels.
* BD-rate is by PCHIP over the logarithm of the rate, on all qualities that both curves reach (at least half of the
  narrower curve's). Intervals: 95 %, {bdrate.Options().resamples} resamples of the pictures, the same for both codecs
  (`intaglio bdrate`, which the tests hold within 0.05 points of the package bjontegaard).
* PSNR is over all RGB samples; luma, and Cb and Cr together, are BT.601 full range, unrounded. MS-SSIM is the mean of
  the three channels, in dB -10 log10(1 - MS-SSIM).
* JPEG XL optimises other measures than PSNR. From a distance of 10 on (quality 15 and below) libjxl codes a picture of
  half the size.

{codecs}

{_goals_section(data)}
{sections}
{_tuned_section(data)}
{_case_section(data)}
{_agreement_section(data)}"""


def readme(data: Data) -> str:
    """The figures in the README's Results, between the two marks."""
    rows = data.sets["kodak"]
    means = {mean.setting: mean for mean in results.means(rows) if mean.codec == OURS}
    chosen = [(quality, means[quality]) for quality in README_QUALITIES if quality in means]
    lines = [
        [q, f"{m.bpp:.3f}", f"{m.psnr:.2f}", f"{m.psnr_y:.2f} / {m.psnr_c:.2f}", f"{m.ms_ssim:.4f}"] for q, m in chosen
    ]
    matrix = bdrate.matrix(rows)
    cells = {name: matrix.cell(name, OURS) for name in matrix.codecs if name != OURS}
    against = [[data.labels[name], percent(cell.rate), _interval(cell), _range(cell)] for name, cell in cells.items()]
    against += [[label, rate, "", over] for label, rate, over in _against_published(data)]
    margin, _ = margin_over_jpeg(rows)
    low, high = FLOOR_RANGE
    behind = [data.labels[name] for name, cell in cells.items() if cell.interval_low > 0]
    still = (
        f" It does not reach {', '.join(behind[:-1])}{' or ' if behind[1:] else ''}{behind[-1]} yet." if behind else ""
    )
    count = len({row.picture for row in rows})
    return f"""{BEGIN}
On the {count} Kodak pictures, real files with their headers, one model for every quality:

{table(["quality", "bits per pixel", "PSNR (RGB), dB", "luma / chroma, dB", "MS-SSIM"], lines)}

BD-rate (bits at equal PSNR, PCHIP; below zero is fewer bits than the other), with its 95 % interval over the pictures:

{table(["Intaglio against", "BD-rate", "95 % interval", "over PSNR (dB)"], against)}

Between {low} and {high} bits per pixel the curve lies at least {margin:.1f} dB above JPEG's.{still}

{results_tuned.sentence(data.tuned, (DRAWN[BPG], data.published[BPG])) if data.tuned else ""}

![Rate-distortion curves](docs/rd-kodak.png)

`python benchmarks/results.py` makes these figures, and [docs/results.md](docs/results.md) with the rest.
{END}"""
