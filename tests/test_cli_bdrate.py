"""`intaglio bdrate`: the library's figures, every kind of file, and one line for what is wrong."""

from __future__ import annotations

import inspect
import json
from pathlib import Path

import numpy as np
import pytest

from command_line import Run
from intaglio import bdrate, cli_bdrate, metrics, rdcurves, results
from test_bdrate import ANCHOR, NAMES, TEST, apart, rows_of

PUBLISHED = "method,bpp,psnr_rgb_db,ms_ssim\n" + "".join(
    f"{name},{rate},{quality},{0.8 + 0.01 * number}\n"
    for name, points in (("vtm", TEST), ("bpg", ANCHOR))
    for number, (rate, quality) in enumerate(points)
)


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """rows.csv of jpeg and webp on 24 pictures, in a folder of results."""
    (tmp_path / "results").mkdir()
    path = tmp_path / "results" / "rows.csv"
    made = rows_of("jpeg", np.ones(24)) + rows_of("webp", np.linspace(0.7, 0.9, 24))
    results.write_rows(path, made)
    return path


def write(path: Path, points: np.ndarray, heading: str = "bpp,psnr\n") -> Path:
    path.write_text(heading + "".join(f"{rate},{quality}\n" for rate, quality in points.tolist()))
    return path


def test_two_columns_of_numbers_are_two_curves(run: Run, tmp_path: Path) -> None:
    a, b = write(tmp_path / "a.csv", ANCHOR), write(tmp_path / "b.csv", TEST, heading="")
    done = run("bdrate", a, b)
    assert (done.code, done.err) == (0, "")
    assert f"BD-rate {bdrate.bd_rate(ANCHOR, TEST):+.2f} %" in done.out
    assert "compared from 26.86 to 41.35 dB: 83% of" in done.out
    assert "classical cubic" in done.out


def test_curves_that_share_no_rate_are_said_to(run: Run, tmp_path: Path) -> None:
    a, b = write(tmp_path / "a.csv", ANCHOR), write(tmp_path / "b.csv", TEST * [0.01, 1.0])
    done = run("bdrate", a, b)
    assert (done.code, done.err) == (0, "")
    assert "the curves share no rate; BD-rate by the classical cubic" in done.out
    assert "nan" not in done.out


def test_json_is_one_object_with_the_librarys_figures(run: Run, rows: Path) -> None:
    done = run("bdrate", rows, "-c", "jpeg", "-c", "webp", "--json")
    assert (done.code, done.err, done.out.count("\n")) == (0, "", 1)
    told = json.loads(done.out, parse_constant=lambda name: pytest.fail(f"{name} in JSON"))
    anchor, test = rdcurves.read(rows, "psnr", "jpeg"), rdcurves.read(rows, "psnr", "webp")
    found = bdrate.compare(anchor, test)
    assert found.interval
    assert (told["rate"], told["interval"]) == (found.rate, list(found.interval))
    assert (told["resamples"], told["seed"], told["min_overlap"]) == (1000, 1, 0.5)
    assert set(told["per_picture"]["rates"]) == set(NAMES)


def test_a_folder_of_results_is_a_matrix(run: Run, rows: Path) -> None:
    done = run("bdrate", rows.parent)
    assert (done.code, done.err) == (0, "")
    assert done.out == run("bdrate", rows).out
    rate = bdrate.matrix(results.read_rows(rows)).cell("jpeg", "webp").rate
    assert f"{rate:+.1f} %" in done.out
    told = json.loads(run("bdrate", rows, "--json").out)
    assert (told["codecs"], len(told["cells"])) == (["jpeg", "webp"], 2)


def test_pictures_are_listed_on_request(run: Run, rows: Path) -> None:
    assert NAMES[7] not in run("bdrate", rows, "-c", "jpeg", "-c", "webp").out
    assert f"  {NAMES[7]}\n" in run("bdrate", rows, "-c", "jpeg", "-c", "webp", "--pictures").out


def test_published_curves_are_read_and_said_to_be_means(run: Run, rows: Path, tmp_path: Path) -> None:
    published = tmp_path / "published.csv"
    published.write_text(PUBLISHED)
    done = run("bdrate", published, "-c", "bpg", "-c", "vtm")
    assert (done.code, done.err) == (0, "")
    assert f"vtm against bpg, psnr, mean curves\nBD-rate {bdrate.bd_rate(ANCHOR, TEST):+.2f} %, no interval" in done.out
    done = run("bdrate", published, rows, "-c", "vtm", "-c", "jpeg", "--min-overlap", "0.1")
    assert done.code == 0
    assert "a mean already" in done.err
    found = rdcurves.read(published, "ms_ssim_db", "vtm")
    assert found.quality[0].tolist() == pytest.approx([metrics.ms_ssim_db(0.8 + 0.01 * n) for n in range(4)])


def test_one_name_beside_a_file_of_two_columns_is_for_the_table(run: Run, rows: Path, tmp_path: Path) -> None:
    plain = write(tmp_path / "a.csv", rdcurves.read(rows, "psnr", "webp").mean)
    for files, said in (((rows, plain), f"{plain} against jpeg, psnr"), ((plain, rows), f"jpeg against {plain}, psnr")):
        done = run("bdrate", *files, "-c", "jpeg")
        assert done.code == 0, done.err
        assert done.out.startswith(said)


def test_one_codec_of_two_runs_is_told_apart_by_file(run: Run, rows: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.csv"
    results.write_rows(other, rows_of("webp", np.full(24, 0.5)))
    done = run("bdrate", rows, other, "-c", "webp")
    assert f"webp of {other} against webp of {rows}" in done.out


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "is empty"),
        ("bpp,psnr\n0.1,30\n0.2,31\n0.3,32\n", "3 points; a curve needs 4 or more"),
        ("bpp,psnr\n0.1,30\n0.2,nan\n0.3,32\n0.4,33\n", "line 3: '0.2,nan' is not two finite numbers"),
        ("bpp,psnr\n0.1,30\n0.2,\n", "line 3"),
        ("bpp,psnr\n0.1,30\n0.2,31,5\n", "line 3"),
        ("bpp,psnr\n0.1,90\n0.2,91\n0.3,92\n0.4,93\n", "share no quality"),
        ("bpp,psnr\n0.1,30\n0.2,30\n0.3,32\n0.4,33\n", "have the same quality, 30.00 dB; leave one out"),
        ("bpp,psnr\n0,30\n0.2,31\n0.3,32\n0.4,33\n", "not positive"),
        ("a,b,c\n1,2,3\n", "neither rows of an evaluation nor published curves nor the two columns"),
        ("picture,codec,setting,bpp\nx.png,jpeg,5,0.1\n", "no picture has a finite bpp and psnr"),
        ("method,bpp,psnr_rgb_db\nvtm,0.1,nan\n", "wrong.csv"),
        ("\0", ""),
    ],
)
def test_files_that_are_no_curve_are_refused_in_one_line(run: Run, tmp_path: Path, text: str, what: str) -> None:
    wrong = tmp_path / "wrong.csv"
    wrong.write_text(text)
    assert what in run("bdrate", write(tmp_path / "a.csv", ANCHOR), wrong).fault()
    if "share" not in what:
        assert str(wrong) in run("bdrate", wrong, tmp_path / "a.csv").fault()


def test_binary_and_missing_files_are_refused(run: Run, tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_bytes(b"\xff\xfe\x80")
    assert "no text" in run("bdrate", "b.csv", "b.csv").fault()
    assert "No such file" in run("bdrate", "no.csv", "no.csv").fault()
    assert "cannot be read" in run("bdrate", tmp_path).fault()


def test_a_choice_that_is_not_there_is_refused(run: Run, rows: Path, tmp_path: Path) -> None:
    assert "holds no 'avif' (jpeg, webp)" in run("bdrate", rows, "-c", "jpeg", "-c", "avif").fault()
    assert "choose one with --codec" in run("bdrate", rows, write(tmp_path / "a.csv", ANCHOR)).fault()
    assert "one curve; name a second" in run("bdrate", rows, "-c", "jpeg").fault()
    assert "one or two files" in run("bdrate", rows, rows, rows).fault()
    assert "without a name" in run("bdrate", rows, tmp_path / "a.csv", "-c", "jpeg", "-c", "x").fault()
    assert "without a name" in run("bdrate", tmp_path / "a.csv", tmp_path / "a.csv", "-c", "jpeg").fault()
    assert "it must be one of psnr" in run("bdrate", rows, "--metric", "vmaf").fault()
    assert "least overlap" in run("bdrate", rows, "--min-overlap", 2).fault()
    assert "ssimulacra2" in run("bdrate", rows, "--metric", "ssimulacra2").fault()
    results.write_rows(rows, rows_of("jpeg", np.ones(24)))
    assert "fewer than two codecs" in run("bdrate", rows).fault()


def test_resamples_without_a_bd_rate_are_told(run: Run, tmp_path: Path) -> None:
    for spread, said in ((0.9, " left out)"), (3.0, "no interval (")):
        path = tmp_path / f"{spread}.csv"
        results.write_rows(path, apart(spread))
        done = run("bdrate", path, "-c", "low", "-c", "high", "--min-overlap", "0")
        assert said in done.out.splitlines()[1], done
        assert " of 1000 resamples share no quality; " in done.err


def test_the_commands_default_and_help_are_the_librarys() -> None:
    assert inspect.signature(cli_bdrate.command).parameters["min_overlap"].default == bdrate.MIN_OVERLAP
    assert all(metric in inspect.getsource(cli_bdrate) for metric in rdcurves.METRICS)
