"""One image file as pixels: its name says nothing, nothing in it runs, and of what it holds only the pixels are kept."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFile, ImageOps

FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP")
SUFFIXES = (".png", ".jpg", ".jpeg", ".jfif", ".gif", ".bmp", ".webp")
OTHERS = (".svg", ".tif", ".tiff", ".heic", ".heif", ".avif", ".ico", ".psd", ".jp2", ".ppm", ".pgm", ".dcm")
"""Suffixes of images that are not read: their files count as images that cannot be, and are not passed over."""
NEEDED = "PNG, JPEG, GIF, BMP or WebP"
MOST_PIXELS = 50_000_000
MOST_BYTES = 100_000_000
"""Of one image and its file."""
ORIENTATION = 0x0112
EIGHT_BIT = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")

Image.MAX_IMAGE_PIXELS = MOST_PIXELS
warnings.simplefilter("error", Image.DecompressionBombWarning)  # as Pillow's documentation advises for files of strangers


class Unreadable(Exception):
    """One image cannot be read. The message goes on after its name: "'a.png' is empty"."""


@dataclass(frozen=True)
class Picture:
    """An image of mode L or RGB, the size (pixels) and mode that its file had, and what was done to it: names in `notes.DONE`."""

    image: Image.Image
    width: int
    height: int
    mode: str
    done: tuple[str, ...] = ()


def size_of(data: bytes) -> tuple[int, int]:
    """Return height and width from the head of a file, nothing decoded.

    Raises:
        Unreadable: it is no image of a format that is read, or too large.
    """
    image = _opened(data)
    sideways = image.format == "JPEG" and image.getexif().get(ORIENTATION, 1) >= 5
    return (image.width, image.height) if sideways else (image.height, image.width)


def decode(data: bytes, enough: int = 0) -> Picture:
    """Return the pixels of a file: the first frame, upright as EXIF says, transparent parts on white, 8 bits.

    `enough`: pixels of a side that are going to be kept (0: all). JPEG is decoded at a half, a quarter or an eighth, if twice as many
    remain.

    Raises:
        Unreadable: it is no image of a format that is read, too large, or damaged.
    """
    image = _opened(data)
    mode, done = image.mode, []
    try:
        if getattr(image, "is_animated", False):
            done.append("animated")
        if any(";16" in str(tile) for tile in image.tile):
            done.append("deep")
        width, height = image.size
        if enough:
            image.draft(None, (2 * enough, 2 * enough))
        image.load()
        turn = image.getexif().get(ORIENTATION, 1)
        upright: Image.Image = image
        if 2 <= turn <= 8:
            done.append("turned")
            upright = ImageOps.exif_transpose(image)
            width, height = (height, width) if turn >= 5 else (width, height)
        return Picture(_flat(upright, done), width, height, mode, tuple(done))
    except Unreadable:
        raise
    except Exception:  # damaged files make Pillow raise nearly anything
        raise Unreadable("is damaged or cut short") from None


def _opened(data: bytes) -> ImageFile.ImageFile:
    if not data:
        raise Unreadable("is empty")
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise Unreadable(f"has more than {MOST_PIXELS:,} pixels") from None
    except Exception:
        raise Unreadable(_what(data)) from None
    if image.width * image.height > MOST_PIXELS:
        raise Unreadable(f"has more than {MOST_PIXELS:,} pixels")
    return image


def _what(data: bytes) -> str:
    head = data[:256].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if head.startswith((b"<svg", b"<?xml")):
        return f"is an SVG drawing, not {NEEDED}"
    if data.startswith((b"II*\0", b"MM\0*")):
        return f"is a TIFF image, not {NEEDED}"
    if data.startswith((b"\x89PNG", b"\xff\xd8\xff", b"GIF8")):
        return "is damaged or cut short"
    return f"is no {NEEDED} image"


def _flat(image: Image.Image, done: list[str]) -> Image.Image:
    """Return the image as 8 bits of grey or colour.

    Raises:
        Unreadable: its pixels are of another kind.
    """
    if image.mode.startswith("I;16"):
        done.extend({"deep"} - set(done))
        return Image.fromarray(((np.asarray(image).astype(np.uint32) + 128) // 257).astype(np.uint8))
    if image.mode not in EIGHT_BIT:
        raise Unreadable(f"has pixels of a kind that is not read ({image.mode})")
    done.extend({"P": ["palette"], "PA": ["palette"], "CMYK": ["cmyk"]}.get(image.mode, []))
    plain = "L" if image.mode in ("1", "L", "LA") else "RGB"
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        if np.asarray(layer.getchannel("A")).min() < 255:
            done.append("transparent")
            ground = Image.new("RGBA", image.size, "white")
            ground.alpha_composite(layer)
            return ground.convert(plain)
    return image if image.mode == plain else image.convert(plain)
