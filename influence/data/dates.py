"""Dates as numbers: in which way a column writes them, and how many days lie between each and a first one."""

from __future__ import annotations

import re

import pandas as pd

from influence.errors import BadInput

ISO = "ISO8601"
WRITTEN = {
    "%Y-%m-%d": re.compile(r"\d{4}-\d{1,2}-\d{1,2}"),
    ISO: re.compile(r"\d{4}-\d{2}-\d{2}([T ]\d{2}(:?\d{2}(:?\d{2}([.,]\d+)?)?)?\s*(Z|[+-]\d{2}(:?\d{2})?)?)?"),
    "%Y/%m/%d": re.compile(r"\d{4}/\d{1,2}/\d{1,2}"),
    "%d.%m.%Y": re.compile(r"\d{1,2}\.\d{1,2}\.\d{4}"),
}
ZONE = re.compile(r"\s*(?:Z|(?<!^.{4})(?<!^.{7})[+-]\d{2}(?::?\d{2})?)$")  # not the month or day of 2020-12-31
"""A time's distance from UTC: people's days, months and conditions go by the clock that the cell was written by, and leave it out."""
EITHER = re.compile(r"(\d{1,2})([/-])(\d{1,2})[/-]\d{4}")  # day first or month first: the values must tell
ENOUGH = 0.95
KNOWN = "Dates are read as 2020-12-31, 2020/12/31, 31.12.2020, 31/12/2020 or 12/31/2020, with a year of four digits."


def written(column: pd.Series) -> str:
    """Return how a column writes its dates, for `days`: a format of strptime, "ISO8601", or "" if it holds times already.

    Raises:
        BadInput: it holds no dates, or day and month cannot be told apart.
    """
    if pd.api.types.is_datetime64_dtype(column.dtype):
        return ""
    present = pd.Series(column.dropna().unique())
    if not len(present) or not pd.api.types.is_string_dtype(present.dtype):
        raise BadInput(f"{column.name!r} holds no dates. {KNOWN} Choose another kind.")
    for form, pattern in WRITTEN.items():
        if present.str.fullmatch(pattern).mean() >= ENOUGH:
            return form
    if present.str.fullmatch(EITHER).mean() >= ENOUGH:
        return _either(present, str(column.name))
    raise BadInput(
        f"{column.name!r} holds {str(present.iloc[0])[:40]!r}, which is no date. {KNOWN} Choose another kind, or correct the cells."
    )


def _either(present: pd.Series, name: str) -> str:
    parts = present.str.extract(EITHER)
    mark = str(parts[1].dropna().iloc[0])
    first, second = (pd.to_numeric(parts[place]).max() for place in (0, 2))
    if (first > 12) == (second > 12):
        raise BadInput(
            f"{name!r} writes dates such as {present.iloc[0]!r}, in which day and month can't be told apart. Write them as 2020-12-31."
        )
    return mark.join(["%d", "%m", "%Y"] if first > 12 else ["%m", "%d", "%Y"])


def days(column: pd.Series, form: str) -> pd.Series:
    """Return days since 1970-01-01, float64, by the clock of each cell's own time zone; what is not written so is missing."""
    local = column.astype("str").str.replace(ZONE, "", regex=True) if form == ISO else column
    return moments(local, form)


def moments(column: pd.Series, form: str) -> pd.Series:
    """Return days since 1970-01-01 in UTC, float64, as models read them: times of several zones by when they were."""
    times = column if not form else pd.to_datetime(column.astype("str"), format=form, errors="coerce", utc=True).dt.tz_localize(None)
    if not pd.api.types.is_datetime64_dtype(times.dtype):
        return pd.Series(float("nan"), index=column.index)
    first = pd.Timestamp(0).as_unit(times.dt.unit)  # in their own unit: nanoseconds would end in 2262
    return (times - first) / pd.Timedelta(days=1)
