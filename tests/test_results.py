"""Rows and summaries come back as they were written, and files of others are read or refused by line."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from intaglio import results
from intaglio.errors import ArgumentError
from intaglio.results import Row

COLUMNS = (
    "picture,width,height,codec,setting,bytes,bpp,psnr,psnr_y,psnr_c,ms_ssim,ms_ssim_db,ssimulacra2,"
    "encode_s,decode_s,peak_mb,error"
)
ROWS = [
    Row("a.png", 4, 2, "jpeg", "5", 10, 10.0, 30.12346, math.inf, 31.0, 0.9, 10.0, -5.5, 0.001, 0.002, 60.5),
    Row('b,"x" \u00e4.png', error="two words"),
    Row("c.png", 4, 2, "webp", "7.5", 5, 5.0, math.nan, -math.inf),
]


def test_rows_come_back_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    results.write_rows(path, ROWS[:1])
    results.append_rows(path, ROWS[1:])
    assert path.read_text(encoding="utf-8").splitlines()[0] == COLUMNS
    assert [repr(row) for row in results.read_rows(path)] == [repr(row) for row in ROWS]  # NaN is not equal to itself
    fresh = tmp_path / "fresh.csv"
    results.append_rows(fresh, ROWS)
    assert fresh.read_bytes() == path.read_bytes()


def test_what_is_not_measured_is_empty_and_a_row_is_one_line() -> None:
    text = results.to_csv([Row("a b", error="one\r\ntwo")], heading=False)
    assert text == "a b,0,0,,,0,,,,,,,,,,,one two\n"


def test_spaces_in_names_come_back_as_they_were(tmp_path: Path) -> None:
    names = ["a  b.png", " c.png", "d .png ", "e\u202f\u00a0.png"]
    results.write_rows(tmp_path / "rows.csv", [Row(name) for name in names])
    assert [row.picture for row in results.read_rows(tmp_path / "rows.csv")] == names


@pytest.mark.parametrize("name", ["a\nb.png", "a\tb.png", "a\udcff.png", "a\u2028b.png", "\x7f.png"])
def test_names_that_no_line_of_utf8_can_hold_are_refused_in_one_line(name: str) -> None:
    with pytest.raises(ArgumentError, match="the name is not UTF-8 or has control characters") as caught:
        results.check_name(Path("some\udcfe\nfolder") / name)
    assert len(str(caught.value).splitlines()) == 1
    str(caught.value).encode()


def test_an_unfinished_line_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    results.write_rows(path, ROWS)
    whole = path.read_bytes()
    results.cut_unfinished(path)
    assert path.read_bytes() == whole
    path.write_bytes(whole + b"c.png,4,2,we")
    results.cut_unfinished(path)
    assert path.read_bytes() == whole
    path.write_bytes(b"pictu")
    results.cut_unfinished(path)
    assert path.read_bytes() == b""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("picture,wid", "its heading is cut short, and no rows follow"),
        ("picture,wid\n", "the column codec is missing"),
        ("picture,codec,setting\n", "the column bpp is missing"),
        ("picture,codec,setting,bpp\na,jpeg,1\n", r"rows\.csv line 2: 3 fields under 4 columns"),
        ("picture,codec,setting,bpp\na,jpeg,1,x\n", r"rows\.csv line 2: bpp is 'x', which is no number"),
        ("picture,codec,setting,bpp,bytes\n\na,jpeg,1,1,1.5\n", r"line 3: bytes is '1\.5', which is no whole number"),
    ],
)
def test_files_that_hold_no_rows_are_refused_by_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(text)
    with pytest.raises(ArgumentError, match=said):
        results.read_rows(path)


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00")
    for name, said in (("none.csv", "cannot be read"), ("binary.csv", "no text in UTF-8"), (".", "cannot be read")):
        with pytest.raises(ArgumentError, match=said):
            results.read_rows(tmp_path / name)


def test_means_are_over_the_pictures_that_have_the_measure() -> None:
    rows = [
        Row("a", codec="webp", setting="9", bytes=30, bpp=3.0, psnr=30.0, ms_ssim=0.9),
        Row("b", codec="webp", setting="9", bytes=10, bpp=1.0, psnr=32.0),
        Row("a", codec="webp", setting="1", bytes=4, bpp=0.5, psnr=20.0),
        Row("c", codec="webp", setting="9", bpp=99.0, error="failed"),
        Row("a", codec="avif", setting="5", bytes=4, bpp=0.5, psnr=math.inf),
    ]
    found = results.means(rows)
    assert [(mean.codec, mean.setting, mean.pictures) for mean in found] == [
        ("webp", "1", 1),
        ("webp", "9", 2),
        ("avif", "5", 1),
    ]
    assert (found[1].bytes, found[1].bpp, found[1].psnr, found[1].ms_ssim) == (20, 2.0, 31.0, 0.9)
    assert math.isinf(found[2].psnr)
    assert math.isnan(found[2].ms_ssim)


def test_summaries_are_json_whatever_the_numbers(tmp_path: Path) -> None:
    given = {"x": math.nan, "y": [math.inf, -math.inf, 1.5], "row": ROWS[2], 7: {"deep": (1, None, True)}}
    results.write_summary(tmp_path, given)
    found = results.read_summary(tmp_path)
    assert found["x"] is None
    assert found["y"] == ["inf", "-inf", 1.5]
    assert (found["row"]["psnr"], found["row"]["psnr_y"]) == (None, "-inf")
    assert found["7"] == {"deep": [1, None, True]}
    assert json.loads((tmp_path / "summary.json").read_text(), parse_constant=pytest.fail) == found


@pytest.mark.parametrize(("text", "said"), [(None, "cannot be read"), ("{", "damaged"), ("[]", "not a summary")])
def test_damaged_summaries_are_refused(tmp_path: Path, text: str | None, said: str) -> None:
    if text is not None:
        (tmp_path / "summary.json").write_text(text)
    with pytest.raises(ArgumentError, match=said):
        results.read_summary(tmp_path)


def test_published_curves_are_read_by_rising_rate(tmp_path: Path) -> None:
    path = tmp_path / "published.csv"
    path.write_text(
        "\ufeffmethod, bpp,psnr_rgb_db,ms-ssim\nvtm,0.5,34,0.98\nvtm,0.25,32,\nbpg,0.1,,0.8\nbpg,0.2,,\n",
        encoding="utf-8",
    )
    found = results.read_published(path)
    assert [point.bpp for point in found["vtm"]] == [0.25, 0.5]
    assert math.isnan(found["vtm"][0].ms_ssim)
    assert [(point.bpp, point.ms_ssim) for point in found["bpg"]] == [(0.1, 0.8)]  # the other says nothing


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("vtm,0,34,0.9", "line 2: not a point"),
        ("vtm,-1,34,0.9", "not a point"),
        ("vtm,nan,34,0.9", "not a point"),
        ("vtm,,34,0.9", "not a point"),
        ("vtm,0.5,inf,0.9", "not a point"),
        ("vtm,0.5,34,1.5", "not a point"),
        (",0.5,34,0.9", "not a point"),
        ("vtm,0.5,x,0.9", "psnr is 'x'"),
        ("vtm,0.5,34", "3 fields under 4"),
        ("vtm,0.5,,", "holds no points"),
    ],
)
def test_published_points_that_cannot_be_are_refused_by_line(tmp_path: Path, line: str, said: str) -> None:
    path = tmp_path / "published.csv"
    path.write_text(f"method,bpp,psnr,ms_ssim\n{line}\n")
    with pytest.raises(ArgumentError, match=said):
        results.read_published(path)
