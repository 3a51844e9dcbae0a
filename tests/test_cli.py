"""The command line: results on stdout, notices and faults on stderr, pictures there and back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

import intaglio
from command_line import Run, as_process, foreign
from intaglio import cli, codec, container, images
from intaglio.metrics import psnr


def test_a_picture_goes_there_and_back_as_processes(tmp_path: Path, picture: Path, photo: np.ndarray) -> None:
    coded, decoded = tmp_path / "coded.itg", tmp_path / "decoded.png"
    for done in (as_process("encode", picture, coded, "-q", 70), as_process("decode", coded, decoded)):
        assert (done.code, done.out, done.err) == (0, "", "")
    assert coded.read_bytes() == intaglio.encode(photo[:70, :90], 70)
    assert np.array_equal(images.load(decoded).pixels, intaglio.decode(coded.read_bytes()))
    assert sorted(os.listdir(tmp_path)) == ["coded.itg", "decoded.png", "picture.png"]


@pytest.mark.slow
def test_the_time_of_decoding_a_kodak_size_file_as_a_process(
    tmp_path: Path, photo: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    path, decoded = tmp_path / "a.itg", tmp_path / "a.ppm"
    path.write_bytes(intaglio.encode(np.tile(photo, (2, 3, 1)), 50))
    times = []
    for _ in range(2):
        start = time.perf_counter()
        done = as_process("decode", path, decoded)
        times.append(time.perf_counter() - start)
        assert (done.code, done.err) == (0, "")
    assert images.load(decoded).pixels.shape == (512, 768, 3)
    with capsys.disabled():
        print(f"\nintaglio decode of 768 x 512 pixels, as a process: {min(times):.2f} s")


def test_quality_model_and_threads_are_options(run: Run, picture: Path, tmp_path: Path, photo: np.ndarray) -> None:
    model = next(Path(cli.__file__).parent.glob("weights/photo.itgm"))
    for option in ("--model", "-m"):
        for name in ("photo", model):
            assert run("encode", picture, "a.itg", "--quality", "12.5", option, name, "--threads", 1).code == 0
            assert (tmp_path / "a.itg").read_bytes() == intaglio.encode(photo[:70, :90], 12.5, threads=1)
            assert run("decode", "a.itg", "a.png", option, name, "--threads", 1).code == 0


def test_effort_and_refinement_are_what_the_functions_make(run: Run, picture: Path, tmp_path: Path) -> None:
    pixels, coded = images.to_rgb(images.load(picture).pixels), tmp_path / "a.itg"
    for option in ("--effort", "-e"):
        assert run("encode", picture, coded, "-q", 30, option, 3).code == 0
        assert coded.read_bytes() == intaglio.encode(pixels, 30, effort=3) != intaglio.encode(pixels, 30)
    refine = pytest.importorskip("intaglio.workshop.refine")
    assert run("refine", picture, coded, "-q", 30, "--steps", 2).code == 0
    assert coded.read_bytes() == refine.encode(pixels, 30, descent=refine.Descent(2))
    assert intaglio.decode(coded.read_bytes()).shape == pixels.shape


@pytest.mark.parametrize(
    ("command", "options", "fault"),
    [
        ("encode", ("--effort", 10), "effort is 10; it must be a whole number from 0 to 9"),
        ("refine", ("--kind", "sga"), "kind is 'sga'; it must be one of slope, gumbel"),
        ("refine", ("--steps", -1), "steps is -1"),
    ],
)
def test_a_wrong_effort_is_told_before_the_picture_is_read(
    run: Run, tmp_path: Path, command: str, options: tuple[Any, ...], fault: str
) -> None:
    assert fault in run(command, tmp_path / "missing.png", "a.itg", *options).fault()


@pytest.mark.parametrize("kind", [".png", ".webp", ".jpg", ".tif", ".bmp", ".ppm", ".PNG"])
def test_decoding_writes_the_kind_that_the_name_says(
    run: Run, coded: Path, data: bytes, tmp_path: Path, kind: str
) -> None:
    assert run("decode", coded, f"a{kind}").code == 0
    assert psnr(images.load(tmp_path / f"a{kind}").pixels, intaglio.decode(data)) > 35


def test_info_is_said_to_people_and_to_programs(run: Run, coded: Path, data: bytes) -> None:
    done = run("info", coded)
    assert (done.code, done.err) == (0, "")
    for word in ("90 x 70", "RGB", "quality 30", f"{len(data)} bytes", "photo", intaglio.info(data).model_id):
        assert word in done.out
    found = json.loads(run("info", "--json", coded).out)
    assert found == vars(intaglio.info(data))


def test_info_of_a_file_of_an_unknown_model_says_what_to_do(run: Run, coded: Path, data: bytes) -> None:
    coded.write_bytes(foreign(data))
    done = run("info", coded)
    assert done.code == 0
    assert "0a1b2c3d" in done.out
    assert "--model" in done.out
    assert json.loads(run("info", coded, "--json").out)["model"] is None


def test_models_are_listed(run: Run) -> None:
    model_id = intaglio.load_model("photo").model_id.hex()
    assert model_id in run("models").out
    rows = json.loads(run("models", "--json").out)
    assert (rows[0]["name"], rows[0]["id"]) == ("photo", model_id)


def test_the_version_is_the_packages(run: Run, root: Path) -> None:
    done = run("--version")
    assert (done.code, done.out.split()) == (0, ["intaglio", intaglio.__version__])
    assert f'\nversion = "{intaglio.__version__}"\n' in (root / "pyproject.toml").read_text(encoding="utf-8")


def test_no_arguments_show_the_help(run: Run) -> None:
    done = run()
    assert done.code != 0
    shown = done.out + done.err
    for command in ("encode", "decode", "info", "models", "train", "export"):
        assert command in shown
        assert run(command, "--help").code == 0
    assert "Traceback" not in shown


def test_an_interruption_leaves_nothing_behind(
    run: Run, picture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(codec, "encode", interrupt)
    done = run("encode", picture, "out.itg")
    assert done.code not in (0, None)
    assert "Traceback" not in done.err
    assert os.listdir(tmp_path) == [picture.name]


@pytest.mark.parametrize(
    ("make", "size", "notice"),
    [
        (lambda rgb: (rgb.convert("CMYK"), "TIFF", {}), (40, 30), "CMYK"),
        (lambda rgb: (rgb.quantize(16), "PNG", {}), (40, 30), ""),
        (lambda rgb: (Image.fromarray(np.arange(1200, dtype=np.uint16).reshape(30, 40)), "PNG", {}), (40, 30), "16"),
        (lambda rgb: (rgb.convert("LA"), "PNG", {}), (40, 30), ""),
        (lambda rgb: (_half_transparent(rgb), "PNG", {}), (40, 30), "transparen"),
        (lambda rgb: (rgb, "JPEG", {"exif": _turned()}), (30, 40), ""),
        (lambda rgb: (rgb, "GIF", {"save_all": True, "append_images": [rgb.rotate(90)]}), (40, 30), "2 pictures"),
    ],
    ids=["cmyk", "palette", "16 bit", "opaque alpha", "alpha", "exif", "animation"],
)
def test_awkward_pictures_are_converted_with_a_notice(
    run: Run, photo: np.ndarray, tmp_path: Path, make: Callable[[Image.Image], Any], size: tuple[int, int], notice: str
) -> None:
    made, kind, options = make(Image.fromarray(photo[:30, :40]))
    made.save(tmp_path / "in.img", kind, **options)
    done = run("encode", "in.img", "out.itg", "-q", 20)
    assert (done.code, done.out) == (0, "")
    assert notice.lower() in done.err.lower()
    assert all(line.startswith("in.img: ") for line in done.err.splitlines())
    found = intaglio.info((tmp_path / "out.itg").read_bytes())
    assert (found.width, found.height) == size


def _half_transparent(rgb: Image.Image) -> Image.Image:
    rgb.putalpha(128)
    return rgb


def _turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


def test_a_profile_is_converted_with_a_notice(run: Run, photo: np.ndarray, tmp_path: Path) -> None:
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    Image.fromarray(photo[:30, :40]).save(tmp_path / "in.png", icc_profile=lab.tobytes())
    assert run("encode", "in.png", "out.itg").err == ""  # sRGB already
    Image.fromarray(photo[:30, :40]).save(tmp_path / "in.png", icc_profile=b"no profile at all")
    assert "profile" in run("encode", "in.png", "out.itg").err


def test_a_bar_shows_the_progress_of_several_tiles_on_a_terminal(
    run: Run, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    for terminal in (False, True):
        monkeypatch.setattr(type(sys.stderr), "isatty", lambda self, terminal=terminal: terminal)
        for tile in (0, 1):
            monkeypatch.setattr(container, "choose_tile", lambda width, height, tile=tile: tile)
            for command in (("encode", picture, "out.itg"), ("decode", "out.itg", "out.png")):
                done = run(*command)
                assert done.code == 0
                assert ("coding" in done.err) == (terminal and tile == 1)


def test_a_name_that_the_terminal_cannot_show_is_no_fault(tmp_path: Path, data: bytes) -> None:
    path = os.fsdecode(os.fsencode(tmp_path) + b"/p\xff.itg")
    try:
        Path(path).write_bytes(data)
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    done = as_process("info", path)
    assert (done.code, done.err) == (0, "")
    assert "90 x 70" in done.out


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = (
        "import sys, intaglio\n"
        "heavy = {'torch', 'onnxruntime', 'PIL', 'numpy', 'typer', 'rich', 'intaglio._native'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
