"""Decode all images, one at a time, into an array for each role."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from influence.data.images.decode import NEEDED, Unreadable
from influence.data.images.found import Images, Read
from influence.data.images.pixels import Channels, seen
from influence.data.images.size import Size
from influence.data.images.stack import Stack, sweep
from influence.errors import BadInput
from influence.types import Event, Report

MOST_UNREADABLE = 0.01
MOST_PIXELS = 100_000_000_000
"""In all, before they are scaled."""
STEPS = 1000
"""Signs of progress."""
FACTS = ("width", "height", "mode", "brightness", "digest")


@dataclass(frozen=True)
class Filled:
    """Arrays (n, C, H, W) by role; `facts`, a row for each image that was read, by its place; why each of the others was not, by place."""

    x: list[np.ndarray]
    facts: pd.DataFrame
    unreadable: dict[int, str]


@dataclass
class _Filling:
    """What a pass over the images has come to."""

    images: Images
    size: Size
    channels: Channels
    total: int
    stacks: list[Stack]
    rows: list[tuple[object, ...]] = field(default_factory=list)
    unreadable: dict[int, str] = field(default_factory=dict)
    pixels: int = 0

    def take(self, place: int, role: int, read: Read) -> None:
        """Read the image at a place, and put it with those of its role.

        Raises:
            BadInput: too many images cannot be read, or they have too many pixels in all.
        """
        try:
            found = read(place)
            image = seen(found, self.size.sides, self.channels)
        except Unreadable as reason:
            self.unreadable[place] = str(reason)
            self._refuse_many()
            return
        if len(image.pixels) > self.stacks[role].channels:
            for stack in self.stacks:
                stack.widen()
        self.stacks[role].add(image.pixels)
        self.pixels += image.width * image.height
        if self.pixels > MOST_PIXELS:
            raise BadInput(
                f"{self.images.name!r} has more than {MOST_PIXELS / 1e9:.0f} billion pixels in its first {place + 1:,} images. "
                "Scale the images down first, or take fewer."
            )
        self.rows.append(
            (place, image.width, image.height, image.mode, _brightness(image.pixels), _digest(found), image.done, len(image.pixels))
        )

    def _refuse_many(self) -> None:
        if len(self.unreadable) > MOST_UNREADABLE * self.total:
            first, reason = next(iter(self.unreadable.items()))
            more = f"; {len(self.unreadable):,} such images so far" if len(self.unreadable) > 1 else ""
            raise BadInput(
                f"{self.images.table['path'][first]!r} {reason}{more}. At most one in a hundred of the {self.total:,} images may be "
                f"unreadable. Correct or take out what is no {NEEDED} image."
            )


def fill(images: Images, places: np.ndarray, roles: np.ndarray, size: Size, channels: Channels, folder: Path, report: Report) -> Filled:
    """Read the images at `places` (N,) in this order; those of role r, as `roles` (N,) says, become array r.

    Raises:
        BadInput: more than one in a hundred cannot be read, or they have too many pixels in all.
    """
    folder.mkdir(parents=True, exist_ok=True)
    sweep(folder)
    stacks = [Stack(folder, size.sides, 3 if channels == "colour" else 1) for _ in range(3)]
    filling = _Filling(images, size, channels, len(places), stacks)
    try:
        with images.opened() as read:
            for count, (place, role) in enumerate(zip(places.tolist(), roles.tolist(), strict=True)):
                if count % max(1, len(places) // STEPS) == 0:
                    report(Event("read", count, len(places), note="Reading the images"))
                filling.take(place, role, read)
        report(Event("read", len(places), len(places), note="Reading the images"))
    except BaseException:  # also when somebody cancels
        for stack in stacks:
            stack.discard()
        raise
    facts = pd.DataFrame(filling.rows, columns=["place", *FACTS, "done", "channels"]).set_index("place")
    return Filled([stack.array() for stack in stacks], facts, filling.unreadable)


def _digest(found: bytes | np.ndarray) -> str:
    return hashlib.sha256(found if isinstance(found, bytes) else found.tobytes()).hexdigest()[:16]


def _brightness(pixels: np.ndarray) -> float:
    return round(float(pixels.mean(dtype=np.float64)), 4)
