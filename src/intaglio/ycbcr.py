"""Luma and chroma: BT.601 weights over the full range, as JPEG files have them (ITU-T T.871, section 7).

Y  = 0.299 R + 0.587 G + 0.114 B
Cb = 128 + (B - Y) / 1.772
Cr = 128 + (R - Y) / 1.402
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]

NEUTRAL = 128.0  # Cb and Cr of grey
WEIGHTS = 0.299, 0.587, 0.114
# Rows of Cb and Cr over R, G, B.
CHROMA = (
    (-WEIGHTS[0] / 1.772, -WEIGHTS[1] / 1.772, (1.0 - WEIGHTS[2]) / 1.772),
    ((1.0 - WEIGHTS[0]) / 1.402, -WEIGHTS[1] / 1.402, -WEIGHTS[2] / 1.402),
)
# Rows of R, G, B over Cb and Cr less NEUTRAL.
FROM_CHROMA = (
    (0.0, 1.402),
    (-WEIGHTS[2] * 1.772 / WEIGHTS[1], -WEIGHTS[0] * 1.402 / WEIGHTS[1]),
    (1.772, 0.0),
)


def luma(pixels: Pixels) -> Pixels:
    """Luma of uint8 (H,W,3), rounded: uint8 (H,W). A grey picture (H,W) is its own. Whole numbers all the way, so that
    every machine rounds alike.
    """
    if pixels.ndim == 2:
        return pixels
    red, green, blue = (pixels[:, :, plane].astype(np.uint32) for plane in range(3))
    return ((299 * red + 587 * green + 114 * blue + 500) // 1000).astype(np.uint8)


def chroma(pixels: Pixels) -> NDArray[np.float32]:
    """Cb and Cr of uint8 (H,W,3), 0..255, not rounded: float32 (H,W,2)."""
    return pixels.astype(np.float32) @ np.array(CHROMA, np.float32).T + np.float32(NEUTRAL)


def to_rgb(grey: Pixels, colours: NDArray[np.float32]) -> Pixels:
    """uint8 (H,W,3) from luma, uint8 (H,W), and Cb, Cr, float32 (H,W,2) in 0..255; rounded and clipped once."""
    y, (cb, cr) = grey.astype(np.float32), np.moveaxis(colours - np.float32(NEUTRAL), 2, 0)
    red, blue = y + np.float32(1.402) * cr, y + np.float32(1.772) * cb
    green = y - np.float32(0.299 * 1.402 / 0.587) * cr - np.float32(0.114 * 1.772 / 0.587) * cb
    return np.clip(np.rint(np.stack([red, green, blue], axis=2)), 0, 255).astype(np.uint8)
