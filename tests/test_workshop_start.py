"""What a run may start from: checkpoints of this version alone, and model files, whose densities are tables."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from intaglio import images
from intaglio.errors import ModelError
from intaglio.modelfile import ModelFile
from intaglio.rans import Tables
from intaglio.workshop import checkpoint, densities, models, restore
from intaglio.workshop.coders import Round
from intaglio.workshop.config import DataConfig, RunConfig
from intaglio.workshop.data import Batches
from intaglio.workshop.entropy import DeepFactorized
from intaglio.workshop.export import export
from intaglio.workshop.models.base import Hyperprior, Model
from intaglio.workshop.train import train
from intaglio.workshop.trainer import Trainer
from intaglio.workshop.validate import Validator
from small_models import LMBDA, RATE, TINY
from small_runs import configure, make_pictures, short

pytestmark = pytest.mark.usefixtures("one_thread")
OLDER = r"was written by an older version; export it with that version and start from .* --from X\.itgm$"


@pytest.fixture
def trainer(tmp_path: Path) -> Trainer:
    """A trainer that has saved its first step."""
    (tmp_path / "pictures").mkdir()
    trainer = Trainer(configure(make_pictures(tmp_path / "pictures"), tmp_path / "run"))
    trainer.update(Batches(trainer.config.data, 0).batch(0, 64, 2))
    trainer.save()
    return trainer


def restamp(folder: Path, **version: Any) -> None:
    """Replaces the version in the record of the checkpoint there; by nothing, as before there were versions."""
    path = folder / "checkpoint.json"
    index = json.loads(path.read_text())
    del index["record"]["version"]
    index["record"] |= version
    path.write_text(json.dumps(index))


def resume(trainer: Trainer) -> None:
    train(trainer.config, resume=True)


def begin(trainer: Trainer) -> None:
    out = str(Path(trainer.options.out).parent / "other")
    train(replace(trainer.config, train=replace(trainer.options, out=out)), start=Path(trainer.options.out))


def write_model(trainer: Trainer) -> None:
    export(trainer.options.out, Path(trainer.options.out) / "model.itgm")


@pytest.mark.parametrize("use", [resume, begin, write_model])
@pytest.mark.parametrize(
    ("version", "message"),
    [({}, OLDER), ({"version": 1}, OLDER), ({"version": 99}, "newer version; update"), ({"version": "x"}, "newer")],
    ids=str,
)
def test_a_checkpoint_of_another_version_is_refused(
    trainer: Trainer, use: Callable[[Trainer], None], version: dict[str, Any], message: str
) -> None:
    restamp(Path(trainer.options.out), **version)
    with pytest.raises(ModelError, match=message) as caught:
        use(trainer)
    assert "\n" not in str(caught.value)
    assert not (Path(trainer.options.out) / "model.itgm").exists()


def test_a_checkpoint_of_this_version_is_taken(trainer: Trainer) -> None:
    folder = Path(trainer.options.out)
    assert checkpoint.load(folder)[1]["version"] == checkpoint.VERSION
    restamp(folder, version=checkpoint.VERSION)
    again = Trainer(trainer.config)
    again.resume()
    assert again.step == 1
    again = Trainer(trainer.config)
    again.start_from(folder)
    for name, value in again.model.state_dict().items():
        assert torch.equal(value, trainer.average[name]), name


@dataclass(frozen=True)
class Trained:
    """A model after some steps, as it was and as its file gives it back."""

    model: Model
    restored: Model
    validator: Validator
    crop: Tensor


@pytest.fixture(scope="module", params=["bmshj2018-factorized", "bls2017", "mbt2018-mean"])
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, photo: np.ndarray) -> Trained:
    name, folder = request.param, tmp_path_factory.mktemp("trained")
    (folder / "pictures").mkdir()
    images.save(folder / "pictures" / "photo.png", photo)
    data = DataConfig(str(folder / "pictures"), str(folder / "pictures"))
    options = short(folder / "run", lmbda=LMBDA, minutes=10.0, learning_rate=1e-3, val_crop=256)
    trainer = Trainer(RunConfig(name, TINY[name], data, options))
    batches = Batches(data, 0)
    trainer.start_from_pictures(batches)
    for number in range(40):
        trainer.update(batches.batch(number, 64, 4))
    trainer.save()
    export(folder / "run", folder / "model.itgm")
    other = Trainer(replace(trainer.config, train=replace(options, seed=7)))
    other.start_from(folder / "model.itgm")
    validator = Validator(trainer.config, folder)
    return Trained(trainer.averaged(), other.averaged(), validator, validator.crops[0])


@torch.no_grad()
def side_bits(model: Model, crop: Tensor) -> float:
    """Bits of z alone; 0 without a hyperprior."""
    coder, rate = Round(model.layout), torch.tensor([RATE])
    if isinstance(model, Hyperprior):
        coder.factorized(model.hyper_analysis(model.analysis(crop, rate), rate), model.z_rows(rate))
    return float(coder.bits)


@pytest.mark.slow
def test_a_model_file_costs_the_same_bits_when_training_starts_from_it(trained: Trained) -> None:
    before, after = (trained.validator.measure(model, RATE) for model in (trained.model, trained.restored))
    side = [side_bits(model, trained.crop) for model in (trained.model, trained.restored)]
    print(f"{before[0]:.4f} bpp, then {after[0]:.4f}; z {side[0]:.1f} bits, then {side[1]:.1f}")
    assert after[0] == pytest.approx(before[0], rel=0.08)
    assert after[1] == pytest.approx(before[1], abs=0.05)  # dB; y is rounded around the same means
    assert side[1] == pytest.approx(side[0], rel=0.08)


def test_a_prior_can_be_set_to_a_logistic_distribution(seed: int) -> None:
    torch.manual_seed(seed)
    prior, scale, loc = DeepFactorized(3, initial_scale=2.0), torch.tensor([0.1, 2.0, 40.0]), torch.tensor([0.5, 0, -7])
    x = torch.linspace(-9.0, 9.0, 37).repeat(3, 1)
    prior.shrink(2.0 / scale)
    prior.centre(loc)
    assert prior.loc().tolist() == loc.tolist(), f"seed {seed}"
    wanted = densities.bits(x - loc[:, None], scale[:, None], "logistic")
    assert torch.allclose(prior.bits(x[None])[0], wanted, rtol=1e-3, atol=1e-3), f"seed {seed}"


@pytest.mark.parametrize(
    "changed",
    [
        {"y_rows": np.zeros(0, np.uint8)},
        {"y_loc": np.zeros(3, np.int32)},
        {"y_rows": np.full(12, 99, np.uint8)},
    ],
    ids=str,
)
def test_a_file_without_a_table_for_each_channel_is_refused(changed: dict[str, Any]) -> None:
    model = models.build("bmshj2018-factorized", **TINY["bmshj2018-factorized"])
    with pytest.raises(ModelError, match="a table for each of 12 channels; is it the same model"):
        restore.weights(ModelFile("small", {}, model.arrays() | changed, {}, {}), model)


def test_a_table_of_one_symbol_gives_a_narrow_density() -> None:
    model = models.build("bmshj2018-factorized", **TINY["bmshj2018-factorized"])
    tables = Tables.from_pmfs([(0, [1.0]), (-40, np.full(81, 1.0 / 81.0))])
    rows, arrays = (
        np.arange(12, dtype=np.uint8) % 2,
        {f"tables.{key}": each for key, each in tables.to_arrays().items()},
    )
    arrays |= {"y_rows": rows, "y_loc": np.arange(12, dtype=np.int32)}
    with pytest.raises(ModelError, match=r"has no analysis"):  # the graphs come after the densities
        restore.weights(ModelFile("small", {}, arrays, {}, {}), model)
    prior = model.prior
    assert isinstance(prior, DeepFactorized)
    assert (prior.loc() * 16).tolist() == list(range(12))
    costs = prior.bits(prior.loc()[None, :, None])[0, :, 0]
    assert costs[::2].max() < 0.01
    assert 5.0 < costs[1] < 8.0  # log2 81 is 6.3
    assert torch.isfinite(prior.bits(torch.full((1, 12, 1), 500.0))).all()
