"""The codecs are the ones they say they are, take any picture, and refuse in one line what they cannot do."""

from __future__ import annotations

import hashlib
import io
import pickle
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import AvifImagePlugin, Image, features

import intaglio
from intaglio import codecs, modelfile
from intaglio.bundle import read_model_file
from intaglio.codecs import Codec, Intaglio
from intaglio.compare import largest_within
from intaglio.errors import ArgumentError, ImageError, ModelError
from intaglio.metrics import psnr
from intaglio.record import package_version

PILLOW_FEATURES = {
    "jpeg": "jpg",
    "jpegopt": "jpg",
    "jpeg444": "jpg",
    "jpeg2000": "jpg_2000",
    "webp": "webp",
    "avif": "avif",
}
NAMES = [*PILLOW_FEATURES, "jpegxl"]
PROGRAMS = {"bpg", "hm", "vtm"}
SMALL = Path(__file__).parent / "golden" / "v1" / "small.itgm"


@pytest.fixture(params=NAMES)
def codec(request: pytest.FixtureRequest) -> Codec:
    found = codecs.available()
    if request.param not in found.codecs:
        pytest.skip(f"{request.param}: {found.missing[request.param]}")
    return found.codecs[request.param]


def test_every_codec_that_is_installed_is_available() -> None:
    found = codecs.available()
    assert {*found.codecs, *found.missing} == {*NAMES, *PROGRAMS}
    assert set(found.codecs) >= {name for name, feature in PILLOW_FEATURES.items() if features.check(feature)}
    assert ("jpegxl" in found.codecs) == (find_spec("pillow_jxl") is not None)


def test_absent_encoders_are_left_out_with_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    jpeg = codecs._CODECS[0]
    assert isinstance(jpeg, codecs.PillowCodec)
    broken = replace(jpeg, name="gone", kind="NO SUCH FORMAT")
    monkeypatch.setattr(codecs, "_CODECS", (jpeg, broken))
    found = codecs.available()
    assert set(found.codecs) - PROGRAMS == {"jpeg"}
    assert set(found.missing) - PROGRAMS == {"gone"}
    assert "Pillow" in found.missing["gone"]


def test_jpeg_is_what_pillow_writes_by_default(photo: np.ndarray) -> None:
    buffer = io.BytesIO()
    Image.fromarray(photo).save(buffer, format="JPEG", quality=37)
    assert codecs.available().codecs["jpeg"].encode(photo, 37) == buffer.getvalue()


def test_optimised_jpeg_is_the_same_picture_in_fewer_bytes(photo: np.ndarray) -> None:
    found = codecs.available().codecs
    plain, optimised = (found[name].encode(photo, 37) for name in ("jpeg", "jpegopt"))
    assert len(optimised) < len(plain)
    assert np.array_equal(found["jpegopt"].decode(optimised), found["jpeg"].decode(plain))


def test_colour_codecs_but_jpeg_keep_full_chroma_resolution(codec: Codec) -> None:
    """One-pixel columns of two colours of equal luma survive, unless chroma was halved."""
    columns = np.zeros((64, 64, 3), np.uint8)
    columns[:, 0::2], columns[:, 1::2] = (200, 80, 80), (93, 130, 111)
    decoded = codec.decode(codec.encode(columns, codec.qualities[-1])).astype(int)
    contrast = (decoded[:, 0::2, 0] - decoded[:, 1::2, 0]).mean()
    assert (contrast > 80) == (codec.name not in ("jpeg", "jpegopt", "webp")), contrast


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
    for damaged in (codec.encode(photo, codec.qualities[-1])[:200], b"no picture", b""):
        with pytest.raises(ImageError):
            codec.decode(damaged)
    with pytest.raises(ArgumentError):
        codec.encode(photo.astype(np.float32), codec.qualities[-1])


def test_a_picture_too_wide_for_the_format_is_an_image_error() -> None:
    with pytest.raises(ImageError, match="70000x1"):
        codecs.available().codecs["jpeg"].encode(np.zeros((1, 70000, 3), np.uint8), 50)


def test_jpeg2000_steps_cover_its_range_finely(photo: np.ndarray) -> None:
    found = codecs.available()
    if "jpeg2000" not in found.codecs:
        pytest.skip(found.missing["jpeg2000"])
    codec = found.codecs["jpeg2000"]
    ratios = [codecs.jpeg2000_ratio(int(step)) for step in codec.qualities]
    assert ratios == sorted(ratios, reverse=True)
    assert (ratios[0], ratios[-1]) == pytest.approx((1000.0, 1.5))
    assert 8910 < len(largest_within(codec, photo, 9000).data) <= 9000


def test_the_usual_settings_are_ten_or_more_from_small_to_large(codec: Codec, photo: np.ndarray) -> None:
    sizes = [len(codec.encode(photo, quality)) for quality in codec.usual]
    assert len(sizes) >= 10
    assert sizes == sorted(sizes)
    assert sizes[-1] > 10 * sizes[0]
    assert set(codec.usual) <= set(codec.qualities)


def test_codecs_can_be_sent_to_another_process_and_say_what_they_are(codec: Codec) -> None:
    assert pickle.loads(pickle.dumps(codec)) == codec
    assert codec.label
    assert "Pillow" in codec.about


def test_avif_decodes_on_one_thread_and_leaves_pillow_as_it_was(
    monkeypatch: pytest.MonkeyPatch, photo: np.ndarray
) -> None:
    found = codecs.available()
    if "avif" not in found.codecs:
        pytest.skip(found.missing["avif"])
    threads: list[int] = []

    def watched() -> int:
        threads.append(AvifImagePlugin.DEFAULT_MAX_THREADS)
        return threads[-1]

    data = found.codecs["avif"].encode(photo, 50)
    monkeypatch.setattr(AvifImagePlugin, "_get_default_max_threads", watched)
    found.codecs["avif"].decode(data)
    assert threads == [1]
    assert AvifImagePlugin.DEFAULT_MAX_THREADS == 0


def test_a_missing_package_is_named_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_jxl", None)
    codecs._reason.cache_clear()
    try:
        with pytest.raises(ArgumentError, match=r"jpegxl cannot be used: .*pip install 'intaglio\[evaluate\]'"):
            codecs.choose(["jpegxl"])
        chosen = codecs.choose(models=[str(SMALL)])
        assert "jpegxl" not in chosen.codecs
        assert set(chosen.missing) == {"jpegxl"}  # programs are not missed unless they are asked for
    finally:
        codecs._reason.cache_clear()


def test_codecs_are_chosen_by_name_in_the_order_given() -> None:
    assert list(codecs.choose(["webp", "intaglio", "jpeg"], [str(SMALL)]).codecs) == ["webp", "intaglio", "jpeg"]
    everything = codecs.choose(models=[str(SMALL)])
    assert [*everything.codecs, *everything.missing] == ["intaglio", *NAMES]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["gif"], "no codec 'gif'; known are intaglio, jpeg"),
        (["jpeg", "jpeg"], "jpeg is named twice"),
        ([""], "no codec ''"),
    ],
)
def test_names_that_are_no_codecs_are_refused(names: list[str], said: str) -> None:
    with pytest.raises(ArgumentError, match=said):
        codecs.choose(names)


def test_several_models_are_told_apart_and_a_wrong_one_is_refused_before_work(tmp_path: Path) -> None:
    other = tmp_path / "other.itgm"
    other.write_bytes(SMALL.read_bytes())
    chosen = codecs.choose(["intaglio"], [str(SMALL), str(other)]).codecs
    assert {name: each.label for name, each in chosen.items()} == {
        "intaglio-small": "Intaglio (small)",
        "intaglio-other": "Intaglio (other)",
    }
    with pytest.raises(ArgumentError, match="named twice"):
        codecs.choose(["intaglio"], [str(SMALL), str(SMALL)])
    with pytest.raises(ModelError, match="no model"):
        codecs.choose(["intaglio"], [str(tmp_path / "none.itgm")])


def test_intaglio_gives_the_bytes_of_the_package_and_the_picture_back(photo: np.ndarray) -> None:
    ours = Intaglio(str(SMALL))
    data = ours.encode(photo, 30)
    assert data == intaglio.encode(photo, 30, model=str(SMALL))
    assert np.array_equal(ours.decode(data), intaglio.decode(data, model=str(SMALL)))
    assert (ours.qualities[0], ours.qualities[-1], len(ours.qualities)) == (1.0, 100.0, 199)
    assert len(ours.usual) >= 10
    assert read_model_file(str(SMALL)).model_id.hex() in ours.about


def test_two_model_files_of_one_id_have_different_texts(tmp_path: Path) -> None:
    """The id is that of the decoding half: another encoder makes other files."""
    file = read_model_file(str(SMALL))
    texts = []
    for name, config in (("one", file.config), ("two", {**file.config, "remark": "another"})):
        (tmp_path / name).mkdir()
        path = tmp_path / name / "small.itgm"
        path.write_bytes(modelfile.write(replace(file, config=config)))
        texts.append(Intaglio(str(path)).about)
        assert hashlib.sha256(path.read_bytes()).hexdigest()[:8] in texts[-1]
        assert f"Intaglio {package_version('intaglio')}" in texts[-1]
    assert texts[0] != texts[1]


def test_a_model_of_one_quality_has_one_setting(tmp_path: Path, photo: np.ndarray) -> None:
    file = read_model_file(str(SMALL))
    path = tmp_path / "single.itgm"
    path.write_bytes(modelfile.write(replace(file, config={**file.config, "rate": 98})))
    single = Intaglio(str(path))
    assert tuple(single.qualities) == tuple(single.usual) == (50.0,)
    assert single.decode(single.encode(photo, 50.0)).shape == photo.shape
    with pytest.raises(ArgumentError, match="its only one"):
        codecs.check_quality("intaglio", 51, single.qualities)


def test_the_allocation_adds_up_to_the_file(photo: np.ndarray) -> None:
    ours = Intaglio(str(SMALL))
    bits = ours.allocation(photo, 30).sum()
    assert bits == pytest.approx(8 * len(ours.encode(photo, 30)), rel=0.02, abs=8 * 40)
