"""A folder of images. Links that lead out of it are refused, whenever they are made."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from influence.data.images.decode import MOST_BYTES, Unreadable
from influence.data.images.found import Images, Read, refuse_many
from influence.data.images.layout import is_archive, is_junk
from influence.data.images.metadata import MOST_BYTES as MOST_METADATA
from influence.data.images.tree import images_of
from influence.errors import BadInput


def from_folder(path: Path) -> Images:
    """Return the images below a folder: class folders, or train, test and validation folders of these.

    Raises:
        BadInput: it cannot be listed, holds no image or an archive, or a link leads out of it.
    """
    root = path.resolve()
    files, folders = _listed(root)
    inner = next((file for file in files if is_archive(file)), None)
    if inner:
        raise BadInput(f"{root.name!r} holds an archive, {inner!r}; archives inside are not opened. Unpack it there, or take it out.")

    @contextmanager
    def opened(paths: list[str]) -> Iterator[Read]:
        yield lambda place: _content(root, paths[place], MOST_BYTES)

    def content(file: str) -> bytes:
        try:
            return _content(root, file, MOST_METADATA)
        except Unreadable as reason:
            raise BadInput(f"{file!r} {reason}. Correct it, or take it out.") from None

    return images_of("folder", root.name, files, folders, content, opened)


def allowed_folder(path: str | Path, roots: Iterable[str | Path]) -> Path:
    """Return the resolved path of a folder inside one of the allowed ones, or one of these; a relative path is looked up in each.

    Raises:
        BadInput: the path (links followed) lies outside all of them or names no folder.
    """
    folders = [Path(root).resolve() for root in roots]
    try:
        candidates = [(folder, (folder / path).resolve()) for folder in folders]
        found = [place for folder, place in candidates if place.is_relative_to(folder) and place.is_dir()]
    except (ValueError, OSError, RuntimeError):
        found = []
    if not found:
        raise BadInput(f"{str(path)!r} is no folder inside an allowed one ({', '.join(map(str, folders))}). Choose a folder from there.")
    return found[0]


def _listed(root: Path) -> tuple[list[str], list[str]]:
    """Files and folders below, as sorted relative paths.

    Raises:
        BadInput: a folder cannot be listed, or `_is_folder` refuses an entry.
    """
    files: list[str] = []
    folders: list[str] = []
    waiting = [""]
    while waiting:
        here = waiting.pop()
        try:
            entries = sorted(os.scandir(root / here), key=lambda entry: entry.name)
        except OSError as error:
            raise BadInput(f"The folder {here or root.name!r} cannot be listed: {error.strerror}. Check its permissions.") from None
        for entry in entries:
            path = f"{here}/{entry.name}" if here else entry.name
            if is_junk(entry.name):
                continue
            if _is_folder(entry, root, path):
                folders.append(path)
                waiting.append(path)
            else:
                files.append(path)
        refuse_many(len(files), root.name)
    return sorted(files), sorted(folders)


def _is_folder(entry: os.DirEntry[str], root: Path, path: str) -> bool:
    """Whether an entry is a folder of its own.

    Raises:
        BadInput: it is a link that leads out of the root or to a folder, or neither a file nor a folder.
    """
    if entry.is_symlink():
        if not Path(entry.path).resolve().is_relative_to(root):
            raise BadInput(f"{path!r} is a link that leads out of {root.name!r}; nothing outside is read. Replace it by what it leads to.")
        if entry.is_dir():
            raise BadInput(f"{path!r} is a link to another folder; these are not followed. Replace it by the folder itself.")
    if not entry.is_dir(follow_symlinks=False) and not entry.is_file():
        raise BadInput(f"{path!r} is neither a file nor a folder. Take it out.")
    return entry.is_dir(follow_symlinks=False)


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # a pipe would be waited for


def _content(root: Path, path: str, most: int) -> bytes:
    place = os.path.realpath(os.path.join(root, path))
    if not place.startswith(os.path.join(root, "")):  # it became a link after it was listed
        raise Unreadable("leads out of the folder")
    try:
        with open(place, "rb", opener=_without_waiting) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise Unreadable("is no ordinary file")
            data = file.read(most + 1)
    except OSError as error:
        raise Unreadable(f"cannot be opened ({error.strerror})") from None
    if len(data) > most:
        raise Unreadable(f"has more than {most / 1e6:.0f} MB")
    return data
