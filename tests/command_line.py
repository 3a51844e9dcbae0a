"""The command line for its tests, run in this process or as one of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from intaglio import cli, container


class Outcome:
    """What one run of the command line left: exit code, the two streams."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    def fault(self) -> str:
        """The one line of a refusal."""
        assert self.code == 1, self
        assert self.err.startswith("intaglio: "), self
        assert self.err.count("\n") == 1, self
        assert self.err.endswith("\n"), self
        assert self.out == "", self
        return self.err

    def __repr__(self) -> str:
        return f"exit code {self.code}, stdout {self.out!r}, stderr {self.err!r}"


Run = Callable[..., Outcome]


def in_process(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Path) -> Run:
    """Calls the command line in this process, with `folder` as the current one."""
    monkeypatch.chdir(folder)

    def run(*arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["intaglio", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            cli.main()
        code = caught.value.code
        left = capsys.readouterr()
        return Outcome(code if isinstance(code, int) else int(code is not None), left.out, left.err)

    return run


def as_process(*arguments: object, before: str = "") -> Outcome:
    """Runs the command line as a process of its own, after the Python code `before`."""
    how = ["-c", f"{before}\nfrom intaglio.cli import main\nmain()"] if before else ["-m", "intaglio.cli"]
    done = subprocess.run(
        [sys.executable, *how, *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


def foreign(data: bytes) -> bytes:
    """The file with the name of a model that nobody has, 0a1b2c3d."""
    coded = container.read(data)
    header = container.Header(**{**vars(coded.header), "model_id": bytes.fromhex("0a1b2c3d")})
    return container.write(container.Container(header, coded.payloads))
