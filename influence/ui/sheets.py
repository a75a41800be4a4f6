"""Which table of a file that holds several: a sheet of a workbook, or a table of a database."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from influence.data.read import read_table, sheets_of
from influence.data.schema import Column, infer
from influence.ui.source import Source


@dataclass(frozen=True)
class Sheet(Source):
    """One table of a file that holds several, by its name."""

    sheet: str = ""

    @property
    def stamp(self) -> tuple[Any, ...]:
        """What changes when the content does."""
        return f"{self.data}#{self.sheet}", *super().stamp[1:]

    def table(self) -> pd.DataFrame:
        """Return the table, read once per content and shared: do not change it.

        Raises:
            BadInput: it cannot be read.
        """
        return _table(self.data, self.sheet, self.stamp)

    def first(self, rows: int) -> pd.DataFrame:
        """Return the first rows of the table.

        Raises:
            BadInput: they cannot be read.
        """
        return _first(self.data, self.sheet, rows, self.stamp)

    def columns(self) -> list[Column]:
        """Return what each column is."""
        return _columns(self.data, self.sheet, self.stamp)


def choose(source: Source) -> Source:
    """Ask which table of a file is meant if it holds several, and return the source with it.

    Raises:
        BadInput: the file cannot be read.
    """
    if source.bundled or source.images or not Path(source.data).is_file():
        return source
    names = _sheets(source.data, source.stamp)
    if len(names) < 2:
        return source
    about = "The sheets of a workbook, or the tables of a database."
    picked = st.selectbox(f"Table, one of {len(names)}", names, key=f"load.{source.data}.sheet", help=about, persist_state="session")
    return Sheet(source.data, source.name, source.data_set, picked)


@st.cache_resource(show_spinner="Looking for tables", max_entries=16)
def _sheets(path: str, stamp: tuple[Any, ...]) -> tuple[str, ...]:
    return sheets_of(path)


@st.cache_resource(show_spinner="Reading the table", max_entries=4)
def _table(path: str, sheet: str, stamp: tuple[Any, ...]) -> pd.DataFrame:
    return read_table(path, sheet=sheet)


@st.cache_resource(show_spinner="Reading the first rows", max_entries=16)
def _first(path: str, sheet: str, rows: int, stamp: tuple[Any, ...]) -> pd.DataFrame:
    return read_table(path, sheet=sheet, rows=rows)


@st.cache_resource(show_spinner="Looking at the columns", max_entries=16)
def _columns(path: str, sheet: str, stamp: tuple[Any, ...]) -> list[Column]:
    return infer(_table(path, sheet, stamp))
