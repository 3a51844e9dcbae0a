"""Gains of latents that travel in the side information."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from intaglio import codec, container, gains, modelfile, verify
from intaglio.bundle import Model
from intaglio.coders import Decode, Encode
from intaglio.errors import ArgumentError, ModelError
from intaglio.gains import BANDS, MOST, Gains, bands, table
from intaglio.modelfile import ModelFile
from intaglio.quality import RATES
from intaglio.traversal import Layout, latents
from intaglio.workshop import checkpoint, models
from intaglio.workshop.coders import Round
from intaglio.workshop.config import RunConfig, TrainConfig
from intaglio.workshop.export import model_file
from intaglio.workshop.models.photo import Photo
from intaglio.workshop.trainer import Trainer
from small_photo import WIDTHS, gained, randomised
from test_format_document import block

QUAD = Layout(WIDTHS["latent"])


@pytest.fixture(scope="module")
def file() -> ModelFile:
    return modelfile.read(modelfile.write(model_file(gained(3), "photo", {})))


@pytest.fixture(scope="module")
def model(file: ModelFile) -> Model:
    return Model(file, threads=1)


@pytest.fixture
def pixels(photo: np.ndarray) -> np.ndarray:
    return photo[:128, :192]


def test_bands_are_octaves_of_each_group() -> None:
    found = bands(Layout(384)).reshape(4, 96)
    assert np.all(found == found[0])
    assert np.bincount(found[0]).tolist() == [4, 12, 32, 48]
    with pytest.raises(ArgumentError, match="quad"):
        bands(Layout(8, "checkerboard"))


def test_the_table_is_the_same_everywhere() -> None:
    up, down = table()
    assert up.shape == (MOST + 1,)
    assert (up[128], up[192], up[64], up[0], up[256]) == (1.0, 2.0, 0.5, 0.25, 4.0)
    assert np.array_equal(down, up[::-1])
    assert np.all(np.diff(up) > 0)
    assert hashlib.sha256(table().astype("<f4").tobytes()).hexdigest()[:16] == "8e99c25cc4dc851b"


def test_encoder_and_decoder_have_the_same_latents_and_the_picture_is_theirs(model: Model, pixels: np.ndarray) -> None:
    for quality in (5, 50, 95):
        data = codec.encode(pixels, quality, model=model)
        (payload,) = container.read(data).payloads
        rate = round(2 * quality - 2)
        window = codec.Window(pixels, (0, 0, 8, 12))
        written = latents(model, window, rate, Encode(model.layout, model.tables, model.quantiser))
        read = latents(model, None, rate, Decode(model.layout, model.tables, payload, (2, 3)))
        assert np.array_equal(written, read)
        assert np.array_equal(codec.decode(data, model=model), model.synthesis(read, rate))
        assert not verify.verify(data, model).differences


def test_gains_matter_and_vary_over_the_picture(model: Model, pixels: np.ndarray) -> None:
    z = model.hyper_analysis(model.analysis(codec.Window(pixels, (0, 0, 8, 12)), 100), 100)
    found = model.gains(model.hyper_synthesis(np.floor(z + 0.5), 100), 100)
    assert found is not None
    assert all(each.shape == (1, QUAD.channels, 8, 12) and each.dtype == np.float32 for each in found)
    assert np.allclose(found[0] * found[1], 1.0, rtol=1e-6)
    assert len(np.unique(found[0])) > 10
    assert len(np.unique(found[0][0, :, 0, 0])) > 1


def test_the_workshop_has_the_same_gains(model: Model, rng: np.random.Generator) -> None:
    made = gained(3)
    for rate in (0, 77, 198):
        z = rng.integers(-20, 21, (1, WIDTHS["hyper"], 2, 3)).astype(np.float32)
        ours = model.gains(model.hyper_synthesis(z, rate), rate)
        with torch.no_grad():
            rates = torch.tensor([rate])
            theirs = made.gains(made.hyper_synthesis(torch.from_numpy(z), rates), rates)
        assert ours is not None
        assert theirs is not None
        for one, other in zip(ours, theirs, strict=True):
            assert np.allclose(one, other.numpy(), rtol=1e-6)


def test_what_training_estimates_is_what_is_written(model: Model, pixels: np.ndarray) -> None:
    made = gained(3)
    x = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None]
    for quality in (20, 80):
        coder = Round(made.layout, error_cost=made.error_cost)
        with torch.no_grad():
            made.walk(made.pair(x), torch.tensor([2 * quality - 2]), coder)
        written = len(container.read(codec.encode(pixels, quality, model=model)).payloads[0])
        assert written == pytest.approx(float(coder.bits) / 8.0, rel=0.02, abs=8)


def test_the_document_says_what_happens(file: ModelFile, rng: np.random.Generator) -> None:
    space = {"np": np}
    exec(block("python", "def degained"), space)
    shift = file.arrays[gains.ARRAY]
    for rate in (0, 77, 198):
        side = rng.integers(0, 256, (WIDTHS["side"], 3, 5))
        y = rng.normal(0.0, 9.0, (QUAD.channels, 3, 5)).astype(np.float32)
        ours = y * Gains(QUAD, shift).of(side[None].astype(np.float32), rate)[1][0]
        assert np.array_equal(space["degained"](shift, rate, side, y), ours)  # type: ignore[operator]


@pytest.mark.parametrize(
    "shift",
    [np.zeros(RATES, np.int16), np.zeros(RATES - 1, np.int8), np.full(RATES, -1, np.int8), np.full(RATES, 8, np.int8)],
)
def test_shifts_that_cannot_be_meant_are_refused(file: ModelFile, shift: np.ndarray) -> None:
    with pytest.raises(ModelError, match=r"does not fit together: gains\.shift"):
        Model(replace(file, arrays={**file.arrays, gains.ARRAY: shift}))


@pytest.mark.parametrize("channels", [0, BANDS - 1])
def test_gains_need_side_information_to_be_told_by(file: ModelFile, channels: int) -> None:
    name = "hyper_synthesis.to_full.weight"
    with pytest.raises(ModelError, match=r"gains\.shift is for models with side information"):
        Model(replace(file, arrays={**file.arrays, name: file.arrays[name][: 4 * channels]}))
    with pytest.raises(ArgumentError, match="side is 3; gains need 4"):
        models.build("photo", **{**WIDTHS, "side": 3}, gains=True)


def test_verification_sees_a_wrong_gain(file: ModelFile, pixels: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = Model(file, threads=1)
    data = codec.encode(pixels, 50, model=wrong)
    one_off = table()
    one_off[1] = np.nextafter(one_off[1], np.float32(9.0))
    monkeypatch.setattr(wrong._gains, "_table", one_off)
    (said,) = verify.verify(data, wrong).differences
    assert "latents of" in said


def test_weights_without_gains_begin_with_none_and_weights_with_gains_need_them(tmp_path: Path) -> None:
    run = {"out": str(tmp_path / "run"), "minutes": 1.0, "precision": "32-true"}
    kept = {True: gained(3), False: randomised(3)}
    for has, made in kept.items():
        fields = {**WIDTHS, "gains": has}
        record = {"step": 3, "seconds": 1.0, "config": {"model": "photo", "model_fields": fields, "train": run}}
        checkpoint.save(tmp_path / f"{has}", {f"average.{k}": v for k, v in made.state_dict().items()}, record)
        (tmp_path / f"{has}.itgm").write_bytes(modelfile.write(model_file(made, "photo", {})))
    for kind in ("", ".itgm"):
        trainer = Trainer(RunConfig("photo", {**WIDTHS, "gains": True}, train=TrainConfig(**run)))  # type: ignore[arg-type]
        trainer.start_from(tmp_path / f"False{kind}")
        assert torch.equal(_gains_of(trainer.model), torch.ones(RATES, QUAD.channels, 4, 4))
        trainer.start_from(tmp_path / f"True{kind}")
        assert float(_gains_of(trainer.model).detach().std()) > 0.01
        plain = Trainer(RunConfig("photo", WIDTHS, train=TrainConfig(**run)))  # type: ignore[arg-type]
        with pytest.raises(ArgumentError, match="set \\[model\\] gains = true"):
            plain.start_from(tmp_path / f"True{kind}")


def _gains_of(made: Any) -> Any:
    assert isinstance(made, Photo)
    rates, z = torch.arange(RATES), torch.randn(RATES, WIDTHS["hyper"], 1, 1).round()
    with torch.no_grad():
        found = made.gains(made.hyper_synthesis(z, rates), rates)
    assert found is not None
    return found[0]


def test_gains_start_as_none() -> None:
    """What a new model begins with leaves y alone, at every rate."""
    assert torch.equal(_gains_of(models.build("photo", **WIDTHS, gains=True)), torch.ones(RATES, QUAD.channels, 4, 4))
