"""Columns along which a figure is followed: dates by years, quarters, months or weeks, whatever their span asks for; others by value."""

from __future__ import annotations

import numpy as np
import pandas as pd

from influence.data.dates import days, written
from influence.errors import BadInput
from influence.groups import MISSING, Groups, groups_of
from influence.types import Examples

BINS = 8
"""Numbers with more distinct values than these are cut into so many of like size."""
MOST = 60
"""Where more periods than these would lie between the first and the last, those without rows are left out."""
SPANS = {"decade": 40 * 366, "year": 4 * 366, "quarter": 400, "month": 75, "week": -1}
"""By what dates are taken together that span more than so many days, wherever nobody says how. Weeks are named after their Monday."""
FREQUENCY = {"decade": "Y", "year": "Y", "quarter": "Q", "month": "M", "week": "W"}
"""The periods of pandas of which they are made."""


def periods_of(examples: Examples, column: str) -> Groups:
    """Return the part of the column's range in which each row lies, in reading order, missing values last.

    Raises:
        BadInput: there is no such column.
    """
    values = examples.columns.get(column)
    form = None if values is None else written_as(values)
    return groups_of(examples, column, BINS) if form is None or values is None else _dates(days(values, form))


def is_dated(values: pd.Series) -> bool:
    """Whether a column holds dates."""
    return written_as(values) is not None


def written_as(values: pd.Series) -> str | None:
    """Return how a column writes its dates, as `influence.data.dates.written` does, or None if it holds none."""
    try:
        return written(values)
    except BadInput:
        return None


def numbered(since: np.ndarray, by: str = "") -> tuple[str, np.ndarray]:
    """Return by what dates are taken together, and the number of each one's period, which grow with time, (K,) int64.

    `since`: days since 1970, (K,), at least one and none missing. `by`: one of `SPANS`; "": as their span asks.
    """
    by = by or next(name for name, least in SPANS.items() if since.max() - since.min() > least)
    times = pd.DatetimeIndex(np.floor(since * 86400).astype("datetime64[s]"))  # in seconds: nanoseconds would end in 2262
    at = times.to_period(FREQUENCY[by])
    return by, at.year.to_numpy() // 10 if by == "decade" else np.asarray(at.asi8)


def named(number: int, by: str) -> str:
    """Return the name of a period by its number: 2010s, 2012, 2012 Q4, 2012-11, 2012-11-26."""
    if by == "decade":
        return f"{number}0s"
    period = pd.Period(ordinal=number, freq=FREQUENCY[by])
    if by == "week":
        return f"{period.start_time:%Y-%m-%d}"
    return period.strftime({"year": "%Y", "quarter": "%Y Q%q", "month": "%Y-%m"}[by])


def _dates(since: pd.Series) -> Groups:
    """Return the periods of days since 1970, NaN where there is none, (M,)."""
    known = since.notna().to_numpy()
    if not known.any():
        return Groups((MISSING,), np.zeros(len(since), dtype=np.int64))
    by, number = numbered(since.to_numpy()[known])
    first, last = int(number.min()), int(number.max())
    there = np.arange(first, last + 1) if last - first < MOST else np.unique(number)
    names = [named(int(n), by) for n in there]
    code = np.full(len(since), len(names), dtype=np.int64)
    code[known] = np.searchsorted(there, number)
    return Groups(tuple(names) if known.all() else (*names, MISSING), code)
