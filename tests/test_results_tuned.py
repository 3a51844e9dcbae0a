"""The section of docs/results.md on the tuned model."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import results_tuned
from intaglio import bdrate, rdcurves, results
from intaglio.results import PublishedPoint, Row
from results_goals import OURS, goals, pictures_rates
from results_tuned import TUNED, against, section

LABELS = {OURS: "Intaglio", "jpeg": "JPEG", "avif": "AVIF", "webp": "WebP", "jpeg2000": "JPEG 2000"}


@pytest.fixture(scope="module")
def rows(root: Path) -> list[Row]:
    return results.read_rows(root / "docs" / "results" / "kodak.csv")


def test_mean_ms_ssim_is_made_decibels_on_both_sides(rows: list[Row]) -> None:
    """Against points made of its own means a codec has a BD-rate of 0; against means of decibels it would not."""
    means = [mean for mean in results.means(rows) if mean.codec == "avif"]
    points = [PublishedPoint(mean.bpp, mean.psnr, mean.ms_ssim) for mean in means]
    for metric in ("psnr", "ms_ssim_db"):
        assert against(points, "own", rows, "avif", metric).rate == pytest.approx(0.0, abs=1e-9)
    decibels = np.array([(mean.bpp, mean.ms_ssim_db) for mean in means])
    own = np.array([(mean.bpp, -10.0 * math.log10(1.0 - mean.ms_ssim)) for mean in means])
    first, second = (rdcurves.from_points(each, "own", "ms_ssim_db") for each in (own, decibels))
    assert bdrate.compare(first, second).rate < -1.0


def test_the_section_tells_each_measure_and_what_is_missing(rows: list[Row]) -> None:
    made = [replace(row, codec=TUNED) for row in rows if row.codec == OURS]
    kept = [row for row in rows if row.codec in (OURS, *results_tuned.BESIDE)]
    points = [PublishedPoint(mean.bpp, mean.psnr, mean.ms_ssim) for mean in results.means(rows) if mean.codec == "avif"]
    text = section([*kept, *made], LABELS, ("BPG", points))
    assert text.startswith("## Tuned for MS-SSIM")
    assert "points short" in text
    assert "| Intaglio, photo-ms-ssim | Intaglio, photo | +0.0 % | +0.0 % |" in text
    assert "BPG (published)" in text


def test_goals_have_the_mean_of_the_pictures_own_rates(rows: list[Row]) -> None:
    single = pictures_rates(rows, ["avif"])
    assert len(single) == 24
    own = np.mean([rates["avif"] for rates in single.values()])
    assert f"{own:+.1f} %" in goals(rows, LABELS, [])
