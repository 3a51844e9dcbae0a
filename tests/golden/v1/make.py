"""Made the corpus in this folder, once: README.md says how, and why it is never made again."""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import numpy as np
from PIL import Image

from intaglio import codec, container, metrics, verify
from intaglio.bundle import Model, load_model

HERE = Path(__file__).resolve().parent
EXAMPLES = HERE.parent.parent.parent / "examples"
KEPT = 10_000  # of pictures with fewer pixels the decoded ones are kept


@dataclass(frozen=True)
class Picture:
    """A crop of an example, and how it is coded: left, top, width, height; `tile` as in the header."""

    example: str
    box: tuple[int, int, int, int]
    quality: float
    grey: bool = False
    tile: int = 0

    def pixels(self) -> np.ndarray:
        """uint8, (H,W,3) or (H,W); grey is the green channel."""
        left, top, width, height = self.box
        with Image.open(EXAMPLES / f"{self.example}.webp") as image:
            pixels = np.asarray(image.convert("RGB"))[top : top + height, left : left + width]
        return np.ascontiguousarray(pixels[:, :, 1] if self.grey else pixels)


PICTURES = {
    "dot": Picture("budgie", (560, 200, 1, 1), 50),
    "odd": Picture("budgie", (540, 150, 37, 65), 20),
    "grey": Picture("budgie", (500, 130, 129, 70), 60, grey=True),
    "lowest": Picture("colosseum", (500, 250, 128, 96), 1),
    "middle": Picture("taipei_night", (440, 300, 128, 64), 45.5),
    "highest": Picture("budgie", (520, 150, 96, 64), 100),
    "line": Picture("taipei_night", (300, 400, 300, 2), 75),
    "tiles": Picture("colosseum", (560, 300, 150, 130), 33, tile=1),
}


def made(picture: Picture, model: Model) -> tuple[bytes, np.ndarray, dict[str, object]]:
    """A picture's .itg bytes, decoded pixels and entry of the table; a model that is given a picture gets this one."""
    pixels = picture.pixels()
    given = pixels if model.given else None
    with patch.object(container, "choose_tile", return_value=picture.tile):
        data = codec.encode(pixels, picture.quality, model=model, given=given)
    found, decoded = verify.verify(data, model, given=given), codec.decode(data, model=model, given=given)
    if not found.exact:
        sys.exit(f"this machine does not decode exactly: {'; '.join(found.differences)}")
    latents = codec.decode_latents(data, model=model, given=given)
    entry = {
        "example": picture.example,
        "box": picture.box,
        "grey": picture.grey,
        "quality": picture.quality,
        "kept": decoded.shape[0] * decoded.shape[1] < KEPT,
        "tiles": len(container.read(data).payloads),
        "bytes": len(data),
        "symbols": found.symbols,
        "digest": found.digest,
        "latents": hashlib.sha256(latents.astype("<f4").tobytes()).hexdigest(),
        "psnr": round(metrics.psnr(pixels, decoded), 3),
    }
    return data, decoded, entry


def refuse_again(folder: Path) -> None:
    """Exits if the folder's corpus has been made."""
    if (folder / "table.json").exists():
        sys.exit(f"{folder / 'table.json'} exists: the corpus is made once and never again")


def write(folder: Path, pictures: dict[str, Picture]) -> None:
    """Writes everything but the folder's model, which must be there; refuses to write over what is there."""
    refuse_again(folder)
    model = load_model(folder / "small.itgm", 1)
    table = {"model": model.file.decoding_hash().hex(), "selftest": verify.selftest(model).digest, "pictures": {}}
    for name, picture in pictures.items():
        data, decoded, table["pictures"][name] = made(picture, model)
        (folder / f"{name}.itg").write_bytes(data)
        if table["pictures"][name]["kept"]:
            Image.fromarray(decoded).save(folder / f"{name}.webp", lossless=True, method=6, exact=True)
    (folder / "table.json").write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write(HERE, PICTURES)
