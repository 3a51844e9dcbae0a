"""The report in a browser: curves, figures, colours, and names that mean harm."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from selenium.webdriver import ActionChains
from selenium.webdriver.common.keys import Keys

from chromium import Page
from intaglio import report, results
from intaglio.results import Row
from report_folder import write_folder

HOSTILE = '<img src=x onerror="window.harmed = 1"></script><script>window.harmed = 1</script>'


def curves(page: Page) -> list[str]:
    return page.js("return Chart.getChart('curves').data.datasets.map((each) => each.label)")


def test_the_page_loads_from_a_file_and_asks_the_network_for_nothing(page: Page) -> None:
    assert page.text("h1") == "3 pictures, 3 codecs, 24 coded files"
    loaded = page.js("return performance.getEntriesByType('resource').map((each) => each.name)")
    assert [name for name in loaded if not name.startswith(("data:", "blob:"))] == []
    assert page.text("#legend label") == "Intaglio (mean of 2 of 3 pictures)"
    assert page.text("#errors") == "broken.png: not a picture"
    assert page.js("return [...document.querySelectorAll('.tile img')].map((each) => each.naturalWidth)") == [280, 280]


def test_hovering_shows_the_point(page: Page) -> None:
    assert curves(page) == ["Intaglio", "JPEG 4:2:0", "WebP", "jpeg, published", "vtm, published"]
    dashes = page.js("return Chart.getChart('curves').data.datasets.map((each) => Boolean(each.borderDash))")
    assert dashes == [False, False, False, True, True]
    x, y, bpp, psnr = page.js(
        "const c = Chart.getChart('curves'), p = c.getDatasetMeta(1).data[1], v = c.data.datasets[1].data[1];"
        "c.canvas.scrollIntoView({block: 'center'}); const b = c.canvas.getBoundingClientRect();"
        "return [b.x + p.x, b.y + p.y, v.x, v.y]"
    )
    actions = ActionChains(page.driver, 20).w3c_actions
    actions.pointer_action.move_to_location(int(x) + 2, int(y))
    actions.perform()
    page.wait("Chart.getChart('curves').tooltip.opacity > 0")
    said = page.js("const t = Chart.getChart('curves').tooltip; return [t.title[0], ...t.body[0].lines]")
    assert said[0] == "JPEG 4:2:0, setting 20"
    assert said[3] == "mean of 2 pictures"
    shapes = r"([0-9.]+) bit/px", r"PSNR over RGB ([0-9.]+) dB"
    told = [re.fullmatch(shape, line) for shape, line in zip(shapes, said[1:3], strict=True)]
    assert [float(match[1]) for match in told if match] == [pytest.approx(bpp, abs=6e-4), pytest.approx(psnr, abs=6e-3)]


def test_the_keys_walk_along_the_curves(page: Page) -> None:
    page.js("document.getElementById('curves').focus()")
    page.keys(Keys.ARROW_RIGHT)
    first = page.js("return document.getElementById('curves-said').textContent")
    page.keys(Keys.ARROW_RIGHT, Keys.ARROW_DOWN)
    second = page.js("return document.getElementById('curves-said').textContent")
    assert first.startswith("Intaglio: ")
    assert second.startswith("JPEG 4:2:0: ")
    assert "bit/px" in first


def test_the_curves_follow_measure_axis_picture_and_ticks(page: Page) -> None:
    axes = "const s = Chart.getChart('curves').scales; return [s.x.type, s.y.options.title.text]"
    assert page.js(axes) == ["logarithmic", "PSNR over RGB, dB"]
    page.press("#axis input[value=linear]")
    page.press("#measure input[value=psnr_y]")
    assert page.js(axes) == ["linear", "PSNR of luma, dB"]
    assert curves(page) == ["Intaglio", "JPEG 4:2:0", "WebP"]
    page.press("#measure input[value=ms_ssim_db]")
    assert "vtm, published" in curves(page)
    before = page.js("return Chart.getChart('curves').data.datasets[0].data[0].y")
    page.press("#scope option[value='1']")
    assert page.js("return Chart.getChart('curves').data.datasets[0].data[0].y") != before
    assert "vtm, published" not in curves(page)
    assert page.text("#figures-note").startswith("colosseum.webp, 12 rows.")
    page.press("#legend label:nth-of-type(2) input")
    assert curves(page) == ["Intaglio", "WebP"]
    assert page.text("#figures-note").startswith("colosseum.webp, 8 rows.")


def test_the_figures_sort_by_every_heading(page: Page) -> None:
    cell = "Number(row.cells[3].textContent.replaceAll(',', ''))"
    sizes = f"return [...document.querySelectorAll('#figures tbody tr')].map((row) => {cell})"
    unsorted = page.js(sizes)
    for state, turned in (("ascending", False), ("descending", True)):
        page.press("#figures th[data-key=bytes] button")
        assert page.find("#figures th[data-key=bytes]").get_attribute("aria-sort") == state
        assert page.js(sizes) == sorted(unsorted, reverse=turned) != unsorted
    heads = page.text("#figures thead").replace("\n", " ")
    assert all(unit in heads for unit in ("bytes", "bit/px", "dB", "s"))


def test_bd_rates_are_those_of_the_summary(page: Page, folder: Path) -> None:
    matrix = results.read_summary(folder)["bd_rate"]["psnr"]
    rate = next(each["rate"] for each in matrix["cells"] if (each["anchor"], each["test"]) == ("jpeg", "intaglio"))
    assert page.text("#bd tbody tr:nth-child(2) td:nth-child(2)") == f"{rate:+.1f} %".replace("-", "\u2212")


def test_light_and_dark_follow_the_system_until_the_switch_says_otherwise(page: Page) -> None:
    background = "return getComputedStyle(document.documentElement).backgroundColor"
    ink = "return Chart.getChart('curves').options.scales.x.ticks.color"
    seen = {}
    for system in ("light", "dark"):
        media = {"features": [{"name": "prefers-color-scheme", "value": system}]}
        page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
        page.wait("matchMedia('(prefers-color-scheme: dark)').matches === arguments[0]", system == "dark")
        page.wait("Chart.getChart('curves').options.scales.x.ticks.color === getComputedStyle(subline).color")
        seen[system] = (page.js(background), page.js(ink))
    assert seen["light"] != seen["dark"]
    page.press("#theme input[value=light]")
    assert (page.js(background), page.js(ink)) == seen["light"]
    page.press("#theme input[value=dark]")
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert (page.js(background), page.js(ink)) == seen["dark"]
    page.press("#theme input[value=auto]")


def test_hostile_names_do_nothing_and_are_shown_as_they_are(chromium: Page, tmp_path: Path, photo: np.ndarray) -> None:
    row = Row(HOSTILE, 40, 30, HOSTILE, HOSTILE, 100, 0.5, 30.0)
    told = {"codecs": {HOSTILE: {"label": HOSTILE, "about": HOSTILE}}, "environment": {HOSTILE: HOSTILE}}
    rows = [row, Row(HOSTILE, error=HOSTILE)]
    chromium.open(report.write(write_folder(tmp_path, rows, told)))
    assert chromium.js("return window.harmed") is None
    assert HOSTILE in chromium.text("#errors")
    assert chromium.text("#figures tbody th") == HOSTILE
    assert chromium.complaints() == []
