"""Read a table that a person gave: by what it contains, whatever it is called, and without ever executing it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd

from influence.data import readers
from influence.data.readers import Asked, File, folder, named, suffixes
from influence.data.readers.named import is_name
from influence.data.schema import plain
from influence.errors import BadInput

__all__ = ["allowed_path", "data_roots", "is_address", "is_name", "read_table", "sheets_of", "size_limit", "suffixes", "title", "told"]


def size_limit() -> int:
    """Return the largest file that may be uploaded, in bytes: `INFLUENCE_MAX_MB` megabytes, 200 if unset, at most 2,000.

    Files read by path may be larger: they are bounded by what they unpack to (`influence.data.readers.refuse_large`).

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
    except (ValueError, OSError, RuntimeError):  # RuntimeError: links that lead to each other, before Python 3.13
        found = []
    if not found:
        raise BadInput(f"{str(path)!r} is no file inside an allowed folder ({', '.join(map(str, folders))}). Choose a file from there.")
    return found[0]


def read_table(
    path: str | Path, max_bytes: int | None = None, *, as_text: bool = False, sheet: str = "", query: str = "", rows: int | None = None
) -> pd.DataFrame:
    """Read a table with plain column types, rows in their order: the one door for every format in `influence.data.readers`.

    Args:
        path: the file; a folder of files, as the parts of a data set lie; the address of a database (SQLAlchemy's URL), for which `query`
            is needed; or the name of a set that is had from elsewhere (`influence.data.readers.named`).
        max_bytes: the largest file that is read; a larger one is refused before a byte is read. None: any that unpacks to few enough cells.
        as_text: leave the cells of delimited text as they are written; other formats have types of their own.
        sheet: name of a workbook's sheet; the first if "", and `DataFrame.attrs["note"]` says so where there are several.
        query: what is asked of a database.
        rows: read the first rows alone, in little time however many there are; types are told by these.

    Raises:
        BadInput: the file is missing, empty, too large, of another kind, or damaged.
    """
    asked = Asked(rows, as_text, sheet)
    if isinstance(path, str) and is_address(path):
        return _plain(_queried(path, query, asked), "The query")
    if query:
        raise BadInput(f"{str(path)[:200]!r} is no address of a database, and only a database can be asked. Give one, or no query.")
    if is_name(str(path)):
        return _plain(named.read(str(path), asked), str(path))
    path = Path(path)
    if path.is_dir():
        return _plain(folder.read(path, asked), path.name)
    with _opened(path, max_bytes) as file:
        return _plain(readers.read(file, asked), path.name)


def sheets_of(path: str | Path, max_bytes: int | None = None) -> tuple[str, ...]:
    """Return the names of the tables in a file that may hold several, as `read_table(sheet=)` takes them; none of any other file.

    Raises:
        BadInput: the file cannot be opened, or is damaged.
    """
    with _opened(Path(path), max_bytes) as file:
        return readers.sheets(file)


def is_address(data: str) -> bool:
    """Say whether data is named by the address of a database, not by a path."""
    scheme, found, _ = data.partition("://")
    return bool(found) and scheme.replace("+", "").replace("_", "").isalnum()


def title(data: str) -> str:
    """Return what data is called where nobody gave it a name: of a file its own without the ending, of a set that is had by name that."""
    return named.title(data) if is_name(data) else Path(told(data)).stem


def told(data: str) -> str:
    """Return what data is called in records and messages: a path as it is, the address of a database without credentials.

    Raises:
        BadInput: it looks like an address and is none.
    """
    if not is_address(data):
        return data
    from influence.data.readers import sql

    return sql.place(data)


def _queried(url: str, query: str, asked: Asked) -> pd.DataFrame:
    from influence.data.readers import sql  # brings SQLAlchemy, which reading a file does without

    return sql.read(url, query, asked)


def _plain(found: pd.DataFrame, name: str) -> pd.DataFrame:
    try:
        made = plain(found)
    except UnicodeEncodeError:
        raise BadInput(f"{name} has half a character in a cell or a name (a lone surrogate), which is no text. Correct it.") from None
    except (OverflowError, pd.errors.OutOfBoundsDatetime):
        raise BadInput(f"{name} has a date outside the years 1 to 9999 or a number that no computer holds. Correct it.") from None
    made.attrs = dict(found.attrs)
    return made


@contextmanager
def _opened(path: Path, limit: int | None) -> Iterator[File]:
    size = _size(path)
    if limit is not None and size > limit:
        raise BadInput(
            f"{path.name!r} has {size / 1e6:,.0f} MB; at most {limit / 1e6:,.0f} MB are read. "
            "Take a sample of its rows or fewer columns, save it as Parquet, or raise INFLUENCE_MAX_MB."
        )
    try:
        # Whatever took the file's place in between is not waited for, as a pipe would be.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        raise BadInput(f"{path.name!r} cannot be opened; a readable file is needed. Check its permissions.") from None
    with os.fdopen(handle, "rb") as stream:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise _no_file(path)
        yield File(path.name, size, stream)


def _size(path: Path) -> int:
    # Size in bytes of an ordinary file; devices and pipes could be read for ever.
    try:
        if path.is_file():
            return path.stat().st_size
    except (OSError, ValueError):
        pass
    raise _no_file(path)


def _no_file(path: Path) -> BadInput:
    return BadInput(f"{path.name!r} does not exist or is no ordinary file. Check the path.")
