"""What docs/format.md promises about the container, held byte for byte."""

from __future__ import annotations

import dataclasses
import tracemalloc
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intaglio.container import (
    DEFAULT_MAX_PIXELS,
    MAX_HEADER_BYTES,
    Container,
    Header,
    choose_tile,
    read,
    read_header,
    tile_grid,
    write,
)
from intaglio.errors import ArgumentError, FormatError

MODEL = b"\xde\xad\xbe\xef"
KODAK = Header(width=768, height=512, channels=3, depth=8, rate=98, model_id=MODEL, tile=0)
TILED = Header(width=200, height=100, channels=3, depth=8, rate=7, model_id=MODEL, tile=1)

# One field a line, in the order of docs/format.md. The checksums are zlib's; the rest was written by hand.
GOLDEN_HEX = """
    8b 49 54 47
    01
    01
    c8 01
    40
    73
    62
    de ad be ef
    02
    03 00
    01
    49 43 43 50  02  61 62  6f 5b 81 bc
    78 79 7a
    79 26 db 16
"""
GOLDEN = bytes.fromhex(GOLDEN_HEX)
GOLDEN_CONTAINER = Container(Header(200, 64, 3, 8, 98, MODEL, 2), (b"xyz", b""), {"ICCP": b"ab"})


def sealed(body: bytes) -> bytes:
    """`body` with a right checksum, so that only the layout can be wrong."""
    return body + zlib.crc32(body).to_bytes(4, "little")


def leb(value: int) -> bytes:
    out = []
    while True:
        out.append(value & 127 | (128 if value > 127 else 0))
        value >>= 7
        if not value:
            return bytes(out)


def file_with(**changed: bytes) -> bytes:
    """A sealed one-tile file of 5 x 4 pixels and payload 'P', with some fields replaced by raw bytes."""
    fields = {
        "magic": b"\x8bITG",
        "version": b"\1",
        "flags": b"\0",
        "width": b"\5",
        "height": b"\4",
        "sample": b"\x73",
        "rate": b"\0",
        "model": MODEL,
        "tile": b"\0",
        "table": b"\1",
        "sections": b"",
        "payload": b"P",
    }
    assert changed.keys() <= fields.keys()
    return sealed(b"".join((fields | changed).values()))


def section(tag: bytes, content: bytes) -> bytes:
    return tag + leb(len(content)) + content + zlib.crc32(tag + content).to_bytes(4, "little")


@st.composite
def containers(draw: st.DrawFn) -> Container:
    header = Header(
        width=draw(st.integers(1, 500)),
        height=draw(st.integers(1, 500)),
        channels=draw(st.sampled_from([1, 3])),
        depth=8,
        rate=draw(st.integers(0, 198)),
        model_id=draw(st.binary(min_size=4, max_size=4)),
        tile=draw(st.integers(0, 9)),
        given=draw(st.none() | st.binary(min_size=4, max_size=4)),
    )
    count = len(tile_grid(header))
    payload = st.binary(max_size=300)
    payloads = draw(st.lists(payload, min_size=count, max_size=count))
    tag = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=4, max_size=4)
    return Container(header, tuple(payloads), draw(st.dictionaries(tag, payload, max_size=3)))


@given(containers())
def test_what_is_written_is_read_back(container: Container) -> None:
    data = write(container)
    assert read(data) == container
    assert list(read(data).sections) == list(container.sections)
    assert read_header(data[:MAX_HEADER_BYTES]) == container.header
    assert read(bytearray(data)) == read(memoryview(data)) == container


def test_golden_bytes_are_read_and_written() -> None:
    assert write(GOLDEN_CONTAINER) == GOLDEN
    assert read(GOLDEN) == GOLDEN_CONTAINER


def test_the_digest_of_a_given_picture_follows_the_tile_field() -> None:
    header = dataclasses.replace(GOLDEN_CONTAINER.header, given=b"\1\2\3\4")
    at = GOLDEN.index(MODEL) + len(MODEL) + 1
    wanted = sealed(GOLDEN[:5] + b"\3" + GOLDEN[6:at] + b"\1\2\3\4" + GOLDEN[at:-4])
    assert write(dataclasses.replace(GOLDEN_CONTAINER, header=header)) == wanted
    assert read(wanted).header == header


def test_plain_file_of_the_format_document_is_what_the_helper_builds() -> None:
    assert write(Container(Header(5, 4, 3, 8, 0, MODEL, 0), (b"P",))) == file_with()


@pytest.mark.parametrize("size", [0, 1, 1000, 2**21 - 1])
def test_overhead_of_a_kodak_file_is_at_most_24_bytes(size: int) -> None:
    assert len(write(Container(KODAK, (bytes(size),)))) - size <= 24


@pytest.mark.parametrize("data", [GOLDEN, file_with(), write(Container(TILED, tuple([b"ab"] * 8)))])
def test_every_prefix_raises(data: bytes) -> None:
    for length in range(len(data)):
        with pytest.raises(FormatError, match=r"cut short|empty"):
            read(data[:length])


@pytest.mark.parametrize("data", [GOLDEN, file_with(), write(Container(TILED, tuple([b"ab"] * 8)))])
def test_every_bit_flip_raises(data: bytes) -> None:
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(FormatError) as caught:
            read(flipped)
        assert "\n" not in str(caught.value), f"bit {bit}"


@given(st.integers(0, 30), st.binary(max_size=12), st.booleans())
def test_whatever_reads_is_written_back_the_same(at: int, junk: bytes, with_checksum: bool) -> None:
    body = GOLDEN[:at] + junk + GOLDEN[at + len(junk) : -4]
    data = sealed(body) if with_checksum else body + GOLDEN[-4:]
    try:
        container = read(data)
    except FormatError:
        return
    assert write(container) == data


@pytest.mark.parametrize("tail", [b"\0", b"\n", b"more"])
def test_nothing_may_follow_the_checksum(tail: bytes) -> None:
    with pytest.raises(FormatError, match=f"{len(tail)} bytes too many"):
        read(GOLDEN + tail)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b"\xff\xd8\xff\xe0 a JPEG file", "not an .itg file"),
        (b"\x8bITg", "not an .itg file"),
        (file_with(version=b"\0"), "version 0, before the format was frozen"),
        (file_with(version=b"\2"), "version 2, .* use a newer Intaglio"),
        (file_with(flags=b"\4"), "unknown flags 0x04"),
        (file_with(flags=b"\2", table=b"")[:18], "cut short"),
        (file_with(flags=b"\x80"), "unknown flags 0x80"),
        (file_with(width=b"\0"), "0 x 4"),
        (file_with(height=b"\0"), "5 x 0"),
        (file_with(width=b"\x85\0"), "more bytes than it needs"),
        (file_with(width=b"\xff\xff\xff\xff\x08"), "over 2147483647"),
        (file_with(width=b"\x80\x80\x80\x80\x80\x00"), "over 2147483647"),
        (file_with(sample=b"\x72"), "2 channels"),
        (file_with(sample=b"\x70"), "0 channels"),
        (file_with(sample=b"\x74"), "4 channels"),
        (file_with(sample=b"\xf3"), "16 bits per sample"),
        (file_with(rate=b"\xc7"), "rate step is 199"),
        (file_with(tile=b"\x80\0"), "more bytes than it needs"),
        (file_with(table=b"\x81\0"), "more bytes than it needs"),
        (file_with(table=b"\0"), "1 bytes too many"),
        (file_with(table=b"\2"), "cut short"),
        (file_with(table=b"\xff\xff\xff\xff\x07"), "cut short"),
        (file_with(payload=b"Q")[:-4] + file_with()[-4:], "damaged: the checksum over the whole file"),
        (file_with(flags=b"\1", sections=b"\0"), "no section"),
        (file_with(flags=b"\1", sections=b"\xff\xff\x03"), "cut short"),
        (file_with(flags=b"\1", sections=b"\1" + section(b"IC\nP", b"")), "not a metadata tag"),
        (file_with(flags=b"\1", sections=b"\1" + section(b"IC\xe9P", b"")), "not a metadata tag"),
        (file_with(flags=b"\1", sections=b"\2" + section(b"EXIF", b"") * 2), "'EXIF' comes twice"),
        (file_with(flags=b"\1", sections=b"\1" + section(b"EXIF", b"")[:-1] + b"?"), "checksum of .* 'EXIF'"),
        (file_with(flags=b"\1", sections=b"\1EXIF\xff\xff\xff\xff\x07"), "cut short"),
    ],
)
def test_each_way_of_being_wrong_is_one_clear_line(data: bytes, words: str) -> None:
    with pytest.raises(FormatError, match=words) as caught:
        read(data)
    assert "\n" not in str(caught.value)


def test_unknown_sections_survive() -> None:
    unknown = section(b"zZ9~", bytes(range(256)))
    data = file_with(flags=b"\1", sections=b"\2" + unknown + section(b"XMP_", b"<x/>"))
    container = read(data)
    assert container.sections == {"zZ9~": bytes(range(256)), "XMP_": b"<x/>"}
    assert container.payloads == (b"P",)
    assert write(container) == data


@given(st.integers(1, 900), st.integers(1, 900), st.integers(0, 12))
def test_tiles_cover_the_picture_exactly_once(width: int, height: int, tile: int) -> None:
    header = dataclasses.replace(KODAK, width=width, height=height, tile=tile)
    boxes = tile_grid(header)
    side_x, side_y = (64 * tile, 64 * tile) if tile else (width, height)
    columns = -(-width // side_x)
    assert len(boxes) == columns * -(-height // side_y)
    for index, box in enumerate(boxes):
        row, column = divmod(index, columns)
        assert (box.x, box.y) == (column * side_x, row * side_y)
        assert box.x + box.width == min(width, box.x + side_x)
        assert box.y + box.height == min(height, box.y + side_y)
    assert sum(box.width * box.height for box in boxes) == width * height


@given(st.integers(1, 40_000), st.integers(1, 40_000))
def test_writer_splits_pictures_over_four_megapixels_only(width: int, height: int) -> None:
    tile = choose_tile(width, height)
    padded = -(-width // 64) * -(-height // 64) * 4096
    assert (tile == 0) == (padded <= 2**22)
    boxes = tile_grid(dataclasses.replace(KODAK, width=width, height=height, tile=tile))
    assert max(-(-b.width // 64) * -(-b.height // 64) * 4096 for b in boxes) <= 2**22
    # Edge tiles of a square grid waste some; never more than four times the tiles that area alone would need.
    assert len(boxes) <= 4 * -(-padded // 2**22)


@pytest.mark.parametrize(("width", "height"), [(2**31 - 1, 2**31 - 1), (2**28, 2), (2**22 + 1, 1), (16385, 16384)])
def test_too_many_pixels_are_refused_before_anything_else(width: int, height: int) -> None:
    words = rf"{width} x {height} .* {DEFAULT_MAX_PIXELS}: .* max_pixels="
    with pytest.raises(FormatError, match=words):
        read(file_with(width=leb(width), height=leb(height)))


def test_the_error_about_pixels_names_the_limit_and_the_way_around_it() -> None:
    data = file_with(width=leb(4096), height=leb(1))
    with pytest.raises(FormatError, match="over the limit of 4096: ") as caught:
        read(data, max_pixels=4096)
    enough = int(str(caught.value).partition("max_pixels=")[2].partition(" ")[0])
    assert read(data, max_pixels=enough).header.width == 4096
    with pytest.raises(FormatError, match="over the limit"):
        read_header(data, max_pixels=enough - 1)


@pytest.mark.parametrize(("width", "height", "tile"), [(4096, 4097, 0), (2**18 + 1, 1, 0), (8192, 8192, 65)])
def test_a_giant_tile_is_refused_whatever_the_limit(width: int, height: int, tile: int) -> None:
    data = file_with(width=leb(width), height=leb(height), tile=leb(tile))
    with pytest.raises(FormatError, match="a tile of the picture"):
        read_header(data, max_pixels=2**62)


@pytest.mark.parametrize(
    ("changed", "max_pixels"),
    [
        ({"width": leb(2**31 - 1), "height": leb(2**31 - 1), "tile": b"\1"}, 2**62),
        ({"width": leb(16384), "height": leb(16384), "tile": b"\1"}, DEFAULT_MAX_PIXELS),
        ({"table": leb(2**31 - 1)}, DEFAULT_MAX_PIXELS),
        ({"flags": b"\1", "sections": leb(2**31 - 1)}, DEFAULT_MAX_PIXELS),
        ({"flags": b"\1", "sections": b"\1EXIF" + leb(2**31 - 1)}, DEFAULT_MAX_PIXELS),
    ],
)
def test_huge_numbers_in_a_tiny_file_raise_without_allocating(changed: dict[str, bytes], max_pixels: int) -> None:
    data = file_with(**changed)
    tracemalloc.start()
    try:
        with pytest.raises(FormatError, match="cut short"):
            read(data, max_pixels)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 100_000


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"width": 0}, "0 x 512"),
        ({"height": 2**31}, "768 x 2147483648"),
        ({"width": 7.5}, "7.5 x 512"),
        ({"width": True}, "True x 512"),
        ({"channels": 2}, "2 channels"),
        ({"channels": 4}, "4 channels"),
        ({"depth": 16}, "16 bits"),
        ({"rate": -1}, "rate step is -1"),
        ({"rate": 199}, "rate step is 199"),
        ({"model_id": b"abc"}, "4 bytes"),
        ({"model_id": "abcd"}, "4 bytes"),
        ({"tile": -1}, "tile side is -1"),
    ],
)
def test_a_header_that_breaks_a_rule_is_not_written(change: dict[str, Any], words: str) -> None:
    header = dataclasses.replace(KODAK, **change)
    with pytest.raises(ArgumentError, match=words):
        write(Container(header, (b"",)))
    with pytest.raises(ArgumentError, match=words):
        tile_grid(header)


@pytest.mark.parametrize(
    ("payloads", "sections", "words"),
    [
        ((), {}, "0 payloads; .* needs 1"),
        ((b"", b""), {}, "2 payloads; .* needs 1"),
        (("text",), {}, "tile payload is str; it must be bytes"),
        ((b"",), {"ICC": b""}, "'ICC' must be 4 printable"),
        ((b"",), {"IC\u00e9P": b""}, "must be 4 printable"),
        ((b"",), {b"ICCP": b""}, "must be 4 printable"),
        ((b"",), {"ICCP": "text"}, "'ICCP' is str; it must be bytes"),
    ],
)
def test_content_that_breaks_a_rule_is_not_written(payloads: Any, sections: Any, words: str) -> None:
    with pytest.raises(ArgumentError, match=words):
        write(Container(KODAK, payloads, sections))


@pytest.mark.parametrize("data", ["text", 5, None, memoryview(file_with())[::2]])
def test_only_contiguous_bytes_are_read(data: Any) -> None:
    with pytest.raises(ArgumentError, match="coded data must be"):
        read(data)


@pytest.mark.parametrize("limit", [0, -1, 1.5, True, None])
def test_a_wrong_pixel_limit_is_an_argument_error(limit: Any) -> None:
    with pytest.raises(ArgumentError, match="max_pixels"):
        read(file_with(), limit)


@pytest.mark.parametrize(("width", "height"), [(0, 5), (5, 2**31), (5.0, 5), (True, 5)])
def test_choosing_a_tile_for_no_picture_is_an_argument_error(width: Any, height: Any) -> None:
    with pytest.raises(ArgumentError, match=r"width|height"):
        choose_tile(width, height)
