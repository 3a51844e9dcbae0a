"""What the tests of the report in a real headless Chromium share. They are slow, all of them.

Without Chromium nothing here runs, and the summary of the test run says so; `.ci/run` installs it.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from chromium import MISSING, Page, browser
from intaglio import images, report, results
from intaglio.results import Row
from report_folder import measured, photographs, summarised, write_folder

HERE = Path(__file__).parent
BOX = (420, 100, 700, 300)  # 280 x 200 pixels: no multiple of a block
SETTINGS = {"intaglio": (10, 30, 50, 70), "jpeg": (8, 20, 40, 70), "webp": (5, 25, 50, 80)}
KEPT = {"intaglio": 30, "jpeg": 8, "webp": 5}
VERSIONS = [(results.ORIGINAL, ""), ("intaglio", "30"), ("jpeg", "8"), ("webp", "5")]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test here is slow, and is skipped where there is no browser, loudly."""
    reason = f"THE REPORT IS NOT TESTED: {' and '.join(MISSING)} missing (apt-get install chromium chromium-driver)"
    here = [item for item in items if HERE in item.path.parents]
    for item in here:
        item.add_marker(pytest.mark.slow)
        if MISSING:
            item.add_marker(pytest.mark.skip(reason))
    if here and MISSING:
        warnings.warn(reason, stacklevel=1)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Path:
    """Two photographs, three codecs at four settings, one of each kept; one error."""
    place = tmp_path_factory.mktemp("results")
    rows = measured(place, dict(list(photographs(root, BOX))[:2]), SETTINGS, KEPT)
    rows.append(Row("broken.png", error="not a picture"))
    report.write(write_folder(place, rows, summarised(rows)))
    return place


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browser(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture
def page(chromium: Page, folder: Path) -> Iterator[Page]:
    """The page, loaded anew; afterwards the console must be empty."""
    chromium.open(folder / results.REPORT)
    yield chromium
    assert chromium.complaints() == []


@pytest.fixture
def viewer(page: Page) -> Page:
    """The viewer, open with the first picture: the original on the left, Intaglio on the right."""
    page.look_at(0)
    return page


@pytest.fixture(scope="session")
def versions(folder: Path) -> list[np.ndarray]:
    """The first picture's versions in the viewer's order, (200, 280, 3)."""
    paths = [results.kept_path(folder, "budgie.webp", codec, setting) for codec, setting in VERSIONS]
    return [images.load(path).pixels for path in paths]
