"""A sweep: one run for each lambda, each of which goes on where it stopped, and real files of every model."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import intaglio
from intaglio import metrics
from intaglio.errors import ArgumentError
from intaglio.images import load, to_rgb
from intaglio.workshop import checkpoint
from intaglio.workshop.config import DataConfig, RunConfig, SweepConfig
from intaglio.workshop.sweep import JPEG_QUALITIES, MODEL, Point, folder, runs, sweep
from intaglio.workshop.sweep import _as_csv as as_csv
from small_runs import SMALL_PHOTO, SMALL_PLAIN, make_pictures, short

LMBDAS = (0.002, 0.05)
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    """The configuration of a sweep that has ended."""
    base = tmp_path_factory.mktemp("sweep")
    pictures = make_pictures(base)
    data = DataConfig(str(pictures), str(pictures / "more"))
    train = short(base / "out", minutes=0.1, stages=((1.0, 64, 4),))
    config = RunConfig("bmshj2018-factorized", SMALL_PLAIN, data, train, SweepConfig(LMBDAS, warm=True))
    sweep(config)
    return config


def rows_of(config: RunConfig) -> list[dict[str, str]]:
    with (Path(config.train.out) / "rd.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_a_sweep_trains_exports_and_measures_a_model_for_each_lambda(finished: RunConfig) -> None:
    rows = rows_of(finished)
    settings = [("bmshj2018-factorized", lmbda) for lmbda in LMBDAS] + [("jpeg", q) for q in JPEG_QUALITIES]
    assert [(row["codec"], float(row["setting"])) for row in rows] == settings
    with Image.open(Path(finished.train.out) / "rd.png") as picture:
        picture.verify()
    (path,) = (Path(finished.data.val)).glob("*.png")
    pixels = to_rgb(load(path).pixels)
    for lmbda, row in zip(LMBDAS, rows, strict=False):
        place = folder(finished.train.out, lmbda)
        data = intaglio.encode(pixels, model=str(place / MODEL))
        decoded = intaglio.decode(data, model=str(place / MODEL))
        assert float(row["bytes"]) == len(data)
        assert float(row["bpp"]) == pytest.approx(8 * len(data) / pixels[..., 0].size, rel=1e-5)
        assert float(row["psnr"]) == pytest.approx(metrics.psnr(pixels, decoded), rel=1e-5)
        assert row["ms_ssim"] == ""  # the picture is too small for it
        _, record = checkpoint.load(place)
        assert record["config"]["train"]["lmbda"] == lmbda
        assert 3.0 <= record["seconds"] < 6.0  # half of 0.1 minutes, and the last step


@pytest.mark.slow
def test_a_warm_run_begins_where_the_one_before_ended(finished: RunConfig) -> None:
    first, second = (
        [json.loads(line) for line in (folder(finished.train.out, lmbda) / "log.jsonl").read_text().splitlines()]
        for lmbda in LMBDAS
    )
    ends, cold = np.mean([row["mse"] for row in first[-3:]]), first[0]["mse"]
    assert second[0]["mse"] < 0.5 * (ends + cold), f"{cold} falls to {ends}; the next begins with {second[0]['mse']}"


@pytest.mark.slow
def test_a_sweep_that_has_ended_trains_nothing_more(finished: RunConfig) -> None:
    files = [folder(finished.train.out, lmbda) / name for lmbda in LMBDAS for name in (MODEL, "checkpoint.json")]
    before, rows = [path.read_bytes() for path in files], rows_of(finished)
    sweep(finished)
    assert [path.read_bytes() for path in files] == before
    assert rows_of(finished) == rows


@pytest.mark.slow
def test_a_variable_model_can_be_swept_too(finished: RunConfig, tmp_path: Path) -> None:
    train = replace(finished.train, out=str(tmp_path), minutes=0.02)
    points = sweep(replace(finished, model="photo", model_fields=SMALL_PHOTO, train=train, sweep=SweepConfig((0.01,))))
    assert [point.codec for point in points].count("photo") == 1
    assert points[0].bytes > 0


def test_the_minutes_are_shared_and_the_folders_are_apart(tmp_path: Path) -> None:
    config = RunConfig("photo", {}, DataConfig("pictures"), short(tmp_path, minutes=6.0), SweepConfig((0.001, 0.01, 2)))
    found = runs(config)
    assert [run.train.lmbda for run in found] == [0.001, 0.01, 2]
    assert [run.train.minutes for run in found] == [2.0, 2.0, 2.0]
    assert [Path(run.train.out).name for run in found] == ["lmbda-0.001", "lmbda-0.01", "lmbda-2"]


def test_lambdas_however_close_have_folders_of_their_own(tmp_path: Path) -> None:
    close = [0.01, math.nextafter(0.01, 1.0), 0.01000001, 123456.0, 123457.0, 1e-9, 1e22]
    assert len({folder(tmp_path, lmbda) for lmbda in close}) == len(close)
    assert all(float(folder(tmp_path, lmbda).name.removeprefix("lmbda-")) == lmbda for lmbda in close)
    assert folder(tmp_path, 2.0) == folder(tmp_path, 2) == tmp_path / "lmbda-2"


def test_the_table_of_a_sweep_tells_close_lambdas_apart() -> None:
    points = [Point("photo", lmbda, 1.0, 1.0, 30.0, math.nan) for lmbda in (0.01, 0.01000001)]
    assert [float(row["setting"]) for row in csv.DictReader(as_csv(points).splitlines())] == [0.01, 0.01000001]


def test_a_sweep_without_validation_pictures_says_so(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"\[data\] val is missing"):
        sweep(RunConfig("photo", {}, DataConfig("pictures"), short(tmp_path)))
