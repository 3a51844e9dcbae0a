"""The processes that measure end with the run, however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

# A run with a codec whose program sleeps; each process and each program leaves a file named after its id.
SCRIPT = """
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from intaglio import evaluate


@dataclass(frozen=True)
class Sleepy:
    name: str = "sleepy"
    label: str = "Sleepy"
    about: str = "sleeps"
    qualities: range = range(1, 9)
    usual: tuple = (1, 2)
    in_process: bool = True

    def encode(self, pixels, quality):
        with tempfile.TemporaryDirectory(dir=sys.argv[1]):
            code = f"import os, time; open(f'{sys.argv[1]}/program.{{os.getpid()}}', 'w'); time.sleep(60)"
            Path(sys.argv[1], f"worker.{os.getpid()}").touch()
            subprocess.run([sys.executable, "-c", code])
        return b""


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell in the background ignores it, and its children
    plan = evaluate.Plan((Path(sys.argv[2]),), (Sleepy(),), Path(sys.argv[1], "out"), jobs=int(sys.argv[3]))
    evaluate.run(plan)
"""


def _alive(pid: int) -> bool:
    """Whether a process runs; one that is dead and not yet collected does not."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def _wait(condition: object, seconds: float = 20.0) -> None:
    assert callable(condition)
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, "nothing happened"
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="looks for processes in /proc")
@pytest.mark.parametrize(
    ("way", "jobs"), [(signal.SIGTERM, 1), (signal.SIGTERM, 2), (signal.SIGINT, 2), (signal.SIGKILL, 1)]
)
def test_no_process_outlives_a_run_that_is_ended(tmp_path: Path, picture: Path, way: signal.Signals, jobs: int) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    place = tmp_path / "place"
    place.mkdir()
    run = subprocess.Popen([sys.executable, script, place, picture, str(jobs)], stderr=subprocess.PIPE, text=True)
    try:
        _wait(lambda: len(list(place.glob("program.*"))) == jobs)
        pids = [int(path.suffix[1:]) for kind in ("worker", "program") for path in place.glob(f"{kind}.*")]
        assert len(pids) == 2 * jobs
        assert all(map(_alive, pids))
        os.kill(run.pid, way)
        _wait(lambda: run.poll() is not None and not any(map(_alive, pids)))
        assert run.returncode
    finally:
        run.kill()
        run.communicate()
    assert not [path for path in place.iterdir() if path.name.startswith("tmp")]  # temporary folders
