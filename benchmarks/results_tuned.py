"""The section of docs/results.md on the model that is tuned for MS-SSIM, beside `photo` and by SSIMULACRA2, too."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

import agreement
from intaglio import bdrate, rdcurves
from intaglio.codecs import Codec, Intaglio
from intaglio.results import PublishedPoint, Row
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
    """A codec of the rows against a published curve, by the mean PSNR, or by the mean MS-SSIM, in dB.

    Published is the mean MS-SSIM, so ours is averaged before it is made decibels, too: the mean of decibels is higher.
    """
    means = [each for each in agreement.means(rows) if each.codec == codec]
    curves = [
        np.array(
            [(each.bpp, each.psnr if metric == "psnr" else -10.0 * math.log10(1.0 - each.ms_ssim)) for each in both]
        )
        for both in (points, means)
    ]
    theirs, ours = (rdcurves.from_points(curve, name, metric) for curve in curves)
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
    lines = []
    for codec, name in models.items():
        for anchor in (*models, *BESIDE):
            if anchor == codec or (codec, anchor) == (OURS, TUNED) or anchor not in found["psnr"].codecs:
                continue
            rates = [percent(matrix.cell(anchor, codec).rate) for matrix in found.values()]
            lines.append([name, models.get(anchor, labels.get(anchor, anchor)), *rates])
        beside = [percent(against(points, label, rows, codec, metric).rate) for metric in ("psnr", "ms_ssim_db")]
        lines.append([name, f"{label} (published)", *beside, "-"])
    reached = against(points, label, rows, TUNED, "ms_ssim_db")
    missing = "reached" if reached.rate <= GOAL else f"{reached.rate - GOAL:.1f} points short"
    means = [
        [models[mean.codec], mean.setting, f"{mean.bpp:.4f}", f"{mean.psnr:.2f}", f"{mean.ms_ssim:.4f}", _score(mean)]
        for mean in agreement.means(rows)
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

{table(["model", "quality", "bpp", "PSNR (dB)", "MS-SSIM", "SSIMULACRA2"], means)}

</details>
"""


def _score(mean: agreement.Mean) -> str:
    return "-" if math.isnan(mean.ssimulacra2) else f"{mean.ssimulacra2:.1f}"
