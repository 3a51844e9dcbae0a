"""`intaglio inspect`: figures that are the library's, pictures that open, and one line for what is wrong."""

from __future__ import annotations

import json
import math
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from command_line import Run, as_process
from intaglio import codec, images, inspection, latents
from intaglio.scales import SCALE_MIN

SMALL = Path(__file__).parent / "golden" / "v1" / "small.itgm"
FILES = ["allocation.png", "channels.png", "correlation.png", "latents.npz", "normality.png"]


@pytest.fixture(scope="module")
def found(photo: np.ndarray) -> latents.Latents:
    return latents.measure(photo[:70, :90], 60, model=SMALL)


def test_the_table_tells_the_librarys_figures(run: Run, picture: Path, found: latents.Latents) -> None:
    done = run("inspect", picture.name, "-q", 60, "-m", SMALL)
    assert (done.code, done.err) == (0, "")
    assert "90 x 70 pixels, quality 60" in done.out
    assert f"{found.total_bits:,.0f} bits" in done.out
    assert f"{latents.moments(found.normalised()).variance:.3f}" in done.out
    assert f"{100 * found.active().mean():.1f} % of the latents" in done.out
    assert "Bound 0.11" in done.out
    assert "changes nothing" in done.out
    assert os.listdir() == [picture.name]
    assert "changes nothing" not in run("inspect", picture.name, "-q", 60, "-m", SMALL, "--bound", 2).out


def test_json_is_one_object_without_what_is_no_number(run: Run, picture: Path, found: latents.Latents) -> None:
    done = run("inspect", picture.name, "--quality", 60, "--model", SMALL, "--bound", 0.5, "--json")
    assert (done.code, done.err, done.out.count("\n")) == (0, "", 1)
    told = json.loads(done.out, parse_constant=lambda name: pytest.fail(f"{name} in JSON"))
    figures = inspection.as_json(inspection.summary(replace(found, bound=0.5)))
    assert told == json.loads(json.dumps({"picture": picture.name, "model": str(SMALL), **figures}))
    assert told["bits_y"] + told["bits_z"] == pytest.approx(found.total_bits)
    assert told["bpp"] == pytest.approx(found.total_bits / (90 * 70))
    assert told["active_latents"] == pytest.approx((found.scales <= 0.5).mean())
    low = found.bits[found.scales <= 0.5].sum()
    assert told["active_bits"] == pytest.approx(low / found.bits.sum())
    assert told["normalised"]["bounded"]["variance"] == latents.moments(found.normalised(0.5)).variance
    assert told["normalised"]["above"]["count"] == (found.scales > 0.5).sum()
    assert told["correlation"]["plain"][4][4] == pytest.approx(1.0)
    assert len(told["bits_per_channel"]) == told["channels"]


def test_a_grid_too_small_for_an_offset_has_null_there(run: Run, tmp_path: Path, photo: np.ndarray) -> None:
    images.save(tmp_path / "dot.png", photo[:1, :1])
    told = json.loads(run("inspect", "dot.png", "-m", SMALL, "--json").out)
    assert told["grid"] == [4, 4]
    assert told["correlation"]["plain"][0] == [None] * 9
    assert run("inspect", "dot.png", "-m", SMALL, "--out", "dot").code == 0


@pytest.mark.parametrize("bound", [0.11, 0.5])
def test_out_holds_pictures_that_open_and_the_arrays(
    run: Run, picture: Path, found: latents.Latents, bound: float
) -> None:
    for _ in range(2):  # the second time over what the first one left
        assert run("inspect", picture.name, "-q", 60, "-m", SMALL, "--out", "a/b", "--bound", bound).code == 0
    folder = picture.parent / "a" / "b"
    assert sorted(os.listdir(folder)) == FILES
    for path in folder.glob("*.png"):
        with Image.open(path) as drawn:
            assert min(drawn.size) > 200, path
            assert len(set(drawn.convert("L").tobytes())) > 10, path
    with np.load(folder / "latents.npz") as arrays:
        assert {"y", "y_hat", "means", "scales", "symbols", "rows", "bits", "z_symbols"} <= set(arrays)
        assert np.array_equal(arrays["symbols"], found.symbols)
        assert arrays["bits"].sum() + arrays["z_bits"].sum() == pytest.approx(arrays["allocation"].sum())


def test_a_model_without_hyperprior_has_neither_z_nor_its_bits(tmp_path: Path, found: latents.Latents) -> None:
    bare = replace(found, z=None)
    figures = inspection.summary(bare)
    assert figures.bits_z == 0
    assert figures.bpp == pytest.approx(found.bits.sum() / (90 * 70))
    inspection.write(tmp_path, bare, figures, np.zeros((70, 90), np.uint8))
    with np.load(tmp_path / "latents.npz") as arrays:
        assert not [name for name in arrays if name.startswith("z_")]


def test_where_nothing_lies_above_the_bound_there_are_figures_all_the_same(
    tmp_path: Path, found: latents.Latents
) -> None:
    high = replace(found, bound=1e6)
    figures = inspection.summary(high)
    assert (figures.active_latents, figures.active_bits) == (1.0, 1.0)
    assert math.isnan(figures.normalised["above"].mean)
    inspection.show(figures, "picture", Console(quiet=True))
    inspection.write(tmp_path, high, figures, np.zeros((70, 90, 3), np.uint8))


def test_the_defaults_are_the_librarys(run: Run, picture: Path, photo: np.ndarray) -> None:
    told = json.loads(run("inspect", picture.name, "--json").out)
    assert (told["model"], told["quality"], told["bound"]) == ("photo", 50.0, SCALE_MIN)
    assert told["bits_y"] + told["bits_z"] == pytest.approx(codec.estimate(photo[:70, :90]))


def test_what_is_converted_is_said_on_stderr(run: Run, tmp_path: Path, photo: np.ndarray) -> None:
    glass = np.dstack([photo[:20, :20], np.full((20, 20), 99, np.uint8)])
    Image.fromarray(glass).save(tmp_path / "glass.png")
    done = run("inspect", "glass.png", "-m", SMALL)
    assert done.code == 0
    assert done.err.startswith("glass.png: ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["missing.png"], "missing.png: there is no such file"),
        (["."], "folder"),
        (["text.txt"], "not a picture"),
        (["picture.png", "--bound", "0"], "bound is 0.0"),
        (["picture.png", "--bound", "-1"], "bound is -1.0"),
        (["picture.png", "--bound", "nan"], "bound is nan"),
        (["picture.png", "--bound", "inf"], "bound is inf"),
        (["picture.png", "--bound", "wide"], "--bound"),
        (["picture.png", "-q", "0"], "quality is 0.0"),
        (["picture.png", "-q", "100.5"], "quality is 100.5"),
        (["picture.png", "-q", "nan", "--out", "new"], "quality is nan"),
        (["picture.png", "-m", "nope", "--out", "new"], "no model 'nope'"),
        (["missing.png", "--out", "new"], "missing.png"),
        (["picture.png", "--out", "text.txt"], "text.txt is no folder"),
        (["picture.png", "--out", "text.txt/below"], "text.txt is no folder"),
        ([], "PICTURE"),
    ],
    ids=str,
)
def test_bad_input_is_one_line_and_leaves_nothing(run: Run, picture: Path, arguments: list[Any], said: str) -> None:
    (picture.parent / "text.txt").write_text("this is text")
    assert said.lower() in run("inspect", *arguments).fault().lower()
    assert sorted(os.listdir(picture.parent)) == [picture.name, "text.txt"]


def test_without_matplotlib_pictures_are_refused_in_one_line_and_the_table_is_not(picture: Path) -> None:
    before = f"import sys, os; sys.modules['matplotlib'] = None; os.chdir({str(picture.parent)!r})"
    done = as_process("inspect", picture.name, "-m", SMALL, "--out", "new", before=before)
    assert "pip install 'intaglio[evaluate]'" in done.fault()
    assert os.listdir(picture.parent) == [picture.name]
    assert as_process("inspect", picture.name, "-m", SMALL, before=before).code == 0
