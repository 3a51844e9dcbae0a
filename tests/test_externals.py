"""Programs get the picture's colours rounded once, give back what they decode, and fail in one line."""

from __future__ import annotations

import hashlib
import pickle
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from intaglio import codecs, externals
from intaglio.errors import ArgumentError, ImageError
from intaglio.externals import Program, from_ycbcr, to_ycbcr
from intaglio.metrics import psnr, psnr_luma_chroma

# A codec that keeps every sample to a multiple of {q}, with a program's manners: files, arguments, exit codes.
FAKE = """
import sys
import zlib

import numpy as np

arguments = dict(word.split("=", 1) for word in sys.argv[2:])
kind = np.dtype("<u2" if arguments["depth"] == "10" else "u1")
open("rec.yuv", "w").close()
if sys.argv[1] == "encode":
    samples = np.fromfile(arguments["in"], kind)
    assert samples.size == 3 * int(arguments["w"]) * int(arguments["h"]), "not 4:4:4 planes"
    step = int(arguments["q"])
    if step == 13:
        print("first line")
        print("step 13 is bad luck", file=sys.stderr)
        sys.exit(3)
    if step != 12:
        coded = zlib.compress(((samples + step // 2) // step * step).astype(kind).tobytes())
        open(arguments["out"], "wb").write(coded)
else:
    samples = np.frombuffer(zlib.decompress(open(arguments["in"], "rb").read()), kind)
    samples.tofile(arguments["out"])
"""


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """The fake codec with 10-bit planes."""
    script = tmp_path / "fake codec.py"
    script.write_text(FAKE)
    sizes = ("w={width}", "h={height}", "q={q}", "depth={depth}")
    return Program(
        "fake",
        "Fake",
        (sys.executable, str(script), "encode", "in={picture}", "out={coded}", *sizes),
        (sys.executable, str(script), "decode", "in={coded}", "out={decoded}", "depth={depth}"),
        range(20, 0, -1),
        (20, 10, 1),
        "the test",
        10,
    )


def expected_psnr() -> float:
    """PSNR in dB of RGB that went through 8-bit YCbCr, by numbers: errors of Y, Cb and Cr uniform in +-1/2, carried to
    R, G, B by the inverse of BT.601, and rounded there.
    """
    error = np.random.default_rng(7).uniform(-0.5, 0.5, (400_000, 3))
    inverse = np.array([[1, 0, 1.402], [1, -0.344136, -0.714136], [1, 1.772, 0]])
    return float(10 * np.log10(255**2 / np.mean(np.round(error @ inverse.T) ** 2)))


@pytest.fixture
def noise(rng: np.random.Generator) -> np.ndarray:
    """Colours from the inside of the cube, where nothing is clipped."""
    return rng.integers(40, 216, (256, 256, 3), dtype=np.uint8)


def test_conversion_at_8_bits_reaches_the_ceiling_of_one_rounding(noise: np.ndarray, seed: int) -> None:
    found = psnr(noise, from_ycbcr(to_ycbcr(noise, 8), 8))
    assert found == pytest.approx(expected_psnr(), abs=0.05), f"seed {seed}"
    assert 52.9 < found < 53.1


def test_the_ceiling_tells_one_rounding_from_two_and_from_cutting_off(noise: np.ndarray, seed: int) -> None:
    exact = np.moveaxis(noise.astype(float) @ externals._FORWARD.T, 2, 0) + np.array([0, 128, 128])[:, None, None]
    cut = np.floor(exact).astype(np.uint8)
    assert psnr(noise, from_ycbcr(cut, 8)) < expected_psnr() - 1, f"seed {seed}"
    to_halves_first = np.floor(np.floor(exact * 2 + 0.5) / 2 + 0.5).astype(np.uint8)
    assert psnr(noise, from_ycbcr(to_halves_first, 8)) < expected_psnr() - 0.2, f"seed {seed}"
    through_8_bits = np.round(to_ycbcr(noise, 8) * (1023 / 255)).astype(np.uint16)
    assert psnr(noise, from_ycbcr(through_8_bits, 10)) < 55, f"seed {seed}"


def test_conversion_at_10_bits_loses_nothing(photo: np.ndarray, rng: np.random.Generator, seed: int) -> None:
    corners = np.array(np.meshgrid(*[[0, 1, 127, 254, 255]] * 3), np.uint8).reshape(3, -1).T[None]
    for pixels in (photo, corners, rng.integers(0, 256, (512, 512, 3), dtype=np.uint8)):
        assert np.array_equal(from_ycbcr(to_ycbcr(pixels, 10), 10), pixels), f"seed {seed}"


def test_planes_are_those_of_bt601_in_full_range() -> None:
    colours = np.array([[[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8)
    assert to_ycbcr(colours, 8)[:, 0].T.tolist() == [
        [0, 128, 128],
        [255, 128, 128],
        [76, 85, 255],
        [150, 44, 21],
        [29, 255, 107],
    ]  # T.871 (JFIF), with 255.5 clipped
    assert to_ycbcr(colours, 10)[:, 0, 1].tolist() == [1023, 512, 512]
    assert to_ycbcr(colours, 10).dtype == np.dtype("<u2")


def test_luma_and_chroma_agree_with_the_measures(photo: np.ndarray) -> None:
    """The planes are the ones whose PSNR the tables give."""
    worse = np.clip(photo.astype(int) + np.array([9, -3, 5]), 0, 255).astype(np.uint8)
    a, b = (to_ycbcr(pixels, 10).astype(float) * (255 / 1023) for pixels in (photo, worse))
    luma, chroma = (10 * np.log10(255**2 / np.mean((a - b)[part] ** 2)) for part in (slice(0, 1), slice(1, 3)))
    assert psnr_luma_chroma(photo, worse) == (pytest.approx(luma, abs=0.05), pytest.approx(chroma, abs=0.05))


@pytest.mark.parametrize("depth", [8, 10])
def test_a_program_gives_back_the_picture_at_its_finest_step(program: Program, photo: np.ndarray, depth: int) -> None:
    deep = replace(program, depth=depth)
    for pixels in (photo, photo[:3, :17], photo[:, :, 0]):
        decoded = deep.decode(deep.encode(pixels, 1))
        rgb = pixels if pixels.ndim == 3 else np.repeat(pixels[:, :, None], 3, axis=2)
        assert decoded.shape == rgb.shape
        assert np.array_equal(decoded, rgb if depth == 10 else from_ycbcr(to_ycbcr(rgb, 8), 8))


def test_the_setting_reaches_the_program(program: Program, photo: np.ndarray) -> None:
    files = {step: program.encode(photo, step) for step in (20, 10, 1)}
    assert len(files[20]) < len(files[10]) < len(files[1])
    assert psnr(photo, program.decode(files[20])) < psnr(photo, program.decode(files[10]))


def test_a_file_has_the_bytes_of_the_program_and_four_of_size(program: Program, photo: np.ndarray) -> None:
    data = program.encode(photo[:100], 5)
    assert data[:4] == (256).to_bytes(2, "little") + (100).to_bytes(2, "little")
    assert data[4:6] == b"\x78\x9c"  # what zlib begins with


def test_failures_are_one_line_that_names_the_program(program: Program, photo: np.ndarray) -> None:
    with pytest.raises(ImageError, match=r"failed with code 3 \(first line\)|code 3 \(step 13 is bad luck\)"):
        program.encode(photo, 13)
    with pytest.raises(ImageError, match="wrote no coded file"):
        program.encode(photo, 12)
    with pytest.raises(ImageError, match="cannot be started"):
        replace(program, encoder=("/no/such/program",)).encode(photo, 5)
    with pytest.raises(ArgumentError, match="integer from 1 to 20"):
        program.encode(photo, 21)
    with pytest.raises(ImageError, match="cut short"):
        program.decode(b"abc")
    with pytest.raises(ImageError, match="failed with code 1"):
        program.decode(program.encode(photo, 5)[:60])
    with pytest.raises(ImageError, match="not the 3 x 256 x 257"):
        program.decode((256).to_bytes(2, "little") + (257).to_bytes(2, "little") + program.encode(photo, 5)[4:])


def test_what_a_program_writes_besides_stays_out_of_the_users_folder(
    program: Program, photo: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path / "mine")
    program.decode(program.encode(photo, 5))
    assert list((tmp_path / "mine").iterdir()) == []
    for each in externals.PROGRAMS:
        if each.depth:  # the reference encoders write their own picture, too
            place = each.encoder.index("-o")
            assert each.encoder[place + 1] == "{decoded}"


def test_a_program_that_hangs_is_stopped_and_told(
    program: Program, photo: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(externals, "TIME_LIMIT_S", 0.1)
    hangs = replace(program, encoder=(sys.executable, "-c", "import time; time.sleep(60)"))
    with pytest.raises(ImageError, match=r"did not end in 0\.1 seconds and was stopped"):
        hangs.encode(photo, 5)


def test_another_build_or_configuration_has_another_text(program: Program, tmp_path: Path) -> None:
    def about(build: bytes, config: bytes) -> str:
        folder = tmp_path / build.decode() / config.decode()
        folder.mkdir(parents=True)
        for name, data in (("enc", build), ("dec", b"decoder"), ("intra.cfg", config)):
            (folder / name).write_bytes(data)
        paths = [str(folder / name) for name in ("enc", "dec", "intra.cfg")]
        return replace(program, encoder=(paths[0],), decoder=(paths[1],), config=paths[2]).about

    texts = [about(b"1", b"a"), about(b"2", b"a"), about(b"1", b"b")]
    assert len(set(texts)) == 3
    assert f"enc {hashlib.sha256(b'1').hexdigest()[:8]}, dec " in texts[0]


def _executable(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)


def test_programs_are_found_on_the_path_with_their_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(ArgumentError, match=r"needs the program EncoderApp, .* build VTM"):
        codecs.choose(["vtm"])
    _executable(tmp_path / "bin" / "EncoderAppStatic")
    _executable(tmp_path / "bin" / "DecoderApp")
    with pytest.raises(ArgumentError, match=r"needs encoder_intra_vtm\.cfg"):
        codecs.choose(["vtm"])
    config = tmp_path / "cfg" / "encoder_intra_vtm.cfg"
    config.parent.mkdir()
    config.touch()
    found = codecs.choose(["vtm"]).codecs["vtm"]
    assert isinstance(found, Program)
    assert found.config == str(config)
    assert found.encoder[0] == str(tmp_path / "bin" / "EncoderAppStatic")
    assert pickle.loads(pickle.dumps(found)) == found
    assert "vtm" not in codecs.choose(models=[]).codecs  # slow: only when it is named


@pytest.mark.parametrize("program", externals.PROGRAMS, ids=lambda each: each.name)
def test_declared_command_lines_name_only_what_is_known(program: Program) -> None:
    words = {**program._words("folder"), "q": "1", "width": "2", "height": "3"}
    for line, files in ((program.encoder, ("picture", "coded")), (program.decoder, ("coded", "decoded"))):
        filled = [word.format_map(words) for word in line]
        assert all(words[name] in filled for name in files)
    assert set(program.usual) <= set(program.qualities)
    assert list(program.usual) == sorted(program.usual, reverse=True)  # worst first: high steps are coarse
    assert len(program.usual) >= 10
