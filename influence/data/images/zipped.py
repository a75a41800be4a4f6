"""The list of what a zip archive holds, read only if the archive is of a size that can be dealt with."""

from __future__ import annotations

import lzma
import zipfile
import zlib
from pathlib import Path

from influence.errors import BadInput

MOST_DIRECTORY = 100_000_000
"""Bytes of the list of members."""
MOST_MEMBERS = 1_100_000
"""As many images as are read, and their folders."""
SHORT = 10_000_000
"""As much of an archive that is none of images: a model has some thousand parts."""
MOST_UNPACKED = 20_000_000_000
MOST_GROWTH = 100
"""How many times its own size an archive may unpack to."""
SMALL = 100_000_000
"""Bytes that any archive may unpack to."""
BROKEN = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, OSError, EOFError, NotImplementedError, RuntimeError, ValueError)
"""What `zipfile` raises over a damaged archive."""
MEMBER, END, WIDE, LOCATOR = b"PK\x01\x02", b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07"
MEMBER_SIZE = 46
"""Bytes of the list for a member without a name."""
TAIL = 65_634
"""Bytes in which the end records lie: 22 and 76, and a comment of at most 65,536."""


def members(
    path: Path, growth: int = MOST_GROWTH, mend: str = "Save the images as PNG or JPEG.", most: int = MOST_DIRECTORY
) -> list[zipfile.ZipInfo]:
    """Return what an archive holds. `growth`: how many times its own size it may unpack to; `mend`: what to do if it would be more.

    `most`: as in `refuse_long`.

    Raises:
        BadInput: it is no zip archive, damaged, or too large, packed or unpacked.
    """
    size = _size(path)
    refuse_long(path, most)
    try:
        with zipfile.ZipFile(path) as archive:
            found = archive.infolist()
    except BROKEN:
        raise BadInput(f"{path.name!r} is no zip archive, or damaged. Make it again.") from None
    unpacked = sum(info.file_size for info in found)
    if unpacked > min(MOST_UNPACKED, max(growth * size, SMALL)):
        raise BadInput(
            f"{path.name!r} has {size / 1e6:,.1f} MB and would unpack to {unpacked / 1e6:,.0f} MB, {unpacked / max(size, 1):,.0f} times as "
            f"much; at most {growth} times and {MOST_UNPACKED / 1e9:.0f} GB are read. {mend}"
        )
    return found


def _size(path: Path) -> int:
    try:
        size = path.stat().st_size if path.is_file() else -1
    except OSError:
        size = -1
    if size < 0:
        raise BadInput(f"{path.name!r} does not exist or is no ordinary file. Check the path.")
    return size


def refuse_long(path: Path, most: int = MOST_DIRECTORY, mend: str = "Take a sample of the images.") -> None:
    """Refuse an archive whose list of members has more than `most` bytes or too many members, before it is read. What is none passes.

    Raises:
        BadInput: it is one, or there is no such file.
    """
    start, length = _directory(path)
    count = 0
    if length <= most and length > MEMBER_SIZE * MOST_MEMBERS:
        with path.open("rb") as file:
            file.seek(max(0, start))
            count = file.read(length).count(MEMBER)  # the number that the end record tells is believed by nobody
    if length > most or count > MOST_MEMBERS:
        raise BadInput(f"{path.name!r} lists more files than can be dealt with ({length / 1e6:,.0f} MB of names). {mend}")


def _directory(path: Path) -> tuple[int, int]:
    """Return where the list of members begins and how many bytes it has; (0, 0) if there is none.

    It is held in memory, many times as large as it is in the file. Its size stands in the end record, or in that of large archives (zip64)
    before it; both are looked for where `zipfile` does.
    """
    size = _size(path)
    with path.open("rb") as file:
        file.seek(max(0, size - TAIL))
        tail = file.read(TAIL)
    plain = tail[-22:].startswith(END) and tail.endswith(b"\0\0")
    at = len(tail) - 22 if plain else tail.rfind(END)
    if at < 0:
        return 0, 0
    end = size - len(tail) + at
    length = int.from_bytes(tail[at + 12 : at + 16], "little")
    if at >= 76 and tail[at - 20 :].startswith(LOCATOR) and tail[at - 76 :].startswith(WIDE):
        length, end = int.from_bytes(tail[at - 36 : at - 28], "little"), end - 76
    return end - length, length
