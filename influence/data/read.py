"""Read a table that a person gave: by what the file contains, whatever it is called, and without ever executing it."""

from __future__ import annotations

import hashlib
import os
import pickletools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from influence.data.delimited import parse
from influence.data.schema import plain
from influence.errors import BadInput

DELIMITED, PARQUET = (".csv", ".tsv", ".tab", ".txt", ".data", ".dat", ""), (".parquet", ".pq")
MOST_CELLS, MOST_GROWTH = 200_000_000, 20
NEEDED = "A table is a CSV file (UTF-8 or Latin-1; separated by comma, semicolon, tab or |) or a Parquet file."
SIGNATURES = (
    (b"PK\x03\x04", "a zip archive (Excel files, .npz and PyTorch files are such)"),
    (b"PK\x05\x06", "an empty zip archive"),
    (b"\x1f\x8b", "a gzip file"),
    (b"BZh", "a bzip2 file"),
    (b"\xfd7zXZ", "an xz file"),
    (b"\x28\xb5\x2f\xfd", "a zstd file"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"\x89HDF", "an HDF5 file"),
    (b"ARROW1", "an Arrow (Feather) file"),
    (b"\xd0\xcf\x11\xe0", "an old Excel file"),
    (b"SQLite format 3", "an SQLite database"),
    (b"%PDF", "a PDF file"),
    (b"\x89PNG", "an image"),
    (b"\xff\xd8\xff", "an image"),
    (b"GIF8", "an image"),
    (b"\x7fELF", "a program"),
    (b"\xff\xfe", "UTF-16 text"),
    (b"\xfe\xff", "UTF-16 text"),
)


def size_limit() -> int:
    """Return the largest file that is read, in bytes: `INFLUENCE_MAX_MB` megabytes, 200 if unset, at most 2,000.

    Raises:
        BadInput: the setting is no such number.
    """
    given = os.environ.get("INFLUENCE_MAX_MB", "200")
    if not given.isdigit() or not 1 <= int(given) <= 2000:
        raise BadInput(f"INFLUENCE_MAX_MB is {given!r}; it must be a whole number of megabytes from 1 to 2000. Correct or unset it.")
    return int(given) * 1_000_000


def data_roots() -> tuple[Path, ...]:
    """Return the folders from which tables may be read by path: `INFLUENCE_DATA_ROOTS`, separated like PATH."""
    return tuple(Path(part) for part in os.environ.get("INFLUENCE_DATA_ROOTS", "").split(os.pathsep) if part.strip())


def allowed_path(path: str | Path, roots: Iterable[str | Path]) -> Path:
    """Return the resolved path of a file inside one of the allowed folders; a relative path is looked up in each.

    Raises:
        BadInput: no folder is allowed, or the path (links followed) lies outside all of them or names no file.
    """
    folders = [Path(root).resolve() for root in roots]
    if not folders:
        raise BadInput(f"{str(path)!r} can't be read: no folder is open for reading by path. Set INFLUENCE_DATA_ROOTS, or upload the file.")
    try:
        candidates = [(folder, (folder / path).resolve()) for folder in folders]
        found = [place for folder, place in candidates if place.is_relative_to(folder) and place.is_file()]
    except (ValueError, OSError):
        found = []
    if not found:
        raise BadInput(f"{str(path)!r} is no file inside an allowed folder ({', '.join(map(str, folders))}). Choose a file from there.")
    return found[0]


def fingerprint(path: str | Path) -> dict[str, Any]:
    """Return where a table comes from, for `Dataset.source`: path, size in bytes and SHA-256 of the file."""
    with Path(path).open("rb") as file:
        return {"path": str(path), "bytes": Path(path).stat().st_size, "digest": hashlib.file_digest(file, "sha256").hexdigest()}


def read_table(path: str | Path, max_bytes: int | None = None, *, as_text: bool = False) -> pd.DataFrame:
    """Read a CSV or Parquet file as a table with plain column types, rows in the order of the file.

    Args:
        path: the file.
        max_bytes: the largest file that is read; `size_limit()` if None. A larger one is refused before a byte is read.
        as_text: leave the cells of a CSV file as they are written; Parquet has types of its own.

    Raises:
        BadInput: the file is missing, empty, too large, of another kind, or damaged.
    """
    path = Path(path)
    data = _contents(path, size_limit() if max_bytes is None else max_bytes)
    _refuse_unreadable(data, path)
    return plain(_parquet(data, path.name) if data.startswith(b"PAR1") else parse(data, path.name, as_text=as_text))


def _contents(path: Path, limit: int) -> bytes:
    size = _size(path)
    if size > limit:
        raise BadInput(
            f"{path.name!r} has {size / 1e6:,.0f} MB; at most {limit / 1e6:,.0f} MB are read. "
            "Take a sample of its rows or fewer columns, save it as Parquet, or raise INFLUENCE_MAX_MB."
        )
    try:
        data = path.read_bytes()
    except OSError:
        raise BadInput(f"{path.name!r} cannot be opened; a readable file is needed. Check its permissions.") from None
    if not data.strip(b"\xef\xbb\xbf \t\r\n"):
        raise BadInput(f"{path.name!r} is empty; a header line and rows are needed. Export the table again.")
    return data


def _size(path: Path) -> int:
    # Size in bytes of an ordinary file; devices and pipes could be read for ever.
    if path.is_dir():
        raise BadInput(f"{path.name!r} is a folder; a file is needed. Choose a CSV or Parquet file in it.")
    try:
        if path.is_file():
            return path.stat().st_size
    except (OSError, ValueError):
        pass
    raise BadInput(f"{path.name!r} does not exist or is no ordinary file. Check the path.")


def _refuse_unreadable(data: bytes, path: Path) -> None:
    name, suffix = path.name, path.suffix.lower()
    what = next((what for start, what in SIGNATURES if data.startswith(start)), "")
    if not what and _is_pickle(data):
        what = "a Python pickle, which can run programs when opened and never is here"
    if what:
        raise BadInput(f"{name!r} is {what}. {NEEDED} Save the table as one of these.")
    if data.startswith(b"PAR1"):
        return
    if suffix in PARQUET:
        raise BadInput(f"{name!r} does not begin as a Parquet file: it is damaged or something else. Export it again.")
    if _is_binary(data[:65536]):
        raise BadInput(f"{name!r} holds binary data, not text. {NEEDED} Save the table as one of these.")
    if suffix not in DELIMITED or data[:64].lstrip(b"\xef\xbb\xbf \t\r\n").startswith((b"{", b"[", b"<")):
        raise BadInput(f"{name!r} is not a table of a kind that is read here. {NEEDED} Save the table as one of these.")


def _is_pickle(data: bytes) -> bool:
    """Whether the bytes are a pickle, judged by walking its opcodes without executing any.

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


def _is_binary(head: bytes) -> bool:
    """Whether the bytes cannot be text: a zero byte, or many control characters."""
    control = head.translate(None, bytes(range(32, 256)) + b"\t\n\r\f")
    return b"\0" in head or len(control) > len(head) / 100


def _parquet(data: bytes, name: str) -> pd.DataFrame:
    damaged = BadInput(f"{name!r} is damaged and can't be read as Parquet. Export it again.")
    try:
        file = pq.ParquetFile(pa.BufferReader(data))
    except (pa.ArrowException, OSError):
        raise damaged from None
    _refuse_swelling(file.metadata, len(data), name)
    try:
        frame = file.read().to_pandas(ignore_metadata=True, date_as_object=False)
    except (pa.ArrowException, OSError):
        raise damaged from None
    if not frame.size:
        raise BadInput(f"{name!r} holds no rows; at least 20 are needed. Export the table again.")
    return frame[[column for column in frame if not str(column).startswith("__index_level_")]]


def _refuse_swelling(metadata: pq.FileMetaData, size: int, name: str) -> None:
    # A few kilobytes of Parquet can stand for billions of cells: look at the footer before unpacking.
    cells = metadata.num_rows * metadata.num_columns
    unpacked = sum(metadata.row_group(place).total_byte_size for place in range(metadata.num_row_groups))
    if cells > MOST_CELLS or unpacked > MOST_GROWTH * max(size, 10_000_000):
        raise BadInput(
            f"{name!r} unpacks to {cells:,} cells and {unpacked / 1e6:,.0f} MB; at most {MOST_CELLS:,} cells are read. "
            "Take a sample of its rows or fewer columns."
        )
