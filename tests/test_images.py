"""A picture file comes in upright, in sRGB and whole, or with one line that says why not."""

from __future__ import annotations

import io
import os
import struct
import threading
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageFile

from intaglio import images
from intaglio.errors import ArgumentError, ImageError

# Three rows of four pixels, no two alike, so that a turned or mirrored picture cannot pass for it.
SCENE = np.arange(36, dtype=np.uint8).reshape(3, 4, 3) * 7


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png(rows: np.ndarray, depth: int, colour_type: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG from packed rows (height, bytes per row), with a width of one row's samples."""
    samples = {0: 1, 2: 3, 4: 2, 6: 4}[colour_type]
    width = rows.shape[1] * 8 // (depth * samples)
    header = struct.pack(">IIBBBBB", width, len(rows), depth, colour_type, 0, 0, 0)
    body = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    parts = [(b"IHDR", header), *chunks, (b"IDAT", body), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    )


def big_endian(values: list[int]) -> np.ndarray:
    return np.array([values], dtype=">u2").view(np.uint8)


def lab_profile() -> bytes:
    """A profile of CIELAB, which no RGB picture can have."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()


def linear_profile(space: bytes) -> bytes:
    """A minimal ICC profile, version 2.4, of the sRGB primaries or of grey, with linear samples."""
    curve = b"curv" + bytes(4) + struct.pack(">I", 0)
    points, curves = {b"wtpt": (0.9642, 1.0, 0.8249)}, [b"kTRC"]
    if space == b"RGB ":
        points |= {b"rXYZ": (0.4361, 0.2225, 0.0139), b"gXYZ": (0.3851, 0.7169, 0.0971)}
        points |= {b"bXYZ": (0.1431, 0.0606, 0.7141)}
        curves = [b"rTRC", b"gTRC", b"bTRC"]
    fixed = {name: struct.pack(">3i", *(round(v * 65536) for v in xyz)) for name, xyz in points.items()}
    tags = {name: b"XYZ " + bytes(4) + xyz for name, xyz in fixed.items()} | dict.fromkeys(curves, curve)
    tags[b"desc"] = b"desc" + bytes(4) + struct.pack(">I", 7) + b"linear\0" + bytes(79)
    table, body, start = struct.pack(">I", len(tags)), b"", 132 + 12 * len(tags)
    for name, data in tags.items():
        table += name + struct.pack(">II", start + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    head = bytes(4) + struct.pack(">I", 0x02400000) + b"mntr" + space + b"XYZ " + bytes(12) + b"acsp" + bytes(28)
    return struct.pack(">I", start + len(body)) + head + fixed[b"wtpt"] + bytes(48) + table + body


def test_plain_rgb_and_grey_come_in_unchanged_and_without_notice() -> None:
    for pixels in (SCENE, SCENE[..., 0]):
        picture = images.load(encoded(Image.fromarray(pixels)))
        assert np.array_equal(picture.pixels, pixels)
        assert picture.notices == ()


def test_paths_and_all_kinds_of_bytes_are_sources(tmp_path: Path) -> None:
    data = encoded(Image.fromarray(SCENE))
    path = tmp_path / "a picture.png"
    path.write_bytes(data)
    for source in (path, str(path), data, bytearray(data), memoryview(data)):
        assert np.array_equal(images.load(source).pixels, SCENE)
    with pytest.raises(ArgumentError, match="int"):
        images.load(5)  # type: ignore[arg-type]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_exif_orientation_is_applied(orientation: int, kind: str) -> None:
    stored = {
        1: SCENE,
        2: SCENE[:, ::-1],
        3: SCENE[::-1, ::-1],
        4: SCENE[::-1],
        5: SCENE.swapaxes(0, 1),
        6: np.rot90(SCENE),
        7: SCENE[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90(SCENE, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = images.load(encoded(Image.fromarray(np.ascontiguousarray(stored)), kind, exif=exif))
    assert np.array_equal(picture.pixels, SCENE)
    assert picture.pixels.flags.c_contiguous


def test_unreadable_exif_is_ignored_and_orientation_out_of_range_too() -> None:
    exif = Image.Exif()
    exif[0x0112] = 77
    for blob in (exif.tobytes(), b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0rubbish"):
        assert np.array_equal(images.load(encoded(Image.fromarray(SCENE), exif=blob)).pixels, SCENE)


def test_an_srgb_profile_changes_nothing_and_says_nothing() -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for pixels in (SCENE, SCENE[..., 0]):
        picture = images.load(encoded(Image.fromarray(pixels), icc_profile=srgb))
        assert np.array_equal(picture.pixels, pixels)
        assert picture.notices == ()


@pytest.mark.parametrize("pixels", [SCENE, SCENE[..., 0]], ids=["rgb", "grey"])
def test_other_profiles_are_converted_to_srgb_with_a_notice(pixels: np.ndarray) -> None:
    light = pixels / 255.0  # IEC 61966-2-1, 5.2
    expected = 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    profile = linear_profile(b"RGB " if pixels.ndim == 3 else b"GRAY")
    alpha = np.full((3, 4, 1), 255, np.uint8)
    for kind, array in (("PNG", pixels), ("TIFF", pixels), ("PNG", np.dstack([pixels, alpha]))):
        picture = images.load(encoded(Image.fromarray(array), kind, icc_profile=profile))
        assert picture.pixels.shape == pixels.shape
        assert np.abs(picture.pixels - expected).max() <= 1.5
        assert picture.notices[0] == "colours converted from the profile 'linear' to sRGB"


def test_a_grey_picture_with_a_colour_profile_stays_grey() -> None:
    grey = images.load(encoded(Image.fromarray(SCENE[..., 0]), icc_profile=linear_profile(b"GRAY")))
    colour = images.load(encoded(Image.fromarray(SCENE[..., 0]), "TIFF", icc_profile=linear_profile(b"RGB ")))
    assert np.abs(grey.pixels.astype(int) - colour.pixels).max() <= 1


@pytest.mark.parametrize("profile", [b"not a profile", b"\0" * 200, lab_profile()])
@pytest.mark.parametrize("pixels", [SCENE, SCENE[..., 0]], ids=["rgb", "grey"])
def test_an_unusable_profile_is_ignored_with_a_notice(profile: bytes, pixels: np.ndarray) -> None:
    picture = images.load(encoded(Image.fromarray(pixels), icc_profile=profile))
    assert np.array_equal(picture.pixels, pixels)
    assert len(picture.notices) == 1
    assert "ignored" in picture.notices[0]


def test_lab_is_converted_to_srgb() -> None:
    srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    image = ImageCms.profileToProfile(Image.fromarray(SCENE), srgb, lab, outputMode="LAB")
    assert image is not None
    for picture in (images.from_image(image), images.load(encoded(image, "TIFF"))):
        assert np.abs(picture.pixels.astype(int) - SCENE).max() <= 12
        assert picture.notices == ("CIELAB converted to sRGB",)


def test_cmyk_without_profile_is_approximate_and_says_so() -> None:
    cmyk = Image.fromarray(SCENE).convert("CMYK")
    for picture in (images.from_image(cmyk), images.load(encoded(cmyk, "TIFF"))):
        assert np.array_equal(picture.pixels, SCENE)
        assert "approximate" in picture.notices[0]


def test_sixteen_bit_grey_is_scaled_and_rounded() -> None:
    values = [0, 128, 129, 257, 32767, 32768, 65406, 65407, 65535]
    expected = [(value * 2 + 257) // 514 for value in values]
    data = png(big_endian(values), 16, 0)
    tiff = encoded(Image.fromarray(np.array([values], np.uint16)), "TIFF")
    pgm = b"P5 9 1 65535\n" + big_endian(values).tobytes()
    for source in (data, tiff, pgm):
        picture = images.load(source)
        assert picture.pixels.tolist() == [expected]
        assert picture.notices == ("16-bit grey scaled to 8 bits",)
    assert images.from_image(Image.fromarray(np.array([values], np.uint16))).pixels.tolist() == [expected]


def test_sixteen_bit_tiff_whose_white_is_zero_is_not_a_negative() -> None:
    image = Image.fromarray(np.array([[0, 65535]], np.uint16))
    picture = images.load(encoded(image, "TIFF", tiffinfo={262: 0}))
    assert picture.pixels.tolist() == [[255, 0]]


def test_sixteen_bit_colour_keeps_the_upper_byte_and_says_so() -> None:
    picture = images.load(png(big_endian([0x1234, 0x80FF, 0xFFFF]), 16, 2))
    assert picture.pixels.tolist() == [[[0x12, 0x80, 0xFF]]]
    assert "16 bits per sample" in picture.notices[0]


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_few_bits_of_grey_are_spread_over_the_whole_range(depth: int) -> None:
    picture = images.load(png(np.array([[0b00011011]], np.uint8), depth, 0))
    levels = 2**depth - 1
    samples = [0b00011011 >> shift & levels for shift in range(8 - depth, -1, -depth)]
    assert picture.pixels.tolist() == [[sample * 255 // levels for sample in samples]]


@pytest.mark.parametrize(
    ("rows", "depth", "colour_type", "key", "expected"),
    [
        (np.array([[0b00011011]], np.uint8), 2, 0, [1], [[0, 255, 170, 255]]),
        (np.array([[0b00010010]], np.uint8), 4, 0, [1], [[255, 34]]),
        (np.array([[0b01000000]], np.uint8), 1, 0, [0], [[255] * 8]),
        (np.array([[7, 9]], np.uint8), 8, 0, [9], [[7, 255]]),
        (big_endian([7 * 257, 9 * 257]), 16, 0, [9 * 257], [[7, 255]]),
        (np.array([[1, 2, 3, 4, 5, 6]], np.uint8), 8, 2, [4, 5, 6], [[[1, 2, 3], [255] * 3]]),
        (big_endian([257, 514, 771, 4, 5, 6]), 16, 2, [257, 514, 771], [[[255] * 3, [0, 0, 0]]]),
    ],
)
def test_the_transparent_colour_of_a_png_becomes_white(
    rows: np.ndarray, depth: int, colour_type: int, key: list[int], expected: list[object]
) -> None:
    picture = images.load(png(rows, depth, colour_type, (b"tRNS", big_endian(key).tobytes())))
    assert picture.pixels.tolist() == expected
    assert picture.notices[-1] == "transparency laid over white"


def test_transparency_is_laid_over_white_and_opaque_alpha_dropped() -> None:
    alpha = np.full((3, 4), 255, np.uint8)
    opaque = np.dstack([SCENE, alpha])
    picture = images.load(encoded(Image.fromarray(opaque)))
    assert np.array_equal(picture.pixels, SCENE)
    assert picture.notices == ("alpha channel dropped (it is opaque everywhere)",)
    alpha[0] = [0, 1, 128, 254]
    for pixels in (SCENE, SCENE[..., :1]):
        picture = images.load(encoded(Image.fromarray(np.dstack([pixels, alpha]))))
        cover = alpha.astype(float)[..., None] / 255
        expected = np.rint(pixels * cover + 255 * (1 - cover)).astype(int)
        assert np.abs(picture.pixels.reshape(expected.shape) - expected).max() == 0
        assert picture.notices == ("transparency laid over white",)


@pytest.mark.parametrize("mode", ["1", "P", "PA", "RGBX", "YCbCr", "HSV", "RGBa", "La", "CMYK", "I;16"])
def test_every_other_mode_is_converted(mode: str) -> None:
    image = Image.fromarray(SCENE)
    if mode in ("P", "PA"):
        image = image.quantize(64).convert(mode)
    else:
        via = {"RGBa": "RGBA", "La": "LA", "I;16": "L"}.get(mode)
        image = (image.convert(via) if via else image).convert(mode)
    grey = mode in ("1", "La", "I;16")
    picture = images.from_image(image)
    assert picture.pixels.shape == ((3, 4) if grey else (3, 4, 3))
    if mode not in ("1", "I;16"):
        expected = np.asarray(Image.fromarray(SCENE).convert("L" if grey else "RGB")).astype(int)
        assert np.abs(picture.pixels - expected).max() <= 8
    assert bool(picture.notices) == (mode != "RGBX")


@pytest.mark.parametrize("mode", ["F", "I"])
def test_samples_without_a_known_white_are_refused(mode: str) -> None:
    image = Image.new(mode, (3, 2))
    for action in (lambda: images.from_image(image), lambda: images.load(encoded(image, "TIFF"))):
        with pytest.raises(ImageError, match=f"mode {mode}"):
            action()


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_the_first_of_several_pictures_is_used(kind: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue", "green")]
    options = {"lossless": True} if kind == "WEBP" else {}
    picture = images.load(encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options))
    assert (picture.pixels == (255, 0, 0)).all()
    assert picture.notices[0] == "holds 3 pictures; only the first is used"


def test_arrays_pass_through_and_wrong_ones_are_refused() -> None:
    assert images.from_image(SCENE).pixels is SCENE
    wrong = [SCENE.astype(float), SCENE[..., :2], SCENE[None], SCENE[:0], np.dstack([SCENE, SCENE[..., 0]])]
    for array in wrong:
        with pytest.raises(ArgumentError) as caught:
            images.from_image(array)
        assert str(array.dtype) in str(caught.value)
        assert str(array.shape) in str(caught.value)
    with pytest.raises(ArgumentError, match="list"):
        images.from_image([[0]])  # type: ignore[arg-type]
    with pytest.raises(ImageError, match="empty"):
        images.from_image(Image.new("RGB", (0, 4)))


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (None, "no such file"),
        (b"", "empty"),
        (b"text\n" * 9, "not a picture"),
        (encoded(Image.fromarray(SCENE))[:-30], "damaged"),
        (encoded(Image.new("RGB", (300, 300)), "JPEG")[:-200], "damaged"),
        (
            encoded(Image.new("RGB", (64, 64), "red"), "TIFF", compression="tiff_adobe_deflate")[:90],
            "damaged|not a",
        ),
        (png(np.zeros((0, 3), np.uint8), 8, 2), "not a picture|damaged|empty"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a picture"),
    ],
)
def test_unusable_files_are_one_line_that_names_the_file(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], content: bytes | None, what: str
) -> None:
    path = tmp_path / "holiday.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ImageError, match=what) as caught:
        images.load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("compression", ["tiff_adobe_deflate", "tiff_lzw", "jpeg"])
def test_damaged_tiffs_keep_the_c_library_off_stderr(
    capfd: pytest.CaptureFixture[str], compression: str, photo: np.ndarray
) -> None:
    data = bytearray(encoded(Image.fromarray(photo), "TIFF", compression=compression))
    for position in range(8, 3000, 10):
        data[position] ^= 0x5A
    with pytest.raises(ImageError):
        images.load(data)
    assert capfd.readouterr() == ("", "")
    os.write(2, b"still there")
    assert capfd.readouterr().err == "still there"


def test_folders_and_odd_names_are_image_errors(tmp_path: Path) -> None:
    for source in (tmp_path, "nul\0.png", tmp_path / "two\nlines.png"):
        with pytest.raises(ImageError) as caught:
            images.load(source)
        assert "\n" not in str(caught.value)


def test_every_flipped_byte_of_a_png_is_noticed_or_harmless() -> None:
    data = encoded(Image.fromarray(SCENE))
    for position in range(8, len(data) - 12):
        flipped = bytearray(data)
        flipped[position] ^= 0x10
        try:
            assert np.array_equal(images.load(flipped).pixels, SCENE), f"byte {position}"
        except ImageError:
            continue


def test_bombs_are_refused_before_they_are_decoded_and_the_limit_is_ours() -> None:
    header = struct.pack(">IIBBBBB", 50000, 50000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    data = encoded(Image.fromarray(SCENE))
    with pytest.raises(ImageError, match="limit"):
        images.load(data[:8] + chunk + data[33:])
    assert images.load(data, max_pixels=12).pixels.shape == SCENE.shape
    for limit in (11, 5, 0):
        with pytest.raises(ImageError, match=str(limit)):
            images.load(data, max_pixels=limit)


def test_pillows_settings_are_respected_and_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4)
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    data = encoded(Image.fromarray(SCENE))
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        filters = list(warnings.filters)
        images.load(data)
        with pytest.raises(ImageError):
            images.load(encoded(Image.new("RGB", (99, 99)), "JPEG")[:-99])
        assert warnings.filters == filters
    assert seen == []
    assert (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES) == (4, True)


def test_many_threads_may_load() -> None:
    data, results = encoded(Image.fromarray(SCENE)), []
    limit = Image.MAX_IMAGE_PIXELS
    threads = [threading.Thread(target=lambda: results.append(images.load(data).pixels)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 8
    assert all(np.array_equal(pixels, SCENE) for pixels in results)
    assert limit == Image.MAX_IMAGE_PIXELS
