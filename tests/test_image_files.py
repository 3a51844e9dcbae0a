"""Pictures are padded, and written whole or not at all; awkward files come in right or are refused."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from intaglio import images
from intaglio.errors import ArgumentError, ImageError
from intaglio.metrics import psnr

PIXELS = np.random.default_rng(5).integers(0, 256, (9, 14, 3), np.uint8)


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif", ".TIFF", ".bmp", ".ppm"])
@pytest.mark.parametrize("pixels", [PIXELS, PIXELS[..., 1]], ids=["rgb", "grey"])
def test_lossless_files_give_the_same_pixels_back(tmp_path: Path, suffix: str, pixels: np.ndarray) -> None:
    path = tmp_path / f"picture{suffix}"
    images.save(path, pixels)
    assert np.array_equal(images.to_rgb(images.load(path).pixels), images.to_rgb(pixels))
    assert os.listdir(tmp_path) == [path.name]


def test_jpeg_is_close_and_keeps_chroma(tmp_path: Path, photo: np.ndarray) -> None:
    images.save(tmp_path / "a.jpg", photo)
    assert psnr(photo, images.load(tmp_path / "a.jpg").pixels) > 38


@pytest.mark.parametrize("name", ["picture", "picture.xyz", "picture.itg", ".png"])
def test_other_extensions_are_refused_and_some_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(ArgumentError, match=r"\.png.*\.webp"):
        images.save(tmp_path / name, PIXELS)
    assert os.listdir(tmp_path) == []


def test_pictures_a_format_cannot_hold_are_refused_and_the_file_left(tmp_path: Path) -> None:
    path = tmp_path / "wide.webp"
    path.write_bytes(b"old")
    with pytest.raises(ArgumentError, match="20000x1"):
        images.save(path, np.zeros((1, 20000, 3), np.uint8))
    with pytest.raises(ArgumentError, match="float64"):
        images.save(path, np.zeros((4, 4, 3)))
    assert path.read_bytes() == b"old"


def test_atomic_write_replaces_and_keeps_permissions_and_links(tmp_path: Path) -> None:
    path, link = tmp_path / "data.bin", tmp_path / "link.bin"
    images.atomic_write(path, b"one")
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask
    path.chmod(0o640)
    link.symlink_to(path)
    images.atomic_write(link, b"two")
    assert link.is_symlink()
    assert path.read_bytes() == b"two"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


@pytest.mark.parametrize("broken", ["replace", "fsync"])
def test_a_failed_write_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    path = tmp_path / "data.bin"
    path.write_bytes(b"old")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, broken, fail)
    with pytest.raises(ArgumentError, match="No space left") as caught:
        images.atomic_write(path, b"new")
    assert str(caught.value).startswith(f"{path}: ")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["data.bin"]


def test_an_interrupted_write_leaves_the_old_file_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "data.bin"
    path.write_bytes(b"old")

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        images.atomic_write(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["data.bin"]


def test_unusable_targets_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for path in (tmp_path, tmp_path / "missing" / "a.png", tmp_path / "file" / "a.png", tmp_path / "a\0.png"):
        with pytest.raises(ArgumentError) as caught:
            images.atomic_write(path, b"new")
        assert "\n" not in str(caught.value)
    assert os.listdir(tmp_path) == ["file"]


def test_a_target_is_checked_without_touching_it(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    images.check_target(path, picture=True)
    images.check_target(tmp_path / "a.itg")
    with pytest.raises(ArgumentError, match=r"\.png"):
        images.check_target(tmp_path / "a.itg", picture=True)
    assert os.listdir(tmp_path) == []


def test_what_is_no_regular_file_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        images.atomic_write(pipe, b"through")
        assert os.read(reader, 99) == b"through"
    finally:
        os.close(reader)
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_to_rgb_repeats_grey_and_leaves_colour() -> None:
    assert images.to_rgb(PIXELS) is PIXELS
    assert np.array_equal(images.to_rgb(PIXELS[..., 0]), np.repeat(PIXELS[..., :1], 3, axis=2))


@pytest.mark.parametrize("multiple", [1, 2, 5, 16])
def test_padding_repeats_the_edge_below_and_at_the_right(multiple: int) -> None:
    padded = images.pad_to_multiple(PIXELS, multiple)
    height, width = padded.shape[:2]
    assert height % multiple == width % multiple == 0
    assert height - 9 < multiple
    assert width - 14 < multiple
    rows, columns = np.minimum(np.arange(height), 8), np.minimum(np.arange(width), 13)
    assert np.array_equal(padded, PIXELS[rows][:, columns])
    for array, wrong in ((PIXELS, 0), (PIXELS[0], 4), (PIXELS[:0], 4)):
        with pytest.raises(ArgumentError):
            images.pad_to_multiple(array, wrong)


@pytest.fixture(scope="module")
def hard() -> Path:
    """The folder of awkward files: hard/ in $INTAGLIO_DATA, or ../shared/data/hard beside the checkout."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("INTAGLIO_DATA") or beside) / "hard"
    if not folder.is_dir():
        pytest.skip(f"NOT TESTED: no awkward pictures in {folder}; set INTAGLIO_DATA to the data folder")
    return folder


def test_hard_files_give_a_picture_or_one_line(hard: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pictures, refused = 0, {}
    for path in sorted(path for path in hard.rglob("*") if path.is_file()):
        try:
            picture = images.load(path)
        except ImageError as error:
            refused[path] = str(error)
            continue
        pictures += 1
        assert picture.pixels.dtype == np.uint8
        assert picture.pixels.size > 0
        assert picture.pixels.ndim == 2 or picture.pixels.shape[2:] == (3,)
    assert capfd.readouterr() == ("", "")
    names = {path.name for path in hard.rglob("*.*")}
    broken = {name for name in names if name.startswith(("x", "trunc_", "README", "LICENSE"))}
    broken |= names & {
        "corrupt_scan.jpg",
        "empty.png",
        "garbage.png",
        "text.jpg",
        "zero_dim.png",
        "bad_crc.png",
    }
    broken |= names & {"bomb_header_50000x50000.png"}
    assert {path.name for path in refused if path.suffix} == broken
    for path, text in refused.items():
        assert text.startswith(f"{path}: ")
        assert "\n" not in text
    assert pictures > 100


def test_pngsuite_agrees_with_pillow_where_pillow_needs_no_help(hard: Path) -> None:
    compared = 0
    for path in sorted((hard / "pngsuite").glob("bas[in][026][cga]08.png")):
        with Image.open(path) as image:
            expected = Image.new("RGBA", image.size, "white")
            expected.alpha_composite(image.convert("RGBA"))
        difference = images.to_rgb(images.load(path).pixels).astype(int) - np.asarray(expected.convert("RGB"))
        assert np.abs(difference).max() <= 1, path.name
        compared += 1
    assert compared >= 5


def test_hard_orientations_show_the_same_picture(hard: Path) -> None:
    loaded = [images.load(hard / f"exif_orientation_{turn}.jpg").pixels for turn in (3, 5, 6, 8)]
    for pixels in loaded:
        assert pixels.shape == (800, 1200, 3)
        assert psnr(loaded[0], pixels) > 30


def test_hard_profiles_show_the_same_picture(hard: Path) -> None:
    names = ["icc_display_p3.jpg", "icc_adobergb.jpg", "icc_prophoto.jpg", "icc_swapped_rg.jpg"]
    loaded = [images.load(hard / name) for name in names]
    raw = [np.asarray(Image.open(hard / name)) for name in names]
    for picture, pixels in zip(loaded[1:], raw[1:], strict=True):
        converted, ignored = psnr(loaded[0].pixels, picture.pixels), psnr(raw[0], pixels)
        assert converted > 35, picture.notices
        assert converted > ignored + 5, picture.notices
        assert "converted from the profile" in picture.notices[0]
    reference = hard / "icc_reference_srgb.png"
    if reference.exists():
        assert psnr(loaded[0].pixels, images.load(reference).pixels) > 34
