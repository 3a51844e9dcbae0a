"""What the shipped network may cost, in multiplications per pixel."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from intaglio.workshop.complexity import DECODING, ENCODING, macs_per_pixel
from intaglio.workshop.hyper import COARSE
from intaglio.workshop.integer import IntegerConv
from intaglio.workshop.models.photo import Photo, PhotoConfig


@pytest.fixture(scope="module")
def counts() -> dict[str, float]:
    return macs_per_pixel(Photo(PhotoConfig()))


def test_decoding_stays_under_17_kmac_per_pixel(counts: dict[str, float]) -> None:
    total = sum(counts[part] for part in DECODING)
    print(f"decoding {total / 1000:.2f} kMAC/pixel", counts)
    assert 0 < total < 17_000


def test_encoding_stays_under_60_kmac_per_pixel(counts: dict[str, float]) -> None:
    total = sum(counts[part] for part in ENCODING)
    print(f"encoding {total / 1000:.2f} kMAC/pixel", counts)
    assert 0 < total < 60_000


def test_the_count_is_what_the_widths_say(counts: dict[str, float]) -> None:
    config = PhotoConfig()
    wide, eighth, quarter = config.synthesis
    at_sixteenth = config.latent * 768 + 9 * (config.latent * wide + 4 * wide * wide + wide * 4 * eighth)
    at_eighth, at_quarter = 9 * (4 * eighth * eighth + eighth * 4 * quarter), 9 * quarter * 48
    seen = (48 + 9 * quarter) * quarter / 16 + 16 * quarter * eighth / 64 + 16 * eighth * wide / 256
    at_quarter += 2 * 9 * quarter**2
    assert counts["synthesis"] == at_sixteenth / 256 + at_eighth / 64 + at_quarter / 16 + seen
    heads = 2 * config.latent * config.context / 4  # one position of four for each channel group
    first = 4 * config.side * config.context + 3 * (config.latent + COARSE) * config.context
    assert counts["context"] == (first + 4 * 9 * config.context**2 + 4 * heads) / 256
    shuffled = config.hyper**2 + 4 * config.hyper**2 + 4 * 4 * config.hyper * config.side  # at 1/64, 1/64, 1/32
    assert counts["hyper_synthesis"] == 9 * shuffled / 4096


def test_counting_leaves_the_model_as_it_was() -> None:
    model = Photo(PhotoConfig(latent=16, analysis=(8, 8, 16), synthesis=(16, 8, 4), hyper=8, side=8, context=8))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert macs_per_pixel(model) == macs_per_pixel(model)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    layers = [layer for layer in model.modules() if isinstance(layer, (nn.Conv2d, IntegerConv))]
    assert not any(layer._forward_hooks for layer in layers)
