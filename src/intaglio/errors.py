"""The errors Intaglio raises: one base, four children, each defined by when it occurs."""

from __future__ import annotations


class IntaglioError(Exception):
    """Base of every error Intaglio raises on purpose; its text is one line for a person."""


class ArgumentError(IntaglioError, ValueError):
    """A call is wrong: a quality outside 1..100, an array of the wrong shape or dtype, a bad configuration."""


class ImageError(IntaglioError):
    """A picture cannot be used: the file is not a picture, is damaged, empty, or of a kind that is refused."""


class FormatError(IntaglioError):
    """Coded data cannot be decoded: not an .itg file, cut short, damaged, or of an unsupported version."""


class ModelError(IntaglioError):
    """A model cannot be used: unknown name, not the one the file was coded with, damaged, or not a model file."""
