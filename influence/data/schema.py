"""What each column of a table is: plain types, and a kind that says how a model may use it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from typing import Any, Literal, TypeAlias

import numpy as np
import pandas as pd

from influence.errors import BadInput

Kind: TypeAlias = Literal["numeric", "category", "flag", "ordered", "date", "text", "id", "weight", "group", "leak", "constant", "empty"]
USABLE: frozenset[Kind] = frozenset({"numeric", "category", "flag", "ordered"})
"""Kinds that a model of tables takes as input; dates too, where a person says that the column is one."""

SAMPLE = 1000
PLAIN = frozenset(map(np.dtype, ("bool", "int64", "float64", "datetime64[us]")))
"""Types that are left as they are; text is plain too, but for its empty cells."""
ID_NAME = re.compile(r"(^|[_\s-])(id|ids|uuid|guid|index|key|row)$|^(row|record)[_\s-]?(number|no|id)$", re.IGNORECASE)
DATE = re.compile(r"\d{4}-\d{1,2}-\d{1,2}([T ]\d.*)?|\d{4}/\d{1,2}/\d{1,2}|\d{1,2}[./-]\d{1,2}[./-]\d{2,4}")
DATES = "not an input unless you choose the kind date"


def in_rows(n: int, of: str = "") -> str:
    """Return how many rows: 1 row, 1,234 rows, 2 training rows."""
    return f"{n:,} {of}{' ' if of else ''}row{'' if n == 1 else 's'}"


@dataclass(frozen=True)
class Column:
    """One column as a person should see it: its kind, missing cells, distinct values, an example, and a note where something is odd.

    `chosen`: a person gave the kind (`influence.data.kinds`). `order`: names from least to most, where a person gave that.
    """

    name: str
    kind: Kind
    missing: int
    distinct: int
    example: str
    note: str = ""
    chosen: bool = False
    order: tuple[str, ...] = ()

    @property
    def usable(self) -> bool:
        """Whether a model takes it as an input."""
        return self.kind in USABLE or (self.kind == "date" and self.chosen)

    def described(self) -> dict[str, Any]:
        """Return it as JSON; what a person gave only where one did."""
        return {name: value for name, value in asdict(self).items() if value or name not in ("chosen", "order")}


def plain(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the table with plain column types (bool, int64, float64, str, datetime64[us]) and rows numbered from 0.

    Raises:
        BadInput: column names repeat.
    """
    names = [str(name).strip() or f"unnamed_{place}" for place, name in enumerate(frame.columns, 1)]
    repeated = sorted(name for name, times in Counter(names).items() if times > 1)
    if repeated:
        raise BadInput(
            f"Column names repeat: {', '.join(repr(name[:80]) for name in repeated[:3])}; every column needs its own name. "
            "Rename them, and check that the first line holds names."
        )
    table = frame.set_axis(names, axis=1).reset_index(drop=True)
    return pd.DataFrame({name: _plain(column) for name, column in table.items()}, index=table.index, copy=False)


def _plain(column: pd.Series) -> pd.Series:
    if column.dtype in PLAIN:
        return column
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
        case "boolean" if not column.hasnans:
            return column.astype(bool)
        case "date" | "datetime" | "datetime64":
            return pd.to_datetime(column, errors="coerce")
        case _:
            return _as_text(column)


def numbers(column: pd.Series) -> pd.Series:
    """Return the column as float64, itself if it is; cells that are no numbers become missing."""
    if isinstance(column.dtype, np.dtype) and column.dtype.kind in "fiub":
        return column.astype("float64")  # itself, not copied, if it is
    return pd.to_numeric(column, errors="coerce").astype("float64")


def names_of(column: pd.Series) -> pd.Series:
    """Return the values as names of categories: text, whole numbers without a point, missing stays missing."""
    places, names = coded(column)
    return pd.Series(pd.array(names, dtype="str").take(places, allow_fill=True), index=column.index, dtype="str")


def coded(column: pd.Series) -> tuple[np.ndarray, list[str]]:
    """Return the place of each cell's name, (N,) int64, -1 where it is missing, and the names in the order of their first cells."""
    places, values = pd.factorize(column)
    return places, [_name(value) for value in values]


def _name(value: object) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def nearest(name: str, known: Iterable[str]) -> str:
    """Return how to go on after a name that does not exist: the nearest one, or the first of all."""
    known = list(known)
    close = get_close_matches(name, known, n=1, cutoff=0.6) or get_close_matches(name.lower(), known, n=1, cutoff=0.6)
    close = close or [other for other in known if len(name) > 2 and name.lower() in other.lower()]
    return f"Did you mean {close[0]!r}?" if close else f"There are: {', '.join(known[:20])}{', …' if len(known) > 20 else ''}."


def infer(frame: pd.DataFrame) -> list[Column]:
    """Return what each column is, in order.

    Whole numbers stay numeric however few differ; two values 0 and 1, or true and false, are a flag. Text that differs in nearly every
    row is an id or text; text that is nearly always a number is numeric, and the rest of its cells count as missing.
    """
    return [_column(str(name), column) for name, column in plain(frame).items()]


def _column(name: str, column: pd.Series) -> Column:
    present = column.dropna()
    distinct = _distinct(present.to_numpy()) if _numeric(column) else int(present.nunique())
    kind, note = _kind(name, present, len(column), distinct)
    missing = len(column) - len(present)
    if kind == "numeric" and not _numeric(present):
        odd = present[numbers(present).isna()]
        missing += len(odd)
        if len(odd):
            note = f"{len(odd)} cells are no numbers, such as {odd.iloc[0]!r}; they count as missing"
    return Column(name, kind, missing, distinct, str(present.iloc[0])[:80] if len(present) else "", note)


def _distinct(values: np.ndarray) -> int:
    ordered = np.sort(values)  # many times faster than hashing them
    return int(np.count_nonzero(ordered[1:] != ordered[:-1])) + bool(len(ordered))


def _numeric(column: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_bool_dtype(column.dtype)


def _kind(name: str, present: pd.Series, n: int, distinct: int) -> tuple[Kind, str]:
    if not distinct:
        return "empty", "no value in any row"
    if distinct == 1:
        return ("constant", "one value in every row") if len(present) == n else ("category", "one value, or missing")
    if pd.api.types.is_datetime64_dtype(present.dtype):
        return "date", DATES
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
        return "date", DATES
    if distinct > 20 and numbers(sample).notna().mean() >= 0.95:
        return "numeric", "numbers written as text"
    share = distinct / len(present)
    if sample.str.count(r"\s+").mean() >= 4 and share > 0.5:
        return "text", "free text is not an input of a table's model"
    if distinct >= SAMPLE // 50 and (share > 0.9 or (distinct > SAMPLE and share > 0.5)):
        single = not sample.str.contains(r"\s").any()
        return ("id", "differs in nearly every row; not an input") if single else ("text", "free text is not an input of a table's model")
    return ("id", "named as an id; not an input") if ID_NAME.search(name) and share > 0.5 else ("category", "")
