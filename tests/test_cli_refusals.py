"""Whatever is wrong: one line on stderr, exit code 1, no traceback, and the output left as it was."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import intaglio
from command_line import Run, as_process, foreign
from intaglio import codec, images

OLD = b"what was there before"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full here")
def test_an_output_stream_that_is_full_is_one_line() -> None:
    full = "import os; os.dup2(os.open('/dev/full', os.O_WRONLY), 1)"
    assert "No space left" in as_process("models", before=full).fault()


def test_a_fault_is_one_line_and_exit_code_1_as_a_process(tmp_path: Path) -> None:
    fault = as_process("decode", tmp_path / "missing.itg", tmp_path / "a.png").fault()
    assert "missing.itg" in fault
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("content", "options", "said"),
    [
        (None, [], "no such file"),
        (b"", [], "empty"),
        (b"this is text", [], "not a picture"),
        ("cut", [], "damaged or cut short"),
        ("zero", [], "damaged"),
        ("float", [], "mode F"),
        ("folder", [], "folder"),
        ("good", ["-q", "0"], "quality"),
        ("good", ["-q", "101"], "quality"),
        ("good", ["-q", "nan"], "quality"),
        ("good", ["-q", "high"], "quality"),
        ("good", ["-q", "-5"], "quality"),
        ("good", ["-m", "no-such-model"], "no-such-model"),
        ("good", ["-m", ""], "photo"),
        ("good", ["-m", "."], "photo"),
        ("good", ["-m", "in.png"], "in.png"),
        ("good", ["--threads", "0"], "threads"),
        ("good", ["--threads", "two"], "threads"),
        ("good", ["--nonsense"], "nonsense"),
    ],
)
def test_encode_refuses_bad_input_in_one_line_and_leaves_the_output(
    run: Run, picture: Path, tmp_path: Path, content: Any, options: list[str], said: str
) -> None:
    _make(picture, tmp_path / "in.png", content)
    _refused(run, tmp_path / "out.itg", ("encode", "in.png", "out.itg", *options), said)


def _make(good: Path, path: Path, content: Any) -> None:
    png = good.read_bytes()
    good.unlink()
    made = {"good": png, "cut": png[: len(png) // 2], "zero": png[:16] + bytes(4) + png[20:]}
    if content == "folder":
        path.mkdir()
    elif content == "float":
        Image.new("F", (4, 4)).save(path, "TIFF")
    elif content is not None:
        path.write_bytes(made[content] if isinstance(content, str) else content)


def _refused(run: Run, output: Path, arguments: tuple[object, ...], said: str) -> None:
    before = sorted(os.listdir(output.parent))
    assert said.lower() in run(*arguments).fault().lower()
    assert sorted(os.listdir(output.parent)) == before
    output.write_bytes(OLD)
    run(*arguments).fault()
    assert output.read_bytes() == OLD
    assert sorted(os.listdir(output.parent)) == sorted([*before, output.name])


@pytest.mark.parametrize(
    ("content", "options", "said"),
    [
        (None, [], "in.itg cannot be read"),
        (b"", [], "in.itg: the .itg data are empty"),
        (b"\x89PNG\r\n", [], "not an .itg file"),
        ("cut", [], "cut short"),
        ("flipped", [], "damaged"),
        ("foreign", [], "needs model 0a1b2c3d"),
        ("folder", [], "in.itg cannot be read"),
        ("good", ["-m", "no-such-model"], "no-such-model"),
        ("good", ["-m", "in.itg"], "not a model file"),
        ("good", ["--threads", "0"], "threads"),
        ("good", ["--max-pixels", "100"], "over the limit of 100"),
        ("good", ["--max-pixels", "0"], "max_pixels"),
        ("good", ["--max-pixels", "x"], "max-pixels"),
    ],
)
def test_decode_and_info_refuse_bad_input_in_one_line_and_leave_the_output(
    run: Run, data: bytes, tmp_path: Path, content: Any, options: list[str], said: str
) -> None:
    path = tmp_path / "in.itg"
    flipped = data[:60] + bytes([data[60] ^ 4]) + data[61:]
    made = {"good": data, "cut": data[:-3], "flipped": flipped, "foreign": foreign(data)}
    if content == "folder":
        path.mkdir()
    elif content is not None:
        path.write_bytes(made[content] if isinstance(content, str) else content)
    _refused(run, tmp_path / "out.png", ("decode", "in.itg", "out.png", *options), said)
    if not options and content != "foreign":
        assert said in run("info", "in.itg").fault()


def _no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise AssertionError("the long work was begun in vain")

    for name in ("encode", "decode"):
        monkeypatch.setattr(codec, name, fail)


@pytest.mark.parametrize("output", ["missing/out.png", "in.png", "folder.png", "in.png/out.png"])
def test_an_output_that_cannot_be_written_is_refused_before_the_work(
    run: Run, picture: Path, data: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str
) -> None:
    _no_work(monkeypatch)
    source = tmp_path / "in.png"
    (tmp_path / "folder.png").mkdir()
    for command, content in (("encode", picture.read_bytes()), ("decode", data)):
        source.write_bytes(content)
        assert Path(output).name in run(command, "in.png", output).fault()
        assert source.read_bytes() == content
        assert sorted(os.listdir(tmp_path)) == ["folder.png", "in.png", "picture.png"]


def test_the_input_is_known_by_every_name(run: Run, picture: Path, tmp_path: Path) -> None:
    before = picture.read_bytes()
    (tmp_path / "link.png").symlink_to(picture)
    os.link(picture, tmp_path / "hard.png")
    for name in ("./picture.png", "link.png", "hard.png", tmp_path / "picture.png"):
        assert "input itself" in run("encode", "picture.png", name).fault()
    assert picture.read_bytes() == before


def test_names_too_long_or_strange_end_in_one_line(run: Run, picture: Path, coded: Path, tmp_path: Path) -> None:
    before = sorted(os.listdir(tmp_path))
    run("encode", picture, "o" * 300 + ".itg").fault()
    run("decode", coded, "o" * 300 + ".png").fault()
    run("decode", "o" * 300, "two\nlines.png").fault()
    run("encode", "o" * 300, "out.itg").fault()
    run("info", "two\nlines").fault()
    assert sorted(os.listdir(tmp_path)) == before


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read every file")
def test_a_file_without_permission_is_refused(run: Run, picture: Path, coded: Path) -> None:
    for command, path in (("encode", picture), ("decode", coded)):
        path.chmod(0)
        assert path.name in run(command, path, "out.png").fault()


def test_a_file_that_fails_to_be_read_is_refused(
    run: Run, picture: Path, coded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", fail)
    for command, path in (("encode", picture), ("decode", coded)):
        assert f"{path.name}" in run(command, path, "out.png").fault()
    assert "Permission denied" in run("info", coded).fault()


@pytest.mark.parametrize("output", ["out", "out.xyz", "out.itg", ".png", "out.png.gif"])
def test_an_unknown_kind_of_picture_is_refused_before_the_work(
    run: Run, coded: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, output: str
) -> None:
    _no_work(monkeypatch)
    assert ".png" in run("decode", coded, output).fault()
    assert os.listdir(tmp_path) == [coded.name]


@pytest.mark.parametrize(
    "arguments",
    [["unknown"], ["encode"], ["encode", "a.png"], ["decode", "a.itg"], ["info"], ["encode", "a", "b", "c"], ["--no"]],
    ids=" ".join,
)
def test_wrong_usage_is_one_line(run: Run, arguments: list[str]) -> None:
    assert "intaglio --help" in run(*arguments).fault()


@pytest.mark.parametrize("command", [["train", "config.toml"], ["export", "run", "a.itgm"]], ids=" ".join)
def test_the_workshop_without_pytorch_says_what_to_install(tmp_path: Path, command: list[str]) -> None:
    done = as_process(*command, before="import sys; sys.modules['torch'] = None")
    assert "pip install 'intaglio[train]'" in done.fault()
    assert os.listdir(tmp_path) == []


def test_running_out_of_memory_is_one_line(run: Run, picture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(codec, "encode", fail)
    assert "memory" in run("encode", picture, "out.itg").fault()


def test_a_bug_is_not_hidden(run: Run, picture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(codec, "encode", fail)
    with pytest.raises(ZeroDivisionError):
        run("encode", picture, "out.itg")


@pytest.mark.slow
def test_no_awkward_file_ends_in_a_traceback(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(os.environ.get("INTAGLIO_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data") / "hard"
    if not folder.is_dir():
        pytest.skip(f"NOT TESTED: no awkward pictures in {folder}; set INTAGLIO_DATA to the data folder")
    load, output = images.load, tmp_path / "out.itg"

    def corner(path: Path) -> images.Picture:
        whole = load(path)
        return images.Picture(whole.pixels[:70, :70].copy(), whole.notices)

    monkeypatch.setattr(images, "load", corner)  # reading is what is awkward; coding all of it would take minutes
    coded = 0
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        output.unlink(missing_ok=True)
        done = run("encode", path, output, "-q", 1)
        if done.code == 0:
            coded += 1
            assert intaglio.info(output.read_bytes()).width <= 70
        else:
            assert path.name in done.fault()
            assert not output.exists()
        run("decode", path, "out.png").fault()
        run("info", path).fault()
    assert coded > 100
