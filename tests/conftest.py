"""What every test may use: where the project lies, a real photograph and its file, the command line, one seed."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from PIL import Image

import intaglio
from command_line import Run, in_process
from intaglio import images

ROOT = Path(__file__).resolve().parent.parent
SEED = int(os.environ.get("INTAGLIO_SEED") or random.SystemRandom().randrange(2**32))

# Two slow cores share the machine with other work: a deadline per example would only measure that.
settings.register_profile("intaglio", deadline=None, max_examples=50, print_blob=True)
settings.load_profile("intaglio")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, exitstatus: int) -> None:
    """After a failure, the seed of the random tests and with it the way to repeat them."""
    if exitstatus:
        terminalreporter.write_line(f"random tests ran with INTAGLIO_SEED={SEED}")


@pytest.fixture(scope="session")
def root() -> Path:
    """Folder of the checkout."""
    return ROOT


@pytest.fixture
def seed() -> int:
    """Seed of the run, for the message of a random test's assertion."""
    return SEED


@pytest.fixture
def rng() -> np.random.Generator:
    """A fresh generator from the run's seed."""
    return np.random.default_rng(SEED)


@pytest.fixture(scope="session")
def photo_path() -> Path:
    """A photograph of 1082 x 721 pixels, lossless."""
    return ROOT / "examples" / "budgie.webp"


@pytest.fixture(scope="session")
def photo(photo_path: Path) -> np.ndarray:
    """256 x 256 pixels of that photograph (eye, beak and feathers): uint8, (256, 256, 3), not writable."""
    with Image.open(photo_path) as picture:
        pixels = np.asarray(picture.convert("RGB").crop((440, 100, 696, 356)))
    pixels.setflags(write=False)
    return pixels


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """The command line in this process, in a folder of its own."""
    return in_process(monkeypatch, capsys, tmp_path)


@pytest.fixture
def picture(tmp_path: Path, photo: np.ndarray) -> Path:
    """A PNG file of 90 x 70 pixels."""
    path = tmp_path / "picture.png"
    images.save(path, photo[:70, :90])
    return path


@pytest.fixture(scope="module")
def data(photo: np.ndarray) -> bytes:
    """The same picture as an .itg file's bytes."""
    return intaglio.encode(photo[:70, :90], 30)


@pytest.fixture
def coded(tmp_path: Path, data: bytes) -> Path:
    """That file."""
    path = tmp_path / "picture.itg"
    path.write_bytes(data)
    return path


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """For networks this small a second thread costs more than it gives, most of all on a busy machine."""
    import torch  # only the workshop's tests may need it

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
