"""The rows that a query finds in a database, read in batches; nothing is written there, and credentials go nowhere else."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import sqlalchemy as sa
from sqlalchemy.pool import NullPool

from influence.data.readers import Asked, refuse_large
from influence.errors import BadInput

BATCH = 10_000
CELL = 32
"""Bytes of a value in a table of Python objects, besides its text: a place in a list, and a number."""
QUERY = re.compile(r"\s*(select|with|values|table)\b", re.IGNORECASE)
SQLITE = "sqlite"


def place(url: str) -> str:
    """Return a database's address without user, password and options, for records and messages.

    Raises:
        BadInput: it is no address.
    """
    made = _url(url)
    return sa.URL.create(made.drivername, host=made.host, port=made.port, database=made.database).render_as_string()


def read(url: str, query: str, asked: Asked) -> pd.DataFrame:
    """Return the rows of a query.

    `url`: SQLAlchemy's, such as sqlite:////folder/file.db or postgresql+psycopg://user:password@host/database; a database file must exist.

    Raises:
        BadInput: it cannot be connected to or asked so, or finds no rows or too many; credentials are not in the message.
    """
    if not QUERY.match(query):
        raise BadInput(
            f"{query.strip()[:60]!r} is no query; it must begin with SELECT (or WITH). Give one that finds the rows of the table."
        )
    made = _url(url)
    try:
        with _connected(made) as connection:
            result = connection.execution_options(stream_results=True, max_row_buffer=BATCH).exec_driver_sql(query)
            return _table(result, place(url), asked.rows)
    except BadInput:
        raise
    except ImportError as error:
        raise BadInput(f"{made.drivername} needs the package {error.name!r}, which is not installed. Install it, and ask again.") from None
    except Exception as error:  # drivers raise errors of their own, which may name the user: none goes on as it is
        raise BadInput(f"{place(url)!r} can't be asked: {_said(error, made)}. Check the address, your rights and the query.") from None


def _url(url: str) -> sa.URL:
    try:
        return sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError):
        raise BadInput("The database's address can't be read. It is written driver://user:password@host/database.") from None


@contextmanager
def _connected(url: sa.URL) -> Iterator[sa.Connection]:
    """Yield a connection that writes nothing, whatever the query says."""
    lite = url.get_backend_name() == SQLITE
    engine = sa.create_engine(_read_only(url) if lite else url, poolclass=NullPool, hide_parameters=True)
    try:
        with engine.connect() as connection:
            if lite:
                connection.exec_driver_sql("PRAGMA query_only = ON")
                connection.exec_driver_sql("PRAGMA trusted_schema = OFF")
            yield connection.execution_options(postgresql_readonly=True)
            connection.rollback()
    finally:
        engine.dispose()


def _read_only(url: sa.URL) -> sa.URL:
    """Return the address of a file to be read alone: one that is not there would be made.

    Raises:
        BadInput: it is not there.
    """
    if not url.database or not Path(url.database).is_file():
        raise BadInput(f"{url.database or 'The database'!r} does not exist or is no ordinary file. Check the path in the address.")
    return sa.URL.create(url.drivername, database=f"file:{Path(url.database).resolve().as_uri()[7:]}", query={"mode": "ro", "uri": "true"})


def _said(error: Exception, url: sa.URL) -> str:
    """The database's own first line, without user and password."""
    lines = str(getattr(error, "orig", None) or error).strip().splitlines() or [type(error).__name__]
    said = lines[0][:200]
    options = [part for value in url.query.values() for part in ([value] if isinstance(value, str) else value)]
    for secret in filter(None, (url.password, url.username, *options)):
        said = said.replace(str(secret), "***")
    return said.rstrip(".")


def _table(result: Any, name: str, rows: int | None) -> pd.DataFrame:
    if not result.returns_rows:
        raise BadInput(f"The query of {name!r} returns no rows. Give a SELECT.")
    found = table(list(map(str, result.keys())), result.fetchmany, name, rows)
    if found.empty:
        raise BadInput(f"The query of {name!r} finds no rows; at least 20 are needed. Ask for more.")
    return found


def table(names: list[str], fetch: Callable[[int], Sequence[Sequence[Any]]], name: str, rows: int | None) -> pd.DataFrame:
    """Return rows as a table, fetched in batches until there are none or `rows`.

    Raises:
        BadInput: they are too many, or hold more than single values.
    """
    columns: list[list[Any]] = [[] for _ in names]
    count = size = 0
    while (rows is None or count < rows) and (batch := fetch(BATCH if rows is None else min(BATCH, rows - count))):
        count += len(batch)
        for column, values in zip(columns, zip(*batch, strict=True), strict=True):
            column.extend(values)
            size += sum(len(value) for value in values if isinstance(value, str | bytes))
        refuse_large(count, len(names), name, size + CELL * count * len(names))
    _refuse_bytes(names, columns, name)
    return pd.DataFrame({place: pd.Series(column, dtype=object) for place, column in enumerate(columns)}, copy=False).set_axis(
        names, axis=1
    )


def _refuse_bytes(names: list[str], columns: list[list[Any]], name: str) -> None:
    for column, values in zip(names, columns, strict=True):
        if any(isinstance(value, bytes | memoryview | list | dict) for value in values):
            raise BadInput(f"{column!r} of {name!r} holds binary data or several values in a cell. Leave the column out of the query.")
