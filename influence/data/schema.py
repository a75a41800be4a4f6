"""What each column of a table is: plain types, and a kind that says how a model may use it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal, TypeAlias

import numpy as np
import pandas as pd

from influence.errors import BadInput

Kind: TypeAlias = Literal["numeric", "category", "flag", "id", "text", "date", "constant", "empty"]
USABLE: frozenset[Kind] = frozenset({"numeric", "category", "flag"})
"""Kinds that a model of tables takes as input."""

SAMPLE = 1000
ID_NAME = re.compile(r"(^|[_\s-])(id|ids|uuid|guid|index|key|row)$|^(row|record)[_\s-]?(number|no|id)$", re.IGNORECASE)
DATE = re.compile(r"\d{4}-\d{1,2}-\d{1,2}([T ]\d.*)?|\d{4}/\d{1,2}/\d{1,2}|\d{1,2}[./-]\d{1,2}[./-]\d{2,4}")


@dataclass(frozen=True)
class Column:
    """One column as a person should see it: its kind, missing cells, distinct values, an example, and a note where something is odd."""

    name: str
    kind: Kind
    missing: int
    distinct: int
    example: str
    note: str = ""


def plain(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the table with plain column types (bool, int64, float64, str, datetime64[us]) and rows numbered from 0.

    Raises:
        BadInput: column names repeat.
    """
    names = [str(name).strip() or f"unnamed_{place}" for place, name in enumerate(frame.columns, 1)]
    repeated = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if repeated:
        raise BadInput(
            f"Column names repeat: {', '.join(map(repr, repeated[:3]))}; every column needs its own name. "
            "Rename them, and check that the first line holds names."
        )
    series = (frame.iloc[:, place].reset_index(drop=True) for place in range(len(names)))
    return pd.DataFrame({name: _plain(column) for name, column in zip(names, series, strict=True)}, index=pd.RangeIndex(len(frame)))


def _plain(column: pd.Series) -> pd.Series:
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(column.cat.categories.dtype)
    if column.dtype == object:
        column = _from_objects(column)
    if pd.api.types.is_bool_dtype(column.dtype):
        return _as_text(column) if column.hasnans else column.astype(bool)
    if pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_complex_dtype(column.dtype):
        small = pd.api.types.is_integer_dtype(column.dtype) and not column.hasnans and column.dtype != np.uint64
        return column.astype("int64" if small else "float64")
    if pd.api.types.is_datetime64_dtype(column.dtype):
        return column.astype("datetime64[us]")
    text = column.astype("str") if pd.api.types.is_string_dtype(column.dtype) else _as_text(column)
    return text.mask(text == "")


def _as_text(column: pd.Series) -> pd.Series:
    return column.astype(object).map(str, na_action="ignore").astype("str")


def _from_objects(column: pd.Series) -> pd.Series:
    match pd.api.types.infer_dtype(column, skipna=True):
        case "empty":
            return column.astype("float64")
        case "integer" | "floating" | "mixed-integer-float" | "decimal":
            return pd.to_numeric(column.astype("float64") if column.hasnans else column, errors="coerce")
        case "date" | "datetime" | "datetime64":
            return pd.to_datetime(column, errors="coerce")
        case _:
            return _as_text(column)


def numbers(column: pd.Series) -> pd.Series:
    """Return the column as float64; cells that are no numbers become missing."""
    return pd.to_numeric(column, errors="coerce").astype("float64")


def names_of(column: pd.Series) -> pd.Series:
    """Return the values as names of categories: text, whole numbers without a point, missing stays missing."""
    places, values = pd.factorize(column)
    names = pd.array([_name(value) for value in values], dtype="str")
    return pd.Series(names.take(places, allow_fill=True), index=column.index, dtype="str")


def _name(value: object) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def nearest(name: str, known: Iterable[str]) -> str:
    """Return how to go on after a name that does not exist: the nearest one, or the first of all."""
    known = list(known)
    close = get_close_matches(name, known, n=1, cutoff=0.6) or get_close_matches(name.lower(), known, n=1, cutoff=0.6)
    return f"Did you mean {close[0]!r}?" if close else f"There are: {', '.join(known[:20])}{', …' if len(known) > 20 else ''}."


def infer(frame: pd.DataFrame) -> list[Column]:
    """Return what each column is, in order.

    Whole numbers stay numeric however few differ; two values 0 and 1, or true and false, are a flag. Text that differs in nearly every
    row is an id or text; text that is nearly always a number is numeric, and the rest of its cells count as missing.
    """
    return [_column(str(name), column) for name, column in plain(frame).items()]


def _column(name: str, column: pd.Series) -> Column:
    present = column.dropna()
    distinct = int(present.nunique())
    kind, note = _kind(name, present, len(column), distinct)
    missing = len(column) - len(present)
    if kind == "numeric" and not _numeric(present):
        odd = present[numbers(present).isna()]
        missing += len(odd)
        if len(odd):
            note = f"{len(odd)} cells are no numbers, such as {odd.iloc[0]!r}; they count as missing"
    return Column(name, kind, missing, distinct, str(present.iloc[0])[:80] if len(present) else "", note)


def _numeric(column: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_bool_dtype(column.dtype)


def _kind(name: str, present: pd.Series, n: int, distinct: int) -> tuple[Kind, str]:
    if not distinct:
        return "empty", "no value in any row"
    if distinct == 1:
        return ("constant", "one value in every row") if len(present) == n else ("category", "one value, or missing")
    if pd.api.types.is_datetime64_dtype(present.dtype):
        return "date", "dates are not inputs; add numbers such as a year or an age"
    if pd.api.types.is_bool_dtype(present.dtype):
        return "flag", ""
    return _kind_of_numbers(name, present, n, distinct) if _numeric(present) else _kind_of_text(name, present, distinct)


def _kind_of_numbers(name: str, present: pd.Series, n: int, distinct: int) -> tuple[Kind, str]:
    if distinct == 2 and set(present.unique()) == {0, 1}:
        return "flag", ""
    whole = pd.api.types.is_integer_dtype(present.dtype)
    numbering = whole and distinct == n >= SAMPLE // 50 and int(present.max()) - int(present.min()) == n - 1
    named = whole and bool(ID_NAME.search(name)) and distinct > n / 2
    return ("id", "numbers the rows; not an input") if numbering or named else ("numeric", "")


def _kind_of_text(name: str, present: pd.Series, distinct: int) -> tuple[Kind, str]:
    sample = pd.Series(present.unique()[:SAMPLE], dtype="str")
    if sample.str.fullmatch(DATE).all():
        return "date", "dates are not inputs; add numbers such as a year or an age"
    if distinct > 20 and numbers(sample).notna().mean() >= 0.95:
        return "numeric", "numbers written as text"
    share = distinct / len(present)
    if sample.str.count(r"\s+").mean() >= 4 and share > 0.5:
        return "text", "free text is not an input of a table's model"
    if distinct >= SAMPLE // 50 and (share > 0.9 or (distinct > SAMPLE and share > 0.5)):
        single = not sample.str.contains(r"\s").any()
        return ("id", "differs in nearly every row; not an input") if single else ("text", "free text is not an input of a table's model")
    return ("id", "named as an id; not an input") if ID_NAME.search(name) and share > 0.5 else ("category", "")
