"""Training in short calls: it stops in time, pictures arrive whole or not at all, small files hold what is needed."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
import torch

import lent
from command_line import Run
from intaglio.errors import ArgumentError
from intaglio.workshop import checkpoint
from intaglio.workshop.config import read_config
from intaglio.workshop.data import manifest_hash, picture_files
from intaglio.workshop.export import export
from intaglio.workshop.train import train
from intaglio.workshop.trainer import Trainer
from small_runs import SMALL_PHOTO, configure, make_pictures

ROOT = Path(__file__).resolve().parent.parent
MOMENT = 0.0001  # minutes: over after the first step
PART = 40 / 1024  # MiB: two pictures or one
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a handful of small pictures, one of a long name."""
    folder = make_pictures(tmp_path_factory.mktemp("pictures"))
    (folder / "picture4.png").rename(folder / f"ein Bild für sich {'und ' * 30}.png")
    return folder


@pytest.fixture
def parts(pictures: Path, tmp_path: Path) -> Path:
    """The same, packed."""
    lent.pack(pictures, tmp_path / "parts", PART)
    return tmp_path / "parts"


@pytest.fixture(scope="module")
def stopped(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that was stopped."""
    out = tmp_path_factory.mktemp("runs") / "small"
    train(configure(pictures, out, minutes=9.0, log_steps=1), stop_after=MOMENT)
    return out


def write_config(pictures: Path, folder: Path, **options: Any) -> Path:
    """A configuration whose run lies in `folder` / "run"."""
    options = {"out": str(folder / "run"), "minutes": 9.0, "stages": [[1.0, 64, 2]], "accelerator": "cpu"} | options
    options = {"precision": "32-true", "log_steps": 1} | options
    tables = {"model": {"name": "photo"} | SMALL_PHOTO, "data": {"train": str(pictures)}, "train": options}
    rows = [
        f"[{name}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in each.items())
        for name, each in tables.items()
    ]
    path = folder / "run.toml"
    path.write_text("".join(rows))
    return path


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def steps_of(run: Path) -> list[int]:
    return [json.loads(line)["step"] for line in (run / "log.jsonl").read_text().splitlines()]


def test_a_run_stops_in_time_and_says_how_to_go_on(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = configure(pictures, tmp_path, minutes=9.0)
    train(config, stop_after=MOMENT)
    said = capsys.readouterr().out.splitlines()[-1]
    assert (
        said == f"stopped after 0.0001 minutes at step 1, 0% of the run in {tmp_path}; to go on, resume it (--resume)"
    )
    assert checkpoint.load(tmp_path)[1]["step"] == 1
    assert not (tmp_path / "validation.csv").exists()
    train(config, resume=True, stop_after=MOMENT)
    assert checkpoint.load(tmp_path)[1]["step"] == 2


def test_a_run_that_ends_before_it_must_stop_just_ends(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(configure(pictures, tmp_path, minutes=MOMENT), stop_after=9.0)
    train(configure(pictures, tmp_path, minutes=2 * MOMENT), resume=True, stop_after=MOMENT)  # both at one step
    assert "stopped after" not in capsys.readouterr().out
    assert (tmp_path / "validation.csv").exists()


@pytest.mark.parametrize("minutes", [0.0, -1.0, float("nan"), float("inf")])
def test_a_time_that_cannot_be_is_named(pictures: Path, tmp_path: Path, run: Run, minutes: float) -> None:
    config = write_config(pictures, tmp_path)
    fault = run("train", config, "--stop-after", minutes).fault()
    assert fault == f"intaglio: cannot stop after {minutes:g} minutes; give a number above zero\n"
    assert not (tmp_path / "run").exists()


def test_the_command_line_stops_in_time(pictures: Path, tmp_path: Path, run: Run) -> None:
    config = write_config(pictures, tmp_path)
    for step, options in ((1, ()), (2, ("--resume",))):
        assert f"at step {step}" in run("train", config, "--stop-after", MOMENT, *options).out
        assert checkpoint.load(tmp_path / "run")[1]["step"] == step


def test_every_picture_comes_back(pictures: Path, parts: Path, tmp_path: Path) -> None:
    assert lent.unpack(parts, tmp_path / "back") == []
    found, sent = (picture_files(folder, "") for folder in (tmp_path / "back", pictures))
    assert manifest_hash(found) == manifest_hash(sent)
    back = files_of(tmp_path / "back")
    assert set(back) == {path.relative_to(pictures).as_posix() for path in sent} | {lent.RECORD}
    assert all(data == (pictures / name).read_bytes() for name, data in back.items() if name != lent.RECORD)


def test_parts_are_no_larger_than_asked_and_always_the_same(pictures: Path, parts: Path, tmp_path: Path) -> None:
    tars = sorted(parts.glob("*.tar"))
    assert [path.name for path in tars] == ["part-00.tar", "part-01.tar", "part-02.tar"]
    assert max(path.stat().st_size for path in tars) <= PART * 2**20
    index = json.loads((parts / "parts.json").read_text())
    assert index["pictures"] == sum(part["pictures"] for part in index["parts"]) == 5
    assert [part["bytes"] for part in index["parts"]] == [path.stat().st_size for path in tars]
    lent.pack(pictures, tmp_path / "again", PART)
    assert files_of(tmp_path / "again") == files_of(parts)
    (one,) = lent.pack(pictures, tmp_path / "again")
    assert {path.name for path in (tmp_path / "again").iterdir()} == {one.name, "parts.json"}


def test_what_cannot_be_packed_is_named(pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"picture0\.png needs a part of .* MiB; raise --mib"):
        lent.pack(pictures, tmp_path / "parts", 20 / 1024)
    with pytest.raises(ArgumentError, match="at most 0 MiB cannot be"):
        lent.pack(pictures, tmp_path / "parts", 0.0)
    with pytest.raises(ArgumentError, match=r"^pack: there is no folder"):
        lent.pack(tmp_path / "none", tmp_path / "parts")
    assert not (tmp_path / "parts").exists()


def test_parts_may_arrive_one_by_one_and_those_missing_are_named(parts: Path, tmp_path: Path) -> None:
    arrived, back = tmp_path / "arrived", tmp_path / "back"
    arrived.mkdir()
    (arrived / "parts.json").write_bytes((parts / "parts.json").read_bytes())
    with pytest.raises(ArgumentError, match=r"no part-\*\.tar here"):
        lent.unpack(arrived, back)
    left = ["part-00.tar", "part-01.tar", "part-02.tar"]
    for name in ("part-01.tar", "part-00.tar", "part-02.tar"):
        (arrived / name).write_bytes((parts / name).read_bytes())
        left.remove(name)
        assert lent.unpack(arrived, back) == left
        (arrived / name).unlink()
    assert lent.unpack(arrived, back) == []
    assert len(picture_files(back, "")) == 5


def test_without_an_index_parts_are_unpacked_but_nothing_is_promised(parts: Path, tmp_path: Path) -> None:
    (parts / "parts.json").unlink()
    assert lent.unpack(parts, tmp_path / "back") is None
    assert len(picture_files(tmp_path / "back", "")) == 5


@pytest.mark.parametrize("index", [True, False])
def test_a_damaged_part_is_refused(parts: Path, tmp_path: Path, index: bool) -> None:
    path = parts / "part-00.tar"
    whole = path.read_bytes()
    if not index:
        (parts / "parts.json").unlink()
    flipped = bytearray(whole)
    flipped[3 if not index else 1000] ^= 1  # without an index only headers have a checksum
    for damaged in (whole[:-7000], whole[:700], bytes(flipped), b""):
        path.write_bytes(damaged)
        with pytest.raises(ArgumentError, match=r"part-00\.tar is (not what|cut short|damaged)"):
            lent.unpack(parts, tmp_path / "back")
        assert not files_of(tmp_path / "back")


def test_a_damaged_index_or_record_is_named(parts: Path, tmp_path: Path) -> None:
    lent.unpack(parts, tmp_path / "back")
    for path in (tmp_path / "back" / lent.RECORD, parts / "parts.json"):
        for text in ("", "{", "[1]", '{"parts": [{}]}' if path.name == "parts.json" else "1"):
            path.write_text(text)
            with pytest.raises(ArgumentError, match=f"{path.name} is damaged; "):
                lent.unpack(parts, tmp_path / "back")


@pytest.mark.parametrize(
    "name", ["/tmp/a.png", "../a.png", "more/../../a.png", "out/a.png", "link.png", ".", lent.RECORD]
)
def test_a_path_outside_is_refused(tmp_path: Path, name: str) -> None:
    parts, back = tmp_path / "parts", tmp_path / "back"
    for folder in (parts, back, tmp_path / "elsewhere"):
        folder.mkdir()
    (back / "out").symlink_to(tmp_path / "elsewhere")
    (back / "link.png").symlink_to(tmp_path / "elsewhere" / "a.png")
    with tarfile.open(parts / "part-00.tar", "w") as tar:
        for each in ("good.png", name):
            tar.addfile(tarfile.TarInfo(each), io.BytesIO())
    with pytest.raises(ArgumentError, match=r"no place inside .*; nothing of it is unpacked"):
        lent.unpack(parts, back)
    assert not [path for path in tmp_path.rglob("*.png") if path.is_file()]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_what_is_no_plain_file_is_refused(tmp_path: Path, kind: bytes) -> None:
    entry = tarfile.TarInfo("odd.png")
    entry.type, entry.linkname = kind, "good.png"
    with tarfile.open(tmp_path / "part-00.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo("good.png"), io.BytesIO())
        tar.addfile(entry)
    with pytest.raises(ArgumentError, match=r"holds 'odd\.png', which is no plain file"):
        lent.unpack(tmp_path, tmp_path / "back")
    assert not files_of(tmp_path / "back")


def test_slim_starts_another_run_with_the_same_averaged_weights(pictures: Path, stopped: Path, tmp_path: Path) -> None:
    out, limit = tmp_path / "out", 60_000
    files = lent.slim(stopped, out, limit / 2**20)
    assert max(path.stat().st_size for path in files) <= limit
    assert len(list(out.glob("*.safetensors"))) > 1
    assert sum(path.stat().st_size for path in files) < 0.5 * sum(map(len, files_of(stopped).values()))
    from_whole, from_slim = (Trainer(configure(pictures, tmp_path / "other", seed=5)) for _ in range(2))
    from_whole.start_from(stopped)
    from_slim.start_from(out)
    for name, value in from_whole.average.items():
        found = from_slim.average[name], from_slim.model.state_dict()[name]
        assert all(torch.equal(value, each) for each in found), name
    assert (out / "log.jsonl").read_bytes() == (stopped / "log.jsonl").read_bytes()


@pytest.mark.slow
def test_slim_exports_the_same_model(stopped: Path, tmp_path: Path) -> None:
    lent.slim(stopped, tmp_path / "out")
    for source, target in ((stopped, "whole.itgm"), (tmp_path / "out", "slim.itgm")):
        export(source, tmp_path / target)
    assert (tmp_path / "whole.itgm").read_bytes() == (tmp_path / "slim.itgm").read_bytes()


def test_averaged_weights_alone_cannot_be_resumed_and_this_is_said(
    pictures: Path, stopped: Path, tmp_path: Path
) -> None:
    lent.slim(stopped, tmp_path / "out")
    with pytest.raises(ArgumentError, match=r"averaged weights alone and cannot be resumed: .* --from"):
        train(configure(pictures, tmp_path / "out"), resume=True)


def test_slim_overwrites_no_run(stopped: Path, tmp_path: Path) -> None:
    lent.slim(stopped, tmp_path / "out")
    before = files_of(tmp_path / "out")
    with pytest.raises(ArgumentError, match="already holds a run"):
        lent.slim(stopped, tmp_path / "out")
    with pytest.raises(ArgumentError, match="already holds a run"):
        lent.slim(tmp_path / "out", stopped, replace=True)
    with pytest.raises(ArgumentError, match="raise --mib"):
        lent.slim(stopped, tmp_path / "small", 0.001)
    assert files_of(tmp_path / "out") == before
    assert not (tmp_path / "small").exists()


def test_a_checkpoint_of_the_same_step_leaves_the_old_one_whole_until_it_is_there(
    stopped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    lent.slim(stopped, out)
    for _ in range(3):
        before = files_of(out)
        with monkeypatch.context() as patch:
            patch.setattr("os.replace", broken)
            with pytest.raises(ArgumentError, match="cannot be written: no room"):
                lent.slim(stopped, out, replace=True)
        assert before.items() <= files_of(out).items()
        lent.slim(stopped, out, replace=True)
        assert len(list(out.glob("*.safetensors"))) == 1
        checkpoint.load(out)


def broken(*_: object) -> None:
    raise OSError("no room")


def test_a_call_goes_on_at_the_step_where_the_last_one_stopped(pictures: Path, tmp_path: Path) -> None:
    config, run, out = write_config(pictures, tmp_path), tmp_path / "run", tmp_path / "out"
    for step in (1, 2, 3):
        lent.go(config, MOMENT, out=out)
        assert [checkpoint.load(folder)[1]["step"] for folder in (run, out)] == [step, step]
        assert steps_of(run) == steps_of(out) == list(range(1, step + 1))
        assert len(list(out.glob("*.safetensors"))) == 1


def test_the_first_call_begins_with_the_weights_given_and_later_ones_go_on(
    pictures: Path, stopped: Path, tmp_path: Path
) -> None:
    config = write_config(pictures, tmp_path, warmup_steps=10**9, ema=0.0)  # a step that changes next to nothing
    lent.slim(stopped, tmp_path / "start")
    for step in (1, 2):
        lent.go(config, MOMENT, start=tmp_path / "start")
        state, record = checkpoint.load(tmp_path / "run")
        assert record["step"] == step
        assert all(
            torch.allclose(state[name], value, atol=1e-5)
            for name, value in checkpoint.load(tmp_path / "start")[0].items()
        )


def test_a_run_that_has_ended_still_gives_its_weights(pictures: Path, tmp_path: Path) -> None:
    config = write_config(pictures, tmp_path, minutes=MOMENT)
    for _ in range(2):
        lent.go(config, 1.0, out=tmp_path / "out")
    assert steps_of(tmp_path / "out") == [1]


def test_a_place_for_weights_that_cannot_be_is_named_before_training(
    pictures: Path, stopped: Path, tmp_path: Path
) -> None:
    config = write_config(pictures, tmp_path)
    with pytest.raises(ArgumentError, match="the run's own folder"):
        lent.go(config, MOMENT, out=tmp_path / "run")
    with pytest.raises(ArgumentError, match="already holds a run"):
        lent.go(config, MOMENT, out=stopped)
    assert not (tmp_path / "run").exists()


def script(*arguments: object, blocked: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """Runs recipes/lent.py from the checkout, as a process of its own that cannot import what is blocked."""
    code = (
        f"import runpy, sys; sys.path.insert(0, {str(ROOT / 'src')!r})\n"
        f"for name in {blocked!r}: sys.modules[name] = None\n"
        f"sys.argv = ['lent.py', *{[*map(str, arguments)]!r}]\n"
        f"runpy.run_path({str(ROOT / 'recipes' / 'lent.py')!r}, run_name='__main__')\n"
    )
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.slow
def test_a_call_needs_neither_the_native_core_nor_onnx(
    pictures: Path, parts: Path, stopped: Path, tmp_path: Path
) -> None:
    blocked = ("intaglio._native", "onnx", "onnxruntime", "matplotlib", "typer")
    done = script("unpack", parts, tmp_path / "back", blocked=(*blocked, "torch"))
    assert (done.returncode, done.stdout) == (0, f"all parts are unpacked in {tmp_path / 'back'}\n"), done.stderr
    config = write_config(tmp_path / "back", tmp_path)
    options = ("--minutes", MOMENT, "--from", stopped, "--out", tmp_path / "out")
    for step in (1, 2):
        done = script("go", config, *options, blocked=blocked)
        assert done.returncode == 0, done.stderr
        assert f"at step {step}," in done.stdout
        assert str(tmp_path / "out" / "checkpoint.json") in done.stdout
    assert read_config(config).train.minutes == 9.0


@pytest.mark.slow
def test_a_fault_is_one_line(tmp_path: Path) -> None:
    done = script("unpack", tmp_path, tmp_path / "back")
    assert done.returncode == 1
    assert done.stderr.startswith(f"lent: {tmp_path}: no part-*.tar here; ")
    assert done.stderr.count("\n") == 1
