"""One column cut into blocks of rows: its categories, a date's periods, ranges of a number; and missing cells.

Every block is a pattern (conditions on that column), so that it can be selected, replayed and retrained without like any other. The
blocks exclude each other; together they are all rows but those of the rarest categories, where there are too many, and of cells that
cannot be read: no date among dates, no finite number.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from influence.conditions import Condition, Pattern, said
from influence.data import dates
from influence.data.periods import SPANS, named, numbered, written_as
from influence.errors import BadInput

MOST = 50
"""Categories that are blocks, the most frequent ones."""
FEW = 24
"""Different numbers up to which each is a block of its own."""
PERIODS = 400
"""Periods that are blocks at most."""


@dataclass(frozen=True)
class Block:
    """A block by its name, its conditions and which rows it holds, (N,) bool."""

    name: str
    pattern: Pattern
    rows: np.ndarray


@dataclass(frozen=True)
class Blocks:
    """The blocks of a column; `ordered` in time or size; `rest`: rows in none of them; `cut`: by what, in words."""

    blocks: tuple[Block, ...]
    ordered: bool
    cut: str

    @property
    def rest(self) -> int:
        """How many rows are in no block: those of rare categories, and of cells that cannot be read."""
        return int((~np.logical_or.reduce([block.rows for block in self.blocks])).sum())


def blocks_of(table: pd.DataFrame, column: str, kinds: Mapping[str, str], by: str = "", bins: int = 8) -> Blocks:
    """Cut a column of a table into blocks. `by`: one of `SPANS`, for dates; "" as their span asks. `bins`: ranges of many numbers.

    Raises:
        BadInput: there is no such column, it holds free text or one block alone, or is not of dates and `by` is given.
    """
    if column not in table:
        got = f"There is no column {column!r}" if column else "No column was chosen"
        raise BadInput(f"{got}; there are: {', '.join(map(str, table))}. Choose one of them.")
    if by not in ("", *SPANS) or bins < 2:
        raise BadInput(f"Dates are cut by {', '.join(SPANS)}, and numbers into 2 bins or more; got {by!r} and {bins}.")
    values, kind = table[column], kinds.get(column, "")
    form = _form(values, kind)
    if by and form is None:
        raise BadInput(f"{column!r} holds no dates, so that it cannot be cut by {by}. Leave that out, or choose a column of dates.")
    if form is not None:
        found, cut = _times(values, form, by)
    elif is_ranged(values, kind):
        found, cut = _numbers(values, bins)
    else:
        found, cut = _categories(values), "category"
    if values.isna().any():
        name = "no value" if any(block.name == "missing" for block in found) else "missing"
        found.append(Block(name, (Condition(column, "missing"),), values.isna().to_numpy()))
    if len(found) < 2:
        raise BadInput(f"All rows have one value of {column!r}, so that nothing can be compared. Choose another column, or finer blocks.")
    return Blocks(tuple(found), cut != "category", cut)


def is_ranged(values: pd.Series, kind: str) -> bool:
    """Whether a column is cut as numbers are: it holds some, and nobody said that they are names."""
    number = pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
    return number and kind not in ("category", "flag", "group")


def _form(values: pd.Series, kind: str) -> str | None:
    """Return how a column writes its dates, or None if it holds none."""
    if kind in ("text", "category", "group", "flag") and not pd.api.types.is_datetime64_dtype(values.dtype):
        return None  # somebody said that these are names
    return written_as(values)


def _times(values: pd.Series, form: str, by: str) -> tuple[list[Block], str]:
    since = dates.days(values, form).to_numpy()
    known = np.flatnonzero(~np.isnan(since))
    if not len(known):
        return [], by
    by, number = numbered(since[known], by)
    every = np.unique(number)
    if len(every) > PERIODS:
        raise BadInput(f"{values.name!r} has {len(every):,} periods by {by}; at most {PERIODS} can be compared. Take longer ones.")
    found = []
    for one in every:
        inside = known[number == one]
        ends = (values.iloc[inside[at]] for at in (since[inside].argmin(), since[inside].argmax()))  # cells, as the column writes them
        found.append(Block(named(int(one), by), _between(str(values.name), *map(str, ends)), _held(len(values), inside)))
    return found, by


def _held(n: int, at: np.ndarray) -> np.ndarray:
    rows = np.zeros(n, dtype=bool)
    rows[at] = True
    return rows


def _numbers(values: pd.Series, bins: int) -> tuple[list[Block], str]:
    name, numbers = str(values.name), values.to_numpy(dtype=float, na_value=np.nan)
    known = numbers[np.isfinite(numbers)]
    distinct = np.unique(known)
    if len(distinct) <= FEW:
        return [Block(said(v), (Condition(name, "equal to", said(v)),), numbers == v) for v in distinct], "value"
    uppers = np.unique(np.quantile(known, np.linspace(0, 1, bins + 1)[1:], method="inverted_cdf"))
    lowers = distinct[np.concatenate([[0], np.searchsorted(distinct, uppers[:-1]) + 1])]
    found = []
    for low, high in zip(lowers, uppers, strict=True):
        ends = said(low), said(high)
        rows = (numbers >= low) & (numbers <= high)
        found.append(Block(ends[0] if low == high else " to ".join(ends), _between(name, *ends), rows))
    return found, "range"


def _categories(values: pd.Series) -> list[Block]:
    code, cells = pd.factorize(values)
    write = said if pd.api.types.is_numeric_dtype(values) else str  # as conditions read them
    merged, names = pd.factorize(np.array([write(cell) for cell in cells], dtype=object))
    code = np.where(code < 0, -1, merged[code]) if len(cells) else code
    if len(names) > max(MOST, len(values) / 2):
        raise BadInput(f"Nearly every row has its own {values.name!r}, so that it forms no blocks. Choose a column such as source or date.")
    order = np.argsort(-np.bincount(code[code >= 0], minlength=len(names)), kind="stable")[:MOST]
    return [Block(str(names[at]), (Condition(str(values.name), "equal to", str(names[at])),), code == at) for at in order]


def _between(name: str, low: str, high: str) -> Pattern:
    return (Condition(name, "at least", low), Condition(name, "at most", high))
