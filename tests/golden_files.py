"""A folder of golden files: its table, its model, the coded bytes, and the pictures they were made of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from intaglio.bundle import Model, load_model

ROOT = Path(__file__).resolve().parent.parent
SHARE = 0.001  # of all samples may differ, by one level


class Corpus:
    """tests/golden/NAME."""

    def __init__(self, name: str) -> None:
        self.folder = ROOT / "tests" / "golden" / name
        self.table: dict[str, Any] = json.loads((self.folder / "table.json").read_text(encoding="utf-8"))
        self.pictures: dict[str, dict[str, Any]] = self.table["pictures"]

    def model(self) -> Model:
        """The small model."""
        return load_model(self.folder / "small.itgm", 1)

    def data(self, name: str) -> bytes:
        """A coded picture."""
        return (self.folder / f"{name}.itg").read_bytes()

    def decoded(self, name: str) -> np.ndarray:
        """The pixels that were decoded when the corpus was made, uint8 (H,W,3)."""
        return _pixels(self.folder / f"{name}.webp")

    def source(self, name: str) -> np.ndarray:
        """The pixels that were coded, uint8 (H,W,3)."""
        left, top, width, height = self.pictures[name]["box"]
        whole = _pixels(ROOT / "examples" / f"{self.pictures[name]['example']}.webp")
        return whole[top : top + height, left : left + width]


def _pixels(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))
