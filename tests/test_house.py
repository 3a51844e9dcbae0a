"""The house budgets: short files and functions, few parameters, docstrings and types on what is public."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60
MAX_PARAMETERS = 6

PYTHON = sorted(path for folder in ("src", "tests", "benchmarks", "recipes") for path in (ROOT / folder).rglob("*.py"))
NATIVE = sorted(path for path in (ROOT / "native").rglob("*") if path.suffix in {".cpp", ".hpp", ".h"})
PUBLIC = [path for path in PYTHON if "src" in path.relative_to(ROOT).parts]

Function = ast.FunctionDef | ast.AsyncFunctionDef


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def _functions(path: Path) -> Iterator[Function]:
    return (node for node in ast.walk(_tree(path)) if isinstance(node, Function))


def _parameters(function: Function) -> list[ast.arg]:
    spec = function.args
    every = [*spec.posonlyargs, *spec.args, *spec.kwonlyargs]
    return [each for each in every if each.arg not in {"self", "cls"}]


def _public(tree: ast.Module) -> Iterator[Function | ast.ClassDef]:
    """Functions and classes that the module offers: at its top level, or methods of such a class.

    The class's docstring may speak for its methods; their types have to be written all the same.
    """
    for node in tree.body:
        if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from (each for each in node.body if isinstance(each, Function) and not each.name.startswith("_"))


def test_there_are_files_to_look_at() -> None:
    assert {"src/intaglio/__init__.py", "tests/test_house.py", "benchmarks/results.py"} <= set(map(_name, PYTHON))
    assert NATIVE


@pytest.mark.parametrize("path", [*PYTHON, *NATIVE], ids=_name)
def test_files_are_short(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines < MAX_FILE_LINES, f"{_name(path)} has {lines} lines; the house limit is {MAX_FILE_LINES}: split it"


@pytest.mark.parametrize("path", PYTHON, ids=_name)
def test_functions_are_short_and_take_few_parameters(path: Path) -> None:
    rows = []
    for function in _functions(path):
        where = f"{_name(path)}:{function.lineno}: {function.name}"
        lines = (function.end_lineno or function.lineno) - function.lineno + 1
        if lines >= MAX_FUNCTION_LINES:
            rows.append(f"{where} has {lines} lines; the house limit is {MAX_FUNCTION_LINES}")
        count = len(_parameters(function))
        if count > MAX_PARAMETERS:
            rows.append(f"{where} takes {count} parameters; the house limit is {MAX_PARAMETERS}")
    assert not rows, "\n".join(rows)


@pytest.mark.parametrize("path", PUBLIC, ids=_name)
def test_what_is_public_is_typed_and_documented(path: Path) -> None:
    tree, rows = _tree(path), []
    if tree.body and not ast.get_docstring(tree):
        rows.append(f"{_name(path)}: the module has no docstring")
    for node in _public(tree):
        where = f"{_name(path)}:{node.lineno}: {node.name}"
        if node in tree.body and not ast.get_docstring(node):
            rows.append(f"{where} has no docstring")
        if isinstance(node, Function) and (not node.returns or any(not a.annotation for a in _parameters(node))):
            rows.append(f"{where} is not fully typed")
    assert not rows, "\n".join(rows)
