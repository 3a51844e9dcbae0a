"""Any picture survives the trip, the bytes are what was promised, and damaged or foreign ones are refused."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import intaglio
from intaglio import codec, container, images, modelfile
from intaglio.bundle import Model, Window, shipped_models
from intaglio.coders import Encode
from intaglio.container import Container
from intaglio.errors import ArgumentError, FormatError, ImageError, ModelError
from intaglio.metrics import psnr
from intaglio.modelfile import ModelFile
from intaglio.quality import quality_to_rate
from intaglio.traversal import latents

SHAPES: dict[str, Callable[[int], tuple[int, int]]] = {
    "columns": lambda n: (n, 1),
    "rows": lambda n: (1, n),
    "both": lambda n: (n, 71 - n),
}


def _smooth(height: int, width: int) -> np.ndarray:
    """A picture of slow waves, another one in each channel: uint8 (height, width, 3)."""
    y, x = np.mgrid[:height, :width] / 40.0
    waves = np.stack([np.sin(x + y), np.cos(x - y / 2), np.sin(y - x / 3)], axis=2)
    return (128 + 80 * waves).astype(np.uint8)


@pytest.fixture(scope="module")
def shipped() -> ModelFile:
    return modelfile.read(shipped_models()["photo"].read_bytes())


@pytest.fixture(scope="module")
def small() -> bytes:
    """The file of a picture of 5 x 3 pixels."""
    return intaglio.encode(_smooth(3, 5), 1)


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_every_size_from_1_to_70_comes_back(shape: Callable[[int], tuple[int, int]]) -> None:
    for n in range(1, 71):
        height, width = shape(n)
        picture = _smooth(height, width)
        data = intaglio.encode(picture, 90)
        decoded = intaglio.decode(data)
        assert decoded.dtype == np.uint8
        assert decoded.shape == (height, width, 3)
        assert psnr(picture, decoded) > 24, f"{width} x {height}"
        assert intaglio.encode(picture, 90) == data, f"{width} x {height}"
        assert np.array_equal(intaglio.decode(data), decoded), f"{width} x {height}"


def test_grey_comes_back_grey(photo: np.ndarray) -> None:
    grey = photo[:90, :70, 1]
    data = intaglio.encode(grey, 70)
    decoded = intaglio.decode(data)
    assert decoded.dtype == np.uint8
    assert decoded.shape == grey.shape
    assert psnr(grey, decoded) > 24
    assert intaglio.info(data).channels == 1


def test_pillow_images_and_arrays_give_the_same_bytes(photo: np.ndarray) -> None:
    for pixels in (photo[:64, :80], photo[:64, :80, 0]):
        assert intaglio.encode(Image.fromarray(pixels), 30) == intaglio.encode(pixels, 30)


def test_what_has_to_be_converted_is_said(photo: np.ndarray) -> None:
    half = Image.fromarray(np.dstack([photo[:40, :40], np.full((40, 40), 128, np.uint8)]))
    with pytest.warns(UserWarning, match=r"(?i)alpha|transparen"):
        data = intaglio.encode(half, 30)
    assert data == intaglio.encode(images.from_image(half).pixels, 30)


def test_arrays_that_are_not_contiguous_or_not_writable_are_fine(photo: np.ndarray) -> None:
    view = photo[::-2, 3:90:2]
    assert intaglio.encode(view, 40) == intaglio.encode(np.ascontiguousarray(view), 40)


def test_info_says_what_went_in(photo: np.ndarray) -> None:
    data = intaglio.encode(photo[:50, :60], 33.5)
    found = intaglio.info(data)
    assert (found.width, found.height, found.channels, found.depth) == (60, 50, 3, 8)
    assert (found.quality, found.model, found.tiles) == (33.5, "photo", 1)
    assert found.model_id == intaglio.load_model("photo").model_id.hex()
    assert found.size == len(data)
    assert found.bpp == 8 * len(data) / 3000


@pytest.mark.parametrize(
    "wrong", [0, 101, 0.99, -5, float("nan"), float("inf"), 10**400, np.float32("nan"), np.True_, "x", True, [50]]
)
def test_a_wrong_quality_is_refused(wrong: Any) -> None:
    for call in (intaglio.encode, codec.estimate):
        with pytest.raises(ArgumentError, match="quality"):
            call(_smooth(4, 4), wrong)


@pytest.mark.parametrize("number", [np.float32(30), np.float16(30), np.int64(30), np.uint8(30), Fraction(30)])
def test_quality_is_a_number_of_any_type(number: Any) -> None:
    assert quality_to_rate(number) == 58


def test_quality_is_continuous_and_goes_in_halves() -> None:
    picture = _smooth(20, 20)
    for asked, stored in ((1, 1), (100, 100), (37.5, 37.5), (37.74, 37.5), (37.75, 38)):
        assert intaglio.info(intaglio.encode(picture, asked)).quality == stored


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((4, 4, 3)),
        np.zeros((4, 4, 3), np.int8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 1), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((4, 0), np.uint8),
        np.zeros(4, np.uint8),
        np.zeros((1, 4, 4, 3), np.uint8),
        [[1, 2], [3, 4]],
        "picture.png",
        None,
    ],
    ids=lambda wrong: f"{wrong.dtype}{wrong.shape}" if isinstance(wrong, np.ndarray) else repr(wrong),
)
def test_wrong_pictures_are_refused(wrong: Any) -> None:
    for call in (intaglio.encode, codec.estimate):
        with pytest.raises(ArgumentError, match="picture"):
            call(wrong)


def test_pillow_images_without_a_meaning_are_refused() -> None:
    with pytest.raises(ImageError):
        intaglio.encode(Image.new("F", (4, 4)))


@pytest.mark.parametrize("wrong", ["text", None, 5, [1, 2]])
def test_what_is_no_bytes_is_refused(wrong: Any) -> None:
    for call in (intaglio.decode, intaglio.info, codec.decode_latents):
        with pytest.raises(ArgumentError, match="bytes"):
            call(wrong)


@pytest.mark.parametrize("wrong", [0, -1, True, 1.5, "2"])
def test_wrong_threads_are_refused(small: bytes, wrong: Any) -> None:
    with pytest.raises(ArgumentError, match="threads"):
        intaglio.encode(_smooth(4, 4), threads=wrong)
    with pytest.raises(ArgumentError, match="threads"):
        intaglio.decode(small, threads=wrong)


def test_the_file_grows_with_quality(photo: np.ndarray) -> None:
    sizes = [len(intaglio.encode(photo, quality)) for quality in (1, 25, 50, 75, 100)]
    assert sizes == sorted(sizes), sizes
    assert sizes[0] < sizes[-1]


@pytest.mark.parametrize("quality", [1, 50, 75, 100])
@pytest.mark.parametrize("corner", [(0, 0), (96, 64), (192, 192)])
def test_a_small_picture_pays_less_than_twelve_bytes_for_the_coder(
    photo: np.ndarray, quality: float, corner: tuple[int, int]
) -> None:
    top, left = corner
    pixels = np.ascontiguousarray(photo[top : top + 64, left : left + 64])
    (payload,) = container.read(intaglio.encode(pixels, quality)).payloads
    assert len(payload) - codec.estimate(pixels, quality) / 8 < 12


@pytest.mark.parametrize("quality", [1, 25, 50, 75, 100])
def test_the_payload_is_what_the_tables_charge(photo: np.ndarray, quality: float) -> None:
    (payload,) = container.read(intaglio.encode(photo, quality)).payloads
    lanes = 1 << (payload[0] & 7)
    flush = 40 if lanes == 1 else 68 + 6 * lanes  # what the coder promises
    bits = codec.estimate(photo, quality)
    assert bits > 1000
    assert abs(8 * len(payload) - bits) <= 0.001 * bits + flush


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 2])
def test_another_process_decodes_the_very_latents_of_the_encoder(
    tmp_path: Path, photo: np.ndarray, threads: int
) -> None:
    picture, quality = photo[:200, :230], 60
    path, found = tmp_path / "picture.itg", tmp_path / "latents.npy"
    path.write_bytes(intaglio.encode(picture, quality))
    model = intaglio.load_model()
    window = Window(images.pad_to_multiple(picture, 64), (0, 0, 16, 16))
    expected = latents(model, window, quality_to_rate(quality), Encode(model.layout, model.tables, model.quantiser))
    code = (
        "import sys, numpy; from pathlib import Path; from intaglio import codec\n"
        f"y_hat = codec.decode_latents(Path(sys.argv[1]).read_bytes(), threads={threads})\n"
        "numpy.save(sys.argv[2], y_hat)"
    )
    subprocess.run([sys.executable, "-c", code, str(path), str(found)], check=True, timeout=120)
    decoded = np.load(found)
    assert decoded.dtype == np.float32
    assert np.array_equal(decoded, expected)
    assert np.abs(expected).max() > 1


def _no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise AssertionError("a damaged file set the expensive parts to work")

    for name in ("load_model", "model_for", "shipped_models", "latents"):
        monkeypatch.setattr(codec, name, fail)


def test_every_prefix_is_refused_before_any_work(small: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    _no_work(monkeypatch)
    for length in range(len(small)):
        for call in (intaglio.decode, intaglio.info):
            with pytest.raises(FormatError):
                call(small[:length])


def test_every_flipped_bit_is_refused_before_any_work(small: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    _no_work(monkeypatch)
    for bit in range(8 * len(small)):
        damaged = bytearray(small)
        damaged[bit // 8] ^= 1 << bit % 8
        for call in (intaglio.decode, intaglio.info):
            with pytest.raises(FormatError):
                call(bytes(damaged))


@pytest.mark.slow
def test_forged_payloads_end_in_an_error_or_a_picture(small: bytes, rng: np.random.Generator, seed: int) -> None:
    honest, refused = container.read(small), 0
    for _ in range(60):
        payload = bytearray(honest.payloads[0])
        payload[int(rng.integers(len(payload)))] ^= int(rng.integers(1, 256))
        forged = container.write(Container(honest.header, (bytes(payload[: int(rng.integers(1, 2 * len(payload)))]),)))
        try:
            decoded = intaglio.decode(forged)
        except (FormatError, ModelError):
            refused += 1
        else:
            assert decoded.shape == (3, 5, 3), f"seed {seed}"
    assert refused > 30, f"seed {seed}"


def test_more_pixels_than_allowed_are_refused(small: bytes) -> None:
    with pytest.raises(FormatError, match="max_pixels"):
        intaglio.decode(small, max_pixels=64 * 64 - 1)
    assert intaglio.decode(small, max_pixels=64 * 64).shape == (3, 5, 3)
    coded = container.read(small)
    huge = replace(coded.header, width=2**16, height=2**16, tile=64)
    many = container.write(replace(coded, header=huge, payloads=coded.payloads * 2**8))
    with pytest.raises(FormatError, match="max_pixels"):
        intaglio.decode(many)
    assert intaglio.info(many).width == 2**16  # no limit for looking at it


def test_pictures_that_no_reader_would_take_are_not_written() -> None:
    with pytest.raises(ImageError, match="at most"):
        intaglio.encode(np.zeros((1, 2**22 + 1), np.uint8))


def test_a_model_that_is_not_installed_is_named(small: bytes) -> None:
    coded = container.read(small)
    foreign = container.write(replace(coded, header=replace(coded.header, model_id=bytes.fromhex("0a1b2c3d"))))
    for call in (intaglio.decode, codec.decode_latents):
        with pytest.raises(ModelError, match="needs model 0a1b2c3d"):
            call(foreign)
    found = intaglio.info(foreign)
    assert (found.model_id, found.model) == ("0a1b2c3d", None)


def test_a_wrong_model_is_refused_and_the_right_one_named(small: bytes, shipped: ModelFile, tmp_path: Path) -> None:
    other = replace(shipped, name="other", config={**shipped.config, "note": 1})
    path = tmp_path / "other.itgm"
    path.write_bytes(modelfile.write(other))
    for model in (path, str(path), Model(other)):
        for call in (intaglio.decode, codec.decode_latents):
            with pytest.raises(ModelError, match=shipped.model_id.hex()):
                call(small, model=model)
    theirs = intaglio.encode(_smooth(3, 5), 1, model=path)
    assert intaglio.info(theirs).model_id == other.model_id.hex() != shipped.model_id.hex()
    with pytest.raises(ModelError, match=other.model_id.hex()):
        intaglio.decode(theirs)
    assert np.array_equal(intaglio.decode(theirs, model=path), intaglio.decode(small))


def test_another_encoder_keeps_the_identity_and_decoding_never_loads_it(small: bytes, shipped: ModelFile) -> None:
    graphs = {**shipped.graphs, "analysis": b"no graph at all", "hyper_analysis": b""}
    better = replace(shipped, graphs=graphs, record={"steps": 1})
    assert better.model_id == shipped.model_id
    assert np.array_equal(intaglio.decode(small, model=Model(better)), intaglio.decode(small))
    with pytest.raises(ModelError):
        intaglio.encode(_smooth(3, 5), 1, model=Model(better))


@pytest.mark.parametrize("wrong", ["no-such-model", "", "/", "a\0b"])
def test_an_unknown_model_is_refused_and_the_shipped_ones_listed(small: bytes, wrong: str) -> None:
    for call in (lambda: intaglio.load_model(wrong), lambda: intaglio.decode(small, model=wrong)):
        with pytest.raises(ModelError, match="photo"):
            call()


@pytest.mark.parametrize("wrong", [5, b"photo", ["photo"]])
def test_what_names_no_model_is_refused(wrong: Any) -> None:
    with pytest.raises(ArgumentError, match="model"):
        intaglio.encode(_smooth(4, 4), model=wrong)


def test_the_package_offers_what_it_lists() -> None:
    for name in intaglio.__all__:
        assert getattr(intaglio, name) is not None
    with pytest.raises(AttributeError, match="no_such"):
        intaglio.no_such  # noqa: B018
