"""An evaluation measures real files, goes on where it stopped, times only one picture at a time, and hides no error."""

from __future__ import annotations

import math
import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from command_line import Run
from intaglio import codecs, evaluate, images, metrics, results
from intaglio.errors import ArgumentError, ImageError
from intaglio.evaluate import Plan, find_pictures
from intaglio.results import Row

SMALL = str(Path(__file__).parent / "golden" / "v1" / "small.itgm")
JPEG = codecs.available().codecs["jpeg"]


@dataclass(frozen=True)
class Moody:
    """A codec that keeps every pixel and fails at 3, ends its process at 4, loses a line at 5.

    It lies in this module, so that another process can find it.
    """

    name: str = "moody"
    label: str = "Moody"
    about: str = "version 1"
    qualities: range = range(1, 9)
    usual: tuple[int, ...] = (1, 2)
    in_process: bool = True

    def encode(self, pixels: np.ndarray, quality: float) -> bytes:
        if quality == 3:
            raise ImageError("moody: not at 3")
        if quality == 4:
            os._exit(1)
        return bytes([int(quality)]) + np.array(pixels.shape[:2], "<u4").tobytes() + pixels.tobytes()

    def decode(self, data: bytes) -> np.ndarray:
        height, width = np.frombuffer(data[1:9], "<u4")
        return np.frombuffer(data[9:], np.uint8).reshape(height, width, 3)[data[0] == 5 :]


@pytest.fixture
def folder(tmp_path: Path, photo: np.ndarray) -> Path:
    """Two pictures, 192 x 176 and 60 x 40, and a text."""
    place = tmp_path / "pictures"
    place.mkdir()
    images.save(place / "b.png", photo[:176, :192])
    images.save(place / "a.png", photo[100:140, 100:160])
    (place / "notes.txt").write_text("no picture")
    return place


@pytest.fixture
def plan(folder: Path, tmp_path: Path) -> Plan:
    """JPEG at two qualities, not timed: in two processes."""
    pictures = find_pictures([folder])
    return Plan(pictures, (JPEG,), tmp_path / "out", {"jpeg": (80, 10)}, jobs=2, ssimulacra2=False)


def test_a_row_is_what_the_file_is(plan: Plan, photo: np.ndarray) -> None:
    rows = evaluate.run(plan)
    assert [row.key for row in rows] == [
        (name, "jpeg", quality) for name in ("a.png", "b.png") for quality in ("10", "80")
    ]
    pixels = photo[:176, :192]
    data = JPEG.encode(pixels, 80)
    decoded = JPEG.decode(data)
    row = rows[3]
    assert (row.width, row.height, row.bytes, row.bpp) == (192, 176, len(data), 8 * len(data) / (192 * 176))
    assert row.psnr == metrics.psnr(pixels, decoded)
    assert (row.psnr_y, row.psnr_c) == metrics.psnr_luma_chroma(pixels, decoded)
    assert row.ms_ssim == metrics.ms_ssim(pixels, decoded)
    assert row.ms_ssim_db == metrics.ms_ssim_db(row.ms_ssim)
    assert math.isnan(rows[0].ms_ssim)  # a.png is too small for it
    assert not any(row.error for row in rows)
    written = results.read_rows(plan.out / "rows.csv")
    assert [each.key for each in written] == [each.key for each in rows]
    assert written[3].psnr == pytest.approx(row.psnr, rel=1e-6)


def test_several_jobs_leave_seconds_and_memory_empty(plan: Plan) -> None:
    for row in evaluate.run(plan):
        assert math.isnan(row.encode_s), row
        assert math.isnan(row.decode_s), row
        assert math.isnan(row.peak_mb), row
    summary = results.read_summary(plan.out)
    assert not summary["timed"]
    assert summary["timing"].startswith("not taken")


@pytest.mark.slow
def test_one_job_times_and_weighs_each_codec_and_finds_the_same_files(plan: Plan, tmp_path: Path) -> None:
    several = evaluate.run(plan)
    one = evaluate.run(replace(plan, out=tmp_path / "one", jobs=1, repeats=2))
    for row, timed in zip(several, one, strict=True):
        assert timed.encode_s > 0
        assert timed.decode_s > 0
        if Path("/proc/self/clear_refs").exists():
            assert 10 < timed.peak_mb < 2000
        same = replace(timed, encode_s=math.nan, decode_s=math.nan, peak_mb=math.nan)
        assert results.to_csv([same]) == results.to_csv([row])


@pytest.mark.slow
def test_a_second_run_measures_only_what_is_missing(plan: Plan) -> None:
    evaluate.run(replace(plan, pictures=plan.pictures[:1]))
    steps: list[tuple[int, int, str]] = []
    lines: list[str] = []
    rows = evaluate.run(plan, lambda *step: steps.append(step), lines.append)
    assert len(rows) == 4
    assert steps[0] == (0, 2, "")
    assert steps[-1] == (2, 2, "jpeg b.png")
    assert lines == [f"{plan.out}: goes on with the 2 rows it holds"]
    assert len(evaluate.run(replace(plan, qualities={"jpeg": (50,)}))) == 6


def test_a_run_that_was_killed_while_it_wrote_goes_on(plan: Plan) -> None:
    whole = results.to_csv(evaluate.run(plan))
    path = plan.out / "rows.csv"
    path.write_bytes(path.read_bytes()[:-20])
    assert results.to_csv(evaluate.run(plan)) == whole
    assert len(path.read_text().splitlines()) == 5


@pytest.mark.slow
def test_what_has_changed_is_measured_again_and_told(plan: Plan, photo: np.ndarray) -> None:
    plan = replace(plan, codecs=(*plan.codecs, Moody()))
    before = evaluate.run(plan)
    images.save(plan.pictures[0], photo[:50, :50])
    newer = replace(plan, codecs=(JPEG, replace(Moody(), about="version 2")))
    lines: list[str] = []
    after = evaluate.run(newer, None, lines.append)
    assert [row.key for row in after] == [row.key for row in before]
    assert {row.width for row in after if row.picture == "a.png"} == {50}
    assert lines[0].endswith("moody is measured again: it was version 1, now it is version 2")
    assert lines[1].endswith("a.png is measured again: the picture has changed")
    assert lines[2].endswith("goes on with the 2 rows it holds")  # JPEG's of b.png


@pytest.mark.parametrize("change", [{"threads": 2}, {"ssimulacra2": True}, {"jobs": 1}])
def test_rows_made_under_other_conditions_are_not_mixed(plan: Plan, change: dict[str, int]) -> None:
    if "ssimulacra2" in change:
        pytest.importorskip("ssimulacra2")
    evaluate.run(plan)
    before = (plan.out / "rows.csv").read_bytes()
    with pytest.raises(ArgumentError, match=r"other conditions \(.* was .*, now it is .*\); name another folder"):
        evaluate.run(replace(plan, **change))
    assert (plan.out / "rows.csv").read_bytes() == before


def test_rows_that_nothing_explains_are_not_mixed_with_new_ones(plan: Plan) -> None:
    plan.out.mkdir()
    results.write_rows(plan.out / "rows.csv", [Row("a.png", codec="jpeg", setting="10", bpp=1.0)])
    with pytest.raises(ArgumentError, match=r"no summary\.json"):
        evaluate.run(plan)


@pytest.mark.parametrize("jobs", [1, 2])
def test_unreadable_pictures_are_told_and_counted_and_the_rest_is_measured(plan: Plan, folder: Path, jobs: int) -> None:
    (folder / "c.png").write_text("hello")
    lines: list[str] = []
    both = (JPEG, replace(JPEG, name="twin"))  # type: ignore[type-var]
    wide = replace(plan, pictures=find_pictures([folder]), codecs=both, jobs=jobs, qualities={"twin": (10,)})
    rows = evaluate.run(replace(wide, qualities={"jpeg": (10,), "twin": (10,)}), None, lines.append)
    bad = [row for row in rows if row.error]
    assert [row.key for row in bad] == [("c.png", "", "")]
    assert bad[0].error.startswith("not a picture file")
    assert len(rows) == 5
    assert lines == [f"{folder / 'c.png'}: {bad[0].error}"]
    errors = results.read_summary(plan.out)["errors"]
    assert (errors["count"], errors["unreadable"], len(errors["lines"])) == (1, 1, 1)


@pytest.mark.slow
def test_an_error_is_a_row_and_is_tried_again(plan: Plan) -> None:
    moody = replace(plan, codecs=(Moody(),), qualities={"moody": (1, 3, 5)})
    lines: list[str] = []
    rows = evaluate.run(moody, None, lines.append)
    assert {row.setting: row.error for row in rows if row.picture == "a.png"} == {
        "1": "",
        "3": "moody: not at 3",
        "5": "moody: a picture of shape (40, 60, 3) came back as (39, 60, 3)",
    }
    assert f"{plan.pictures[0]} with moody at 3: moody: not at 3" in lines
    assert math.isinf(next(row for row in rows if row.setting == "1").psnr)
    lines.clear()
    assert len(evaluate.run(moody, None, lines.append)) == 6
    assert f"{plan.pictures[0]} with moody at 3: moody: not at 3" in lines


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, 2])
def test_a_process_that_dies_ends_the_run_in_one_line_and_keeps_the_rows(plan: Plan, jobs: int) -> None:
    evaluate.run(replace(plan, jobs=jobs))
    with pytest.raises(ImageError, match="ended by itself, perhaps for want of memory"):
        evaluate.run(replace(plan, codecs=(Moody(),), qualities={"moody": (4,)}, jobs=jobs))
    assert len(results.read_rows(plan.out / "rows.csv")) == 4
    assert not results.read_summary(plan.out)["finished"]


def test_the_summary_says_how_it_was_made(plan: Plan, tmp_path: Path) -> None:
    curves = tmp_path / "published.csv"
    curves.write_text("method,bpp,psnr_rgb_db,ms_ssim\nvtm,0.5,34.5,0.98\nvtm,0.25,32,\n")
    evaluate.run(replace(plan, published=curves, command=("intaglio", "evaluate")))
    summary = results.read_summary(plan.out)
    assert (summary["kind"], summary["finished"], summary["command"]) == ("evaluate", True, ["intaglio", "evaluate"])
    assert summary["codecs"]["jpeg"] == {"label": "JPEG 4:2:0", "about": JPEG.about, "settings": ["10", "80"]}
    assert [each["picture"] for each in summary["pictures"]] == ["a.png", "b.png"]
    assert [(each["setting"], each["pictures"]) for each in summary["means"]] == [("10", 2), ("80", 2)]
    assert summary["published"] == {
        "vtm": [{"bpp": 0.25, "psnr": 32.0, "ms_ssim": None}, {"bpp": 0.5, "psnr": 34.5, "ms_ssim": 0.98}]
    }
    assert {"python", "numpy", "pillow", "processor", "cores"} <= summary["environment"].keys()
    assert set(summary["bd_rate"]) == {"psnr", "ms_ssim_db"}


def test_decoded_pictures_are_kept_only_when_asked(plan: Plan) -> None:
    evaluate.run(plan)
    assert not (plan.out / "kept").exists()
    rows = evaluate.run(replace(plan, keep=True))
    assert len(rows) == 4
    for row in rows:
        original = images.load(results.kept_path(plan.out, row.picture)).pixels
        kept = images.load(results.kept_path(plan.out, row.picture, row.codec, row.setting)).pixels
        assert metrics.psnr(original, kept) == row.psnr


def test_folders_and_files_are_searched_for_pictures(folder: Path, tmp_path: Path) -> None:
    assert [path.name for path in find_pictures([folder])] == ["a.png", "b.png"]
    assert find_pictures([folder / "notes.txt"]) == (folder / "notes.txt",)  # named, so it counts as unreadable
    empty = tmp_path / "empty"
    empty.mkdir()
    shutil.copy(folder / "a.png", tmp_path / "a.png")
    named = Path(shutil.copy(folder / "a.png", tmp_path / "a\nb.png"))
    for wrong, said in (
        ([empty], "holds no pictures"),
        ([tmp_path / "none"], "no such file or folder"),
        ([folder, tmp_path / "a.png"], "have the same name"),
        ([named], "is not UTF-8 or has control characters"),
    ):
        with pytest.raises(ArgumentError, match=said):
            find_pictures(wrong)


def test_a_picture_that_is_given_twice_is_taken_once(folder: Path) -> None:
    again = folder / ".." / folder.name / "a.png"
    assert find_pictures([folder / "b.png", folder, again]) == (folder / "b.png", folder / "a.png")


def test_wrong_plans_are_refused_before_anything_is_written(plan: Plan, folder: Path) -> None:
    for change, said in (
        ({"qualities": {"webp": (1,)}}, "webp, which is not evaluated"),
        ({"qualities": {"jpeg": (0,)}}, "integer from 1 to 100"),
        ({"jobs": 0}, "jobs and repeats"),
        ({"jobs": 2, "repeats": 2}, "never timed"),
    ):
        with pytest.raises(ArgumentError, match=said):
            evaluate.run(replace(plan, **change))
    assert not plan.out.exists()
    with pytest.raises(ArgumentError, match="cannot be made"):
        evaluate.run(replace(plan, out=folder / "a.png"))


def test_the_command_measures_prints_and_reports(run: Run, folder: Path, tmp_path: Path) -> None:
    done = run(
        *("evaluate", folder, "-o", tmp_path / "out", "--jobs", "2", "--no-ssimulacra2", "-m", SMALL),
        *("-c", "jpeg", "-c", "intaglio", "-q", "10,50", "-q", "jpeg=20,40,60"),
    )
    assert done.code == 0, done.err
    assert f"10 rows, no errors: {tmp_path / 'out' / 'report.html'}" in done.out
    rows = results.read_rows(tmp_path / "out" / "rows.csv")
    settings = {codec: {row.setting for row in rows if row.codec == codec} for codec in ("jpeg", "intaglio")}
    assert settings == {"jpeg": {"20", "40", "60"}, "intaglio": {"10", "50"}}
    assert (tmp_path / "out" / "report.html").stat().st_size > 10_000


def test_the_command_exits_badly_if_a_picture_was_left_out(run: Run, folder: Path) -> None:
    (folder / "c.png").write_text("hello")
    done = run("evaluate", folder, "-o", "out", "--jobs", "2", "-c", "jpeg", "-q", "10", "--no-ssimulacra2")
    assert done.code == 1
    assert done.err.count("\n") == 1
    assert "c.png: not a picture file" in done.err
    assert "2 rows, 1 error:" in done.out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-c", "vtm"], "VTM needs the program EncoderApp"),
        (["-c", "gif"], "no codec 'gif'"),
        (["-c", "jpeg", "-q", "ten"], "--qualities ten"),
        (["-c", "jpeg", "-q", "webp=10"], "webp, which is not evaluated"),
        (["-c", "jpeg", "-q", "101"], "integer from 1 to 100"),
        (["-c", "jpeg", "--published", "none.csv"], "none.csv: cannot be read"),
        (["-c", "intaglio", "-m", "none.itgm"], "no model 'none.itgm'"),
    ],
)
def test_wrong_requests_are_refused_in_one_line(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], said: str
) -> None:
    monkeypatch.setenv("PATH", "")
    assert said in run("evaluate", folder, "-o", "out", "--no-ssimulacra2", *words).fault()


def test_an_empty_folder_is_refused_in_one_line(run: Run, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "holds no pictures" in run("evaluate", "empty", "-o", "out").fault()
