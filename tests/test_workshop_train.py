"""Training: it learns, it can be stopped and resumed, it survives bad steps, and it says what is wrong in one line."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from intaglio.errors import ArgumentError, ModelError
from intaglio.quality import lmbda_to_rate
from intaglio.workshop import checkpoint
from intaglio.workshop.coders import Soft
from intaglio.workshop.config import DataConfig, RunConfig
from intaglio.workshop.data import (
    Batches,
    at_least,
    cut,
    draw_crop,
    load_pictures,
    patch_statistics,
    picture_files,
    planes_of,
)
from intaglio.workshop.loss import RateDistortion
from intaglio.workshop.objective import Objective
from intaglio.workshop.train import train
from intaglio.workshop.trainer import Trainer, spread_rates
from intaglio.workshop.validate import Validator
from small_runs import SMALL_PHOTO, SMALL_PLAIN, configure, make_pictures

SOURCE = Path(__file__).resolve().parent.parent / "src"
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a handful of small pictures."""
    return make_pictures(tmp_path_factory.mktemp("pictures"))


def rows_of(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def state_of(trainer: Trainer) -> dict[str, torch.Tensor]:
    moments = checkpoint.flatten_optimizer(trainer.optimizer)
    return {name: value.clone() for name, value in (trainer.model.state_dict() | moments).items()}


def assert_same(got: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> None:
    assert got.keys() == wanted.keys()
    different = [name for name, value in got.items() if not torch.equal(value, wanted[name])]
    assert not different


@pytest.fixture(scope="module")
def finished(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    """The configuration of a run that has ended."""
    config = configure(pictures, tmp_path_factory.mktemp("runs") / "small")
    train(config)
    return config


@pytest.fixture
def trainer(pictures: Path, tmp_path: Path) -> Trainer:
    """A trainer a few steps into its run."""
    trainer = Trainer(configure(pictures, tmp_path / "run"))
    batches = Batches(trainer.config.data, seed=0)
    trainer.start_from_pictures(batches)
    for number in range(6):
        trainer.update(batches.batch(number, 64, 2))
    trainer.seconds = 1.25
    return trainer


@pytest.mark.slow
def test_a_run_leaves_a_checkpoint_a_log_and_validation_results(finished: RunConfig) -> None:
    out = Path(finished.train.out)
    _, record = checkpoint.load(out)
    assert record["seconds"] >= 60 * finished.train.minutes
    rows = rows_of(out)
    assert [row["step"] for row in rows] == list(range(2, record["step"] + 1, 2))
    assert {"loss", "bpp", "mse", "psnr", "samples_per_s", "skipped", "lr"} <= rows[0].keys()
    with (out / "validation.csv").open(newline="") as file:
        points = list(csv.DictReader(file))
    assert [(int(row["step"]), int(row["rate"])) for row in points] == [(record["step"], 40), (record["step"], 150)]
    with Image.open(out / "validation.png") as picture:
        picture.verify()
    assert not list(out.glob("*.partial")) + list(out.glob("*.tmp"))


def test_the_loss_falls(pictures: Path, tmp_path: Path) -> None:
    config = configure(pictures, tmp_path)
    trainer, batches = Trainer(config), Batches(config.data, config.train.seed)
    trainer.start_from_pictures(batches)
    validator = Validator(config, tmp_path)
    before = [validator.measure(trainer.averaged(), rate)[2] for rate in config.train.val_rates]
    for number in range(40):
        trainer.update(batches.batch(number, 64, 2))
    after = [validator.measure(trainer.averaged(), rate)[2] for rate in config.train.val_rates]
    assert trainer.skipped == 0
    assert all(new < 0.97 * old for new, old in zip(after, before, strict=True)), f"{before} before, {after} after"


@pytest.mark.slow
def test_a_finished_run_is_left_alone_and_a_longer_one_goes_on(finished: RunConfig, tmp_path: Path) -> None:
    for path in Path(finished.train.out).iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    same = replace(finished, train=replace(finished.train, out=str(tmp_path)))
    train(same, resume=True)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    train(replace(same, train=replace(same.train, minutes=0.06)), resume=True)
    old, new = (checkpoint.load(Path(config.train.out))[1] for config in (finished, same))
    assert new["step"] > old["step"]
    assert 60 * 0.06 <= new["seconds"] < old["seconds"] + 10
    steps = [row["step"] for row in rows_of(tmp_path)]
    assert steps == sorted(set(steps))
    assert steps[: len(rows_of(Path(finished.train.out)))] == [row["step"] for row in rows_of(Path(finished.train.out))]


@pytest.mark.slow
def test_a_new_run_does_not_overwrite_another(finished: RunConfig) -> None:
    with pytest.raises(ArgumentError, match=r"\[train\] out.*already holds a run"):
        train(finished)


def test_resuming_changes_nothing(trainer: Trainer) -> None:
    trainer.save()
    saved, average = state_of(trainer), {name: value.clone() for name, value in trainer.average.items()}
    batch = Batches(trainer.config.data, seed=0).batch(6, 64, 2)
    trainer.update(batch)
    torch.manual_seed(99)
    resumed = Trainer(trainer.config)
    resumed.resume()
    assert (resumed.step, resumed.seconds, resumed.skipped) == (6, 1.25, trainer.skipped)
    assert_same(state_of(resumed), saved)
    assert_same(resumed.average, average)
    resumed.update(batch)  # draws the same rates and the same noise as the run that was not interrupted
    assert resumed.norm == trainer.norm
    assert_same(state_of(resumed), state_of(trainer))
    assert_same(resumed.average, trainer.average)


def test_shards_are_no_larger_than_asked_and_hold_the_same(trainer: Trainer) -> None:
    out, limit = Path(trainer.options.out), 100_000
    trainer.save()
    whole, record = checkpoint.load(out)
    assert len(list(out.glob("*.safetensors"))) == 1
    trainer.save(shard_bytes=limit)
    shards = list(out.glob("*.safetensors"))
    assert len(shards) > 3
    assert max(path.stat().st_size for path in shards) <= limit
    again, record_again = checkpoint.load(out)
    assert_same(again, whole)
    assert record_again == record
    shards[0].unlink()
    with pytest.raises(ModelError, match="damaged"):
        checkpoint.load(out)


def test_bad_steps_are_skipped_and_counted(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = Batches(trainer.config.data, seed=0).batch(6, 64, 2)
    before, norm, trainer.norm = state_of(trainer), trainer.norm, 1e-9
    trainer.update(batch)
    assert (trainer.step, trainer.skipped) == (7, 1)
    assert 1e-9 < trainer.norm < 1.1e-9  # grows, so that a lasting change is accepted in the end
    assert_same(state_of(trainer), before)

    def endless(batch: torch.Tensor, rate: torch.Tensor) -> RateDistortion:
        weight = next(trainer.model.parameters())
        one = torch.ones(2)
        return RateDistortion((weight.sum() * float("inf")).expand(2), one, one, one, one)

    trainer.norm = norm
    with monkeypatch.context() as patch:
        patch.setattr(trainer, "forward", endless)
        trainer.update(batch)
    assert (trainer.step, trainer.skipped) == (8, 2)
    assert_same(state_of(trainer), before)
    trainer.update(batch)
    assert trainer.skipped == 2
    assert not torch.equal(state_of(trainer)["analysis.last.weight"], before["analysis.last.weight"])


def test_without_warm_up_the_first_steps_are_no_outliers(pictures: Path, tmp_path: Path) -> None:
    trainer = Trainer(configure(pictures, tmp_path, warmup_steps=0))
    trainer.update(Batches(trainer.config.data, seed=0).batch(0, 64, 2))
    assert trainer.skipped == 0
    assert trainer.norm > 0


@pytest.mark.slow
def test_training_needs_neither_the_native_core_nor_onnx_nor_matplotlib(pictures: Path, tmp_path: Path) -> None:
    widths = "\n".join(f"{name} = {json.dumps(value)}" for name, value in SMALL_PHOTO.items())
    (tmp_path / "run.toml").write_text(
        f'[model]\nname = "photo"\n{widths}\n[data]\ntrain = {json.dumps(str(pictures))}\n'
        f"val = {json.dumps(str(pictures))}\n[train]\nout = {json.dumps(str(tmp_path / 'run'))}\nminutes = 0.01\n"
        'stages = [[1, 64, 2]]\naccelerator = "cpu"\nval_rates = [50]\n'
    )
    code = (
        f"import sys; sys.path.insert(0, {str(SOURCE)!r})\n"
        "for name in ('intaglio._native', 'onnxruntime', 'onnx', 'matplotlib'): sys.modules[name] = None\n"
        "import torch; torch.set_num_threads(1)\n"
        "from intaglio.workshop.config import read_config\n"
        "from intaglio.workshop.train import train\n"
        f"train(read_config({str(tmp_path / 'run.toml')!r}))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "matplotlib is not installed" in done.stdout
    assert checkpoint.exists(tmp_path / "run")
    assert (tmp_path / "run" / "validation.csv").exists()


def test_a_batch_depends_on_the_seed_and_its_number_alone(pictures: Path) -> None:
    config = DataConfig(str(pictures))
    one, other, reseeded = Batches(config, 5), Batches(config, 5), Batches(config, 6)
    forwards = [one.batch(number, 64, 3) for number in range(4)]
    backwards = [other.batch(number, 64, 3) for number in (3, 2, 1, 0)][::-1]
    torch.manual_seed(1)
    ahead = other.ahead(1, iter([(64, 3)] * 3))
    for number, batch in enumerate(forwards):
        assert batch.shape == (3, 3, 64, 64)
        assert batch.dtype == torch.uint8
        assert torch.equal(batch, backwards[number])
        assert not torch.equal(batch, reseeded.batch(number, 64, 3))
        assert number == 0 or torch.equal(batch, next(ahead))
    assert not torch.equal(forwards[0], forwards[1])


def test_pictures_repeat_by_their_name(pictures: Path) -> None:
    batches = Batches(DataConfig(str(pictures), repeat_prefix="grey", repeat=4), 0)
    assert len(batches.pictures) == 5
    assert sorted(np.bincount(batches.order).tolist()) == [1, 1, 1, 1, 4]


def test_pictures_come_upright_and_in_colour(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees to show
    Image.new("L", (20, 10), 77).save(tmp_path / "turned.png", exif=exif)
    (picture,) = load_pictures(picture_files(tmp_path, "[data] train"))
    assert picture.shape == (20, 10, 3)
    assert (picture == 77).all()


@pytest.mark.parametrize("size", [(30, 45), (1, 1), (64, 20), (200, 90)])
def test_pictures_smaller_than_the_crop_are_mirrored_not_enlarged(
    size: tuple[int, int], rng: np.random.Generator, seed: int
) -> None:
    picture = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    whole = at_least(picture, 64)
    assert whole.shape == (max(64, size[0]), max(64, size[1]), 3)
    assert np.array_equal(whole[: size[0], : size[1]], picture), f"seed {seed}"
    colours = {tuple(colour) for colour in picture.reshape(-1, 3).tolist()}
    assert {tuple(colour) for colour in whole.reshape(-1, 3).tolist()} == colours, f"seed {seed}"
    for _ in range(20):
        assert cut(picture, 64, draw_crop(picture.shape, 64, rng)).shape == (64, 64, 3), f"seed {seed}"


def test_the_klt_is_orthonormal_and_keeps_most_of_the_energy(pictures: Path) -> None:
    loaded = [at_least(picture, 16) for picture in load_pictures(picture_files(pictures, "[data] train"))]
    basis, deviation = patch_statistics((planes_of(each) / 255.0 - 0.5 for each in loaded), 16, 32)
    assert torch.allclose(basis @ basis.t(), torch.eye(32), atol=1e-4)
    assert (deviation.diff() <= 1e-6).all()
    assert deviation[0] > 10 * deviation[31] > 0


@pytest.mark.parametrize("key", ["train", "val"])
@pytest.mark.parametrize("made", [False, True])
def test_a_missing_or_empty_folder_is_named(pictures: Path, tmp_path: Path, key: str, made: bool) -> None:
    folder = tmp_path / "folder"
    if made:
        folder.mkdir()
    config = configure(pictures, tmp_path / "run")
    config = replace(config, data=replace(config.data, **{key: str(folder)}))
    with pytest.raises(ArgumentError, match=rf"\[data\] {key}: .*folder"):
        train(config)
    assert not (tmp_path / "run").exists()


def test_an_output_folder_that_cannot_be_is_named(pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ArgumentError, match=r"\[train\] out"):
        train(configure(pictures, tmp_path / "file"))


def test_an_accelerator_that_cannot_be_is_named(pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"\[train\] accelerator"):
        train(configure(pictures, tmp_path, accelerator="abacus"))


def test_resuming_without_a_checkpoint_says_so(pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="holds no checkpoint"):
        train(configure(pictures, tmp_path), resume=True)


def test_resuming_another_model_says_so(trainer: Trainer) -> None:
    trainer.save()
    other = replace(trainer.config, model_fields=SMALL_PHOTO | {"side": 12})
    with pytest.raises(ArgumentError, match=r"of another model: give \[model\]"):
        train(other, resume=True)


def test_a_model_of_one_lambda_asks_for_it(pictures: Path, tmp_path: Path) -> None:
    config = replace(configure(pictures, tmp_path / "run"), model="bmshj2018-factorized", model_fields=SMALL_PLAIN)
    with pytest.raises(ArgumentError, match=r"\[train\] 'bmshj2018-factorized' is trained for one lambda: set lmbda"):
        train(config)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_run_of_one_lambda_is_trained_and_measured_there_alone(pictures: Path, tmp_path: Path) -> None:
    config = configure(pictures, tmp_path, lmbda=0.0123, minutes=0.01)
    train(config)
    trainer = Trainer(config)
    step = lmbda_to_rate(0.0123, trainer.model.lmbdas)
    with (tmp_path / "validation.csv").open(newline="") as file:
        assert [int(row["rate"]) for row in csv.DictReader(file)] == [step]
    assert trainer.rates(3).tolist() == [step] * 3
    result = trainer.forward(Batches(config.data, 0).batch(0, 64, 2), trainer.rates(2))
    assert result.lmbda.tolist() == pytest.approx([0.0123] * 2)


def test_a_run_can_start_from_the_averaged_weights_of_another(trainer: Trainer, tmp_path: Path) -> None:
    trainer.save()
    other = Trainer(replace(trainer.config, train=replace(trainer.options, out=str(tmp_path / "other"), seed=5)))
    assert not torch.equal(state_of(other)["synthesis.first.weight"], state_of(trainer)["synthesis.first.weight"])
    other.start_from(Path(trainer.options.out))
    assert_same(dict(other.model.state_dict()), trainer.average)
    assert_same(other.average, trainer.average)
    assert other.step == 0


def test_checkpoints_number_the_parameters_as_ever(trainer: Trainer) -> None:
    """A run goes on only if its moments meet their parameters again; other numbers need another `VERSION`."""
    names = {id(parameter): name for name, parameter in trainer.model.named_parameters()}
    rest, *others = [[names[id(each)] for each in group["params"]] for group in trainer.optimizer.param_groups]
    parts = [name.split(".")[0] for name in rest]
    assert list(dict.fromkeys(parts)) == ["analysis", "hyper_analysis_net", "hyper_synthesis", "context", "z_index"]
    assert others[:2] == [["analysis.linear.weight"], ["synthesis.linear.weight"]]
    assert {name.split(".")[0] for name in others[2]} == {"synthesis"}
    factors = [group["factor"] for group in trainer.optimizer.param_groups]
    assert factors == [1.0, 0.02, 0.02, 4.0]


def test_moments_of_other_parameters_are_refused(trainer: Trainer) -> None:
    state = checkpoint.flatten_optimizer(trainer.optimizer)
    state["optimizer.0.exp_avg"] = torch.zeros(1, 2, 3)
    with pytest.raises(ModelError, match=r"optimizer\.0\.exp_avg has the shape \(1, 2, 3\)"):
        checkpoint.restore_optimizer(trainer.optimizer, state)


def test_soft_rounding_hardens_as_the_run_goes_on(trainer: Trainer) -> None:
    options = replace(trainer.options, quantiser="soft", soft_alpha=(1.0, 9.0))
    seen: list[float] = []

    class Watched(Soft):
        def _quantise(self, value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            seen.append(self.alpha)
            return super()._quantise(value)

    objective = Objective(trainer.model, options, trainer.fabric.autocast)
    objective.quantiser = Watched
    for progress in (0.0, 0.5, 1.0):
        objective(torch.zeros(1, 3, 64, 64, dtype=torch.uint8), torch.tensor([9]), progress, False)
    assert sorted(set(seen)) == pytest.approx([1.0, 3.0, 9.0])


def test_the_last_phase_freezes_the_encoding_half_and_trains_the_rest(trainer: Trainer) -> None:
    batch = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    trainer.seconds = 60.0 * trainer.options.minutes * 0.9
    assert not trainer.hard
    trainer.options = replace(trainer.options, hard_from=0.8)
    assert trainer.hard
    assert trainer.learning_rate() == pytest.approx(trainer.options.hard_learning_rate / 2)  # half of the phase is over
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    trainer.update(batch)
    changed = {name for name, value in trainer.model.state_dict().items() if not torch.equal(value, before[name])}
    assert not [name for name in changed if name.startswith(("analysis.", "hyper_analysis_net."))]
    assert {name.split(".")[0] for name in changed} >= {"synthesis", "context", "hyper_synthesis", "z_index"}


@pytest.mark.parametrize("count", [1, 2, 7, 199])
def test_the_rates_of_a_batch_are_spread_over_the_whole_scale(count: int) -> None:
    rates = spread_rates(count).sort().values
    parts = torch.arange(count) * 199 / count
    assert bool(((rates >= torch.floor(parts)) & (rates <= torch.ceil(parts + 199 / count))).all())
    assert rates.dtype == torch.int64
    assert 0 <= int(rates.min()) <= int(rates.max()) <= 198
