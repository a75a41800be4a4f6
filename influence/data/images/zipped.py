"""The list of what a zip archive holds, read only if the archive is of a size that can be dealt with."""

from __future__ import annotations

import zipfile
from pathlib import Path

from influence.errors import BadInput

MOST_DIRECTORY = 100_000_000
"""Bytes of the list of members: about a million of them."""
MOST_UNPACKED = 20_000_000_000
MOST_GROWTH = 100
"""How many times its own size an archive may unpack to."""
SMALL = 100_000_000
"""Bytes that any archive may unpack to."""
END, WIDE, LOCATOR = b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07"
TAIL = 65_634
"""Bytes in which the end records lie: 22 and 76, and a comment of at most 65,536."""


def members(path: Path, growth: int = MOST_GROWTH, mend: str = "Save the images as PNG or JPEG.") -> list[zipfile.ZipInfo]:
    """Return what an archive holds. `growth`: how many times its own size it may unpack to; `mend`: what to do if it would be more.

    Raises:
        BadInput: it is no zip archive, damaged, or too large, packed or unpacked.
    """
    size = _size(path)
    _refuse_long(path, size)
    try:
        with zipfile.ZipFile(path) as archive:
            found = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
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


def _refuse_long(path: Path, size: int) -> None:
    # The list of members is held in memory, many times as large as it is in the file. Its size stands in the end record, or in that of
    # large archives (zip64) before it; both are looked for where `zipfile` does.
    with path.open("rb") as file:
        file.seek(max(0, size - TAIL))
        tail = file.read(TAIL)
    plain = tail[-22:].startswith(END) and tail.endswith(b"\0\0")
    at = len(tail) - 22 if plain else tail.rfind(END)
    length = int.from_bytes(tail[at + 12 : at + 16], "little") if at >= 0 else 0
    if at >= 76 and tail[at - 20 :].startswith(LOCATOR) and tail[at - 76 :].startswith(WIDE):
        length = int.from_bytes(tail[at - 36 : at - 28], "little")
    if length > MOST_DIRECTORY:
        raise BadInput(
            f"{path.name!r} lists more files than can be dealt with ({length / 1e6:,.0f} MB of names). Take a sample of the images."
        )
