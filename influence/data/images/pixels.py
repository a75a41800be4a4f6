"""What the model sees of an image: an array (C, H, W) of values from 0 to 1, of a given size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from PIL import Image, ImageOps

from influence.data.images.decode import decode

Channels: TypeAlias = Literal["auto", "grey", "colour"]
WHITE = np.float32(255)
LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)
"""Shares of red, green and blue in grey, as Pillow takes them (ITU-R BT.601)."""


@dataclass(frozen=True)
class Seen:
    """Pixels (C, H, W) float32, C 1 or 3, and of the image they come from: size in pixels, mode, what was done (`notes.DONE`)."""

    pixels: np.ndarray
    width: int
    height: int
    mode: str
    done: tuple[str, ...] = ()


def seen(found: bytes | np.ndarray, size: tuple[int, int], channels: Channels) -> Seen:
    """Return what the model sees of a file's bytes, or of pixels (C, H, W) from 0 to 1.

    `size`: height and width; the image is scaled to cover it, and cut evenly at the edges that stand out. `channels`: "auto" gives one
    channel where red, green and blue are equal everywhere.

    Raises:
        Unreadable: the bytes are no image that can be read.
    """
    if isinstance(found, np.ndarray):
        height, width = found.shape[1:]
        planes = found if (height, width) == size else np.stack([_fitted(Image.fromarray(plane), size) for plane in found])
        return Seen(_in(planes, channels), width, height, "RGB" if len(found) == 3 else "L")
    picture = decode(found, max(size))
    image = picture.image
    if channels == "grey" or (channels == "auto" and _is_grey(image)):
        image = image if image.mode == "L" else image.convert("L")
    elif channels == "colour":
        image = image.convert("RGB")
    fitted = _fitted(image, size)
    planes = (fitted[None] if fitted.ndim == 2 else np.moveaxis(fitted, 2, 0)).astype(np.float32) / WHITE
    return Seen(planes, picture.width, picture.height, picture.mode, picture.done)


def _fitted(image: Image.Image, size: tuple[int, int]) -> np.ndarray:
    height, width = size
    if image.size != (width, height):
        image = ImageOps.fit(image, (width, height), method=Image.Resampling.BILINEAR)
    return np.asarray(image)


def _is_grey(image: Image.Image) -> bool:
    if image.mode == "L":
        return True
    red, green, blue = np.moveaxis(np.asarray(image), 2, 0)
    return bool((red == green).all() and (green == blue).all())


def _in(planes: np.ndarray, channels: Channels) -> np.ndarray:
    if channels == "grey" and len(planes) == 3:
        return np.tensordot(LUMA, planes, 1)[None].astype(np.float32)
    return np.repeat(planes, 3, axis=0) if channels == "colour" and len(planes) == 1 else planes
