"""Every tutorial runs and says what it prints; the runner notices when one does not."""

from __future__ import annotations

import difflib
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TUTORIALS = ROOT / "docs" / "tutorials"
PAGES = sorted(TUTORIALS.glob("*.md"))
LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)#\s]+)[^)]*\)")
CODE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
PICTURE = re.compile(r"!\[[^\]]*\]\(([^)\s]+)\)")
LIMIT = 600  # seconds

pages = pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)


def copy_of(page: Path, folder: Path) -> Path:
    """The page in a checkout of its own, with what a tutorial may look at, but no picture that is there already."""
    for name in ("examples", "recipes"):
        shutil.copytree(ROOT / name, folder / name)
    target = folder / "docs" / "tutorials"
    target.mkdir(parents=True)
    shutil.copy(TUTORIALS / "run.py", target)
    return Path(shutil.copy(page, target))


def run(page: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Runs a page by the runner beside it."""
    command = [sys.executable, str(page.parent / "run.py"), str(page), *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, stdin=subprocess.DEVNULL)


@pytest.fixture
def written(tmp_path: Path):
    """Writes a page beside a copy of the runner."""
    target = tmp_path / "docs" / "tutorials"
    target.mkdir(parents=True)
    shutil.copy(TUTORIALS / "run.py", target)

    def write(text: str) -> Path:
        page = target / "page.md"
        page.write_text(text, encoding="utf-8")
        return page

    return write


def test_there_are_tutorials() -> None:
    assert {"bits", "noise-or-rounding", "turning-lambda"} <= {page.stem for page in PAGES}


@pytest.mark.slow
@pages
def test_a_tutorial_prints_what_it_shows_and_makes_its_pictures(page: Path, tmp_path: Path) -> None:
    copy = copy_of(page, tmp_path)
    done = run(copy, "--test", "--write")
    assert done.returncode == 0, done.stderr
    shown, printed = (each.read_text(encoding="utf-8") for each in (page, copy))
    changes = "\n".join(
        difflib.unified_diff(shown.splitlines(), printed.splitlines(), "shown", "printed", lineterm="", n=1)
    )
    assert not changes, (
        f"{page.name} shows what its code does not print; python docs/tutorials/run.py --write\n{changes}"
    )
    missing = [each for each in PICTURE.findall(shown) if not (copy.parent / each).exists()]
    assert not missing, f"{page.name} shows pictures that its code does not make: {missing}"


@pages
def test_the_links_of_a_tutorial_lead_somewhere(page: Path) -> None:
    prose = CODE.sub("", page.read_text(encoding="utf-8"))
    missing = [each for each in LINK.findall(prose) if not (page.parent / each).exists()]
    assert not missing, f"{page.name} links to files that do not exist: {missing}"


def test_blocks_build_on_each_other_and_outputs_are_renewed(written) -> None:
    page = written("```python\nx = 2\n```\n\nAnd\n\n```python\nprint(x + 1)\n```\n\n```text\n4\n```\n\nend\n")
    assert run(page).stdout == "3\n"
    assert "```text\n4\n```\n" in page.read_text()
    run(page, "--write")
    assert (
        page.read_text() == "```python\nx = 2\n```\n\nAnd\n\n```python\nprint(x + 1)\n```\n\n```text\n3\n```\n\nend\n"
    )


def test_output_without_a_block_gets_one_and_a_stale_block_is_emptied(written) -> None:
    page = written("```python\nprint(1)\n```\n\nThen\n\n```python\nx = 1\n```\n\n```text\n1\n```\n")
    run(page, "--write")
    assert page.read_text() == (
        "```python\nprint(1)\n```\n\n```text\n1\n```\n\nThen\n\n```python\nx = 1\n```\n\n```text\n```\n"
    )


def test_a_quick_run_takes_the_comments_values_and_leaves_what_varies(written) -> None:
    text = (
        '<!-- test: tiles = "examples"; minutes = 0.05 -->\n# T\n\n'
        "```python\nfrom pathlib import Path\n\nminutes = 4.0  # of two cores\ntiles = (\n    '../data'\n)\n"
        "print(tiles, minutes, Path.cwd().name)\n```\n\n```text varies\nold\n```\n\n```python\nprint('always')\n```\n\n"
        "```text\n?\n```\n"
    )
    page = written(text)
    root = page.parent.parent.parent.name
    assert run(page, "--test", "--write").stdout == f"examples 0.05 {root}\nalways\n"
    assert page.read_text() == text.replace("?", "always")
    assert run(page, "--write").stdout == f"../data 4.0 {root}\nalways\n"
    assert page.read_text() == text.replace("?", "always").replace("old", f"../data 4.0 {root}")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("<!-- test: x = 1 -->\n```python\ny = 1\n```\n", "assigns 'x' 0 times"),
        ("<!-- test: x = 1 -->\n```python\nx = 2\n```\n```python\nx = 3\n```\n", "assigns 'x' 2 times"),
        ("<!-- test: x = -->\n```python\nx = 2\n```\n", "is not Python"),
        ("<!-- test: print(1) -->\n```python\nx = 2\n```\n", "is no assignment"),
        ("```text\n1\n```\n", "line 1: an output block must stand right after"),
        ("```python\nprint(1)\n```\n\nwords\n\n```text\n1\n```\n", "line 7: an output block must stand right after"),
        (
            "```python\nprint(1)\n```\n```text\n1\n```\n```text\n1\n```\n",
            "line 7: an output block must stand right after",
        ),
    ],
)
def test_a_page_that_cannot_be_run_so_is_refused_in_one_line(written, text: str, said: str) -> None:
    done = run(written(text), "--test")
    assert done.returncode == 1
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_an_error_names_the_line_of_the_page_and_writes_nothing(written) -> None:
    text = "# T\n\n```python\nx = 1\n```\n\n```python\nprint(x)\nraise ValueError('so')\n```\n"
    page = written(text)
    done = run(page, "--write")
    assert done.returncode == 1
    assert 'page.md", line 9' in done.stderr
    assert "ValueError: so" in done.stderr
    assert page.read_text() == text
