"""Runs a tutorial: its Python blocks in order, in one namespace, from the root of the checkout.

    python docs/tutorials/run.py docs/tutorials/bits.md [--write] [--test]

What a block prints stands right after it in a ```text block; --write puts it there. Pictures are what the blocks save.
A comment at the top of the page gives values for a quick run, which --test puts in place of the page's own:

    <!-- test: tiles = "examples"; minutes = 0.05 -->

Each of these names must be assigned exactly once in the page, outside functions. Output that depends on them, or on the
machine, stands in a ```text varies block: --write renews it, but not together with --test.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import io
import os
import re
import sys
import types
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from intaglio import images
from intaglio.errors import ArgumentError

ROOT = Path(__file__).resolve().parent.parent.parent
FENCE = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<body>.*?)^```[ \t]*$\n?", re.MULTILINE | re.DOTALL)
QUICK = re.compile(r"\A\s*<!--\s*test:(.*?)-->", re.DOTALL)
VARIES = "text varies"


@dataclass(frozen=True)
class Block:
    """A Python block of a page, and the output block right after it.

    body: its code; line: the page's line on which the code begins. info: what follows the fence of the output block,
    None if there is none. end, stop: where in the page the code ends, and the output block.
    """

    body: str
    line: int
    info: str | None
    end: int
    stop: int


def blocks(page: str) -> list[Block]:
    """The page's Python blocks. Raises ArgumentError if an output block stands anywhere else."""
    found: list[Block] = []
    for match in FENCE.finditer(page):
        info, line = match["info"].strip(), page.count("\n", 0, match.start()) + 1
        if info == "python":
            found.append(Block(match["body"], line + 1, None, match.end(), match.end()))
        elif info in {"text", VARIES}:
            if not found or found[-1].info or page[found[-1].end : match.start()].strip():
                raise ArgumentError(
                    f"line {line}: an output block must stand right after the Python block that prints it"
                )
            found[-1] = replace(found[-1], info=info, stop=match.end())
    return found


def quick_values(page: str) -> dict[str, str]:
    """The values for a quick run, as Python text by name. Raises ArgumentError for a comment that is none."""
    match = QUICK.match(page)
    try:
        statements = ast.parse(match[1].strip() if match else "").body
    except SyntaxError as error:
        raise ArgumentError(f"the test comment at the top is not Python: {error.msg}") from None
    values = {}
    for statement in statements:
        if not isinstance(statement, ast.Assign) or not isinstance(target := statement.targets[0], ast.Name):
            raise ArgumentError(f"the test comment at the top: {ast.unparse(statement)!r} is no assignment to a name")
        values[target.id] = ast.unparse(statement.value)
    return values


def with_values(found: Sequence[Block], values: dict[str, str]) -> list[Block]:
    """The blocks with these values assigned instead. Raises ArgumentError unless each name is assigned exactly once."""
    places: dict[str, list[tuple[int, ast.Assign]]] = {name: [] for name in values}
    for number, block in enumerate(found):
        for node in ast.parse(block.body).body:
            if isinstance(node, ast.Assign):
                for name in {each.id for each in node.targets if isinstance(each, ast.Name)} & {*values}:
                    places[name].append((number, node))
    changed = [*found]
    for name, where in places.items():
        if len(where) != 1:
            raise ArgumentError(f"the page assigns {name!r} {len(where)} times; for a test it must be exactly once")
        ((number, node),) = where
        lines = changed[number].body.split("\n")
        first, last = node.lineno - 1, node.end_lineno or node.lineno
        lines[first:last] = [f"{name} = {values[name]}"] + [""] * (last - first - 1)  # later lines keep their numbers
        changed[number] = replace(changed[number], body="\n".join(lines))
    return changed


def run(found: Sequence[Block], path: Path) -> list[str]:
    """What each block prints. Errors of the code come as they are, with the page's lines in their trace."""
    module = types.ModuleType("tutorial")
    sys.modules[module.__name__] = module  # where pickle and dataclasses look for what the page defines
    printed = []
    for number, block in enumerate(found, 1):
        print(f"{path.name}: block {number} of {len(found)}, line {block.line}", file=sys.stderr, flush=True)
        code = compile("\n" * (block.line - 1) + block.body, str(path), "exec", dont_inherit=True)
        with contextlib.redirect_stdout(io.StringIO()) as out:
            exec(code, module.__dict__)
        printed.append(out.getvalue().lstrip("\n"))  # progress bars leave empty lines
        print(printed[-1], end="", flush=True)
    return printed


def with_outputs(page: str, found: Sequence[Block], printed: Sequence[str], quick: bool) -> str:
    """The page with its output blocks renewed, and one added where a block prints and has none.

    A quick run leaves alone what varies.
    """
    for block, text in reversed([*zip(found, printed, strict=True)]):
        if (text or block.info) and not (quick and block.info == VARIES):
            ending = "" if not text or text.endswith("\n") else "\n"
            page = f"{page[: block.end]}\n```{block.info or 'text'}\n{text}{ending}```\n{page[block.stop :]}"
    return page


def main() -> int:
    """Runs one page, prints what it prints, and renews the page on request."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=Path)
    parser.add_argument("--write", action="store_true", help="renew the output blocks in the page")
    parser.add_argument("--test", action="store_true", help="run with the quick values of the page's comment")
    options = parser.parse_args()
    path = options.page.resolve()
    page = path.read_text(encoding="utf-8")
    try:
        found = blocks(page)
        changed = with_values(found, quick_values(page)) if options.test else found
    except ArgumentError as error:
        sys.exit(f"{options.page}: {error}")
    os.environ["MPLBACKEND"] = "agg"  # pictures go into files, there may be no screen
    os.chdir(ROOT)
    printed = run(changed, path)
    if options.write:
        images.atomic_write(path, with_outputs(page, found, printed, options.test).encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
