"""Arrow's own format: files (also called Feather, version 2) and streams."""

from __future__ import annotations

import struct

import pandas as pd
import pyarrow as pa

from influence.data.readers import Asked, File, refuse_large
from influence.data.readers._cells import refuse_nested, table
from influence.data.readers._ipc import sizes
from influence.errors import BadInput

WHAT, SUFFIXES, TEXT = "an Arrow file", (".arrow", ".feather", ".arrows", ".ipc"), False
MAGIC, STREAM = b"ARROW1", b"\xff\xff\xff\xff"


def recognises(head: bytes) -> bool:
    """Say whether the bytes begin as an Arrow file or stream."""
    return head.startswith((MAGIC, STREAM))


def read(file: File, asked: Asked) -> pd.DataFrame:
    """Return the table.

    Raises:
        BadInput: the file is damaged, too large, or no table.
    """
    try:
        return _read(file, asked)
    except BadInput:
        raise
    except (pa.ArrowException, OSError, ValueError, struct.error, IndexError, OverflowError):
        raise file.damaged("Arrow") from None


def _read(file: File, asked: Asked) -> pd.DataFrame:
    data = pa.py_buffer(file.contents())
    # A file is a stream between its magic bytes and an index of it, which is not needed.
    data = data.slice(8) if file.head.startswith(MAGIC) else data
    with pa.ipc.open_stream(data) as stream:
        schema = stream.schema
        refuse_large(0, len(schema), file.name)
        refuse_nested(schema, file.name)
        rows = unpacked = 0
        for length, size in sizes(pa.BufferReader(data)):
            rows, unpacked = rows + length, unpacked + size
            if length < 0:
                raise file.damaged("Arrow")
            refuse_large(rows, len(schema), file.name, unpacked)
        columns = _columns(stream, asked.rows)
    if not rows or not len(schema):
        raise BadInput(f"{file.name!r} holds no rows; at least 20 are needed. Export the table again.")
    return table(schema.names, columns, file.name, asked.rows)


def _columns(stream: pa.ipc.RecordBatchStreamReader, rows: int | None) -> list[pa.ChunkedArray]:
    chunks: list[list[pa.Array]] = [[] for _ in stream.schema]
    seen = 0
    for batch in stream:
        batch.validate(full=True)  # places that point outside the data would read other memory
        for held, column in zip(chunks, batch.columns, strict=True):
            held.append(column)
        seen += batch.num_rows
        if rows is not None and seen >= rows:
            break
    return [pa.chunked_array(held, field.type) for held, field in zip(chunks, stream.schema, strict=True)]
