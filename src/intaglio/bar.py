"""The progress bar of the command line."""

from __future__ import annotations

import sys


class Bar:
    """A progress bar on stderr, if that is a terminal; called with the steps done and the steps in all."""

    def __init__(self, label: str) -> None:
        self._label, self._bar = label, None

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar:
            self._bar.stop()

    def __call__(self, done: int, total: int) -> None:
        if not sys.stderr.isatty():
            return
        if self._bar is None:
            from rich.console import Console
            from rich.progress import Progress

            self._bar = Progress(console=Console(stderr=True), transient=True)
            self._task = self._bar.add_task(self._label, total=total)
            self._bar.start()
        self._bar.update(self._task, completed=done)
