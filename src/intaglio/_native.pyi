"""Types of the native core (native/bindings.cpp). Arrays are one-dimensional and contiguous.

Raises ArgumentError for a wrong call and FormatError for data that cannot be decoded, both from
`intaglio.errors`.
"""

import numpy as np
from numpy.typing import NDArray

class Tables:
    def __init__(self, first: NDArray[np.int32], sizes: NDArray[np.int32], frequencies: NDArray[np.uint16]) -> None: ...

class Encoder:
    def __init__(self, tables: Tables, implementation: str) -> None: ...
    def push(self, symbols: NDArray[np.int32] | NDArray[np.int16], indexes: NDArray[np.uint8]) -> None: ...
    def finish(self) -> bytes: ...

class Decoder:
    def __init__(self, data: bytes, tables: Tables, implementation: str) -> None: ...
    def pull(self, indexes: NDArray[np.uint8], symbols: NDArray[np.int32]) -> None:
        """Decodes one slice into `symbols`."""
    def follow(self, indexes: NDArray[np.uint8], steps: NDArray[np.int32]) -> None:
        """Decodes one slice that a trellis has quantised into `steps`."""
    def finish(self) -> None: ...

class Trellis:
    def __init__(self, tables: Tables, weight: float) -> None: ...
    def quantise(
        self,
        latents: NDArray[np.float32],
        indexes: NDArray[np.uint8],
        symbols: NDArray[np.int32],
        used: NDArray[np.uint8],
        steps: NDArray[np.int32],
    ) -> None:
        """Latents, in steps, to `symbols`, the tables `used` to code them and `steps`."""

def encode(
    symbols: NDArray[np.int32] | NDArray[np.int16], indexes: NDArray[np.uint8], tables: Tables, implementation: str
) -> bytes:
    """One slice, without a copy of it."""

def implementations() -> list[str]:
    """What this machine can run, fastest first; an empty `implementation` elsewhere means the first."""
