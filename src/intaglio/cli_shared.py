"""Options that several commands have, and what they do with files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from intaglio.errors import ArgumentError, IntaglioError

if TYPE_CHECKING:
    from intaglio.codec import Pixels

_MODEL_HELP = "A shipped model's name, or a .itgm file; default photo, to encode with --given colour."
Model = Annotated[str | None, typer.Option("--model", "-m", help=_MODEL_HELP)]
_QUALITY_HELP = "1 (smallest file) to 100 (best picture); default 50, or the model's own."
Quality = Annotated[float | None, typer.Option("--quality", "-q", help=_QUALITY_HELP)]
Threads = Annotated[int | None, typer.Option("--threads", help="Threads for the networks; default: all cores.")]
_TUNE_HELP = "What the files shall be good for: psnr (photo, as usual) or ms-ssim (photo-ms-ssim)."
Tune = Annotated[str | None, typer.Option("--tune", help=_TUNE_HELP)]
TUNES = {"psnr": "photo", "ms-ssim": "photo-ms-ssim"}
_GIVEN_HELP = "A picture that both ends have, for models that take one; of the same size."
Given = Annotated[Path | None, typer.Option("--given", help=_GIVEN_HELP)]


def read(path: Path) -> bytes:
    """The bytes of a file. Raises ArgumentError if it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ArgumentError(f"{path} cannot be read: {error.strerror or error}") from None


def check_distinct(output: Path, *sources: Path | None) -> None:
    """Raises ArgumentError if the output is one of the inputs."""
    for source in filter(None, sources):
        if os.path.exists(output) and os.path.exists(source) and os.path.samefile(output, source):
            raise ArgumentError(f"{output} is the input itself; give another name to write to")


def load(picture: Path) -> Pixels:
    """The pixels of a picture file; says what was converted."""
    from intaglio import images

    loaded = images.load(picture)
    for notice in loaded.notices:
        typer.echo(f"{picture}: {notice}", err=True)
    return loaded.pixels


def tuned(tune: str, model: str | None, given: Path | None) -> str:
    """The shipped model that --tune stands for. Raises ArgumentError for another word, or where an option beside it
    names a model.
    """
    if tune not in TUNES:
        raise ArgumentError(f"--tune is {tune!r}; it must be {' or '.join(TUNES)}")
    for option, value in (("--model", model), ("--given", given)):
        if value is not None:
            raise ArgumentError(f"--tune and {option} both name the model; leave one of them out")
    return TUNES[tune]


def named(path: Path, error: IntaglioError) -> IntaglioError:
    """The error with the file's name before it."""
    return type(error)(f"{path}: {error}")
