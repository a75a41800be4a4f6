"""Conditions on columns and the patterns that they form together: what a finder replays, and what a search for suspects looks for."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import pandas as pd

from influence.data import dates, periods
from influence.errors import BadInput

Is: TypeAlias = Literal["equal to", "not equal to", "at least", "at most", "missing", "with the word"]
SIGNS: Mapping[Is, str] = {"equal to": "=", "not equal to": "≠", "at least": "≥", "at most": "≤", "with the word": "has"}
WORD = re.compile(r"[^\W_]+(?:['\u2019][^\W_]+)*")
"""A word of a text: letters and digits, and what stands behind an apostrophe within."""


@dataclass(frozen=True)
class Condition:
    """What a row's cell in one column must be.

    A missing value meets no condition but "missing", an infinite one none. Numbers are compared as numbers and dates as dates, however they
    are written; all else as text, true and false in any case. "with the word": the text holds this word, in any case.
    """

    column: str
    is_: Is
    value: str = ""

    def __str__(self) -> str:
        return f"{self.column} is missing" if self.is_ == "missing" else f"{self.column} {SIGNS[self.is_]} {self.value}"

    def met(self, columns: pd.DataFrame) -> np.ndarray:
        """Return which rows of a table meet it, (N,) bool.

        Raises:
            BadInput: there is no such column, or a value that is no number where one is needed.
        """
        if self.column not in columns:
            got = f"There is no column {self.column!r}" if self.column else "No column was chosen"
            raise BadInput(f"{got}; there are: {', '.join(map(str, columns))}. Choose one of them.")
        values = columns[self.column]
        known = values.notna().to_numpy()
        if self.is_ == "missing":
            return ~known
        if self.is_ == "with the word":
            return np.array([self.value.lower() in words(text) for text in values], dtype=bool) & known
        truth = pd.api.types.is_bool_dtype(values)
        if self.is_ in ("at least", "at most") or (pd.api.types.is_numeric_dtype(values) and not truth):
            return self._compared(values) & known
        if self._date_of(values):
            return self._compared(values) & known
        said = values.astype(object).astype(str)
        same = (said.str.lower() == self.value.strip().lower() if truth else said == self.value).to_numpy(dtype=bool)
        return (same if self.is_ == "equal to" else ~same) & known

    def _compared(self, values: pd.Series) -> np.ndarray:
        compare = {"equal to": np.equal, "not equal to": np.not_equal, "at least": np.greater_equal, "at most": np.less_equal}
        if pd.api.types.is_numeric_dtype(values):
            numbers, limit, what = values.to_numpy(dtype=float, na_value=np.nan), _number(self.value), "number"
        else:
            numbers, limit = self._days(values)
            what = "date such as 2020-12-31"
        if np.isnan(limit):
            raise BadInput(f"{self.column} holds {what.split()[0]}s; got {self.value!r}. Give a {what}.")
        return compare[self.is_](numbers, limit) & np.isfinite(numbers)

    def _date_of(self, values: pd.Series) -> bool:
        """Whether this condition's value is a date as the column writes dates: one day can be written in several ways."""
        own = periods.written_as(pd.Series([self.value]))
        form = None if own is None else periods.written_as(values)
        return form is not None and bool(dates.days(pd.Series([self.value]), form or own or "").notna().all())

    def _days(self, values: pd.Series) -> tuple[np.ndarray, float]:
        """Return a column of dates and this condition's date as days.

        Raises:
            BadInput: the column holds no dates.
        """
        try:
            form = dates.written(values)
        except BadInput:
            raise BadInput(
                f"{self.column} holds no numbers and no dates, so that nothing is {self.is_} {self.value}. Use equal to or not equal to."
            ) from None
        limit = pd.Series([self.value]) if form else pd.to_datetime(pd.Series([self.value]), errors="coerce")
        return dates.days(values, form).to_numpy(), float(dates.days(limit, form).iloc[0])


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


Pattern: TypeAlias = tuple[Condition, ...]
"""Conditions that a row must meet all at once."""


def words(text: object) -> set[str]:
    """Return the words of a text, in lower case."""
    return {word.lower() for word in WORD.findall(str(text))}


def said(value: object) -> str:
    """Write a cell as `Condition` reads it: a whole number without a point, as `2018`."""
    if isinstance(value, float | np.floating):
        return str(int(value)) if float(value).is_integer() else repr(float(value))
    return str(value)


def rule(pattern: Iterable[Condition]) -> str:
    """Write a pattern as people read it: `branch = North and year ≤ 2018`."""
    return " and ".join(map(str, pattern))


def written(pattern: Iterable[Condition]) -> str:
    """Write a pattern as JSON, to be kept and read again: names of columns and cells can hold any character."""
    return json.dumps([asdict(condition) for condition in pattern], ensure_ascii=False)


def read(text: str) -> Pattern:
    """Read what `written` wrote.

    Raises:
        BadInput: it is no list of conditions.
    """
    try:
        found = tuple(_condition(given) for given in json.loads(text))
    except (TypeError, ValueError, KeyError, RecursionError):
        found = ()
    if not found:
        raise BadInput(
            'A pattern is a list of conditions, such as [{"column": "age", "is_": "at most", "value": "25"}]. Give at least one.'
        )
    return found


def read_any(text: str) -> tuple[Pattern, ...]:
    """Read one pattern as `written`, or a list of them as `either`: rows that meet one of them are meant.

    Raises:
        BadInput: as `read`.
    """
    try:
        given = json.loads(text)
    except (ValueError, RecursionError):
        given = None
    several = isinstance(given, list) and bool(given) and all(isinstance(part, list) for part in given)
    return tuple(read(json.dumps(part)) for part in given) if several else (read(text),)


def either(patterns: Iterable[str]) -> str:
    """Write several patterns, each as `written`, as one that a row meets if it meets any of them."""
    return f"[{', '.join(patterns)}]"


def _condition(given: Mapping[str, Any]) -> Condition:
    if given["is_"] not in (*SIGNS, "missing"):
        raise ValueError(given["is_"])
    return Condition(str(given["column"]), given["is_"], str(given.get("value", "")))


def met(pattern: Iterable[Condition], columns: pd.DataFrame) -> np.ndarray:
    """Return which rows of a table meet all conditions, (N,) bool.

    Raises:
        BadInput: a condition does not fit the table.
    """
    return np.logical_and.reduce([condition.met(columns) for condition in pattern])
