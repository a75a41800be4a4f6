"""Where images come from: a folder, a zip archive, an NPZ archive, or a table that names them. What a file holds decides, not its name."""

from __future__ import annotations

import os
from pathlib import Path

from influence.data.arrays import is_arrays
from influence.data.images.archive import from_zip
from influence.data.images.folder import from_folder
from influence.data.images.found import Images
from influence.data.images.layout import is_archive, is_image
from influence.data.images.listed import bytes_column, from_table
from influence.data.images.npz import from_npz
from influence.data.images.zipped import members
from influence.data.readers.folder import tables_in
from influence.data.readers.named import is_name
from influence.errors import BadInput

ARCHIVES = (".zip", ".npz")


def holds_images(path: str | Path, column: str = "") -> bool:
    """Whether a path is to be read as images: a folder, an archive, or a table whose column of images is named, or holds their bytes.

    A folder of tables alone is none.
    """
    path = Path(path)
    if is_arrays(path) or is_name(str(path)):
        return False
    if path.is_dir() and not column:
        return not _of_tables(path)
    return bool(column) or path.is_dir() or path.suffix.lower() in (*ARCHIVES, ".npy") or bool(bytes_column(path))


def _of_tables(folder: Path) -> bool:
    """Whether a folder holds tables and no image, however deep: an image may have a table beside it that tells of it."""
    names = (name for _, _, below in os.walk(folder) for name in below)
    if any(is_image(name) or (is_archive(name) and not name.lower().endswith(".gz")) for name in names):
        return False
    return bool(tables_in(folder))


def find(path: str | Path, column: str = "") -> Images:
    """Return the images at a path; none is decoded yet. `column`: of a table, the one with paths of images or their bytes.

    Raises:
        BadInput: there are none, or the source is damaged or made to do harm.
    """
    path = Path(path)
    if path.is_dir():
        return from_folder(path)
    if path.suffix.lower() not in (*ARCHIVES, ".npy"):
        return from_table(path, column or bytes_column(path))
    head = _head(path)
    if not head:
        raise BadInput(f"{path.name!r} is empty. Save it again, or choose another file.")
    if head.startswith(b"\x93NUMPY"):
        raise BadInput(f"{path.name!r} is one array, and images need labels. Save both with numpy.savez(file, x=…, y=…).")
    if not head.startswith(b"PK"):
        what = "an NPZ file" if path.suffix.lower() == ".npz" else "a zip archive"
        raise BadInput(f"{path.name!r} is not {what}, whatever its name says, and it is not opened. Save it again as {what}.")
    return from_npz(path) if any(info.filename.endswith(".npy") for info in members(path)) else from_zip(path)


def _head(path: Path) -> bytes:
    try:
        if path.is_file():
            with path.open("rb") as file:
                return file.read(8)
    except OSError:
        pass
    raise BadInput(f"{path.name!r} does not exist, or cannot be opened. Check the path.")
