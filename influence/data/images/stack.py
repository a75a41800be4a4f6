"""Images written one after another to a file that is then read as one array: memory holds one of them at a time.

The values are float32, four bytes for one that a file needs: so x is what models take, as that of every other data set, and nothing that
reads x has to know about scales. The bytes lie on disk and are mapped, here and in the store, so they cost no memory that others need.
"""

from __future__ import annotations

import os
import secrets
import weakref
from contextlib import suppress
from pathlib import Path

import numpy as np

PREFIX = "images-"
AT_ONCE = 256


class Stack:
    """Images of one size, (C, H, W) each, in a file in `folder`. It begins with one channel, and gets three when the first colour comes."""

    def __init__(self, folder: Path, sides: tuple[int, int], channels: int) -> None:
        self.folder, self.sides, self.channels, self.n = folder, sides, channels, 0
        self.path = self._fresh()
        self.file = self.path.open("wb")

    def _fresh(self) -> Path:
        return self.folder / f"{PREFIX}{os.getpid()}-{secrets.token_hex(6)}.f32"

    def widen(self) -> None:
        """Give every image three equal channels, if it has one."""
        if self.channels == 3:
            return
        narrow = self.array()
        self.channels, self.path = 3, self._fresh()
        self.file = self.path.open("wb")
        for first in range(0, self.n, AT_ONCE):
            self.file.write(np.repeat(narrow[first : first + AT_ONCE], 3, axis=1).tobytes())

    def add(self, pixels: np.ndarray) -> None:
        """Write an image, (1, H, W) or as many channels as the others have."""
        self.file.write((pixels if len(pixels) == self.channels else np.repeat(pixels, 3, axis=0)).tobytes())
        self.n += 1

    def array(self) -> np.ndarray:
        """Return the images, (n, C, H, W) float32, mapped; the file goes when nobody uses the array any more."""
        shape = (self.n, self.channels, *self.sides)
        if not self.n:
            self.discard()
            return np.empty(shape, dtype=np.float32)
        self.file.close()
        mapped = np.memmap(self.path, np.float32, "r", shape=shape)
        weakref.finalize(mapped, _remove, self.path)
        return mapped

    def discard(self) -> None:
        """Remove the file: nothing came of it."""
        self.file.close()
        _remove(self.path)


def _remove(path: Path) -> None:
    with suppress(FileNotFoundError):
        path.unlink()


def sweep(folder: Path) -> None:
    """Remove what processes left behind that were killed."""
    for path in folder.glob(f"{PREFIX}*.f32"):
        pid = int(path.name.removeprefix(PREFIX).split("-")[0])
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            _remove(path)
        except PermissionError:  # somebody else's, and alive
            continue
