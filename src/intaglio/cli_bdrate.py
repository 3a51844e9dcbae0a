"""The command `intaglio bdrate`; what it does is imported when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_FILES_HELP = (
    "The anchor, then the test: rows.csv of `intaglio evaluate` or its folder, published curves, or two columns, bpp "
    "and quality. One file alone: every codec in it against every other, or the two that --codec names."
)
_CODEC_HELP = (
    "Codec or published method, where a file has several; twice: the anchor's, then the test's. Beside a file of two "
    "columns one is enough."
)
_OVERLAP_HELP = "Least part of the narrower curve's range of quality that both must have."


def command(
    files: Annotated[list[Path], typer.Argument(help=_FILES_HELP)],
    metric: Annotated[str, typer.Option(help="psnr, psnr_y, psnr_c, ms_ssim_db or ssimulacra2.")] = "psnr",
    codec: Annotated[list[str] | None, typer.Option("--codec", "-c", help=_CODEC_HELP)] = None,
    min_overlap: Annotated[float, typer.Option(help=_OVERLAP_HELP)] = 0.5,
    pictures: Annotated[bool, typer.Option("--pictures", help="Print the BD-rate of every picture too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Say how many more bits one curve needs than another for the same quality."""
    from intaglio import bdtext

    said = bdtext.told(bdtext.Question(files, codec or [], metric, min_overlap, pictures), as_json)
    for notice in said.notices:
        typer.echo(notice, err=True)
    typer.echo(said.answer)
