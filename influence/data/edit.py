"""What if a row were another? Its cells are changed, and what the model sees of it is made anew, as for any new row."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd

from influence.data.dataset import Dataset
from influence.data.dates import days
from influence.data.encoding import encode
from influence.data.schema import coded, names_of, nearest, numbers
from influence.data.text.tokens import encode_texts
from influence.data.text.words import READ
from influence.errors import BadInput
from influence.groups import named
from influence.types import Examples

ENCODERS = {"table": encode, "text": encode_texts}


@dataclass(frozen=True)
class Field:
    """A column of which a cell can be changed, and what may stand in it.

    `choices`: the names that are known; `low`, `high`, `whole`: of numbers; `form`: how dates are written. `empty`: it may hold nothing.
    """

    name: str
    kind: Literal["number", "choice", "date", "text"]
    choices: tuple[str, ...] = ()
    low: float = -math.inf
    high: float = math.inf
    whole: bool = False
    form: str = ""
    empty: bool = False


def fields(dataset: Dataset) -> tuple[Field, ...]:
    """Return the columns that the model reads, in its order, each with what may stand in it.

    Raises:
        BadInput: what the model sees was not made of columns.
    """
    kind = dataset.encoding.get("kind")
    if kind == "image":
        raise BadInput("An image has no cells that could be changed. Trace another image of the evaluation rows instead.")
    if kind not in ENCODERS:
        raise BadInput(
            "This model was brought with the arrays that it reads, and how cells became those is not known here. "
            "Bring it with a table and its preprocessing."
        )
    if kind == "text":
        return (Field(dataset.encoding["column"], "text"),)
    return tuple(_field(dataset, entry) for entry in dataset.encoding["columns"])


def _known(dataset: Dataset, name: str) -> pd.Series:
    """Return the cells that the model was trained on or asked of; what only held-out rows have stays unknown."""
    return pd.concat([dataset.train.columns[name], dataset.evaluation.columns[name]], ignore_index=True)


def _field(dataset: Dataset, entry: Mapping[str, Any]) -> Field:
    name, kind, empty = entry["name"], entry["kind"], bool(entry.get("missing"))
    if name not in dataset.evaluation.columns:
        raise BadInput(f"The column {name!r} is not kept with the rows, so that no row can be made anew. Bring the data again with it.")
    cells = _known(dataset, name)
    if kind in ("category", "ordered", "flag"):
        levels, seen = tuple(entry.get("levels") or ()), tuple(coded(cells.dropna())[1])
        more = tuple(sorted(set(seen) - set(levels))) if entry.get("other") or not levels else ()
        return Field(name, "choice", (*levels, *more), empty=empty)
    if kind == "date":
        low, high = _range(days(cells, entry["format"]))
        return Field(name, "date", low=low, high=high, form=entry["format"], empty=empty)
    values = numbers(cells).dropna()
    low, high = _range(values)
    return Field(name, "number", low=low, high=high, whole=bool((values % 1 == 0).all()), empty=empty)


def _range(values: pd.Series) -> tuple[float, float]:
    return (float(values.min()), float(values.max())) if values.notna().any() else (-math.inf, math.inf)


def place_of(examples: Examples, id: str, which: str = "evaluation") -> int:
    """Return the place of a row.

    Raises:
        BadInput: there is none of this id.
    """
    found = np.flatnonzero(examples.ids.astype(str) == str(id))
    if not len(found):
        raise BadInput(f"There is no {which} row with id {str(id)!r}; their ids are like {', '.join(map(str, examples.ids[:3]))}.")
    return int(found[0])


def changes(dataset: Dataset, id: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the cells of an evaluation row that really change, by column, as JSON: a number, a name, a date, a text, or None for empty.

    Numbers may be given as text. What stands in the row already is left out.

    Raises:
        BadInput: no such row or column, or a cell that a row of these data cannot have; says which and what it may hold.
    """
    known = {field.name: field for field in fields(dataset)}
    row = dataset.evaluation.columns.iloc[place_of(dataset.evaluation, id)]
    found = {}
    for name, value in given.items():
        if name not in known:
            raise BadInput(f"The model does not read the column {name!r}, so that changing it changes nothing. {nearest(name, known)}")
        own = _told(known[name], row[name])
        if value != own and (cell := _checked(known[name], value)) != own:  # what stands there may be something that no training row has
            found[name] = cell
    return found


def cell(dataset: Dataset, field: Field, place: int) -> Any:
    """Return what stands in an evaluation row, as `changes` would take it."""
    return _told(field, dataset.evaluation.columns[field.name].iloc[place])


def _told(field: Field, value: Any) -> Any:
    if field.kind == "text":
        return "" if pd.isna(value) else str(value)
    if pd.isna(value):
        return None
    if field.kind == "number":
        number = float(numbers(pd.Series([value])).iloc[0])
        return None if math.isnan(number) else int(number) if number.is_integer() else number
    if field.kind == "date":
        return str(value).removesuffix(" 00:00:00")
    return str(names_of(pd.Series([value])).iloc[0])


def _checked(field: Field, value: Any) -> Any:
    """Return a cell as JSON.

    Raises:
        BadInput: a row of these data cannot have it.
    """
    if field.kind == "text":
        return _text(field, value)
    if value is None or (isinstance(value, str) and not value.strip()):
        if not field.empty:
            raise BadInput(f"{field.name!r} is empty, and no training row lacks it. Give {_allowed(field)}.")
        return None
    if field.kind == "number":
        return _number(field, value)
    if field.kind == "date":
        return _date(field, value)
    name = str(names_of(pd.Series([value])).iloc[0])
    if name not in field.choices:
        raise BadInput(f"{name[:80]!r} is no value of {field.name!r} that the model knows. Give {_allowed(field)}.")
    return name


def _allowed(field: Field) -> str:
    if field.kind == "choice":
        return f"one of {named(field.choices)}"
    if field.kind == "date":
        return "a date between those of the rows that it knows"
    return f"{'a whole number' if field.whole else 'a number'} between {field.low:g} and {field.high:g}, as the rows that it knows have"


def _text(field: Field, value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise BadInput(f"The text in {field.name!r} is empty, and there is nothing to trace. Write some words.")
    if len(value) > READ:
        raise BadInput(f"The text in {field.name!r} has {len(value):,} characters; at most {READ:,} are looked at. Shorten it.")
    return value


def _number(field: Field, value: Any) -> float | int:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number) or isinstance(value, bool):
        raise BadInput(f"{field.name!r} must be a number; got {str(value)[:40]!r}. Give {_allowed(field)}.")
    if not field.low <= number <= field.high or (field.whole and not number.is_integer()):
        raise BadInput(f"{field.name!r} cannot be {number:g}: the model knows no such rows. Give {_allowed(field)}.")
    return int(number) if number.is_integer() else number


def _date(field: Field, value: Any) -> str:
    try:
        cells = pd.Series([pd.Timestamp(value)]) if not field.form else pd.Series([str(value)], dtype="str")
        day = float(days(cells, field.form).iloc[0])
    except (TypeError, ValueError, OverflowError):
        day = math.nan
    if math.isnan(day) or not field.low <= day <= field.high:
        raise BadInput(f"{field.name!r} cannot be {str(value)[:40]!r}. Give {_allowed(field)}, written as they are.")
    return str(value)


def edited(dataset: Dataset, id: str, changed: Mapping[str, Any]) -> Examples:
    """Return the evaluation rows with one of them changed, by what `changes` returned: its cells, and so what the model sees of it.

    All rows stay, at their places: a row that is made equal to another one then gets the other's answer to the bit.

    Raises:
        BadInput: what the model sees of the row cannot be made from its cells.
    """
    rows, place = dataset.evaluation, place_of(dataset.evaluation, id)
    encoder, one = ENCODERS[dataset.encoding["kind"]], rows.columns.iloc[[place]]
    if not np.array_equal(encoder(one, dataset.encoding)[0], rows.x[place]):  # type: ignore[index]
        raise BadInput("What the model sees of this row cannot be made anew from its cells, so that no other row can be put in its place.")
    table = rows.columns.copy()
    for name, value in raw(dataset, changed).items():
        table[name] = _put(table[name], place, value)
    x = np.array(rows.x)
    x[place] = encoder(table.iloc[[place]], dataset.encoding)[0]
    return replace(rows, x=x, columns=table)


def raw(dataset: Dataset, changed: Mapping[str, Any]) -> dict[str, Any]:
    """Return changed cells as the columns hold them, by column."""
    known = {field.name: field for field in fields(dataset)} if changed else {}
    return {name: _raw(dataset, known[name], value) for name, value in changed.items()}


def _raw(dataset: Dataset, field: Field, value: Any) -> Any:
    """Return a cell as the column holds it: a name stands for a number or a truth value there, if that is what it names."""
    if value is None or field.kind in ("number", "text"):
        return value
    if field.kind == "date":
        return pd.Timestamp(value) if not field.form else value
    cells = _known(dataset, field.name)
    places, names = coded(cells)
    return cells.iloc[int(np.flatnonzero(places == names.index(value))[0])] if value in names else value


def _put(column: pd.Series, place: int, value: Any) -> pd.Series:
    """Return the column with one cell changed, of a wider type where its own cannot hold it."""
    if pd.api.types.is_string_dtype(column.dtype):
        value = None if value is None else str(value)
    elif pd.api.types.is_integer_dtype(column.dtype) and (value is None or value != int(value)):
        column = column.astype("float64")
    elif isinstance(column.dtype, pd.CategoricalDtype) or (pd.api.types.is_bool_dtype(column.dtype) and value is None):
        column = column.astype("object")
    column = column.copy()
    column.iloc[place] = np.nan if value is None and pd.api.types.is_float_dtype(column.dtype) else value
    return column
