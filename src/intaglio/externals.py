"""Codecs that are programs: declared by two command lines, run on temporary files.

A program takes a picture as PNG and converts colours itself (BPG), or as raw YCbCr 4:4:4 planes, which are made here:
BT.601, full range, computed in floating point and rounded once, to 8 or 10 bits (VTM, HM). At 10 bits that conversion
loses nothing; at 8 bits it leaves 53 dB. A program runs in a temporary folder of its own, two hours at most.
"""

from __future__ import annotations

import functools
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from intaglio import images
from intaglio.errors import ArgumentError, ImageError
from intaglio.record import digest

TIME_LIMIT_S = 7200.0  # VTM takes minutes; what takes hours hangs
# ITU-R BT.601-7, 2.5: luma weights of R, G, B; Cb = (B - Y) / 1.772, Cr = (R - Y) / 1.402
_LUMA = np.array([0.299, 0.587, 0.114])
_FORWARD = np.stack([_LUMA, (np.array([0, 0, 1]) - _LUMA) / 1.772, (np.array([1, 0, 0]) - _LUMA) / 1.402])
_BACKWARD = np.linalg.inv(_FORWARD)
_SIZE = struct.Struct("<HH")  # width and height, before the stream of a program that writes raw planes


@dataclass(frozen=True)
class Program:
    """A codec that is a pair of programs; its methods are those of `intaglio.codecs.Codec`.

    encoder, decoder: command lines, the program first. In their words {picture}, {coded}, {decoded} stand for files,
    {q} for the setting, {width}, {height}, {depth} for numbers, {config} for the file `config`. depth: 0 if the
    pictures are PNG, else the bits of raw planes (Y, Cb, Cr; 16-bit little-endian above 8 bits). qualities: worst
    first. source: where a person gets it.
    """

    name: str
    label: str
    encoder: tuple[str, ...]
    decoder: tuple[str, ...]
    qualities: range
    usual: tuple[int, ...]
    source: str
    depth: int = 0
    config: str = ""
    in_process: bool = False

    @property
    def about(self) -> str:
        """The encoder's name and arguments, the colours it gets, and what the SHA-256 of each file begins with: both
        programs and the configuration.
        """
        colour = f"BT.601 full range 4:4:4, {self.depth} bits" if self.depth else "converts colours itself"
        files = filter(None, (self.encoder[0], self.decoder[0], self.config))
        digests = ", ".join(f"{Path(file).name} {_digest(file) or 'missing'}" for file in files)
        return f"{' '.join((Path(self.encoder[0]).name, *self.encoder[1:]))}; {colour}; {digests}"

    def encode(self, pixels: np.ndarray, quality: float) -> bytes:
        """The file for uint8 (H,W,3) or (H,W). With raw planes 4 bytes of size stand before it: planes do not tell it.

        Raises ArgumentError for a wrong picture or setting, ImageError if the program fails.
        """
        if quality not in self.qualities:
            low, high = sorted((self.qualities[0], self.qualities[-1]))
            raise ArgumentError(f"{self.name}: the setting is {quality!r}; it must be an integer from {low} to {high}")
        rgb = images.to_rgb(pixels)
        height, width = rgb.shape[:2]
        if max(height, width) > 0xFFFF:
            raise ImageError(f"{self.name}: cannot code a picture of {width}x{height}; a side has 65535 pixels at most")
        with tempfile.TemporaryDirectory() as folder:
            words = self._words(folder) | {"width": str(width), "height": str(height), "q": str(int(quality))}
            if self.depth:
                Path(words["picture"]).write_bytes(to_ycbcr(rgb, self.depth).tobytes())
            else:
                images.save(words["picture"], rgb)
            data = self._run(self.encoder, words, "coded")
        return (_SIZE.pack(width, height) if self.depth else b"") + data

    def decode(self, data: bytes) -> np.ndarray:
        """uint8 (H,W,3) of a file that `encode` made. Raises ImageError if the program fails."""
        head = _SIZE.size if self.depth else 0
        if len(data) <= head:
            raise ImageError(f"{self.name}: the file has {len(data)} bytes; it is cut short")
        with tempfile.TemporaryDirectory() as folder:
            words = self._words(folder)
            Path(words["coded"]).write_bytes(data[head:])
            found = self._run(self.decoder, words, "decoded")
        if not self.depth:
            return images.to_rgb(images.load(found).pixels)
        width, height = _SIZE.unpack(data[:head])
        samples = np.frombuffer(found, "u1" if self.depth == 8 else "<u2", count=len(found) // (1 + (self.depth > 8)))
        if samples.size != 3 * height * width:
            raise ImageError(f"{self.name}: decoded {samples.size} samples, not the 3 x {width} x {height} of 4:4:4")
        return from_ycbcr(samples.reshape(3, height, width), self.depth)

    def _words(self, folder: str) -> dict[str, str]:
        kind = "yuv" if self.depth else "png"
        files = {"picture": f"picture.{kind}", "coded": "coded.bin", "decoded": f"decoded.{kind}"}
        found = {name: str(Path(folder) / file) for name, file in files.items()}
        return found | {"depth": str(self.depth), "config": self.config}

    def _run(self, command: Sequence[str], words: Mapping[str, str], wanted: str) -> bytes:
        """Runs the command and returns the file it had to write."""
        line = [command[0], *(word.format_map(words) for word in command[1:])]
        name = Path(command[0]).name
        try:
            done = subprocess.run(
                line,
                cwd=Path(words[wanted]).parent,  # for what it writes besides
                capture_output=True,
                text=True,
                errors="replace",
                stdin=subprocess.DEVNULL,
                timeout=TIME_LIMIT_S,
            )
        except OSError as error:
            raise ImageError(f"{self.name}: {name} cannot be started ({error.strerror or error})") from None
        except subprocess.TimeoutExpired:
            raise ImageError(f"{self.name}: {name} did not end in {TIME_LIMIT_S:g} seconds and was stopped") from None
        said = [each for each in (done.stderr + "\n" + done.stdout).splitlines() if each.strip()]
        if done.returncode:
            last = said[-1].strip() if said else "without a word"
            raise ImageError(f"{self.name}: {name} failed with code {done.returncode} ({last})")
        try:
            return Path(words[wanted]).read_bytes()
        except OSError:
            raise ImageError(f"{self.name}: {name} ended well but wrote no {wanted} file") from None


@functools.cache
def _digest(path: str) -> str:
    return digest(path)[:8]


def to_ycbcr(pixels: np.ndarray, depth: int) -> NDArray[np.uint8 | np.uint16]:
    """Planes Y, Cb, Cr, (3,H,W), of uint8 (H,W,3): BT.601, full range; uint8 at 8 bits, else little-endian uint16.

    Floating point, rounded once, half up. Y is 0 .. 2^depth - 1; Cb and Cr lie around 2^(depth - 1).
    """
    peak = 2**depth - 1
    planes = np.moveaxis(pixels.astype(np.float64) @ _FORWARD.T, 2, 0) * (peak / 255.0)
    planes[1:] += 2 ** (depth - 1)
    return np.floor(np.clip(planes, 0, peak) + 0.5).astype("u1" if depth == 8 else "<u2")


def from_ycbcr(planes: np.ndarray, depth: int) -> NDArray[np.uint8]:
    """uint8 (H,W,3) of the planes of `to_ycbcr`; floating point, rounded once, half up."""
    values = planes.astype(np.float64)
    values[1:] -= 2 ** (depth - 1)
    pixels = np.moveaxis(values, 0, 2) @ _BACKWARD.T * (255.0 / (2**depth - 1))
    return np.floor(np.clip(pixels, 0, 255) + 0.5).astype(np.uint8)


def installed(program: Program) -> Program:
    """The program with whole paths, and its configuration found: beside the encoder, in ../cfg or in ../share.

    Raises ArgumentError, in one line that says what to install, if something is missing.
    """
    paths = {}
    for name in (program.encoder[0], program.decoder[0]):
        # reference software names its static builds so
        found = shutil.which(name) or shutil.which(name + "Static")
        if not found:
            raise ArgumentError(f"{program.label} needs the program {name}, which is not on the PATH: {program.source}")
        paths[name] = str(Path(found).resolve())
    encoder = (paths[program.encoder[0]], *program.encoder[1:])
    decoder = (paths[program.decoder[0]], *program.decoder[1:])
    config = program.config
    if config:
        folder = Path(encoder[0]).parent
        places = [folder / config, folder.parent / "cfg" / config, folder.parent / "share" / config]
        config = next((str(place) for place in places if place.is_file()), "")
        if not config:
            raise ArgumentError(f"{program.label} needs {program.config} in {folder} or {folder.parent / 'cfg'}")
    return replace(program, encoder=encoder, decoder=decoder, config=config)


# One intra picture, 4:4:4, 10 bits in and inside. A side need not be a multiple of the smallest block: mode 1 pads it.
# Without -o the encoder's own picture would be rec.yuv.
_REFERENCE = (
    *("-c", "{config}", "-i", "{picture}", "-b", "{coded}", "-o", "{decoded}", "-q", "{q}", "-f", "1", "-fr", "1"),
    *("--SourceWidth={width}", "--SourceHeight={height}", "--InputChromaFormat=444", "--InputBitDepth={depth}"),
    *("--InternalBitDepth={depth}", "--ConformanceWindowMode=1"),
)
_REFERENCE_DECODER = ("-b", "{coded}", "-o", "{decoded}", "-d", "{depth}")
_QP, _USUAL_QP = range(51, -1, -1), (47, 44, 41, 38, 35, 32, 29, 26, 23, 20, 17)
PROGRAMS = (
    Program(
        "bpg",
        "BPG 4:4:4",
        ("bpgenc", "-m", "9", "-c", "ycbcr", "-f", "444", "-b", "8", "-q", "{q}", "-o", "{coded}", "{picture}"),
        ("bpgdec", "-o", "{decoded}", "{coded}"),
        _QP,
        _USUAL_QP,
        "build libbpg of Fabrice Bellard",
    ),
    Program(
        "hm",
        "HM",
        ("TAppEncoder", *_REFERENCE),
        ("TAppDecoder", *_REFERENCE_DECODER),
        _QP,
        _USUAL_QP,
        "build HM, the HEVC reference software",
        10,
        "encoder_intra_main_rext.cfg",
    ),
    Program(
        "vtm",
        "VTM",
        ("EncoderApp", *_REFERENCE),
        ("DecoderApp", *_REFERENCE_DECODER),
        range(63, -1, -1),
        _USUAL_QP,
        "build VTM, the VVC reference software",
        10,
        "encoder_intra_vtm.cfg",
    ),
)
