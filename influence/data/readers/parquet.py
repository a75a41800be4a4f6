"""Parquet files, unpacked batch by batch, so that what unpacks to more than fits is noticed on the way."""

from __future__ import annotations

from itertools import compress
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from influence.data.readers import Asked, File, refuse_large
from influence.data.readers._cells import refuse_nested, table
from influence.errors import BadInput

WHAT, SUFFIXES, TEXT = "a Parquet file", (".parquet", ".pq"), False
BATCH, MOST_AT_ONCE = 1 << 16, 1 << 31  # rows, and bytes that they may take
PLAINLY: dict[str, Any] = {"pre_buffer": False, "buffer_size": 1 << 16, "arrow_extensions_enabled": False}
"""Read on as it is needed, so that no group of rows is held packed beside what it unpacks to, and make no types of somebody's own."""


def recognises(head: bytes) -> bool:
    """Say whether the bytes begin as Parquet."""
    return head.startswith(b"PAR1")


def read(file: File, asked: Asked) -> pd.DataFrame:
    """Return the table; what pandas or Arrow noted beside the columns is not looked at.

    Raises:
        BadInput: the file is damaged, too large, or no table.
    """
    try:
        return _read(file, asked)
    except BadInput:
        raise
    except (pa.ArrowException, OSError, ValueError):
        raise file.damaged("Parquet") from None


def _read(file: File, asked: Asked) -> pd.DataFrame:
    parquet = pq.ParquetFile(file.stream, **PLAINLY)
    footer, schema = parquet.metadata, parquet.schema_arrow
    rows = footer.num_rows if asked.rows is None else min(asked.rows, footer.num_rows)
    # A few kilobytes of Parquet can stand for billions of cells: look at the footer before unpacking.
    refuse_large(rows, footer.num_columns, file.name, _size(footer) if asked.rows is None else 0)
    refuse_nested(schema, file.name)
    if not rows or not footer.num_columns:
        raise BadInput(f"{file.name!r} holds no rows; at least 20 are needed. Export the table again.")
    own = [not field.name.startswith("__index_level_") for field in schema]
    names = [field.name for field, kept in zip(schema, own, strict=True) if kept]
    return table(names, list(compress(_columns(file, footer, schema, rows), own)), file.name, asked.rows)


def _size(footer: pq.FileMetaData) -> int:
    return sum(footer.row_group(place).total_byte_size for place in range(footer.num_row_groups))


def _columns(file: File, footer: pq.FileMetaData, schema: pa.Schema, rows: int) -> list[pa.ChunkedArray]:
    words, longest = _words(footer, schema)
    parquet = pq.ParquetFile(file.stream, metadata=footer, read_dictionary=words, **PLAINLY)
    chunks: list[list[pa.Array]] = [[] for _ in schema]
    seen = size = 0
    for batch in parquet.iter_batches(batch_size=max(1, min(BATCH, rows, MOST_AT_ONCE // longest))):
        batch.validate(full=True)  # text that is none would fail later, and elsewhere
        for held, column in zip(chunks, batch.columns, strict=True):
            held.append(column)
        seen, size = seen + batch.num_rows, size + batch.nbytes
        refuse_large(0, 0, file.name, size)
        if seen >= rows:
            return [pa.chunked_array(held) for held in chunks]
    raise file.damaged("Parquet")


def _words(footer: pq.FileMetaData, schema: pa.Schema) -> tuple[list[str], int]:
    """Columns of words that can stay numbered until all are counted, and how long one of all others may be, in bytes.

    A word of a megabyte in each of a million rows takes a few kilobytes of file: kept once, or by what it has in common with the one before
    it. Words of the second kind can't be numbered; one is at most as long as all that its column holds before it is written out.
    """
    words, longest = [], 1
    for place, field in enumerate(schema):
        if pa.types.is_fixed_size_binary(field.type):
            longest = max(longest, field.type.byte_width)
        if not any(is_(field.type) for is_ in (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)):
            continue
        parts = [footer.row_group(group).column(place) for group in range(footer.num_row_groups)]
        if any(encoding.startswith("DELTA") for part in parts for encoding in part.encodings):
            longest = max(longest, *(part.total_uncompressed_size for part in parts))
        else:
            words.append(field.name)
    return words, longest
