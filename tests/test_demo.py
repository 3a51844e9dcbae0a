"""The demo shows every codec at the same size and leaves behind what it promises."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

import intaglio
from intaglio import demo, images


def test_the_busiest_crop_is_where_the_detail_is() -> None:
    pixels = np.full((90, 120, 3), 128, np.uint8)
    pixels[60:70, 80:90] = np.indices((10, 10)).sum(axis=0)[:, :, None] % 2 * 255
    left, top, right, bottom = demo.busiest_crop(pixels, 20)
    assert (right - left, bottom - top) == (20, 20)
    assert max(left - 80, top - 60, 90 - right, 70 - bottom) <= 0


def test_a_picture_smaller_than_the_crop_is_shown_whole() -> None:
    assert demo.busiest_crop(np.zeros((5, 7, 3), np.uint8)) == (0, 0, 7, 5)


@pytest.mark.slow
def test_the_demo_compares_every_codec_at_the_same_size(photo: np.ndarray) -> None:
    results = list(demo.compare(photo, 50.0))
    assert [each.codec for each in results] == ["Intaglio", *demo.PEERS.values()]
    ours = len(results[0].data)
    for each in results:
        assert abs(len(each.data) - ours) < 0.15 * ours, f"{each.codec}: {len(each.data)} bytes beside {ours}"
        assert each.bpp == 8 * len(each.data) / (256 * 256)


@pytest.mark.slow
def test_the_demo_leaves_the_file_the_pictures_and_the_comparison(tmp_path: Path, photo: np.ndarray) -> None:
    images.save(tmp_path / "bird.png", photo)
    console = Console(quiet=True)
    demo.run([tmp_path / "bird.png"], 30.0, tmp_path / "out", console)
    names = {path.name for path in (tmp_path / "out").iterdir()}
    codecs = {f"bird-{name}.png" for name in ("intaglio", "jpeg", "jpeg2000", "webp", "avif")}
    assert names == codecs | {"bird.itg", "bird-side-by-side.png"}
    decoded = intaglio.decode((tmp_path / "out" / "bird.itg").read_bytes())
    assert np.array_equal(decoded, images.load(tmp_path / "out" / "bird-intaglio.png").pixels)
