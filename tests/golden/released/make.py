"""Adds what the shipped models make of a crop, once for each; with --release, says that this version has released
them. README.md tells why nothing is taken away then.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image

import intaglio
from intaglio import codec, metrics, verify
from intaglio.bundle import load_model, shipped_models

HERE = Path(__file__).resolve().parent
EXAMPLES = HERE.parent.parent.parent / "examples"
TABLE = HERE / "table.json"
EXAMPLE, BOX, QUALITY = "budgie", (400, 60, 289, 193), 40.0  # left, top, width, height


def main() -> None:
    """Writes files and an entry for every shipped model without any; with --release, this version where it lacks."""
    table = json.loads(TABLE.read_text(encoding="utf-8")) if TABLE.exists() else {"pictures": {}}
    left, top, width, height = BOX
    with Image.open(EXAMPLES / f"{EXAMPLE}.webp") as image:
        pixels = np.asarray(image.convert("RGB"))[top : top + height, left : left + width]
    for shipped in shipped_models():
        model = load_model(shipped, 1)
        name, given = model.model_id.hex(), pixels if model.given else None
        if name in table["pictures"]:
            continue
        data = codec.encode(pixels, QUALITY, model=model, given=given)
        found = verify.verify(data, model, given=given)
        if not found.exact:
            sys.exit(f"this machine does not decode exactly: {'; '.join(found.differences)}")
        latents = codec.decode_latents(data, model=model, given=given)
        decoded = codec.decode(data, model=model, given=given)
        (HERE / f"{name}.itg").write_bytes(data)
        Image.fromarray(decoded).save(HERE / f"{name}.webp", lossless=True, quality=100, method=6)
        table["pictures"][name] = {
            "model": model.name,
            "release": None,
            "example": EXAMPLE,
            "box": BOX,
            "given": codec.info(data).given,
            "bytes": len(data),
            "symbols": found.symbols,
            "digest": found.digest,
            "latents": hashlib.sha256(latents.astype("<f4").tobytes()).hexdigest(),
            "psnr": round(metrics.psnr(pixels, decoded), 3),
        }
    for entry in table["pictures"].values() if "--release" in sys.argv[1:] else ():
        entry["release"] = entry["release"] or intaglio.__version__
    TABLE.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
