"""Pictures given others: what is given counts, and what is wrong with it is told in one line."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch

import intaglio
from command_line import Run
from intaglio import codec, container, images, modelfile, verify, ycbcr
from intaglio import given as known
from intaglio.bundle import Model, Window
from intaglio.container import Container
from intaglio.errors import ArgumentError, FormatError, IntaglioError, ModelError
from intaglio.integer import GIVEN, Reference
from intaglio.modelfile import ModelFile
from intaglio.workshop import models
from intaglio.workshop.coders import Round
from intaglio.workshop.complexity import DECODING, macs_per_pixel
from intaglio.workshop.export import model_file
from intaglio.workshop.models.conditional import Conditional
from intaglio.workshop.models.reference import distorted
from small_models import RATE, TINY, pair_of, shake, tiny

pytestmark = pytest.mark.usefixtures("one_thread")
KINDS = {"colour": "luma", "reference": "picture"}


@pytest.fixture(scope="module", params=KINDS)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def file(name: str) -> ModelFile:
    return model_file(tiny(name, 1), name, {})


@pytest.fixture(scope="module")
def runnable(file: ModelFile) -> Model:
    return Model(modelfile.read(modelfile.write(file)), threads=1)


@pytest.fixture(scope="module")
def picture(photo: np.ndarray) -> np.ndarray:
    return photo[:100, :150]


@pytest.fixture(scope="module")
def given(name: str, picture: np.ndarray) -> np.ndarray:
    """Another version of the picture."""
    return ycbcr.luma(picture) if name == "colour" else 255 - picture


@pytest.fixture(scope="module")
def coded(picture: np.ndarray, given: np.ndarray, runnable: Model) -> bytes:
    return intaglio.encode(picture, 30, model=runnable, given=given)


def other(given: np.ndarray) -> np.ndarray:
    """One sample off by one."""
    changed = given.copy()
    changed.flat[1234] ^= 1
    return changed


def test_the_picture_comes_back_and_its_luma_is_the_given_one(
    name: str, picture: np.ndarray, given: np.ndarray, coded: bytes, runnable: Model
) -> None:
    decoded = intaglio.decode(coded, model=runnable, given=given)
    assert decoded.shape == picture.shape
    if name == "colour":
        inside = (decoded.min(2) > 0) & (decoded.max(2) < 255)  # where no channel was clipped
        assert inside.mean() > 0.5
        assert np.abs(ycbcr.luma(decoded).astype(int) - given)[inside].max() <= 1


def test_a_colour_picture_gives_its_luma(picture: np.ndarray) -> None:
    runnable = Model(model_file(tiny("colour", 1), "colour", {}), threads=1)
    wanted = intaglio.encode(picture, 30, model=runnable, given=ycbcr.luma(picture))
    assert intaglio.encode(picture, 30, model=runnable, given=picture) == wanted


def test_the_digest_is_that_of_the_format_document(name: str, given: np.ndarray, coded: bytes) -> None:
    planes = np.atleast_3d(given)
    assert planes.shape == (100, 150, known.KINDS[KINDS[name]])
    wanted = hashlib.sha256(struct.pack("<II", 150, 100) + planes.tobytes()).digest()[:4]
    assert container.read(coded).header.given == wanted
    assert intaglio.info(coded).given == wanted.hex()


def test_a_given_picture_costs_the_file_four_bytes(coded: bytes) -> None:
    whole = container.read(coded)
    without = container.write(Container(replace(whole.header, given=None), whole.payloads))
    assert len(coded) == len(without) + 4


def test_every_part_sees_what_is_given(name: str, picture: np.ndarray, runnable: Model) -> None:
    """Another given picture changes latents, side information and the decoded picture."""
    plain = np.full_like(ycbcr.luma(picture) if name == "colour" else picture, 90)
    seen = [known.planes(each, KINDS[name], (150, 100)) for each in (picture, plain)]
    side = np.zeros((1, TINY[name]["side"], 8, 12), np.float32)
    tiles = [images.pad_to_multiple(each, 64) for each in seen]
    window = Window(images.pad_to_multiple(picture, 64), (0, 0, 8, 12))
    first, second = (runnable.analysis(replace(window, given=each), RATE) for each in tiles)
    assert not np.array_equal(first, second)
    first, second = (runnable.given_side(side, each, RATE) for each in tiles)
    assert not np.array_equal(first, second)
    y = np.zeros((1, runnable.layout.channels, 8, 12), np.float32)
    shown, other_shown = (runnable.synthesis(y, RATE, each) for each in tiles)
    assert not np.array_equal(shown, other_shown)


def test_another_given_picture_is_refused_and_named(given: np.ndarray, coded: bytes, runnable: Model) -> None:
    wrong = other(given)
    found = known.digest(np.atleast_3d(wrong)).hex()
    with pytest.raises(ArgumentError, match=f"is {found}, the file asks for {intaglio.info(coded).given}"):
        intaglio.decode(coded, model=runnable, given=wrong)
    with pytest.raises(ArgumentError, match="not the one"):
        codec.decode_latents(coded, model=runnable, given=wrong)
    with pytest.raises(ArgumentError, match="not the one"):
        verify.verify(coded, runnable, given=wrong)


def test_forced_it_goes_on_with_a_warning(
    given: np.ndarray, picture: np.ndarray, coded: bytes, runnable: Model
) -> None:
    def decode() -> np.ndarray:
        try:
            return intaglio.decode(coded, model=runnable, given=intaglio.Given(other(given), force=True))
        except FormatError:  # the tables may be others now, and the rest of the stream then makes no sense
            return picture

    with pytest.warns(UserWarning, match="not the one"):
        decoded = decode()
    assert decoded.shape == picture.shape


@pytest.mark.parametrize("size", [(99, 150), (100, 151), (150, 100)])
def test_a_given_picture_of_another_size_is_refused(
    size: tuple[int, int], picture: np.ndarray, coded: bytes, runnable: Model
) -> None:
    wrong = np.zeros((*size, 3), np.uint8)
    told = f"given picture has {size[1]} x {size[0]} pixels, the coded one 150 x 100"
    with pytest.raises(ArgumentError, match=told):
        intaglio.encode(picture, model=runnable, given=wrong)
    with pytest.raises(ArgumentError, match=told):
        intaglio.decode(coded, model=runnable, given=wrong)


def test_a_missing_picture_and_one_too_many_are_told(
    picture: np.ndarray, given: np.ndarray, coded: bytes, runnable: Model
) -> None:
    for call in (
        lambda: intaglio.encode(picture, model=runnable),
        lambda: codec.estimate(picture, model=runnable),
        lambda: intaglio.decode(coded, model=runnable),
        lambda: verify.verify(coded, runnable),
    ):
        with pytest.raises(ArgumentError, match=r"needs the .* picture that both ends have, which is missing"):
            call()
    plain = intaglio.encode(picture)
    for call in (
        lambda: intaglio.encode(picture, model="photo", given=given),
        lambda: intaglio.decode(plain, given=given),
    ):
        with pytest.raises(ArgumentError, match="'photo' takes no given picture"):
            call()


def test_a_file_whose_flag_is_not_its_models_is_refused(given: np.ndarray, coded: bytes, runnable: Model) -> None:
    whole = container.read(coded)
    bare = container.write(Container(replace(whole.header, given=None), whole.payloads))
    with pytest.raises(FormatError, match=r"coded with no given picture; its model .* takes one"):
        intaglio.decode(bare, model=runnable, given=given)
    plain = container.read(intaglio.encode(np.zeros((9, 9, 3), np.uint8)))
    flagged = container.write(Container(replace(plain.header, given=b"1234"), plain.payloads))
    with pytest.raises(FormatError, match="coded with a given picture; its model 'photo' takes none"):
        intaglio.decode(flagged)


@pytest.mark.parametrize("wrong", [None, "picture", 7, "luma "])
def test_a_model_file_that_says_another_kind_is_refused(wrong: object, file: ModelFile) -> None:
    if wrong == file.config["given_kind"]:
        wrong = "luma"
    with pytest.raises(ModelError, match="does not fit together"):
        Model(replace(file, config={**file.config, "given_kind": wrong}))


def test_tiles_are_coded_with_their_part_of_what_is_given(
    picture: np.ndarray, given: np.ndarray, runnable: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(container, "choose_tile", lambda width, height: 1)
    data = intaglio.encode(picture, 30, model=runnable, given=given)
    header = container.read_header(data)
    boxes = container.tile_grid(header)
    assert len(boxes) == 6
    plane = codec.decode_latents(data, model=runnable, given=given)
    found = verify.verify(data, runnable, given=given)
    assert found.exact, found.differences
    padded = np.pad(np.atleast_3d(given), ((0, 28), (0, 42), (0, 0)), mode="edge")
    for box in boxes:
        tile = codec.tile_of(padded, box)
        assert tile is not None
        assert np.array_equal(tile, padded[box.y : box.y + 64, box.x : box.x + 64])
    assert intaglio.decode(data, model=runnable, given=given).shape == picture.shape
    assert plane.shape[2:] == (8, 12)


def test_a_grey_picture_comes_back_as_the_given_luma(runnable: Model, name: str, photo: np.ndarray) -> None:
    if name != "colour":
        pytest.skip("only luma is all of a grey picture")
    grey = ycbcr.luma(photo[:70, :90])
    data = intaglio.encode(grey, 30, model=runnable, given=photo[:70, :90])
    assert np.array_equal(intaglio.decode(data, model=runnable, given=grey), grey)


def test_what_is_wrong_with_the_given_picture_is_said_of_it(picture: np.ndarray, runnable: Model) -> None:
    wrong: Any
    for wrong in ("given.png", picture.astype(float), np.zeros((0, 0, 3), np.uint8), intaglio.Given(cast("Any", None))):
        with pytest.raises(IntaglioError, match=r"^the given picture: "):
            intaglio.encode(picture, 30, model=runnable, given=wrong)
    from PIL import Image

    clear = Image.fromarray(picture).convert("RGBA")
    clear.putalpha(100)
    with pytest.warns(UserWarning, match=r"^the given picture: .*transparen"):
        intaglio.encode(picture, 30, model=runnable, given=clear)


def test_with_a_given_picture_the_model_is_colour(picture: np.ndarray) -> None:
    data = intaglio.encode(picture, 30, given=picture)
    assert intaglio.info(data).model == "colour"
    assert np.array_equal(intaglio.decode(data, given=picture), intaglio.decode(data, given=ycbcr.luma(picture)))


def test_what_a_forced_picture_did_is_told_with_the_damage(
    run: Run, tmp_path: Path, given: np.ndarray, coded: bytes, file: ModelFile
) -> None:
    model, out, wrong, back = (tmp_path / each for each in ("model.itgm", "out.itg", "other.png", "back.png"))
    model.write_bytes(modelfile.write(file))
    images.save(wrong, other(given))
    whole = container.read(coded)
    out.write_bytes(container.write(Container(whole.header, (whole.payloads[0][:1],))))
    found = run("decode", out, back, "-m", model, "--given", wrong, "--force")
    assert found.code == 1
    assert "not the one that the file was coded with" in found.err
    assert not back.exists()


def test_damaged_files_end_in_an_error_or_a_picture(
    given: np.ndarray, coded: bytes, runnable: Model, rng: np.random.Generator, seed: int
) -> None:
    whole = container.read(coded)
    for _ in range(40):
        forged = bytearray(whole.payloads[0])
        forged[int(rng.integers(len(forged)))] ^= 1 << int(rng.integers(8))
        data = container.write(Container(whole.header, (bytes(forged),)))
        try:
            decoded = intaglio.decode(data, model=runnable, given=given)
        except FormatError:
            continue
        assert decoded.shape[:2] == (100, 150), f"seed {seed}"


def test_the_network_of_what_is_given_is_exact(name: str, runnable: Model, rng: np.random.Generator, seed: int) -> None:
    reference, side = Reference(runnable.network(GIVEN)), np.zeros((1, 0, 4, 8), np.float32)
    model = tiny(name, 1)
    assert isinstance(model, Conditional)
    assert model.given_net is not None
    seen: set[float] = set()
    for rate in (0, 77, 198):
        planes = rng.integers(0, 256, (64, 128, known.KINDS[KINDS[name]]), dtype=np.uint8)
        floats = planes.transpose(2, 0, 1)[None].astype(np.float32)
        found = runnable.given_side(side, planes, rate)
        assert np.array_equal(found, reference.given(floats, rate)), f"seed {seed}"
        scale = torch.exp2(model.given_net.scales(torch.tensor([rate]))[-1])
        with torch.no_grad():
            trained = model.given_net(torch.from_numpy(floats), torch.tensor([rate])) * scale
        assert np.array_equal(found, trained.numpy()), f"seed {seed}"
        seen.update(np.unique(found).tolist())
    assert len(seen) > 2, "a network of zeros would be exact"


@torch.no_grad()
def test_a_blind_model_does_not_look(photo: np.ndarray, name: str) -> None:
    torch.manual_seed(2)
    model = models.build(name, **TINY[name], blind=True)
    shake(model, 3)
    runnable = Model(model_file(model.eval(), name, {}), threads=1)
    x = torch.from_numpy(photo[:64, :64].transpose(2, 0, 1)[None].copy())
    assert isinstance(model, Conditional)
    assert torch.equal(model.pair(x).given, torch.full((1, model.kind.given, 64, 64), 128.0))
    first, second = (np.ascontiguousarray(photo[at : at + 64, :64]) for at in (0, 64))
    files = [intaglio.encode(first, 30, model=runnable, given=each) for each in (first, second)]
    payloads = [container.read(each).payloads for each in files]
    assert payloads[0] == payloads[1]
    assert verify.verify(files[1], runnable, given=second).exact


@torch.no_grad()
@pytest.mark.parametrize("grey", [0, 77, 255])
def test_an_untrained_colour_model_says_grey_for_nothing(photo: np.ndarray, grey: int) -> None:
    model = models.build("colour", **TINY["colour"]).eval()
    model.start([photo])
    pair, coder = pair_of(model, np.full((128, 128, 3), grey, np.uint8)), Round(model.layout)
    decoded = model.walk(pair, torch.tensor([0]), coder)
    assert float((decoded - 128.0 / 255.0).abs().max()) < 1e-3
    assert float(coder.bits) < 0.1 * 32 * 64  # so little for each latent


@torch.no_grad()
def test_an_untrained_reference_model_gives_the_given_picture_for_nothing(photo: np.ndarray) -> None:
    model = models.build("reference", **TINY["reference"]).eval()
    assert isinstance(model, Conditional)
    x = torch.from_numpy(photo.transpose(2, 0, 1)[None].copy()).float()
    y_hat = torch.zeros(1, 32, 16, 16)
    assert torch.allclose(model.synthesis(y_hat, torch.tensor([100]), x) * 255.0, x, atol=0.01)


def test_pairs_are_another_version_of_the_picture(photo: np.ndarray) -> None:
    x = torch.from_numpy(photo.transpose(2, 0, 1).copy()).float()
    torch.manual_seed(5)
    found = [distorted(x) for _ in range(24)]
    torch.manual_seed(5)
    assert all(torch.equal(each, distorted(x)) for each in found)
    errors = [float((each - x).square().mean()) for each in found]
    assert min(errors) == 0.0  # now and then nothing has changed
    assert sum(error > 20.0 for error in errors) > 8
    assert all(torch.equal(each, each.round()) and each.min() >= 0 and each.max() <= 255 for each in found)


def test_decoding_stays_under_17_kmac_per_pixel(name: str) -> None:
    counts = macs_per_pixel(models.build(name))
    assert counts["given"] > 1000.0
    assert sum(counts[part] for part in DECODING) < 17_000.0


def test_luma_and_chroma_are_those_of_jpeg(photo: np.ndarray) -> None:
    from PIL import Image

    wanted = np.asarray(Image.fromarray(photo).convert("YCbCr")).astype(float)
    found = np.dstack([ycbcr.luma(photo), ycbcr.chroma(photo)])
    assert np.abs(found - wanted).max() <= 1.0
    assert np.abs(ycbcr.to_rgb(ycbcr.luma(photo), ycbcr.chroma(photo)).astype(int) - photo).max() <= 1
    assert np.array_equal(ycbcr.luma(photo[:, :, 0]), photo[:, :, 0])


def test_the_command_line_goes_there_and_back(
    run: Run, tmp_path: Path, picture: np.ndarray, given: np.ndarray, file: ModelFile
) -> None:
    names = ("colour.png", "given.png", "model.itgm", "out.itg", "back.png", "other.png")
    source, beside, model, out, back, wrong = (tmp_path / each for each in names)
    for path, pixels in ((source, picture), (beside, given), (wrong, other(given))):
        images.save(path, pixels)
    model.write_bytes(modelfile.write(file))
    assert run("encode", source, out, "--given", beside, "-m", model).code == 0
    assert f"digest {intaglio.info(out.read_bytes()).given}" in run("info", out).out
    assert run("decode", out, back, "--given", beside, "-m", model).code == 0
    wanted = intaglio.decode(out.read_bytes(), model=Model(file, 1), given=given)
    assert np.abs(images.load(back).pixels.astype(int) - wanted).max() <= 1
    assert run("verify", out, "--given", beside, "-m", model).code == 0
    back.unlink()
    for arguments, told in (
        (["decode", out, back, "-m", model], "which is missing"),
        (["decode", out, back, "-m", model, "--given", wrong], "--force"),
        (["decode", out, back, "-m", model, "--given", tmp_path / "none.png"], "none.png"),
        (["encode", source, tmp_path / "x.itg", "-m", model], "which is missing"),
        (["encode", source, tmp_path / "x.itg", "-m", "photo", "--given", beside], "takes no given picture"),
        (["inspect", source, "-m", model], "here pictures are coded alone"),
        (["compare", source, "--bytes", "999", "-m", model], "here pictures are coded alone"),
    ):
        found = run(*arguments)
        assert found.code == 1
        assert told in found.err
        assert found.err.count("\n") == 1
        assert not back.exists()
    forced = run("decode", out, back, "-m", model, "--given", wrong, "--force")
    assert "not the one" in forced.err, forced.err
    assert "can be forced" not in forced.err, forced.err
    assert forced.code == 0, forced.err
    assert images.load(back).pixels.shape == picture.shape
    for target, arguments in (
        (beside, ["encode", source, beside, "-m", model]),
        (beside, ["decode", out, beside, "-m", model]),
    ):
        kept = target.read_bytes()
        assert "is the input itself" in run(*arguments, "--given", beside).err
        assert target.read_bytes() == kept
    assert "name it with --given" in run("decode", out, back, "-m", model, "--force").err
    assert "makes up its own" in run("verify", "--selftest", "--given", beside).err
    assert f"{out}: " in run("verify", out, "--given", wrong, "-m", model).err
