"""Imports only go down the layer table, nothing imports in a circle, and PyTorch stays in the workshop."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parent.parent / "src"
PACKAGE = "intaglio"
WORKSHOP = "intaglio.workshop"

# The layer of every module. A new module is entered here, in the lowest layer that its imports allow.
LAYERS = {
    "intaglio.errors": 0,
    "intaglio.quality": 0,
    "intaglio.colour": 0,
    "intaglio.container": 0,
    "intaglio.ycbcr": 0,
    "intaglio.images": 0,
    "intaglio.metrics": 0,
    "intaglio.information": 0,
    "intaglio.given": 1,
    "intaglio.allocation": 1,
    "intaglio.pmf": 1,
    "intaglio.rans": 1,
    "intaglio._native": 1,
    "intaglio.prefix": 1,
    "intaglio.scales": 2,
    "intaglio.quantiser": 3,
    "intaglio.traversal": 3,
    "intaglio.coders": 3,
    "intaglio.gains": 3,
    "intaglio.onnxgraph": 4,
    "intaglio.onnxwriter": 4,
    "intaglio.integer": 4,
    "intaglio.modelfile": 4,
    "intaglio.runtimes": 4,
    "intaglio.bundle": 4,
    "intaglio.effort": 4,
    "intaglio.codec": 5,
    "intaglio.verify": 5,
    "intaglio.latents": 5,
    "intaglio.inspection": 5,
    "intaglio.codecs": 5,
    "intaglio.externals": 5,
    "intaglio.record": 5,
    "intaglio.measuring": 5,
    "intaglio.evaluate": 5,
    "intaglio.compare": 5,
    "intaglio.results": 5,
    "intaglio.rdcurves": 5,
    "intaglio.bdrate": 5,
    "intaglio.bdtext": 5,
    "intaglio.bench": 5,
    "intaglio.bench.workloads": 5,
    "intaglio.bench.peers": 5,
    "intaglio.bench.coder": 5,
    "intaglio.bench.report": 5,
    "intaglio.report": 6,
    "intaglio.report.content": 6,
    "intaglio.report.kept": 6,
    "intaglio.report.page": 6,
    "intaglio.demo": 6,
    "intaglio.cli": 6,
    "intaglio.__main__": 6,
    "intaglio.cli_bdrate": 6,
    "intaglio.cli_measure": 6,
    "intaglio.cli_shared": 6,
    "intaglio.bar": 6,
    "intaglio.cli_workshop": 6,
    "intaglio": 6,
}
WORKSHOP_LAYER = 5

WORKSHOP_ONLY = {"torch", "lightning", "lightning_fabric", "onnx", "safetensors"}
RUNTIMES = {"onnxruntime", "openvino"}
ALWAYS_INSTALLED = {"numpy", "PIL", "onnxruntime", "typer", "rich", "typing_extensions"}  # the last by typer
EXTRAS = {"scipy", "matplotlib", "ssimulacra2", "pillow_jxl", "openvino"}


@dataclass(frozen=True)
class Import:
    """One imported module: who asks, for what, on which line, and whether only when a function runs."""

    importer: str
    target: str
    line: int
    lazy: bool

    def __str__(self) -> str:
        return f"{self.importer} line {self.line} imports {self.target}"


def _modules() -> dict[str, Path]:
    """Every module of the package by dotted name, with its file."""
    found = {}
    for path in sorted((SOURCE / PACKAGE).rglob("*.py")):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = _modules()
KNOWN = {*MODULES, *LAYERS}


def _layer(module: str) -> int | None:
    in_workshop = module == WORKSHOP or module.startswith(WORKSHOP + ".")
    return WORKSHOP_LAYER if in_workshop else LAYERS.get(module)


def _targets(node: ast.Import | ast.ImportFrom, importer: str) -> list[str]:
    """Modules that one statement asks for, by dotted name; an imported function counts as its module."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    base = node.module or ""
    if node.level:
        parts = importer.split(".")
        keep = len(parts) - node.level + (MODULES[importer].name == "__init__.py")
        base = ".".join([*parts[:keep], *([node.module] if node.module else [])])
    joined = [f"{base}.{alias.name}" for alias in node.names]
    return [name if name in KNOWN else base for name in joined]


def _walk(node: ast.AST, lazy: bool) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child, lazy
        yield from _walk(child, lazy or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda))


def _imports() -> list[Import]:
    found = []
    for importer, path in MODULES.items():
        for node, lazy in _walk(ast.parse(path.read_text(encoding="utf-8")), lazy=False):
            targets = dict.fromkeys(_targets(node, importer))
            found += [Import(importer, target, node.lineno, lazy) for target in targets]
    return found


IMPORTS = _imports()
INTERNAL = [each for each in IMPORTS if each.target.split(".")[0] == PACKAGE]
EXTERNAL = [each for each in IMPORTS if each.target.split(".")[0] not in {PACKAGE, *sys.stdlib_module_names}]


def _listed(imports: list[Import]) -> str:
    return "\n".join(map(str, imports))


def test_every_module_has_a_layer() -> None:
    stray = [name for name in MODULES if _layer(name) is None]
    assert not stray, f"enter {', '.join(stray)} in LAYERS of tests/test_layers.py"


def test_the_layer_table_names_no_module_that_is_gone() -> None:
    gone = [name for name in LAYERS if name not in MODULES and name != "intaglio._native"]
    assert not gone, f"remove {', '.join(gone)} from LAYERS of tests/test_layers.py"


def test_internal_imports_name_modules_that_exist() -> None:
    assert INTERNAL
    unknown = [each for each in INTERNAL if each.target not in KNOWN]
    assert not unknown, _listed(unknown)


def test_imports_only_go_down() -> None:
    up = [each for each in INTERNAL if (_layer(each.target) or 0) > (_layer(each.importer) or 0)]
    assert not up, "imports go up the layer table:\n" + _listed(up)


def test_nothing_imports_in_a_circle() -> None:
    below = {name: {each.target for each in INTERNAL if each.importer == name} - {name} for name in MODULES}
    while free := [name for name in below if not below[name] & below.keys()]:
        for name in free:
            del below[name]
    assert not below, f"these modules import each other in a circle: {', '.join(below)}"


def test_pytorch_and_its_kin_stay_in_the_workshop() -> None:
    stray = [
        each
        for each in EXTERNAL
        if each.target.split(".")[0] in WORKSHOP_ONLY and not each.importer.startswith(WORKSHOP + ".")
    ]
    assert not stray, _listed(stray)


def test_what_runs_graphs_is_known_to_one_module() -> None:
    stray = [e for e in EXTERNAL if e.target.split(".")[0] in RUNTIMES and e.importer != "intaglio.runtimes"]
    assert not stray, _listed(stray)


def test_only_the_command_line_reaches_the_workshop_and_only_when_asked() -> None:
    reached = [
        each
        for each in INTERNAL
        if each.target.startswith(WORKSHOP)
        and not each.importer.startswith(WORKSHOP)
        and not (each.importer == "intaglio.cli_workshop" and each.lazy)
    ]
    assert not reached, _listed(reached)


def test_the_installed_codec_imports_only_what_is_installed_with_it() -> None:
    stray = [
        each
        for each in EXTERNAL
        if not each.importer.startswith(WORKSHOP)
        and each.target.split(".")[0] not in ALWAYS_INSTALLED | (EXTRAS if each.lazy else set())
    ]
    assert not stray, _listed(stray)


def _run(code: str) -> None:
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_importing_the_package_loads_no_pytorch() -> None:
    _run(
        "import sys, intaglio, intaglio.cli, intaglio.demo\n"
        "assert not {'torch', 'onnx', 'scipy', 'matplotlib'} & set(sys.modules)"
    )


@pytest.mark.slow
def test_the_trainer_runs_from_a_checkout_without_the_native_core() -> None:
    _run(
        f"import sys; sys.path.insert(0, {str(SOURCE)!r}); sys.modules['intaglio._native'] = None\n"
        "import intaglio.workshop.train"
    )
