"""Everything the README tells a person to type works, in the order it is told."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
FENCE = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<body>.*?)^```\s*$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)#\s]+)[^)]*\)")
TARGET = re.compile(r"^([a-z][a-z-]*):", re.MULTILINE)
LANGUAGES = {"bash", "python"}


@dataclass(frozen=True)
class Block:
    """One fenced block: its language, its text, the README's line it starts on."""

    language: str
    body: str
    line: int


def _blocks() -> list[Block]:
    """The README's bash and python blocks, but those whose info string says `no-test`."""
    text = README.read_text(encoding="utf-8")
    blocks = []
    for match in FENCE.finditer(text):
        words = match["info"].split()
        if words and words[0] in LANGUAGES and "no-test" not in words:
            blocks.append(Block(words[0], match["body"], text.count("\n", 0, match.start()) + 2))
    return blocks


def _without_make(body: str) -> str:
    return "\n".join(line for line in body.splitlines() if not line.startswith("make "))


def _run(block: Block, folder: Path) -> None:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    bash = ["bash", "-euo", "pipefail", "-c", _without_make(block.body)]
    command = bash if block.language == "bash" else [sys.executable, "-c", block.body]
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PATH": path},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )
    said = f"{block.body}\n{done.stdout}\n{done.stderr}"
    assert done.returncode == 0, f"README.md line {block.line}: exit code {done.returncode}\n{said}"


def test_the_readme_shows_the_command_line_and_python() -> None:
    blocks = _blocks()
    assert {block.language for block in blocks} == LANGUAGES
    assert any("intaglio encode" in block.body for block in blocks)


@pytest.mark.slow
def test_the_readme_examples_run(tmp_path: Path) -> None:
    with Image.open(ROOT / "examples" / "budgie.webp") as picture:
        picture.convert("RGB").save(tmp_path / "photo.jpg", quality=95)
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    for block in _blocks():
        _run(block, tmp_path)


def test_the_make_commands_of_the_readme_exist() -> None:
    targets = set(TARGET.findall((ROOT / "Makefile").read_text(encoding="utf-8")))
    asked = re.findall(r"^make ([a-z-]+)", README.read_text(encoding="utf-8"), re.MULTILINE)
    assert {"demo", "test"} <= set(asked)
    assert set(asked) <= targets, f"the README names make targets that do not exist: {sorted(set(asked) - targets)}"


def test_the_links_of_the_readme_lead_somewhere() -> None:
    links = LINK.findall(README.read_text(encoding="utf-8"))
    assert links
    missing = [link for link in links if not (ROOT / link).exists()]
    assert not missing, f"the README links to files that do not exist: {missing}"
