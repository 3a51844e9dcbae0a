"""The commands that need the workshop: `intaglio train`, `sweep`, `refine` and `export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from intaglio.bar import Bar
from intaglio.cli_shared import Model, Quality, check_distinct, load
from intaglio.errors import ArgumentError


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    for command in (train, sweep, refine, export):
        app.command()(command)


def train(
    config: Annotated[Path, typer.Argument(help="TOML file with the tables model, data, train; see docs/training.md.")],
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint in the run's folder.")] = False,
    start: Annotated[Path | None, typer.Option("--from", help="Begin with a .itgm file's or a run's weights.")] = None,
    shard_mib: Annotated[int | None, typer.Option(help="Split checkpoints into files of about this size.")] = None,
    stop_after: Annotated[float | None, typer.Option(help="Save and stop after so many minutes of this call.")] = None,
) -> None:
    """Train a model (needs the extra intaglio[train])."""
    workshop = _workshop("train")
    from intaglio.workshop.config import read_config

    shard = None if shard_mib is None else shard_mib << 20
    workshop.train(read_config(config), resume=resume, start=start, shard_bytes=shard, stop_after=stop_after)


def sweep(config: Annotated[Path, typer.Argument(help="As for train, with a table sweep.")]) -> None:
    """Train a model for each of a few lambdas and draw their curve; goes on by itself (needs intaglio[train])."""
    workshop = _workshop("sweep")
    from intaglio.workshop.config import read_config

    workshop.sweep(read_config(config))


def refine(
    picture: Annotated[Path, typer.Argument(help="Picture file: JPEG, PNG, WebP, AVIF, TIFF, ...")],
    output: Annotated[Path, typer.Argument(help="The .itg file to write.")],
    quality: Quality = None,
    model: Model = None,
    steps: Annotated[int, typer.Option(help="Of descent; a megapixel takes some 3 seconds each. 0: as usual.")] = 0,
    kind: Annotated[str, typer.Option(help="slope (40 steps); gumbel (400), without a trellis.")] = "slope",
) -> None:
    """Compress a picture by descent on its latents: slow, but smaller (needs the extra intaglio[train])."""
    work = _workshop("refine")
    from intaglio import images
    from intaglio.quality import quality_to_rate

    images.check_target(output)
    check_distinct(output, picture)
    descent = work.Descent(steps, kind)  # what is wrong is told before the picture is read
    if quality is not None:
        quality_to_rate(quality)
    pixels, name = load(picture), "photo" if model is None else model
    with Bar("refining") as bar:
        data = work.encode(pixels, quality, name, descent, bar)
    images.atomic_write(output, data)


def export(
    checkpoint: Annotated[Path, typer.Argument(help="Folder of a training run.")],
    output: Annotated[Path, typer.Argument(help="The .itgm file to write.")],
    name: Annotated[str | None, typer.Option(help="What the model is called; default: as its network.")] = None,
    fit: Annotated[Path | None, typer.Option(help="Pictures to fit a trellis' tables to; default: training's.")] = None,
) -> None:
    """Make a model file of a training run (needs the extra intaglio[train])."""
    work = _workshop("export")
    with Bar("fitting tables") as bar:
        file = work.export(checkpoint, output, name, fit, bar)
    typer.echo(f"{output}: model {file.name!r}, id {file.model_id.hex()}")


def _workshop(module: str) -> Any:
    from importlib import import_module

    try:
        return import_module(f"intaglio.workshop.{module}")
    except ModuleNotFoundError as error:
        if error.name and error.name.startswith("intaglio"):
            raise
        raise ArgumentError(f"this needs {error.name}; install it with: pip install 'intaglio[train]'") from None
