"""The classical codecs are the ones they say they are, and the search finds the file of a given size."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace

import numpy as np
import pytest
from PIL import Image, features

from intaglio import baselines
from intaglio.baselines import Codec, closest_to_bytes
from intaglio.errors import ArgumentError, ImageError
from intaglio.metrics import psnr

NAMES = ["jpeg", "jpeg444", "jpeg2000", "webp", "avif"]
PILLOW_FEATURES = {"jpeg": "jpg", "jpeg444": "jpg", "jpeg2000": "jpg_2000", "webp": "webp", "avif": "avif"}


@pytest.fixture(params=NAMES)
def codec(request: pytest.FixtureRequest) -> Codec:
    found = baselines.available()
    if request.param not in found.codecs:
        pytest.skip(f"{request.param}: {found.missing[request.param]}")
    return found.codecs[request.param]


def test_every_codec_that_pillow_has_is_available() -> None:
    found = baselines.available()
    assert set(found.codecs) | set(found.missing) == set(NAMES)
    assert set(found.codecs) == {name for name in NAMES if features.check(PILLOW_FEATURES[name])}


def test_absent_encoders_are_left_out_with_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = replace(baselines._CODECS[0], name="gone", kind="NO SUCH FORMAT")
    monkeypatch.setattr(baselines, "_CODECS", (baselines._CODECS[0], broken))
    found = baselines.available()
    assert set(found.codecs) == {"jpeg"}
    assert set(found.missing) == {"gone"}
    assert "Pillow" in found.missing["gone"]


def test_jpeg_is_what_pillow_writes_by_default(photo: np.ndarray) -> None:
    buffer = io.BytesIO()
    Image.fromarray(photo).save(buffer, format="JPEG", quality=37)
    assert baselines.available().codecs["jpeg"].encode(photo, 37) == buffer.getvalue()


def test_colour_codecs_but_jpeg_keep_full_chroma_resolution(codec: Codec) -> None:
    """One-pixel columns of two colours of equal luma survive, unless chroma was halved."""
    columns = np.zeros((64, 64, 3), np.uint8)
    columns[:, 0::2], columns[:, 1::2] = (200, 80, 80), (93, 130, 111)
    decoded = codec.decode(codec.encode(columns, codec.qualities[-1])).astype(int)
    contrast = (decoded[:, 0::2, 0] - decoded[:, 1::2, 0]).mean()
    assert (contrast > 80) == (codec.name not in ("jpeg", "webp")), contrast


def test_codecs_give_back_nearly_the_picture(codec: Codec, photo: np.ndarray) -> None:
    worst, best = codec.qualities[0], codec.qualities[-1]
    small, large = codec.encode(photo, worst), codec.encode(photo, best)
    assert len(small) < len(large) / 10
    assert psnr(photo, codec.decode(large)) > max(34.0, psnr(photo, codec.decode(small)) + 5)
    assert codec.encode(photo, worst) == small


@pytest.mark.parametrize("shape", [(1, 1, 3), (3, 7, 3), (1, 300, 3), (70, 5, 3), (9, 9)])
def test_codecs_take_any_size_and_grey(codec: Codec, shape: tuple[int, ...]) -> None:
    picture = np.full(shape, 130, np.uint8)
    decoded = codec.decode(codec.encode(picture, codec.qualities[-20]))
    assert decoded.shape[:2] == shape[:2]
    assert np.abs(decoded.astype(int) - 130).max() <= 6


def test_qualities_outside_the_range_are_refused(codec: Codec, photo: np.ndarray) -> None:
    for quality in (codec.qualities[0] - 1, codec.qualities[-1] + 1):
        with pytest.raises(ArgumentError, match=codec.name):
            codec.encode(photo, quality)


def test_damaged_files_and_impossible_pictures_are_image_errors(codec: Codec, photo: np.ndarray) -> None:
    with pytest.raises(ImageError):
        codec.decode(codec.encode(photo, codec.qualities[-1])[:200])
    with pytest.raises(ArgumentError):
        codec.encode(photo.astype(np.float32), codec.qualities[-1])


def test_a_picture_too_wide_for_the_format_is_an_image_error() -> None:
    with pytest.raises(ImageError, match="70000x1"):
        baselines.available().codecs["jpeg"].encode(np.zeros((1, 70000, 3), np.uint8), 50)


def test_jpeg2000_steps_cover_its_range_finely(photo: np.ndarray) -> None:
    found = baselines.available()
    if "jpeg2000" not in found.codecs:
        pytest.skip(found.missing["jpeg2000"])
    codec = found.codecs["jpeg2000"]
    ratios = [baselines.jpeg2000_ratio(step) for step in codec.qualities]
    assert ratios == sorted(ratios, reverse=True)
    assert (ratios[0], ratios[-1]) == pytest.approx((1000.0, 1.5))
    match = closest_to_bytes(codec, photo, 9000)
    assert abs(len(match.data) - 9000) < 90


@dataclass(frozen=True)
class Stairs:
    """A codec whose file sizes are given."""

    sizes: tuple[int, ...]
    name: str = "stairs"

    @property
    def qualities(self) -> range:
        return range(10, 10 + len(self.sizes))

    def encode(self, pixels: np.ndarray, quality: int) -> bytes:
        return bytes(self.sizes[quality - 10])

    def decode(self, data: bytes) -> np.ndarray:
        raise NotImplementedError


@pytest.mark.parametrize(
    ("sizes", "target", "quality"),
    [
        ((10, 20, 30, 40, 50), 30, 12),
        ((10, 20, 30, 40, 50), 34, 12),
        ((10, 20, 30, 40, 50), 36, 13),
        ((10, 20, 30, 40, 50), 0, 10),
        ((10, 20, 30, 40, 50), 999, 14),
        ((10, 20, 30, 40, 50), 25, 11),  # a tie goes to the smaller file
        ((10, 20, 31, 29, 50), 29, 13),  # sizes do not rise strictly
        ((10, 20, 33, 30, 50), 31, 13),
        ((7,), 100, 10),
    ],
)
def test_the_search_finds_the_closest_file(sizes: tuple[int, ...], target: int, quality: int) -> None:
    match = closest_to_bytes(Stairs(sizes), np.zeros((1, 1, 3), np.uint8), target)
    assert (match.quality, len(match.data)) == (quality, sizes[quality - 10])


def test_the_search_beats_every_other_jpeg_quality(photo: np.ndarray) -> None:
    codec = baselines.available().codecs["jpeg"]
    sizes = {quality: len(codec.encode(photo, quality)) for quality in codec.qualities}
    for target in (2000, 7777, 20000):
        match = closest_to_bytes(codec, photo, target)
        assert abs(len(match.data) - target) == min(abs(size - target) for size in sizes.values())
        assert sizes[match.quality] == len(match.data)
