"""Training runs of seconds for tests: a handful of small pictures, small models, short configurations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from intaglio.workshop.config import DataConfig, RunConfig, TrainConfig

SMALL_PHOTO = {
    "latent": 16,
    "analysis": (8, 8, 16),
    "synthesis": (16, 8, 4),
    "hyper": 8,
    "side": 8,
    "context": 8,
}
SMALL_PLAIN = {"features": 8, "latent": 12}


def make_pictures(folder: Path) -> Path:
    """Fills the folder with a handful of small pictures, one of them grey, one smaller than a crop."""
    rng = np.random.default_rng(7)
    (folder / "more").mkdir()
    for number, size in enumerate([(96, 128), (128, 96), (100, 100), (96, 96), (30, 45)]):
        coarse = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize(size, Image.Resampling.BICUBIC)).astype(np.float32)
        noisy = np.clip(smooth + rng.normal(0, 4, smooth.shape), 0, 255).astype(np.uint8)
        name = f"more/grey{number}.png" if number == 3 else f"picture{number}.png"
        Image.fromarray(noisy).convert("L" if number == 3 else "RGB").save(folder / name)
    (folder / "notes.txt").write_text("not a picture")
    return folder


def configure(pictures: Path, out: Path, **options: Any) -> RunConfig:
    """A run of a few seconds with a small `photo` model."""
    return RunConfig("photo", SMALL_PHOTO, DataConfig(str(pictures), str(pictures)), short(out, **options))


def short(out: Path, **options: Any) -> TrainConfig:
    """A few seconds."""
    default: dict[str, Any] = {
        "out": str(out),
        "minutes": 0.05,
        "stages": ((0.5, 64, 2), (1.0, 128, 2)),
        "learning_rate": 2e-3,
        "warmup_steps": 5,
        "log_steps": 2,
        "precision": "32-true",
        "accelerator": "cpu",
        "val_crop": 64,
        "val_rates": (40, 150),
    }
    return TrainConfig(**(default | options))
