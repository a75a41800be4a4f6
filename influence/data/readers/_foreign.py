"""Files that are no tables, told by what they are; nothing in them is ever executed."""

from __future__ import annotations

import pickletools
from collections.abc import Iterable
from pathlib import PurePath
from typing import TYPE_CHECKING

from influence.errors import BadInput

if TYPE_CHECKING:
    from influence.data.readers import File, Reader

NEEDED = (
    "A table is a CSV file (UTF-8, UTF-16 or Latin-1; separated by comma, semicolon, tab or |; also gzipped), "
    "or a Parquet, Arrow, Excel (.xlsx), JSON lines or SQLite file."
)
SIGNATURES = (
    (b"BZh", "a bzip2 file"),
    (b"\xfd7zXZ", "an xz file"),
    (b"\x28\xb5\x2f\xfd", "a zstd file"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"\x89HDF", "an HDF5 file"),
    (b"FEA1", "an old Feather file (version 1)"),
    (b"PARE", "an encrypted Parquet file"),
    (b"\xd0\xcf\x11\xe0", "an old Excel file (.xls) or an encrypted one"),
    (b"%PDF", "a PDF file"),
    (b"\x89PNG", "an image"),
    (b"\xff\xd8\xff", "an image"),
    (b"GIF8", "an image"),
    (b"\x7fELF", "a program"),
    (b"\xff\xfe\0\0", "UTF-32 text"),
    (b"\0\0\xfe\xff", "UTF-32 text"),
)
WALKED = 1 << 24  # bytes in which a pickle's opcodes are looked for


def refuse_foreign(file: File, readers: Iterable[Reader]) -> None:
    """Refuse what no reader recognises by its signature, and what only looks like text.

    Raises:
        BadInput: the file is something else; the message says what.
    """
    what = next((what for start, what in SIGNATURES if file.head.startswith(start)), "")
    if not what and is_pickle(file.start(WALKED)):
        what = "a Python pickle, which can run programs when opened and never is here"
    if what:
        raise BadInput(f"{file.name!r} is {what}. {NEEDED} Save the table as one of these.")
    suffix = PurePath(file.name).suffix.lower()
    for reader in readers:
        if suffix in reader.SUFFIXES and not reader.TEXT:
            raise BadInput(f"{file.name!r} does not begin as {reader.WHAT}: it is damaged or something else. Export it again.")
    if is_binary(file.head):
        raise BadInput(f"{file.name!r} holds binary data, not text. {NEEDED} Save the table as one of these.")
    if not any(suffix in reader.SUFFIXES for reader in readers if reader.TEXT):
        raise BadInput(f"{file.name!r} is not a table of a kind that is read here. {NEEDED} Save the table as one of these.")


def is_pickle(data: bytes) -> bool:
    """Say whether the bytes are a pickle, judged by walking its opcodes without executing any.

    Binary pickles begin with 0x80. Older ones are plain text and could pass for a CSV file: their opcodes go on to the very end, where
    those that a CSV file happens to spell break off after a few.
    """
    if data[:1] == b"\x80":
        return True
    end = 0
    try:
        for count, (_, _, place) in enumerate(pickletools.genops(data)):
            end = (place or 0) + 1
            if count > 1000:
                return True
    except Exception:  # genops raises whatever the first wrong byte brings about
        return False
    return not data[end:].strip()


def is_binary(head: bytes) -> bool:
    """Say whether the bytes cannot be text: a zero byte that no mark of UTF-16 explains, or many control characters."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return False
    control = head.translate(None, bytes(range(32, 256)) + b"\t\n\r\f")
    return b"\0" in head or len(control) > len(head) / 100
