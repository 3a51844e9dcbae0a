"""Made the corpus in this folder, once: README.md says how, and why it is never made again."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

from PIL import Image

from intaglio import codec
from intaglio.bundle import load_model

HERE = Path(__file__).resolve().parent
V1 = runpy.run_path(str(HERE.parent / "v1" / "make.py"))
Picture = V1["Picture"]
TABLE = HERE / "table.json"
PICTURES = {
    "budgie": Picture("budgie", (500, 130, 129, 70), 60.0),
    "tiles": Picture("colosseum", (560, 300, 150, 130), 30.0, tile=1),
}
TOLD = "bytes", "tiles", "symbols", "digest", "latents"


def main() -> None:
    """Writes everything but the model, which must be there; refuses to write over what is there."""
    V1["refuse_again"](HERE)
    model = load_model(HERE / "small.itgm", 1)
    table = {"model": model.file.decoding_hash().hex(), "pictures": {}}
    for name, picture in PICTURES.items():
        data, decoded, entry = V1["made"](picture, model)
        (HERE / f"{name}.itg").write_bytes(data)
        Image.fromarray(decoded).save(HERE / f"{name}.webp", lossless=True, method=6, exact=True)
        table["pictures"][name] = {
            "example": picture.example,
            "box": picture.box,
            "given": codec.info(data).given,
            **{key: entry[key] for key in TOLD},
        }
    TABLE.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
