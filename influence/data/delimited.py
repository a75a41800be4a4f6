"""Parse delimited text strictly: every row as long as the header, every problem with its line."""

from __future__ import annotations

import csv
import io
from itertools import islice

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from influence.errors import BadInput

DELIMITERS = ",;\t|"
MISSING = (
    *("", "?", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN"),
    *("<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"),
)
"""Cells that are no value: those of pandas, and the question mark of the UCI repository."""


def parse(data: bytes, name: str, *, as_text: bool = False) -> pd.DataFrame:
    """Return the table in the bytes of a delimited text; delimiter and encoding are found out, types are inferred from all rows.

    `as_text`: cells stay text, 007 as it is written.

    Raises:
        BadInput: no rows, no header, names that repeat, a quote that is not closed, or rows of another length than the header.
    """
    encoding = _encoding(data)
    delimiter = _delimiter(_sample(data, encoding))
    table = _table(data, encoding, delimiter, name, pa.string() if as_text else None)
    header = [cell.strip() for cell in table.column_names]
    _refuse_header(header, name)
    if not table.num_rows:
        raise BadInput(f"{name!r} has a header but no rows; at least 20 are needed. Export the table again.")
    _refuse_open_quote(table, data, name)
    columns = [_tidied(column, as_text=as_text, decimal_comma=delimiter == ";") for column in table.columns]
    frame = pa.table(columns, names=[str(place) for place in range(len(columns))]).to_pandas(date_as_object=False)
    _refuse_headless(header, frame, name)
    return frame.set_axis(header, axis=1)


def _encoding(data: bytes) -> str:
    if data.startswith(b"\xef\xbb\xbf"):
        return "utf-8-sig"
    for encoding in ("utf-8", "cp1252"):  # Windows' superset of the printable Latin-1
        try:
            data.decode(encoding)
        except UnicodeDecodeError:
            continue
        return encoding
    return "latin-1"


def _sample(data: bytes, encoding: str, size: int = 1_000_000) -> str:
    """Whole lines from the start of the text."""
    end = len(data) if len(data) <= size else data.rfind(b"\n", 0, size) + 1
    return data[: end or len(data)].decode(encoding, errors="replace")


def _rows(text: str, delimiter: str, most: int) -> list[list[str]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        return list(islice((row for row in reader if any(cell.strip() for cell in row)), most))
    except csv.Error:
        return []


def _delimiter(sample: str) -> str:
    """The delimiter with which most of the first rows have as many cells as the header; of these, the one with most cells."""

    def fit(delimiter: str) -> tuple[float, int]:
        rows = _rows(sample, delimiter, 100)
        cells = len(rows[0]) if rows else 0
        return (sum(len(row) == cells for row in rows) / len(rows), cells) if cells > 1 else (0.0, 0)

    return max(DELIMITERS, key=fit)


def _is_number(cell: str) -> bool:
    try:
        float(cell.replace(",", "."))
    except ValueError:
        return False
    return True


def _refuse_header(header: list[str], name: str) -> None:
    named = [cell for cell in header if cell]
    if all(_is_number(cell) for cell in named):
        raise BadInput(
            f"The first line of {name!r} holds only numbers ({', '.join(named[:3])}); it must name the columns. Add a header line."
        )
    repeated = sorted({cell for cell in named if named.count(cell) > 1}) if len(set(named)) < len(named) else []
    if repeated:
        raise BadInput(
            f"The first line of {name!r} repeats {', '.join(map(repr, repeated[:3]))}; every column needs its own name. "
            "Rename them, or add a header line if it holds values."
        )


def _refuse_headless(header: list[str], frame: pd.DataFrame, name: str) -> None:
    # Names that also stand as values of their own columns are values: a first line of data.
    among = [_stands_in(cell, frame.iloc[:, place]) for place, cell in enumerate(header)]
    if sum(among) > len(among) / 2:
        raise BadInput(
            f"The first line of {name!r} looks like data ({', '.join(header[:3])} also stand as values below); it must name the columns. "
            "Add a header line."
        )


def _stands_in(cell: str, column: pd.Series) -> bool:
    if pd.api.types.is_numeric_dtype(column.dtype):
        return _is_number(cell) and bool((column == float(cell.replace(",", "."))).any())
    return bool(cell) and bool((column == cell).any())


def _table(data: bytes, encoding: str, delimiter: str, name: str, kind: pa.DataType | None) -> pa.Table:
    wrong: list[pacsv.InvalidRow] = []

    def refuse(row: pacsv.InvalidRow) -> str:
        wrong.append(row)
        return "error"

    try:
        return pacsv.read_csv(
            pa.BufferReader(data),
            # One block: types must come from all rows, and a wrong row must know its number.
            read_options=pacsv.ReadOptions(use_threads=False, block_size=len(data) + 1, encoding=encoding),
            parse_options=pacsv.ParseOptions(delimiter=delimiter, newlines_in_values=True, invalid_row_handler=refuse),
            convert_options=pacsv.ConvertOptions(strings_can_be_null=True, null_values=MISSING, default_column_type=kind),
        )
    except pa.ArrowInvalid as error:
        if wrong:
            row = wrong[0]
            raise BadInput(
                f"Line {_line(data, row, encoding)} of {name!r} has {row.actual_columns} cells; the header has {row.expected_columns}. "
                "Correct the line, or quote cells that contain the separator."
            ) from None
        raise BadInput(f"{name!r} can't be read as a table: {str(error).splitlines()[0][:120]}. Export it again.") from None


def _line(data: bytes, row: pacsv.InvalidRow, encoding: str) -> int:
    """The line of a row; its number would not count blank lines and lines within quoted cells."""
    start = data.find(b"\n" + row.text.rstrip("\r\n").encode(encoding.removesuffix("-sig"), errors="replace"))
    return int(data.count(b"\n", 0, start + 1)) + 1 if start >= 0 else int(row.number)


def _refuse_open_quote(table: pa.Table, data: bytes, name: str) -> None:
    # A quote that is never closed swallows the rest of the file into one cell of the last row.
    if data.count(b'"') % 2 and any("\n" in str(cell) for cell in table.slice(table.num_rows - 1).to_pylist()[0].values()):
        raise BadInput(f"A quote opened near row {table.num_rows} of {name!r} is never closed. Close or double it, and export again.")


def _tidied(column: pa.ChunkedArray, *, as_text: bool, decimal_comma: bool) -> pa.ChunkedArray:
    """Text without blanks around it; numbers that only blanks, markers of missing values or a decimal comma had hidden."""
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
