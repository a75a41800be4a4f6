"""From columns of cells to a plain table: what every reader does with names, with text, and with Arrow's types."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from influence.data.readers import MOST_BYTES
from influence.errors import BadInput

MISSING = (
    *("", "?", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN"),
    *("<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"),
)
"""Cells that are no value: those of pandas, and the question mark of the UCI repository."""

FLAT = "A table's cells are single values. Make a column of each part, or leave the column out when you save the file."


def table(names: Sequence[str], columns: list[Any], file: str, rows: int | None = None) -> pd.DataFrame:
    """Return the table of Arrow columns, converted one by one; each is let go of when it is done, so that no two tables are held.

    `columns` is emptied. `rows`: the first ones alone.

    Raises:
        BadInput: a column holds no text, or too much of it.
    """
    made, room = {}, MOST_BYTES
    for place, name in enumerate(names):
        column = flat(columns[place] if rows is None else columns[place][:rows], name, file, room)
        columns[place] = None
        room -= column.nbytes
        made[place] = column.to_pandas(date_as_object=False)
    return pd.DataFrame(made, copy=False).set_axis(pd.Index(names, dtype="str"), axis=1)


def refuse_nested(schema: pa.Schema, file: str) -> None:
    """Refuse columns that hold several values in a cell, before any is unpacked.

    Raises:
        BadInput: there is one.
    """
    for field in schema:
        kind = _stored(field.type)
        if pa.types.is_nested(kind) or pa.types.is_run_end_encoded(kind) or isinstance(kind, pa.BaseExtensionType):
            raise BadInput(f"{field.name[:80]!r} of {file!r} holds {str(kind)[:60]} in its cells. {FLAT}")


def _stored(kind: pa.DataType) -> pa.DataType:
    """What a type of somebody's own is made of, and what numbered words are."""
    kind = kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def flat(column: pa.ChunkedArray, name: str, file: str, room: int = MOST_BYTES) -> pa.ChunkedArray:
    """Return a column of single values as a type that pandas has, written out if it is at most `room` bytes.

    Raises:
        BadInput: it is too long, or holds no text.
    """
    if isinstance(column.type, pa.BaseExtensionType):  # what it is made of; whatever code a type of somebody's own has does not run
        column = pa.chunked_array([chunk.storage for chunk in column.chunks], column.type.storage_type)
    if pa.types.is_dictionary(column.type):
        _refuse_long(column, name, file, room)
        column = column.cast(column.type.value_type)
    kind = column.type
    if pa.types.is_decimal(kind):
        return column.cast(pa.float64())
    if pa.types.is_date(kind):
        return column.cast(pa.timestamp("us"))
    if any(is_(kind) for is_ in (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary, pa.types.is_binary_view)):
        return _text(column, name, file)
    return column.cast(pa.large_string()) if pa.types.is_string(kind) or pa.types.is_string_view(kind) else column


def _refuse_long(column: pa.ChunkedArray, name: str, file: str, room: int) -> None:
    """Refuse words that are kept once and stand in many rows.

    Raises:
        BadInput: they are too long to be written out.
    """
    if not any(is_(column.type.value_type) for is_ in (pa.types.is_primitive, pa.types.is_boolean, pa.types.is_null)):
        long = sum(_written(chunk) for chunk in column.chunks)
        if long > room:
            raise BadInput(
                f"{name!r} of {file!r} unpacks to {long / 1e6:,.0f} MB of text; at most {MOST_BYTES / 1e6:,.0f} MB of a table are read. "
                "Leave the column out, or take a sample of the rows."
            )


def _written(chunk: pa.DictionaryArray) -> int:
    lengths = pc.binary_length(chunk.dictionary.cast(pa.large_binary()))
    return int(pc.sum(pc.take(lengths.cast(pa.int64()), chunk.indices)).as_py() or 0)


def _text(column: pa.ChunkedArray, name: str, file: str) -> pa.ChunkedArray:
    try:
        return column.cast(pa.large_binary()).cast(pa.large_string())
    except pa.ArrowInvalid:
        raise BadInput(f"{name!r} of {file!r} holds binary data, not text. Leave the column out when you save the file.") from None


def refuse_header(header: list[str], name: str) -> None:
    """Refuse a first line that names no columns.

    Raises:
        BadInput: it holds only numbers, or repeats a name.
    """
    named = [cell for cell in header if cell]
    if all(is_number(cell) for cell in named):
        raise BadInput(
            f"The first line of {name!r} holds only numbers ({', '.join(named[:3])}); it must name the columns. Add a header line."
        )
    repeated = sorted(cell for cell, times in Counter(named).items() if times > 1)
    if repeated:
        raise BadInput(
            f"The first line of {name!r} repeats {', '.join(repr(cell[:80]) for cell in repeated[:3])}; every column needs its own name. "
            "Rename them, or add a header line if it holds values."
        )


def refuse_headless(header: list[str], frame: pd.DataFrame, name: str) -> None:
    """Refuse a first line of data: names that also stand as values of their own columns are values.

    Raises:
        BadInput: that holds for most of them.
    """
    among = [_stands_in(cell, frame.iloc[:, place]) for place, cell in enumerate(header)]
    if sum(among) > len(among) / 2:
        raise BadInput(
            f"The first line of {name!r} looks like data ({', '.join(cell[:80] for cell in header[:3])} also stand as values below); "
            "it must name the columns. Add a header line."
        )


def is_number(cell: str) -> bool:
    """Say whether a cell reads as a number."""
    try:
        float(cell.replace(",", "."))
    except ValueError:
        return False
    return True


def _stands_in(cell: str, column: pd.Series) -> bool:
    if pd.api.types.is_numeric_dtype(column.dtype):
        return is_number(cell) and bool((column == float(cell.replace(",", "."))).any())
    return bool(cell) and bool((column == cell).any())


def tidied(column: pa.ChunkedArray, *, as_text: bool = False, decimal_comma: bool = False) -> pa.ChunkedArray:
    """Return text without blanks around it, and numbers that only blanks, markers of missing values or a decimal comma had hidden."""
    if not pa.types.is_string(column.type):
        return column
    text = pc.utf8_trim_whitespace(column)
    text = pc.if_else(pc.is_in(text, value_set=pa.array(MISSING)), pa.scalar(None, pa.string()), text)
    candidate = pc.replace_substring(text, ",", ".") if decimal_comma else text
    for kind in () if as_text else (pa.int64(), pa.float64()):
        try:
            candidate[:1000].cast(kind)  # a cast goes through all rows before it fails
            return candidate.cast(kind)
        except pa.ArrowInvalid:
            continue
    return text
