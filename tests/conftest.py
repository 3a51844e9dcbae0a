"""What every test may use: where the project lies, a real photograph, and one seed for the whole run."""

from __future__ import annotations

import os
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from PIL import Image

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
