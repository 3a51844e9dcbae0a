"""The .itg container: bytes <-> header, tile payloads and metadata sections, as docs/format.md lays them out.

Nothing here knows what a payload means. Reading trusts nothing: the header is validated in one place, every
later read is checked against the bytes that are left, and no list is begun that those bytes could not fill.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from numbers import Integral

from intaglio.errors import ArgumentError, FormatError
from intaglio.quality import MAX_RATE

MAGIC = b"\x8bITG"
VERSION = 1
DEFAULT_MAX_PIXELS = 2**28
MAX_VARINT = 2**31 - 1
MAX_HEADER_BYTES = 31  # magic 4, version, flags, width 5, height 5, sample, rate, model 4, tile 5, given 4
MAX_TILE_PIXELS = 2**24  # entropy decoding of one tile takes about 63 bytes of memory per pixel
BLOCK = 64  # pixels; the grain of tiles and of padding
ICC_TAG, EXIF_TAG, XMP_TAG = "ICCP", "EXIF", "XMP_"

_HAS_SECTIONS, _HAS_GIVEN = 1, 2
_CRC_BYTES = 4
_MIN_SECTION_BYTES = 9  # tag 4, length 1, checksum 4
_TILE_BLOCKS = 1024  # one tile holds at most so many blocks of 64 x 64: 4 megapixels


@dataclass(frozen=True)
class Header:
    """What stands before the tile table. Sizes in pixels, `depth` in bits per sample (8), `channels` 1 or 3.

    `rate` is a step of the quality scale (0..198, see intaglio.quality), `model_id` the first 4 bytes of the
    SHA-256 of the model's decoding half, `tile` the side of a tile in units of 64 pixels (0: one tile). `given`: the 4
    bytes that tell the picture that was given (see `intaglio.given.digest`), or None.
    """

    width: int
    height: int
    channels: int
    depth: int
    rate: int
    model_id: bytes
    tile: int
    given: bytes | None = None


@dataclass(frozen=True)
class TileBox:
    """Where one tile lies in the picture: left edge, top edge, width and height, in pixels."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True)
class Container:
    """A whole file: header, one payload per tile in the order of `tile_grid`, metadata by 4-character tag."""

    header: Header
    payloads: tuple[bytes, ...]
    sections: dict[str, bytes] = field(default_factory=dict)


def choose_tile(width: int, height: int) -> int:
    """The `tile` of the header that the encoder uses for a picture of `width` x `height` pixels.

    0 up to 4 megapixels (2^22 pixels, counted after padding to multiples of 64); above, the smallest tiles
    that make no more rows and columns than the largest tiles of 4 megapixels would. Raises ArgumentError if a
    side is outside 1..2^31-1.
    """
    for name, side in (("width", width), ("height", height)):
        if not _is_int(side, 1, MAX_VARINT):
            raise ArgumentError(f"{name} is {side!r}; it must be a whole number from 1 to {MAX_VARINT}")
    columns, rows = _ceil_div(width, BLOCK), _ceil_div(height, BLOCK)
    if columns * rows <= _TILE_BLOCKS:
        return 0
    # The short side of a panorama cuts its tiles off, so they may be longer than 2048 pixels.
    largest = max(_TILE_BLOCKS // min(columns, rows), 32)
    across, down = _ceil_div(columns, largest), _ceil_div(rows, largest)
    return max(_ceil_div(columns, across), _ceil_div(rows, down))


def tile_grid(header: Header) -> tuple[TileBox, ...]:
    """The tiles of a picture, row by row from the top left; those at its right and bottom may be smaller.

    Raises ArgumentError for a header that cannot be written.
    """
    _check_header(header)
    side_x = header.tile * BLOCK or header.width
    side_y = header.tile * BLOCK or header.height
    return tuple(
        TileBox(x, y, min(side_x, header.width - x), min(side_y, header.height - y))
        for y in range(0, header.height, side_y)
        for x in range(0, header.width, side_x)
    )


def write(container: Container) -> bytes:
    """The bytes of an .itg file. Raises ArgumentError if the container breaks a rule of the format."""
    header, payloads, sections = container.header, container.payloads, container.sections
    _check_header(header)
    expected = _tile_count(header)
    if len(payloads) != expected:
        raise ArgumentError(f"there are {len(payloads)} payloads; this header's tile grid needs {expected}")
    for payload in payloads:
        _check_bytes("a tile payload", payload)
    out = bytearray(MAGIC)
    out += bytes((VERSION, (_HAS_SECTIONS if sections else 0) | (_HAS_GIVEN if header.given else 0)))
    out += _varint(header.width) + _varint(header.height)
    out += bytes(((header.depth - 1) << 4 | header.channels, header.rate))
    out += header.model_id + _varint(header.tile) + (header.given or b"")
    for payload in payloads:
        out += _varint(len(payload))
    if sections:
        out += _varint(len(sections))
    for tag, content in sections.items():
        out += _section(tag, content)
    for payload in payloads:
        out += payload
    return bytes(out + _crc(out))


def read_header(data: bytes | bytearray | memoryview, max_pixels: int = DEFAULT_MAX_PIXELS) -> Header:
    """The validated header of an .itg file; its first 31 bytes are enough, and no checksum is verified.

    `max_pixels` bounds width * height, a side shorter than 64 counting as 64. Raises FormatError if the data
    do not begin with a header of this version or the picture is over the limit, and ArgumentError for a wrong
    argument.
    """
    return _read_header(_Cursor(_view(data)), max_pixels)[0]


def read(data: bytes | bytearray | memoryview, max_pixels: int = DEFAULT_MAX_PIXELS) -> Container:
    """The content of an .itg file, checksums verified; sections with unknown tags are kept, in their order.

    `max_pixels` bounds width * height, a side shorter than 64 counting as 64. Raises FormatError if the data
    are not exactly one whole, undamaged .itg file of this version or the picture is over the limit, and
    ArgumentError for a wrong argument.
    """
    cursor = _Cursor(_view(data))
    header, flags = _read_header(cursor, max_pixels)
    tiles = _tile_count(header)
    if tiles > cursor.left():  # each tile has at least one byte in the table: refuse before building it
        raise cursor.cut_short("the tile table")
    lengths = [cursor.varint("the tile table") for _ in range(tiles)]
    sections = _read_sections(cursor) if flags & _HAS_SECTIONS else {}
    surplus = cursor.left() - sum(lengths) - _CRC_BYTES
    if surplus < 0:
        raise cursor.cut_short("the tiles")
    if surplus > 0:
        raise _damaged(f"{surplus} bytes too many for what the tile table says")
    payloads = tuple(bytes(cursor.take(length, "the tiles")) for length in lengths)
    if _crc(cursor.data[: cursor.at]) != cursor.take(_CRC_BYTES, "the checksum"):
        raise _damaged("the checksum over the whole file is wrong")
    return Container(header, payloads, sections)


class _Cursor:
    """A position in untrusted bytes; whatever would reach beyond their end raises FormatError."""

    def __init__(self, data: memoryview) -> None:
        self.data = data
        self.at = 0

    def left(self) -> int:
        """How many bytes follow."""
        return len(self.data) - self.at

    def cut_short(self, what: str) -> FormatError:
        """The error for data that end before `what` does."""
        return FormatError(f"the .itg data are cut short: they end after {len(self.data)} bytes, inside {what}")

    def take(self, count: int, what: str) -> memoryview:
        """The next `count` bytes, which belong to `what`; no copy."""
        if count > self.left():
            raise self.cut_short(what)
        self.at += count
        return self.data[self.at - count : self.at]

    def varint(self, what: str) -> int:
        """The next canonical LEB128 number, 0..2^31-1."""
        value, shift, start = 0, 0, self.at
        while True:
            byte = self.take(1, what)[0]
            value |= (byte & 0x7F) << shift
            if value > MAX_VARINT or shift > 28:
                raise _damaged(f"the number at byte {start} is over {MAX_VARINT}")
            if byte < 0x80:
                break
            shift += 7
        if byte == 0 and shift:
            raise _damaged(f"the number at byte {start} takes more bytes than it needs")
        return value


def _damaged(what: str) -> FormatError:
    return FormatError(f"the .itg data are damaged: {what}")


def _read_header(cursor: _Cursor, max_pixels: int) -> tuple[Header, int]:
    if not _is_int(max_pixels, 1, None):
        raise ArgumentError(f"max_pixels is {max_pixels!r}; it must be a whole number of at least 1")
    if not cursor.left():
        raise FormatError("the .itg data are empty: not one byte to decode")
    if bytes(cursor.data[:4]) != MAGIC[: len(cursor.data)]:
        raise FormatError("this is not an .itg file: it does not begin with the bytes 8B 49 54 47")
    what = "the header"
    cursor.take(4, what)
    version = cursor.take(1, what)[0]
    if version == 0:
        raise FormatError(
            "the .itg data have version 0, before the format was frozen: only the Intaglio that made them reads them"
        )
    if version > VERSION:
        raise FormatError(
            f"the .itg data have format version {version}, and this Intaglio reads up to {VERSION}: "
            "use a newer Intaglio"
        )
    flags = cursor.take(1, what)[0]
    if flags & ~(_HAS_SECTIONS | _HAS_GIVEN):
        raise FormatError(f"the .itg data have unknown flags 0x{flags:02x}: damaged, or of a newer Intaglio")
    width, height = cursor.varint(what), cursor.varint(what)
    sample, rate = cursor.take(2, what)
    model_id = bytes(cursor.take(4, what))
    tile = cursor.varint(what)
    given = bytes(cursor.take(4, what)) if flags & _HAS_GIVEN else None
    header = Header(width, height, sample & 15, (sample >> 4) + 1, rate, model_id, tile, given)
    fault = _header_fault(header)
    if fault is not None:
        raise FormatError(f"the .itg header cannot be used: {fault}")
    # The networks work on whole blocks, so a long line of pixels costs as much as a strip 64 high.
    pixels = max(width, BLOCK) * max(height, BLOCK)
    if pixels > max_pixels:
        raise FormatError(
            f"the picture has {width} x {height} pixels, over the limit of {max_pixels}: "
            f"if you trust the file, pass max_pixels={pixels} (--max-pixels on the command line)"
        )
    tile_width, tile_height = (_padded_tile(side, header.tile) for side in (width, height))
    if tile_width * tile_height > MAX_TILE_PIXELS:
        size = f"{tile_width} x {tile_height}"
        raise FormatError(f"a tile of the picture has {size} pixels, over the limit of {MAX_TILE_PIXELS}")
    return header, flags


def _read_sections(cursor: _Cursor) -> dict[str, bytes]:
    what = "the metadata"
    count = cursor.varint(what)
    if count == 0:
        raise _damaged("flagged as having metadata, but with no section")
    if count > cursor.left() // _MIN_SECTION_BYTES:
        raise cursor.cut_short(what)
    sections: dict[str, bytes] = {}
    for _ in range(count):
        raw_tag = bytes(cursor.take(4, what))
        tag = raw_tag.decode("latin-1")
        if not _is_tag(tag):
            raise _damaged(f"{raw_tag!r} is not a metadata tag")
        if tag in sections:
            raise _damaged(f"metadata section {tag!r} comes twice")
        content = bytes(cursor.take(cursor.varint(what), what))
        if cursor.take(_CRC_BYTES, what) != _crc(raw_tag + content):
            raise _damaged(f"the checksum of metadata section {tag!r} is wrong")
        sections[tag] = content
    return sections


def _section(tag: str, content: bytes) -> bytes:
    if not _is_tag(tag):
        raise ArgumentError(f"metadata tag {tag!r} must be 4 printable ASCII characters")
    _check_bytes(f"metadata section {tag!r}", content)
    raw_tag = tag.encode("ascii")
    return raw_tag + _varint(len(content)) + content + _crc(raw_tag + content)


def _check_header(header: Header) -> None:
    fault = _header_fault(header)
    if fault is not None:
        raise ArgumentError(f"this header cannot be written: {fault}")


def _header_fault(header: Header) -> str | None:
    """What is wrong with a header, in words, or None; the one place where its fields are judged."""
    if not (_is_int(header.width, 1, MAX_VARINT) and _is_int(header.height, 1, MAX_VARINT)):
        return f"its size is {header.width!r} x {header.height!r}; each side must be from 1 to {MAX_VARINT}"
    if not _is_int(header.channels, 1, 3) or header.channels == 2:
        return f"it has {header.channels!r} channels; 1 (grey) and 3 (RGB) are supported"
    if not _is_int(header.depth, 8, 8):
        return f"it has {header.depth!r} bits per sample; 8 are supported"
    if not _is_int(header.rate, 0, MAX_RATE):
        return f"its rate step is {header.rate!r}; it must be from 0 to {MAX_RATE}"
    if not isinstance(header.model_id, bytes) or len(header.model_id) != 4:
        return f"its model id is {header.model_id!r}; it must be 4 bytes"
    if not _is_int(header.tile, 0, MAX_VARINT):
        return f"its tile side is {header.tile!r}; it must be from 0 to {MAX_VARINT}"
    if header.given is not None and (not isinstance(header.given, bytes) or len(header.given) != 4):
        return f"its digest of the given picture is {header.given!r}; it must be 4 bytes"
    return None


def _padded_tile(side: int, tile: int) -> int:
    """Width or height of the first tile of a picture, in pixels, padded to whole blocks."""
    blocks = _ceil_div(side, BLOCK)
    return BLOCK * (min(blocks, tile) if tile else blocks)


def _tile_count(header: Header) -> int:
    if header.tile == 0:
        return 1
    side = header.tile * BLOCK
    return _ceil_div(header.width, side) * _ceil_div(header.height, side)


def _varint(value: int) -> bytes:
    """Canonical LEB128: 7 bits a byte, lowest first, the high bit set on all bytes but the last."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _crc(data: bytes | bytearray | memoryview) -> bytes:
    return zlib.crc32(data).to_bytes(_CRC_BYTES, "little")


def _view(data: bytes | bytearray | memoryview) -> memoryview:
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise ArgumentError(f"coded data must be bytes, not {type(data).__name__}")
    view = memoryview(data)
    if not view.c_contiguous:
        raise ArgumentError("coded data must be contiguous bytes, not a strided view")
    return view.cast("B")


def _check_bytes(what: str, content: bytes) -> None:
    if not isinstance(content, bytes) or len(content) > MAX_VARINT:
        raise ArgumentError(f"{what} is {type(content).__name__}; it must be bytes, at most {MAX_VARINT} of them")


def _is_int(value: object, low: int, high: int | None) -> bool:
    if not isinstance(value, Integral) or isinstance(value, bool):
        return False
    return low <= int(value) and (high is None or int(value) <= high)


def _is_tag(tag: object) -> bool:
    return isinstance(tag, str) and len(tag) == 4 and all(" " <= letter <= "~" for letter in tag)


def _ceil_div(a: int, b: int) -> int:
    return -(-a // b)
