"""One column cut into blocks of rows: its categories, a date's years, quarters or months, ranges of a number; and missing cells.

Every block is a pattern (conditions on that column), so that it can be selected, replayed and retrained without like any other. The
blocks exclude each other; together they are all rows but those of the rarest categories, where there are too many.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from influence.conditions import Condition, Pattern, met, said
from influence.data import dates
from influence.errors import BadInput

MOST = 50
"""Categories that are blocks, the most frequent ones."""
FEW = 24
"""Different numbers up to which each is a block of its own."""
SPANS = {"year": "Y", "quarter": "Q", "month": "M"}
"""Blocks of time, by pandas' names of periods."""
YEARS = {"year": 3.0, "quarter": 1.0}
"""From how many years on dates are cut so, if nobody says how; shorter ones by months."""
DAYS = 365.25


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
        """How many rows are in no block: those of rare categories."""
        return int((~np.logical_or.reduce([block.rows for block in self.blocks])).sum())


def blocks_of(table: pd.DataFrame, column: str, kinds: Mapping[str, str], by: str = "", bins: int = 8) -> Blocks:
    """Cut a column of a table into blocks. `by`: year, quarter or month, for dates; "" by their span. `bins`: ranges of many numbers.

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
        patterns, cut = _times(values, form, by)
    elif kind not in ("category", "flag", "group") and _numeric(values):
        patterns, cut = _numbers(values, bins)
    else:
        patterns, cut = _categories(values), "category"
    ordered = cut != "category"
    if values.isna().any():
        patterns["missing"] = (Condition(column, "missing"),)
    found = tuple(Block(name, pattern, met(pattern, table)) for name, pattern in patterns.items())
    found = tuple(block for block in found if block.rows.any())
    if len(found) < 2:
        raise BadInput(f"All rows have one value of {column!r}, so that nothing can be compared. Choose another column, or finer blocks.")
    return Blocks(found, ordered, cut)


def _form(values: pd.Series, kind: str) -> str | None:
    """Return how a column writes its dates, or None if it holds none."""
    if kind in ("text", "category", "group", "flag") and not pd.api.types.is_datetime64_dtype(values.dtype):
        return None  # somebody said that these are names
    try:
        return dates.written(values)
    except BadInput:
        return None


def _numeric(values: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)


def _times(values: pd.Series, form: str, by: str) -> tuple[dict[str, Pattern], str]:
    days = dates.days(values, form)
    known = days.dropna()
    span = float(known.max() - known.min()) / DAYS
    by = by or next((name for name, least in YEARS.items() if span >= least), "month")
    times = pd.Timestamp(0) + pd.to_timedelta(known, unit="D").dt.round("us")
    periods = times.dt.to_period(SPANS[by])
    found: dict[str, Pattern] = {}
    for period, inside in known.groupby(periods):
        ends = [values[at] for at in (inside.idxmin(), inside.idxmax())]  # cells that stand there, as the column writes them
        found[_period(period)] = _between(str(values.name), *map(str, ends))
    return found, by


def _period(period: pd.Period) -> str:
    return f"{period.year} Q{period.quarter}" if period.freqstr.startswith("Q") else str(period)


def _numbers(values: pd.Series, bins: int) -> tuple[dict[str, Pattern], str]:
    name, known = str(values.name), np.sort(values.dropna().to_numpy(dtype=float))
    distinct = np.unique(known[np.isfinite(known)])
    if len(distinct) <= FEW:
        return {said(v): (Condition(name, "equal to", said(v)),) for v in distinct}, "value"
    uppers = np.unique(np.quantile(known[np.isfinite(known)], np.linspace(0, 1, bins + 1)[1:], method="inverted_cdf"))
    lowers = distinct[np.concatenate([[0], np.searchsorted(distinct, uppers[:-1]) + 1])]
    found: dict[str, Pattern] = {}
    for low, high in zip(map(said, lowers), map(said, uppers), strict=True):
        found[low if low == high else f"{low} to {high}"] = _between(name, low, high)
    return found, "range"


def _categories(values: pd.Series) -> dict[str, Pattern]:
    counts = values.value_counts()
    if len(counts) > max(MOST, len(values) / 2):
        raise BadInput(f"Nearly every row has its own {values.name!r}, so that it forms no blocks. Choose a column such as source or date.")
    return {str(value): (Condition(str(values.name), "equal to", said(value)),) for value in counts.index[:MOST]}


def _between(name: str, low: str, high: str) -> Pattern:
    return (Condition(name, "at least", low), Condition(name, "at most", high))
