"""The one size that all images of a data set get."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from influence.data.images.decode import Unreadable, size_of
from influence.data.images.found import Images
from influence.data.images.pixels import seen
from influence.data.images.settings import Reading
from influence.errors import BadInput

LOOKED_AT = 200
DECODED = 20
LARGEST = 64
"""Pixels of the longer side where no size is chosen: more makes training slow on a laptop."""


@dataclass(frozen=True)
class Size:
    """Height and width, and how many channels there seem to be: only all images together decide that."""

    height: int
    width: int
    channels: int

    @property
    def sides(self) -> tuple[int, int]:
        """Height and width."""
        return self.height, self.width


def chosen(images: Images, reading: Reading) -> Size:
    """Return the size of all images: the one that was chosen, or the median of two hundred spread evenly, at most 64 pixels long.

    Raises:
        BadInput: none of those looked at can be read.
    """
    if images.shape:
        sides = np.array([images.shape[1:]])
        own = images.shape[0]
    else:
        sides, own = _looked_at(images)
    channels = {"grey": 1, "colour": 3, "auto": own}[reading.channels]
    if reading.size:
        return Size(reading.size, reading.size, channels)
    height, width = np.median(sides, axis=0)
    scale = min(1.0, LARGEST / max(height, width))
    return Size(max(1, round(height * scale)), max(1, round(width * scale)), channels)


def _looked_at(images: Images) -> tuple[np.ndarray, int]:
    """Heights and widths of some images, (n, 2), and 1 if the first few of these are grey, else 3.

    Raises:
        BadInput: none can be read.
    """
    sides, channels, reason = [], 1, ""
    with images.opened() as read:
        for place in spread(len(images), LOOKED_AT):
            try:
                data = read(place)
                sides.append(size_of(data) if isinstance(data, bytes) else data.shape[1:])
                if len(sides) <= DECODED:
                    channels = max(channels, len(seen(data, (8, 8), "auto").pixels))
            except Unreadable as unreadable:
                reason = reason or f"{images.table['path'][place]!r} {unreadable}"
    if not sides:
        raise BadInput(f"None of the images of {images.name!r} can be read: {reason}. Save them as PNG or JPEG.")
    return np.array(sides), channels


def spread(n: int, most: int) -> list[int]:
    """Return at most so many of n places, evenly spread."""
    return sorted(set(np.linspace(0, n - 1, min(n, most)).round().astype(int).tolist())) if n else []
