"""A zip archive of images: members are read as streams and never written anywhere, least of all under their own names."""

from __future__ import annotations

import re
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from influence.data.images.decode import MOST_BYTES, Unreadable
from influence.data.images.found import Images, Read, refuse_many
from influence.data.images.layout import above, is_archive, is_image, is_junk
from influence.data.images.metadata import MOST_BYTES as MOST_METADATA
from influence.data.images.tree import images_of
from influence.data.images.zipped import members
from influence.errors import BadInput

ABSOLUTE = re.compile(r"/|[A-Za-z]:")
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
BROKEN = (zipfile.BadZipFile, zlib.error, OSError, EOFError, NotImplementedError, RuntimeError, ValueError)


def from_zip(path: Path) -> Images:
    """Return the images of a zip archive: class folders, or train, test and validation folders of these.

    Raises:
        BadInput: it is damaged or made to do harm (climbing, absolute or repeated names, links, archives inside, far more content than
            size), is encrypted, or holds no image.
    """
    found = members(path)
    by_name: dict[str, zipfile.ZipInfo] = {}
    folders: set[str] = set()
    for info in found:
        name = _safe(info, path.name)
        if is_junk(name):
            continue
        if info.is_dir():
            folders.add(name)
        elif by_name.setdefault(name, info) is not info:
            raise BadInput(f"{path.name!r} holds {name!r} twice; each file must have a name of its own. Make the archive again.")
        folders.update(above(name))
    refuse_many(sum(map(is_image, by_name)), path.name)

    @contextmanager
    def opened(paths: list[str]) -> Iterator[Read]:
        with zipfile.ZipFile(path) as archive:
            yield lambda place: _content(archive, by_name[paths[place]], MOST_BYTES)

    def content(name: str) -> bytes:
        try:
            with zipfile.ZipFile(path) as archive:
                return _content(archive, by_name[name], MOST_METADATA)
        except Unreadable as reason:
            raise BadInput(f"{name!r} in {path.name!r} {reason}. Make the archive again.") from None

    return images_of("zip", path.name, sorted(by_name), sorted(folders), content, opened)


def _safe(info: zipfile.ZipInfo, archive: str) -> str:
    """Return a member's name with / between folders.

    Raises:
        BadInput: it leads out of the archive, or the member is a link, an archive, encrypted or packed in a rare way.
    """
    name = info.filename.replace("\\", "/")
    reason = ""
    if ABSOLUTE.match(name) or ".." in name.split("/"):
        reason = "leads out of the archive"
    elif stat.S_ISLNK(info.external_attr >> 16):
        reason = "is a link, and links are not followed"
    elif info.flag_bits & 1:
        reason = "is encrypted, and no password can be given"
    elif is_archive(name) and not is_junk(name):
        reason = "is an archive itself, and archives inside are not opened"
    elif info.compress_type not in METHODS:
        reason = "is packed in a way that is not read; deflate is"
    if reason:
        raise BadInput(f"In {archive!r}, {name[:120]!r} {reason}. Make the archive again from a folder of class folders with images.")
    return name.rstrip("/")


def _content(archive: zipfile.ZipFile, info: zipfile.ZipInfo, most: int) -> bytes:
    if info.file_size > most:
        raise Unreadable(f"has more than {most / 1e6:.0f} MB")
    try:
        with archive.open(info) as member:
            return member.read(info.file_size + 1)  # never more than was declared, and counted against the bounds, when it was opened
    except BROKEN:
        raise Unreadable("is damaged in the archive") from None
