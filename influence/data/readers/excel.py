"""Excel workbooks (.xlsx): the stored values of one sheet. Formulas are never evaluated: one without a stored value is a missing cell."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

import pandas as pd
import pyarrow as pa

from influence.data.readers import Asked, File, refuse_large
from influence.data.readers._cells import refuse_header, tidied
from influence.errors import BadInput

WHAT, SUFFIXES, TEXT = "an Excel file", (".xlsx", ".xlsm"), False
MOST_CELLS, MOST_ROWS = 2_000_000, 1 << 20
ERRORS = frozenset(("#NULL!", "#DIV/0!", "#VALUE!", "#REF!", "#NAME?", "#NUM!", "#N/A"))
"""What a formula that fails leaves in a cell; no value."""


def recognises(head: bytes) -> bool:
    """Say whether the bytes begin as a zip archive; which kind only its list of members says."""
    return head.startswith((b"PK\x03\x04", b"PK\x05\x06"))


def read(file: File, asked: Asked) -> pd.DataFrame:
    """Return the table of a sheet, the first that holds one unless another is asked for: its first row that is not empty names the columns.

    `DataFrame.attrs["note"]` says which sheet it is where there are several.

    Raises:
        BadInput: the file is damaged, swells, or has no such sheet, or the sheet holds no table.
    """
    with _opened(file) as sheets:
        listed = ", ".join(repr(title) for title in list(sheets)[:20])
        if asked.sheet and asked.sheet not in sheets:
            raise BadInput(f"{file.name!r} has no sheet {asked.sheet!r}. There are: {listed}. Choose one of them.")
        titles = [asked.sheet] if asked.sheet else list(sheets)  # a cover or a page of notes may stand before the table
        title, frame = next(
            ((title, made) for title in titles if (made := _table(sheets[title], file.name, asked.rows)) is not None), (titles[0], None)
        )
        if frame is None:
            raise BadInput(f"The sheet {title!r} of {file.name!r} holds no header with rows below it. Choose another sheet.")
    frame.attrs["note"] = f"Sheet {title!r} of {listed} was read." if len(sheets) > 1 else ""
    return frame


def sheets(file: File) -> list[str]:
    """Return the names of the sheets.

    Raises:
        BadInput: the file is damaged or swells.
    """
    with _opened(file) as found:
        return list(found)


@contextmanager
def _opened(file: File) -> Iterator[dict[str, Any]]:
    """Yield the sheets of cells by name.

    Raises:
        BadInput: the file is damaged or swells, or there is no sheet.
    """
    from influence.data.readers._workbook import workbook  # brings openpyxl, half a second for those who read no workbook

    try:
        with warnings.catch_warnings(), workbook(file) as book:
            warnings.simplefilter("ignore")  # of styles and the like, which are not read
            found = {sheet.title: sheet for sheet in book.worksheets}
            if not found:
                raise BadInput(f"{file.name!r} has no sheet of cells. Save the table as a sheet, or as CSV.")
            yield found
    except BadInput:
        raise
    except Exception:  # openpyxl raises whatever the first wrong part brings about
        raise file.damaged("Excel") from None


def _table(sheet: Any, name: str, rows: int | None) -> pd.DataFrame | None:
    """Return the table of a sheet; None where there is none."""
    sheet.reset_dimensions()  # the size is told by whoever wrote the file: count what is there
    found = _rows(sheet, name)
    header = [str(cell).strip() if cell is not None else "" for cell in next(found, ())]
    body = list(islice(found, rows))
    width = max(map(len, [header, *body]), default=0)
    header += [""] * (width - len(header))
    columns = [[row[place] if place < len(row) else None for row in body] for place in range(width)]
    kept = [place for place in range(width) if header[place] or any(cell is not None for cell in columns[place])]
    if not body or not kept:
        return None
    refuse_header([header[place] for place in kept], name)
    named = [header[place] or f"unnamed_{place + 1}" for place in kept]
    return pd.DataFrame({place: _cells(columns[place]) for place in kept}, copy=False).set_axis(pd.Index(named, dtype="str"), axis=1)


def _rows(sheet: Any, name: str) -> Iterator[tuple[Any, ...]]:
    """Yield the rows that are not empty, without what failed formulas left.

    Raises:
        BadInput: there are too many.
    """
    cells = 0
    for count, row in enumerate(sheet.iter_rows(values_only=True)):
        cells += len(row)
        if cells > MOST_CELLS or count >= MOST_ROWS:
            raise BadInput(
                f"The sheet {sheet.title!r} of {name!r} has more than {min(count, MOST_ROWS):,} rows or {MOST_CELLS:,} cells, the most "
                "that are read of an Excel file. Save the sheet as CSV or Parquet."
            )
        refuse_large(0, len(row), name)
        values = tuple(None if isinstance(cell, str) and cell in ERRORS else cell for cell in row)
        if any(value is not None and value != "" for value in values):
            yield values


def _cells(values: list[Any]) -> pd.Series:
    if all(value is None or isinstance(value, str) for value in values):  # typed by hand, as in a CSV file
        return tidied(pa.chunked_array([pa.array(values, pa.string())])).to_pandas()
    return pd.Series([value.strip() or None if isinstance(value, str) else value for value in values], dtype=object)
