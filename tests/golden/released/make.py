"""Adds what the shipped models make of a crop, once for each; with --release, says that this version has released
them. README.md tells why nothing is taken away then.
"""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

from PIL import Image

import intaglio
from intaglio import codec
from intaglio.bundle import load_model, shipped_models

HERE = Path(__file__).resolve().parent
V1 = runpy.run_path(str(HERE.parent / "v1" / "make.py"))
TABLE = HERE / "table.json"
PICTURE = V1["Picture"]("budgie", (400, 60, 289, 193), 40.0)
TOLD = "bytes", "symbols", "digest", "latents", "psnr"


def main() -> None:
    """Writes files and an entry for every shipped model without any; with --release, this version where it lacks."""
    table = json.loads(TABLE.read_text(encoding="utf-8")) if TABLE.exists() else {"pictures": {}}
    for shipped in shipped_models():
        model = load_model(shipped, 1)
        name = model.model_id.hex()
        if name in table["pictures"]:
            continue
        data, decoded, entry = V1["made"](PICTURE, model)
        (HERE / f"{name}.itg").write_bytes(data)
        Image.fromarray(decoded).save(HERE / f"{name}.webp", lossless=True, quality=100, method=6)
        table["pictures"][name] = {
            "model": model.name,
            "release": None,
            "example": PICTURE.example,
            "box": PICTURE.box,
            "given": codec.info(data).given,
            **{key: entry[key] for key in TOLD},
        }
    for entry in table["pictures"].values() if "--release" in sys.argv[1:] else ():
        entry["release"] = entry["release"] or intaglio.__version__
    TABLE.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
