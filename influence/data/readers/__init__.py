"""Readers of tables, one file per format: `recognises` says by a file's first bytes whether it is one, `read` returns its table.

Adding a format is adding a file with WHAT (what such a file is called), SUFFIXES (offered in lists; they never decide), TEXT (whether it is
plain text, so that anything could pass for it), and these two functions.
"""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import dataclass
from functools import cache, cached_property
from typing import BinaryIO, Protocol, cast

import pandas as pd

from influence.data.readers._foreign import NEEDED, refuse_foreign
from influence.errors import BadInput

MOST_CELLS, MOST_COLUMNS, MOST_BYTES = 200_000_000, 20_000, 4_000_000_000
"""The largest table, whatever the size of its file: cells, columns, and bytes that it takes when it is unpacked."""

MOST_CONTENTS = 2_000_000_000
"""Bytes of a file of a format that is read whole before it is parsed."""


@dataclass(frozen=True)
class File:
    """An open file: its name as people are told it, its size in bytes, and a stream of its bytes that can be wound back."""

    name: str
    size: int
    stream: BinaryIO

    @cached_property
    def head(self) -> bytes:
        """The first 64 KiB."""
        return self.start(1 << 16)

    def start(self, size: int) -> bytes:
        """Return the first bytes."""
        self.stream.seek(0)
        found = self.stream.read(size)
        self.stream.seek(0)
        return found

    def contents(self) -> bytes:
        """Return all bytes.

        Raises:
            BadInput: there are too many to hold.
        """
        if self.size > MOST_CONTENTS:
            raise BadInput(
                f"{self.name!r} has {self.size / 1e6:,.0f} MB; at most {MOST_CONTENTS / 1e6:,.0f} MB of its kind are read. "
                "Save it as Parquet, or take a sample of its rows."
            )
        return self.start(self.size + 1)

    def damaged(self, what: str) -> BadInput:
        """Return the refusal of a file that begins as one of this format and does not go on as one."""
        return BadInput(f"{self.name!r} is damaged and can't be read as {what}. Export it again.")


@dataclass(frozen=True)
class Asked:
    """What is wanted of a file: its first `rows` alone, cells of text as they are written, one sheet of a workbook by name."""

    rows: int | None = None
    as_text: bool = False
    sheet: str = ""


class Reader(Protocol):
    """What a file of this package provides."""

    WHAT: str
    SUFFIXES: tuple[str, ...]
    TEXT: bool

    def recognises(self, head: bytes) -> bool:
        """Say whether a file that begins so is one of this format."""

    def read(self, file: File, asked: Asked) -> pd.DataFrame:
        """Return the table.

        Raises:
            BadInput: the file is damaged, too large, or no table.
        """


@cache
def readers() -> tuple[Reader, ...]:
    """Return the readers of files: the modules of this package that recognise a file."""
    found = (m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))
    names = sorted(found, key=lambda name: (name == "delimited", name))  # any text could be delimited: it is tried last
    modules = [importlib.import_module(f"{__name__}.{name}") for name in names]
    return tuple(cast(Reader, module) for module in modules if hasattr(module, "recognises"))


def suffixes() -> tuple[str, ...]:
    """Return the endings that tables usually have, with the dot."""
    return tuple(suffix for reader in readers() for suffix in reader.SUFFIXES if suffix)


def read(file: File, asked: Asked) -> pd.DataFrame:
    """Return the table in a file, by the reader that recognises it.

    Raises:
        BadInput: nothing is in it, no reader recognises it, or its reader refuses it.
    """
    if not file.head.strip(b"\xef\xbb\xbf \t\r\n") and file.size <= len(file.head):
        raise BadInput(f"{file.name!r} is empty; a header line and rows are needed. Export the table again.")
    reader = next((reader for reader in readers() if reader.recognises(file.head)), None)
    if reader is None or reader.TEXT:
        refuse_foreign(file, readers())
    if reader is None:
        raise BadInput(f"{file.name!r} is not a table of a kind that is read here. {NEEDED} Save the table as one of these.")
    if asked.sheet and not hasattr(reader, "sheets"):
        raise BadInput(f"{file.name!r} is {reader.WHAT} and has no sheets; {asked.sheet!r} was asked for. Ask for no sheet.")
    return reader.read(file, asked)


def sheets(file: File) -> tuple[str, ...]:
    """Return the names of the tables in a file of a kind that may hold several (its reader has `sheets`), else none.

    Raises:
        BadInput: it is damaged.
    """
    reader = next((reader for reader in readers() if reader.recognises(file.head)), None)
    return tuple(reader.sheets(file)) if reader is not None and hasattr(reader, "sheets") else ()


def refuse_large(rows: int, columns: int, name: str, size: int = 0) -> None:
    """Refuse a table that would not fit, before it is unpacked: `size` is what it takes then, in bytes, where that is known.

    Raises:
        BadInput: too many columns, cells or bytes.
    """
    advice = "Take a sample of its rows or fewer columns."
    if columns > MOST_COLUMNS:
        raise BadInput(f"{name!r} has {columns:,} columns; at most {MOST_COLUMNS:,} are read. Leave out columns.")
    if rows * columns > MOST_CELLS:
        raise BadInput(f"{name!r} unpacks to {rows * columns:,} cells; at most {MOST_CELLS:,} cells are read. {advice}")
    if size > MOST_BYTES:
        raise BadInput(f"{name!r} unpacks to {size / 1e6:,.0f} MB; at most {MOST_BYTES / 1e6:,.0f} MB are read. {advice}")
