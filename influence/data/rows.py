"""The rows of one or two tables with their ids: distinct within each table, and numbered from 0 where no column says otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from influence.data.choices import Choices
from influence.data.schema import Column, in_rows, plain
from influence.data.split import TRAIN, by_column, by_share, halved
from influence.errors import BadInput

MOST_ID_LENGTH = 256


@dataclass(frozen=True)
class Rows:
    """A table of N rows, their ids (N,), and which of them come from a second file (N,) bool, or None if there is none."""

    table: pd.DataFrame
    ids: np.ndarray
    second: np.ndarray | None

    def take(self, mask: np.ndarray) -> Rows:
        """Return the rows of a mask; themselves, not copied, if it leaves none out."""
        if mask.all():
            return self
        table = self.table[mask].reset_index(drop=True)
        return Rows(table, self.ids[mask], None if self.second is None else self.second[mask])

    def labelled(self, target: str) -> Rows:
        """Return the rows with a value of the target.

        Raises:
            BadInput: there is none.
        """
        given = self.table[target].notna().to_numpy()
        if not given.any():
            raise BadInput(f"The target {target!r} has no value in any row. Fill it, or choose another target.")
        return self.take(given)

    def roles(self, split: str, share: float, seed: int) -> np.ndarray:
        """Return a role per row, (N,) int8: by the second file, else by a split column, else by share."""
        if self.second is not None:
            return np.where(self.second, halved(self.ids, seed), TRAIN).astype(np.int8)
        return by_column(self.table[split], self.ids, seed) if split else by_share(self.ids, share, seed)


def gather(table: pd.DataFrame, second: pd.DataFrame | None, choices: Choices, columns: Mapping[str, Column]) -> Rows:
    """Return the rows of the table, followed by those of the second.

    Raises:
        BadInput: ids are missing or repeat, or the second table does not fit the first.
    """
    ids = _ids(table, choices.id)
    if second is None:
        return Rows(table, ids, None)
    if choices.split:
        raise BadInput("A split column and a second file are both chosen; only one can say which rows are test rows. Choose one.")
    second = plain(second)
    used = [name for name in table if choices.part(name) != "dropped"]
    absent = [name for name in used if name not in second.columns]
    if absent:
        raise BadInput(
            f"The second file lacks {', '.join(map(repr, absent[:5]))}; it needs the columns of the first. Add them, or leave them out."
        )
    for name in used:
        _refuse_unlike(table[name], second[name], columns[name])
    both = plain(pd.concat([table[used], second[used]], ignore_index=True))
    return Rows(both, np.concatenate([ids, _ids(second, choices.id)]), np.arange(len(both)) >= len(table))


def _ids(table: pd.DataFrame, name: str) -> np.ndarray:
    if not name:
        return np.arange(len(table), dtype=np.int64)
    column = table[name]
    missing, repeated = int(column.isna().sum()), column[column.duplicated()]
    if missing:
        raise BadInput(f"The id column {name!r} is missing in {in_rows(missing)}; every row needs an id. Choose another, or none.")
    if len(repeated):
        raise BadInput(
            f"The id column {name!r} repeats in {in_rows(len(repeated))}, such as {str(repeated.iloc[0])!r}; ids must be distinct. "
            "Choose another, or none to number the rows."
        )
    if pd.api.types.is_integer_dtype(column.dtype):
        return column.to_numpy()
    if not pd.api.types.is_string_dtype(column.dtype) or column.str.len().max() > MOST_ID_LENGTH:
        raise BadInput(
            f"The id column {name!r} must hold whole numbers, or text of at most {MOST_ID_LENGTH} characters. Choose another, or none."
        )
    return column.to_numpy(dtype=np.str_)  # of fixed width, so that it can be memory-mapped


def _refuse_unlike(first: pd.Series, second: pd.Series, column: Column) -> None:
    became_text = pd.api.types.is_string_dtype(second.dtype) and not pd.api.types.is_string_dtype(first.dtype)
    if became_text and column.kind in ("numeric", "flag") and second.notna().any():
        shown = second.dropna().iloc[0]
        raise BadInput(
            f"{column.name!r} holds numbers in the first file and text such as {shown!r} in the second. Correct the second file."
        )
