"""The catalogue: an SQL database of what the project's objects are, shared by every process that works on the project."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    create_engine,
    event,
    inspect,
    select,
)
from sqlalchemy.exc import DatabaseError, OperationalError
from sqlalchemy.schema import DDL

from influence.errors import BadInput

VERSION = 1
PATIENCE = 30.0  # seconds to wait for another process's transaction

tables = MetaData()

schema = Table("schema", tables, Column("version", Integer, nullable=False))

run = Table(
    "run",
    tables,
    Column("seq", Integer, primary_key=True),
    Column("id", String(64), unique=True, nullable=False),
    Column("kind", String(32), nullable=False),
    Column("name", Text, nullable=False),
    Column("created", String(40), nullable=False),
    Column("dataset", String(64), nullable=False),
    Column("parent", String(64), ForeignKey("run.id")),
    Column("body", Text, nullable=False),
)

record = Table(
    "record",
    tables,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("kind", String(32), nullable=False),
    Column("created", String(40), nullable=False),
    Column("body", Text, nullable=False),
    Column("prev", String(64), unique=True, nullable=False),  # a second record after the same one would be a fork
    Column("hash", String(64), unique=True, nullable=False),
)
for verb in ("UPDATE", "DELETE"):
    refuse = f"CREATE TRIGGER record_no_{verb.lower()} BEFORE {verb} ON record BEGIN SELECT RAISE(ABORT, 'records are append-only'); END"
    event.listen(record, "after_create", DDL(refuse).execute_if(dialect="sqlite"))

selection = Table(
    "selection",
    tables,
    Column("seq", Integer, primary_key=True),
    Column("digest", String(64)),  # null: nothing is selected
    Column("back", Integer),  # what undo returns to; null: to nothing
    Column("created", String(40), nullable=False),
)

selection_of = Table(
    "selection_of",
    tables,
    Column("seq", Integer, ForeignKey("selection.seq"), primary_key=True),
    Column("dataset", String(64), nullable=False),  # a step without a line here, as older versions took, is one of all data sets
)

noted = Table(
    "noted",
    tables,
    Column("key", String(255), primary_key=True),
    Column("value", Text, nullable=False),
    Column("created", String(40), nullable=False),
)

pin = Table(
    "pin",
    tables,
    Column("seq", Integer, primary_key=True),
    Column("id", String(32), unique=True, nullable=False),
    Column("place", Integer, nullable=False),
    Column("content", String(64), nullable=False),  # what is pinned, whatever the note says
    Column("body", Text, nullable=False),
    Index("pin_content", "content"),
    Index("pin_place", "place", "id"),
)

pin_step = Table(
    "pin_step",
    tables,
    Column("seq", Integer, primary_key=True),
    Column("words", Text, nullable=False),
    Column("changes", Text, nullable=False),  # of each pin its row before and after
    Column("undone", Integer, nullable=False),
    Column("created", String(40), nullable=False),
    Index("pin_step_undone", "undone", "seq"),
)

job = Table(
    "job",
    tables,
    Column("seq", Integer, primary_key=True),
    Column("id", String(32), unique=True, nullable=False),
    Column("action", String(64), nullable=False),
    Column("args", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("stage", Text, nullable=False, default=""),
    Column("done", BigInteger, nullable=False, default=0),
    Column("total", BigInteger, nullable=False, default=0),
    Column("note", Text, nullable=False, default=""),
    Column("created", Float, nullable=False),  # all times of a job: seconds since 1970
    Column("started", Float),
    Column("ended", Float),
    Column("staged", Float),  # when the present stage began
    Column("reported", Float),
    Column("heartbeat", Float),
    Column("cancelled", Float),  # when somebody asked to stop it
    Column("pid", Integer),
    Column("error", Text, nullable=False, default=""),
    Column("result", Text),
    Index("job_state", "state"),
)

pause = Table(
    "pause",
    tables,
    Column("seq", Integer, primary_key=True),
    Column("job", String(32), ForeignKey("job.id"), nullable=False),
    Column("began", Float, nullable=False),
    Column("ended", Float),  # null: it lasts
    Index("pause_job", "job"),
)

happened = Table(
    "event",
    tables,
    Column("seq", Integer, primary_key=True),
    Column("job", String(32), ForeignKey("job.id"), nullable=False),
    Column("step", BigInteger, nullable=False),
    Column("stage", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("value", Float),
    Column("seconds", Float, nullable=False),
    Index("event_job", "job", "seq"),
)


def now() -> str:
    """Return the time in UTC as ISO 8601 text."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


class Catalogue:
    """Connections to one catalogue. Writers take turns; readers see a state between two transactions.

    Raises:
        BadInput: the file is no catalogue, or was made by a newer version.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.engine = create_engine(f"sqlite:///{file}", connect_args={"timeout": PATIENCE})
        event.listen(self.engine, "connect", _configure)
        event.listen(self.engine, "begin", _begin)
        self._writing = self.engine.execution_options(writing=True)
        self._mine = threading.local()
        weakref.finalize(self, self.engine.dispose)
        try:
            self._open()
        except OperationalError as error:
            raise BadInput(f"{file} cannot be opened: {error.orig}. Check the folder's permissions, or choose another.") from error
        except DatabaseError as error:
            raise BadInput(f"{file} is no catalogue of a project: {error.orig}. Choose another folder.") from error

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction, all or nothing; inside another of the same thread it is a part of that one.

        Yields:
            The connection of the transaction.
        """
        current = getattr(self._mine, "connection", None)
        if current is not None:
            yield current
            return
        with self._writing.begin() as connection:
            self._mine.connection = connection
            try:
                yield connection
            finally:
                self._mine.connection = None

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Read a state of the catalogue that no writer disturbs; inside a transaction of the same thread, what that one wrote, too.

        Yields:
            The connection to read from.
        """
        current = getattr(self._mine, "connection", None)
        if current is not None:
            yield current
            return
        with self.engine.connect() as connection:
            yield connection

    def close(self) -> None:
        """Close all connections; the next call opens new ones."""
        self.engine.dispose()

    def _open(self) -> None:
        with self.read() as connection:
            there = set(inspect(connection).get_table_names())
            if "schema" in there:
                self._check(connection)
                if there >= set(tables.tables):
                    return
        with self.write() as connection:
            names = inspect(connection).get_table_names()
            if names and "schema" not in names:
                raise BadInput(f"{self.file} is a database, but no catalogue of a project. Choose another folder.")
            if names:
                self._check(connection)  # another process may have been first
            tables.create_all(connection)  # of an older project those that it lacks; versions that do not know them leave them be
            if not names:
                connection.execute(schema.insert().values(version=VERSION))

    def _check(self, connection: Connection) -> None:
        version = connection.execute(select(schema.c.version)).scalar_one()
        if version > VERSION:
            raise BadInput(
                f"{self.file.parent} was made by a newer version of Lethe: its format is {version}, this one reads {VERSION}. Update Lethe."
            )


def _configure(connection: Any, _: Any) -> None:
    connection.isolation_level = None  # the driver would begin transactions late; `_begin` says when
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute("PRAGMA foreign_keys=ON")


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get("writing") else "BEGIN")
