"""The report is one file that needs nothing else, says what was measured, and lets no name out of a file do harm."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from intaglio import allocation, images, report, results
from intaglio.errors import ArgumentError, ImageError, IntaglioError
from intaglio.report import page
from intaglio.results import Row
from report_folder import keep, write_folder

ASSETS = files("intaglio.report") / "assets"
OUTSIDE = {"src", "href", "srcset", "action", "formaction", "poster", "data", "background", "cite", "ping", "manifest"}
HOSTILE = '</script><script>alert(1)</script><img src=x onerror="alert(2)">&amp;\'"'


class Tags(HTMLParser):
    """Every tag with its attributes, and the text of each script by its id, of the style, and of the title."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.texts: dict[str, str] = {}
        self._open = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.tags.append((tag, found))
        self._open = found.get("id", tag) if tag in {"script", "style", "title"} else ""

    def handle_data(self, data: str) -> None:
        if self._open:
            self.texts[self._open] = self.texts.get(self._open, "") + data

    def handle_endtag(self, tag: str) -> None:
        self._open = ""


def row(picture: str = "a.png", codec: str = "jpeg", setting: str = "50", **values: Any) -> Row:
    """A row with a size and a rate."""
    usual = {"width": 40, "height": 30, "bytes": 150, "bpp": 1.0, "psnr": 30.0}
    return Row(picture, codec=codec, setting=setting, **{**usual, **values})


def read(path: Path) -> tuple[Tags, dict[str, Any]]:
    """The page's tags and its data."""
    tags = Tags(path.read_text(encoding="utf-8"))
    return tags, json.loads(tags.texts["data"])


def embedded(tags: Tags, number: int) -> np.ndarray:
    """A picture that the page carries."""
    with Image.open(io.BytesIO(base64.b64decode(tags.texts[f"file-{number}"]))) as picture:
        return np.asarray(picture)


def pictures_kept(
    folder: Path, rng: np.random.Generator, names: list[str], size: tuple[int, int]
) -> dict[tuple[str, str], np.ndarray]:
    """A folder with noise (which no codec makes small) for an original and a decoded picture of every name."""
    found = {}
    for name in names:
        for codec, setting in ((results.ORIGINAL, ""), ("jpeg", "50")):
            pixels = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
            keep(folder, name, pixels, codec, setting)
            found[name, codec] = pixels
    write_folder(folder, [row(name, width=size[1], height=size[0]) for name in names])
    return found


def test_the_page_names_nothing_outside_itself(tmp_path: Path, rng: np.random.Generator) -> None:
    pictures_kept(tmp_path, rng, ["a.png"], (30, 40))
    tags, _ = read(report.write(tmp_path))
    links = [(tag, name, value) for tag, each in tags.tags for name, value in each.items() if name in OUTSIDE]
    assert links == [("link", "href", "data:,")]
    assert not any(tag in {"iframe", "object", "embed", "base"} for tag, _ in tags.tags)
    assert not re.search(r"url\(|@import|https?:", tags.texts["style"])


def test_our_scripts_ask_nobody_for_anything() -> None:
    ours = "\n".join((ASSETS / name).read_text(encoding="utf-8") for name in page.SCRIPTS)
    asks = r"\bfetch\(|XMLHttpRequest|WebSocket|EventSource|sendBeacon|\bimport\b"
    writes = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\("
    assert "createElement" in ours
    assert not re.findall(f"{asks}|{writes}", ours)


def test_the_policy_allows_the_scripts_and_styles_of_the_page_and_no_request(tmp_path: Path) -> None:
    tags, _ = read(report.write(write_folder(tmp_path, [row()])))
    policy = next(each["content"] for tag, each in tags.tags if each.get("http-equiv") == "Content-Security-Policy")
    rules = {rule.split()[0]: rule.split()[1:] for rule in policy.split("; ")}
    assert rules["default-src"] == ["'none'"]
    assert rules["img-src"] == ["data:", "blob:"]
    for rule, tag in (("script-src", "script"), ("style-src", "style")):
        digest = base64.b64encode(hashlib.sha256(tags.texts[tag].encode()).digest()).decode()
        assert rules[rule] == [f"'sha256-{digest}'"]
    assert all(not name.startswith("on") and name != "style" for _, each in tags.tags for name in each)


def test_the_library_is_what_its_notice_says_and_brings_its_licence(tmp_path: Path) -> None:
    library = (ASSETS / page.LIBRARY).read_bytes()
    notice = (ASSETS / "README.md").read_text(encoding="utf-8")
    assert hashlib.sha256(library).hexdigest() in notice
    assert re.search(rb"Chart\.js v([0-9.]+)", library)[1].decode() in notice  # pyright: ignore[reportOptionalSubscript]
    script = read(report.write(write_folder(tmp_path, [row()])))[0].texts["script"]
    assert (ASSETS / page.LICENCE).read_text(encoding="utf-8") in script
    assert "sourceMappingURL" not in script


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    rows = [row(HOSTILE, codec=HOSTILE, setting=HOSTILE), row("b.png", error=HOSTILE)]
    about = {"codecs": {HOSTILE: {"label": HOSTILE, "about": HOSTILE}}, "command": [HOSTILE], "date": HOSTILE}
    told = about | {"environment": {HOSTILE: HOSTILE}, "published": {HOSTILE: [{"bpp": 1.0, "psnr": 30.0}]}}
    path = report.write(write_folder(tmp_path, rows, told))
    tags, data = read(path)
    assert "alert(" not in path.read_text(encoding="utf-8").replace("\\u003cscript\\u003ealert(", "").replace(
        'onerror=\\"alert(', ""
    )
    assert [tag for tag, _ in tags.tags if tag == "script"] == ["script", "script"]
    assert data["pictures"][0]["name"] == data["codecs"][0]["label"] == data["points"][0][2] == HOSTILE
    assert HOSTILE in data["errors"]["lines"][0]


def test_the_data_are_the_rows_and_their_means(tmp_path: Path) -> None:
    rows = [row(psnr=30.0, bpp=1.0), row("b.png", psnr=34.0, bpp=0.5), row("c.png", error="too large\nfor it")]
    rows.append(row(setting="90", psnr=math.inf, ms_ssim=0.5))
    _, data = read(report.write(write_folder(tmp_path, rows)))
    place = {name: 3 + index for index, name in enumerate(data["columns"])}
    assert [each["name"] for each in data["pictures"]] == ["a.png", "b.png", "c.png"]
    assert [point[:3] for point in data["points"]] == [[0, 0, "50"], [1, 0, "50"], [0, 0, "90"]]
    assert [point[place["psnr"]] for point in data["points"]] == [30, 34, "inf"]
    assert [point[place["ms_ssim"]] for point in data["points"]] == [None, None, 0.5]
    mean = next(each for each in data["means"] if each[1] == "50")
    assert mean[:3] == [0, "50", 2]
    assert (mean[place["psnr"]], mean[place["bpp"]]) == (32, 0.75)
    assert data["errors"] == {"count": 1, "lines": ["c.png, jpeg, setting 50: too large for it"]}


def test_a_size_that_no_setting_reaches_is_told_but_is_no_error(tmp_path: Path) -> None:
    missed = row("b.png", error=results.unreached(900, 1.0, 1200))
    _, data = read(report.write(write_folder(tmp_path, [row(psnr=30.0, bpp=1.0), missed])))
    assert data["errors"]["count"] == 0
    assert data["errors"]["lines"] == [f"b.png, jpeg, setting 50: {missed.error}"]


def test_a_comparison_at_one_size_is_averaged_over_its_settings(tmp_path: Path) -> None:
    rows = [row(setting="50", psnr=30.0), row("b.png", setting="60", psnr=32.0)]
    _, data = read(
        report.write(write_folder(tmp_path, rows, {"kind": "compare", "target": {"bytes": 150, "bpp": 1.0}}))
    )
    assert [each[:3] for each in data["means"]] == [[0, "", 2]]
    assert data["target"]["bytes"] == 150


def test_published_curves_and_bd_rates_come_from_the_summary(tmp_path: Path) -> None:
    cell = {"anchor": "jpeg", "test": "webp", "rate": -30.0, "interval_low": None, "interval_high": None}
    matrix = {"metric": "psnr", "codecs": ["jpeg", "webp"], "cells": [cell], "notices": []}
    points = [{"bpp": 0.5, "psnr": 30.0, "ms_ssim": 0.9}, {"bpp": 1.0, "psnr": 33.0, "ms_ssim": None}]
    folder = write_folder(tmp_path, [row()], {"bd_rate": matrix, "published": {"vtm": points}})
    _, data = read(report.write(folder))
    assert data["published"] == {"vtm": [[0.5, 30, pytest.approx(10)], [1.0, 33, None]]}
    assert data["bd_rate"]["psnr"]["cells"][0]["rate"] == -30
    results.write_summary(folder, {"bd_rate": {"psnr": matrix, "psnr_y": matrix}})
    assert set(read(report.write(folder))[1]["bd_rate"]) == {"psnr", "psnr_y"}


def test_kept_pictures_are_in_the_page_sample_for_sample(tmp_path: Path, rng: np.random.Generator) -> None:
    kept = pictures_kept(tmp_path, rng, ["a.png", "b.png"], (30, 50))
    bits = rng.uniform(0, 900, (4, 4))
    allocation.save(allocation.beside(results.kept_path(tmp_path, "b.png", "jpeg", "50")), bits)
    tags, data = read(report.write(tmp_path))
    for index, name in enumerate(["a.png", "b.png"]):
        about = data["pictures"][index]
        assert about["box"] == [0, 0, 50, 30]
        assert [each["codec"] for each in about["versions"]] == [-1, 0]
        for each, codec in zip(about["versions"], (results.ORIGINAL, "jpeg"), strict=True):
            assert np.array_equal(embedded(tags, each["file"]), kept[name, codec])
    version = data["pictures"][1]["versions"][1]
    assert version["max_bpp"] == pytest.approx(bits.max() / 256, rel=1e-4)
    shown = embedded(tags, version["map"]) * version["max_bpp"] / 255
    assert shown.shape == (2, 4)  # the rows of the map below the picture are padding
    assert np.abs(shown - bits[:2] / 256).max() <= bits.max() / 256 / 255


def test_pictures_that_do_not_fit_become_centre_crops_of_one_size(tmp_path: Path, rng: np.random.Generator) -> None:
    kept = pictures_kept(tmp_path, rng, ["a.png", "b.png", "c.png"], (300, 400))
    whole = report.write(tmp_path).stat().st_size
    limit = whole - 600_000
    path = report.write(tmp_path, limit=limit)
    tags, data = read(path)
    assert path.stat().st_size <= limit
    boxes = [each["box"] for each in data["pictures"]]
    assert boxes[0] == [0, 0, 400, 300]
    left, top, right, bottom = boxes[2]
    assert right - left < 400
    assert left % 16 == top % 16 == 0
    assert max(abs(left + right - 400), abs(top + bottom - 300)) <= 32
    file = data["pictures"][2]["versions"][1]["file"]
    assert np.array_equal(embedded(tags, file), kept["c.png", "jpeg"][top:bottom, left:right])
    assert all(each["thumbnail"].startswith("data:image/webp;base64,") for each in data["pictures"])


def test_what_does_not_even_fit_as_a_crop_is_left_out(tmp_path: Path, rng: np.random.Generator) -> None:
    pictures_kept(tmp_path, rng, ["a.png", "b.png", "c.png"], (200, 200))
    bare = len(page.build(read(report.write(tmp_path))[1], []))
    path = report.write(tmp_path, limit=bare + 150_000)
    _, data = read(path)
    assert path.stat().st_size <= bare + 150_000
    assert [bool(each["versions"]) for each in data["pictures"]] == [True, False, False]
    assert all(each["kept"] == 2 for each in data["pictures"])


def test_preparing_pictures_reports_its_progress(tmp_path: Path, rng: np.random.Generator) -> None:
    pictures_kept(tmp_path, rng, ["a.png", "b.png"], (20, 20))
    calls: list[tuple[int, int]] = []
    report.write(tmp_path, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(done, 4) for done in range(5)]


def test_a_name_that_leads_out_of_the_folder_is_not_followed(tmp_path: Path, photo: np.ndarray) -> None:
    folder = tmp_path / "results"
    (folder / results.KEPT).mkdir(parents=True)
    (tmp_path / "secret").mkdir()
    images.save(tmp_path / "secret" / "original.webp", photo)
    assert results.kept_path(folder, "../../secret").is_file()
    _, data = read(report.write(write_folder(folder, [row("../../secret")])))
    assert data["pictures"][0]["kept"] == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("picture,codec,setting\na.png,jpeg,50\n", "column bpp is missing"),
        ("picture,codec,setting,bpp\n", "holds no rows"),
        ("", "is empty"),
        ("picture,codec,setting,bpp\na.png,jpeg,50,many\n", "'many'"),
    ],
)
def test_rows_that_are_no_results_are_one_clear_error(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / results.ROWS).write_text(text)
    with pytest.raises(ArgumentError, match=said) as caught:
        report.write(tmp_path)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / results.REPORT).exists()


def test_a_folder_without_results_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"rows\.csv: cannot be read"):
        report.write(tmp_path)


@pytest.mark.parametrize("kind", ["picture", "map", "summary"])
def test_a_damaged_file_is_named(tmp_path: Path, photo: np.ndarray, kind: str) -> None:
    write_folder(tmp_path, [row()], {})
    path = keep(tmp_path, "a.png", photo[:30, :40])
    keep(tmp_path, "a.png", photo[:30, :40], "jpeg", "50")
    broken = {
        "picture": path,
        "map": allocation.beside(results.kept_path(tmp_path, "a.png", "jpeg", "50")),
        "summary": tmp_path / results.SUMMARY,
    }[kind]
    broken.write_bytes(b"not this")
    with pytest.raises(IntaglioError, match=re.escape(str(broken))):
        report.write(tmp_path)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("published", {"x": [3]}),
        ("published", {"x": [{"bpp": [1]}]}),
        ("published", [3]),
        ("published", {"x": None}),
        ("codecs", {"jpeg": 3}),
        ("codecs", {"jpeg": {"label": []}}),
        ("codecs", 3),
        ("pictures", 3),
        ("pictures", [3]),
        ("environment", "two cores"),
        ("target", 11019),
        ("bd_rate", 3),
        ("bd_rate", {"psnr": 3}),
        ("bd_rate", {"cells": 3, "codecs": []}),
        ("bd_rate", {"psnr": {"cells": [{"anchor": 1}], "codecs": ["jpeg"]}}),
        ("bd_rate", {"psnr": {"cells": [], "codecs": [1]}}),
    ],
)
def test_a_damaged_part_of_the_summary_is_one_clear_error(tmp_path: Path, name: str, value: Any) -> None:
    folder = write_folder(tmp_path, [row()], {name: value})
    with pytest.raises(ArgumentError) as caught:
        report.write(folder)
    assert str(caught.value) == f"{folder / results.SUMMARY}: {name} is damaged; run the evaluation again"
    assert not (folder / results.REPORT).exists()


def test_what_a_summary_lacks_or_has_more_does_no_harm(tmp_path: Path) -> None:
    lacking = {"published": None, "codecs": {"jpeg": {}}, "bd_rate": {"psnr": {"cells": []}}, "target": None}
    more = {"something": 3, "pictures": [{"more": 3}], "environment": {"machine": None}}
    _, data = read(report.write(write_folder(tmp_path, [row()], lacking | more)))
    assert (data["published"], data["bd_rate"], data["codecs"][0]["label"]) == ({}, {}, "JPEG 4:2:0")


def test_rows_that_all_failed_still_make_a_page(tmp_path: Path) -> None:
    _, data = read(report.write(write_folder(tmp_path, [Row("a.png", error="not a picture")])))
    assert data["errors"] == {"count": 1, "lines": ["a.png: not a picture"]}
    assert data["means"] == []


def test_very_many_rows_leave_only_their_means(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("intaglio.report.content.MAX_POINTS", 2)
    rows = [row(), row("b.png"), row("c.png")]
    _, data = read(report.write(write_folder(tmp_path, rows)))
    assert (data["crowded"], data["points"], len(data["means"])) == (True, [], 1)
    assert not read(report.write(write_folder(tmp_path, rows[:2])))[1]["crowded"]


def test_a_page_that_cannot_be_kept_small_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="evaluate fewer pictures"):
        report.write(write_folder(tmp_path, [replace(row(), picture="x" * 5000)]), limit=2000)


def test_an_allocation_map_that_is_none_is_refused(tmp_path: Path, photo: np.ndarray) -> None:
    for bits in (np.zeros(4), np.full((2, 2), math.nan), np.full((2, 2), -1.0), np.zeros((0, 2))):
        with pytest.raises(ArgumentError, match="no map"):
            allocation.save(tmp_path / "map.png", bits)
    images.save(tmp_path / "grey.png", photo[..., 0])
    with pytest.raises(ImageError, match="not an allocation map"):
        allocation.load(tmp_path / "grey.png")
    allocation.save(tmp_path / "zero.png", np.zeros((2, 3)))
    assert allocation.load(tmp_path / "zero.png").top == 0


def test_where_not_every_setting_fits_those_near_a_few_rates_are_shown(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    rates = {"10": 0.05, "20": 0.14, "30": 0.3, "40": 0.41, "50": 0.9, "60": 2.0}
    keep(tmp_path, "a.png", rng.integers(0, 256, (100, 100, 3), dtype=np.uint8))
    for setting in rates:
        keep(tmp_path, "a.png", rng.integers(0, 256, (100, 100, 3), dtype=np.uint8), "jpeg", setting)
    rows = [row(setting=setting, bpp=bpp, width=100, height=100) for setting, bpp in rates.items()]
    whole = report.write(write_folder(tmp_path, rows)).stat().st_size
    expected = {whole + 5000: ["", *rates], whole - 50_000: ["", "20", "40", "50"], whole - 150_000: ["", "30"]}
    for limit, settings in expected.items():
        about = read(report.write(tmp_path, limit=limit))[1]["pictures"][0]
        assert [each["setting"] for each in about["versions"]] == settings, f"in {limit} of {whole} bytes"
        assert (about["box"], about["kept"]) == ([0, 0, 100, 100], 7)
