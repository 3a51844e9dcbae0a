"""The verdict and the README name both JPEGs, what each figure was taken over, and the seconds if there are any."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

pytest.importorskip("scipy")
pytest.importorskip("matplotlib")

import numpy as np

import results as command
import results_page
import results_plots
from intaglio import bdrate
from intaglio.results import PublishedPoint
from test_bdrate import rows_of

LABELS = {"intaglio": "Intaglio", "jpeg": "JPEG 4:2:0", "jpegopt": "JPEG 4:2:0 optimised"}


@pytest.fixture(scope="module")
def data() -> results_page.Data:
    """Intaglio needs two fifths of the bits of jpeg, which needs a tenth more than jpegopt, from 39.5 to 51.5 dB."""
    rows = [
        row
        for codec, part in (("jpeg", 1.1), ("jpegopt", 1.0), ("intaglio", 0.44))
        for row in rows_of(codec, np.full(24, part))
    ]
    published = [PublishedPoint(0.1 * 2**n, 38.0 + 3 * n, 0.9) for n in range(6)]
    about: dict[str, Any] = {"codecs": {name: {"label": label, "about": ""} for name, label in LABELS.items()}}
    return results_page.Data({"kodak": rows}, [], [], dict.fromkeys(results_page.PUBLISHED, published), about)


@pytest.fixture(autouse=True)
def a_range_that_the_curves_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results_page, "FLOOR_RANGE", (1.0, 2.0))


def test_the_verdict_names_both_jpegs_and_the_range_of_each(data: results_page.Data) -> None:
    text, reached = results_page.verdict(data)
    assert reached, text
    assert "against JPEG 4:2:0 -60.0 % over 39.5 to 51.5 dB (must reach -50 %)" in text
    assert "against JPEG 4:2:0 optimised -56.0 % over 39.5 to 51.5 dB" in text


def test_the_verdict_has_the_seconds_only_where_they_were_taken(data: results_page.Data) -> None:
    assert "seconds" not in results_page.verdict(data)[0]
    for seconds, wanted in ((179.0, True), (181.0, False)):
        about = {**data.about, "whole": {"seconds": seconds, "jobs": 2, "pictures": 24}}
        text, reached = results_page.verdict(replace(data, about=about))
        assert reached is wanted
        assert f"took {seconds:.0f} seconds in 2 jobs" in text


def test_the_readme_tells_what_each_bd_rate_was_taken_over(data: results_page.Data) -> None:
    lines = [line for line in results_page.readme(data).splitlines() if line.startswith("| ")]
    (heading,) = (line for line in lines if "95 % interval" in line)
    assert heading.endswith("over PSNR (dB) |")
    cell = bdrate.matrix(data.sets["kodak"]).cell("jpegopt", "intaglio")
    (row,) = (line for line in lines if line.startswith("| JPEG 4:2:0 optimised"))
    assert [each.strip() for each in row.strip("|").split("|")][1:] == [
        "-56.0 %",
        f"{cell.interval_low:+.1f} to {cell.interval_high:+.1f}",
        "39.5 to 51.5",
    ]


def test_the_optimised_jpeg_is_measured_and_every_codec_has_a_colour() -> None:
    assert set(results_page.ANCHORS) <= set(command.CODECS)
    assert len(set(results_plots.COLOURS)) == len(results_plots.COLOURS) >= len(command.CODECS)
