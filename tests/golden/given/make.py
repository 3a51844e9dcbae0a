"""Made the corpus in this folder, once: README.md says how, and why it is never made again."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from unittest.mock import patch

import numpy as np
from PIL import Image

from intaglio import codec, container, verify
from intaglio.bundle import load_model

HERE = Path(__file__).resolve().parent
EXAMPLES = HERE.parent.parent.parent / "examples"
TABLE = HERE / "table.json"
# Of each picture: example, left, top, width, height, quality, tile as in the header.
PICTURES = {"budgie": ("budgie", 500, 130, 129, 70, 60.0, 0), "tiles": ("colosseum", 560, 300, 150, 130, 30.0, 1)}


def main() -> None:
    """Writes everything but the model, which must be there; refuses to write over what is there."""
    if TABLE.exists():
        sys.exit(f"{TABLE} exists: the corpus is made once and never again")
    model = load_model(HERE / "small.itgm", 1)
    table = {"model": model.file.decoding_hash().hex(), "pictures": {}}
    for name, (example, left, top, width, height, quality, tile) in PICTURES.items():
        with Image.open(EXAMPLES / f"{example}.webp") as image:
            pixels = np.asarray(image.convert("RGB"))[top : top + height, left : left + width]
        with patch.object(container, "choose_tile", return_value=tile):
            data = codec.encode(pixels, quality, model=model, given=pixels)
        found = verify.verify(data, model, given=pixels)
        if not found.exact:
            sys.exit(f"this machine does not decode exactly: {'; '.join(found.differences)}")
        latents = codec.decode_latents(data, model=model, given=pixels)
        decoded = codec.decode(data, model=model, given=pixels)
        (HERE / f"{name}.itg").write_bytes(data)
        Image.fromarray(decoded).save(HERE / f"{name}.webp", lossless=True, method=6, exact=True)
        table["pictures"][name] = {
            "example": example,
            "box": (left, top, width, height),
            "given": codec.info(data).given,
            "bytes": len(data),
            "tiles": len(container.read(data).payloads),
            "symbols": found.symbols,
            "digest": found.digest,
            "latents": hashlib.sha256(latents.astype("<f4").tobytes()).hexdigest(),
        }
    TABLE.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
