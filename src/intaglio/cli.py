"""The command line. Every error is one line on stderr and exit code 1; results go to stdout."""

from __future__ import annotations

import io
import json
import sys
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from intaglio import __version__, cli_bdrate, cli_measure, cli_workshop
from intaglio.bar import Bar
from intaglio.cli_shared import Given, Model, Quality, Threads, Tune, check_distinct, load, named, read, tuned
from intaglio.errors import ArgumentError, FormatError, IntaglioError, ModelError

app = typer.Typer(
    help="A learned image codec: photographs to .itg files and back.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.command("bdrate")(cli_bdrate.command)
cli_measure.register(app)

bench = typer.Typer(help="Measure Intaglio beside others.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(bench, name="bench")


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"intaglio {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
) -> None:
    """What stands before a command."""


_INTERRUPTED = 130  # what newer versions of Typer return after Ctrl-C


@dataclass(frozen=True)
class Encode:
    """What `intaglio encode` is asked for."""

    picture: Annotated[Path, typer.Argument(help="Picture file: JPEG, PNG, WebP, AVIF, TIFF, ...")]
    output: Annotated[Path, typer.Argument(help="The .itg file to write.")]
    quality: Quality = None
    model: Model = None
    threads: Threads = None
    given: Given = None
    effort: Annotated[int, typer.Option("--effort", "-e", help="0 (fastest) to 9 (best latents).")] = 1
    tune: Tune = None


def encode(asked: Encode) -> None:
    """Encodes a picture and writes the file."""
    from intaglio import codec, images
    from intaglio import effort as efforts
    from intaglio.quality import quality_to_rate

    if asked.quality is not None:
        quality_to_rate(asked.quality)  # what is wrong is told before the picture is read
    effort = efforts.checked(asked.effort)
    model = asked.model if asked.tune is None else tuned(asked.tune, asked.model, asked.given)
    images.check_target(asked.output)  # and so is what could not be written, or should not
    check_distinct(asked.output, asked.picture, asked.given)
    pixels, seen = load(asked.picture), None if asked.given is None else load(asked.given)
    options = {"model": model, "given": seen, "effort": effort, "threads": asked.threads}
    with Bar("encoding") as bar:
        data = codec.encode(pixels, asked.quality, **options, progress=bar)
    images.atomic_write(asked.output, data)


app.command("encode")(cli_measure.command(Encode, encode, "Compress a picture."))


@dataclass(frozen=True)
class Decode:
    """What `intaglio decode` is asked for."""

    coded: Annotated[Path, typer.Argument(help="The .itg file.")]
    output: Annotated[Path, typer.Argument(help="Picture to write; its ending says the kind (.png, .webp, .jpg, ...).")]
    model: Model = None
    threads: Threads = None
    max_pixels: Annotated[int | None, typer.Option(help="Refuse larger pictures; default 268435456.")] = None
    given: Given = None
    force: Annotated[bool, typer.Option("--force", help="Go on with a given picture that is another.")] = False


def decode(asked: Decode) -> None:
    """Decodes a file and writes the picture."""
    from intaglio import codec, container, images
    from intaglio.given import Given

    images.check_target(asked.output, picture=True)
    check_distinct(asked.output, asked.coded, asked.given)
    if asked.force and asked.given is None:
        raise ArgumentError("--force is for a given picture that is another: name it with --given")
    limit = container.DEFAULT_MAX_PIXELS if asked.max_pixels is None else asked.max_pixels
    data, options = read(asked.coded), {"model": asked.model, "threads": asked.threads, "max_pixels": limit}
    given = None if asked.given is None else Given(load(asked.given), asked.force)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", UserWarning)
        try:
            with Bar("decoding") as bar:
                pixels = codec.decode(data, **options, given=given, progress=bar)
        except (FormatError, ModelError) as error:
            causes = "".join(f" ({each.message})" for each in said)
            raise named(asked.coded, type(error)(f"{error}{causes}")) from None
    for each in said:
        typer.echo(f"{asked.coded}: {each.message}", err=True)
    images.save(asked.output, pixels)


app.command("decode")(cli_measure.command(Decode, decode, "Decompress an .itg file."))


@app.command()
def info(
    coded: Annotated[Path, typer.Argument(help="The .itg file.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Say what an .itg file holds."""
    from intaglio import codec

    try:
        found = codec.info(read(coded))
    except (FormatError, ModelError) as error:
        raise named(coded, error) from None
    if as_json:
        typer.echo(json.dumps(asdict(found)))
        return
    colour = "grey" if found.channels == 1 else "RGB"
    typer.echo(f"{coded}: {found.width} x {found.height}, {colour}, {found.depth} bit, format version {found.version}")
    typer.echo(f"quality {found.quality:g}, {found.size} bytes, {found.bpp:.3f} bits per pixel, {found.tiles} tile(s)")
    wanted = "decode with a newer Intaglio, or with --model FILE.itgm"
    known = f"shipped as {found.model!r}" if found.model else f"not installed; {wanted}"
    typer.echo(f"model {found.model_id} ({known})")
    if found.given:
        typer.echo(f"coded with a given picture, of digest {found.given}; decode with --given FILE")


@app.command()
def verify(
    coded: Annotated[list[Path] | None, typer.Argument(help="The .itg files.")] = None,
    selftest: Annotated[bool, typer.Option("--selftest", help="Check the model on symbols that are made up.")] = False,
    model: Model = None,
    threads: Threads = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object, versions included.")] = False,
    given: Given = None,
) -> None:
    """Say whether this machine decodes exactly, and a digest that is the same on every machine that does."""
    from intaglio import bundle
    from intaglio import verify as check

    if not coded and not selftest:
        raise ArgumentError("nothing to verify: name an .itg file, or give --selftest")
    if given is not None and not coded:
        raise ArgumentError("--given is for .itg files; a selftest makes up its own")
    found: dict[str, check.Verification] = {}
    if selftest:
        name = "photo" if model is None else model
        with Bar("verifying") as bar:
            found[f"selftest of {name}"] = check.selftest(bundle.load_model(name, threads), bar)
    seen = None if given is None else load(given)
    for path in coded or []:
        try:
            with Bar("verifying") as bar:
                found[str(path)] = check.verify(read(path), model, threads, bar, seen)
        except (ArgumentError, FormatError, ModelError) as error:
            raise named(path, error) from None
    exact = all(each.exact for each in found.values())
    if as_json:
        checks = [{"name": name, "exact": each.exact, **asdict(each)} for name, each in found.items()]
        typer.echo(json.dumps({"exact": exact, "checks": checks, "versions": check.versions()}))
    for name, each in {} if as_json else found.items():
        said = "exact: every table row, mean and symbol is that of the reference" if each.exact else "NOT EXACT: "
        typer.echo(f"{name}: {said}{'; '.join(each.differences)} ({each.symbols} symbols)")
        typer.echo(f"{name}: digest {each.digest}")
    if not exact:
        raise typer.Exit(1)


@app.command()
def inspect(
    picture: Annotated[Path, typer.Argument(help="Picture file: JPEG, PNG, WebP, AVIF, TIFF, ...")],
    quality: Quality = None,
    model: Model = None,
    bound: Annotated[float, typer.Option(help="Scales below it count as it; 0.11 is the lowest there is.")] = 0.11,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder for pictures and latents.npz.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object (see docs/latents.md).")] = False,
) -> None:
    """Measure a picture's latents: how well the model predicts them, and where the bits go."""
    from intaglio import inspection, latents

    latents.check_bound(bound)  # what is wrong is told before the work
    if out is not None:
        inspection.check_folder(out)
    pixels = load(picture)
    name = "photo" if model is None else model
    with Bar("measuring") as bar:
        found = latents.measure(pixels, quality, model=name, bound=bound, progress=bar)
    figures = inspection.summary(found)
    if out is not None:
        inspection.write(out, found, figures, pixels)
    if as_json:
        typer.echo(json.dumps({"picture": str(picture), "model": name, **inspection.as_json(figures)}))
        return
    from rich.console import Console

    inspection.show(figures, str(picture), Console(width=None if sys.stdout.isatty() else 120))


@app.command()
def models(
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list.")] = False,
) -> None:
    """List the models that the package ships."""
    from intaglio import bundle

    rows: list[dict[str, Any]] = []
    for name, path in bundle.shipped_models().items():
        file = bundle.read_model_file(name)
        rows.append(
            {"name": name, "id": file.model_id.hex(), "bytes": path.stat().st_size, "record": dict(file.record)}
        )
    if as_json:
        typer.echo(json.dumps(rows))
        return
    for row in rows:
        steps = row["record"].get("steps", "?")
        typer.echo(f"{row['name']}  id {row['id']}  {row['bytes'] / 1e6:.1f} MB  trained for {steps} steps")


cli_workshop.register(app)


@bench.command()
def coder(
    picture: Annotated[Path | None, typer.Argument(help="Whose latents to code; one of examples/ without it.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object (see docs/coder.md).")] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print tables for a document.")] = False,
    symbols: Annotated[int, typer.Option(min=1, max=50_000_000, help="Length of the synthetic data.")] = 2_000_000,
    rounds: Annotated[int, typer.Option(min=1, help="How often each coder is timed.")] = 7,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the synthetic data.")] = 1,
) -> None:
    """Measure the entropy coder, beside those of CompressAI, constriction and torchac if they are installed."""
    if as_json and as_markdown:
        raise ArgumentError("--json and --markdown exclude each other; choose one")
    from rich.console import Console

    from intaglio.bench import report
    from intaglio.bench.coder import Plan, measure

    piped = not sys.stdout.isatty()
    with Bar("measuring") as bar:
        found = measure(Plan(symbols, rounds, seed, picture), None if as_json and piped else bar)
    if as_json:
        typer.echo(json.dumps(asdict(found)))
    elif as_markdown:
        typer.echo(report.markdown(found), nl=False)
    else:
        report.show(found, Console(width=120 if piped else None))


def main() -> None:
    """Runs the command line; never shows a traceback for an error that Intaglio raises on purpose."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file's name may hold what the terminal cannot show
    try:
        code = app(standalone_mode=False)
        if code != _INTERRUPTED:
            sys.exit(code)
        fault = "interrupted"
    except IntaglioError as error:
        fault = str(error)
    except MemoryError:
        fault = "not enough memory"
    except KeyboardInterrupt:
        fault = "interrupted"
    except BrokenPipeError:
        sys.exit(1)
    except OSError as error:  # files are dealt with where they are read and written; what is left is stdout
        fault = f"the output cannot be written: {error.strerror or error}"
    except Exception as error:
        fault = _usage_fault(error)
    print("intaglio: " + " ".join(fault.split()), file=sys.stderr)
    sys.exit(1)


def _usage_fault(error: Exception) -> str:
    """One line for Typer's own errors (a wrong option, say); anything else is a bug and goes on up."""
    # Typer carries its errors' classes in a private module or in click, depending on its version.
    if type(error).__name__ == "Abort":  # what Typer makes of Ctrl-C
        return "interrupted"
    if not hasattr(error, "format_message"):
        raise error
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()  # type: ignore[attr-defined]
        sys.exit(1)
    return str(error.format_message()) + " (see intaglio --help)"  # type: ignore[attr-defined]


if __name__ == "__main__":
    main()
