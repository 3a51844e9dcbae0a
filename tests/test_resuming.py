"""A run that goes on in a folder mixes nothing: what may have changed is measured again, and nothing old is kept."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from command_line import Run
from intaglio import evaluate, images, measuring, record, results
from intaglio.errors import ArgumentError
from intaglio.evaluate import Plan
from intaglio.measuring import Done, How, Task
from test_evaluate import JPEG, Moody


def _here(tasks: Iterable[Task], how: How, _jobs: int) -> Iterator[Done]:
    """The tasks in this process: these tests are about the folder."""
    measuring._loaded.cache_clear()
    for task in tasks:
        for quality in task.settings:
            yield measuring._measured(replace(task, settings=(quality,)), how)


@pytest.fixture
def plan(tmp_path: Path, photo: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """Two pictures, two codecs, at two settings each; what is decoded is kept."""
    monkeypatch.setattr(evaluate, "several_at_a_time", _here)
    pictures = (tmp_path / "a.png", tmp_path / "b.png")
    for path in pictures:
        images.save(path, photo[:40, :60])
    qualities = {"jpeg": (10, 80), "moody": (1, 2)}
    return Plan(pictures, (JPEG, Moody()), tmp_path / "out", qualities, jobs=2, keep=True, ssimulacra2=False)


def _stop_after(count: int) -> evaluate.Progress:
    def progress(done: int, _total: int, _text: str) -> None:
        if done >= count:
            raise KeyboardInterrupt

    return progress


def _run(plan: Plan) -> list[str]:
    lines: list[str] = []
    evaluate.run(plan, None, lines.append)
    return lines


def test_what_changed_after_a_first_run_was_stopped_is_measured_again(plan: Plan, photo: np.ndarray) -> None:
    with pytest.raises(KeyboardInterrupt):
        evaluate.run(plan, _stop_after(6))
    summary = results.read_summary(plan.out)
    assert not summary["finished"]
    assert summary["codecs"].keys() == {"jpeg", "moody"}
    assert [each["sha256"] for each in summary["pictures"]] == [record.digest(path) for path in plan.pictures]
    images.save(plan.pictures[0], photo[:50, :50])
    lines = _run(replace(plan, codecs=(JPEG, replace(Moody(), about="version 2"))))
    assert [line.split(" is measured again: ")[-1] for line in lines] == [
        "it was version 1, now it is version 2",
        "the picture has changed",
        f"{plan.out}: goes on with the 2 rows it holds",
    ]
    assert {row.width for row in results.read_rows(plan.out / "rows.csv") if row.picture == "a.png"} == {50}


def test_rows_that_nothing_is_known_of_are_measured_again(plan: Plan) -> None:
    evaluate.run(plan)
    path = plan.out / "summary.json"
    summary = json.loads(path.read_text())
    del summary["codecs"]["moody"], summary["pictures"][0]
    path.write_text(json.dumps(summary))
    lines = _run(plan)
    assert lines[0].endswith("moody is measured again: nothing says what made its rows")
    assert lines[1].endswith("a.png is measured again: nothing says which picture its rows are of")


def test_nothing_is_kept_of_a_picture_that_changed(plan: Plan, photo: np.ndarray) -> None:
    evaluate.run(plan)
    images.save(plan.pictures[0], photo[100:140, 100:160])
    evaluate.run(replace(plan, qualities={"jpeg": (10,), "moody": (1,)}))
    kept = plan.out / "kept" / "a.png"
    assert np.array_equal(images.load(kept / "original.webp").pixels, photo[100:140, 100:160])
    assert sorted(path.name for path in kept.iterdir()) == ["jpeg-10.webp", "moody-1.webp", "original.webp"]
    assert len(list((plan.out / "kept" / "b.png").iterdir())) == 5


def test_nothing_is_kept_of_a_codec_that_changed(plan: Plan) -> None:
    evaluate.run(plan)
    evaluate.run(replace(plan, codecs=(JPEG, replace(Moody(), about="version 2")), keep=False))
    names = sorted(path.name for path in (plan.out / "kept" / "a.png").iterdir())
    assert names == ["jpeg-10.webp", "jpeg-80.webp", "original.webp"]


def test_rows_that_are_not_asked_for_now_stay_and_are_told(plan: Plan) -> None:
    evaluate.run(plan)
    fewer = replace(plan, pictures=plan.pictures[:1], qualities={"jpeg": (10,), "moody": (1, 2)})
    lines = _run(fewer)
    assert lines == [
        f"{plan.out}: goes on with the 8 rows it holds",
        f"{plan.out}: 5 of them are of pictures, codecs or settings not asked for now; they stay there",
    ]
    assert len(results.read_rows(plan.out / "rows.csv")) == 8


def test_seconds_of_two_processors_are_not_mixed(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate, "one_at_a_time", lambda tasks, how: _here(tasks, how, 1))
    monkeypatch.setattr(record, "_processor", lambda: "this one")
    timed = replace(plan, jobs=1)
    evaluate.run(timed)
    evaluate.run(replace(plan, out=plan.out / "untimed"))
    monkeypatch.setattr(record, "_processor", lambda: "that one")
    with pytest.raises(ArgumentError, match="processor was this one, now it is that one"):
        evaluate.run(timed)
    evaluate.run(replace(plan, out=plan.out / "untimed"))


def test_a_heading_that_was_cut_is_told_and_begun_anew(plan: Plan) -> None:
    evaluate.run(plan)
    (plan.out / "rows.csv").write_bytes(b"picture,wid")
    assert _run(plan) == [f"{plan.out / 'rows.csv'}: its heading was cut short, so it held no rows; it is begun anew"]
    assert len(results.read_rows(plan.out / "rows.csv")) == 8


@pytest.mark.parametrize(
    "text",
    ["{", "[]", '{"codecs": []}', '{"codecs": {"jpeg": 1}}', '{"pictures": [1]}', '{"pictures": [{}]}', "[" * 9999],
)
def test_a_damaged_summary_is_refused_in_one_line(run: Run, picture: Path, tmp_path: Path, text: str) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "summary.json").write_text(text)
    said = run("evaluate", picture, "-o", "out", "-c", "jpeg", "-q", "10", "--jobs", "2", "--no-ssimulacra2").fault()
    assert "summary.json: damaged" in said or "summary.json: not a summary" in said


def test_a_folder_is_filled_by_one_run_at_a_time(plan: Plan) -> None:
    pytest.importorskip("fcntl")
    plan.out.mkdir()
    with record.locked(plan.out):
        with pytest.raises(ArgumentError, match="another run is writing there"):
            evaluate.run(plan)
        assert list(plan.out.iterdir()) == []
    evaluate.run(plan)


def test_looking_for_what_is_missing_takes_a_moment_whatever_there_is(plan: Plan) -> None:
    """Two thousand pictures at twelve settings: every row is looked at once, not once for each picture."""

    class Counted(list[results.Row]):
        looks = 0

        def __iter__(self) -> Iterator[results.Row]:
            for row in super().__iter__():
                Counted.looks += 1
                yield row

    pictures = tuple(Path(f"{number}.png") for number in range(2000))
    rows = Counted(results.Row(path.name, codec="jpeg", setting=str(q)) for path in pictures for q in range(1, 13))
    wide = replace(plan, pictures=pictures, codecs=(JPEG,), qualities={"jpeg": tuple(range(1, 13))}, keep=False)
    assert evaluate._measured(wide, rows, lambda *_: None, lambda _: None) == []
    assert Counted.looks == len(rows)
