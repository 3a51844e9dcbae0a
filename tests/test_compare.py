"""At one file size every codec is at its best setting, and one that cannot reach it says so."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from command_line import Run
from intaglio import allocation, codecs, compare, images, results
from intaglio.codecs import Codec
from intaglio.compare import closest_to_bytes, largest_within
from intaglio.errors import ArgumentError

SMALL = str(Path(__file__).parent / "golden" / "v1" / "small.itgm")


@dataclass(frozen=True)
class Stairs:
    """A codec whose file sizes are given."""

    sizes: tuple[int, ...]
    name: str = "stairs"
    label: str = "Stairs"
    about: str = "steps"
    usual: tuple[int, ...] = ()
    in_process: bool = True

    @property
    def qualities(self) -> range:
        return range(10, 10 + len(self.sizes))

    def encode(self, pixels: np.ndarray, quality: float) -> bytes:
        return bytes(self.sizes[int(quality) - 10])

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
    codec = codecs.available().codecs["jpeg"]
    sizes = {quality: len(codec.encode(photo, quality)) for quality in codec.qualities}
    for target in (2000, 7777, 20000):
        match = closest_to_bytes(codec, photo, target)
        assert abs(len(match.data) - target) == min(abs(size - target) for size in sizes.values())
        assert sizes[match.quality] == len(match.data)


@pytest.mark.parametrize(
    ("sizes", "target", "quality"),
    [
        ((10, 20, 30, 40, 50), 30, 12),
        ((10, 20, 30, 40, 50), 39, 12),
        ((10, 20, 30, 40, 50), 999, 14),
        ((10, 20, 31, 29, 50), 30, 13),  # sizes do not rise strictly
        ((10, 20, 20, 20, 50), 20, 13),  # of equal files the last, whose picture is no worse
        ((10, 20, 33, 30, 50), 30, 13),
        ((7,), 7, 10),
        ((10, 20, 30, 40, 50), 9, 10),  # too small for all: the smallest file
        ((12, 11, 30, 40, 50), 9, 11),
    ],
)
def test_the_largest_file_within_a_size_is_found(sizes: tuple[int, ...], target: int, quality: int) -> None:
    match = largest_within(Stairs(sizes), np.zeros((1, 1, 3), np.uint8), target)
    assert (match.quality, len(match.data)) == (quality, sizes[quality - 10])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["jpeg", "webp"])
def test_no_other_setting_comes_closer_from_below(name: str, photo: np.ndarray) -> None:
    codec = codecs.available().codecs[name]
    sizes = [len(codec.encode(photo, quality)) for quality in codec.qualities]
    for target in (2500, 7777, 20000):
        found = len(largest_within(codec, photo, target).data)
        assert found == max(size for size in sizes if size <= target)


def test_the_size_is_that_of_the_lecture_unless_another_is_given() -> None:
    picture = np.zeros((512, 768, 3), np.uint8)
    assert compare.target_bytes(picture, None, None) == 5554
    assert compare.target_bytes(picture, None, 1.0) == 49152
    assert compare.target_bytes(picture, 4000, None) == 4000
    for wrong in ((1, 1.0), (0, None), (None, 0.0), (None, math.nan), (None, math.inf), (-5, None)):
        with pytest.raises(ArgumentError):
            compare.target_bytes(picture, *wrong)


def _codecs(*names: str) -> list[Codec]:
    return list(codecs.choose(names, [SMALL]).codecs.values())


def test_rows_are_within_the_size_and_measured(photo: np.ndarray) -> None:
    found = list(compare.at_size("p.png", photo, _codecs("webp", "jpeg444"), 5000, scored=False))
    assert [each.row.codec for each in found] == ["webp", "jpeg444"]
    for each in found:
        row = each.row
        assert 4000 < row.bytes <= 5000
        assert row.bpp == 8 * row.bytes / 65536
        assert (row.picture, row.width, row.height, row.error) == ("p.png", 256, 256, "")
        assert each.decoded is not None
        assert len(each.codec.encode(photo, float(row.setting))) == row.bytes
        assert min(row.encode_s, row.decode_s) > 0
        assert math.isnan(row.peak_mb)


def test_a_codec_that_cannot_reach_the_size_says_so_in_its_row(photo: np.ndarray) -> None:
    sizes = {quality: len(codecs.available().codecs["jpeg"].encode(photo, quality)) for quality in (1, 2, 3)}
    best = min(sizes, key=lambda quality: (sizes[quality], quality))
    found = list(compare.at_size("p.png", photo, _codecs("jpeg", "jpeg2000"), 500, scored=False))
    assert found[0].decoded is None
    assert found[0].row.error == f"cannot reach 500 bytes: its smallest file, at {best}, has {sizes[best]}"
    assert not found[1].row.error
    assert found[1].row.bytes <= 500


def test_the_command_prints_every_codec_and_exits_well_if_one_fits(run: Run, picture: Path) -> None:
    done = run("compare", str(picture), "--bytes", "400", "-c", "jpeg", "-c", "jpeg2000")
    assert done.code == 0
    assert "JPEG 2000" in done.out
    assert "JPEG 4:2:0: cannot reach 400 bytes: its smallest file" in done.out
    assert run("compare", str(picture), "--bytes", "3", "-c", "jpeg").code == 1


def test_the_command_writes_rows_summary_report_and_the_pictures(run: Run, picture: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    asked = ("compare", str(picture), "--bpp", "2", "-c", "jpeg2000", "-c", "intaglio", "-m", SMALL, "-o", str(out))
    done = run(*asked, "--json")
    assert done.code == 0, done.err
    told = json.loads(done.out)
    assert told["bytes"] == int(2 * 90 * 70 / 8)
    rows = results.read_rows(out / "rows.csv")
    assert [row.codec for row in rows] == ["jpeg2000", "intaglio"] == [row["codec"] for row in told["rows"]]
    summary = results.read_summary(out)
    assert summary["kind"] == "compare"
    assert summary["target"] == {"bytes": told["bytes"], "bpp": pytest.approx(2.0, abs=0.01)}
    assert (out / "report.html").stat().st_size > 10_000
    original = images.load(results.kept_path(out, picture.name)).pixels
    assert np.array_equal(original, images.load(picture).pixels)
    for row in rows:
        if not row.error:
            kept = images.load(results.kept_path(out, row.picture, row.codec, row.setting)).pixels
            assert kept.shape == original.shape
    ours = next(row for row in rows if row.codec == "intaglio")
    if not ours.error:
        kept = results.kept_path(out, picture.name, "intaglio", ours.setting)
        found = allocation.load(allocation.beside(kept))
        assert found.samples.shape == (8, 8)  # whole blocks of 64 pixels
        assert found.top > 0
    assert run(*asked).code == 0  # its own folder is written again


def test_a_second_comparison_keeps_nothing_of_the_first(run: Run, picture: Path, tmp_path: Path) -> None:
    out, colour = tmp_path / "out", images.load(picture).pixels
    for pixels in (colour, 255 - colour):
        images.save(picture, pixels)
        assert run("compare", str(picture), "--bpp", "2", "-c", "jpeg", "-o", str(out)).code == 0
        assert np.array_equal(images.load(results.kept_path(out, picture.name)).pixels, pixels)
    (row,) = results.read_rows(out / "rows.csv")
    kept = sorted(path.name for path in (out / "kept" / picture.name).iterdir())
    assert kept == [f"jpeg-{row.setting}.webp", "original.webp"]


def test_kept_files_that_are_not_of_a_comparison_stay(run: Run, picture: Path, tmp_path: Path) -> None:
    (tmp_path / "out" / "kept").mkdir(parents=True)
    (tmp_path / "out" / "kept" / "letter.txt").write_text("dear")
    assert run("compare", str(picture), "--bpp", "2", "-c", "jpeg", "-o", "out").code == 0
    assert (tmp_path / "out" / "kept" / "letter.txt").exists()


def test_a_size_that_a_codec_cannot_reach_is_no_error_in_the_count(run: Run, picture: Path, tmp_path: Path) -> None:
    done = run("compare", str(picture), "--bytes", "400", "-c", "jpeg", "-c", "jpeg2000", "-o", "out")
    assert done.code == 0
    assert "closest to, and not above, 400 bytes" in " ".join(done.out.split())
    errors = results.read_summary(tmp_path / "out")["errors"]
    assert (errors["count"], errors["lines"]) == (0, [])
    assert [line.split(":")[0] for line in errors["unreached"]] == ["picture.png jpeg"]


def test_a_folder_with_an_evaluation_is_left_alone(run: Run, picture: Path, tmp_path: Path) -> None:
    results.write_rows(tmp_path / "rows.csv", [results.Row("a", codec="jpeg", setting="1", bpp=1.0)])
    done = run("compare", str(picture), "-c", "jpeg", "-o", str(tmp_path))
    assert done.code == 1
    assert "holds other results" in done.err
    assert len(results.read_rows(tmp_path / "rows.csv")) == 1
