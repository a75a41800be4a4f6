"""A table with a column of images: paths of files, or the bytes of files themselves (Parquet), and whatever else is told of each."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from influence.data.images.decode import MOST_BYTES, SUFFIXES, Unreadable
from influence.data.images.found import Images, Read, ids_of, refuse_many
from influence.data.images.zipped import MOST_UNPACKED
from influence.data.read import data_roots, read_table
from influence.data.readers import MOST_CELLS
from influence.data.schema import nearest, plain
from influence.errors import BadInput

ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
LABEL = "label"
AT_ONCE = 16
"""Cells of bytes that are read together."""


def bytes_column(path: Path) -> str:
    """Return the name of the first column of a Parquet file that holds bytes, alone or beside a path as in Hugging Face's; else ""."""
    try:
        schema = pq.read_schema(path) if path.is_file() else pa.schema([])
    except (pa.ArrowException, OSError, ValueError):
        return ""
    return next((field.name for field in schema if _is_bytes(field.type)), "")


def path_columns(table: pd.DataFrame) -> list[str]:
    """Return the names of columns that hold paths of images, judged by their first values."""
    texts = [name for name, column in table.items() if pd.api.types.is_string_dtype(column.dtype)]
    return [str(name) for name in texts if _are_images(table[name].dropna().head(20))]


def _are_images(values: pd.Series) -> bool:
    return bool(len(values)) and bool(values.str.lower().str.endswith(SUFFIXES).all())


def from_table(path: Path, column: str) -> Images:
    """Return the images of a table's column.

    Files must lie in the folder of the table, or in one of the folders that are open (INFLUENCE_DATA_ROOTS); links are followed first.

    Raises:
        BadInput: the table cannot be read, has no such column, or a path leads outside.
    """
    if bytes_column(path) == column:
        return _from_bytes(path, column)
    table = read_table(path)
    if column not in table:
        raise BadInput(f"The image column {column!r} is not a column of {path.name!r}. {nearest(column, table.columns)}")
    if not pd.api.types.is_string_dtype(table[column].dtype):
        raise BadInput(f"The column {column!r} of {path.name!r} holds no paths of images. Choose another column.")
    kept = table[table[column].notna()].reset_index(drop=True)
    refuse_many(len(kept), path.name)
    files = _files(kept[column], path)

    @contextmanager
    def opened() -> Iterator[Read]:
        yield lambda place: _content(files[place])

    names = kept[column].tolist()
    ids = ids_of(names) if len(set(names)) == len(names) else np.arange(len(names), dtype=np.int64)
    return _images(path, _with_path(kept.drop(columns=column), names), ids, opened, len(table) - len(kept))


def _files(names: pd.Series, table: Path) -> list[str]:
    """Where each image lies, links followed.

    Raises:
        BadInput: one is an address of the web, or lies neither in the table's folder nor in an open one.
    """
    roots = [os.path.realpath(root) for root in (table.parent, *data_roots())]
    found = []
    for name in names:
        if ADDRESS.match(name):
            raise BadInput(f"{name[:80]!r} in {table.name!r} is an address; nothing is fetched. Download the images, and give their paths.")
        places = [os.path.realpath(os.path.join(root, name)) if "\0" not in name else "" for root in roots]
        inside = [place for place, root in zip(places, roots, strict=True) if place.startswith(root.rstrip(os.sep) + os.sep)]
        if not inside:
            raise BadInput(
                f"{name[:80]!r} in {table.name!r} leads out of the table's folder, and no open folder holds it. "
                "Put the images beside the table, or open their folder (INFLUENCE_DATA_ROOTS)."
            )
        found.append(next(filter(os.path.isfile, inside), inside[0]))
    return found


def _content(place: str) -> bytes:
    if not os.path.isfile(place) or os.path.realpath(place) != place:
        raise Unreadable("is not there")
    try:
        with open(place, "rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise Unreadable(f"cannot be opened ({error.strerror})") from None
    if len(data) > MOST_BYTES:
        raise Unreadable(f"has more than {MOST_BYTES / 1e6:.0f} MB")
    return data


def _from_bytes(path: Path, column: str) -> Images:
    try:
        file = pq.ParquetFile(path)
        _refuse_swelling(file, path.name)
        others = [f.name for f in file.schema_arrow if not pa.types.is_nested(f.type) and not _is_bytes(f.type)]
        table = plain(file.read(columns=others).to_pandas(ignore_metadata=True, date_as_object=False))
    except (pa.ArrowException, OSError):
        raise BadInput(f"{path.name!r} is damaged and can't be read as Parquet. Export it again.") from None

    @contextmanager
    def opened() -> Iterator[Read]:
        yield _Cells(path, column)

    names = [f"{column}[{row}]" for row in range(file.metadata.num_rows)]
    return _images(path, _with_path(table, names), np.arange(len(names), dtype=np.int64), opened, 0)


def _refuse_swelling(file: pq.ParquetFile, name: str) -> None:
    metadata = file.metadata
    unpacked = sum(metadata.row_group(place).total_byte_size for place in range(metadata.num_row_groups))
    refuse_many(metadata.num_rows, name)
    if unpacked > MOST_UNPACKED or metadata.num_rows * metadata.num_columns > MOST_CELLS:
        raise BadInput(f"{name!r} unpacks to {unpacked / 1e6:,.0f} MB; that is too much. Take a sample of its rows.")


def _is_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return kind.get_field_index("bytes") >= 0 and _is_bytes(kind.field("bytes").type)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


class _Cells:
    """Reads the cells of a column of bytes one after the other, a few at a time; going back starts again."""

    def __init__(self, path: Path, column: str) -> None:
        self.path, self.column = path, column
        self._begin()

    def _begin(self) -> None:
        self.batches = pq.ParquetFile(self.path).iter_batches(batch_size=AT_ONCE, columns=[self.column])
        self.first, self.batch = 0, pa.array([], pa.binary())

    def __call__(self, place: int) -> bytes:
        if place < self.first:
            self._begin()
        try:
            while place >= self.first + len(self.batch):
                self.first += len(self.batch)
                self.batch = next(self.batches).column(0)
        except (pa.ArrowException, OSError, StopIteration):
            raise Unreadable("is damaged in the table") from None
        return _bytes_of(self.batch[place - self.first].as_py())


def _bytes_of(cell: Any) -> bytes:
    data = cell.get("bytes") if isinstance(cell, dict) else cell
    if not isinstance(data, bytes):
        raise Unreadable("has no bytes")
    if len(data) > MOST_BYTES:
        raise Unreadable(f"has more than {MOST_BYTES / 1e6:.0f} MB")
    return data


def _with_path(table: pd.DataFrame, paths: list[str]) -> pd.DataFrame:
    """The table with where each image is found; a column that has this name already gets another."""
    return table.rename(columns={"path": "path (data)"}).assign(path=pd.Series(paths, dtype="str"))


def _images(path: Path, table: pd.DataFrame, ids: np.ndarray, opened: Callable[[], AbstractContextManager[Read]], without: int) -> Images:
    label = LABEL if LABEL in table else ""
    remarks = (f"{without:,} rows without a path were left out.",) if without else ()
    return Images("table", path.name, table, ids, opened, label, task="auto", remarks=remarks)
