"""How much the record batches of an Arrow stream take when they are unpacked, told by their headers before any is.

The layout is that of Arrow's Message.fbs, read with the rules of FlatBuffers: a table begins with the distance back to its list of places,
which says where each field lies.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np
import pyarrow as pa

DICTIONARY, RECORDS = 2, 3  # MessageHeader
HEADER_TYPE, HEADER = 1, 2  # fields of Message
DATA = 1  # of DictionaryBatch
LENGTH, BUFFERS, COMPRESSION = 0, 2, 3  # of RecordBatch


def sizes(stream: pa.NativeFile) -> Iterator[tuple[int, int]]:
    """Yield the rows of each batch and the bytes that its buffers take when unpacked; the rows of words that are kept once count 0.

    Raises:
        struct.error: a header is damaged.
        ArrowInvalid: the stream is.
    """
    reader = pa.ipc.MessageReader.open_stream(stream)
    for message in reader:
        data = message.metadata.to_pybytes()
        root = _unsigned(data, 0)
        kind = data[_place(data, root, HEADER_TYPE) or 0]
        if kind not in (DICTIONARY, RECORDS):
            continue
        batch = _table(data, root, HEADER)
        if kind == DICTIONARY:
            batch = _table(data, batch, DATA)
        place = _place(data, batch, LENGTH)
        rows = struct.unpack_from("<q", data, place)[0] if place and kind == RECORDS else 0
        yield rows, _unpacked(data, batch, message.body)


def _unpacked(data: bytes, batch: int, body: pa.Buffer | None) -> int:
    place = _place(data, batch, BUFFERS)
    if not place or body is None:
        return 0
    start = place + _unsigned(data, place)
    count = _unsigned(data, start)
    buffers = np.frombuffer(data, "<i8", 2 * count, start + 4).reshape(count, 2)
    if not _place(data, batch, COMPRESSION):
        return int(buffers[:, 1].sum())
    held = memoryview(body)
    # A packed buffer begins with its unpacked length; -1: it was left as it is.
    told = [(struct.unpack_from("<q", held, offset)[0], length) for offset, length in buffers.tolist() if length]
    return sum(length if size < 0 else size for size, length in told)


def _unsigned(data: bytes, place: int) -> int:
    return int(struct.unpack_from("<I", data, place)[0])


def _place(data: bytes, table: int, field: int) -> int:
    """Where a field of a table lies; 0 if it is left out."""
    places = table - struct.unpack_from("<i", data, table)[0]
    if 4 + 2 * field >= struct.unpack_from("<H", data, places)[0]:
        return 0
    offset = struct.unpack_from("<H", data, places + 4 + 2 * field)[0]
    return table + offset if offset else 0


def _table(data: bytes, table: int, field: int) -> int:
    place = _place(data, table, field)
    if not place:
        raise struct.error("a part of the header is left out")
    return place + _unsigned(data, place)
