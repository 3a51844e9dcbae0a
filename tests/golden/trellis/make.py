"""Made the corpus in this folder, once: README.md says how, and why it is never made again."""

from __future__ import annotations

import sys
from dataclasses import replace
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from intaglio import modelfile
from intaglio.quantiser import TRELLIS_TABLES, first_tables
from intaglio.workshop.fitting import fitted

HERE = Path(__file__).resolve().parent
PLAIN = HERE.parent / "v1"


def _plain() -> Any:
    """What made that corpus; every corpus has a module of this name."""
    loader = SourceFileLoader("make_v1", str(PLAIN / "make.py"))
    spec = spec_from_loader(loader.name, loader)
    assert spec is not None
    module = sys.modules[loader.name] = module_from_spec(spec)
    loader.exec_module(module)
    return module


v1 = _plain()
Picture = v1.Picture

SIZE, COST = 11, 12.0
PICTURES = {
    "dot": Picture("colosseum", (600, 400, 1, 1), 50),
    "odd": Picture("budgie", (540, 150, 37, 65), 20),
    "grey": Picture("taipei_night", (440, 300, 129, 70), 60, grey=True),
    "lowest": Picture("colosseum", (500, 250, 128, 96), 1),
    "middle": Picture("taipei_night", (440, 300, 128, 64), 45.5),
    "highest": Picture("budgie", (520, 150, 96, 64), 100),
    "tiles": Picture("colosseum", (560, 300, 150, 130), 33, tile=1),
    "lanes": Picture("budgie", (300, 100, 448, 320), 85),
}


def model_file() -> modelfile.ModelFile:
    """The small model of v1 with a trellis in place of rounding, its tables fitted to the examples."""
    plain = modelfile.read((PLAIN / "small.itgm").read_bytes())
    tables = {f"tables.{name}": each for name, each in first_tables(SIZE).to_arrays().items()}
    rows = (plain.arrays["z_rows"] + TRELLIS_TABLES).astype(np.uint8)
    config = dict(plain.config) | {"trellis": SIZE, "error_cost": COST}
    file = replace(plain, arrays=dict(plain.arrays) | tables | {"z_rows": rows}, config=config)
    pictures = [np.asarray(Image.open(path).convert("RGB"))[:512, :512] for path in sorted(v1.EXAMPLES.glob("*.webp"))]
    return fitted(file, pictures)


def main() -> None:
    """Writes everything; refuses to write over what is there."""
    v1.refuse_again(HERE)
    (HERE / "small.itgm").write_bytes(modelfile.write(model_file()))
    v1.write(HERE, PICTURES)


if __name__ == "__main__":
    main()
