"""The section of docs/results.md on the model that is tuned for MS-SSIM, beside `photo` and by SSIMULACRA2, too."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from intaglio import bdrate, rdcurves
from intaglio.codecs import Codec, Intaglio
from intaglio.results import Mean, PublishedPoint, Row, means
from results_goals import OURS, percent
from tables import table

MODEL = "photo-ms-ssim"
TUNED = f"{OURS}-{MODEL}"
BESIDE = ("jpeg", "avif", "jpegxl")  # codecs that are measured again, by SSIMULACRA2
MEASURES = {"psnr": "PSNR", "ms_ssim_db": "MS-SSIM (dB)", "ssimulacra2": "SSIMULACRA2"}
PICTURE, BPP = "kodim13", 0.25  # of which a sheet of crops is made, and at what rate
SHEET = f"tuned-{PICTURE}.webp"
GOAL = -35.0  # BD-rate by MS-SSIM against published BPG, percent


def codecs(every: Sequence[Codec]) -> tuple[Codec, ...]:
    """What the section compares, of all codecs: ours, ours with the tuned model, and some others."""
    known = {each.name: each for each in every}
    return known[OURS], Intaglio(MODEL, 1, TUNED), *(known[name] for name in BESIDE if name in known)


def against(
    points: Sequence[PublishedPoint], name: str, rows: Sequence[Row], codec: str, metric: str
) -> bdrate.Comparison:
    """A codec of the rows against a published curve, by means over the pictures."""
    own = [each for each in means(rows) if each.codec == codec]
    theirs, ours = (rdcurves.from_means(both, name, metric) for both in (points, own))
    return bdrate.compare(theirs, ours)


def sentence(rows: Sequence[Row], published: tuple[str, Sequence[PublishedPoint]]) -> str:
    """What the tuned model reaches by its own measure, in short."""
    label, points = published
    found = bdrate.matrix(rows, "ms_ssim_db")
    beside = percent(against(points, label, rows, TUNED, "ms_ssim_db").rate)
    return (
        f"Tuned for MS-SSIM (`--tune ms-ssim`), BD-rate by that measure: {percent(found.cell('avif', TUNED).rate)} "
        f"against AVIF, {beside} against published {label}."
    )


def section(rows: Sequence[Row], labels: Mapping[str, str], published: tuple[str, Sequence[PublishedPoint]]) -> str:
    """Rows of `codecs` on Kodak; `published`: label and points of the curve that the goal is about."""
    label, points = published
    found = {metric: bdrate.matrix(rows, metric) for metric in MEASURES}
    models = {OURS: "Intaglio, photo", TUNED: f"Intaglio, {MODEL}"}
    lines, reached = [], against(points, label, rows, TUNED, "ms_ssim_db")
    for codec, name in models.items():
        for anchor in (*models, *BESIDE):
            if anchor == codec or (codec, anchor) == (OURS, TUNED) or anchor not in found["psnr"].codecs:
                continue
            rates = [percent(matrix.cell(anchor, codec).rate) for matrix in found.values()]
            lines.append([name, models.get(anchor, labels.get(anchor, anchor)), *rates])
        beside = {metric: against(points, label, rows, codec, metric) for metric in ("psnr", "ms_ssim_db")}
        lines.append([name, f"{label} (published)", *(percent(each.rate) for each in beside.values()), "-"])
    missing = "reached" if reached.rate <= GOAL else f"{reached.rate - GOAL:.1f} points short"
    curves = [
        [models[mean.codec], mean.setting, f"{mean.bpp:.4f}", f"{mean.psnr:.2f}", f"{mean.ms_ssim:.4f}", _score(mean)]
        for mean in means(rows)
        if mean.codec in models
    ]
    return f"""## Tuned for MS-SSIM

`intaglio encode --tune ms-ssim` takes the weights `{MODEL}`, trained on from `photo`'s for MS-SSIM. On Kodak, by three
measures. Against published BPG by the mean MS-SSIM, made decibels on both sides, as BPG's is published as a mean: over
{reached.low:.1f} to {reached.high:.1f} dB {percent(reached.rate)} (goal {GOAL:+.0f} %: {missing}).

{table(["", "against", *MEASURES.values()], lines)}

{PICTURE} at {BPP} bits per pixel:

![The same crop of the original and of both]({SHEET})

<details><summary>Mean curves</summary>

{table(["model", "quality", "bpp", "PSNR (dB)", "MS-SSIM", "SSIMULACRA2"], curves)}

</details>
"""


def _score(mean: Mean) -> str:
    return "-" if math.isnan(mean.ssimulacra2) else f"{mean.ssimulacra2:.1f}"
