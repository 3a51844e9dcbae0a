"""Seconds of calls; needs no package, so that scripts for other interpreters can use it."""

from __future__ import annotations

import time
from collections.abc import Callable


def timed(call: Callable[[], object], repeats: int) -> list[float]:
    """Seconds of every one of `repeats` calls, after one that is not counted."""
    call()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return seconds
