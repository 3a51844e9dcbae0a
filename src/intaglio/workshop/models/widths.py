"""Widths of models: which values a field of a configuration may have."""

from __future__ import annotations

from dataclasses import field, fields
from typing import Any

from intaglio.errors import ArgumentError
from intaglio.rans import MAX_TABLES
from intaglio.scales import SCALES

MOST_HYPER = MAX_TABLES - SCALES  # channels of z with a coder table each, beside the Gaussian ones


def limited(default: int, least: int = 1, most: int | None = None) -> Any:
    """A field of a configuration, `least` to `most`."""
    return field(default=default, metadata={"least": least, "most": most})


def check_widths(config: Any) -> None:
    """Holds every whole number of a configuration, alone or in a tuple, against its limits; without any, 1 or more.

    Raises ArgumentError naming the field.
    """
    for item in fields(config):
        value, default = getattr(config, item.name), item.default
        widths = value if isinstance(value, tuple) else (value,)
        if isinstance(default, tuple) and len(widths) != len(default):
            raise ArgumentError(f"configuration: [model] {item.name} has {len(widths)} widths; it needs {len(default)}")
        if isinstance(value, (bool, str)):
            continue
        least, most = item.metadata.get("least", 1), item.metadata.get("most")
        if min(widths) < least or (most is not None and max(widths) > most):
            wanted = f"{least} or more" if most is None else f"from {least} to {most}"
            raise ArgumentError(f"configuration: [model] {item.name} is {value}; it must be {wanted}")
