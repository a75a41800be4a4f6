"""Values as bytes and back: JSON, .npy, Parquet, safetensors. Equal values give equal bytes, and nothing is pickled."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from influence.errors import BadInput

if TYPE_CHECKING:
    from influence.types import State

KEPT = b"lethe"
"""Key of the Parquet metadata that says how many rows there were and what pandas type each column had; Parquet alone forgets some."""


def canonical(value: Any) -> str:
    """Return JSON text that is the same for equal values: sorted keys, no spaces; a number that is not finite is null.

    Raises:
        TypeError: a part of the value is no JSON.
    """
    return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _plain(value: Any) -> Any:
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return float(value) if math.isfinite(value) else None
        case np.generic() | np.ndarray():
            return _plain(value.tolist())
        case Mapping():
            return {str(key): _plain(part) for key, part in value.items()}
        case list() | tuple():
            return [_plain(part) for part in value]
        case Path():
            return str(value)
        case _:
            raise TypeError(f"{type(value).__name__} is no JSON.")


def array_parts(array: np.ndarray) -> list[bytes | memoryview]:
    """Return the bytes of a .npy file, header and data; the data are not copied if they lie in C order.

    Raises:
        BadInput: the array holds Python objects.
    """
    if array.dtype.hasobject:
        raise BadInput(f"Arrays of {array.dtype} cannot be stored; make them numbers, or text of fixed width (astype(str)).")
    array = np.asarray(array, order="C")
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, np.lib.format.header_data_from_array_1_0(array))
    return [header.getvalue(), array.reshape(-1).view(np.uint8).data if array.nbytes else b""]


def read_array(path: Path) -> np.ndarray:
    """Return a read-only memory map."""
    return np.load(path, mmap_mode="r", allow_pickle=False)


def table_bytes(frame: pd.DataFrame) -> memoryview:
    """Return a table as Parquet; rows are numbered from 0 (another index is not kept), and column names are text.

    Raises:
        BadInput: a column mixes types, or column names repeat.
    """
    plain = frame.reset_index(drop=True).set_axis(pd.Index([str(name) for name in frame.columns], dtype="str"), axis="columns")
    plain.attrs = {}
    kept = {"rows": len(plain), "columns": [_dtype(column) for _, column in plain.items()]}
    try:
        table = pa.Table.from_pandas(plain)
    except (pa.ArrowException, ValueError) as error:
        raise BadInput(f"The table cannot be stored: {error}. Give each column a name of its own and values of one type.") from error
    fields = [field.with_type(_large(field.type)) for field in table.schema]
    schema = pa.schema(fields, {**(table.schema.metadata or {}), KEPT: canonical(kept)})
    sink = pa.BufferOutputStream()
    pq.write_table(table.cast(schema), sink, compression="zstd")
    return memoryview(sink.getvalue())


def _large(kind: pa.DataType) -> pa.DataType:
    """Arrow has two types of text, and pandas' storage decides between them: equal tables must have one."""
    if pa.types.is_dictionary(kind):
        return pa.dictionary(kind.index_type, _large(kind.value_type), kind.ordered)
    return pa.large_string() if pa.types.is_string(kind) else kind


def _dtype(column: pd.Series) -> dict[str, Any]:
    """Return what is needed to give a column its pandas type again.

    Raises:
        BadInput: its categories are neither text nor numbers.
    """
    if not isinstance(column.dtype, pd.CategoricalDtype):
        return {"dtype": str(column.dtype)}
    categories = column.dtype.categories
    if categories.inferred_type not in ("string", "integer", "floating", "boolean", "empty"):
        raise BadInput(f"Categories of column {column.name!r} are {categories.inferred_type}; make them text or numbers.")
    return {"dtype": "category", "categories": categories.tolist(), "of": str(categories.dtype), "ordered": bool(column.dtype.ordered)}


def read_table(path: Path) -> pd.DataFrame:
    """Return a stored table with the types that it had."""
    table = pq.read_table(path)
    kept = json.loads(table.schema.metadata[KEPT])
    if not kept["columns"]:
        return pd.DataFrame(index=range(kept["rows"]), columns=pd.Index([], dtype="str"))
    frame = table.to_pandas()
    for place, column in enumerate(kept["columns"]):
        if column["dtype"] == "object":
            frame.isetitem(place, pd.Series(table.column(place).to_pylist(), dtype=object))
        elif (dtype := _wanted(column)) != frame.dtypes.iloc[place]:
            frame.isetitem(place, frame.iloc[:, place].astype(dtype))
    return frame


def _wanted(column: dict[str, Any]) -> Any:
    if column["dtype"] != "category":
        return pd.api.types.pandas_dtype(column["dtype"])
    return pd.CategoricalDtype(pd.Index(column["categories"], dtype=column["of"]), column["ordered"])


def state_bytes(state: State) -> bytes:
    """Return weights as safetensors."""
    import safetensors.torch
    import torch

    plain = {name: value.detach().cpu().clone(memory_format=torch.contiguous_format) for name, value in state.items()}
    return safetensors.torch.save(plain)


def read_state(path: Path) -> State:
    """Return stored weights; the library checks the file, and nothing in it is executed."""
    import safetensors.torch

    return safetensors.torch.load_file(path)
