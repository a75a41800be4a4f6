"""SQLite databases in a file: the rows of one of its tables, read from memory.

The file may be hostile. What SQLite's authors advise then (sqlite.org/security.html) is done: the schema is not trusted, and pages are
checked. Views, virtual tables and generated columns, which compute, are not read; and what comes out is never more than lies in the file.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pandas as pd

from influence.data.readers import Asked, File, refuse_large
from influence.data.readers.sql import table
from influence.errors import BadInput

WHAT, SUFFIXES, TEXT = "an SQLite database", (".sqlite", ".sqlite3", ".db"), False
HEAD = b"SQLite format 3\0"
COLUMNS = "table_xinfo"
STORED = (0, 3)
"""How that tells of columns whose values lie in the file."""
TABLES = "SELECT name, sql FROM sqlite_schema WHERE type = 'table'"
JOURNAL, ROLLBACK = slice(18, 20), b"\1\1"
"""Where a database says that changes lie in a file beside it, which is not here; and that they do not."""


def recognises(head: bytes) -> bool:
    """Say whether the bytes begin as a database."""
    return head.startswith(HEAD)


def read(file: File, asked: Asked) -> pd.DataFrame:
    """Return a table, the first by name unless another is asked for as `sheet`.

    `DataFrame.attrs["note"]` says which it is where there are several.

    Raises:
        BadInput: the file is damaged, or has no such table, or the table is empty.
    """
    with _opened(file) as connection:
        names = _names(connection)
        listed = ", ".join(map(repr, names[:20]))
        if not names or (asked.sheet and asked.sheet not in names):
            what = f"There are: {listed}. Choose one of them." if names else "Bring a database with tables."
            raise BadInput(f"{file.name!r} has no table{f' {asked.sheet!r}' if names else ''}. {what}")
        name = asked.sheet or names[0]
        found = _rows(connection, name, file, asked.rows)
    found.attrs["note"] = f"Table {name!r} of {listed} was read." if len(names) > 1 else ""
    return found


def sheets(file: File) -> list[str]:
    """Return the names of the tables, sorted.

    Raises:
        BadInput: the file is damaged.
    """
    with _opened(file) as connection:
        return _names(connection)


@contextmanager
def _opened(file: File) -> Iterator[sqlite3.Connection]:
    content = bytearray(file.contents())
    content[JOURNAL] = ROLLBACK
    with closing(sqlite3.connect(":memory:")) as connection:
        try:
            connection.execute("PRAGMA trusted_schema = OFF")
            connection.execute("PRAGMA cell_size_check = ON")
            connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, max(file.size, 1 << 16))
            connection.deserialize(bytes(content))
            connection.set_authorizer(_allowed)
            yield connection
        except (sqlite3.Error, UnicodeError, OverflowError, MemoryError):
            raise file.damaged("SQLite") from None


def _names(connection: sqlite3.Connection) -> list[str]:
    found = [(str(name), str(made).lower().split()[:2]) for name, made in connection.execute(TABLES)]
    return sorted(name for name, made in found if not name.startswith("sqlite_") and made == ["create", "table"])


def _allowed(action: int, what: str | None, *rest: object) -> int:
    reads = action in (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ) or (action == sqlite3.SQLITE_PRAGMA and what == COLUMNS)
    return sqlite3.SQLITE_OK if reads else sqlite3.SQLITE_DENY


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _rows(connection: sqlite3.Connection, name: str, file: File, rows: int | None) -> pd.DataFrame:
    columns = [column for _, column, *_, kind in connection.execute(f"PRAGMA {COLUMNS}({_quoted(name)})") if kind in STORED]
    refuse_large(1, len(columns), file.name)
    cursor = connection.execute(f"SELECT {', '.join(map(_quoted, columns))} FROM {_quoted(name)}")
    told = 0

    def fetch(size: int) -> list[tuple[object, ...]]:
        nonlocal told
        batch = cursor.fetchmany(size)
        told += sum(1 + sum(len(cell) for cell in row if isinstance(cell, str | bytes)) for row in batch)
        if told > file.size:  # a page can stand in many places of the tree
            raise BadInput(f"The table {name!r} of {file.name!r} gives out more than lies in the file. Save it as CSV or Parquet.")
        return batch

    found = table(columns, fetch, file.name, rows)
    if found.empty:
        raise BadInput(f"The table {name!r} of {file.name!r} has no rows. Choose another table.")
    return found
