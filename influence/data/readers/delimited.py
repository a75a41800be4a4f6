"""Delimited text, parsed strictly: every row as long as the header, every problem with its line."""

from __future__ import annotations

import codecs
import csv
import io
from itertools import islice

import pandas as pd
import pyarrow as pa
import pyarrow.csv as pacsv

from influence.data.readers import MOST_COLUMNS, Asked, File, refuse_large
from influence.data.readers._cells import MISSING, refuse_header, refuse_headless, table, tidied
from influence.data.readers._foreign import is_binary
from influence.errors import BadInput

WHAT, SUFFIXES, TEXT = "a CSV file", (".csv", ".tsv", ".tab", ".txt", ".data", ".dat", ""), True
DELIMITERS = ",;\t|"
MOST_HEADER = 200 * MOST_COLUMNS  # bytes of a first line
UTF_16 = (b"\xff\xfe", b"\xfe\xff")


def recognises(head: bytes) -> bool:
    """Say whether the bytes are text that begins neither as JSON nor as a web page."""
    if head.startswith(UTF_16):
        return not head.startswith(b"\xff\xfe\0\0")
    return not is_binary(head) and not head[:64].lstrip(b"\xef\xbb\xbf \t\r\n").startswith((b"{", b"[", b"<"))


def read(file: File, asked: Asked) -> pd.DataFrame:
    """Return the table in a delimited text; delimiter and encoding are found out, types are inferred from all rows that are read.

    Raises:
        BadInput: no rows, no header, names that repeat, a quote that is not closed, rows of another length than the header, or too many
            columns or cells.
    """
    few = asked.rows is not None and not file.head.startswith(UTF_16)
    data = _lines(file, 2 * (asked.rows or 0) + 2) if few else file.contents()
    return parse(data, file.name, as_text=asked.as_text, rows=asked.rows)


def parse(data: bytes, name: str, *, as_text: bool = False, rows: int | None = None) -> pd.DataFrame:
    """Return the table in the bytes of a delimited text. `as_text`: cells stay text, 007 as it is written. `rows`: the first ones alone.

    Raises:
        BadInput: as `read`.
    """
    data, encoding = _decoded(data, name)
    delimiter = _delimiter(data, encoding, name)
    found = _table(data, encoding, delimiter, name, pa.string() if as_text else None)
    header = [cell.strip() for cell in found.column_names]
    refuse_header(header, name)
    if not found.num_rows:
        raise BadInput(f"{name!r} has a header but no rows; at least 20 are needed. Export the table again.")
    _refuse_open_quote(found, data, name)
    columns = [tidied(column, as_text=as_text, decimal_comma=delimiter == ";") for column in found.columns]
    del found
    frame = table([str(place) for place in range(len(columns))], columns, name, rows)
    refuse_headless(header, frame, name)
    return frame.set_axis(header, axis=1)


def _lines(file: File, wanted: int) -> bytes:
    """Return the first whole lines, so many or more, or all there are; none ends within a quoted cell."""
    size = 1 << 20
    while size < file.size:
        data = file.start(size)
        data = data[: data.rfind(b"\n") + 1]
        if data.count(b"\n") >= wanted and not data.count(b'"') % 2:
            return data
        size *= 4
    return file.contents()


def _decoded(data: bytes, name: str) -> tuple[bytes, str]:
    """Return the text in an encoding that Arrow reads in one pass, and which it is.

    Raises:
        BadInput: it is not what its first bytes say.
    """
    if data.startswith(UTF_16):
        try:
            return data.decode("utf-16").encode(), "utf-8"
        except UnicodeError:
            raise BadInput(f"{name!r} begins as UTF-16 text and does not go on as such. Save it as UTF-8.") from None
    if data.startswith(codecs.BOM_UTF8):
        return data, "utf-8-sig"
    if _is_text(data, "utf-8"):
        return data, "utf-8"
    return data, "cp1252" if _is_text(data, "cp1252") else "latin-1"  # Windows' superset of the printable Latin-1


def _is_text(data: bytes, encoding: str, step: int = 1 << 22) -> bool:
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        for start in range(0, len(data), step):
            decoder.decode(data[start : start + step], final=start + step >= len(data))
    except UnicodeDecodeError:
        return False
    return True


def _delimiter(data: bytes, encoding: str, name: str) -> str:
    """Return the delimiter with which most of the first rows have as many cells as the header; of these, the one with most cells.

    Raises:
        BadInput: there would be too many columns or cells.
    """
    first = data[: MOST_HEADER + 1].removeprefix(codecs.BOM_UTF8).lstrip(b"\r\n")
    header = first[: min((place for mark in (b"\n", b"\r") if (place := first.find(mark)) >= 0), default=len(first))]
    if len(header) >= MOST_HEADER - 8:
        raise BadInput(
            f"The first line of {name!r} has more than {MOST_HEADER / 1e6:.0f} MB; it must name at most {MOST_COLUMNS:,} columns. "
            "Leave out columns, or add a header line."
        )
    sample = _sample(data, encoding)
    best = max(DELIMITERS, key=lambda delimiter: _fit(sample, delimiter))
    columns, mark = header.count(best.encode()) + 1, best.encode()
    lines = max(data.count(b"\n"), data.count(b"\r")) + 1
    # A cell for each delimiter, and each row as long as the header: the fewer of both, since quotes may hide either.
    refuse_large(min(lines, (data.count(mark) + lines) // columns + 1), columns, name)
    return best


def _fit(sample: str, delimiter: str) -> tuple[float, int]:
    rows = _rows(sample, delimiter, 100)
    cells = len(rows[0]) if rows else 0
    return (sum(len(row) == cells for row in rows) / len(rows), cells) if cells > 1 else (0.0, 0)


def _sample(data: bytes, encoding: str, size: int = 1_000_000) -> str:
    """Whole lines from the start of the text."""
    end = len(data) if len(data) <= size else data.rfind(b"\n", 0, size) + 1
    return data[: end or MOST_HEADER].decode(encoding, errors="replace")


def _rows(text: str, delimiter: str, most: int) -> list[list[str]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        return list(islice((row for row in reader if any(cell.strip() for cell in row)), most))
    except csv.Error:
        return []


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
    except (pa.ArrowException, OSError, UnicodeError) as error:
        if wrong:
            row = wrong[0]
            raise BadInput(
                f"Line {_line(data, row, encoding)} of {name!r} has {row.actual_columns} cells; the header has {row.expected_columns}. "
                "Correct the line, or quote cells that contain the separator."
            ) from None
        said = "".join(c if c.isprintable() else " " for c in (str(error).splitlines() or [""])[0][:120])
        raise BadInput(f"{name!r} can't be read as a table: {said}. Export it again.") from None


def _line(data: bytes, row: pacsv.InvalidRow, encoding: str) -> int:
    """The line of a row; its number would not count blank lines and lines within quoted cells."""
    start = data.find(b"\n" + row.text.rstrip("\r\n").encode(encoding.removesuffix("-sig"), errors="replace"))
    return int(data.count(b"\n", 0, start + 1)) + 1 if start >= 0 else int(row.number)


def _refuse_open_quote(found: pa.Table, data: bytes, name: str) -> None:
    # A quote that is never closed swallows the rest of the file into one cell of the last row.
    if data.count(b'"') % 2 and any("\n" in str(cell) for cell in found.slice(found.num_rows - 1).to_pylist()[0].values()):
        raise BadInput(f"A quote opened near row {found.num_rows} of {name!r} is never closed. Close or double it, and export again.")
