"""Kinds that a person gives to columns, where what was inferred from the cells is not what they know of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import cast

import pandas as pd

from influence.data.dates import written
from influence.data.order import natural
from influence.data.schema import Column, Kind, names_of, numbers
from influence.data.target import Task
from influence.errors import BadInput

KINDS: dict[str, str] = {
    "numeric": "a number; cells that are none count as missing",
    "category": "one of several names; each becomes an input",
    "flag": "one of two values",
    "ordered": "names in an order, one input; the order can be given: ordered:low,medium,high",
    "date": "a date; the input is the number of days since the first one in training",
    "text": "free text, not an input",
    "id": "a name of the row, not an input",
    "weight": "a weight of the row, for people; neither an input nor used in training",
    "group": "forms groups and is never an input, like an audit column",
    "leak": "gives the target away, and is therefore no input",
}
FOR_TARGETS: dict[str, Task] = {"numeric": "number", "category": "classes", "flag": "classes"}
MOST_STEPS = 100


def split(given: str) -> tuple[str, tuple[str, ...]]:
    """Return the kind and the order in a choice such as "ordered:low,medium,high".

    Raises:
        BadInput: there is no such kind, or another than ordered has an order.
    """
    kind, colon, order = given.partition(":")
    kind, steps = kind.strip(), tuple(step.strip() for step in order.split(",")) if colon else ()
    if kind not in KINDS or (steps and kind != "ordered"):
        raise BadInput(f"There is no kind {given!r}. A column can be: {', '.join(KINDS)}; an order is given as ordered:low,medium,high.")
    if colon and (len(set(steps)) < max(2, len(steps)) or not all(steps)):
        raise BadInput(f"The order {order!r} must name at least two different values, with commas between them.")
    return kind, steps


def corrected(columns: Mapping[str, Column], kinds: Mapping[str, str], table: pd.DataFrame) -> dict[str, Column]:
    """Return the columns with the kinds that were given.

    Raises:
        BadInput: a column cannot be of its kind.
    """
    return dict(columns) | {name: _corrected(columns[name], *split(given), table[name]) for name, given in kinds.items()}


def _corrected(column: Column, kind: str, order: tuple[str, ...], values: pd.Series) -> Column:
    if kind in READ and column.kind == "empty":
        raise BadInput(f"{column.name!r} has no value in any row and can't be {kind}. Leave it out.")
    made = replace(column, kind=cast(Kind, kind), order=order, chosen=True, note="" if kind == column.kind else f"found: {column.kind}")
    return READ[kind](made, values) if kind in READ else made


def _numeric(column: Column, values: pd.Series) -> Column:
    dates = pd.api.types.is_datetime64_dtype(values.dtype)
    bad = values[values.notna() & (numbers(values).isna() | dates)]
    if len(bad) == values.notna().sum():
        raise BadInput(f"{column.name!r} can't be numeric: it holds {_shown(bad)}. Choose another kind.")
    if not len(bad):
        return column
    missing = int(values.isna().sum()) + len(bad)
    return replace(column, missing=missing, note=f"{len(bad)} cells are no numbers, such as {_shown(bad)}; they count as missing")


def _flag(column: Column, values: pd.Series) -> Column:
    if pd.api.types.is_bool_dtype(values.dtype) or set(values.dropna().unique()) == {0, 1}:
        return column
    names = names_of(values.drop_duplicates()).dropna().tolist()
    if len(names) != 2:
        raise BadInput(f"{column.name!r} has {len(names)} different values; a flag has two. Choose category or ordered.")
    no, yes = natural(names) or sorted(names, key=_said_no)
    return replace(column, order=(no, yes), note=f"1 stands for {yes[:40]!r}")


def _said_no(name: str) -> tuple[bool, str]:
    return name.casefold() not in ("no", "n", "false", "f", "off", "absent", "negative"), name


def _ordered(column: Column, values: pd.Series) -> Column:
    names = names_of(values.drop_duplicates()).dropna().tolist()
    if column.order:
        strange = [name for name in names if name not in column.order]
        if strange:
            raise BadInput(f"The order of {column.name!r} lacks {', '.join(map(repr, strange[:5]))}. Name all its values.")
        return column
    if len(names) > MOST_STEPS:
        raise BadInput(f"{column.name!r} has {len(names):,} different values; at most {MOST_STEPS} can be ordered. Choose another kind.")
    if natural(names) is None:
        raise BadInput(
            f"The order of {column.name!r} is not known: {', '.join(map(repr, names[:6]))}. Give it, from least to most: "
            "ordered:low,medium,high."
        )
    return column


def _date(column: Column, values: pd.Series) -> Column:
    written(values)
    return column


def _shown(values: pd.Series) -> str:
    return repr(str(values.iloc[0])[:40])


def _as_it_is(column: Column, values: pd.Series) -> Column:
    return column


READ: dict[str, Callable[[Column, pd.Series], Column]] = {
    "numeric": _numeric,
    "category": _as_it_is,
    "flag": _flag,
    "ordered": _ordered,
    "date": _date,
}
"""Kinds that an input can have."""
