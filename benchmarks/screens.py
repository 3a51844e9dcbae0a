"""Screen captures that are drawn, not photographed: what a codec trained on photographs was not made for.

    python benchmarks/screens.py FOLDER

writes page, terminal, chart, window and caption as PNG files of 960 x 640. They are the same on every machine with the
same Pillow and matplotlib, whose fonts they use; the text is that of files here that do not change.
"""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

ROOT = Path(__file__).resolve().parent.parent
SIZE = (960, 640)
FONTS = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
Colour = tuple[int, int, int]
INK, PAPER, NIGHT = (20, 20, 24), (252, 252, 250), (30, 32, 40)
WORDS = {"def": (198, 120, 221), "return": (198, 120, 221), "class": (198, 120, 221), "for": (198, 120, 221)}
FIRST = 18  # line of the source code shown
PLAIN, STRING, NOTE = (200, 205, 214), (152, 195, 121), (110, 118, 132)


def _font(name: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(FONTS / f"{name}.ttf", size)


def _canvas(colour: Colour) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    image = Image.new("RGB", SIZE, colour)
    return image, ImageDraw.Draw(image)


def _text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def page() -> Image.Image:
    """Black text on white, as a document viewer shows it."""
    image, draw = _canvas(PAPER)
    draw.text((60, 36), "Licence", INK, _font("DejaVuSerif-Bold", 28))
    words = _text("LICENSE").split()
    font, line, top = _font("DejaVuSerif", 14), "", 90
    for word in words:
        if draw.textlength(f"{line} {word}", font) > SIZE[0] - 120:
            draw.text((60, top), line, INK, font)
            line, top = word, top + 22
        else:
            line = f"{line} {word}".strip()
        if top > SIZE[1] - 50:
            break
    return image


def terminal() -> Image.Image:
    """Source code in colours on a dark ground."""
    image, draw = _canvas(NIGHT)
    font = _font("DejaVuSansMono", 13)
    for number, line in enumerate(_text("tests/golden/v1/make.py").splitlines()[FIRST : FIRST + 38]):
        left, top = 56.0, 12 + 16 * number
        draw.text((14, top), f"{number + FIRST + 1:3d}", NOTE, font)
        for part in re.split(r"(\W+)", line):
            colour = WORDS.get(part, STRING if '"' in part else PLAIN)
            draw.text((left, top), part, colour, font)
            left += draw.textlength(part, font)
    return image


def chart() -> Image.Image:
    """Thin lines, markers, a legend and small figures."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure((9.6, 6.4), dpi=100)
    axes, x = figure.subplots(), np.linspace(0.05, 2.0, 40)
    for number, name in enumerate(("one", "two", "three", "four")):
        axes.plot(x, 26.0 + 5.0 * np.log2(1.0 + 8.0 * x) - 1.5 * number, marker="osd^"[number], label=f"codec {name}")
    axes.set(xlabel="bits per pixel", ylabel="PSNR, dB", title="Rate and distortion")
    axes.grid(alpha=0.4)
    axes.legend()
    target = io.BytesIO()
    FigureCanvasAgg(figure).print_png(target)
    return Image.open(target).convert("RGB").resize(SIZE)


def window() -> Image.Image:
    """A program: gradients, rounded buttons, a list, a photograph among them."""
    image, draw = _canvas((236, 238, 242))
    for row in range(64):
        draw.line((0, row, SIZE[0], row), (70 + row, 120 + row // 2, 200 - row // 2))
    for number, label in enumerate(("Open", "Save", "Export", "Undo", "Zoom", "Help")):
        box = (16 + 110 * number, 14, 112 + 110 * number, 50)
        draw.rounded_rectangle(box, 8, (248, 249, 251), (60, 80, 120))
        draw.text((box[0] + 48, 32), label, INK, _font("DejaVuSans", 15), "mm")
    for number in range(16):
        top = 84 + 34 * number
        draw.rectangle((16, top, 330, top + 31), (255, 255, 255) if number % 2 else (245, 247, 250))
        draw.ellipse((24, top + 6, 44, top + 26), (40 + 13 * number, 160, 230 - 12 * number))
        draw.text((54, top + 7), f"IMG_{2400 + 37 * number}.itg   {113 + 29 * number} kB", INK, _font("DejaVuSans", 13))
    image.paste(_example().resize((590, 540)), (350, 84))
    return image


def caption() -> Image.Image:
    """A photograph with sharp letters over it."""
    image = _example().resize(SIZE)
    draw = ImageDraw.Draw(image)
    where = SIZE[0] // 2, SIZE[1] - 60
    text, font = "What is left when the rate is gone?", _font("DejaVuSans-Bold", 34)
    draw.text(where, text, (255, 255, 255), font, "mm", stroke_width=2, stroke_fill=INK)
    return image


def _example() -> Image.Image:
    with Image.open(ROOT / "examples" / "colosseum.webp") as picture:
        return picture.convert("RGB")


DRAWN: dict[str, Callable[[], Image.Image]] = {each.__name__: each for each in (page, terminal, chart, window, caption)}


def write(folder: Path) -> None:
    """Writes all of them to the folder, which is made if it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, draw in DRAWN.items():
        draw().save(folder / f"{name}.png")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    write(Path(sys.argv[1]))
