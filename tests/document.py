"""What docs/format.md says in programs, for tests that run them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

PAGE = (Path(__file__).parent.parent / "docs" / "format.md").read_text(encoding="utf-8")


class DamagedError(ValueError):
    """What `require` of the document's loop raises."""


def require(condition: bool) -> None:
    if not condition:
        raise DamagedError


def block(language: str, holding: str = "") -> str:
    """The one block of that language that holds these words."""
    found = re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    found = [each for each in found if holding in each]
    assert len(found) == 1
    return found[0]


def documented_loop() -> Callable[..., Iterator[list[int]]]:
    names: dict[str, Any] = {"math": math, "require": require}
    exec(block("python", "def decode("), names)
    return names["decode"]
