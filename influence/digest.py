"""Identity by content: a canonical description of a value and its SHA-256.

Every setting that changes an output is part of its identity; what cannot be told apart (functions, open handles) is refused.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd


def digest(value: Any) -> str:
    """Return the SHA-256 of the canonical description of `value`, in hexadecimal.

    Raises:
        TypeError: the value (or a part of it) has no canonical description, for example a function.
    """
    return hashlib.sha256(json.dumps(describe(value), sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def describe(value: Any) -> Any:  # noqa: C901, PLR0911 (one flat case per kind of value)
    """Return a JSON value that is equal for equal content; arrays and tables stand as the digest of their bytes.

    Raises:
        TypeError: the value has no canonical description.
    """
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return {"float": value.hex()}
        case np.generic():
            return describe(value.item())
        case np.ndarray():
            return {"array": _array(value), "dtype": value.dtype.str, "shape": list(value.shape)}
        case pd.DataFrame():
            return {"table": [[str(name), str(column.dtype), _column(column)] for name, column in value.items()]}
        case Mapping():
            return {str(key): describe(part) for key, part in value.items()}
        case list() | tuple():
            return [describe(part) for part in value]
        case _ if dataclasses.is_dataclass(value) and not isinstance(value, type):
            fields = {f.name: describe(getattr(value, f.name)) for f in dataclasses.fields(value) if f.compare and not _unsaid(f, value)}
            return {"kind": f"{type(value).__module__}.{type(value).__qualname__}", **fields}
        case _:
            raise TypeError(f"{type(value).__name__} has no identity by content; pass values, not functions or handles.")


def _unsaid(field: dataclasses.Field[Any], value: Any) -> bool:
    """Whether a field came later and has its default: the identity of what was kept before it came must stay."""
    return bool(field.metadata.get("later")) and getattr(value, field.name) == field.default


def _array(value: np.ndarray) -> str:
    if value.dtype == object:
        return hashlib.sha256(json.dumps([str(part) for part in value.ravel()]).encode()).hexdigest()
    return hashlib.sha256(np.ascontiguousarray(value).reshape(-1).view(np.uint8).data).hexdigest()


def _column(column: pd.Series) -> str:
    return hashlib.sha256(pd.util.hash_array(column.to_numpy(), categorize=True).tobytes()).hexdigest()
