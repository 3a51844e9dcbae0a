"""Intaglio: a learned image codec and the toolkit that makes it.

    data = intaglio.encode(image, quality=50)     # PIL image or uint8 array -> bytes
    pixels = intaglio.decode(data)                # bytes -> uint8 array
    intaglio.info(data)                           # what the file says
    intaglio.load_model("photo")                  # or the path of a .itgm file

Names are loaded when first used, so that the workshop runs where the native core or ONNX Runtime is missing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from intaglio.errors import ArgumentError, FormatError, ImageError, IntaglioError, ModelError

if TYPE_CHECKING:
    from intaglio.bundle import load_model
    from intaglio.codec import Info, decode, encode, info
    from intaglio.given import Given

__version__ = "1.0.0"
__all__ = [
    "ArgumentError",
    "FormatError",
    "Given",
    "ImageError",
    "Info",
    "IntaglioError",
    "ModelError",
    "decode",
    "encode",
    "info",
    "load_model",
]
_HOMES = dict.fromkeys(("Info", "decode", "encode", "info"), "intaglio.codec") | {
    "Given": "intaglio.given",
    "load_model": "intaglio.bundle",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'intaglio' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value
