"""Arrays in an NPZ archive, by what their heads say: no Python object is ever made of one, and no more is read than is asked for."""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from influence.data.images.zipped import members
from influence.errors import BadInput

KINDS = "biufU"
BROKEN = (zipfile.BadZipFile, zlib.error, OSError, EOFError, NotImplementedError, RuntimeError, ValueError, SyntaxError)


@dataclass(frozen=True)
class Array:
    """One array of an archive, not read yet: its member, shape, type, and where its values begin in the member."""

    archive: Path
    member: str
    shape: tuple[int, ...]
    dtype: np.dtype
    start: int

    @property
    def name(self) -> str:
        """What it was saved as."""
        return self.member.removesuffix(".npy")

    def whole(self) -> np.ndarray:
        """Return all of it.

        Raises:
            BadInput: it is damaged.
        """
        with self.rows() as read:
            return read(0, len(self)).copy()

    def __len__(self) -> int:
        return self.shape[0] if self.shape else 0

    @contextmanager
    def rows(self) -> Iterator[Rows]:
        """Yield how rows are read; places that ascend are read fastest."""
        with zipfile.ZipFile(self.archive) as archive, archive.open(self.member) as stream:
            yield Rows(self, stream)


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
            raise BadInput(f"The array {self.array.name!r} in {self.array.archive.name!r} is damaged. Save it again.") from None


def arrays(path: Path) -> dict[str, Array]:
    """Return the arrays of an NPZ archive by name, none of them read.

    Raises:
        BadInput: it is no NPZ archive, too large or damaged, or an array holds Python objects or lies column by column.
    """
    found = members(path)
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
    if by_column and len(shape) > 1:
        raise BadInput(f"The array {name!r} in {path.name!r} lies column by column. Save numpy.ascontiguousarray of it.")
    if start + math.prod(shape) * dtype.itemsize != info.file_size:
        raise BadInput(f"The array {name!r} in {path.name!r} is damaged: it is of another length than it says. Save it again.")
    return Array(path, info.filename, tuple(shape), dtype, start)
