"""Seconds of CompressAI's mbt2018-mean on one picture, for `benchmarks/speed.py --compressai PYTHON`.

    PYTHON compressai_speed.py PICTURE REPEATS THREADS

PYTHON: an interpreter that has CompressAI. Prints JSON: its version, seconds of every call each way. The network is
that of its quality 5, about 0.7 bits per pixel, with untrained weights: what it computes does not depend on them, and
its coder, which then finds nearly every symbol 0, is if anything faster than on a photograph.
"""

from __future__ import annotations

import json
import sys

import numpy as np
import torch
from compressai.zoo import mbt2018_mean  # type: ignore[import-not-found]
from PIL import Image

from timing import timed


@torch.inference_mode()
def main(picture: str, repeats: int, threads: int) -> None:
    """Prints what was found."""
    import compressai  # type: ignore[import-not-found]

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    net = mbt2018_mean(quality=5, pretrained=False).eval()
    net.update(force=True)
    pixels = np.asarray(Image.open(picture).convert("RGB"))

    def encode() -> dict[str, object]:
        x = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 255.0
        return net.compress(x)

    coded = encode()

    def decode() -> np.ndarray:
        x_hat = net.decompress(coded["strings"], coded["shape"])["x_hat"]
        return (x_hat.clamp(0.0, 1.0) * 255.0).round().byte()[0].permute(1, 2, 0).numpy()

    found = {"version": compressai.__version__, "encode": timed(encode, repeats), "decode": timed(decode, repeats)}
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
