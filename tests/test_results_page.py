"""docs/results.md and the README's Results say what the rows in docs/results say, and the figures hold."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest.importorskip("scipy")

import agreement
import results as command
import results_page
from intaglio import results


@pytest.fixture(scope="module")
def data(root: Path) -> results_page.Data:
    return results_page.load(root / "docs" / "results")


def test_the_page_is_made_of_the_rows(root: Path, data: results_page.Data) -> None:
    page = (root / "docs" / "results.md").read_text(encoding="utf-8")
    assert page == results_page.page(data), "run: python benchmarks/results.py --only pages"


def test_the_readme_has_the_pages_figures(root: Path, data: results_page.Data) -> None:
    text = (root / "README.md").read_text(encoding="utf-8")
    assert text.count(results_page.BEGIN) == text.count(results_page.END) == 1
    assert text == command.with_figures(text, results_page.readme(data)), (
        "run: python benchmarks/results.py --only pages"
    )


def test_the_pictures_of_the_page_are_there(root: Path) -> None:
    text = (root / "docs" / "results.md").read_text(encoding="utf-8")
    found = re.findall(r"!\[[^]]*\]\(([^)]+)\)", text)
    assert len(found) >= 3
    assert all((root / "docs" / name).exists() for name in found)


def test_kodak_is_whole_eight_codecs_at_ten_rates_or_more(data: results_page.Data) -> None:
    rows = data.sets["kodak"]
    assert not [row for row in rows if row.error]
    assert {row.codec for row in rows} == set(command.CODECS)
    assert len({row.picture for row in rows}) == 24
    for codec in command.CODECS:
        settings = {row.setting for row in rows if row.codec == codec}
        assert len(settings) >= 10
        assert sum(row.codec == codec for row in rows) == 24 * len(settings)


def test_the_figures_that_must_be_reached_are(data: results_page.Data) -> None:
    text, reached = results_page.verdict(data)
    assert reached, text


def test_webp_is_what_others_published_and_jpeg_in_bytes(data: results_page.Data) -> None:
    jpeg, jpeg2000, webp = agreement.at_their_settings(data.settings, data.published)
    assert max(abs(float(value)) for value in webp[3].split(" to ")) <= 0.001
    assert float(webp[2].rstrip(" %")) < 0.01
    assert float(jpeg[2].rstrip(" %")) < 0.3
    assert float(jpeg2000[2].rstrip(" %")) < 0.6


def test_published_points_are_read_back_as_they_were(data: results_page.Data) -> None:
    assert set(data.published) == set(results_page.PUBLISHED)
    assert all(isinstance(point, results.PublishedPoint) for points in data.published.values() for point in points)
