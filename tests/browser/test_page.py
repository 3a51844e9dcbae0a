"""The report in a browser: curves, figures, colours, and names that mean harm."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
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
    # Intaglio's row, JPEG's column
    assert page.text("#bd tbody tr:nth-child(1) td:nth-child(3)") == f"{rate:+.1f} %".replace("-", "\u2212")
    assert page.text("#bd thead th") == "Row against column"
    assert page.text("#bd-note").startswith("The row against the column: how many more bits")
    assert page.all("#bd .saves, #bd .costs") == []  # two pictures give no interval


def test_only_a_bd_rate_whose_interval_does_not_hold_zero_is_coloured(chromium: Page, tmp_path: Path) -> None:
    intervals = [(-40.0, -20.0), (-40.0, 2.0), (None, None), (12.0, 30.0), (-5.0, None), (None, 9.0)]
    names = ["jpeg", *(f"codec{number}" for number in range(len(intervals)))]
    cells = [
        {"anchor": "jpeg", "test": test, "rate": -30.0 if (low or -1) < 0 else 20.0, "interval_low": low}
        | {"interval_high": high, "low": None, "high": None, "pictures": 6}
        for test, (low, high) in zip(names[1:], intervals, strict=True)
    ]
    rows = [Row("a.png", 40, 30, name, "1", 100, 0.5, 30.0) for name in names]
    matrix = {"metric": "psnr", "codecs": names, "cells": cells}
    chromium.open(report.write(write_folder(tmp_path, rows, {"bd_rate": matrix})))
    looks = (
        "return [...document.querySelectorAll('#bd tbody tr td:nth-child(2)')].slice(1).map((each) => each.className)"
    )
    plain = "number"
    assert chromium.js(looks) == ["number saves", plain, plain, "number costs", plain, plain]
    assert chromium.complaints() == []


BUILT_IN = ("intaglio", "jpeg", "jpegopt", "jpeg444", "jpeg2000", "webp", "avif", "jpegxl", "bpg", "vtm", "hm")
LOOKS = (
    "return Chart.getChart('curves').data.datasets.map((each) => [each.borderColor, "
    "[each.pointStyle, each.rotation, each.pointBackgroundColor === each.borderColor].join(), "
    "`${each.borderColor} ${each.borderDash}`])"
)


def curve_rows(codecs: Sequence[str], rates: Sequence[float] = (0.2, 0.5, 1.0), start: float = 25.0) -> list[Row]:
    """Rows of one picture: every codec at these rates."""
    return [
        Row("a.png", 40, 30, codec, str(index), 100, bpp, start + number + index)
        for number, codec in enumerate(codecs)
        for index, bpp in enumerate(rates)
    ]


def test_every_codec_and_published_method_looks_different_in_the_chart_and_in_the_legend(
    chromium: Page, tmp_path: Path
) -> None:
    codecs = [*BUILT_IN[:-2], "intaglio-other"]  # a second model gets a look that is free
    rows = [*curve_rows(codecs), *(replace(row, picture="b.png") for row in curve_rows(codecs))]
    points = [{"bpp": bpp, "psnr": 30 + bpp} for bpp in (0.2, 1.0)]
    published = {f"method {number}": points for number in range(6)}
    for keys, told in ((BUILT_IN, {}), (codecs, {"published": published})):
        given = rows if told else curve_rows(keys)
        chromium.open(report.write(write_folder(tmp_path, given, told)))
        looks = chromium.js(LOOKS)
        assert len(looks) == len(keys) + len(told and published)
        own = looks[: len(keys)]
        for column in (0, 1):
            assert len({look[column] for look in own}) == len(keys), [look[column] for look in own]
        assert len({look[2] for look in looks}) == len(looks), [look[2] for look in looks]
        drawn = chromium.js("return [...document.querySelectorAll('#legend canvas')].map((each) => each.toDataURL())")
        assert len(set(drawn)) == len(drawn) == len(looks)
    assert chromium.complaints() == []


def test_the_legend_of_a_published_curve_that_is_drawn_is_never_folded_away(chromium: Page, tmp_path: Path) -> None:
    rows = [*curve_rows(["jpeg"]), *(replace(row, picture="b.png") for row in curve_rows(["jpeg"]))]
    published = {f"method {number}": [{"bpp": 0.5, "psnr": 30.0 + number}] for number in range(9)}
    chromium.open(report.write(write_folder(tmp_path, rows, {"published": published})))
    legend = "return [...document.querySelectorAll('#legend label')].map((each) => each.textContent)"
    assert chromium.js(legend) == curves(chromium) == ["JPEG 4:2:0", *(f"method {at}, published" for at in range(4))]
    assert chromium.text("#published-box summary") == "More published curves (5)"
    chromium.press("#published-box summary")
    chromium.press("#published label:last-of-type input")
    assert chromium.js(legend) == curves(chromium)
    assert curves(chromium)[-1] == "method 8, published"
    assert chromium.js("return document.activeElement.value") == "method 8"
    chromium.keys(Keys.SPACE)
    assert "method 8, published" not in curves(chromium)
    assert chromium.text("#published-box summary") == "More published curves (4)"


def test_rates_that_lie_close_together_have_an_axis_that_can_be_read(chromium: Page, tmp_path: Path) -> None:
    keys = ["intaglio", "jpeg", "webp", "avif"]
    rates, values = (0.1117, 0.1061, 0.1088, 0.1126), (24.71, 24.66, 24.83, 24.78)
    rows = [
        Row("a.png", 40, 30, key, "1", 100, bpp, value) for key, bpp, value in zip(keys, rates, values, strict=True)
    ]
    chromium.open(report.write(write_folder(tmp_path, rows, {"kind": "compare"})))
    labels = "return Chart.getChart('curves').scales[arguments[0]].ticks.map((tick) => [tick.value, tick.label])"
    for scale in ("logarithmic", "linear"):
        chromium.press(f"#axis input[value={scale}]")
        for axis, spread in (("x", 0.0065), ("y", 0.17)):
            ticks = chromium.js(labels, axis)
            told = [float(label) for _, label in ticks]
            assert len(ticks) >= 3, (scale, axis, ticks)
            assert len(set(told)) == len(told), f"{scale} {axis}: two ticks have one label: {ticks}"
            assert told == pytest.approx([value for value, _ in ticks], abs=1e-9), f"{scale} {axis}: wrong: {ticks}"
            assert np.diff(told).max() < spread, f"{scale} {axis}: the ticks tell nothing of the points: {ticks}"
    radii = "return Chart.getChart('curves').data.datasets.map((each) => each.pointRadius)"
    assert min(chromium.js(radii)) >= 6
    inside = (
        "const c = Chart.getChart('curves'), a = c.chartArea; return c.data.datasets.every((each, at) => {"
        "const {x, y} = c.getDatasetMeta(at).data[0]; return x > a.left && x < a.right && y > a.top && y < a.bottom})"
    )
    assert chromium.js(inside)
    assert chromium.complaints() == []


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
