"""A picture of several tiles looks like one of a single tile: no seam shows, and any number of tiles is read."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import intaglio
from intaglio import codec, container, images
from intaglio.bundle import Model, Window
from intaglio.container import Header

BAND = 16  # pixels on both sides of a seam
QUALITY = 60

# Height and width of a picture, side of its tiles in blocks of 64 pixels, and rows and columns of tiles.
LAYOUTS = {
    "2x2": (250, 256, 2, (2, 2)),
    "1x3": (64, 256, 2, (1, 2)),
    "3x1 of one block": (180, 60, 1, (3, 1)),
    "ragged": (200, 250, 3, (2, 2)),
}


def _cut(monkeypatch: pytest.MonkeyPatch, tile: int) -> None:
    """Makes the encoder cut every picture into tiles of this side."""
    monkeypatch.setattr(container, "choose_tile", lambda width, height: tile)


@pytest.fixture(scope="module")
def photos(root: Path) -> list[np.ndarray]:
    """The photographs in `examples/` at half their scale: uint8 (H,W,3) each."""
    files = sorted((root / "examples").glob("*.webp"))
    assert len(files) == 3
    return [np.asarray(Image.open(file).convert("RGB").reduce(2)) for file in files]


@pytest.fixture(scope="module")
def picture(photos: list[np.ndarray]) -> np.ndarray:
    """The first of them, of 541 x 360 pixels: uint8 (360, 541, 3)."""
    return photos[0]


def _header(data: bytes) -> Header:
    return container.read_header(data)


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_pictures_of_several_tiles_come_back(
    photo: np.ndarray, monkeypatch: pytest.MonkeyPatch, layout: tuple[int, int, int, tuple[int, int]]
) -> None:
    height, width, tile, grid = layout
    pixels = photo[:height, :width]
    whole = intaglio.encode(pixels, QUALITY)
    _cut(monkeypatch, tile)
    data = intaglio.encode(pixels, QUALITY)
    assert _header(data).tile == tile
    assert intaglio.info(data).tiles == math.prod(grid)
    assert intaglio.encode(pixels, QUALITY) == data
    decoded = intaglio.decode(data)
    assert decoded.shape == pixels.shape
    # The tiles know less of each other when they are coded, which may cost bits but not the picture.
    assert _error(pixels, decoded) < 1.05 * _error(pixels, intaglio.decode(whole))
    grey = intaglio.encode(pixels[..., 0], QUALITY)
    assert intaglio.decode(grey).shape == pixels.shape[:2]


def _error(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.mean(np.square(a.astype(np.float64) - b)))


def _same_pixels(a: np.ndarray, b: np.ndarray) -> None:
    difference = np.abs(a.astype(int) - b)
    assert difference.max() <= 1
    assert np.count_nonzero(difference) <= 0.001 * difference.size


@pytest.mark.parametrize("tile", [1, 2, 3])
def test_synthesis_tile_by_tile_equals_synthesis_of_the_whole(
    picture: np.ndarray, monkeypatch: pytest.MonkeyPatch, tile: int
) -> None:
    _cut(monkeypatch, tile)
    data = intaglio.encode(picture, QUALITY)
    assert intaglio.info(data).tiles >= 6
    whole = intaglio.load_model().synthesis(codec.decode_latents(data), _header(data).rate)
    assert np.ptp(whole) > 100
    _same_pixels(intaglio.decode(data), whole[: picture.shape[0], : picture.shape[1]])


def test_analysis_tile_by_tile_equals_analysis_of_the_whole(
    picture: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[np.ndarray] = []

    def analysis(self: Model, x: Window, rate: int) -> np.ndarray:
        seen.append(honest(self, x, rate))
        return seen[-1]

    honest = Model.analysis
    monkeypatch.setattr(Model, "analysis", analysis)
    intaglio.encode(picture, QUALITY)
    _cut(monkeypatch, 3)
    data = intaglio.encode(picture, QUALITY)
    whole, *tiles = seen
    boxes = container.tile_grid(_header(data))
    assert len(tiles) == len(boxes) == 6
    for box, tile in zip(boxes, tiles, strict=True):
        part = whole[:, :, box.y // 16 :, box.x // 16 :][:, :, : tile.shape[2], : tile.shape[3]]
        assert np.allclose(tile, part, rtol=1e-4, atol=1e-3), box


def test_the_halo_reaches_as_far_as_the_networks_look(photo: np.ndarray) -> None:
    model = intaglio.load_model()
    beyond, size = model.halo + 1, 16
    assert 0 < beyond < size
    y_hat = codec.decode_latents(intaglio.encode(photo, QUALITY))
    changed = y_hat.copy()
    changed[:, :, :, 0] += 50
    before, after = model.synthesis(y_hat, 100), model.synthesis(changed, 100)
    assert not np.array_equal(before, after)
    assert np.array_equal(before[:, 16 * beyond :], after[:, 16 * beyond :])
    negative = photo.copy()
    negative[:, :16] = 255 - negative[:, :16]
    first, second = (model.analysis(Window(pixels, (0, 0, size, size)), 100) for pixels in (photo, negative))
    assert not np.array_equal(first, second)
    assert np.array_equal(first[..., beyond:], second[..., beyond:])


def test_no_seam_shows(photos: list[np.ndarray], monkeypatch: pytest.MonkeyPatch) -> None:
    """On the mean of three photographs: of a single one the encoder may spend a few bits more here and fewer there."""
    _cut(monkeypatch, 2)
    tiles = [intaglio.encode(picture, QUALITY) for picture in photos]
    monkeypatch.undo()
    seams, steps = [], []
    for picture, data in zip(photos, tiles, strict=True):
        whole, tiled = intaglio.decode(intaglio.encode(picture, QUALITY)), intaglio.decode(data)
        seam = np.zeros(picture.shape[:2], bool)
        for at in range(128, picture.shape[0], 128):
            seam[at - BAND : at + BAND] = True
        for at in range(128, picture.shape[1], 128):
            seam[:, at - BAND : at + BAND] = True
        assert 0.2 < seam.mean() < 0.6
        seams.append(_error(picture[seam], tiled[seam]) / _error(picture[seam], whole[seam]))
        # A seam would be a step where the picture has none: between the two rows or columns that meet there.
        for axis, side in ((0, picture.shape[0]), (1, picture.shape[1])):
            at = np.arange(128, side, 128)
            ours, tile, one = (
                np.take(each, at, axis).astype(int) - np.take(each, at - 1, axis) for each in (picture, tiled, whole)
            )
            steps.append(_error(ours, tile) / _error(ours, one))
    assert np.mean(seams) < 1.03, seams
    assert np.mean(steps) < 1.1, steps


def test_tiles_are_coded_independently(picture: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    _cut(monkeypatch, 3)
    first = container.read(intaglio.encode(picture, QUALITY)).payloads
    changed = picture.copy()
    changed[-30:, -30:] = 255 - changed[-30:, -30:]
    second = container.read(intaglio.encode(changed, QUALITY)).payloads
    assert [a == b for a, b in zip(first, second, strict=True)] == [True] * 5 + [False]


def test_a_file_of_tiny_tiles_is_synthesised_in_as_few_parts_as_ours(
    picture: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes: list[tuple[int, ...]] = []

    def synthesis(self: Model, y_hat: np.ndarray, rate: int) -> np.ndarray:
        shapes.append(y_hat.shape[2:])
        return honest(self, y_hat, rate)

    honest = Model.synthesis
    with monkeypatch.context() as cut:
        _cut(cut, 1)
        data = intaglio.encode(picture, 1)
    assert intaglio.info(data).tiles == 54
    monkeypatch.setattr(Model, "synthesis", synthesis)
    assert intaglio.decode(data).shape == picture.shape
    assert shapes == [(24, 36)]  # a part for each tile would have cost ten times as many latents


def test_progress_counts_every_step_of_several_tiles_and_none_of_one(
    photo: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[int, int]] = []
    data = intaglio.encode(photo[:100, :70], 1, progress=lambda *step: calls.append(step))
    intaglio.decode(data, progress=lambda *step: calls.append(step))
    assert calls == []
    _cut(monkeypatch, 1)
    data = intaglio.encode(photo[:100, :70], 1, progress=lambda *step: calls.append(step))
    assert calls == [(done, 4) for done in range(5)]
    calls.clear()
    intaglio.decode(data, progress=lambda *step: calls.append(step))
    assert calls == [(done, 8) for done in range(9)]


@pytest.mark.slow
def test_a_picture_above_4_megapixels_goes_through_several_tiles(photo: np.ndarray) -> None:
    pixels = np.tile(photo, (9, 8, 1))[:2100, :2030]
    assert pixels.shape[0] * pixels.shape[1] > 2**22
    data = intaglio.encode(pixels, QUALITY)
    assert intaglio.info(data).tiles == 2
    decoded = intaglio.decode(data)
    assert decoded.shape == pixels.shape
    alone = _error(photo, intaglio.decode(intaglio.encode(photo, QUALITY)))
    assert _error(pixels, decoded) < 1.1 * alone
    seam = container.tile_grid(_header(data))[1].y
    assert seam % container.BLOCK == 0
    rows = slice(seam - BAND, seam + BAND)
    _same_pixels(decoded, _in_one_piece(data, pixels.shape[:2]))
    assert _error(pixels[rows], decoded[rows]) < 2 * alone


def _in_one_piece(data: bytes, shape: tuple[int, ...]) -> np.ndarray:
    return intaglio.load_model().synthesis(codec.decode_latents(data), _header(data).rate)[: shape[0], : shape[1]]


def test_padding_is_the_continued_edge(photo: np.ndarray) -> None:
    small = photo[:100, :90]
    data, padded = intaglio.encode(small, QUALITY), images.pad_to_multiple(small, 64)
    assert container.read(data).payloads == container.read(intaglio.encode(padded, QUALITY)).payloads
