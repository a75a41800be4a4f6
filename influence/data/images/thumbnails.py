"""Small pictures of what the model sees, as addresses that hold their own bytes (data URIs): a page shows them without asking for more."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

from influence.data.images.decode import decode

SIDE = 64
"""Pixels of the longer side at most."""


def drawable(shape: tuple[int, ...]) -> bool:
    """Whether inputs of this shape can be shown: (C, H, W) with one channel or three."""
    return len(shape) == 3 and shape[0] in (1, 3)


def of_pixels(pixels: np.ndarray, side: int = SIDE) -> str:
    """Return the thumbnail of (C, H, W) pixels from 0 to 1; others, as of normalised images, are stretched to that.

    Small images are enlarged by whole numbers up to `side`, each pixel a square: 8 x 8 digits can be read then.
    """
    eight = np.rint(unit(pixels) * 255).astype(np.uint8)
    return _address(Image.fromarray(eight[0] if len(eight) == 1 else np.moveaxis(eight, 0, 2)), side)


def unit(pixels: np.ndarray) -> np.ndarray:
    """Return pixels from 0 to 1, float64; others, as of normalised images, are stretched to that."""
    planes = np.asarray(pixels, dtype=np.float64)
    low, high = float(planes.min()), float(planes.max())
    return (planes - low) / max(high - low, 1e-12) if low < 0 or high > 1 else planes


def of_found(found: bytes | np.ndarray) -> str:
    """Return the thumbnail of what `Images` reads: a file's bytes, or pixels.

    Raises:
        Unreadable: the bytes are no image that can be read.
    """
    return of_pixels(found) if isinstance(found, np.ndarray) else _address(decode(found, SIDE).image)


def _address(image: Image.Image, side: int = SIDE) -> str:
    times = side // max(image.size)
    if times > 1:
        image = image.resize((image.width * times, image.height * times), Image.Resampling.NEAREST)
    else:
        image.thumbnail((side, side))
    packed = io.BytesIO()
    image.save(packed, "PNG")
    return f"data:image/png;base64,{base64.b64encode(packed.getvalue()).decode()}"
