"""Checks of single numbers that several modules are given."""

from __future__ import annotations

import math
import numbers

from intaglio.errors import ArgumentError


def check_whole(name: str, value: object, least: int = 1, most: float = math.inf) -> None:
    """Raises ArgumentError naming `name` unless `value` is a whole number from `least` to `most`; a bool is none."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or not least <= int(value) <= most:
        wanted = f"{least} or more" if most == math.inf else f"{least} to {most:g}"
        raise ArgumentError(f"{name} is {one_line(value)}; it must be a whole number, {wanted}")


def check_odd(name: str, value: object) -> None:
    """Raises ArgumentError naming `name` unless `value` is an odd whole number above zero: the size of a kernel."""
    check_whole(name, value)
    if int(value) % 2 == 0:  # type: ignore[call-overload]
        raise ArgumentError(f"{name} is {value}; it must be odd, so that there is a middle")


def check_above_zero(name: str, value: object, or_zero: bool = False) -> None:
    """Raises ArgumentError naming `name` unless `value` is a finite number above zero, or zero if `or_zero`."""
    if not is_number(value) or not (0.0 <= value < math.inf and (or_zero or value > 0.0)):  # type: ignore[operator]
        wanted = "0 or more" if or_zero else "above zero"
        raise ArgumentError(f"{name} is {one_line(value)}; it must be a finite number, {wanted}")


def is_number(value: object) -> bool:
    """Whether `value` is a real number of Python or NumPy; a bool, an array and a tensor are none."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def one_line(value: object) -> str:
    """`repr` in one line, cut off after 80 characters: an array may have many."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else f"{text[:80]}..."
