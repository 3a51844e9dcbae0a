"""Training on a machine that is lent by the half hour: what travels there, the work of one call, what travels back.

    python recipes/lent.py pack FOLDER PARTS --mib 20
    python recipes/lent.py unpack PARTS FOLDER
    python recipes/lent.py go CONFIG --minutes 9 [--from START] [--out OUT]
    python recipes/lent.py slim RUN OUT --mib 15

`pack` puts the pictures under FOLDER into tar files of limited size, which can be sent one by one; `unpack` takes them
out over there, as they arrive. `go` is the work of a call: it begins the run of CONFIG or goes on with it, stops in
time, and leaves the averaged weights in OUT, in files of at most 15 MiB, as `slim` does with any run: what
`intaglio train --from OUT` and `intaglio export OUT` need. docs/training.md has all calls in order. None needs the
native core; `--from X.itgm` needs onnx, `--from` a folder does not.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import math
import sys
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

from intaglio import images
from intaglio.colour import one_line
from intaglio.errors import ArgumentError, IntaglioError

INDEX = "parts.json"  # beside the parts: what they are
RECORD = "unpacked.json"  # beside the pictures: the SHA-256 of each part that was unpacked, by name
PART_MIB, WEIGHTS_MIB = 48.0, 15.0
_NAMES = "part-*.tar"
_ROOM = 1024  # bytes: more than a file of weights spends on a tensor besides its numbers


@dataclass(frozen=True)
class Part:
    """A tar file of pictures: its name, size, SHA-256 in hexadecimal, and how many pictures it holds."""

    name: str
    bytes: int
    sha256: str
    pictures: int


def pack(folder: Path, parts: Path, mib: float = PART_MIB) -> list[Part]:
    """Writes the pictures under `folder` to `parts`, as tar files of at most `mib` MiB, and the index of these last.

    The same pictures make the same bytes. Parts of an earlier call are replaced. Raises ArgumentError if there are no
    pictures, one is larger than a part, or `parts` cannot be written.
    """
    groups = list(_groups(folder, _bytes(mib)))
    images.make_folder(parts)
    made = []
    for number, group in enumerate(groups):
        data = _tar(folder, group)
        made.append(Part(f"part-{number:02d}.tar", len(data), _digest(data), len(group)))
        images.atomic_write(parts / made[-1].name, data)
    index = {"pictures": sum(part.pictures for part in made), "parts": [asdict(part) for part in made]}
    images.atomic_write(parts / INDEX, (json.dumps(index, indent=1) + "\n").encode())
    for old in {*parts.glob(_NAMES)} - {parts / part.name for part in made}:
        old.unlink()
    return made


def _bytes(mib: float) -> int:
    if not 0.0 < mib < math.inf:
        raise ArgumentError(f"files of at most {mib:g} MiB cannot be; give a number above zero")
    return int(mib * 2**20)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _groups(folder: Path, limit: int) -> Iterator[list[Path]]:
    """The pictures by name, as many together as a tar file of at most `limit` bytes holds."""
    from intaglio.workshop.data import picture_files

    try:
        files = picture_files(folder, "pack")
    except ArgumentError as error:
        raise ArgumentError(str(error).removeprefix("configuration: ")) from None
    group: list[Path] = []
    used = 0
    for path in sorted(files, key=lambda path: path.relative_to(folder).as_posix()):
        entry = _entry(folder, path, path.stat().st_size)
        size = len(entry.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")) + _up(entry.size, tarfile.BLOCKSIZE)
        if _whole(size) > limit:
            wanted = f"a part of {_whole(size) / 2**20:.2f} MiB; raise --mib, or leave the picture out"
            raise ArgumentError(f"{path} needs {wanted}")
        if group and _whole(used + size) > limit:
            yield group
            group, used = [], 0
        group.append(path)
        used += size
    yield group


def _entry(folder: Path, path: Path, size: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(path.relative_to(folder).as_posix())  # owner and time are 0
    entry.size = size
    return entry


def _up(size: int, unit: int) -> int:
    return -(-size // unit) * unit


def _whole(used: int) -> int:
    """Bytes of a tar file whose entries take so many."""
    return _up(used + 2 * tarfile.BLOCKSIZE, tarfile.RECORDSIZE)


def _tar(folder: Path, files: list[Path]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT, encoding="utf-8") as tar:
        for path in files:
            try:
                data = path.read_bytes()
            except OSError as error:
                raise ArgumentError(f"{path} cannot be read: {error.strerror}") from None
            tar.addfile(_entry(folder, path, len(data)), io.BytesIO(data))
    return buffer.getvalue()


def unpack(parts: Path, folder: Path) -> list[str] | None:
    """Takes the pictures out of every part in `parts` that was not unpacked before; the names of the parts that are
    still missing, or None if there is no index to know them by.

    A part is unpacked only if all of it is sound: the size and SHA-256 of the index, plain files, names inside
    `folder`. Raises ArgumentError naming the part and its fault, or if there is nothing to unpack.
    """
    wanted = _index(parts / INDEX)
    done = _unpacked(folder / RECORD)
    found = sorted(parts.glob(_NAMES))
    if not found and not done:
        raise ArgumentError(f"{parts}: no {_NAMES} here; send some, and {INDEX}, or name the folder that holds them")
    images.make_folder(folder)
    for path in found:
        data = _read(path)
        digest = _digest(data)
        if wanted is not None and (len(data), digest) != wanted.get(path.name):
            raise ArgumentError(
                f"{path} is not what {INDEX} says, cut short, damaged or of another pack; send it again"
            )
        if done.get(path.name) != digest:
            for target, content in _contents(path, data, folder):
                images.make_folder(target.parent)
                images.atomic_write(target, content)
            done[path.name] = digest
            images.atomic_write(folder / RECORD, (json.dumps(done, indent=1) + "\n").encode())
    return None if wanted is None else [name for name, (_, digest) in wanted.items() if done.get(name) != digest]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ArgumentError(f"{path} cannot be read: {error.strerror}") from None


def _index(path: Path) -> dict[str, tuple[int, str]] | None:
    """Size and SHA-256 of each part by name; None without an index."""
    if not path.exists():
        return None
    try:
        rows = json.loads(_read(path))["parts"]
        return {str(row["name"]): (int(row["bytes"]), str(row["sha256"])) for row in rows}
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, IntaglioError):
            raise
        raise ArgumentError(f"{path} is damaged; send it again") from None


def _unpacked(path: Path) -> dict[str, str]:
    try:
        return dict(json.loads(_read(path))) if path.exists() else {}
    except (TypeError, ValueError) as error:
        if isinstance(error, IntaglioError):
            raise
        raise ArgumentError(f"{path} is damaged; remove it, and unpack all parts again") from None


def _contents(path: Path, data: bytes, folder: Path) -> list[tuple[Path, bytes]]:
    """Where each file of a part goes, and its bytes. Raises ArgumentError unless all are plain and inside `folder`."""
    if data[-2 * tarfile.BLOCKSIZE :].strip(b"\0"):
        raise ArgumentError(f"{path} is cut short; send it again")
    found = []
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:", encoding="utf-8") as tar:
            for entry in tar:
                file = tar.extractfile(entry) if entry.type == tarfile.REGTYPE and not entry.sparse else None
                if file is None:
                    raise ArgumentError(
                        f"{path} holds {entry.name!a}, which is no plain file; nothing of it is unpacked"
                    )
                found.append((_inside(path, entry.name, folder), file.read()))
    except IntaglioError:
        raise
    except (tarfile.TarError, OSError, ValueError, EOFError) as error:
        raise ArgumentError(f"{path} is damaged ({one_line(error)}); send it again") from None
    return found


def _inside(path: Path, name: str, folder: Path) -> Path:
    """The place of `name` in `folder`, where no link may lead out of it."""
    place, target = PurePosixPath(name), folder / name
    plain = place.parts and not place.is_absolute() and ".." not in place.parts and name != RECORD
    if not plain or not target.resolve().is_relative_to(folder.resolve()):
        raise ArgumentError(f"{path} holds {name!a}, which is no place inside {folder}; nothing of it is unpacked")
    return target


def slim(run: Path, out: Path, mib: float = WEIGHTS_MIB, replace: bool = False) -> list[Path]:
    """Writes the averaged weights of the checkpoint in `run` to `out`, in files of at most `mib` MiB, with the run's
    log and validation results beside them; returns the files. The checkpoint in `out` is replaced whole or not at all.

    Raises ArgumentError if there is no checkpoint, `out` holds one (unless `replace`, and it has no more than averaged
    weights), or a tensor is larger than a file; ModelError for a checkpoint that is damaged or of another version.
    """
    from intaglio.workshop import checkpoint

    limit = _bytes(mib)
    _check_out(out, replace)
    state, record = checkpoint.load(run)
    averages = {name: value for name, value in state.items() if name.startswith("average.")}
    if not averages:
        raise ArgumentError(f"checkpoint {run} holds no averaged weights; name the folder of a run")
    largest = max(value.numel() * value.element_size() for value in averages.values()) + _ROOM
    if largest > limit:
        raise ArgumentError(f"a tensor of {run} needs a file of {largest / 2**20:.2f} MiB; raise --mib")
    checkpoint.save(out, averages, record, limit)
    for name in ("log.jsonl", "validation.csv"):
        if (run / name).exists():
            images.atomic_write(out / name, _read(run / name))
    return sorted(path for path in out.iterdir() if path.is_file())


def _check_out(out: Path, replace: bool) -> None:
    from intaglio.workshop import checkpoint

    if checkpoint.exists(out) and not (replace and not checkpoint.under("model.", checkpoint.load(out)[0])):
        raise ArgumentError(f"{out} already holds a run; name another folder")


def go(config: Path, minutes: float, start: Path | None = None, out: Path | None = None) -> list[Path]:
    """Trains the run of `config` for at most so many minutes: from its checkpoint on, or else from `start` if given.

    Leaves what `slim` writes in `out` and returns those files. Raises what `intaglio.workshop.train.train` and `slim`
    raise; what is wrong with `out` before anything is trained.
    """
    from intaglio.workshop import checkpoint
    from intaglio.workshop.config import read_config
    from intaglio.workshop.distributed import alone_or_first
    from intaglio.workshop.train import train

    chosen = read_config(config)
    run = Path(chosen.train.out)
    if out is not None:
        if out.resolve() == run.resolve():
            raise ArgumentError(f"--out {out} is the run's own folder; name another")
        _check_out(out, replace=True)
    resume = checkpoint.exists(run)
    train(chosen, resume=resume, start=None if resume else start, stop_after=minutes)
    return slim(run, out, replace=True) if out is not None and alone_or_first() else []


def _pack(options: argparse.Namespace) -> None:
    made = pack(options.folder, options.parts, options.mib)
    for part in made:
        print(f"{part.name}: {part.pictures} pictures, {part.bytes / 2**20:.1f} MiB")
    print(f"{sum(part.pictures for part in made)} pictures in {len(made)} parts; {INDEX} says what they are")


def _unpack(options: argparse.Namespace) -> None:
    missing = unpack(options.parts, options.folder)
    if missing is None:
        print(f"unpacked what is in {options.parts}; without {INDEX} nobody can say whether that is all")
    elif missing:
        print(f"still missing: {', '.join(missing)}; send them, and unpack again")
    else:
        print(f"all parts are unpacked in {options.folder}")


def _weights(files: list[Path]) -> None:
    for path in files:
        print(f"{path}: {path.stat().st_size / 2**20:.2f} MiB")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(
        name: str, text: str, run: Callable[[argparse.Namespace], None], *folders: str
    ) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=text, description=text)
        made.set_defaults(run=run)
        for folder in folders:
            made.add_argument(folder, type=Path, metavar=folder.upper())
        return made

    packing = command("pack", "Training pictures into tar files that can be sent.", _pack, "folder", "parts")
    packing.add_argument("--mib", type=float, default=PART_MIB, help="largest size of a part (default: %(default)g)")
    command("unpack", "Pictures out of the parts that have arrived.", _unpack, "parts", "folder")
    text = "The averaged weights of a run alone, in small files."
    slimming = command("slim", text, lambda o: _weights(slim(o.run_folder, o.out, o.mib)))
    slimming.add_argument("run_folder", type=Path, metavar="RUN")
    slimming.add_argument("out", type=Path, metavar="OUT")
    slimming.add_argument(
        "--mib", type=float, default=WEIGHTS_MIB, help="largest size of a file (default: %(default)g)"
    )
    text = "One call's work: begin or go on, stop in time, leave the weights."
    going = command("go", text, lambda o: _weights(go(o.config, o.minutes, o.start, o.out)), "config")
    going.add_argument("--minutes", type=float, required=True, help="at most, from the reading of pictures on")
    going.add_argument("--from", type=Path, dest="start", metavar="START", help="weights to begin with, if it begins")
    going.add_argument(
        "--out", type=Path, help="folder for the averaged weights; those of an earlier call are replaced"
    )
    return parser


def main() -> int:
    """Runs one command; 1 after an error, which is one line on stderr."""
    options = _parser().parse_args()
    try:
        options.run(options)
    except IntaglioError as error:
        print(f"lent: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
