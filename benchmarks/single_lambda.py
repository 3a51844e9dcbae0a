"""What one model for all qualities costs beside models that were trained on from it for a single lambda.

    python benchmarks/single_lambda.py PICTURES SINGLE.itgm [SINGLE.itgm ...] [--model photo]

PICTURES: a folder; the middle 512 x 512 of each are coded. A single model is the export of a run with `[train] lmbda`,
`--from` the weights of the other (recipes/single.toml). Real files; the bits of the model for all qualities are those
at the single one's PSNR, from three of its qualities around that, picture by picture.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.progress import track
from scipy.interpolate import PchipInterpolator

import intaglio
from intaglio import metrics
from intaglio.bundle import Model, load_model
from intaglio.errors import ArgumentError
from intaglio.quality import rate_to_lmbda, rate_to_quality
from pictures import middle, pictures_of

SIDE, AROUND = 512, 6.0  # pixels; in qualities, so that the three PSNRs bracket the single one's


def point(pixels: NDArray[np.uint8], model: Model, quality: float | None = None) -> tuple[float, float]:
    """PSNR in dB, and the logarithm of the bits per pixel."""
    data = intaglio.encode(pixels, quality, model=model)
    bpp = 8.0 * len(data) / (pixels.shape[0] * pixels.shape[1])
    return metrics.psnr(pixels, intaglio.decode(data, model=model)), float(np.log(bpp))


def extra(pixels: NDArray[np.uint8], model: Model, single: Model) -> float:
    """Bits that the model needs more than the single one at its PSNR, in percent; NaN where it does not reach that."""
    assert single.fixed_rate is not None
    psnr, bits = point(pixels, single)
    at = rate_to_quality(single.fixed_rate)
    beside = np.array(
        sorted(point(pixels, model, float(np.clip(at + step, 1.0, 100.0))) for step in (-AROUND, 0.0, AROUND))
    )
    return 100.0 * float(np.expm1(PchipInterpolator(*beside.T, extrapolate=False)(psnr) - bits))


def main() -> int:
    """Prints a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("single", type=Path, nargs="+")
    parser.add_argument("--model", default="photo")
    options = parser.parse_args()
    model = load_model(options.model, 1)
    pixels = [middle(each, SIDE) for each in pictures_of(options.pictures).values()]
    print("| lambda | quality | bits of one model for all, at the same PSNR | least to most |")
    print("|---:|---:|---:|---:|")
    for path in options.single:
        single = load_model(path, 1)
        if single.fixed_rate is None:
            raise ArgumentError(f"{path} is a model of every quality; give one that was trained with [train] lmbda")
        found = np.array([extra(each, model, single) for each in track(pixels, path.name, transient=True)])
        lmbda, quality = rate_to_lmbda(single.fixed_rate, single.file.lmbdas), rate_to_quality(single.fixed_rate)
        ends = f"{np.nanmin(found):+.1f} to {np.nanmax(found):+.1f}"
        print(f"| {lmbda:.4g} | {quality:g} | {np.nanmean(found):+.1f} % | {ends} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
