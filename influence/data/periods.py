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
SPANS = ((40 * 366, "decade"), (4 * 366, "Y"), (400, "Q"), (75, "M"))
"""Longer than so many days: dates are taken together by this. Shorter than all: by weeks, named after their Monday."""


def periods_of(examples: Examples, column: str) -> Groups:
    """Return the part of the column's range in which each row lies, in reading order, missing values last.

    Raises:
        BadInput: there is no such column.
    """
    values = examples.columns.get(column)
    form = None if values is None else _form(values)
    return groups_of(examples, column, BINS) if form is None or values is None else _dates(days(values, form))


def is_dated(values: pd.Series) -> bool:
    """Whether a column holds dates."""
    return _form(values) is not None


def _form(values: pd.Series) -> str | None:
    try:
        return written(values)
    except BadInput:
        return None


def _dates(since: pd.Series) -> Groups:
    """Return the periods of days since 1970, NaN where there is none, (M,)."""
    known = since.notna().to_numpy()
    times = pd.DatetimeIndex(np.floor(since[known].to_numpy() * 86400).astype("datetime64[s]"))
    if not len(times):
        return Groups((MISSING,), np.zeros(len(since), dtype=np.int64))
    span = float(since.max() - since.min())
    size = next((name for least, name in SPANS if span > least), "W")
    at = times.to_period("Y" if size == "decade" else size)
    number = at.year.to_numpy() // 10 if size == "decade" else np.asarray(at.asi8)
    first, last = int(number.min()), int(number.max())
    there = np.arange(first, last + 1) if last - first < MOST else np.unique(number)
    names = [f"{n}0s" if size == "decade" else _name(pd.Period(ordinal=int(n), freq=size)) for n in there]
    code = np.full(len(since), len(names), dtype=np.int64)
    code[known] = np.searchsorted(there, number)
    return Groups(tuple(names) if known.all() else (*names, MISSING), code)


def _name(period: pd.Period) -> str:
    written_as = {"Y": "%Y", "Q": "%Y Q%q", "M": "%Y-%m"}.get(period.freqstr[0])
    return period.strftime(written_as) if written_as else f"{period.start_time:%Y-%m-%d}"
