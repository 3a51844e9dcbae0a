"""The examples in the docstrings of the public coder do what they show."""

from __future__ import annotations

import doctest

from intaglio import rans


def test_examples_of_the_coder_run() -> None:
    results = doctest.testmod(rans)
    assert results.failed == 0
    assert results.attempted >= 20
