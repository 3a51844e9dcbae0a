"""Decoded Pillow images of any mode to upright 8-bit sRGB arrays, saying what is lost or guessed."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image, ImageCms

from intaglio.errors import ImageError

# Modes that Pillow widens to 8 bits without a question of colour; the text says what a person should know.
_WIDENED = {
    "1": ("L", "1-bit picture widened to 8-bit grey"),
    "P": ("RGB", "palette expanded to RGB"),
    "PA": ("RGBA", "palette expanded to RGB"),
    "La": ("LA", ""),
    "RGBa": ("RGBA", ""),
    "RGBX": ("RGB", ""),
    "YCbCr": ("RGB", "YCbCr converted to RGB"),
    "HSV": ("RGB", "HSV converted to RGB"),
}

_PROFILE_SPACES = {"L": ("GRAY", "RGB"), "RGB": ("RGB",), "CMYK": ("CMYK",)}


def one_line(error: BaseException) -> str:
    """The text of an error without line breaks; the name of its class when it has none."""
    return " ".join(str(error).split()) or type(error).__name__


def convert(image: Image.Image, notices: list[str]) -> np.ndarray:
    """uint8 (H,W,3) or (H,W), upright, sRGB, from a decoded Pillow image.

    Adds to `notices` what was converted, dropped or guessed, one line each. Raises ImageError for a mode that
    is refused (floating point, 32-bit integers).
    """
    colour, alpha = _split(image, notices)
    pixels = np.array(_to_srgb(colour, image.info, notices))
    if alpha is not None:
        pixels = _over_white(pixels, np.asarray(alpha), notices)
    return _upright(pixels, image, notices)


def _split(image: Image.Image, notices: list[str]) -> tuple[Image.Image, Image.Image | None]:
    """The colours in mode L, RGB, CMYK or LAB, and the alpha, if any, in mode L."""
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM"):
        return _from_sixteen_bits(image, notices)
    if image.mode in _WIDENED:
        mode, notice = _WIDENED[image.mode]
        if notice:
            notices.append(notice)
        if image.has_transparency_data:
            mode = "LA" if mode in ("L", "LA") else "RGBA"
        image = image.convert(mode)
    elif image.mode in ("L", "RGB") and "transparency" in image.info:
        image = image.convert({"L": "LA", "RGB": "RGBA"}[image.mode])
    if image.mode in ("LA", "RGBA"):
        # Taking the channels apart keeps the colour under transparent pixels out of any conversion.
        bands = image.split()
        return (bands[0] if image.mode == "LA" else Image.merge("RGB", bands[:3])), bands[-1]
    if image.mode not in ("L", "RGB", "CMYK", "LAB"):
        raise ImageError(f"samples of mode {image.mode} are refused; convert the picture to 8 or 16 bits first")
    return image, None


def _from_sixteen_bits(image: Image.Image, notices: list[str]) -> tuple[Image.Image, Image.Image | None]:
    values = np.asarray(image).astype(np.int32)
    tags = getattr(image, "tag_v2", {})
    bits = tags.get(258, (16,))[0]
    white = 2**bits - 1
    if tags.get(262) == 0:  # TIFF: white is zero, which Pillow leaves to us at this depth
        values = white - values
    grey = (np.clip(values, 0, white) * 510 + white) // (2 * white)
    notices.append(f"{bits}-bit grey scaled to 8 bits")
    key = image.info.get("transparency")
    alpha = None if key is None else Image.fromarray(np.where(values == key, 0, 255).astype(np.uint8))
    return Image.fromarray(grey.astype(np.uint8)), alpha


def _to_srgb(image: Image.Image, info: dict[Any, Any], notices: list[str]) -> Image.Image:
    """Mode L or RGB in sRGB from mode L, RGB, CMYK or LAB, by the profile in `info` where it fits."""
    data = info.get("icc_profile")
    srgb = ImageCms.createProfile("sRGB")
    if image.mode == "LAB":
        notices.append("CIELAB converted to sRGB")
        return _transformed(image, ImageCms.createProfile("LAB"), srgb)
    if data:
        try:
            return _by_profile(image, data, notices)
        except (ImageCms.PyCMSError, OSError, ValueError, TypeError) as error:
            notices.append(f"the colour profile cannot be used and is ignored ({one_line(error)})")
    elif abs(info.get("gamma", 1 / 2.2) - 1 / 2.2) > 0.02 and "srgb" not in info:
        notices.append(f"the file's gamma of {info['gamma']:g} is ignored; sRGB is assumed")
    if image.mode == "CMYK":
        notices.append("CMYK converted to RGB without a colour profile: the colours are approximate")
        return image.convert("RGB")
    return image


def _by_profile(image: Image.Image, data: bytes, notices: list[str]) -> Image.Image:
    profile = ImageCms.ImageCmsProfile(io.BytesIO(data))
    core: Any = profile.profile
    space = core.xcolor_space.strip()
    if space not in _PROFILE_SPACES[image.mode]:
        raise ValueError(f"it is for {space}, the picture is {image.mode}")
    srgb = ImageCms.createProfile("sRGB")
    label = " ".join((core.profile_description or "unnamed").split())
    notice = f"colours converted from the profile {label!a} to sRGB"
    if image.mode == "CMYK":
        notices.append(notice)
        return _transformed(image, profile, srgb)
    # Profiles that call themselves sRGB are many and some lie: what the profile does decides, not its name.
    probe = _ramp() if image.mode == "L" else _lattice()
    source = probe.convert("RGB") if space == "RGB" else probe
    shown = np.asarray(_transformed(source, profile, srgb)).astype(np.int16)
    if np.abs(shown - np.asarray(probe.convert("RGB"))).max() <= 1:
        return image
    notices.append(notice)
    return image.point(shown[0, :, 1].tolist()) if image.mode == "L" else _transformed(image, profile, srgb)


def _transformed(image: Image.Image, source: Any, target: Any) -> Image.Image:
    intent = ImageCms.Intent.PERCEPTUAL
    transform = ImageCms.buildTransform(source, target, image.mode, "RGB", intent)
    result = ImageCms.applyTransform(image, transform)
    if result is None:
        raise ValueError("the conversion gave no picture")
    return result


def _ramp() -> Image.Image:
    return Image.fromarray(np.arange(256, dtype=np.uint8)[None])


def _lattice() -> Image.Image:
    levels = np.linspace(0, 255, 9).round().astype(np.uint8)
    return Image.fromarray(np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(27, 27, 3))


def _over_white(pixels: np.ndarray, alpha: np.ndarray, notices: list[str]) -> np.ndarray:
    if alpha.min() == 255:
        notices.append("alpha channel dropped (it is opaque everywhere)")
        return pixels
    notices.append("transparency laid over white")
    cover = alpha.astype(np.uint32) if pixels.ndim == 2 else alpha.astype(np.uint32)[:, :, None]
    return ((pixels * cover + 255 * (255 - cover) + 127) // 255).astype(np.uint8)


def _upright(pixels: np.ndarray, image: Image.Image, notices: list[str]) -> np.ndarray:
    try:
        orientation = image.getexif().get(0x0112, 1)
    except Exception as error:  # Exif is an arbitrary blob; Pillow's reader raises nearly anything
        notices.append(f"the Exif data cannot be read and is ignored ({one_line(error)})")
        return pixels
    # Exif 2.32, 4.6.4, Orientation: 5 to 8 swap the sides, then each is a flip of one side, both or none.
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)
