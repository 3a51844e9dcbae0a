"""Without PyTorch the workshop says in one line which extra to install, whichever part of it is asked for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parent.parent / "src"
BLOCK = "import sys; sys.modules['torch'] = None\n"
LINE = "this needs torch; install it with: pip install 'intaglio[train]'"
PARTS = sorted(
    ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")
    for path in (SOURCE / "intaglio" / "workshop").rglob("*.py")
)


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", BLOCK + code], capture_output=True, text=True, timeout=120)


def test_every_part_of_the_workshop_names_the_extra() -> None:
    assert "intaglio.workshop.entropy" in PARTS
    code = (
        "import importlib\n"
        f"for part in {PARTS!r}:\n"
        "    try:\n"
        "        importlib.import_module(part)\n"
        "    except ModuleNotFoundError as error:\n"
        "        print(part, error.name, error)\n"
        "    else:\n"
        "        print(part, 'was imported')\n"
    )
    found = run(code)
    assert found.stdout.splitlines() == [f"{part} torch {LINE}" for part in PARTS], found.stderr


@pytest.mark.parametrize("command", ["'train', 'run.toml'", "'export', 'run', 'model.itgm'"])
def test_the_command_line_says_it_in_one_line(command: str) -> None:
    found = run(f"sys.argv = ['intaglio', {command}]\nfrom intaglio.cli import main\nmain()")
    assert found.returncode != 0
    assert [line for line in found.stderr.splitlines() if line] == [f"intaglio: {LINE}"], found.stderr


def test_the_codec_still_works() -> None:
    found = run("import numpy, intaglio\nprint(len(intaglio.encode(numpy.zeros((8, 8, 3), numpy.uint8), 10)) > 0)")
    assert found.stdout.strip() == "True", found.stderr
