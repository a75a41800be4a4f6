"""A table in one gzip file, unpacked up to a limit and then read by what it contains."""

from __future__ import annotations

import gzip
import io
import zlib

import pandas as pd

from influence.data import readers
from influence.data.readers import Asked, File
from influence.errors import BadInput

WHAT, SUFFIXES, TEXT = "a gzip file", (".gz",), False
MAGIC = b"\x1f\x8b"
MOST_UNPACKED, STEP = 1_000_000_000, 1 << 22  # bytes


def recognises(head: bytes) -> bool:
    """Say whether the bytes begin as gzip."""
    return head.startswith(MAGIC)


def read(file: File, asked: Asked) -> pd.DataFrame:
    """Return the table in the file.

    Raises:
        BadInput: the file is damaged, unpacks to too much, or holds no table.
    """
    data = _unpacked(file)
    name = file.name[:-3] if file.name.lower().endswith(".gz") else file.name
    if recognises(data):
        raise BadInput(f"{file.name!r} is a gzip file in a gzip file. Unpack it, and bring what is in it.")
    return readers.read(File(name, len(data), io.BytesIO(data)), asked)


def _unpacked(file: File) -> bytes:
    parts, size = [], 0
    try:
        with gzip.GzipFile(fileobj=file.stream) as unpacked:
            while part := unpacked.read(STEP):
                parts.append(part)
                size += len(part)
                if size > MOST_UNPACKED:
                    raise BadInput(
                        f"{file.name!r} unpacks to more than {MOST_UNPACKED / 1e6:,.0f} MB, the most that is read of its kind. "
                        "Save it as Parquet, or take a sample of its rows."
                    )
    except (OSError, EOFError, zlib.error):
        raise file.damaged("gzip") from None
    return b"".join(parts)
