"""The configuration of a training run: what is wrong in it is named, with its table and key, in one line."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from intaglio.errors import ArgumentError
from intaglio.workshop import models
from intaglio.workshop.config import DataConfig, SweepConfig, TrainConfig, from_dict, read_config

RECIPES = Path(__file__).resolve().parent.parent / "recipes"
GOOD: dict[str, Any] = {"data": {"train": "pictures"}, "train": {"minutes": 1}}


@pytest.mark.parametrize(
    ("table", "key", "value"),
    [
        ("data", "train", ""),
        ("data", "repeat", 0),
        ("data", "trian", "folder"),
        ("train", "minutes", 0),
        ("train", "minutes", float("nan")),
        ("train", "minutes", float("inf")),
        ("train", "minutes", True),
        ("train", "minutes", "long"),
        ("train", "learning_rate", -1.0),
        ("train", "linear_factor", -0.5),
        ("train", "warmup_steps", -1),
        ("train", "warmup_steps", 1.5),
        ("train", "log_steps", 0),
        ("train", "seed", -1),
        ("train", "clip", 0.0),
        ("train", "outlier", 1.0),
        ("train", "ema", 1.0),
        ("train", "precision", "16-mixed"),
        ("train", "save_minutes", -1.0),
        ("train", "val_crop", 63),
        ("train", "val_rates", []),
        ("train", "val_rates", [199]),
        ("train", "val_rates", [1.5]),
        ("train", "stages", []),
        ("train", "stages", [1.0, 64, 2]),
        ("train", "stages", [[1.0, 64]]),
        ("train", "stages", [[0.5, 64, 2]]),
        ("train", "stages", [[1.0, 100, 2]]),
        ("train", "stages", [[1.0, 64, 0]]),
        ("train", "stages", [[1.0, 64.0, 2]]),
        ("train", "stages", [[0.8, 64, 2], [0.5, 64, 2], [1.0, 64, 2]]),
        ("train", "stages", [["all", 64, 2]]),
        ("train", "speed", 3),
        ("train", "lmbda", -0.1),
        ("train", "lmbda", float("inf")),
        ("train", "distortion", "ssim"),
        ("train", "rate_term", "log"),
        ("train", "quantiser", "hard"),
        ("train", "soft_alpha", [1.0]),
        ("train", "soft_alpha", [0.0, 4.0]),
        ("sweep", "lmbdas", []),
        ("sweep", "lmbdas", [0.0]),
        ("sweep", "lmbdas", [0.01, 0.01]),
        ("sweep", "warm", 1),
        ("sweep", "rates", [1]),
    ],
)
def test_a_wrong_setting_is_named_with_its_table(table: str, key: str, value: Any) -> None:
    values = {name: dict(section) for name, section in GOOD.items()}
    values.setdefault(table, {})[key] = value
    with pytest.raises(ArgumentError, match=rf"\[{table}\].*{key}") as caught:
        from_dict(values)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("latent", 18),
        ("latent", 772),
        ("latent", 0),
        ("latent", "many"),
        ("analysis", (8, 16)),
        ("analysis", (8, 16, 0)),
        ("analysis", 8),
        ("depth", 3),
        ("anchors", 0),
    ],
)
def test_a_wrong_width_is_named_with_its_table(key: str, value: Any) -> None:
    with pytest.raises(ArgumentError, match=rf"\[model\].*{key}"):
        models.build("photo", **{key: value})


def test_crops_that_are_too_small_for_ms_ssim_are_refused() -> None:
    stages = [[0.5, 192, 2], [1.0, 128, 2]]
    with pytest.raises(ArgumentError, match=r"\[train\] stages must be crops of 192 or more"):
        from_dict(GOOD | {"train": {"distortion": "ms-ssim", "stages": stages}})
    assert from_dict(GOOD | {"train": {"distortion": "l1", "stages": stages}}).train.distortion == "l1"


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.name)
def test_every_recipe_can_be_read_and_its_model_built(path: Path) -> None:
    config = read_config(path)
    model = models.build(config.model, **config.model_fields)
    assert config.train.lmbda or not model.fixed or "[sweep]" in path.read_text()


def test_every_key_is_documented() -> None:
    text = (RECIPES.parent / "docs" / "training.md").read_text()
    for kind in (DataConfig, TrainConfig, SweepConfig):
        missing = [item.name for item in fields(kind) if f"| `{item.name}` |" not in text]
        assert not missing, f"docs/training.md says nothing of {missing}"


def test_an_unknown_model_is_named() -> None:
    with pytest.raises(ArgumentError, match=r"\[model\] name is 'painting'"):
        models.build("painting")


def test_good_settings_are_taken_and_integers_do_for_numbers() -> None:
    config = from_dict(
        GOOD | {"train": {"minutes": 3, "stages": [[0.5, 64, 2], [1, 128, 1]], "val_rates": [0, 198, 7]}}
    )
    assert config.train.minutes == 3
    assert config.train.stages == ((0.5, 64, 2), (1, 128, 1))
    assert from_dict(GOOD | {"model": {"name": "photo", "synthesis": [16, 8, 4]}}).model_fields == {
        "synthesis": (16, 8, 4)
    }


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"modle": {}}, "unknown table modle"),
        ({"data": 3}, "data must be a table"),
        ({"model": 3}, r"\[model\] must be a table"),
        ({"model": {"name": 3}}, r"\[model\].*name"),
    ],
)
def test_a_wrong_table_is_named(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        from_dict(GOOD | values)


@pytest.mark.parametrize("content", [None, b"[train", b"\xff\xfe"])
def test_an_unreadable_configuration_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "run.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ArgumentError, match=r"run\.toml"):
        read_config(path)
