"""Arrays in an NPZ archive, by what their heads say: no Python object is ever made of one, and no more is read than is asked for."""

from __future__ import annotations

import math
import sys
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from influence.data.images.zipped import MOST_GROWTH, members
from influence.errors import BadInput

KINDS = "biufU"
PIECE = 1 << 24
"""Bytes that are unpacked at once."""
STORED = 2
"""How many times its own size an archive of arrays may unpack to that `numpy.savez` wrote, which packs nothing."""
BROKEN = (zipfile.BadZipFile, zlib.error, OSError, EOFError, NotImplementedError, RuntimeError, ValueError, SyntaxError)


@dataclass(frozen=True)
class Array:
    """One array of an archive, not read yet: its member, shape, type, where its values begin in the member, and their order."""

    archive: Path
    member: str
    shape: tuple[int, ...]
    dtype: np.dtype
    start: int
    by_column: bool = False

    @property
    def name(self) -> str:
        """What it was saved as."""
        return self.member.removesuffix(".npy")

    def whole(self) -> np.ndarray:
        """Return all of it.

        Raises:
            BadInput: it is damaged.
        """
        try:
            with zipfile.ZipFile(self.archive) as archive, archive.open(self.member) as stream:
                stream.read(self.start)
                found = np.empty(math.prod(self.shape) * self.dtype.itemsize, np.uint8)
                for first in range(0, len(found), PIECE):
                    part = found[first : first + PIECE]
                    part[:] = np.frombuffer(stream.read(len(part)), np.uint8, len(part))
            if self.dtype.kind == "U" and found.view(np.dtype("u4").newbyteorder(self.dtype.byteorder)).max(initial=0) > sys.maxunicode:
                raise self.damaged()
            return found.view(self.dtype).reshape(self.shape, order="F" if self.by_column else "C")
        except (*BROKEN, TypeError):  # a `BadInput` too, which is a ValueError
            raise self.damaged() from None

    def __len__(self) -> int:
        return self.shape[0] if self.shape else 0

    @contextmanager
    def rows(self) -> Iterator[Rows]:
        """Yield how rows are read; places that ascend are read fastest.

        Raises:
            BadInput: it lies column by column.
        """
        if self.by_column:
            raise BadInput(f"The array {self.name!r} in {self.archive.name!r} lies column by column. Save numpy.ascontiguousarray of it.")
        with zipfile.ZipFile(self.archive) as archive, archive.open(self.member) as stream:
            yield Rows(self, stream)

    def damaged(self) -> BadInput:
        """Return the refusal of an array whose values are not what its head says."""
        return BadInput(f"The array {self.name!r} in {self.archive.name!r} is damaged. Save it again.")


@dataclass(frozen=True)
class Rows:
    """Reads rows of an array from its member."""

    array: Array
    stream: IO[bytes]

    def __call__(self, first: int, last: int) -> np.ndarray:
        """Return rows first to last - 1.

        Raises:
            BadInput: the array is damaged.
        """
        shape = self.array.shape[1:]
        step = math.prod(shape) * self.array.dtype.itemsize
        try:
            self.stream.seek(self.array.start + first * step)
            data = self.stream.read((last - first) * step)
            return np.frombuffer(data, self.array.dtype).reshape(last - first, *shape)
        except BROKEN:
            raise self.array.damaged() from None


def arrays(path: Path, growth: int = MOST_GROWTH, mend: str = "Save the images as PNG or JPEG.") -> dict[str, Array]:
    """Return the arrays of an NPZ archive by name, none of them read. `growth`, `mend`: as in `members`.

    Raises:
        BadInput: it is no NPZ archive, too large or damaged, or an array holds Python objects.
    """
    found = members(path, growth, mend)
    other = next((info.filename for info in found if not info.filename.endswith(".npy")), None)
    if other is not None or not found:
        what = f"{other!r}" if other else "nothing"
        raise BadInput(f"{path.name!r} is no NPZ file of arrays: it holds {what}. Save arrays with numpy.savez(file, x=…, y=…).")
    with zipfile.ZipFile(path) as archive:
        heads = [_head(archive, info, path) for info in found]
    return {array.name: array for array in heads}


def _head(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> Array:
    name = info.filename.removesuffix(".npy")
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    try:
        with archive.open(info) as stream:
            shape, by_column, dtype = read[np.lib.format.read_magic(stream)](stream)
            start = stream.tell()
    except (*BROKEN, KeyError):
        raise BadInput(f"The array {name!r} in {path.name!r} is damaged or no plain array. Save it again with numpy.savez.") from None
    if dtype.hasobject:
        raise BadInput(
            f"The array {name!r} in {path.name!r} holds Python objects, which can run programs when they are opened and never are here. "
            "Save it as numbers, or as text with astype(str)."
        )
    if dtype.kind not in KINDS:
        raise BadInput(f"The array {name!r} in {path.name!r} is of type {dtype}; numbers or text are needed. Convert it.")
    if start + math.prod(shape) * dtype.itemsize != info.file_size:
        raise BadInput(f"The array {name!r} in {path.name!r} is damaged: it is of another length than it says. Save it again.")
    return Array(path, info.filename, tuple(shape), dtype, start, by_column and len(shape) > 1)
